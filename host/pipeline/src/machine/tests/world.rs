//! A machine with a store, a clock and a driver's memory of what is outstanding. After every step it checks what must
//! always hold, whoever drives it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::super::*;
use super::story::Story;
use crate::declaration::{ActionCategory, ExecutionMode, PipelineDeclaration};

#[derive(Debug)]
pub(super) struct World {
    pub(super) state: State,
    pub(super) declaration: Arc<PipelineDeclaration>,
    /// The declarations of all versions.
    pub(super) versions: Vec<Arc<PipelineDeclaration>>,
    /// Each part under its key, as a driver would store it.
    store: BTreeMap<String, Vec<u8>>,
    /// Ended executions.
    pub(super) archive: BTreeMap<ExecutionId, Arc<Execution>>,
    /// In the order of their starts.
    pub(super) started: Vec<ExecutionId>,
    /// Effects that were emitted and not answered.
    outstanding: BTreeMap<String, Effect>,
    /// How many stages an execution has entered.
    entered: BTreeMap<ExecutionId, usize>,
    /// The number of the execution that entered a stage last.
    newest: BTreeMap<String, u64>,
    story: Story,
    pub(super) now: Timestamp,
    inputs: u64,
}

impl World {
    pub(super) fn new(declaration: Arc<PipelineDeclaration>) -> World {
        let mut world = World {
            state: State::default(),
            declaration: declaration.clone(),
            versions: Vec::new(),
            store: BTreeMap::new(),
            archive: BTreeMap::new(),
            started: Vec::new(),
            outstanding: BTreeMap::new(),
            entered: BTreeMap::new(),
            newest: BTreeMap::new(),
            story: Story::default(),
            now: Timestamp(0),
            inputs: 0,
        };
        world.submit(InputKind::Create { declaration }).expect("an empty state takes a pipeline");
        world
    }

    /// One step of the machine, made durable and checked.
    pub(super) fn submit(&mut self, what: InputKind) -> Result<Step, Refusal> {
        self.inputs += 1;
        let mut entropy = [7; 32];
        entropy[..8].copy_from_slice(&self.inputs.to_le_bytes());
        let answered = answered(&what);
        let retried = match &what {
            InputKind::RetryStage(request) => Some(request.execution),
            InputKind::OverrideCondition(request) => Some(request.execution),
            _ => None,
        };
        let calls_off = matches!(what, InputKind::Update { .. } | InputKind::Delete | InputKind::Stop { .. });
        let before = self.state.clone();
        let is_of_all = matches!(what, InputKind::Update { .. } | InputKind::Delete);
        let restarted = if let InputKind::ActionRestarted { action, .. } = &what { Some(*action) } else { None };
        let step = match step(&self.state, Input { entropy: Entropy(entropy), what }, self.now) {
            Ok(step) => step,
            Err(refusal) => {
                assert_eq!(before, self.state);
                return Err(refusal);
            }
        };
        self.commit(&step);
        if is_of_all {
            self.newest.clear();
        }
        self.follow(answered, restarted, calls_off, &step);
        self.check_places();
        self.check_progress(&step, retried);
        self.check_modes(&step, is_of_all);
        step.events.iter().for_each(|event| self.story.hear(event));
        self.story.check(&self.state, &self.archive, &self.versions);
        Ok(step)
    }

    fn commit(&mut self, step: &Step) {
        for change in &step.changes {
            let json = stored::write(change).expect("a change is JSON");
            assert!(json.len() <= bounds::VALUE_BYTES_MAX, "a part of {} bytes", json.len());
            assert_eq!(&stored::read(&json).expect("a change is read back"), change, "a change survives the store");
            match (change, change.part()) {
                (Change::Delete(_), Some(part)) => {
                    assert!(self.store.remove(&part.to_string()).is_some(), "{part} is deleted but was not there");
                }
                (Change::Archive(execution), _) => drop(self.archive.insert(execution.id, execution.clone())),
                (_, Some(part)) => {
                    if let Change::Declaration(declaration) = change {
                        self.declaration = declaration.clone();
                        self.versions.push(declaration.clone());
                    }
                    self.store.insert(part.to_string(), json);
                }
                (_, None) => unreachable!("only an archived execution is no part"),
            }
        }
        self.state.apply(step.changes.iter().cloned()).expect("changes fit the state they were made from");
        let mut loaded = State::default();
        let parts = self.store.values().map(|json| stored::read(json).expect("as above"));
        loaded.apply(parts).expect("parts in the order of their keys fit");
        assert_eq!(loaded, self.state, "the stored parts are the state");
        let derived = |state: &State| {
            let stages = 0..state.head.as_ref().map_or(0, |head| head.stages.len());
            let waiting: Vec<Vec<_>> = stages.map(|stage| state.executions.waiting(stage).collect()).collect();
            (waiting, state.executions.held_bytes(), state.due())
        };
        assert_eq!(derived(&loaded), derived(&self.state), "what is derived is the same, change by change and at once");
        for event in &step.events {
            let json = serde_json::to_string(event).expect("an event is JSON");
            assert_eq!(&serde_json::from_str::<Event>(&json).expect("an event is read back"), event);
        }
    }

