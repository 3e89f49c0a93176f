//! Action executions and rule executions as lists show them, page by page.
//!
//! Owns how the two ends of one, as history has them, become what is shown of both kinds. Must not know the rules of actions
//! (the core's state machine).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use pipewright_engine::driver::{ActionRecords, Entry};
use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::{ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionExecutionId, ActionHappening, ActionRun, ActionStatus, Address, ConditionType, Declared, Event, Execution,
    ExecutionDetails, ExecutionId, Timestamp, all,
};
use pipewright_pipeline::requests::{ExecutionFilter, StartTimeRange};
use pipewright_pipeline::responses::{ActionExecutionResult, ArtifactDetail, S3Location};
use pipewright_pipeline::secrets::{MASK, is_secret};

use super::executions::RESULTS_PER_PAGE;
use super::reading::Reading;
use super::views;
use super::{Context, Service, ServiceError};

/// What a list is asked for.
pub(super) struct Wanted<'a> {
    pub operation: &'static str,
    pub filter: Option<&'a ExecutionFilter>,
    pub max_results: Option<u32>,
    pub next_token: Option<&'a str>,
}

/// A page, and the token of the next.
pub(super) async fn page<const IS_RULE: bool>(
    reading: &mut Reading<'_>,
    context: &Context,
    wanted: Wanted<'_>,
) -> Result<(Vec<Ran>, Option<String>), ServiceError> {
    let (service, pipeline) = (reading.service, reading.pipeline);
    let id = wanted.filter.and_then(|filter| filter.wanted());
    let latest = wanted.filter.and_then(|filter| filter.latest_in_pipeline_execution.as_ref());
    let of = match id {
        Some(id) => Some(reading.named(id).await?),
        None => None,
    };
    let since = match (&of, latest) {
        (Some(execution), Some(latest)) if latest.start_time_range == StartTimeRange::Latest => {
            latest_attempt(execution)
        }
        _ => Timestamp(0),
    };
    let scope = format!("{} {pipeline} {} {}", wanted.operation, id.unwrap_or_default(), since.0);
    let after = service.after(context, &scope, wanted.next_token)?;
    let limit = wanted.max_results.map_or(RESULTS_PER_PAGE, |max| max as usize);
    let (driver, after) = (service.driver(), after.as_deref());
    let mut rows = match &of {
        Some(execution) => driver.list_runs_of::<IS_RULE>(pipeline, execution.id, after, limit + 1).await?,
        None => driver.list_runs::<IS_RULE>(pipeline, after, limit + 1).await?,
    };
    rows.retain(|row| row.place.started >= since);
    let next_token = (rows.len() > limit).then(|| service.token(context, &scope, &rows[limit - 1].position()));
    rows.truncate(limit);
    let mut records = Records::default();
    let mut runs = Vec::with_capacity(rows.len());
    for row in rows {
        runs.extend(records.ran(reading, row).await?);
    }
    Ok((runs, next_token))
}

/// Those of actions in an execution that are still known, the newest first.
pub(super) async fn of_execution(
    reading: &mut Reading<'_>,
    execution: ExecutionId,
    rows_max: usize,
) -> Result<Vec<Ran>, ServiceError> {
    let rows = reading.service.driver().list_runs_of::<false>(reading.pipeline, execution, None, rows_max).await?;
    let (mut records, mut runs) = (Records::default(), Vec::new());
    for row in rows {
        runs.extend(records.ran(reading, row).await?);
    }
    Ok(runs)
}

/// When the latest attempt of an execution began: its start, or its latest retry.
fn latest_attempt(execution: &Execution) -> Timestamp {
    let retries = execution.progress.stages.iter().filter_map(|stage| stage.last_retry);
    retries.max().unwrap_or(execution.start.at)
}

/// What an event tells of an action execution or a rule execution.
#[derive(Clone)]
pub(super) struct Told {
    pub version: u32,
    pub stage: String,
    /// In which a rule is.
    pub condition: Option<ConditionType>,
    pub name: String,
    pub type_id: ActionTypeId,
    pub what: ActionHappening,
}

impl Told {
    /// None where the event is about something else.
    fn of(event: &Event, id: ActionExecutionId) -> Option<Told> {
        Some(match event {
            Event::Action(event) if event.action_execution == id => Told {
                version: event.version,
                stage: event.stage.clone(),
                condition: None,
                name: event.action.clone(),
                type_id: event.action_type.clone(),
                what: event.what.clone(),
            },
            Event::Rule(event) if event.rule_execution == id => Told {
                version: event.version,
                stage: event.stage.clone(),
                condition: Some(event.condition),
                name: event.rule.clone(),
                type_id: event.rule_type.to_type_id(),
                what: event.what.clone(),
            },
            _ => return None,
        })
    }

    fn is_start(&self) -> bool {
        matches!(self.what, ActionHappening::Started { .. })
    }

    fn is_end(&self) -> bool {
        matches!(
            self.what,
            ActionHappening::Succeeded { .. }
                | ActionHappening::Failed { .. }
                | ActionHappening::NotPassed { .. }
                | ActionHappening::Abandoned
                | ActionHappening::Canceled
        )
    }
}

/// The records that a page has read: two executions often have one in common.
#[derive(Default)]
struct Records(HashMap<u64, Option<Arc<Entry>>>);

