//! StartPipelineExecution, StopPipelineExecution, GetPipelineExecution, ListPipelineExecutions, RetryStageExecution,
//! PutApprovalResult.
//!
//! Must not know the rules of an execution (the core's state machine).

use std::collections::HashMap;
use std::sync::Arc;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    ApprovalAnswer, Execution, ExecutionId, Reply, RetryRequest, StageStatus, StartRequest, State, Timestamp, Trigger,
    TriggerType, What,
};
use pipewright_pipeline::requests;
use serde::Serialize;

use super::Call;
use super::error::ApiError;
use super::views::{ExecutionSummary, ExecutionView, Time};
use pipewright_engine::driver::Aggregate;
use pipewright_engine::driver::rows::{ExecutionRow, Row as _};

/// A list gives this many where the caller does not say.
pub const RESULTS_PER_PAGE: usize = 100;
/// Executions that a page with a filter looks at; it may so be shorter than asked for, and the next one goes on. Stops a
/// filter that fits nothing from reading all of history for one request.
const FILTERED_ROWS_MAX: usize = 300;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    pipeline_execution_id: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Got {
    pipeline_execution: ExecutionView,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    pipeline_execution_summaries: Vec<ExecutionSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Answered {
    approved_at: Time,
}

impl From<ExecutionId> for Started {
    fn from(execution: ExecutionId) -> Self {
        Self { pipeline_execution_id: execution.to_string() }
    }
}

/// One pipeline as a request reads it.
pub struct Reading<'a> {
    pub call: &'a Call,
    pub pipeline: Aggregate,
    pub state: Arc<State>,
    versions: HashMap<u32, Arc<PipelineDeclaration>>,
}

impl<'a> Reading<'a> {
    pub fn new(call: &'a Call, pipeline: Aggregate, state: Arc<State>) -> Self {
        Self { call, pipeline, state, versions: HashMap::new() }
    }

    /// The declaration that an execution of this version runs.
    pub async fn declaration(&mut self, version: u32) -> Result<Arc<PipelineDeclaration>, ApiError> {
        if let Some(current) = &self.state.declaration
            && current.version == Some(version)
        {
            return Ok(Arc::clone(current));
        }
        if let Some(known) = self.versions.get(&version) {
            return Ok(Arc::clone(known));
        }
        let found = self.call.api.host.driver.version(self.pipeline, version).await?;
        let found = Arc::new(found.ok_or_else(|| ApiError::internal(&format!("version {version} is missing")))?);
        self.versions.insert(version, Arc::clone(&found));
        Ok(found)
    }

    /// An execution, live or ended. A retried one is live again, and its record of the earlier end is out of date.
    pub async fn execution(&self, id: ExecutionId) -> Result<Option<Execution>, ApiError> {
        if let Some(live) = self.state.executions.get(&id) {
            return Ok(Some(live.clone()));
        }
        Ok(self.call.api.host.driver.archived(self.pipeline, id).await?)
    }

    /// The execution that a text names, or the error of the operations that need one.
    pub async fn named(&self, id: &str) -> Result<Execution, ApiError> {
        let found = match id.parse() {
            Ok(id) => self.execution(id).await?,
            Err(_) => None,
        };
        let name = self.state.declaration.as_ref().map_or("", |declaration| declaration.name.as_str());
        found.ok_or_else(|| {
            let message = format!("The pipeline '{name}' does not have an execution with ID '{id}'");
            ApiError::new("PipelineExecutionNotFoundException", message)
        })
    }
}

pub async fn start(call: &Call, input: requests::StartPipelineExecutionInput) -> Result<Started, ApiError> {
    let (pipeline, state) = call.pipeline(&input.name).await?;
    let Some(declaration) = &state.declaration else { return Err(ApiError::internal(&"no declaration")) };
    let request = StartRequest {
        trigger: Trigger { kind: TriggerType::StartPipelineExecution, detail: call.caller.clone() },
        variables: input.variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
        source_revisions: input.source_revisions,
        pins: call.api.host.pins(call.account, declaration).await?,
    };
    let started = call.api.host.driver.start(pipeline, request, input.client_request_token, Vec::new()).await;
    Ok(started.map_err(|error| call.refused(&input.name, error))?.into())
}

pub async fn stop(call: &Call, input: requests::StopPipelineExecutionInput) -> Result<Started, ApiError> {
    let (pipeline, _) = call.pipeline(&input.pipeline_name).await?;
    let unstoppable = || {
        let message = format!("Unable to stop the pipeline execution with ID {}.", input.pipeline_execution_id);
        ApiError::new("PipelineExecutionNotStoppableException", message)
    };
    let execution = input.pipeline_execution_id.parse().map_err(|_| unstoppable())?;
    let what =
        What::Stop { execution, abandon: input.abandon, reason: input.reason.clone(), by: Some(call.caller.clone()) };
    let reply = call.api.host.driver.submit(pipeline, what).await;
    execution_of(reply.map_err(|error| call.refused(&input.pipeline_name, error))?)
}

