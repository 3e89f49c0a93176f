//! ListActionExecutions.
//!
//! Owns how the two ends of an action execution, as history has them, become one detail. Must not know the rules of
//! actions (the core's state machine).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pipewright_engine::driver::{ActionRecords, Entry};
use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::{ActionCategory, ActionDeclaration, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionEvent, ActionHappening, ActionRun, ActionStatus, Decision, Event, Execution, ExecutionDetails, ExecutionId,
    Timestamp,
};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ActionExecutionDetail, ActionExecutionInput, ActionExecutionOutput, ActionExecutionResult, ArtifactDetail,
    ErrorDetails, ListActionExecutionsOutput, S3Location, Time,
};
use pipewright_pipeline::secrets::{MASK, is_secret};

use super::executions::RESULTS_PER_PAGE;
use super::reading::Reading;
use super::views;
use super::{Context, Service, ServiceError};

/// Records before an approval's end that are looked through for who answered it: between the answer and the end is one call.
const ANSWER_RECORDS_MAX: u64 = 64;
/// The newest action executions among which one is looked for that a token names. Stops a token that names none from reading all
/// of history.
const ANSWERED_ROWS_MAX: usize = 1000;
/// As many as an execution without retries has at most.
const OF_EXECUTION_MAX: usize = 1000;

pub async fn list(
    service: &Service,
    context: &Context,
    input: requests::ListActionExecutionsInput,
) -> Result<ListActionExecutionsOutput, ServiceError> {
    let mut reading = service.listed_pipeline(context, &input.pipeline_name).await?;
    let filter = input.filter.as_ref();
    let wanted = filter.and_then(|filter| filter.wanted());
    let latest = filter.and_then(|filter| filter.latest_in_pipeline_execution.as_ref());
    let of = match wanted {
        Some(id) => Some(reading.named(id).await?),
        None => None,
    };
    let since = match (&of, latest) {
        (Some(execution), Some(latest)) if latest.start_time_range == requests::StartTimeRange::Latest => {
            latest_attempt(execution)
        }
        _ => Timestamp(0),
    };
    let pipeline = reading.pipeline;
    let scope = format!("ListActionExecutions {pipeline} {} {}", wanted.unwrap_or_default(), since.0);
    let after = service.after(context, &scope, input.next_token.as_deref())?;
    let limit = input.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize);
    let mut rows = match &of {
        Some(execution) => {
            service.driver().list_actions_of(pipeline, execution.id, after.as_deref(), limit + 1).await?
        }
        None => service.driver().list_actions(pipeline, after.as_deref(), limit + 1).await?,
    };
    rows.retain(|row| row.place.started >= since);
    let next_token = (rows.len() > limit).then(|| service.token(context, &scope, &rows[limit - 1].position()));
    rows.truncate(limit);

    let catalogue = service.catalogue(context);
    let mut records = Records::default();
    let mut details = Vec::with_capacity(rows.len());
    for row in rows {
        if let Some(detail) = detail(&mut reading, &mut records, &row, catalogue.described()).await? {
            details.push(detail);
        }
    }
    Ok(ListActionExecutionsOutput { action_execution_details: details, next_token })
}

/// All of an execution that are still known, the newest first.
pub(super) async fn of_execution(
    reading: &mut Reading<'_>,
    execution: ExecutionId,
    types: &ActionTypes,
) -> Result<Vec<ActionExecutionDetail>, ServiceError> {
    let rows = reading.service.driver().list_actions_of(reading.pipeline, execution, None, OF_EXECUTION_MAX).await?;
    let (mut records, mut details) = (Records::default(), Vec::new());
    for row in rows {
        details.extend(detail(reading, &mut records, &row, types).await?);
    }
    Ok(details)
}

/// When the latest attempt of an execution began: its start, or its latest retry.
fn latest_attempt(execution: &Execution) -> Timestamp {
    let retries = execution.progress.stages.iter().filter_map(|stage| stage.last_retry);
    retries.max().unwrap_or(execution.start.at)
}

/// The records that a page has read: two action executions often have one in common.
#[derive(Default)]
struct Records(HashMap<u64, Option<Arc<Entry>>>);

