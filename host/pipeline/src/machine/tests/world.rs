//! A machine with a store, a clock and a driver's memory of what is outstanding. After every step it checks what must
//! always hold, whoever drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::*;
use crate::declaration::PipelineDeclaration;

#[derive(Debug)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) declaration: Arc<PipelineDeclaration>,
    /// Each part under its key, as a driver would store it.
    store: BTreeMap<String, String>,
    /// Ended executions.
    pub(super) archive: BTreeMap<ExecutionId, Execution>,
    /// In the order of their starts.
    pub(super) started: Vec<ExecutionId>,
    /// Effects that were emitted and not answered.
    outstanding: BTreeMap<String, Effect>,
    /// How many stages an execution has entered.
    entered: BTreeMap<ExecutionId, usize>,
    pub(super) now: Timestamp,
    inputs: u64,
}

impl World {
    pub(super) fn new(declaration: Arc<PipelineDeclaration>) -> World {
        let mut world = World {
            state: State::default(),
            declaration: declaration.clone(),
            store: BTreeMap::new(),
            archive: BTreeMap::new(),
            started: Vec::new(),
            outstanding: BTreeMap::new(),
            entered: BTreeMap::new(),
            now: Timestamp(0),
            inputs: 0,
        };
        world.submit(What::Create { declaration }).expect("an empty state takes a pipeline");
        world
    }

    /// One step of the machine, made durable and checked.
    pub(super) fn submit(&mut self, what: What) -> Result<Step, Refusal> {
        self.inputs += 1;
        let mut entropy = [7; 32];
        entropy[..8].copy_from_slice(&self.inputs.to_le_bytes());
        let answered = answered(&what);
        let retried = if let What::RetryStage(request) = &what { Some(request.execution) } else { None };
        let before = self.state.clone();
        let step = match step(&self.state, Input { entropy: Entropy(entropy), what }, self.now) {
            Ok(step) => step,
            Err(refusal) => {
                assert_eq!(before, self.state);
                return Err(refusal);
            }
        };
        self.commit(&step);
        self.follow(answered, &step);
        self.check_places();
        self.check_progress(&step, retried);
        Ok(step)
    }

    fn commit(&mut self, step: &Step) {
        for change in &step.changes {
            let json = serde_json::to_string(change).expect("a change is JSON");
            let again: Change = serde_json::from_str(&json).expect("a change is read back");
            assert_eq!(&again, change, "a change survives the store");
            match (change, change.part()) {
                (Change::Delete(_), Some(part)) => {
                    assert!(self.store.remove(&part.to_string()).is_some(), "{part} is deleted but was not there");
                }
                (Change::Archive(execution), _) => drop(self.archive.insert(execution.id, (**execution).clone())),
                (_, Some(part)) => drop(self.store.insert(part.to_string(), json)),
                (_, None) => unreachable!("only an archived execution is no part"),
            }
        }
        self.state.apply(step.changes.iter().cloned()).expect("changes fit the state they were made from");
        let mut loaded = State::default();
        let parts = self.store.values().map(|json| serde_json::from_str::<Change>(json).expect("as above"));
        loaded.apply(parts).expect("parts in the order of their keys fit");
        assert_eq!(loaded, self.state, "the stored parts are the state");
        for event in &step.events {
            let json = serde_json::to_string(event).expect("an event is JSON");
            assert_eq!(&serde_json::from_str::<Event>(&json).expect("an event is read back"), event);
        }
    }

    /// Every effect is answered exactly once: the state knows what is outstanding.
    fn follow(&mut self, answered: Option<String>, step: &Step) {
        if let Some(key) = answered {
            assert!(self.outstanding.remove(&key).is_some(), "{key} was answered twice");
        }
        let is_restarted = step.events.iter().any(
            |event| matches!(event, Event::Action(event) if matches!(event.what, ActionHappening::Restarted { .. })),
        );
        for effect in &step.effects {
            let key = key(effect);
            match effect {
                Effect::RunAction(_) => {
                    let before = self.outstanding.insert(key, effect.clone());
                    assert_eq!(before.is_some(), is_restarted, "only a further attempt repeats a call");
                }
                Effect::SetTimer { .. } => assert!(self.outstanding.insert(key, effect.clone()).is_none()),
                Effect::StopAction { .. } | Effect::ClearTimer { .. } => {
                    assert!(self.outstanding.remove(&key).is_some(), "{key} is called off but was not outstanding");
                }
            }
        }
        let outstanding = self.state.outstanding().into_iter().map(|effect| (key(&effect), effect)).collect();
        assert_eq!(self.outstanding, outstanding, "a restart asks for exactly what is unanswered");
    }

