//! CreateProject, UpdateProject, DeleteProject, BatchGetProjects, ListProjects: the projects of CodeBuild.
//!
//! Owns the rules between their members, and what is shown of them. Must not know how they are kept (the runner's `builds`), nor
//! what a build makes of one.

use std::collections::BTreeSet;
use std::sync::Arc;

use pipewright_pipeline::declaration::Tag;
use pipewright_pipeline::machine::Timestamp;
use pipewright_pipeline::requests::codebuild::{
    BatchGetProjectsInput, CreateProjectInput, DeleteProjectInput, ListProjectsInput, Members, SortBy, SortOrder,
    UpdateProjectInput,
};
use pipewright_pipeline::responses::Time;
use pipewright_pipeline::responses::codebuild::{
    BatchGetProjectsOutput, DeleteProjectOutput, ListProjectsOutput, Project, ProjectOutput,
};
use pipewright_pipeline::tags;
use pipewright_runner::builds::{Builds, Project as Kept, QUEUED_MINUTES_MAX_DEFAULT};
use serde_json::{Value, json};

use super::{Context, Service, ServiceError, builds};

/// What a list of CodeBuild gives at once.
pub(super) const PER_PAGE: usize = 100;
/// Stops projects that are kept in memory from filling it: a project is a page or two.
const PROJECT_BYTES_MAX: usize = 64 << 10;

impl Service {
    pub(super) fn builds(&self) -> &Arc<Builds> {
        &self.host.actions.builds
    }

    pub(super) fn codebuild_arn(&self, context: &Context, resource: &str) -> String {
        format!("arn:aws:codebuild:{}:{}:{resource}", self.region(), context.account_id())
    }

    /// A project by its name or ARN.
    pub(super) async fn project(&self, context: &Context, named: &str) -> Result<(String, Kept), ServiceError> {
        let name = self.project_name(context, named);
        let kept = self.builds().project(context.account, name).await?;
        kept.map(|kept| (name.to_owned(), kept)).ok_or_else(|| {
            let arn = self.codebuild_arn(context, &format!("project/{name}"));
            ServiceError::not_found(format!("Project cannot be found: {arn}"))
        })
    }

    fn project_name<'a>(&self, context: &Context, named: &'a str) -> &'a str {
        self.codebuild_named(context, "project/", named)
    }

    /// The name of a project or a build, by that or by its ARN.
    pub(super) fn codebuild_named<'a>(&self, context: &Context, kind: &str, named: &'a str) -> &'a str {
        self.of_arn(context, "codebuild", named).and_then(|name| name.strip_prefix(kind)).unwrap_or(named)
    }
}

/// What a project that does not say it has, in a build as in an answer.
pub(super) fn with_defaults(service: &Service, context: &Context, mut members: Members) -> Members {
    let key = format!("arn:aws:kms:{}:{}:alias/aws/s3", service.region(), context.account_id());
    for (name, default) in [
        ("timeoutInMinutes", json!(60)),
        ("queuedTimeoutInMinutes", json!(QUEUED_MINUTES_MAX_DEFAULT)),
        ("encryptionKey", json!(key)),
        ("cache", json!({ "type": "NO_CACHE" })),
    ] {
        members.entry(name).or_insert(default);
    }
    if let Some(environment) = members.get_mut("environment").and_then(Value::as_object_mut) {
        for (name, default) in [
            ("environmentVariables", json!([])),
            ("privilegedMode", json!(false)),
            ("imagePullCredentialsType", json!("CODEBUILD")),
        ] {
            environment.entry(name).or_insert(default);
        }
        for variable in environment.get_mut("environmentVariables").and_then(Value::as_array_mut).into_iter().flatten()
        {
            if let Some(variable) = variable.as_object_mut() {
                variable.entry("type").or_insert(json!("PLAINTEXT"));
            }
        }
    }
    if let Some(artifacts) = members.get_mut("artifacts").and_then(Value::as_object_mut) {
        artifacts.entry("encryptionDisabled").or_insert(json!(false));
    }
    members
}

fn shown(service: &Service, context: &Context, name: &str, kept: &Kept) -> Project {
    let mut members = with_defaults(service, context, kept.members.clone());
    let badge = members.remove("badgeEnabled").unwrap_or(json!(false));
    members.insert("badge".to_owned(), json!({ "badgeEnabled": badge }));
    members.insert("projectVisibility".to_owned(), json!("PRIVATE"));
    members.entry("tags").or_insert(json!([]));
    Project {
        members,
        arn: service.codebuild_arn(context, &format!("project/{name}")),
        created: Time(Timestamp(kept.created)),
        last_modified: Time(Timestamp(kept.modified)),
    }
}

