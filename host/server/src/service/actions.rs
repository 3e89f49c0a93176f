//! ListActionExecutions.
//!
//! Must not know how history becomes an action execution (`runs`).

use pipewright_engine::driver::ActionRecords;
use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::ActionCategory;
use pipewright_pipeline::machine::{ActionHappening, Decision, Declared, Event, ExecutionId};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    ActionExecutionDetail, ActionExecutionInput, ActionExecutionOutput, ListActionExecutionsOutput, Time,
};

use super::reading::Reading;
use super::runs::{self, Ran, Wanted};
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
    let wanted = Wanted {
        operation: "ListActionExecutions",
        filter: input.filter.as_ref(),
        max_results: input.max_results,
        next_token: input.next_token.as_deref(),
    };
    let (runs, next_token) = runs::page::<false>(&mut reading, context, wanted).await?;
    let catalogue = service.catalogue(context);
    let mut details = Vec::with_capacity(runs.len());
    for ran in runs {
        details.push(detail(&reading, ran, catalogue.described()).await?);
    }
    Ok(ListActionExecutionsOutput { action_execution_details: details, next_token })
}

/// All of an execution that are still known, the newest first.
pub(super) async fn of_execution(
    reading: &mut Reading<'_>,
    execution: ExecutionId,
    types: &ActionTypes,
) -> Result<Vec<ActionExecutionDetail>, ServiceError> {
    let mut details = Vec::new();
    for ran in runs::of_execution(reading, execution, OF_EXECUTION_MAX).await? {
        details.push(detail(reading, ran, types).await?);
    }
    Ok(details)
}

/// Whether an answer was given by this token, also where the execution has ended since.
pub(super) async fn was_answered(reading: &Reading<'_>, token: &str) -> Result<bool, ServiceError> {
    let rows = reading.service.driver().list_runs::<false>(reading.pipeline, None, ANSWERED_ROWS_MAX).await?;
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

async fn detail(reading: &Reading<'_>, ran: Ran, types: &ActionTypes) -> Result<ActionExecutionDetail, ServiceError> {
    let decided = ran.live.as_ref().and_then(|run| run.decision.clone());
    let updated_by = match decided {
        Some(decision) => decision.by,
        // Then history says who answered it.
        None if ran.began.type_id.category == ActionCategory::Approval => {
            decision(reading, &ran.row).await?.and_then(|decision| decision.by)
        }
        None => None,
    };
    let [configuration, resolved_configuration] = ran.configuration(types);
    let action = match ran.declared() {
        Some(Declared::Action(action)) => Some(action),
        _ => None,
    };
    let mut output = ActionExecutionOutput { execution_result: ran.result(), ..ActionExecutionOutput::default() };
    if let Some((_, told)) = &ran.ended
        && let ActionHappening::Succeeded { artifacts, variables, .. } = &told.what
    {
        output.output_artifacts = runs::artifacts(&ran.declaration, artifacts);
        output.output_variables = (**variables).clone();
    }
    Ok(ActionExecutionDetail {
        pipeline_execution_id: ran.row.execution.to_string(),
        action_execution_id: ran.row.place.action.to_string(),
        pipeline_version: ran.began.version,
        start_time: Time(ran.row.place.started),
        last_update_time: Time(ran.updated()),
        updated_by,
        status: ran.status(),
        input: ActionExecutionInput {
            action_type_id: ran.began.type_id.clone(),
            resolved_configuration,
            configuration,
            role_arn: action.and_then(|action| action.role_arn.clone()),
            region: ran.region(reading.service),
            input_artifacts: ran.inputs(),
            namespace: action.and_then(|action| action.namespace.clone()),
        },
        output,
        stage_name: ran.began.stage,
        action_name: ran.began.name,
    })
}
