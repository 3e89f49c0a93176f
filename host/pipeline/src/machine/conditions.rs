//! The conditions of a stage: their rules are started, and what comes of them is kept; a person overrides one.
//!
//! Must not know what follows from a condition (`course`).

use super::address::{Address, ConditionType};
use super::bounds::{CALLER_CHARS_MAX, cut_to};
use super::declared::{self, rule_addresses};
use super::event::{ActionHappening, ConditionEvent, Event};
use super::execution::{ConditionRun, ConditionStatus, Execution, ExecutionStatus, StagePhase, StageStatus};
use super::input::OverrideRequest;
use super::refusal::Refusal;
use super::step::Reply;
use super::work::Work;
use super::{actions, retry, stages};
use crate::declaration::ConditionResult;

/// Starts all rules of a condition, side by side.
pub(super) fn begin(work: &mut Work<'_>, execution: &mut Execution, which: ConditionType) {
    set(work, execution, which, ConditionStatus::InProgress, None);
    let stage = execution.stage();
    let rules: Vec<_> = rule_addresses(&work.declaration.stages[stage], stage, which).collect();
    for rule in rules {
        actions::start(work, execution, Address::Rule(rule));
    }
}

/// Keeps how a condition stands, and tells of it.
pub(super) fn set(
    work: &mut Work<'_>,
    execution: &mut Execution,
    which: ConditionType,
    status: ConditionStatus,
    by: Option<String>,
) {
    let Some(run) = execution.stage_run_mut() else { return };
    let stage = usize::from(run.stage);
    run.conditions.retain(|condition| condition.which != which);
    run.conditions.push(ConditionRun { which, status, updated: work.at });
    run.updated = work.at;
    execution.progress.updated = work.at;
    work.events.push(Event::Condition(ConditionEvent {
        execution: execution.id,
        version: execution.start.version,
        stage: work.declaration.stages[stage].name.clone(),
        condition: which,
        status,
        by,
    }));
}

/// The condition that is being judged ends without a verdict.
pub(super) fn cancel(work: &mut Work<'_>, execution: &mut Execution) {
    let run = execution.progress.stages.last();
    let judged = run.and_then(|run| run.conditions.iter().find(|it| it.status == ConditionStatus::InProgress));
    if let Some(which) = judged.map(|condition| condition.which) {
        set(work, execution, which, ConditionStatus::Cancelled, None);
    }
}

/// A person lets an execution go on that a condition holds, or that it made fail (S48).
pub(super) fn override_condition(work: &mut Work<'_>, request: OverrideRequest) -> Result<Reply, Refusal> {
    let stage = work.stage_index(&request.stage)?;
    let OverrideRequest { which, ended, by, .. } = request;
    let not_overridable = |reason| Refusal::ConditionNotOverridable { stage: request.stage.clone(), reason };
    let mut execution = retry::latest_in(work, stage, &request.stage, request.execution, ended, not_overridable)?;
    if let Some(reason) = objection(work, &execution, stage, which) {
        return Err(not_overridable(reason));
    }
    if execution.progress.ended.is_some() {
        super::admission::check_room(work, &execution, None)?;
    }
    let rules: Vec<_> = rule_addresses(&work.declaration.stages[stage], stage, which).collect();
    for rule in rules {
        actions::abandon(work, &mut execution, Address::Rule(rule), ActionHappening::Abandoned);
    }
    let by = cut_to(by, CALLER_CHARS_MAX);
    retry::resume(work, &mut execution, stage);
    set(work, &mut execution, which, ConditionStatus::Overridden, by);
    stages::advance(work, &mut execution);
    work.put(execution);
    Ok(Reply::Done)
}

/// Why a condition cannot be overridden.
fn objection(work: &Work<'_>, execution: &Execution, stage: usize, which: ConditionType) -> Option<&'static str> {
    let phase = match which {
        ConditionType::BeforeEntry => StagePhase::BeforeEntry,
        ConditionType::OnSuccess => StagePhase::OnSuccess,
        ConditionType::OnFailure => StagePhase::OnFailure,
    };
    let condition = declared::condition(&work.declaration.stages[stage], which);
    let run = execution.progress.stages.last().filter(|run| usize::from(run.stage) == stage);
    let status = run.filter(|run| run.phase == phase).and_then(|run| run.condition(which)).map(|it| it.status);
    let waits = execution.progress.inbound_since.is_some();
    match (run.map(|run| run.status), status) {
        _ if condition.is_none() => Some("it has no condition of this type"),
        _ if condition.is_some_and(|it| it.result == Some(ConditionResult::Skip)) => {
            Some("a condition with the result SKIP cannot be overridden")
        }
        _ if execution.start.version != work.head.version => Some("the pipeline has been updated since"),
        _ if execution.progress.status == ExecutionStatus::Stopping => Some("its execution is being stopped"),
        _ if waits || run.is_none() => Some("its execution is not in it"),
        _ if run.is_some_and(|run| run.rolls_back_to.is_some()) => Some("it is being rolled back"),
        (Some(StageStatus::InProgress), Some(ConditionStatus::InProgress)) => None,
        (Some(StageStatus::Failed), Some(ConditionStatus::Failed | ConditionStatus::Errored))
            if which != ConditionType::OnFailure =>
        {
            None
        }
        _ => Some("its condition is neither being judged nor what made it fail"),
    }
}
