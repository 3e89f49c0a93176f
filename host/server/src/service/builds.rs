//! StartBuild, StopBuild, BatchGetBuilds, ListBuilds, ListBuildsForProject: the builds of CodeBuild, whoever started them.
//!
//! A build that no pipeline started is an execution of a pipeline that is made for its project, with a stage for the source and
//! one for the build; so it is driven, logged, stopped and gone on with after a crash as any other. Owns that pipeline, and
//! what of an execution is told as a build. Must not know how a build is numbered (the runner's `builds`) or carried out.

pub mod reports;
mod shown;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_engine::driver::{Aggregate, DriverError, StartToken};
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{InputKind, Refusal, StartRequest, Trigger, TriggerType};
use pipewright_pipeline::requests::codebuild::{
    BatchGetBuildsInput, ListBuildsForProjectInput, ListBuildsInput, Members, SortOrder, StartBuildInput,
    StopBuildInput,
};
use pipewright_pipeline::responses::codebuild::{BatchGetBuildsOutput, BuildOutput, ListBuildsOutput};
use pipewright_runner::builds::{Build, own_pipeline, project_part};
use serde_json::{Value, json};

use super::projects::{self, page};
use super::{Context, Service, ServiceError};

/// The members of StartBuild's input that say what of the project is otherwise, with where that stands in the project.
const OVERRIDES: &[(&str, &[&str])] = &[
    ("artifactsOverride", &["artifacts"]),
    ("buildspecOverride", &["source", "buildspec"]),
    ("buildStatusConfigOverride", &["source", "buildStatusConfig"]),
    ("cacheOverride", &["cache"]),
    ("certificateOverride", &["environment", "certificate"]),
    ("computeTypeOverride", &["environment", "computeType"]),
    ("encryptionKeyOverride", &["encryptionKey"]),
    ("environmentTypeOverride", &["environment", "type"]),
    ("fleetOverride", &["environment", "fleet"]),
    ("gitCloneDepthOverride", &["source", "gitCloneDepth"]),
    ("gitSubmodulesConfigOverride", &["source", "gitSubmodulesConfig"]),
    ("hostKernelOverride", &["environment", "hostKernel"]),
    ("imageOverride", &["environment", "image"]),
    ("imagePullCredentialsTypeOverride", &["environment", "imagePullCredentialsType"]),
    ("insecureSslOverride", &["source", "insecureSsl"]),
    ("logsConfigOverride", &["logsConfig"]),
    ("privilegedModeOverride", &["environment", "privilegedMode"]),
    ("queuedTimeoutInMinutesOverride", &["queuedTimeoutInMinutes"]),
    ("registryCredentialOverride", &["environment", "registryCredential"]),
    ("reportBuildStatusOverride", &["source", "reportBuildStatus"]),
    ("secondaryArtifactsOverride", &["secondaryArtifacts"]),
    ("secondarySourcesOverride", &["secondarySources"]),
    ("secondarySourcesVersionOverride", &["secondarySourceVersions"]),
    ("serviceRoleOverride", &["serviceRole"]),
    ("sourceAuthOverride", &["source", "auth"]),
    ("sourceLocationOverride", &["source", "location"]),
    ("sourceTypeOverride", &["source", "type"]),
    ("sourceVersion", &["sourceVersion"]),
    ("timeoutInMinutesOverride", &["timeoutInMinutes"]),
];

/// The project as this build has it.
fn overridden(mut project: Members, mut input: Members) -> Members {
    for (given, path) in OVERRIDES {
        let Some(value) = input.remove(*given) else { continue };
        match path {
            [member] => drop(project.insert((*member).to_owned(), value)),
            [holder, member] => {
                let holder = project.entry(*holder).or_insert_with(|| json!({}));
                holder[*member] = value;
            }
            _ => unreachable!("a project has two levels that are overridden"),
        }
    }
    // Of one name, the build's value wins over the project's.
    if let Some(Value::Array(given)) = input.remove("environmentVariablesOverride") {
        let there = &mut project["environment"]["environmentVariables"];
        let mut variables = there.as_array().cloned().unwrap_or_default();
        variables.retain(|variable| !given.iter().any(|other| other["name"] == variable["name"]));
        variables.extend(given);
        *there = variables.into();
    }
    // A source without a place of its own has none.
    if project["source"]["type"] == "NO_SOURCE"
        && let Some(source) = project["source"].as_object_mut()
    {
        source.remove("location");
    }
    project
}

/// Before the name of a source, that of the pipeline's variable that says which version of it is built.
const VERSION: &str = "VersionOf";

