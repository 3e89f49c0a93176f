//! ListActionExecutions.
//!
//! Owns how the two ends of an action execution, as history has them, become one detail. Must not know the rules of
//! actions (the core's state machine).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::{ActionDeclaration, ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionEvent, ActionHappening, ActionRun, ActionStatus, Event, Execution, Timestamp, Told,
};
use pipewright_pipeline::requests;
use serde::Serialize;

use super::Call;
use super::error::ApiError;
use super::executions::{RESULTS_PER_PAGE, Reading};
use super::views::{self, ErrorDetails, MASK, Time};
use pipewright_engine::driver::Entry;
use pipewright_engine::driver::rows::{ActionOfRow, ActionRow, Place, Row as _, Which};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    action_execution_details: Vec<Detail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    pipeline_execution_id: String,
    action_execution_id: String,
    pipeline_version: u32,
    stage_name: String,
    action_name: String,
    start_time: Time,
    last_update_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_by: Option<String>,
    status: ActionStatus,
    input: Input,
    output: Output,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Input {
    action_type_id: ActionTypeId,
    configuration: BTreeMap<String, String>,
    resolved_configuration: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_arn: Option<String>,
    region: String,
    input_artifacts: Vec<ArtifactDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Output {
    output_artifacts: Vec<ArtifactDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_result: Option<ExecutionResult>,
    output_variables: BTreeMap<String, String>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct ExecutionResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    external_execution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_execution_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    external_execution_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error_details: Option<ErrorDetails>,
}

#[derive(Serialize)]
struct ArtifactDetail {
    name: String,
    s3location: S3Location,
}

#[derive(Serialize)]
struct S3Location {
    bucket: String,
    key: String,
}

pub async fn list(call: &Call, input: requests::ListActionExecutionsInput) -> Result<Listed, ApiError> {
    let (pipeline, state) = call.listed_pipeline(&input.pipeline_name).await?;
    let mut reading = Reading::new(call, pipeline, state);
    let (id, latest) =
        input.filter.map_or((None, None), |it| (it.pipeline_execution_id, it.latest_in_pipeline_execution));
    let wanted = latest.as_ref().map(|latest| &latest.pipeline_execution_id).or(id.as_ref());
    let of = match wanted {
        Some(id) => Some(reading.named(id).await?),
        None => None,
    };
    let since = match (&of, &latest) {
        (Some(execution), Some(latest)) if latest.start_time_range == requests::StartTimeRange::Latest => {
            latest_attempt(execution)
        }
        _ => Timestamp(0),
    };
    let scope = format!("ListActionExecutions {pipeline} {} {}", wanted.map_or("", |id| id), since.0);
    let after = call.api.pages.after(&scope, input.next_token.as_deref())?;
    let after = after.map(|after| Place::read(&after).ok_or_else(ApiError::invalid_token)).transpose()?;
    let limit = input.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize);
    let mut names = match &of {
        Some(execution) => of_execution(&reading, execution, after, limit + 1).await?,
        None => of_pipeline(&reading, after, limit + 1).await?,
    };
    names.retain(|name| name.place.started >= since);
    let next_token = (names.len() > limit).then(|| call.api.pages.token(&scope, &names[limit - 1].place.to_bytes()));
    names.truncate(limit);

    let catalogue = call.catalogue();
    let mut records = Records::default();
    let mut details = Vec::with_capacity(names.len());
    for name in names {
        if let Some(detail) = detail(&mut reading, &mut records, &name, catalogue.described()).await? {
            details.push(detail);
        }
    }
    Ok(Listed { action_execution_details: details, next_token })
}

/// When the latest attempt of an execution began: its start, or its latest retry.
fn latest_attempt(execution: &Execution) -> Timestamp {
    let retries = execution.progress.stages.iter().filter_map(|stage| stage.last_retry);
    retries.max().unwrap_or(execution.start.at)
}

/// An action execution in the index.
struct Name {
    place: Place,
    /// Its row of the start, and of the end if it has ended.
    rows: Vec<ActionRow>,
}