impl Records {
    /// What a record says of how an execution began, or of how it ended.
    async fn told(
        &mut self,
        reading: &Reading<'_>,
        sequence: Option<u64>,
        id: ActionExecutionId,
        is_meant: fn(&Told) -> bool,
    ) -> Result<Option<(Timestamp, Told)>, ServiceError> {
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
        let found = entry.events.iter().filter_map(|event| Told::of(event, id)).find(is_meant);
        Ok(entry.at.zip(found))
    }

    /// None where retention has just collected it.
    async fn ran(&mut self, reading: &mut Reading<'_>, row: ActionRecords) -> Result<Option<Ran>, ServiceError> {
        let id = row.place.action;
        let began = self.told(reading, row.start, id, Told::is_start).await?;
        let ended = self.told(reading, row.end, id, Told::is_end).await?;
        // Of one that failed before it could run there is an end alone.
        let Some((_, began)) = began.or_else(|| ended.clone()) else { return Ok(None) };
        let declaration = reading.declaration(began.version).await?;
        let live = reading.state.executions.get(&row.execution);
        let live = live.and_then(|live| live.runs.values().find(|run| run.id == id)).cloned();
        let progress =
            live.as_ref().filter(|run| run.in_progress()).and_then(|_| reading.service.progress(&id.to_string()));
        Ok(Some(Ran { row, began, ended, declaration, live, progress }))
    }
}

/// One action execution or rule execution.
pub(super) struct Ran {
    pub row: ActionRecords,
    pub began: Told,
    pub ended: Option<(Timestamp, Told)>,
    /// What its execution runs.
    pub declaration: Arc<PipelineDeclaration>,
    /// While its execution is in progress.
    pub live: Option<Arc<ActionRun>>,
    /// While it is being called: what it told last of how far it is.
    progress: Option<String>,
}

impl Ran {
    pub fn declared(&self) -> Option<Declared<'_>> {
        let is_it = |address| match address {
            Address::Action(_) => self.began.condition.is_none(),
            Address::Rule(rule) => self.began.condition == Some(rule.condition),
        };
        let mut placed = all(&self.declaration).filter(|placed| placed.stage.name == self.began.stage);
        placed.find(|it| is_it(it.address) && it.declared.name() == self.began.name).map(|it| it.declared)
    }

    pub fn status(&self) -> ActionStatus {
        match self.ended.as_ref().map(|(_, told)| &told.what) {
            None => ActionStatus::InProgress,
            Some(ActionHappening::Succeeded { .. }) => ActionStatus::Succeeded,
            Some(ActionHappening::Failed { .. } | ActionHappening::NotPassed { .. }) => ActionStatus::Failed,
            Some(_) => ActionStatus::Abandoned,
        }
    }

    pub fn updated(&self) -> Timestamp {
        match (&self.ended, &self.live) {
            (Some((at, _)), _) => *at,
            (None, Some(run)) => run.updated,
            (None, None) => self.row.place.started,
        }
    }

    /// The configuration as declared, and as it was resolved, without secrets.
    pub fn configuration(&self, types: &ActionTypes) -> [BTreeMap<String, String>; 2] {
        let declared = self.declared().and_then(|declared| declared.configuration()).cloned().unwrap_or_default();
        let resolved = match &self.began.what {
            ActionHappening::Started { resolved_configuration: Some(resolved), .. } => resolved.clone(),
            _ => declared.clone(),
        };
        [declared, resolved].map(|mut values| {
            let secret = values.iter_mut().filter(|(key, _)| is_secret(types, &self.began.type_id, key));
            secret.for_each(|(_, value)| MASK.clone_into(value));
            values
        })
    }

    pub fn region(&self, service: &Service) -> String {
        let region = self.declared().and_then(Declared::region);
        region.unwrap_or(service.region()).to_owned()
    }

    pub fn inputs(&self) -> Vec<ArtifactDetail> {
        match &self.began.what {
            ActionHappening::Started { inputs, .. } => artifacts(&self.declaration, inputs),
            _ => Vec::new(),
        }
    }

    /// What it says, or said at its end; none of one that was ended.
    pub fn result(&self) -> Option<ActionExecutionResult> {
        let result = |told: &ExecutionDetails| ActionExecutionResult {
            external_execution_id: told.external_id.clone(),
            external_execution_summary: views::summary(told.summary.as_ref()),
            external_execution_url: views::summary(told.links.first().map(|link| &link.url)),
            error_details: None,
        };
        match self.ended.as_ref().map(|(_, told)| &told.what) {
            Some(ActionHappening::Succeeded { told, .. } | ActionHappening::NotPassed { told }) => Some(result(told)),
            Some(ActionHappening::Failed { error, told }) => {
                Some(ActionExecutionResult { error_details: Some(views::error(error)), ..result(told) })
            }
            Some(_) => None,
            None => {
                let run = self.live.as_ref();
                let waits = run.and_then(|run| run.wait.as_ref()).and_then(|wait| wait.summary.as_ref());
                // By it an approval is answered in a pipeline of mode PARALLEL (S63).
                let token = run.and_then(|run| run.approval_token()).map(|token| token.to_string());
                Some(ActionExecutionResult {
                    external_execution_id: token,
                    external_execution_summary: views::summary(waits.or(self.progress.as_ref())),
                    ..ActionExecutionResult::default()
                })
            }
        }
    }
}

/// Artifacts at S3's addresses, in the form that CodePipeline gives them.
pub(super) fn artifacts(declaration: &PipelineDeclaration, digests: &BTreeMap<String, String>) -> Vec<ArtifactDetail> {
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
