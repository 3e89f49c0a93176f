//! ListDeployActionExecutionTargets: what a deploy action told of each of its targets (S106).
//!
//! Must not know what a target is (the plugin).

use pipewright_engine::driver::{ActionRecords, Aggregate};
use pipewright_pipeline::machine::{ActionExecutionId, ActionHappening, Event, ExecutionDetails, Timestamp};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{DeployActionExecutionTarget, ListDeployActionExecutionTargetsOutput, Time};
use pipewright_runner::outcome::TARGETS;
use serde::Deserialize;

use super::executions::RESULTS_PER_PAGE;
use super::{Context, Service, ServiceError};

/// The newest action executions of a pipeline among which one is looked for, and of each where no pipeline is named. Stops an id that
/// is nobody's from reading all of history.
const ROWS_MAX: usize = 1000;
const ROWS_OF_EACH_MAX: usize = 100;

/// As the runner keeps one among an action's details.
#[derive(Deserialize)]
struct Told {
    id: String,
    kind: String,
    status: String,
}

pub async fn list_targets(
    service: &Service,
    context: &Context,
    input: requests::ListDeployActionExecutionTargetsInput,
) -> Result<ListDeployActionExecutionTargetsOutput, ServiceError> {
    let (pipelines, rows_max) = match &input.pipeline_name {
        Some(name) => (vec![service.listed_pipeline(context, name).await?.pipeline], ROWS_MAX),
        None => {
            let all = service.driver().pipelines(context.account).await?;
            (all.into_iter().map(|(_, pipeline)| pipeline).collect(), ROWS_OF_EACH_MAX)
        }
    };
    let (id, name, filters) = (&input.action_execution_id, &input.pipeline_name, &input.filters);
    let scope = format!("ListDeployActionExecutionTargets {id:?} {name:?} {filters:?}");
    let after = service.after(context, &scope, input.next_token.as_deref())?;
    let after = after.and_then(|after| Some(u64::from_be_bytes(after.try_into().ok()?) as usize)).unwrap_or_default();
    let (pipeline, records) = find(service, &pipelines, &input.action_execution_id, rows_max).await?;
    let mut targets = match told(service, pipeline, &records).await? {
        Some((ended, told)) => targets(&told, records.place.started, ended),
        None => Vec::new(),
    };
    for filter in input.filters.iter().flatten() {
        targets.retain(|target| filter.values.as_ref().is_none_or(|values| values.contains(&target.status)));
    }
    let end = after.saturating_add(input.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize));
    let next_token = (targets.len() > end).then(|| service.token(context, &scope, &(end as u64).to_be_bytes()));
    let targets = targets.into_iter().take(end).skip(after).collect();
    Ok(ListDeployActionExecutionTargetsOutput { targets, next_token })
}

async fn find(
    service: &Service,
    pipelines: &[Aggregate],
    id: &str,
    rows_max: usize,
) -> Result<(Aggregate, ActionRecords), ServiceError> {
    if let Ok(id) = id.parse::<ActionExecutionId>() {
        for pipeline in pipelines {
            let rows = service.driver().list_runs::<false>(*pipeline, None, rows_max).await?;
            if let Some(records) = rows.into_iter().find(|records| records.place.action == id) {
                return Ok((*pipeline, records));
            }
        }
    }
    let message = format!("There is no action execution with ID '{id}'");
    Err(ServiceError::refused("ActionExecutionNotFoundException", message))
}

/// What the action told at its end, and when; none while it is in progress.
async fn told(
    service: &Service,
    pipeline: Aggregate,
    records: &ActionRecords,
) -> Result<Option<(Timestamp, ExecutionDetails)>, ServiceError> {
    let Some(sequence) = records.end else { return Ok(None) };
    let Some(entry) = service.driver().entry(pipeline, sequence).await? else { return Ok(None) };
    let told = entry.events.iter().find_map(|event| match event {
        Event::Action(event) if event.action_execution == records.place.action => match &event.what {
            ActionHappening::Succeeded { told, .. } | ActionHappening::Failed { told, .. } => Some(told.clone()),
            _ => None,
        },
        _ => None,
    });
    Ok(entry.at.zip(told))
}

fn targets(told: &ExecutionDetails, started: Timestamp, ended: Timestamp) -> Vec<DeployActionExecutionTarget> {
    let targets = told.details.get(TARGETS).and_then(|targets| targets.as_array());
    let targets = targets.into_iter().flatten().filter_map(|target| Told::deserialize(target).ok());
    let target = |Told { id, kind, status }| DeployActionExecutionTarget {
        target_id: id,
        target_type: kind,
        status,
        start_time: Time(started),
        end_time: Time(ended),
        events: [],
    };
    targets.map(target).collect()
}