async fn of_pipeline(reading: &Reading<'_>, after: Option<Place>, limit: usize) -> Result<Vec<Name>, ApiError> {
    let (account, uid) = (reading.pipeline.account, reading.pipeline.uid);
    let behind = after.map(|after| ActionRow::behind(&uid, after));
    let driver = &reading.call.api.host.driver;
    let mut names: Vec<Name> = Vec::new();
    for row in driver.rows::<ActionRow>(account, ActionRow::of(&uid), behind, 2 * limit).await? {
        match names.last_mut() {
            Some(last) if last.place.action == row.place.action => last.rows.push(row),
            _ => names.push(Name { place: row.place, rows: vec![row] }),
        }
    }
    names.truncate(limit);
    Ok(names)
}

async fn of_execution(
    reading: &Reading<'_>,
    execution: &Execution,
    after: Option<Place>,
    limit: usize,
) -> Result<Vec<Name>, ApiError> {
    let (account, uid) = (reading.pipeline.account, reading.pipeline.uid);
    let driver = &reading.call.api.host.driver;
    let after = after.map(|place| ActionOfRow { uid, execution: execution.id, place }.name());
    let found = driver.rows::<ActionOfRow>(account, ActionOfRow::of(&uid, execution.id), after, limit).await?;
    let mut names = Vec::with_capacity(found.len());
    for ActionOfRow { place, .. } in found {
        let rows = driver.rows(account, ActionRow::at(&uid, place), None, 2).await?;
        names.push(Name { place, rows });
    }
    Ok(names)
}

/// The records that a page has read: two action executions often have one in common.
#[derive(Default)]
struct Records(HashMap<u64, Option<Arc<Entry>>>);

impl Records {
    /// What a record says of an action execution that it starts or ends.
    async fn event(
        &mut self,
        reading: &Reading<'_>,
        row: &ActionRow,
    ) -> Result<Option<(Timestamp, ActionEvent)>, ApiError> {
        let (sequence, action) = (row.sequence, row.place.action);
        let entry = match self.0.get(&sequence) {
            Some(entry) => entry.clone(),
            None => {
                let entry = reading.call.api.host.driver.history(reading.pipeline, sequence, 1).await?.pop();
                let entry = entry.filter(|entry| entry.sequence == sequence).map(Arc::new);
                self.0.insert(sequence, entry.clone());
                entry
            }
        };
        let Some(entry) = entry else { return Ok(None) };
        let found = entry.events.iter().find_map(|event| match event {
            Event::Action(event) if event.action_execution == action => Some((**event).clone()),
            _ => None,
        });
        Ok(entry.at.zip(found))
    }
}

/// None where retention has just collected it.
async fn detail(
    reading: &mut Reading<'_>,
    records: &mut Records,
    name: &Name,
    types: &ActionTypes,
) -> Result<Option<Detail>, ApiError> {
    let Some(row) = name.rows.first() else { return Ok(None) };
    let (execution, action) = (row.execution, name.place.action);
    let Some((_, started)) = records.event(reading, row).await? else { return Ok(None) };
    let ended = match name.rows.iter().find(|row| row.which == Which::End) {
        Some(row) => records.event(reading, row).await?,
        None => None,
    };
    let declaration = reading.declaration(started.version).await?;
    let live = reading.state.executions.get(&execution);
    let run = live.and_then(|live| live.actions.values().find(|run| run.id == action)).map(|run| &**run);
    let (status, last_update_time, output) = match &ended {
        Some((at, event)) => {
            let (status, output) = output(&event.what, &declaration);
            (status, *at, output)
        }
        None => (ActionStatus::InProgress, run.map_or(name.place.started, |run| run.updated), in_progress(run)),
    };
    let decision = run.and_then(|run| run.decision.as_ref());
    Ok(Some(Detail {
        pipeline_execution_id: execution.to_string(),
        action_execution_id: action.to_string(),
        pipeline_version: started.version,
        start_time: Time(name.place.started),
        last_update_time: Time(last_update_time),
        updated_by: decision.and_then(|decision| decision.by.clone()),
        status,
        input: input(reading.call, &started, &declaration, types),
        output,
        stage_name: started.stage,
        action_name: started.action,
    }))
}

