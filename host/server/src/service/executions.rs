//! StartPipelineExecution, StopPipelineExecution, GetPipelineExecution, ListPipelineExecutions, RetryStageExecution,
//! RollbackStage, OverrideStageCondition, PutApprovalResult, PutActionRevision, and what a look at a source starts.
//!
//! Must not know the rules of an execution (the core's state machine).

use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::clock;
use pipewright_engine::driver::{Aggregate, DriverError, Note, StartToken};
use pipewright_pipeline::declaration::{ActionCategory, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionStatus, ApprovalAnswer, Execution, ExecutionId, InputKind, OverrideRequest, Refusal, Reply, RetryRequest,
    RollbackRequest, StageStatus, StartRequest, State, Timestamp, Trigger, TriggerType,
};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ExecutionIdOutput, GetPipelineExecutionOutput, ListPipelineExecutionsOutput, PutActionRevisionOutput,
    PutApprovalResultOutput, Time,
};

use super::reading::Reading;
use super::{Context, Service, ServiceError, actions, views};

/// A list gives this many where the caller does not say.
pub const RESULTS_PER_PAGE: usize = 100;
/// Executions that a page with a filter looks at; it may so be shorter than asked for, and the next one goes on. Stops a
/// filter that fits nothing from reading all of history for one request.
const FILTERED_ROWS_MAX: usize = 300;

fn id(execution: ExecutionId) -> ExecutionIdOutput {
    ExecutionIdOutput { pipeline_execution_id: execution.to_string() }
}

pub async fn start(
    service: &Service,
    context: &Context,
    input: requests::StartPipelineExecutionInput,
) -> Result<ExecutionIdOutput, ServiceError> {
    let pipeline = service.named(context, &input.name).await?;
    let request = StartRequest {
        trigger: Trigger { kind: TriggerType::StartPipelineExecution, detail: context.principal() },
        variables: input.variables.into_iter().map(|variable| (variable.name, variable.value)).collect(),
        source_revisions: input.source_revisions,
        ..StartRequest::default()
    };
    let token = input.client_request_token.map(StartToken::from).or_else(|| context.token());
    let driver = service.driver();
    let started = driver.start(pipeline, request, token, Vec::new(), &context.cause).await;
    started.map(id).map_err(|error| context.refused(&input.name, error))
}

pub async fn stop(
    service: &Service,
    context: &Context,
    input: requests::StopPipelineExecutionInput,
) -> Result<ExecutionIdOutput, ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let unstoppable = || {
        let message = format!("Unable to stop the pipeline execution with ID {}.", input.pipeline_execution_id);
        ServiceError::refused("PipelineExecutionNotStoppableException", message)
    };
    let execution = input.pipeline_execution_id.parse().map_err(|_| unstoppable())?;
    let what =
        InputKind::Stop { execution, abandon: input.abandon, reason: input.reason, by: Some(context.principal()) };
    let reply = service.driver().submit(reading.pipeline, what, &context.cause).await;
    execution_of(reply.map_err(|error| context.refused(&input.pipeline_name, error))?)
}

fn execution_of(reply: Reply) -> Result<ExecutionIdOutput, ServiceError> {
    match reply {
        Reply::Execution(execution) => Ok(id(execution)),
        other => Err(ServiceError::host(format!("an unexpected reply: {other:?}"))),
    }
}

pub async fn get(
    service: &Service,
    context: &Context,
    input: requests::GetPipelineExecutionInput,
) -> Result<GetPipelineExecutionOutput, ServiceError> {
    let mut reading = service.pipeline(context, &input.pipeline_name).await?;
    let execution = reading.named(&input.pipeline_execution_id).await?;
    let declaration = reading.declaration(execution.start.version).await?;
    Ok(GetPipelineExecutionOutput { pipeline_execution: views::execution(&execution, &declaration) })
}

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListPipelineExecutionsInput,
) -> Result<ListPipelineExecutionsOutput, ServiceError> {
    let mut reading = service.listed_pipeline(context, &input.pipeline_name).await?;
    let stage = input.filter.and_then(|filter| filter.succeeded_in_stage).and_then(|filter| filter.stage_name);
    let scope = format!("ListPipelineExecutions {} {}", reading.pipeline, stage.as_deref().unwrap_or_default());
    let mut after = service.after(context, &scope, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize);
    let mut summaries = Vec::new();
    let mut looked_at = 0;
    loop {
        // One more than wanted: only what is there makes another page.
        let asked = limit + 1 - summaries.len();
        let rows = service.driver().list_executions(reading.pipeline, after.clone(), asked).await?;
        let is_last = rows.len() < asked;
        for (position, id) in rows {
            // It may have been collected meanwhile.
            if let Some(execution) = reading.execution(id).await? {
                let declaration = reading.declaration(execution.start.version).await?;
                if stage.as_ref().is_none_or(|stage| succeeded_in(stage, &execution, &declaration, &reading)) {
                    if summaries.len() == limit {
                        let next_token = after.map(|after| service.token(context, &scope, &after));
                        return Ok(ListPipelineExecutionsOutput {
                            pipeline_execution_summaries: summaries,
                            next_token,
                        });
                    }
                    summaries.push(views::summary_of(&execution, &declaration));
                }
            }
            looked_at += 1;
            after = Some(position);
        }
        if is_last || looked_at >= FILTERED_ROWS_MAX {
            let next_token = after.filter(|_| !is_last).map(|after| service.token(context, &scope, &after));
            return Ok(ListPipelineExecutionsOutput { pipeline_execution_summaries: summaries, next_token });
        }
    }
}

