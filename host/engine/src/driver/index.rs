//! The index rows that derive from a step: what lists show, newest first, and what has to go on after a restart.
//!
//! Owns which rows a step writes: all of them in its own commit. Must not know their bytes (`rows`), who lists them, or when a
//! row is collected (`retention`).

use pipewright_base::Digest;
use pipewright_pipeline::declaration::{ActionCategory, PipelineDeclaration};
use pipewright_pipeline::machine::{
    ActionExecutionId, ActionHappening, Event, Execution, ExecutionId, ExecutionState, State, Timestamp,
};

use super::job_rows;
use super::rows::{
    ActionEdge, ActionKey, ArtifactRow, DeletedRow, DueRow, EventRow, ExecutionRow, PipelineRow, PolledRow, Row as _,
    RowChange, RunOfRow, RunRow, TokenRow,
};
use pipewright_store::Aggregate;

pub type Rows = Vec<RowChange>;

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

pub(super) fn rows(step: &Stepped<'_>) -> Rows {
    let mut rows = Rows::new();
    for event in step.events {
        match event {
            Event::PipelineCreated { declaration } | Event::PipelineUpdated { declaration } => {
                step.declared(declaration, &mut rows);
            }
            Event::PipelineDeleted { .. } => step.deleted(&mut rows),
            Event::Execution(event) if event.state == ExecutionState::Started => {
                let (number, execution) = (event.number, event.execution);
                rows.push(ExecutionRow { uid: step.uid(), number, execution, start: step.sequence }.put());
                rows.extend(step.inherited(execution).map(|row| row.put()));
            }
            Event::Action(event) => {
                let (run, states) = (event.action_execution, [step.before, step.after]);
                rows.extend(job_rows::told(step.uid(), event.execution, run, &event.what));
                rows.extend(job_rows::waiting(step.uid(), event.execution, run, &event.action_type, states));
                step.run::<false>(event.execution, event.action_execution, &event.what, &mut rows);
            }
            Event::Rule(event) => {
                let (run, states) = (event.rule_execution, [step.before, step.after]);
                rows.extend(job_rows::told(step.uid(), event.execution, run, &event.what));
                rows.extend(job_rows::waiting(step.uid(), event.execution, run, &event.rule_type.to_type_id(), states));
                step.run::<true>(event.execution, run, &event.what, &mut rows);
            }
            Event::Execution(_) | Event::Stage(_) | Event::Condition(_) | Event::TransitionChanged { .. } => {}
        }
    }
    if !step.events.is_empty() {
        rows.push(EventRow { at: step.at, uid: step.uid(), sequence: step.sequence }.put());
    }
    let due = |state: &State| state.due().map(|at| at.0);
    let (before, after) = (due(step.before), due(step.after));
    if before != after {
        let row = DueRow { uid: step.uid(), at: after.unwrap_or_default() };
        rows.push(if after.is_some() { row.put() } else { row.delete() });
    }
    rows
}

/// The rows that tell of a pipeline's state and not of what happened.
pub(crate) fn of_state(aggregate: Aggregate, state: &State) -> Rows {
    let nothing = State::default();
    let made = Stepped { aggregate, sequence: 0, at: Timestamp(0), events: &[], before: &nothing, after: state };
    let mut rows = Rows::new();
    if let Some(declaration) = &state.declaration {
        made.declared(declaration, &mut rows);
    }
    if let Some(due) = state.due() {
        rows.push(DueRow { uid: aggregate.uid, at: due.0 }.put());
    }
    rows.extend(job_rows::queued(aggregate.uid, state));
    rows
}