impl Records {
    /// What a record says of how an action execution began, or of how it ended.
    async fn event(
        &mut self,
        reading: &Reading<'_>,
        sequence: Option<u64>,
        is_meant: impl Fn(&ActionEvent) -> bool,
    ) -> Result<Option<(Timestamp, ActionEvent)>, ServiceError> {
        let Some(sequence) = sequence else { return Ok(None) };
        let entry = match self.0.get(&sequence) {
            Some(entry) => entry.clone(),
            None => {
                let entry = reading.service.driver().entry(reading.pipeline, sequence).await?.map(Arc::new);
                self.0.insert(sequence, entry.clone());
                entry
            }
        };
        let Some(entry) = entry else { return Ok(None) };
        let found = entry.events.iter().find_map(|event| match event {
            Event::Action(event) if is_meant(event) => Some((**event).clone()),
            _ => None,
        });
        Ok(entry.at.zip(found))
    }
}

/// What an approval's history says of who answered it.
async fn answered_by(
    reading: &Reading<'_>,
    row: &ActionRecords,
    event: &ActionEvent,
) -> Result<Option<String>, ServiceError> {
    match event.action_type.category {
        ActionCategory::Approval => Ok(decision(reading, row).await?.and_then(|decision| decision.by)),
        _ => Ok(None),
    }
}

/// Whether an answer was given by this token, also where the execution has ended since.
pub(super) async fn was_answered(reading: &Reading<'_>, token: &str) -> Result<bool, ServiceError> {
    let rows = reading.service.driver().list_actions(reading.pipeline, None, ANSWERED_ROWS_MAX).await?;
    match rows.iter().find(|row| row.place.action.to_string() == token) {
        Some(row) => Ok(decision(reading, row).await?.is_some()),
        None => Ok(false),
    }
}

async fn decision(reading: &Reading<'_>, row: &ActionRecords) -> Result<Option<Decision>, ServiceError> {
    let (Some(start), Some(end)) = (row.start, row.end) else { return Ok(None) };
    let from = start.max(end.saturating_sub(ANSWER_RECORDS_MAX - 1));
    let entries = reading.service.driver().history(reading.pipeline, from, ANSWER_RECORDS_MAX as usize).await?;
    let mut answers = entries.iter().flat_map(|entry| &entry.events).filter_map(|event| match event {
        Event::Action(event) if event.action_execution == row.place.action => match &event.what {
            ActionHappening::Decided(decision) => Some(decision.clone()),
            _ => None,
        },
        _ => None,
    });
    Ok(answers.next())
}

/// None where retention has just collected it.
async fn detail(
    reading: &mut Reading<'_>,
    records: &mut Records,
    row: &ActionRecords,
    types: &ActionTypes,
) -> Result<Option<ActionExecutionDetail>, ServiceError> {
    let is_of_it = |event: &ActionEvent| event.action_execution == row.place.action;
    let is_start = |event: &ActionEvent| is_of_it(event) && matches!(event.what, ActionHappening::Started { .. });
    let is_end = |event: &ActionEvent| {
        let what = &event.what;
        is_of_it(event)
            && (matches!(what, ActionHappening::Succeeded { .. } | ActionHappening::Failed { .. })
                || matches!(what, ActionHappening::Abandoned | ActionHappening::Canceled))
    };
    let began = records.event(reading, row.start, is_start).await?;
    let ended = records.event(reading, row.end, is_end).await?;
    // Of one that failed before it could run there is an end alone.
    let Some((_, began)) = began.or_else(|| ended.clone()) else { return Ok(None) };
    let declaration = reading.declaration(began.version).await?;
    let live = reading.state.executions.get(&row.execution);
    let run = live.and_then(|live| live.runs.values().find(|run| run.id == row.place.action)).map(|run| &**run);
    let (status, last_update_time, output) = match &ended {
        Some((at, event)) => {
            let (status, output) = output(&event.what, &declaration);
            (status, *at, output)
        }
        None => (ActionStatus::InProgress, run.map_or(row.place.started, |run| run.updated), in_progress(run)),
    };
    let updated_by = match run.and_then(|run| run.decision.as_ref()) {
        Some(decision) => decision.by.clone(),
        None => answered_by(reading, row, &began).await?,
    };
    Ok(Some(ActionExecutionDetail {
        pipeline_execution_id: row.execution.to_string(),
        action_execution_id: row.place.action.to_string(),
        pipeline_version: began.version,
        start_time: Time(row.place.started),
        last_update_time: Time(last_update_time),
        updated_by,
        status,
        input: self::input(reading.service, &began, &declaration, types),
        output,
        stage_name: began.stage,
        action_name: began.action,
    }))
}

