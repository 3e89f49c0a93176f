//! What is told of a build, from the execution that runs it and the project that it pinned.

use pipewright_engine::driver::{Aggregate, kept_pin, part_pin};
use pipewright_pipeline::machine::{ActionStatus, Execution, Timestamp};
use pipewright_pipeline::requests::codebuild::Members;
use pipewright_pipeline::responses::codebuild::{
    Build as Shown, BuildPhase, BuildStatus, ExportedEnvironmentVariable, LogsLocation, PhaseContext,
};
use pipewright_pipeline::responses::{ActionExecutionDetail, Time};
use pipewright_runner::builds::{Build, Project, project_part};
use serde_json::{Value, json};

use super::super::{Context, Service, ServiceError, actions, projects};

/// The members of a project that its builds have, too.
const OF_PROJECT: &[&str] = &[
    "source",
    "secondarySources",
    "sourceVersion",
    "secondarySourceVersions",
    "cache",
    "environment",
    "serviceRole",
    "timeoutInMinutes",
    "queuedTimeoutInMinutes",
    "vpcConfig",
    "encryptionKey",
    "fileSystemLocations",
];

/// None where retention has collected what is known of it.
pub(super) async fn build(service: &Service, context: &Context, build: &Build) -> Result<Option<Shown>, ServiceError> {
    let pipeline = Aggregate { account: context.account, uid: build.uid };
    let mut reading = service.reading(pipeline).await?;
    let Ok(id) = build.execution.parse() else { return Ok(None) };
    let Some(execution) = reading.execution(id).await? else { return Ok(None) };
    let catalogue = service.catalogue(context);
    let details = actions::of_execution(&mut reading, id, catalogue.described()).await?;
    let is_it = |detail: &&ActionExecutionDetail| match &build.action {
        Some(action) => detail.action_execution_id == *action,
        None => detail.action_name == "Build",
    };
    let action = details.iter().find(is_it);
    let members = members(service, context, pipeline, &execution, &build.project).await?;
    let resolved = resolved(action, &execution);
    let sourced = details.iter().rev().filter(|detail| build.action.is_none() && detail.stage_name == "Source");
    let is_running = reading.state.executions.contains_key(&id);
    let status = status(build, action, is_running);
    let ended = (status != BuildStatus::InProgress).then(|| ended(build, action, &details));
    let waits = |action: &ActionExecutionDetail| {
        action.action_execution_id.parse().is_ok_and(|action| service.builds().is_queued(action))
    };
    let is_queued = ended.is_none() && action.is_some_and(waits);
    let phases = phases(build, &sourced.collect::<Vec<_>>(), action, status, ended, is_queued);
    let uuid = build.id.rsplit(':').next().unwrap_or_default();
    let link = |action: &ActionExecutionDetail| {
        let (pipeline, execution, action) = (&build.pipeline, &build.execution, &action.action_execution_id);
        format!("{}/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/log", service.endpoint)
    };
    let exported = action.map(|action| action.output.output_variables.clone()).unwrap_or_default();
    Ok(Some(Shown {
        members,
        id: build.id.clone(),
        arn: service.codebuild_arn(context, &format!("build/{}", build.id)),
        build_number: build.number,
        project_name: build.project.clone(),
        build_status: status,
        build_complete: status != BuildStatus::InProgress,
        current_phase: current_phase(&phases),
        start_time: Time(Timestamp(build.started)),
        end_time: ended,
        phases,
        initiator: build.initiator.clone(),
        resolved_source_version: resolved,
        logs: LogsLocation {
            group_name: format!("/aws/codebuild/{}", build.project),
            stream_name: uuid.to_owned(),
            deep_link: action.map(link),
        },
        exported_environment_variables: exported
            .into_iter()
            .map(|(name, value)| ExportedEnvironmentVariable { name, value })
            .collect(),
    }))
}

/// What the build has of its project, as the execution pinned it.
async fn members(
    service: &Service,
    context: &Context,
    pipeline: Aggregate,
    execution: &Execution,
    project: &str,
) -> Result<Members, ServiceError> {
    let pinned = match execution.start.pins.get(&part_pin(&project_part(project))) {
        Some(digest) => kept_pin(&*service.exported.store, pipeline, digest).await?,
        None => None,
    };
    let pinned: Option<Project> =
        pinned.map(|bytes| serde_json::from_slice(&bytes)).transpose().map_err(ServiceError::host)?;
    let all = projects::with_defaults(service, context, pinned.map(|project| project.members).unwrap_or_default());
    let artifact = |artifact: &Value| {
        let mut shown = json!({ "location": artifact.get("location").cloned().unwrap_or_default() });
        for name in ["overrideArtifactName", "encryptionDisabled", "artifactIdentifier", "bucketOwnerAccess"] {
            if let Some(value) = artifact.get(name) {
                shown[name] = value.clone();
            }
        }
        if shown["location"].is_null() {
            shown["location"] = json!("");
        }
        shown
    };
    let mut members: Members = all
        .iter()
        .filter(|(name, value)| OF_PROJECT.contains(&name.as_str()) && value.as_str() != Some(""))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    if let Some(artifacts) = all.get("artifacts") {
        members.insert("artifacts".to_owned(), artifact(artifacts));
    }
    if let Some(Value::Array(artifacts)) = all.get("secondaryArtifacts") {
        members.insert("secondaryArtifacts".to_owned(), artifacts.iter().map(artifact).collect());
    }
    Ok(members)
}

