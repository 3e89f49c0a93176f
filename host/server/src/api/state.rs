//! GetPipelineState, EnableStageTransition, DisableStageTransition.
//!
//! Must not know the rules of stages (the core's state machine).

use std::collections::HashMap;
use std::sync::Arc;

use pipewright_pipeline::declaration::{ActionDeclaration, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionAddress, ActionRun, ActionStatus, Execution, ExecutionId, Head, StageHead, StageStatus, Transition, What,
};
use pipewright_pipeline::requests;
use serde::Serialize;

use super::Call;
use super::error::ApiError;
use super::executions::Reading;
use super::operations::NoBody;
use super::views::{self, ErrorDetails, Time};

/// Longest revisionChangeId (contract appendix A).
const CHANGE_ID_CHARS_MAX: usize = 100;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    pipeline_name: String,
    pipeline_version: u32,
    stage_states: Vec<StageState>,
    created: Time,
    updated: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StageState {
    stage_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_execution: Option<StageExecution>,
    inbound_executions: Vec<StageExecution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inbound_transition_state: Option<TransitionState>,
    action_states: Vec<ActionState>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_execution: Option<StageExecution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_stage_metadata: Option<RetryStageMetadata>,
}

#[derive(Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct StageExecution {
    pipeline_execution_id: String,
    status: StageStatus,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TransitionState {
    enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_changed_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_changed_at: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    disabled_reason: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RetryStageMetadata {
    manual_stage_retry_attempt: u32,
    latest_retry_trigger: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionState {
    action_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    current_revision: Option<ActionRevision>,
    #[serde(skip_serializing_if = "Option::is_none")]
    latest_execution: Option<ActionExecution>,
    #[serde(skip_serializing_if = "Option::is_none")]
    entity_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    revision_url: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionRevision {
    revision_id: String,
    revision_change_id: String,
    created: Time,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ActionExecution {
    action_execution_id: String,
    status: ActionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<String>,
    last_status_change: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_updated_by: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_execution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_execution_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<ErrorDetails>,
}

pub async fn get(call: &Call, input: requests::GetPipelineStateInput) -> Result<Got, ApiError> {
    let (pipeline, state) = call.pipeline(&input.name).await?;
    let (head, declaration) = (state.head.clone(), state.declaration.clone());
    let (Some(head), Some(declaration)) = (head, declaration) else {
        return Err(ApiError::internal(&"a pipeline without a declaration"));
    };
    let mut reading = Reading::new(call, pipeline, state);
    let mut latest = HashMap::new();
    for id in head.stages.iter().filter_map(|stage| stage.latest).map(|latest| latest.execution) {
        if let std::collections::hash_map::Entry::Vacant(entry) = latest.entry(id)
            && let Some(execution) = reading.execution(id).await?
        {
            let declaration = reading.declaration(execution.start.version).await?;
            entry.insert(Ran { execution, declaration });
        }
    }
    let stages = (0..declaration.stages.len()).map(|stage| stage_state(stage, &head, &declaration, &latest));
    Ok(Got {
        pipeline_name: declaration.name.clone(),
        pipeline_version: head.version,
        stage_states: stages.collect(),
        created: Time(head.created),
        updated: Time(head.updated),
    })
}

/// An execution, with the declaration that it ran, which may be older than the pipeline's.
struct Ran {
    execution: Arc<Execution>,
    declaration: Arc<PipelineDeclaration>,
}

impl Ran {
    fn stage(&self, name: &str) -> Option<usize> {
        self.declaration.stages.iter().position(|stage| stage.name == name)
    }

    /// The run of what was declared as this is: an update may have given it another index.
    fn action(&self, stage: &str, action: &ActionDeclaration) -> Option<&ActionRun> {
        let stage = self.stage(stage)?;
        let mut actions = self.declaration.stages[stage].actions.iter();
        let same = |it: &ActionDeclaration| it.name == action.name && it.action_type_id == action.action_type_id;
        let address = ActionAddress { stage: stage as u16, action: actions.position(same)? as u16 };
        self.execution.action(address).map(|run| &**run)
    }
}

fn stage_state(
    stage: usize,
    head: &Head,
    declaration: &PipelineDeclaration,
    executions: &HashMap<ExecutionId, Ran>,
) -> StageState {
    let (declared, here) = (&declaration.stages[stage], &head.stages[stage]);
    let inbound = here.waiting.iter();
    let inbound: Vec<_> = inbound
        .map(|waiting| StageExecution { pipeline_execution_id: waiting.to_string(), status: StageStatus::InProgress })
        .collect();
    let ran = here.latest.and_then(|latest| executions.get(&latest.execution));
    let actions = declared.actions.iter();
    let actions = actions.map(|action| action_state(action, ran.and_then(|ran| ran.action(&declared.name, action))));
    let stage_run = ran.and_then(|ran| ran.execution.stage_run(ran.stage(&declared.name)?));
    let retries = stage_run.map(|run| run.manual_retries);
    StageState {
        stage_name: declared.name.clone(),
        inbound_execution: inbound.first().cloned(),
        inbound_executions: inbound,
        inbound_transition_state: (stage > 0).then(|| transition(&head.stages[stage - 1], here)),
        action_states: actions.collect(),
        latest_execution: here.latest.map(|latest| StageExecution {
            pipeline_execution_id: latest.execution.to_string(),
            status: latest.status,
        }),
        retry_stage_metadata: retries.filter(|retries| *retries > 0).map(|retries| RetryStageMetadata {
            manual_stage_retry_attempt: retries,
            latest_retry_trigger: "ManualStageRetry",
        }),
    }
}

/// The transition in front of a stage, which may be disabled from either of its ends.
fn transition(before: &StageHead, here: &StageHead) -> TransitionState {
    let shown: &Transition = match (before.outbound.enabled, here.inbound.enabled) {
        (false, true) => &before.outbound,
        _ => &here.inbound,
    };
    TransitionState {
        enabled: shown.enabled,
        last_changed_by: shown.by.clone(),
        last_changed_at: shown.at.map(Time),
        disabled_reason: shown.reason.clone(),
    }
}

fn action_state(action: &ActionDeclaration, run: Option<&ActionRun>) -> ActionState {
    let revision = run.and_then(|run| run.revision.as_ref()).filter(|revision| !revision.id.is_empty());
    let url = views::summary(revision.and_then(|revision| revision.url.as_ref()));
    ActionState {
        action_name: action.name.clone(),
        current_revision: revision.zip(run).map(|(revision, run)| ActionRevision {
            revision_id: revision.id.clone(),
            revision_change_id: revision.id.chars().take(CHANGE_ID_CHARS_MAX).collect(),
            created: Time(revision.created.unwrap_or(run.updated)),
        }),
        latest_execution: run.map(action_execution),
        entity_url: None,
        revision_url: url,
    }
}

fn action_execution(run: &ActionRun) -> ActionExecution {
    let decision = run.decision.as_ref();
    let said = decision.map(|decision| &decision.summary).filter(|summary| !summary.is_empty());
    let waits = run.wait.as_ref().and_then(|wait| wait.summary.as_ref());
    ActionExecution {
        action_execution_id: run.id.to_string(),
        status: run.status,
        summary: views::summary(said.or(run.told.summary.as_ref()).or(waits)),
        last_status_change: Time(run.updated),
        token: run.approval_token().map(|token| token.to_string()),
        last_updated_by: decision.and_then(|decision| decision.by.clone()),
        external_execution_id: run.told.external_id.clone().filter(|id| !id.is_empty()),
        external_execution_url: views::summary(run.told.links.first().map(|link| &link.url)),
        error_details: run.error.as_ref().map(ErrorDetails::from),
    }
}

pub async fn enable_transition(call: &Call, input: requests::EnableStageTransitionInput) -> Result<NoBody, ApiError> {
    let by = Some(call.caller.clone());
    let what = What::EnableTransition { stage: input.stage_name, kind: input.transition_type, by };
    change_transition(call, &input.pipeline_name, what).await
}

pub async fn disable_transition(call: &Call, input: requests::DisableStageTransitionInput) -> Result<NoBody, ApiError> {
    let (by, kind) = (Some(call.caller.clone()), input.transition_type);
    let what = What::DisableTransition { stage: input.stage_name, kind, reason: input.reason, by };
    change_transition(call, &input.pipeline_name, what).await
}

async fn change_transition(call: &Call, name: &str, what: What) -> Result<NoBody, ApiError> {
    let (pipeline, _) = call.pipeline(name).await?;
    let reply = call.api.host.driver.submit(pipeline, what, &call.cause).await;
    reply.map_err(|error| call.refused(name, error)).map(|_| NoBody)
}
