//! The story that the events tell, from which lists and feeds are made: it is the one that the state and the archive show.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::*;

#[derive(Debug, Default)]
pub(super) struct Story {
    executions: BTreeMap<ExecutionId, (ExecutionStatus, u32)>,
    stages: BTreeMap<(ExecutionId, String), (StageStatus, u32)>,
    conditions: BTreeMap<(ExecutionId, String, ConditionType), ConditionStatus>,
    /// Of actions and rules, each with its execution.
    runs: BTreeMap<ActionExecutionId, (ExecutionId, ActionStatus)>,
    /// Who entered a stage last.
    latest: BTreeMap<String, ExecutionId>,
}

impl Story {
    pub(super) fn hear(&mut self, event: &Event) {
        match event {
            Event::Execution(event) => {
                let status = match event.state {
                    ExecutionState::Started | ExecutionState::Resumed => ExecutionStatus::InProgress,
                    ExecutionState::Stopping => ExecutionStatus::Stopping,
                    ExecutionState::Canceled => ExecutionStatus::Cancelled,
                    ExecutionState::Failed => ExecutionStatus::Failed,
                    ExecutionState::Stopped => ExecutionStatus::Stopped,
                    ExecutionState::Succeeded => ExecutionStatus::Succeeded,
                    ExecutionState::Superseded => ExecutionStatus::Superseded,
                };
                self.executions.insert(event.execution, (status, event.attempt));
            }
            Event::Stage(event) => {
                let status = match event.state {
                    StageState::Started | StageState::Resumed => StageStatus::InProgress,
                    StageState::Stopping => StageStatus::Stopping,
                    StageState::Canceled => StageStatus::Cancelled,
                    StageState::Failed => StageStatus::Failed,
                    StageState::Skipped => StageStatus::Skipped,
                    StageState::Stopped => StageStatus::Stopped,
                    StageState::Succeeded => StageStatus::Succeeded,
                };
                if event.state == StageState::Started {
                    self.latest.insert(event.stage.clone(), event.execution);
                }
                self.stages.insert((event.execution, event.stage.clone()), (status, event.attempt));
            }
            Event::Condition(event) => {
                self.conditions.insert((event.execution, event.stage.clone(), event.condition), event.status);
            }
            Event::Action(event) => self.run(event.execution, event.action_execution, &event.what),
            Event::Rule(event) => self.run(event.execution, event.rule_execution, &event.what),
            Event::PipelineCreated { .. }
            | Event::PipelineUpdated { .. }
            | Event::PipelineDeleted { .. }
            | Event::TransitionChanged { .. } => {}
        }
    }

    fn run(&mut self, execution: ExecutionId, run: ActionExecutionId, what: &ActionHappening) {
        let status = match what {
            ActionHappening::Started { .. } => {
                let before = self.runs.insert(run, (execution, ActionStatus::InProgress));
                return assert!(before.is_none(), "{run} started twice");
            }
            ActionHappening::Succeeded { .. } => ActionStatus::Succeeded,
            ActionHappening::Failed { .. } | ActionHappening::NotPassed { .. } => ActionStatus::Failed,
            ActionHappening::Abandoned | ActionHappening::Canceled => ActionStatus::Abandoned,
            ActionHappening::Waiting(_)
            | ActionHappening::Decided(_)
            | ActionHappening::Job { .. }
            | ActionHappening::Resumed { .. }
            | ActionHappening::Restarted { .. } => ActionStatus::InProgress,
        };
        let before = self.runs.insert(run, (execution, status));
        assert_eq!(before, Some((execution, ActionStatus::InProgress)), "{run} had ended, but then {what:?}");
    }

    pub(super) fn check(
        &self,
        state: &State,
        archive: &BTreeMap<ExecutionId, Arc<Execution>>,
        versions: &[Arc<crate::declaration::PipelineDeclaration>],
    ) {
        let ended = archive.values().filter(|ended| !state.executions.contains_key(&ended.id));
        for execution in state.executions.values().chain(ended) {
            self.check_execution(execution, &versions[execution.start.version as usize - 1]);
        }
        for (run, (execution, status)) in &self.runs {
            let live = state.executions.get(execution).into_iter().flat_map(|execution| execution.runs.values());
            let is_live = live.filter(|live| live.in_progress()).any(|live| live.id == *run);
            assert_eq!(is_live, *status == ActionStatus::InProgress, "{run} of {execution}");
        }
        let (Some(head), Some(declaration)) = (&state.head, &state.declaration) else { return };
        for (stage, declared) in head.stages.iter().zip(&declaration.stages) {
            let latest = stage.latest.map(|latest| latest.execution);
            // An update with another stage in its place has nothing of it.
            assert!(latest.is_none() || latest == self.latest.get(&declared.name).copied(), "{}", declared.name);
            if let Some(latest) = stage.latest {
                let (status, _) = self.stages[&(latest.execution, declared.name.clone())];
                assert_eq!(latest.status, status, "{} shows how its latest execution stands", declared.name);
            }
        }
    }

    fn check_execution(&self, execution: &Execution, declaration: &crate::declaration::PipelineDeclaration) {
        let (id, progress) = (execution.id, &execution.progress);
        assert_eq!(self.executions[&id], (progress.status, progress.attempt));
        for run in &progress.stages {
            let stage = &declaration.stages[usize::from(run.stage)];
            let (told, attempt) = self.stages[&(id, stage.name.clone())];
            assert_eq!(told, run.status, "{id} in {}", stage.name);
            // A retry of one action beside its peers is no event of the stage.
            assert!(attempt <= run.manual_retries + run.automatic_retries, "{id} in {}", stage.name);
            for condition in &run.conditions {
                let told = self.conditions[&(id, stage.name.clone(), condition.which)];
                assert_eq!(told, condition.status, "{id} in {}", stage.name);
                let is_over = run.status != StageStatus::InProgress && run.status != StageStatus::Stopping;
                assert!(
                    !is_over || condition.status != ConditionStatus::InProgress,
                    "{id} is judged in {}",
                    stage.name
                );
            }
            let is_skipped_untried = run.status == StageStatus::Skipped && run.phase == StagePhase::BeforeEntry;
            assert!(!is_skipped_untried || execution.stage_actions(usize::from(run.stage)).next().is_none());
        }
        for (address, run) in &execution.runs {
            // A rollback has what its target did before.
            let is_own = address.stage() >= usize::from(execution.start.entry);
            let (of, status) = self.runs[&run.id];
            assert!(status == run.status && (of == id) == is_own, "{id}: {address}");
        }
    }
}
