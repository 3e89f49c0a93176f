//! What comes next in a stage, decided by its declaration and by what ran so far.
//!
//! Owns the order: conditions of entry, the actions by their run order, conditions of success or of failure (S45). Changes
//! nothing, and must not know how anything starts or ends.

use super::address::{ActionAddress, Address, ConditionType};
use super::declared;
use super::execution::{
    ActionRun, ActionStatus, ConditionStatus, Execution, ExecutionStatus, ExecutionType, StagePhase, StageStatus,
};
use crate::declaration::{ConditionResult, PipelineDeclaration, StageDeclaration, StageRetryMode};

pub(super) enum Course {
    Wait,
    Start(Vec<ActionAddress>),
    Enter(StagePhase),
    /// The rules of a condition are to be started.
    Judge(ConditionType),
    /// They have ended.
    Judged(ConditionType, ConditionStatus),
    Retry(StageRetryMode),
    RollBack,
    End(StageStatus),
}

pub(super) fn of(stage: &StageDeclaration, execution: &Execution, index: usize) -> Course {
    let Some(run) = execution.progress.stages.last() else { return Course::Wait };
    if run.rolls_back_to.is_some() {
        return Course::Wait;
    }
    let here = Here { stage, execution, index, is_stopping: execution.progress.status == ExecutionStatus::Stopping };
    match run.phase {
        StagePhase::BeforeEntry => here.before_entry(),
        StagePhase::Actions => here.actions(),
        StagePhase::OnSuccess => here.on_success(),
        StagePhase::OnFailure => here.on_failure(),
    }
}

/// How a condition stands.
enum Judgement {
    /// Not judged yet, or not to its end.
    Next(Course),
    /// It has no say: all its rules passed, a person overrode it, or there is none.
    Passed,
    /// What it says is to be done.
    Result(ConditionResult),
    /// A stop ended it.
    Ended,
}

struct Here<'a> {
    stage: &'a StageDeclaration,
    execution: &'a Execution,
    index: usize,
    is_stopping: bool,
}