/// An earlier version's stage of the same name is another stage.
fn succeeded_in(stage: &str, execution: &Execution, declaration: &PipelineDeclaration, reading: &Reading<'_>) -> bool {
    let index = declaration.stages.iter().position(|declared| declared.name == *stage);
    let run = index.and_then(|index| execution.stage_run(index));
    execution.start.version == reading.state.head.as_ref().map_or(0, |head| head.version)
        && run.is_some_and(|run| run.status == StageStatus::Succeeded)
}

pub async fn retry_stage(
    service: &Service,
    context: &Context,
    input: requests::RetryStageExecutionInput,
) -> Result<ExecutionIdOutput, ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let not_there = || none_to("retry", &input.pipeline_execution_id);
    let execution = input.pipeline_execution_id.parse().map_err(|_| not_there())?;
    let request = RetryRequest { stage: input.stage_name, execution, mode: input.retry_mode, ended: None };
    match service.driver().submit(reading.pipeline, InputKind::RetryStage(request), &context.cause).await {
        Ok(reply) => execution_of(reply),
        // No later one ran where this one never was.
        Err(DriverError::Refused(Refusal::NotLatest { .. })) if reading.execution(execution).await?.is_none() => {
            Err(not_there())
        }
        Err(error) => Err(context.refused(&input.pipeline_name, error)),
    }
}

/// Of the operations on an execution in a stage, which have no error of their own for one that is not there.
fn none_to(what: &str, id: &str) -> ServiceError {
    let message = format!("There is no execution with ID {id} to {what}");
    ServiceError::refused("NotLatestPipelineExecutionException", message)
}

pub async fn rollback_stage(
    service: &Service,
    context: &Context,
    input: requests::RollbackStageInput,
) -> Result<ExecutionIdOutput, ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let target = reading.named(&input.target_pipeline_execution_id).await?.id;
    let request = RollbackRequest { stage: input.stage_name, target, ended: None, by: Some(context.principal()) };
    let reply = service.driver().submit(reading.pipeline, InputKind::RollbackStage(request), &context.cause).await;
    execution_of(reply.map_err(|error| context.refused(&input.pipeline_name, error))?)
}

pub async fn override_condition(
    service: &Service,
    context: &Context,
    input: requests::OverrideStageConditionInput,
) -> Result<(), ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let not_there = || none_to("override a condition of", &input.pipeline_execution_id);
    let execution = input.pipeline_execution_id.parse().map_err(|_| not_there())?;
    if reading.execution(execution).await?.is_none() {
        return Err(not_there());
    }
    let (which, by) = (input.condition_type, Some(context.principal()));
    let request = OverrideRequest { stage: input.stage_name, execution, which, ended: None, by };
    let reply = service.driver().submit(reading.pipeline, InputKind::OverrideCondition(request), &context.cause).await;
    reply.map_err(|error| context.refused(&input.pipeline_name, error)).map(drop)
}

pub async fn put_approval_result(
    service: &Service,
    context: &Context,
    input: requests::PutApprovalResultInput,
) -> Result<PutApprovalResultOutput, ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let approved_at = Time(Timestamp(clock::now_ms()));
    let answer = ApprovalAnswer {
        stage: input.stage_name,
        action: input.action_name,
        token: input.token.clone(),
        status: input.result.status,
        summary: input.result.summary,
        by: Some(context.principal()),
    };
    let reply = service.driver().submit(reading.pipeline, InputKind::PutApprovalResult(answer), &context.cause).await;
    match reply {
        Ok(_) => Ok(PutApprovalResultOutput { approved_at }),
        // The state knows of it only while its execution lives.
        Err(DriverError::Refused(Refusal::InvalidApprovalToken))
            if actions::was_answered(&reading, &input.token).await? =>
        {
            Err(Refusal::ApprovalAlreadyCompleted.into())
        }
        Err(error) => Err(context.refused(&input.pipeline_name, error)),
    }
}