/// Before the name of a source, that of the variable that says where it is.
const LOCATION: &str = "LocationOf";
/// Pipelines of one project. With one more, that is removed which ran a build the longest ago and runs none now. Stops a client that
/// asks for ever other artifacts and sources from filling the host with pipelines.
pub(super) const VARIANTS_COUNT_MAX: usize = 10;

/// The pipeline that runs builds of a project like this one, and the values of its variables. What can differ between builds of one
/// pipeline is a variable, or in the project that an execution pins, as its role is.
fn declaration(
    context: &Context,
    name: &str,
    project: &Members,
) -> Result<(PipelineDeclaration, Vec<(String, String)>), ServiceError> {
    let (mut sources, mut inputs, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    let version = project.get("sourceVersion").and_then(Value::as_str);
    if project["source"]["type"] != "NO_SOURCE" {
        sources.push(source_action("Source", &project["source"], version, &mut variables)?);
        inputs.push(json!({ "name": "Source" }));
    }
    let versions = project.get("secondarySourceVersions").and_then(Value::as_array);
    for source in project.get("secondarySources").and_then(Value::as_array).into_iter().flatten() {
        let identifier = source["sourceIdentifier"].as_str().unwrap_or_default();
        let version = versions.into_iter().flatten().find(|version| version["sourceIdentifier"] == identifier);
        let version = version.and_then(|version| version["sourceVersion"].as_str());
        sources.push(source_action(identifier, source, version, &mut variables)?);
        inputs.push(json!({ "name": identifier }));
    }
    let secondary = project.get("secondaryArtifacts").and_then(Value::as_array).filter(|all| !all.is_empty());
    let outputs: Vec<Value> = match secondary {
        Some(all) => all.iter().map(|artifact| json!({ "name": artifact["artifactIdentifier"] })).collect(),
        None if project["artifacts"]["type"] == "NO_ARTIFACTS" => Vec::new(),
        None => vec![json!({ "name": "Artifacts" })],
    };
    let mut configuration = json!({ "ProjectName": name });
    if inputs.len() > 1 {
        configuration["PrimarySource"] = json!("Source");
    }
    let build = json!({ "name": "Build", "actions": [{
        "name": "Build",
        "actionTypeId": { "category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1" },
        "configuration": configuration, "inputArtifacts": inputs, "outputArtifacts": outputs, "namespace": "Build",
    }] });
    let mut stages = vec![build];
    if !sources.is_empty() {
        stages.insert(0, json!({ "name": "Source", "actions": sources }));
    }
    let mut declaration = json!({
        "roleArn": format!("arn:aws:iam::{}:role/codebuild", context.account_id()), "pipelineType": "V2", "executionMode": "PARALLEL",
        "artifactStore": { "type": "S3", "location": "pipewright" }, "stages": stages,
    });
    if !variables.is_empty() {
        let declared = variables.iter().map(|(name, _)| json!({ "name": name }));
        declaration["variables"] = declared.collect();
    }
    let variant = Digest::of(declaration.to_string().as_bytes()).to_string();
    declaration["name"] = own_pipeline(name, &variant[..VARIANT_CHARS]).into();
    Ok((serde_json::from_value(declaration).map_err(ServiceError::host)?, variables))
}

/// Of the digest of its stages, in the name of a pipeline.
const VARIANT_CHARS: usize = 12;

/// What fetches a source: git's, over http.
fn source_action(
    name: &str,
    source: &Value,
    version: Option<&str>,
    variables: &mut Vec<(String, String)>,
) -> Result<Value, ServiceError> {
    let (kind, location) =
        (source["type"].as_str().unwrap_or_default(), source["location"].as_str().unwrap_or_default());
    if kind == "CODEPIPELINE" {
        let message = "The project's source is CODEPIPELINE: a pipeline starts its builds. Override the source to build it otherwise";
        return Err(ServiceError::validation(message));
    }
    if kind == "S3" || !["https://", "http://"].iter().any(|scheme| location.starts_with(scheme)) {
        return Err(ServiceError::validation(format!(
            "A source of type {kind} at `{location}` is not fetched here: give the address of a git repository, with https://"
        )));
    }
    let mut variable = |named: &str, value: &str| {
        variables.push((format!("{named}{name}"), value.to_owned()));
        json!(format!("#{{variables.{named}{name}}}"))
    };
    let mut configuration = json!({ "RepositoryUrl": variable(LOCATION, location), "PollForSourceChanges": "false" });
    if let Some(version) = version.filter(|version| !version.is_empty()) {
        let is_commit = version.len() == 40 && version.bytes().all(|byte| byte.is_ascii_hexdigit());
        let (key, value) = match version.strip_prefix("refs/tags/") {
            Some(tag) => ("Tag", tag),
            None if is_commit => ("CommitId", version),
            None => ("BranchName", version.strip_prefix("refs/heads/").unwrap_or(version)),
        };
        // Builds of several versions have one pipeline.
        configuration[key] = variable(VERSION, value);
    }
    Ok(json!({
        "name": name, "outputArtifacts": [{ "name": name }], "configuration": configuration,
        "actionTypeId": { "category": "Source", "owner": "Custom", "provider": "Git", "version": "1" },
    }))
}

/// Makes the pipeline, if there is none like it yet.
async fn pipeline(
    service: &Service,
    context: &Context,
    project: &str,
    declaration: PipelineDeclaration,
) -> Result<Aggregate, ServiceError> {
    let driver = service.driver();
    if let Some(pipeline) = driver.find(context.account, &declaration.name).await?
        && driver.state(pipeline).await?.declaration.is_some()
    {
        return Ok(pipeline);
    }
    make_room(service, context, project).await?;
    let pipeline = driver.named(context.account, &declaration.name, &context.cause).await?;
    let made = InputKind::Create { declaration: Arc::new(declaration) };
    driver.submit(pipeline, made, &context.cause).await?;
    Ok(pipeline)
}

/// The pipelines of a project, with their names.
async fn variants(
    service: &Service,
    context: &Context,
    project: &str,
) -> Result<Vec<(String, Aggregate)>, ServiceError> {
    let mut all = service.driver().pipelines(context.account).await?;
    let of_project = own_pipeline(project, "");
    all.retain(|(name, _)| name.starts_with(&of_project));
    Ok(all)
}

/// For one more pipeline of a project.
async fn make_room(service: &Service, context: &Context, project: &str) -> Result<(), ServiceError> {
    let all = variants(service, context, project).await?;
    if all.len() < VARIANTS_COUNT_MAX {
        return Ok(());
    }
    let builds = service.builds().all(context.account).await?;
    let mut idle = Vec::new();
    for (name, pipeline) in &all {
        // One that is quarantined waits for those who run the host.
        if service.driver().state(*pipeline).await.is_ok_and(|state| state.executions.is_empty()) {
            let latest = builds.iter().filter(|build| build.uid == pipeline.uid).map(|build| build.started).max();
            idle.push((latest, name, *pipeline));
        }
    }
    idle.sort();
    let beyond = all.len() + 1 - VARIANTS_COUNT_MAX;
    if idle.len() < beyond {
        return Err(ServiceError::Limit(format!(
            "The project {project} has builds in progress with {VARIANTS_COUNT_MAX} different sets of sources and artifacts, which \
             is as many as it may have: start this one when some have ended"
        )));
    }
    for (_, name, pipeline) in idle.into_iter().take(beyond) {
        remove(service, context, name, pipeline).await?;
    }
    Ok(())
}

/// What its builds have left stays until retention collects it.
async fn remove(service: &Service, context: &Context, name: &str, pipeline: Aggregate) -> Result<(), ServiceError> {
    match service.driver().delete(pipeline, name, &context.cause).await {
        Ok(()) | Err(DriverError::Refused(Refusal::PipelineNotFound)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The project is deleted: what runs its builds goes, and a build that is in progress ends with it.
pub(super) async fn remove_all(service: &Service, context: &Context, project: &str) -> Result<(), ServiceError> {
    for (name, pipeline) in variants(service, context, project).await? {
        remove(service, context, &name, pipeline).await?;
    }
    Ok(())
}

pub async fn start(
    service: &Service,
    context: &Context,
    StartBuildInput(mut input): StartBuildInput,
) -> Result<BuildOutput, ServiceError> {
    // Of two starts, one makes the pipeline.
    let _building = service.changing.projects.lock().await;
    let named = input.get("projectName").and_then(Value::as_str).unwrap_or_default();
    let (name, mut project) = service.project(context, named).await?;
    let token = input.remove("idempotencyToken").and_then(|token| token.as_str().map(str::to_owned));
    project.members = overridden(project.members, input);
    projects::check(&project.members)?;
    let initiator = context.principal();
    let initiator = initiator.rsplit('/').next().unwrap_or_default().to_owned();
    project.initiator = Some(initiator.clone());
    let (declaration, variables) = declaration(context, &name, &project.members)?;
    let pipeline_name = declaration.name.clone();
    let pipeline = pipeline(service, context, &name, declaration).await?;
    let pinned = serde_json::to_vec(&project).map_err(ServiceError::host)?;
    let parts = BTreeMap::from([(project_part(&name), Bytes::from(pinned))]);
    let trigger = Trigger { kind: TriggerType::StartPipelineExecution, detail: context.principal() };
    let request = StartRequest { trigger, variables, ..StartRequest::default() };
    let token = token.map(StartToken::from).or_else(|| context.token());
    let driver = service.driver();
    let started = driver.clock().now_ms();
    let execution = driver.start_with_parts(pipeline, request, token, parts, &context.cause).await?;
    let build = Build {
        id: format!("{name}:{execution}"),
        project: name,
        number: 0,
        pipeline: pipeline_name,
        uid: pipeline.uid,
        execution: execution.to_string(),
        action: None,
        initiator,
        started,
        was_stopped: false,
    };
    let build = service.builds().begin(context.account, build, &context.cause).await?;
    let shown = shown::build(service, context, &build).await?;
    shown.map(|build| BuildOutput { build }).ok_or_else(|| ServiceError::host("a build that was just started is gone"))
}

pub async fn stop(service: &Service, context: &Context, input: StopBuildInput) -> Result<BuildOutput, ServiceError> {
    let id = service.codebuild_named(context, "build/", &input.id);
    let known = service.builds().all(context.account).await?;
    let missing = || ServiceError::not_found(format!("Build cannot be found: {}", input.id));
    let mut build = known.into_iter().find(|build| build.id == id).ok_or_else(missing)?;
    let before = shown::build(service, context, &build).await?.ok_or_else(missing)?;
    // One that has ended is told as it ended.
    if before.build_complete {
        return Ok(BuildOutput { build: before });
    }
    if build.action.is_none() {
        let execution = build.execution.parse().map_err(|_| ServiceError::host("a build without an execution"))?;
        let (reason, by) = (Some("StopBuild".to_owned()), Some(context.principal()));
        let stop = InputKind::Stop { execution, abandon: true, reason, by };
        let pipeline = Aggregate { account: context.account, uid: build.uid };
        match service.driver().submit(pipeline, stop, &context.cause).await {
            // It may have ended meanwhile.
            Ok(_) | Err(DriverError::Refused(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    service.builds().stop(context.account, &mut build, &context.cause).await?;
    shown::build(service, context, &build).await?.map(|build| BuildOutput { build }).ok_or_else(missing)
}

pub async fn batch_get(
    service: &Service,
    context: &Context,
    input: BatchGetBuildsInput,
) -> Result<BatchGetBuildsOutput, ServiceError> {
    let known = service.builds().all(context.account).await?;
    let known: HashMap<&str, &Build> = known.iter().map(|build| (build.id.as_str(), build)).collect();
    let mut output = BatchGetBuildsOutput { builds: Vec::new(), builds_not_found: Vec::new() };
    for named in input.ids {
        let found = match known.get(service.codebuild_named(context, "build/", &named)) {
            Some(build) => shown::build(service, context, build).await?,
            None => None,
        };
        match found {
            Some(build) => output.builds.push(build),
            None => output.builds_not_found.push(named),
        }
    }
    Ok(output)
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: ListBuildsInput,
) -> Result<ListBuildsOutput, ServiceError> {
    listed(service, context, None, input.sort_order, input.next_token.as_deref()).await
}

pub async fn list_for_project(
    service: &Service,
    context: &Context,
    input: ListBuildsForProjectInput,
) -> Result<ListBuildsOutput, ServiceError> {
    let (name, _) = service.project(context, &input.project_name).await?;
    listed(service, context, Some(&name), input.sort_order, input.next_token.as_deref()).await
}

/// The newest first where the caller does not say.
async fn listed(
    service: &Service,
    context: &Context,
    project: Option<&str>,
    order: Option<SortOrder>,
    token: Option<&str>,
) -> Result<ListBuildsOutput, ServiceError> {
    let builds = service.builds().all(context.account).await?.into_iter();
    let builds = builds.filter(|build| project.is_none_or(|project| build.project == project));
    let rows = builds.map(|build| (build.position(), build.id)).collect();
    let scope = format!("ListBuilds {}", project.unwrap_or_default());
    let (ids, next_token) = page(service, context, &scope, rows, order.unwrap_or(SortOrder::Descending), token)?;
    Ok(ListBuildsOutput { ids, next_token })
}
