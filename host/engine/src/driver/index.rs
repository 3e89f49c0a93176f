//! The index rows that derive from a step: what lists show, newest first, and what has to go on after a restart.
//!
//! Owns the kinds of rows, their names and values. Must not know who lists them, or when a row is collected
//! (`retention`). Every row is written in the commit of the step it derives from.
//!
//! Numbers in names are 8 bytes, big-endian; `!` is the complement, so that the newest row is the first. `uid` is the
//! pipeline's, `execution` and `action` are ids of 16 bytes.
//!
//! | kind        | name                                | value                                          |
//! |-------------|-------------------------------------|------------------------------------------------|
//! | Pipelines   | the pipeline's name                 | [`PipelineRow`] as JSON                        |
//! | Executions  | uid, !number                        | execution, sequence of its start               |
//! | Actions     | uid, !started, action, 0            | execution, sequence of its start               |
//! | Actions     | uid, !started, action, 1            | execution, sequence of its end                 |
//! | ActionsOf   | uid, execution, !started, action    | nothing                                        |
//! | Artifacts   | SHA-256, uid, execution             | nothing                                        |
//! | Due         | uid                                 | when something is next due, 0 while an action runs |
//! | Polled      | uid                                 | nothing: a source action of it is polled         |
//! | Tokens      | uid, time of the start, SHA-256 of the token | nothing                               |
//! | Deleted     | time of the deletion, uid           | the pipeline's name                            |

use bytes::Bytes;
use pipewright_pipeline::declaration::{ActionCategory, ExecutionMode, PipelineDeclaration, PipelineType};
use pipewright_pipeline::machine::{
    ActionEvent, ActionExecutionId, ActionHappening, Event, ExecutionId, ExecutionState, State, Timestamp,
};
use pipewright_sandbox::files::Digest;
use serde::{Deserialize, Serialize};

use super::DriverError;
use pipewright_store::{Aggregate, IndexKey};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    Pipelines = 1,
    Executions = 2,
    Actions = 3,
    ActionsOf = 4,
    Artifacts = 5,
    Due = 6,
    Polled = 7,
    Tokens = 8,
    Deleted = 9,
}

impl Kind {
    pub fn key(self, parts: &[&[u8]]) -> IndexKey {
        IndexKey { kind: self as u8, name: parts.concat().into() }
    }
}

/// A pipeline as lists show it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRow {
    pub version: u32,
    pub created: Timestamp,
    pub updated: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pipeline_type: Option<PipelineType>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub execution_mode: Option<ExecutionMode>,
}

/// The last byte of an action's row names.
pub const STARTED: u8 = 0;
pub const ENDED: u8 = 1;

pub type Rows = Vec<(IndexKey, Option<Bytes>)>;

/// What a step did, for the rows that follow from it.
pub(super) struct Stepped<'a> {
    pub aggregate: Aggregate,
    /// Of the record that the step becomes.
    pub sequence: u64,
    pub at: Timestamp,
    pub events: &'a [Event],
    pub before: &'a State,
    pub after: &'a State,
}

pub(super) fn rows(step: &Stepped<'_>) -> Result<Rows, DriverError> {
    let mut rows = Rows::new();
    for event in step.events {
        match event {
            Event::PipelineCreated { declaration } | Event::PipelineUpdated { declaration } => {
                step.declared(declaration, &mut rows)?;
            }
            Event::PipelineDeleted { .. } => step.deleted(&mut rows),
            Event::Execution(event) if event.state == ExecutionState::Started => {
                let key = Kind::Executions.key(&[&step.uid(), &newest_first(event.number)]);
                rows.push((key, Some([&id(event.execution)[..], &step.sequence.to_be_bytes()].concat().into())));
            }
            Event::Action(event) => step.action(event, &mut rows),
            Event::Execution(_) | Event::Stage(_) | Event::TransitionChanged { .. } => {}
        }
    }
    let due = |state: &State| state.due().map(|at| at.0);
    let (before, after) = (due(step.before), due(step.after));
    if before != after {
        rows.push((Kind::Due.key(&[&step.uid()]), after.map(|at| at.to_be_bytes().to_vec().into())));
    }
    Ok(rows)
}

/// The rows that tell of a pipeline's state and not of what happened.
pub(crate) fn of_state(aggregate: Aggregate, state: &State) -> Result<Rows, DriverError> {
    let nothing = State::default();
    let made = Stepped { aggregate, sequence: 0, at: Timestamp(0), events: &[], before: &nothing, after: state };
    let mut rows = Rows::new();
    if let Some(declaration) = &state.declaration {
        made.declared(declaration, &mut rows)?;
    }
    if let Some(due) = state.due() {
        rows.push((Kind::Due.key(&[&aggregate.uid]), Some(due.0.to_be_bytes().to_vec().into())));
    }
    Ok(rows)
}