fn text<'a>(members: &'a Members, path: &[&str]) -> Option<&'a str> {
    let (last, parents) = path.split_last()?;
    let holder = parents.iter().try_fold(members, |at, name| at.get(*name)?.as_object())?;
    holder.get(*last)?.as_str().filter(|text| !text.is_empty())
}

/// The rules between the members of a project.
pub(super) fn check(members: &Members) -> Result<(), ServiceError> {
    let invalid = |message: String| Err(ServiceError::validation(message));
    let bytes = Value::Object(members.clone()).to_string().len();
    if bytes > PROJECT_BYTES_MAX {
        return invalid(format!(
            "The project has {bytes} bytes; {PROJECT_BYTES_MAX} is the most: keep its buildspec in the source"
        ));
    }
    let source = text(members, &["source", "type"]).unwrap_or_default();
    let artifacts = text(members, &["artifacts", "type"]).unwrap_or_default();
    if (source == "CODEPIPELINE") != (artifacts == "CODEPIPELINE") {
        return invalid(format!(
            "The source is {source} and the artifacts are {artifacts}: of a project for pipelines both are CODEPIPELINE"
        ));
    }
    let location = text(members, &["source", "location"]);
    match (source, location) {
        ("NO_SOURCE", Some(_)) => return invalid("A source of type NO_SOURCE has no location".to_owned()),
        ("NO_SOURCE", None) if text(members, &["source", "buildspec"]).is_none() => {
            return invalid(
                "A project without a source needs the text of a buildspec: set source.buildspec".to_owned(),
            );
        }
        ("NO_SOURCE" | "CODEPIPELINE", _) | (_, Some(_)) => {}
        (_, None) => return invalid(format!("A source of type {source} needs a location: set source.location")),
    }
    if artifacts == "S3" && text(members, &["artifacts", "location"]).is_none() {
        return invalid("Artifacts of type S3 need a location: set artifacts.location".to_owned());
    }
    check_identifiers(members, "secondarySources", "sourceIdentifier")?;
    check_identifiers(members, "secondaryArtifacts", "artifactIdentifier")?;
    let given: Vec<Tag> = members
        .get("tags")
        .map(|tags| serde_json::from_value(tags.clone()))
        .transpose()
        .map_err(|_| ServiceError::validation("A tag has a key and a value"))?
        .unwrap_or_default();
    tags::check_keys(&given).map_err(|error| ServiceError::validation(error.to_string()))
}

/// By them outputs and directories are named.
fn check_identifiers(members: &Members, list: &str, member: &str) -> Result<(), ServiceError> {
    let mut seen = BTreeSet::new();
    for item in members.get(list).and_then(Value::as_array).into_iter().flatten() {
        let identifier = item.get(member).and_then(Value::as_str).unwrap_or_default();
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if identifier.is_empty()
            || identifier.len() > 128
            || !identifier.chars().all(is_word)
            || !seen.insert(identifier)
        {
            return Err(ServiceError::validation(format!(
                "Each of {list} has a {member} of its own, of letters, digits and `_`; `{identifier}` is none"
            )));
        }
    }
    Ok(())
}

pub async fn create(
    service: &Service,
    context: &Context,
    CreateProjectInput(members): CreateProjectInput,
) -> Result<ProjectOutput, ServiceError> {
    check(&members)?;
    let name = text(&members, &["name"]).unwrap_or_default().to_owned();
    let _changing = service.changing.projects.lock().await;
    let known = service.builds().projects(context.account).await?;
    if known.iter().any(|(there, _)| *there == name) {
        let arn = service.codebuild_arn(context, &format!("project/{name}"));
        let message = format!("Project already exists: {arn}");
        return Err(ServiceError::refused("ResourceAlreadyExistsException", message));
    }
    if known.len() >= service.quotas.projects {
        return Err(ServiceError::Limit(format!("The account has {} projects, which is its limit", known.len())));
    }
    let now = service.driver().clock().now_ms();
    let kept = Kept { members, created: now, modified: now, is_configured: false, initiator: None };
    service.builds().put(context.account, &name, &kept, &context.cause).await?;
    Ok(ProjectOutput { project: shown(service, context, &name, &kept) })
}