impl Stepped<'_> {
    fn uid(&self) -> [u8; 16] {
        self.aggregate.uid
    }

    fn declared(&self, declaration: &PipelineDeclaration, rows: &mut Rows) {
        let Some(head) = &self.after.head else { return };
        let row = PipelineRow {
            name: declaration.name.clone(),
            version: head.version,
            created: head.created,
            updated: head.updated,
            pipeline_type: declaration.pipeline_type,
            execution_mode: declaration.execution_mode,
        };
        rows.push(row.put());
        let polled = polled_sources(declaration).next().is_some();
        let was_polled = self.before.declaration.as_ref().is_some_and(|it| polled_sources(it).next().is_some());
        if polled != was_polled {
            let row = PolledRow { uid: self.uid() };
            rows.push(if polled { row.put() } else { row.delete() });
        }
    }

    fn deleted(&self, rows: &mut Rows) {
        let Some(declaration) = &self.before.declaration else { return };
        rows.push((PipelineRow::key_of(&declaration.name), None));
        rows.push(PolledRow { uid: self.uid() }.delete());
        rows.push(DeletedRow { at: self.at, uid: self.uid(), pipeline: declaration.name.clone() }.put());
    }

    /// The artifacts that a rollback has of its target from its start; they stay as long as it does (S75).
    fn inherited(&self, execution: ExecutionId) -> impl Iterator<Item = ArtifactRow> {
        let rollback = self.after.executions.get(&execution).filter(|it| it.start.entry > 0);
        inherited(self.aggregate.uid, rollback.map(|it| &**it))
    }

    fn run<const IS_RULE: bool>(
        &self,
        execution: ExecutionId,
        run: ActionExecutionId,
        what: &ActionHappening,
        rows: &mut Rows,
    ) {
        let uid = self.uid();
        let which = match what {
            ActionHappening::Started { .. } => ActionEdge::Start,
            ActionHappening::Succeeded { artifacts, .. } => {
                let digests = artifacts.values().filter_map(|digest| artifact_digest(digest));
                rows.extend(digests.map(|digest| ArtifactRow { digest, uid, execution }.put()));
                ActionEdge::End
            }
            ActionHappening::Failed { .. }
            | ActionHappening::NotPassed { .. }
            | ActionHappening::Abandoned
            | ActionHappening::Canceled => ActionEdge::End,
            ActionHappening::Waiting { .. }
            | ActionHappening::Decided(_)
            | ActionHappening::Job { .. }
            | ActionHappening::Resumed { .. }
            | ActionHappening::Restarted { .. } => return,
        };
        let place = ActionKey { started: self.started(execution, run), action: run };
        rows.push(RunRow::<IS_RULE> { uid, place, which, execution, sequence: self.sequence }.put());
        if which == ActionEdge::Start {
            rows.push(RunOfRow::<IS_RULE> { uid, execution, place }.put());
        }
    }

    /// When an action or a rule started; one that this step started and ended is not in the state before.
    fn started(&self, execution: ExecutionId, id: ActionExecutionId) -> Timestamp {
        let runs = self.before.executions.get(&execution).into_iter().flat_map(|it| it.runs.values());
        runs.filter(|run| run.id == id).map(|run| run.started).next().unwrap_or(self.at)
    }
}

/// The rows of the artifacts that an execution did not make: those of the stages before its first one.
pub(crate) fn inherited(uid: [u8; 16], execution: Option<&Execution>) -> impl Iterator<Item = ArtifactRow> {
    execution.into_iter().flat_map(move |execution| {
        let before = execution.actions().filter(|(at, _)| at.stage < execution.start.entry);
        let digests = before.flat_map(|(_, run)| run.artifacts.values()).filter_map(|digest| artifact_digest(digest));
        digests.map(move |digest| ArtifactRow { digest, uid, execution: execution.id })
    })
}

/// For retention, which drops tokens that are no longer good.
pub(super) fn token_row(pipeline: Aggregate, at: Timestamp, token: &str) -> RowChange {
    TokenRow { uid: pipeline.uid, at, digest: *Digest::of(token.as_bytes()).as_bytes() }.put()
}

/// The source actions that are looked at periodically: all that do not say otherwise (S91), and that no trigger names (S98).
pub fn polled_sources(declaration: &PipelineDeclaration) -> impl Iterator<Item = &str> {
    let actions = declaration.stages.first().into_iter().flat_map(|stage| &stage.actions);
    let sources = actions.filter(|action| action.action_type_id.category == ActionCategory::Source);
    let polled = sources.filter(|action| {
        let said = action.configuration.as_ref().and_then(|it| it.get("PollForSourceChanges"));
        let triggers = declaration.triggers.iter().flatten();
        let mut triggered = triggers.map(|trigger| &trigger.git_configuration.source_action_name);
        said.is_none_or(|said| said.eq_ignore_ascii_case("true")) && triggered.all(|name| *name != action.name)
    });
    polled.map(|action| action.name.as_str())
}

/// The 32 bytes that a digest's text stands for.
pub(crate) fn artifact_digest(text: &str) -> Option<[u8; 32]> {
    text.parse::<Digest>().ok().map(|digest| *digest.as_bytes())
}