    /// Each live execution has one place, in a stage or in the one slot in front of it, and no older one is behind it.
    fn check_places(&self) {
        let Some(head) = &self.state.head else {
            return assert!(self.state.executions.is_empty());
        };
        let mut placed = BTreeSet::new();
        for (index, stage) in head.stages.iter().enumerate() {
            for (id, waits) in [(stage.occupant, false), (stage.waiting, true)] {
                let Some(id) = id else { continue };
                let execution = &self.state.executions[&id];
                assert_eq!((execution.stage(), execution.progress.inbound_since.is_some()), (index, waits));
                assert!(placed.insert(id), "{id} is in two places");
            }
            let open = stage.inbound.enabled && (index == 0 || head.stages[index - 1].outbound.enabled);
            assert!(
                stage.waiting.is_none() || stage.occupant.is_some() || !open,
                "nobody waits for an open, free stage"
            );
        }
        assert_eq!(placed, self.state.executions.keys().copied().collect(), "every live execution has a place");
        let mut by_number: Vec<&Execution> = self.state.executions.values().collect();
        by_number.sort_by_key(|execution| execution.start.number);
        let stages: Vec<usize> = by_number.iter().map(|execution| execution.stage()).collect();
        assert!(stages.is_sorted_by(|older, newer| older >= newer), "no execution overtakes another");
    }

    /// An execution never moves back, and an ended one stays so unless it is retried.
    fn check_progress(&mut self, step: &Step, retried: Option<ExecutionId>) {
        for (id, execution) in &self.state.executions {
            assert!(execution.progress.ended.is_none());
            let entered = self.entered.entry(*id).or_default();
            assert!(*entered <= execution.progress.stages.len(), "{id} moved back");
            *entered = execution.progress.stages.len();
            for (place, run) in &execution.actions {
                let is_past = usize::from(place.stage) + 1 < execution.progress.stages.len();
                assert!(!is_past || run.status == ActionStatus::Succeeded, "{id} left an unfinished action behind");
            }
        }
        for event in &step.events {
            if let Event::Execution(ExecutionEvent { execution, state: ExecutionState::Started, .. }) = event {
                self.started.push(*execution);
            }
            let (execution, happened) = match event {
                Event::Execution(event) => (event.execution, format!("{:?}", event.state)),
                Event::Stage(event) => (event.execution, format!("{:?}", event.state)),
                Event::Action(event) => (event.execution, format!("{:?}", event.what)),
                _ => continue,
            };
            let was_ended = self.archive.get(&execution).is_some_and(|ended| ended.progress.ended < Some(self.now));
            let resumed = self.state.executions.contains_key(&execution) || retried == Some(execution);
            assert!(!was_ended || resumed, "{execution} had ended, but then {happened}");
        }
    }

    /// The action's latest run, live or in an ended execution.
    pub(super) fn run(&self, execution: ExecutionId, stage: &str, action: &str) -> Option<(Place, &ActionRun)> {
        let declaration = &self.declaration;
        let stage_index = declaration.stages.iter().position(|declared| declared.name == stage)?;
        let action = declaration.stages[stage_index].actions.iter().position(|declared| declared.name == action)?;
        let place = Place { stage: stage_index as u16, action: action as u16 };
        let execution = self.state.executions.get(&execution).or_else(|| self.archive.get(&execution))?;
        execution.actions.get(&place).map(|run| (place, &**run))
    }
}

/// The effect that an input answers.
fn answered(what: &What) -> Option<String> {
    match what {
        What::ActionReported { action, .. } => Some(format!("run {action}")),
        What::TimerDue { timer } => Some(format!("timer {timer:?}")),
        _ => None,
    }
}

fn key(effect: &Effect) -> String {
    match effect {
        Effect::RunAction(call) => format!("run {}", call.action_execution),
        Effect::StopAction { action, .. } => format!("run {action}"),
        Effect::SetTimer { id, .. } | Effect::ClearTimer { id } => format!("timer {id:?}"),
    }
}