/// What is given takes the place of what was there, member by member.
pub async fn update(
    service: &Service,
    context: &Context,
    UpdateProjectInput(members): UpdateProjectInput,
) -> Result<ProjectOutput, ServiceError> {
    let _changing = service.changing.projects.lock().await;
    let (name, mut kept) = service.project(context, text(&members, &["name"]).unwrap_or_default()).await?;
    check_changeable(&name, &kept)?;
    kept.members.extend(members);
    kept.members.insert("name".to_owned(), json!(name));
    // By this number a limit is taken away.
    if kept.members.get("concurrentBuildLimit") == Some(&json!(-1)) {
        kept.members.remove("concurrentBuildLimit");
    }
    check(&kept.members)?;
    kept.modified = service.driver().clock().now_ms();
    service.builds().put(context.account, &name, &kept, &context.cause).await?;
    Ok(ProjectOutput { project: shown(service, context, &name, &kept) })
}

fn check_changeable(name: &str, kept: &Kept) -> Result<(), ServiceError> {
    match kept.is_configured {
        true => Err(ServiceError::validation(format!(
            "The project {name} is in the configuration of those who run this host: it changes there"
        ))),
        false => Ok(()),
    }
}

/// A project that is not there is deleted already. What is known of its builds stays; one that is in progress ends.
pub async fn delete(
    service: &Service,
    context: &Context,
    input: DeleteProjectInput,
) -> Result<DeleteProjectOutput, ServiceError> {
    let _changing = service.changing.projects.lock().await;
    let name = service.project_name(context, &input.name);
    if let Some(kept) = service.builds().project(context.account, name).await? {
        check_changeable(name, &kept)?;
        builds::remove_all(service, context, name).await?;
        service.builds().remove(context.account, name, &context.cause).await?;
    }
    Ok(DeleteProjectOutput {})
}

pub async fn batch_get(
    service: &Service,
    context: &Context,
    input: BatchGetProjectsInput,
) -> Result<BatchGetProjectsOutput, ServiceError> {
    let mut output = BatchGetProjectsOutput { projects: Vec::new(), projects_not_found: Vec::new() };
    let mut seen = BTreeSet::new();
    for named in input.names.iter().filter(|named| seen.insert(named.as_str())) {
        let name = service.project_name(context, named);
        match service.builds().project(context.account, name).await? {
            Some(kept) => output.projects.push(shown(service, context, name, &kept)),
            None => output.projects_not_found.push(named.clone()),
        }
    }
    Ok(output)
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: ListProjectsInput,
) -> Result<ListProjectsOutput, ServiceError> {
    let rows = service.builds().projects(context.account).await?.into_iter().map(|(name, kept)| {
        let key = match input.sort_by {
            SortBy::Name => name.clone(),
            SortBy::CreatedTime => format!("{:014}/{name}", kept.created),
            SortBy::LastModifiedTime => format!("{:014}/{name}", kept.modified),
        };
        (key, name)
    });
    let scope = format!("ListProjects {:?}", input.sort_by);
    let (projects, next_token) =
        page(service, context, &scope, rows.collect(), input.sort_order, input.next_token.as_deref())?;
    Ok(ListProjectsOutput { projects, next_token })
}

/// A page of what is listed by keys.
pub(super) fn page(
    service: &Service,
    context: &Context,
    scope: &str,
    mut rows: Vec<(String, String)>,
    order: SortOrder,
    token: Option<&str>,
) -> Result<(Vec<String>, Option<String>), ServiceError> {
    let scope = format!("{scope} {order:?}");
    let after = service.after(context, &scope, token.filter(|token| !token.is_empty()))?;
    rows.sort();
    if order == SortOrder::Descending {
        rows.reverse();
    }
    if let Some(after) = after {
        let is_before = |key: &str| match order {
            SortOrder::Ascending => key.as_bytes() <= &after[..],
            SortOrder::Descending => key.as_bytes() >= &after[..],
        };
        rows.retain(|(key, _)| !is_before(key));
    }
    let next_token = (rows.len() > PER_PAGE).then(|| service.token(context, &scope, rows[PER_PAGE - 1].0.as_bytes()));
    rows.truncate(PER_PAGE);
    Ok((rows.into_iter().map(|(_, listed)| listed).collect(), next_token))
}