fn declared<'a>(declaration: &'a PipelineDeclaration, event: &ActionEvent) -> Option<&'a ActionDeclaration> {
    let stage = declaration.stages.iter().find(|stage| stage.name == event.stage)?;
    stage.actions.iter().find(|action| action.name == event.action)
}

fn input(
    service: &Service,
    started: &ActionEvent,
    declaration: &PipelineDeclaration,
    types: &ActionTypes,
) -> ActionExecutionInput {
    let action = declared(declaration, started);
    let (inputs, resolved) = match &started.what {
        ActionHappening::Started { inputs, resolved_configuration } => (inputs.clone(), resolved_configuration.clone()),
        _ => Default::default(),
    };
    let masked = |mut values: BTreeMap<String, String>| {
        let secret = values.iter_mut().filter(|(key, _)| is_secret(types, &started.action_type, key));
        secret.for_each(|(_, value)| MASK.clone_into(value));
        values
    };
    let configuration = action.and_then(|action| action.configuration.clone()).unwrap_or_default();
    ActionExecutionInput {
        action_type_id: started.action_type.clone(),
        resolved_configuration: masked(resolved.unwrap_or_else(|| configuration.clone())),
        configuration: masked(configuration),
        role_arn: action.and_then(|action| action.role_arn.clone()),
        region: action.and_then(|action| action.region.clone()).unwrap_or_else(|| service.region().to_owned()),
        input_artifacts: artifacts(declaration, &inputs),
        namespace: action.and_then(|action| action.namespace.clone()),
    }
}

fn in_progress(run: Option<&ActionRun>) -> ActionExecutionOutput {
    let waits = run.and_then(|run| run.wait.as_ref()).and_then(|wait| wait.summary.as_ref());
    // By it an approval is answered in a pipeline of mode PARALLEL (S63).
    let token = run.and_then(|run| run.approval_token()).map(|token| token.to_string());
    let result = ActionExecutionResult {
        external_execution_id: token,
        external_execution_summary: views::summary(waits),
        ..ActionExecutionResult::default()
    };
    ActionExecutionOutput { execution_result: Some(result), ..ActionExecutionOutput::default() }
}

fn output(what: &ActionHappening, declaration: &PipelineDeclaration) -> (ActionStatus, ActionExecutionOutput) {
    match what {
        ActionHappening::Succeeded { artifacts: made, variables, told, .. } => {
            let output = ActionExecutionOutput {
                output_artifacts: artifacts(declaration, made),
                execution_result: Some(result(told, None)),
                output_variables: (**variables).clone(),
            };
            (ActionStatus::Succeeded, output)
        }
        ActionHappening::Failed { error, told } => {
            let result = Some(result(told, Some(views::error(error))));
            (
                ActionStatus::Failed,
                ActionExecutionOutput { execution_result: result, ..ActionExecutionOutput::default() },
            )
        }
        _ => (ActionStatus::Abandoned, ActionExecutionOutput::default()),
    }
}

fn result(told: &ExecutionDetails, error_details: Option<ErrorDetails>) -> ActionExecutionResult {
    ActionExecutionResult {
        external_execution_id: told.external_id.clone(),
        external_execution_summary: views::summary(told.summary.as_ref()),
        external_execution_url: views::summary(told.links.first().map(|link| &link.url)),
        error_details,
    }
}

/// Artifacts at S3's addresses, in the form that CodePipeline gives them.
fn artifacts(declaration: &PipelineDeclaration, digests: &BTreeMap<String, String>) -> Vec<ArtifactDetail> {
    let detail = |(name, digest): (&String, &String)| {
        let (bucket, key) = declaration.artifact_location(name, digest);
        ArtifactDetail { name: name.clone(), s3location: S3Location { bucket: bucket.to_owned(), key } }
    };
    digests.iter().map(detail).collect()
}