fn execution_of(reply: Reply) -> Result<Started, ApiError> {
    match reply {
        Reply::Execution(execution) => Ok(execution.into()),
        other => Err(ApiError::internal(&format!("an unexpected reply: {other:?}"))),
    }
}

pub async fn get(call: &Call, input: requests::GetPipelineExecutionInput) -> Result<Got, ApiError> {
    let (pipeline, state) = call.pipeline(&input.pipeline_name).await?;
    let mut reading = Reading::new(call, pipeline, state);
    let execution = reading.named(&input.pipeline_execution_id).await?;
    let declaration = reading.declaration(execution.start.version).await?;
    Ok(Got { pipeline_execution: ExecutionView::new(&execution, &declaration) })
}

pub async fn list(call: &Call, input: requests::ListPipelineExecutionsInput) -> Result<Listed, ApiError> {
    let (pipeline, state) = call.listed_pipeline(&input.pipeline_name).await?;
    let stage = input.filter.and_then(|filter| filter.succeeded_in_stage).and_then(|filter| filter.stage_name);
    let scope = format!("ListPipelineExecutions {pipeline} {}", stage.as_deref().unwrap_or_default());
    let mut after = call.api.pages.after(&scope, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize);
    let mut reading = Reading::new(call, pipeline, state);
    let mut summaries = Vec::new();
    let mut looked_at = 0;
    let mut ended = false;
    while summaries.len() < limit && looked_at < FILTERED_ROWS_MAX && !ended {
        let asked = limit + 1 - summaries.len();
        let (of, behind) = (ExecutionRow::of(&pipeline.uid), after.clone().map(Into::into));
        let rows = call.api.host.driver.rows::<ExecutionRow>(pipeline.account, of, behind, asked).await?;
        ended = rows.len() < asked;
        for row in rows.into_iter().take(limit - summaries.len()) {
            looked_at += 1;
            after = Some(row.name().to_vec());
            // It may have been collected meanwhile.
            let Some(execution) = reading.execution(row.execution).await? else { continue };
            let declaration = reading.declaration(execution.start.version).await?;
            let wanted = stage.as_ref().is_none_or(|stage| {
                let index = declaration.stages.iter().position(|declared| declared.name == *stage);
                let run = index.and_then(|index| execution.progress.stages.get(index));
                execution.start.version == reading.state.head.as_ref().map_or(0, |head| head.version)
                    && run.is_some_and(|run| run.status == StageStatus::Succeeded)
            });
            if wanted {
                summaries.push(ExecutionSummary::new(&execution, &declaration));
            }
        }
    }
    let next_token = after.filter(|_| !ended).map(|after| call.api.pages.token(&scope, &after));
    Ok(Listed { pipeline_execution_summaries: summaries, next_token })
}

pub async fn retry_stage(call: &Call, input: requests::RetryStageExecutionInput) -> Result<Started, ApiError> {
    let (pipeline, _) = call.pipeline(&input.pipeline_name).await?;
    let not_latest = || {
        let message = format!("There is no execution with ID {} to retry", input.pipeline_execution_id);
        ApiError::new("NotLatestPipelineExecutionException", message)
    };
    let execution = input.pipeline_execution_id.parse().map_err(|_| not_latest())?;
    let request = RetryRequest { stage: input.stage_name.clone(), execution, mode: input.retry_mode, ended: None };
    let reply = call.api.host.driver.submit(pipeline, What::RetryStage(request)).await;
    execution_of(reply.map_err(|error| call.refused(&input.pipeline_name, error))?)
}

pub async fn put_approval_result(call: &Call, input: requests::PutApprovalResultInput) -> Result<Answered, ApiError> {
    let (pipeline, _) = call.pipeline(&input.pipeline_name).await?;
    let approved_at = Time(Timestamp(call.api.host.driver.clock().now_ms()));
    let answer = ApprovalAnswer {
        stage: input.stage_name,
        action: input.action_name,
        token: input.token,
        status: input.result.status,
        summary: input.result.summary,
        by: Some(call.caller.clone()),
    };
    let reply = call.api.host.driver.submit(pipeline, What::PutApprovalResult(answer)).await;
    reply.map_err(|error| call.refused(&input.pipeline_name, error))?;
    Ok(Answered { approved_at })
}