impl Here<'_> {
    fn before_entry(&self) -> Course {
        match self.judgement(ConditionType::BeforeEntry) {
            Judgement::Next(course) => course,
            Judgement::Passed if !self.is_stopping => Course::Enter(StagePhase::Actions),
            Judgement::Result(ConditionResult::Skip) if !self.is_stopping => Course::End(StageStatus::Skipped),
            Judgement::Result(_) if !self.is_stopping => Course::End(StageStatus::Failed),
            _ => Course::End(StageStatus::Stopped),
        }
    }

    /// Decides by the lowest run order that has not succeeded: equal run orders run in parallel, a failure lets its peers end,
    /// and nothing of a higher run order starts after it (S33).
    fn actions(&self) -> Course {
        let actions = &self.stage.actions;
        let status = |action: usize| self.execution.action(self.action(action)).map(|run| run.status);
        let unfinished = || (0..actions.len()).filter(|action| status(*action) != Some(ActionStatus::Succeeded));
        let Some(order) = unfinished().map(|action| actions[action].run_order()).min() else {
            return Course::Enter(StagePhase::OnSuccess);
        };
        let current = || unfinished().filter(|action| actions[*action].run_order() == order);
        let ready: Vec<_> = current().filter(|action| status(*action).is_none()).map(|it| self.action(it)).collect();
        if !self.is_stopping && !ready.is_empty() {
            Course::Start(ready)
        } else if current().any(|action| status(action) == Some(ActionStatus::InProgress)) {
            Course::Wait
        } else if self.is_stopping {
            Course::End(StageStatus::Stopped)
        } else {
            Course::Enter(StagePhase::OnFailure)
        }
    }

    fn on_success(&self) -> Course {
        match self.judgement(ConditionType::OnSuccess) {
            Judgement::Next(course) => course,
            Judgement::Passed => Course::End(StageStatus::Succeeded),
            Judgement::Result(ConditionResult::Rollback) if !self.is_stopping => Course::RollBack,
            Judgement::Result(_) if !self.is_stopping => Course::End(StageStatus::Failed),
            _ => Course::End(StageStatus::Stopped),
        }
    }

    fn on_failure(&self) -> Course {
        let plain = self.stage.on_failure.as_ref().and_then(|failure| failure.result);
        let judgement = match plain {
            Some(result) if self.is_standard() => Judgement::Result(result),
            _ => self.judgement(ConditionType::OnFailure),
        };
        let run = self.execution.progress.stages.last();
        let was_retried = run.is_some_and(|run| run.automatic_retries > 0);
        match judgement {
            Judgement::Next(course) => course,
            Judgement::Ended => Course::End(StageStatus::Stopped),
            _ if self.is_stopping => Course::End(StageStatus::Stopped),
            Judgement::Result(ConditionResult::Rollback) => Course::RollBack,
            Judgement::Result(ConditionResult::Skip) => Course::End(StageStatus::Skipped),
            Judgement::Result(ConditionResult::Retry) if !was_retried => Course::Retry(self.retry_mode()),
            Judgement::Result(_) | Judgement::Passed => Course::End(StageStatus::Failed),
        }
    }

    /// A rollback is not judged, or it might be rolled back itself (S47).
    fn judgement(&self, which: ConditionType) -> Judgement {
        let Some(condition) = declared::condition(self.stage, which).filter(|_| self.is_standard()) else {
            return Judgement::Passed;
        };
        let result = condition.result.unwrap_or(ConditionResult::Fail);
        let run = self.execution.progress.stages.last().and_then(|run| run.condition(which));
        match run.map(|run| run.status) {
            None if self.is_stopping => Judgement::Ended,
            None => Judgement::Next(Course::Judge(which)),
            Some(ConditionStatus::InProgress) => {
                let judged = self.judged(which).map(|status| Course::Judged(which, status));
                Judgement::Next(judged.unwrap_or(Course::Wait))
            }
            Some(ConditionStatus::Succeeded | ConditionStatus::Overridden) => Judgement::Passed,
            // Nothing is skipped because nobody could say whether it may be.
            Some(ConditionStatus::Errored) if result == ConditionResult::Skip => {
                Judgement::Result(ConditionResult::Fail)
            }
            Some(ConditionStatus::Failed | ConditionStatus::Errored) => Judgement::Result(result),
            Some(ConditionStatus::Cancelled | ConditionStatus::Abandoned) => Judgement::Ended,
        }
    }

    /// What the rules of a condition come to; none while one of them runs.
    fn judged(&self, which: ConditionType) -> Option<ConditionStatus> {
        let rules = declared::rule_addresses(self.stage, self.index, which);
        let runs: Vec<&ActionRun> =
            rules.filter_map(|rule| self.execution.runs.get(&Address::Rule(rule))).map(|run| &**run).collect();
        let any = |is: fn(&ActionRun) -> bool| runs.iter().any(|run| is(run));
        if any(ActionRun::in_progress) {
            None
        } else if any(|run| run.status == ActionStatus::Abandoned) {
            Some(ConditionStatus::Abandoned)
        } else if any(|run| run.status == ActionStatus::Failed && run.error.is_none()) {
            Some(ConditionStatus::Failed)
        } else if any(|run| run.status == ActionStatus::Failed) {
            Some(ConditionStatus::Errored)
        } else {
            Some(ConditionStatus::Succeeded)
        }
    }

    fn is_standard(&self) -> bool {
        self.execution.start.execution_type == ExecutionType::Standard
    }

    fn retry_mode(&self) -> StageRetryMode {
        let configured = self.stage.on_failure.as_ref().and_then(|failure| failure.retry_configuration.as_ref());
        configured.and_then(|it| it.retry_mode).unwrap_or(StageRetryMode::FailedActions)
    }

    fn action(&self, action: usize) -> ActionAddress {
        ActionAddress { stage: self.index as u16, action: action as u16 }
    }
}

/// Why the stage that an execution is in failed, for a person.
pub(super) fn failure(declaration: &PipelineDeclaration, execution: &Execution) -> String {
    let stage = &declaration.stages[execution.stage()];
    let phase = execution.progress.stages.last().map(|run| run.phase);
    let failed = execution.stage_actions(execution.stage()).find(|(_, run)| run.status == ActionStatus::Failed);
    match (phase, failed) {
        (Some(StagePhase::BeforeEntry), _) => format!("The entry condition of stage {} failed", stage.name),
        (Some(StagePhase::OnSuccess), _) => format!("The success condition of stage {} failed", stage.name),
        (_, Some((address, _))) => {
            format!("The action {} in stage {} failed", stage.actions[usize::from(address.action)].name, stage.name)
        }
        (_, None) => format!("The stage {} failed", stage.name),
    }
}