/// The revision of the only input.
fn resolved(action: Option<&ActionExecutionDetail>, execution: &Execution) -> Option<String> {
    let [input] = action?.input.input_artifacts.as_slice() else { return None };
    let made = execution.runs.values().find(|run| run.artifacts.contains_key(&input.name))?;
    Some(made.revision.as_ref()?.id.clone())
}

fn status(build: &Build, action: Option<&ActionExecutionDetail>, is_running: bool) -> BuildStatus {
    match action.map(|action| action.status) {
        Some(ActionStatus::Succeeded) => BuildStatus::Succeeded,
        Some(ActionStatus::InProgress) if is_running => BuildStatus::InProgress,
        None if is_running => BuildStatus::InProgress,
        _ if build.was_stopped => BuildStatus::Stopped,
        Some(ActionStatus::Failed) => match error(action) {
            Some((_, message)) if message.contains("state: TIMED_OUT") => BuildStatus::TimedOut,
            Some(("JobFailed", _)) => BuildStatus::Failed,
            _ => BuildStatus::Fault,
        },
        Some(_) => BuildStatus::Stopped,
        None => BuildStatus::Failed,
    }
}

fn error(action: Option<&ActionExecutionDetail>) -> Option<(&str, &str)> {
    let details = action?.output.execution_result.as_ref()?.error_details.as_ref()?;
    Some((&details.code, details.message.as_deref().unwrap_or_default()))
}

fn ended(build: &Build, action: Option<&ActionExecutionDetail>, details: &[ActionExecutionDetail]) -> Time {
    let last = action.or(details.first()).map(|detail| detail.last_update_time);
    last.unwrap_or(Time(Timestamp(build.started)))
}

/// The host knows of a build when it was asked for, when its source was fetched, and how its commands ended: a phase that failed is
/// told by its name, and all that went well as BUILD.
fn phases(
    build: &Build,
    sources: &[&ActionExecutionDetail],
    action: Option<&ActionExecutionDetail>,
    status: BuildStatus,
    ended: Option<Time>,
    is_queued: bool,
) -> Vec<BuildPhase> {
    let started = Time(Timestamp(build.started));
    let fetched = sources.first().map(|source| source.start_time);
    let began = fetched.or(action.map(|action| action.start_time));
    let mut phases = vec![phase("SUBMITTED", started, began.or(ended), Some(BuildStatus::Succeeded))];
    if let Some(fetching) = fetched {
        let last = sources.last().map(|source| source.last_update_time);
        let all = sources.iter().all(|source| source.status == ActionStatus::Succeeded);
        let how = if all { Some(BuildStatus::Succeeded) } else { ended.map(|_| status) };
        let mut download = phase("DOWNLOAD_SOURCE", fetching, how.and(last), how);
        let failed = sources.iter().filter_map(|source| error(Some(source)));
        download.contexts = failed.map(|(code, message)| context(code, message)).collect();
        phases.push(download);
    }
    if let Some(action) = action {
        let told = error(Some(action));
        let name = told.and_then(|(_, message)| message.split_once(" Phase: ")?.1.split_once(", Code: "));
        let (name, told) = match (name, told) {
            (Some((name, rest)), _) if PHASES.contains(&name) => {
                (name, rest.split_once(", Message: ").map(|(code, message)| context(code, message)))
            }
            (_, told) => {
                (if is_queued { "QUEUED" } else { "BUILD" }, told.map(|(code, message)| context(code, message)))
            }
        };
        let how = ended.map(|_| status);
        let mut carried = phase(name, action.start_time, how.map(|_| action.last_update_time), how);
        carried.contexts.extend(told);
        phases.push(carried);
    }
    if let Some(ended) = ended {
        phases.push(phase("COMPLETED", ended, None, None));
    }
    phases
}

/// Those that a build can fail in.
const PHASES: &[&str] =
    &["QUEUED", "DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "UPLOAD_ARTIFACTS", "FINALIZING"];

fn context(code: &str, message: &str) -> PhaseContext {
    PhaseContext { status_code: code.to_owned(), message: message.to_owned() }
}

fn phase(name: &str, start: Time, end: Option<Time>, status: Option<BuildStatus>) -> BuildPhase {
    BuildPhase {
        phase_type: name.to_owned(),
        phase_status: status,
        start_time: start,
        end_time: end,
        duration_in_seconds: end.map(|end| end.0.0.saturating_sub(start.0.0) / 1000),
        contexts: Vec::new(),
    }
}

/// The last one that was entered.
fn current_phase(phases: &[BuildPhase]) -> &'static str {
    let last = phases.last().map_or("SUBMITTED", |phase| phase.phase_type.as_str());
    let all = ["SUBMITTED", "COMPLETED"].into_iter().chain(PHASES.iter().copied());
    all.into_iter().find(|name| *name == last).unwrap_or("BUILD")
}