    /// Every effect is answered exactly once: the state knows what is outstanding.
    fn follow(&mut self, answered: Option<String>, restarted: Option<ActionExecutionId>, calls_off: bool, step: &Step) {
        if let Some(key) = answered {
            assert!(self.outstanding.remove(&key).is_some(), "{key} was answered twice");
        }
        let is_restarted = step.events.iter().any(|event| match event {
            Event::Action(event) => matches!(event.what, ActionHappening::Restarted { .. }),
            Event::Rule(event) => matches!(event.what, ActionHappening::Restarted { .. }),
            _ => false,
        });
        // One that is not run again is not awaited any more.
        if let Some(action) = restarted.filter(|_| !is_restarted) {
            self.outstanding.remove(&format!("run {action}"));
        }
        for effect in &step.effects {
            let key = key(effect);
            match effect {
                Effect::RunAction(_) => {
                    let before = self.outstanding.insert(key, effect.clone());
                    assert_eq!(before.is_some(), is_restarted, "only a further attempt repeats a call");
                }
                Effect::SetTimer { .. } | Effect::LoadExecution { .. } => {
                    assert!(self.outstanding.insert(key, effect.clone()).is_none())
                }
                Effect::StopAction { .. } | Effect::ClearTimer { .. } => {
                    assert!(self.outstanding.remove(&key).is_some(), "{key} is called off but was not outstanding");
                }
            }
        }
        let outstanding: BTreeMap<_, _> =
            self.state.outstanding().into_iter().map(|effect| (key(&effect), effect)).collect();
        // What an execution waits to have loaded is of no use once that has ended.
        self.outstanding.retain(|key, _| !(calls_off && key.starts_with("load")) || outstanding.contains_key(key));
        assert_eq!(self.outstanding, outstanding, "a restart asks for exactly what is unanswered");
    }

    /// Each live execution has one place, in a stage or in front of it, and where they wait for each other no older one is
    /// behind it; in parallel, none is in another's way.
    fn check_places(&self) {
        let Some(head) = &self.state.head else {
            return assert!(self.state.executions.is_empty());
        };
        if self.declaration.execution_mode == Some(ExecutionMode::Parallel) {
            assert!(head.stages.iter().all(|stage| stage.occupant.is_none()));
            return assert!(self.state.executions.values().all(|it| it.progress.inbound_since.is_none()));
        }
        if self.declaration.execution_mode != Some(ExecutionMode::Queued) {
            let mut stages = 0..head.stages.len();
            assert!(
                stages.all(|stage| self.state.executions.waiting(stage).count() <= 1),
                "there is one place to wait"
            );
        }
        let mut placed = BTreeSet::new();
        for (index, stage) in head.stages.iter().enumerate() {
            let waiting: Vec<_> = self.state.executions.waiting(index).map(|id| (id, true)).collect();
            let is_waited_for = !waiting.is_empty();
            for (id, waits) in stage.occupant.map(|id| (id, false)).into_iter().chain(waiting) {
                let execution = &self.state.executions[&id];
                assert_eq!((execution.stage(), execution.progress.inbound_since.is_some()), (index, waits));
                assert!(placed.insert(id), "{id} is in two places");
            }
            let open = stage.inbound.enabled && (index == 0 || head.stages[index - 1].outbound.enabled);
            assert!(!is_waited_for || stage.occupant.is_some() || !open, "nobody waits for an open, free stage");
        }
        assert_eq!(placed, self.state.executions.keys().copied().collect(), "every live execution has a place");
        let standard = self.state.executions.values().filter(|it| it.start.execution_type == ExecutionType::Standard);
        let mut by_number: Vec<&Execution> = standard.map(|it| &**it).collect();
        by_number.sort_by_key(|execution| execution.start.number);
        let stages: Vec<usize> = by_number.iter().map(|execution| execution.stage()).collect();
        assert!(stages.is_sorted_by(|older, newer| older >= newer), "no execution overtakes another");
        for (index, stage) in head.stages.iter().enumerate() {
            let there = stage.occupant.into_iter().chain(self.state.executions.waiting(index));
            let there = there.map(|id| &self.state.executions[&id]);
            let standard = there.filter(|it| it.start.execution_type == ExecutionType::Standard);
            let numbers: Vec<u64> = standard.map(|execution| execution.start.number).collect();
            assert!(numbers.is_sorted(), "who waits in front of a stage is in the order of the starts");
        }
    }