impl Stepped<'_> {
    fn uid(&self) -> [u8; 16] {
        self.aggregate.uid
    }

    fn declared(&self, declaration: &PipelineDeclaration, rows: &mut Rows) -> Result<(), DriverError> {
        let Some(head) = &self.after.head else { return Ok(()) };
        let row = PipelineRow {
            version: head.version,
            created: head.created,
            updated: head.updated,
            pipeline_type: declaration.pipeline_type,
            execution_mode: declaration.execution_mode,
        };
        rows.push((Kind::Pipelines.key(&[declaration.name.as_bytes()]), Some(super::record::json(&row)?)));
        let polled = polled_sources(declaration).next().is_some();
        let was_polled = self.before.declaration.as_ref().is_some_and(|it| polled_sources(it).next().is_some());
        if polled != was_polled {
            rows.push((Kind::Polled.key(&[&self.uid()]), polled.then(Bytes::new)));
        }
        Ok(())
    }

    fn deleted(&self, rows: &mut Rows) {
        let Some(declaration) = &self.before.declaration else { return };
        let name = declaration.name.as_bytes();
        rows.push((Kind::Pipelines.key(&[name]), None));
        rows.push((Kind::Polled.key(&[&self.uid()]), None));
        let row = Kind::Deleted.key(&[&self.at.0.to_be_bytes(), &self.uid()]);
        rows.push((row, Some(Bytes::copy_from_slice(name))));
    }

    fn action(&self, event: &ActionEvent, rows: &mut Rows) {
        let which = match &event.what {
            ActionHappening::Started { .. } => STARTED,
            ActionHappening::Succeeded { artifacts, .. } => {
                for digest in artifacts.values().filter_map(|digest| artifact_digest(digest)) {
                    rows.push((Kind::Artifacts.key(&[&digest, &self.uid(), &id(event.execution)]), Some(Bytes::new())));
                }
                ENDED
            }
            ActionHappening::Failed { .. } | ActionHappening::Abandoned | ActionHappening::Canceled => ENDED,
            ActionHappening::Waiting { .. }
            | ActionHappening::Decided(_)
            | ActionHappening::Resumed { .. }
            | ActionHappening::Restarted { .. } => return,
        };
        let (uid, started, action) =
            (self.uid(), newest_first(self.started(event).0), action_id(event.action_execution));
        let value = [&id(event.execution)[..], &self.sequence.to_be_bytes()].concat();
        rows.push((Kind::Actions.key(&[&uid, &started, &action, &[which]]), Some(value.into())));
        if which == STARTED {
            let name = Kind::ActionsOf.key(&[&uid, &id(event.execution), &started, &action]);
            rows.push((name, Some(Bytes::new())));
        }
    }

    /// When an action of an event started; one that this step started and ended is not in the state before.
    fn started(&self, event: &ActionEvent) -> Timestamp {
        let runs = self.before.executions.get(&event.execution).into_iter().flat_map(|it| it.runs.values());
        runs.filter(|run| run.id == event.action_execution).map(|run| run.started).next().unwrap_or(self.at)
    }
}

/// For retention, which drops tokens that are no longer good.
pub(super) fn token_row(pipeline: Aggregate, at: Timestamp, token: &str) -> (IndexKey, Option<Bytes>) {
    let name = Kind::Tokens.key(&[&pipeline.uid, &at.0.to_be_bytes(), Digest::of(token.as_bytes()).as_bytes()]);
    (name, Some(Bytes::new()))
}

/// The source actions that are looked at periodically: all that do not say otherwise (S91).
pub fn polled_sources(declaration: &PipelineDeclaration) -> impl Iterator<Item = &str> {
    let actions = declaration.stages.first().into_iter().flat_map(|stage| &stage.actions);
    let sources = actions.filter(|action| action.action_type_id.category == ActionCategory::Source);
    let polled = sources.filter(|action| {
        let said = action.configuration.as_ref().and_then(|it| it.get("PollForSourceChanges"));
        said.is_none_or(|said| said.eq_ignore_ascii_case("true"))
    });
    polled.map(|action| action.name.as_str())
}

pub fn newest_first(number: u64) -> [u8; 8] {
    (!number).to_be_bytes()
}

pub fn id(execution: ExecutionId) -> [u8; 16] {
    *execution.as_bytes()
}

pub fn action_id(action: ActionExecutionId) -> [u8; 16] {
    *action.as_bytes()
}

/// The 32 bytes that a digest's text stands for.
pub fn artifact_digest(text: &str) -> Option<[u8; 32]> {
    text.parse::<Digest>().ok().map(|digest| *digest.as_bytes())
}
