//! What is told of a build, from the execution that runs it and the project that it pinned.

use std::sync::Arc;

use pipewright_engine::driver::{Aggregate, kept_pin, part_pin};
use pipewright_pipeline::machine::{ActionStatus, Execution, Timestamp};
use pipewright_pipeline::requests::codebuild::Members;
use pipewright_pipeline::responses::codebuild::{
    Build as Shown, BuildPhase, BuildStatus, ExportedEnvironmentVariable, LogsLocation, PhaseContext,
};
use pipewright_pipeline::responses::{ActionExecutionDetail, Time};
use pipewright_runner::builds::{Build, Project, project_part};
use pipewright_runner::logs::phases::{Phase, QUEUED};
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
    LOGS,
];
/// Of which a build tells where its log is.
const LOGS: &str = "logsConfig";

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
    let mut members = members(service, context, pipeline, &execution, &build.project).await?;
    let logs = members.remove(LOGS).unwrap_or_default();
    let resolved = resolved(action, &execution);
    let sourced = details.iter().rev().filter(|detail| build.action.is_none() && detail.stage_name == "Source");
    let sourced: Vec<_> = sourced.collect();
    let is_running = reading.state.executions.contains_key(&id);
    let status = status(build, action, is_running);
    let ended = (status != BuildStatus::InProgress).then(|| ended(build, action, &details));
    let waits = |action: &ActionExecutionDetail| {
        action.action_execution_id.parse().is_ok_and(|action| service.builds().is_queued(action))
    };
    let is_queued = ended.is_none() && action.is_some_and(waits);
    let mut entered = entered(service, build, action).await?;
    match action {
        _ if is_queued => entered.truncate(1),
        Some(action) => entered.extend(unsaid(&entered, action, ended.is_some())),
        None => {}
    }
    if !sourced.is_empty() {
        // What it says of a source that was fetched before is told with the fetching.
        let is_told = |phase: &Phase| matches!(&phase.ended, Some((_, status)) if status == "SUCCEEDED");
        entered.retain(|phase| phase.name != "DOWNLOAD_SOURCE" || !is_told(phase));
    }
    let phases = phases(build, &sourced, action, &entered, status, ended);
    let uuid = build.id.rsplit(':').next().unwrap_or_default();
    let link = |action: &ActionExecutionDetail| {
        let (pipeline, execution, action) = (&build.pipeline, &build.execution, &action.action_execution_id);
        format!("{}/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/log", service.endpoint)
    };
    let configured = |member: &str| {
        let text = logs["cloudWatchLogs"][member].as_str().filter(|text| !text.is_empty());
        text.map(str::to_owned)
    };
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
            group_name: configured("groupName").unwrap_or_else(|| format!("/aws/codebuild/{}", build.project)),
            stream_name: configured("streamName").map_or_else(|| uuid.to_owned(), |name| format!("{name}/{uuid}")),
            deep_link: action.map(link),
        },
        report_arns: super::reports::arns(service, context, build).await?,
        exported_environment_variables: action.map(exported).unwrap_or_default(),
    }))
}

fn exported(action: &ActionExecutionDetail) -> Vec<ExportedEnvironmentVariable> {
    let variables = action.output.output_variables.clone().into_iter();
    variables.map(|(name, value)| ExportedEnvironmentVariable { name, value }).collect()
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

/// What the build said of its phases.
async fn entered(
    service: &Service,
    build: &Build,
    action: Option<&ActionExecutionDetail>,
) -> Result<Vec<Phase>, ServiceError> {
    let Some(action) = action else { return Ok(Vec::new()) };
    let (actions, execution, action) =
        (Arc::clone(&service.host.actions), build.execution.clone(), action.action_execution_id.clone());
    let read = service.work().blocking(move || actions.logs.phases(&execution, &action)).await;
    read.map_err(ServiceError::host)
}

/// The host knows of a build when it was asked for, when its source was fetched, and what it said since.
fn phases(
    build: &Build,
    sources: &[&ActionExecutionDetail],
    action: Option<&ActionExecutionDetail>,
    entered: &[Phase],
    status: BuildStatus,
    ended: Option<Time>,
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
        carried_out(&mut phases, action, entered, ended.map(|_| status));
    }
    if let Some(ended) = ended {
        phases.push(phase("COMPLETED", ended, None, None));
    }
    phases
}

/// The phase of a build that says of none, as those of earlier versions: the one in which it failed, or else BUILD.
fn unsaid(entered: &[Phase], action: &ActionExecutionDetail, is_over: bool) -> Option<Phase> {
    let started = match entered {
        [] if is_over => action.start_time.0.0,
        [Phase { name, ended: Some((at, _)), .. }] if name == QUEUED => *at,
        _ => return None,
    };
    let name = error(Some(action)).and_then(|(_, message)| Some(in_phase(message)?.0));
    let name = name.filter(|name| PHASES.contains(name)).unwrap_or("BUILD").to_owned();
    Some(Phase { name, started, ended: None, why: None })
}

/// The phase in which a build failed, by its message, and the context.
fn in_phase(message: &str) -> Option<(&str, PhaseContext)> {
    let (name, rest) = message.split_once(" Phase: ")?.1.split_once(", Code: ")?;
    let (code, message) = rest.split_once(", Message: ")?;
    Some((name, context(code, message)))
}

/// From the action's start to its end. A phase in which it ended without saying so, and at last FINALIZING, end as the build did, and
/// where no phase has said why, with what the action was told.
fn carried_out(
    phases: &mut Vec<BuildPhase>,
    action: &ActionExecutionDetail,
    entered: &[Phase],
    how: Option<BuildStatus>,
) {
    let end = how.map(|_| action.last_update_time);
    let of_action = |(code, message)| in_phase(message).map_or_else(|| context(code, message), |(_, context)| context);
    let mut is_told = how == Some(BuildStatus::Succeeded);
    let mut why = || match std::mem::replace(&mut is_told, true) {
        true => Vec::new(),
        false => error(Some(action)).map(of_action).into_iter().collect(),
    };
    for Phase { name, started, ended, why: said } in entered {
        let started = Time(Timestamp(*started));
        let (end, status) = match ended {
            Some((at, status)) => (Some(Time(Timestamp(*at))), Some(of_phase(status))),
            None => (end, how),
        };
        let mut shown = phase(name, started, end, status);
        shown.contexts = match said {
            Some((code, message)) => vec![context(code, message)],
            None if ended.is_none() && how.is_some() => why(),
            None => Vec::new(),
        };
        phases.push(shown);
    }
    let last = entered.last().and_then(|last| last.ended.as_ref());
    if let (Some((from, _)), Some(how)) = (last, how) {
        let has_failed =
            entered.iter().any(|phase| phase.ended.as_ref().is_some_and(|(_, status)| status != "SUCCEEDED"));
        let how = if has_failed { BuildStatus::Succeeded } else { how };
        let mut last = phase("FINALIZING", Time(Timestamp(*from)), end, Some(how));
        if how != BuildStatus::Succeeded {
            last.contexts = why();
        }
        phases.push(last);
    }
}

fn of_phase(status: &str) -> BuildStatus {
    match status {
        "SUCCEEDED" => BuildStatus::Succeeded,
        "TIMED_OUT" => BuildStatus::TimedOut,
        _ => BuildStatus::Failed,
    }
}

/// Those between the first and the last.
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