    /// No execution is lost, what a person decided stays so, stages are entered in the order of the starts, and what
    /// happens to an execution in parallel is a matter of that execution.
    fn check_modes(&mut self, step: &Step, is_of_all: bool) {
        let is_kept = |id| self.state.executions.contains_key(id) || self.archive.contains_key(id);
        assert!(self.started.iter().all(is_kept), "an execution is lost");
        for execution in self.state.executions.values().chain(self.archive.values()) {
            let declaration = &self.versions[execution.start.version as usize - 1];
            for (address, run) in execution.actions() {
                let action = &declaration.stages[usize::from(address.stage)].actions[usize::from(address.action)];
                let is_approval = action.action_type_id.category == ActionCategory::Approval;
                if let Some(decision) = run.decision.as_ref().filter(|_| is_approval) {
                    let decided = match decision.status {
                        ApprovalStatus::Approved => ActionStatus::Succeeded,
                        ApprovalStatus::Rejected => ActionStatus::Failed,
                    };
                    assert!(run.in_progress() || run.status == decided, "{address:?} ended otherwise than decided");
                }
            }
        }
        let is_parallel = self.declaration.execution_mode == Some(ExecutionMode::Parallel);
        let mut concerned = BTreeSet::new();
        for event in &step.events {
            if let Event::Stage(StageEvent { execution, stage, state: StageState::Started, .. }) = event {
                let found = self.state.executions.get(execution).or_else(|| self.archive.get(execution));
                let start = &found.expect("it is kept").start;
                if start.execution_type != ExecutionType::Standard {
                    continue;
                }
                let number = start.number;
                let before = self.newest.insert(stage.clone(), number);
                assert!(is_parallel || before < Some(number), "{stage} was entered out of order");
            }
            concerned.extend(match event {
                Event::Execution(event) => Some(event.execution),
                Event::Stage(event) => Some(event.execution),
                Event::Action(event) => Some(event.execution),
                Event::Rule(event) => Some(event.execution),
                Event::Condition(event) => Some(event.execution),
                _ => None,
            });
        }
        assert!(!is_parallel || is_of_all || concerned.len() <= 1, "executions in parallel are independent");
    }

    /// An execution never moves back, and an ended one stays so unless it is retried.
    fn check_progress(&mut self, step: &Step, retried: Option<ExecutionId>) {
        for (id, execution) in self.state.executions.values().map(|it| (&it.id, it)) {
            assert!(execution.progress.ended.is_none());
            let entered = self.entered.entry(*id).or_default();
            assert!(*entered <= execution.progress.stages.len(), "{id} moved back");
            *entered = execution.progress.stages.len();
            for (address, run) in execution.actions() {
                let is_past = execution.progress.stages.last().is_some_and(|stage| address.stage < stage.stage);
                let run_there = execution.stage_run(usize::from(address.stage));
                let is_skipped = run_there.is_some_and(|run| run.status == StageStatus::Skipped);
                let is_whole = run.status == ActionStatus::Succeeded || is_skipped && !run.in_progress();
                assert!(!is_past || is_whole, "{id} left an unfinished action behind");
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
                Event::Rule(event) => (event.execution, format!("{:?}", event.what)),
                Event::Condition(event) => (event.execution, format!("{:?}", event.status)),
                _ => continue,
            };
            let was_ended = self.archive.get(&execution).is_some_and(|ended| ended.progress.ended < Some(self.now));
            let resumed = self.state.executions.contains_key(&execution) || retried == Some(execution);
            assert!(!was_ended || resumed, "{execution} had ended, but then {happened}");
        }
    }

    /// The latest run of an action or of a rule, live or in an ended execution.
    pub(super) fn run(&self, execution: ExecutionId, stage: &str, name: &str) -> Option<(Address, &ActionRun)> {
        let declaration = &self.declaration;
        let stage_index = declaration.stages.iter().position(|declared| declared.name == stage)?;
        let execution = self.state.executions.get(&execution).or_else(|| self.archive.get(&execution))?;
        let mut runs = execution.stage_runs(stage_index);
        let run = runs.find(|(address, _)| Declared::at(declaration, *address).name() == name);
        run.map(|(address, run)| (address, &**run))
    }

    /// The answer to what an execution waits to have loaded: what it asks for, or that it is gone.
    pub(super) fn loaded(&self, execution: ExecutionId, is_kept: bool) -> Option<InputKind> {
        let mut awaited = self.outstanding.values().filter_map(|effect| match effect {
            Effect::LoadExecution { execution: of, target } if *of == execution => Some(*target),
            _ => None,
        });
        let target = awaited.next()?;
        let found = self.archive.get(&target).filter(|_| is_kept).map(|ended| Box::new((**ended).clone()));
        Some(InputKind::ExecutionLoaded { execution, target, found })
    }
}

/// The effect that an input answers.
fn answered(what: &InputKind) -> Option<String> {
    match what {
        InputKind::ActionReported { action, .. } => Some(format!("run {action}")),
        InputKind::TimerDue { timer } => Some(format!("timer {timer:?}")),
        InputKind::ExecutionLoaded { execution, .. } => Some(format!("load {execution}")),
        _ => None,
    }
}

fn key(effect: &Effect) -> String {
    match effect {
        Effect::RunAction(call) => format!("run {}", call.action_execution),
        Effect::StopAction { action, .. } => format!("run {action}"),
        Effect::LoadExecution { execution, .. } => format!("load {execution}"),
        Effect::SetTimer { id, .. } | Effect::ClearTimer { id } => format!("timer {id:?}"),
    }
}