fn declared<'a>(declaration: &'a PipelineDeclaration, event: &ActionEvent) -> Option<&'a ActionDeclaration> {
    let stage = declaration.stages.iter().find(|stage| stage.name == event.stage)?;
    stage.actions.iter().find(|action| action.name == event.action)
}

fn input(call: &Call, started: &ActionEvent, declaration: &PipelineDeclaration, types: &ActionTypes) -> Input {
    let action = declared(declaration, started);
    let (inputs, resolved) = match &started.what {
        ActionHappening::Started { inputs, resolved_configuration } => (inputs.clone(), resolved_configuration.clone()),
        _ => Default::default(),
    };
    let secrets = types.get(&started.action_type).into_iter().flat_map(|info| &info.properties);
    let secrets: Vec<_> = secrets.filter(|property| property.secret).map(|property| &property.name).collect();
    let masked = |mut values: BTreeMap<String, String>| {
        values.iter_mut().filter(|(key, _)| secrets.contains(key)).for_each(|(_, value)| MASK.clone_into(value));
        values
    };
    let configuration = action.and_then(|action| action.configuration.clone()).unwrap_or_default();
    Input {
        action_type_id: started.action_type.clone(),
        resolved_configuration: masked(resolved.unwrap_or_else(|| configuration.clone())),
        configuration: masked(configuration),
        role_arn: action.and_then(|action| action.role_arn.clone()),
        region: action.and_then(|action| action.region.clone()).unwrap_or_else(|| call.api.region.clone()),
        input_artifacts: artifacts(declaration, &inputs),
        namespace: action.and_then(|action| action.namespace.clone()),
    }
}

fn in_progress(run: Option<&ActionRun>) -> Output {
    let waits = run.and_then(|run| run.wait.as_ref()).and_then(|wait| wait.summary.as_ref());
    // By it an approval is answered in a pipeline of mode PARALLEL (contract §7.8).
    let token = run.and_then(|run| run.approval_token()).map(|token| token.to_string());
    let result = ExecutionResult {
        external_execution_id: token,
        external_execution_summary: views::summary(waits),
        ..ExecutionResult::default()
    };
    Output { execution_result: Some(result), ..Output::default() }
}

fn output(what: &ActionHappening, declaration: &PipelineDeclaration) -> (ActionStatus, Output) {
    match what {
        ActionHappening::Succeeded { artifacts: made, variables, told, .. } => {
            let output = Output {
                output_artifacts: artifacts(declaration, made),
                execution_result: Some(result(told, None)),
                output_variables: (**variables).clone(),
            };
            (ActionStatus::Succeeded, output)
        }
        ActionHappening::Failed { error, told } => {
            let result = Some(result(told, Some(ErrorDetails::from(error))));
            (ActionStatus::Failed, Output { execution_result: result, ..Output::default() })
        }
        _ => (ActionStatus::Abandoned, Output::default()),
    }
}

fn result(told: &Told, error_details: Option<ErrorDetails>) -> ExecutionResult {
    ExecutionResult {
        external_execution_id: told.external_id.clone(),
        external_execution_summary: views::summary(told.summary.as_ref()),
        external_execution_url: views::summary(told.links.first().map(|link| &link.url)),
        error_details,
    }
}

/// Artifacts at S3's addresses, in the form that CodePipeline gives them (contract §7.13).
fn artifacts(declaration: &PipelineDeclaration, digests: &BTreeMap<String, String>) -> Vec<ArtifactDetail> {
    let stores = declaration.artifact_stores.iter().flat_map(|stores| stores.values());
    let store = declaration.artifact_store.as_ref().or_else(|| stores.into_iter().next());
    let bucket = store.map_or("pipewright", |store| store.location.as_str());
    let first = |text: &str, count| text.chars().take(count).collect::<String>();
    let detail = |(name, digest): (&String, &String)| {
        let key = format!("{}/{}/{}.zip", first(&declaration.name, 20), first(name, 10), first(digest, 7));
        ArtifactDetail { name: name.clone(), s3location: S3Location { bucket: bucket.to_owned(), key } }
    };
    digests.iter().map(detail).collect()
}