/// A source has this revision, as somebody tells who will not tell it again (S89).
pub async fn put_action_revision(
    service: &Service,
    context: &Context,
    input: requests::PutActionRevisionInput,
) -> Result<PutActionRevisionOutput, ServiceError> {
    let reading = service.pipeline(context, &input.pipeline_name).await?;
    let place = source(reading.current()?, &input)?;
    let (driver, pipeline, revision) = (service.driver(), reading.pipeline, input.action_revision.revision_id);
    let newest = newest(service, pipeline, &reading.state).await?;
    let seen = Seen { action: &input.action_name, revision: &revision };
    let is_kept = seen.is_kept(service, pipeline).await?;
    let is_fetched = matches!(fetched(newest.as_deref(), place), Fetched::Revision(id) if id == revision);
    if is_fetched && !is_kept {
        driver.keep(pipeline, seen.notes(), &context.cause).await?;
    }
    if is_fetched || is_kept {
        let pipeline_execution_id = newest.map(|execution| execution.id.to_string());
        return Ok(PutActionRevisionOutput { new_revision: false, pipeline_execution_id });
    }
    let trigger = Trigger { kind: TriggerType::PutActionRevision, detail: context.principal() };
    let request = StartRequest { trigger, ..StartRequest::default() };
    let started = driver.start(pipeline, request, context.token(), seen.notes(), &context.cause).await;
    let started = started.map_err(|error| context.refused(&input.pipeline_name, error))?;
    Ok(PutActionRevisionOutput { new_revision: true, pipeline_execution_id: Some(started.to_string()) })
}

/// The index of a source action that an input names.
fn source(declaration: &PipelineDeclaration, input: &requests::PutActionRevisionInput) -> Result<usize, ServiceError> {
    let (pipeline, stage, action) = (input.pipeline_name.clone(), input.stage_name.clone(), input.action_name.clone());
    let Some(declared) = declaration.stages.iter().find(|declared| declared.name == stage) else {
        return Err(Refusal::StageNotFound { pipeline, stage }.into());
    };
    let Some(place) = declared.actions.iter().position(|declared| declared.name == action) else {
        return Err(Refusal::ActionNotFound { pipeline, stage, action }.into());
    };
    // All sources are in the first stage, and nothing else is there (S12).
    match declared.actions[place].action_type_id.category {
        ActionCategory::Source => Ok(place),
        _ => Err(ServiceError::validation(format!(
            "The action '{action}' of stage '{stage}' is no source action: only those have revisions that start an execution"
        ))),
    }
}

/// A revision that a source was seen to have.
struct Seen<'a> {
    action: &'a str,
    revision: &'a str,
}

impl Seen<'_> {
    fn note(&self) -> String {
        format!("seen/{}", self.action)
    }

    /// Whether it is the one that was seen last.
    async fn is_kept(&self, service: &Service, pipeline: Aggregate) -> Result<bool, ServiceError> {
        let kept = service.driver().kept(pipeline, &self.note()).await?;
        Ok(kept.as_deref() == Some(self.revision.as_bytes()))
    }

    /// What is kept of it.
    fn notes(&self) -> Vec<Note> {
        vec![(self.note(), Some(Bytes::copy_from_slice(self.revision.as_bytes())))]
    }
}

/// A source has `revision`: starts an execution if neither an earlier look nor the newest execution has seen it.
pub async fn seen(
    service: &Service,
    context: &Context,
    pipeline: Aggregate,
    action: &str,
    revision: &str,
) -> Result<Option<ExecutionId>, ServiceError> {
    let (driver, seen) = (service.driver(), Seen { action, revision });
    // Most often there is nothing new, and then the pipeline is not loaded.
    if seen.is_kept(service, pipeline).await? {
        return Ok(None);
    }
    let state = driver.state(pipeline).await?;
    let Some(declaration) = &state.declaration else { return Ok(None) };
    let Some(place) = declaration.stages[0].actions.iter().position(|declared| declared.name == action) else {
        return Ok(None);
    };
    match fetched(newest(service, pipeline, &state).await?.as_deref(), place) {
        // What it will fetch is not known yet: the next look tells.
        Fetched::InProgress => return Ok(None),
        Fetched::Revision(id) if id == revision => {
            driver.keep(pipeline, seen.notes(), &context.cause).await?;
            return Ok(None);
        }
        Fetched::Revision(_) | Fetched::Nothing => {}
    }
    let trigger = Trigger { kind: TriggerType::PollForSourceChanges, detail: action.to_owned() };
    let request = StartRequest { trigger, ..StartRequest::default() };
    Ok(Some(driver.start(pipeline, request, None, seen.notes(), &context.cause).await?))
}

/// The execution that came into the first stage last.
async fn newest(service: &Service, pipeline: Aggregate, state: &State) -> Result<Option<Arc<Execution>>, ServiceError> {
    let latest = state.head.as_ref().and_then(|head| head.stages.first()?.latest).map(|latest| latest.execution);
    Ok(match latest.map(|id| (id, state.executions.get(&id))) {
        None => None,
        Some((_, Some(live))) => Some(Arc::clone(live)),
        Some((id, None)) => service.driver().archived(pipeline, id).await?.map(Arc::new),
    })
}

/// What an execution has of a source.
enum Fetched<'a> {
    Nothing,
    InProgress,
    Revision(&'a str),
}

fn fetched(execution: Option<&Execution>, place: usize) -> Fetched<'_> {
    let mut runs = execution.into_iter().flat_map(|execution| execution.stage_actions(0));
    let run = runs.find(|(at, _)| usize::from(at.action) == place).map(|(_, run)| (run.status, &run.revision));
    match run {
        Some((ActionStatus::InProgress, _)) => Fetched::InProgress,
        Some((_, Some(revision))) => Fetched::Revision(&revision.id),
        _ => Fetched::Nothing,
    }
}
