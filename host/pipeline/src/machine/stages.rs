//! The course of an execution through a stage, and its end.
//!
//! Must not know what an action does (`actions`) or who may enter (`admission`).

use super::course::{self, Course};
use super::event::{Event, ExecutionEvent, ExecutionState, StageEvent, StageState};
use super::execution::{Execution, ExecutionStatus, ExecutionType, StagePhase, StageRun, StageStatus};
use super::ids::ExecutionId;
use super::report::Variables;
use super::state::Latest;
use super::work::Work;
use super::{actions, admission, conditions, retry, rollback};
use crate::declaration::ExecutionMode;

/// The execution locks the next stage, and its first actions start.
pub(super) fn enter(work: &mut Work<'_>, execution: &mut Execution) {
    let stage = execution.next_stage();
    execution.progress.inbound_since = None;
    execution.progress.stages.push(StageRun::entered(stage as u16, StagePhase::BeforeEntry, work.at));
    lock(work, stage, execution.id);
    work.head_mut().stages[stage].latest = Some(Latest { execution: execution.id, status: StageStatus::InProgress });
    set_stage(work, execution, StageStatus::InProgress, StageState::Started);
    advance(work, execution);
}

/// Keeps others out of a stage while an execution is in it; executions in parallel are not in each other's way.
pub(super) fn lock(work: &mut Work<'_>, stage: usize, execution: ExecutionId) {
    if work.mode() != ExecutionMode::Parallel {
        work.head_mut().stages[stage].occupant = Some(execution);
    }
}

/// Goes on as far as it can: starts what is due, or ends the stage.
pub(super) fn advance(work: &mut Work<'_>, execution: &mut Execution) {
    loop {
        let stage = execution.stage();
        match course::of(&work.declaration.stages[stage], execution, stage) {
            Course::Wait => return,
            Course::Start(addresses) => {
                for address in addresses {
                    actions::start(work, execution, address.into());
                }
            }
            Course::Enter(phase) => {
                if let Some(run) = execution.stage_run_mut() {
                    run.phase = phase;
                }
            }
            Course::Judge(condition) => conditions::begin(work, execution, condition),
            Course::Judged(condition, status) => conditions::set(work, execution, condition, status, None),
            Course::Retry(mode) => retry::automatically(work, execution, mode),
            Course::RollBack => return rollback::by_failure(work, execution),
            Course::End(status) => return end_stage(work, execution, status),
        }
    }
}

/// Ends the execution's part in its stage, and lets it go on or end.
pub(super) fn end_stage(work: &mut Work<'_>, execution: &mut Execution, status: StageStatus) {
    let stage = execution.stage();
    let stopping = execution.progress.status == ExecutionStatus::Stopping;
    match status {
        StageStatus::Succeeded => leave(work, execution, status, StageState::Succeeded),
        StageStatus::Skipped => leave(work, execution, status, StageState::Skipped),
        StageStatus::Failed => return fail(work, execution, None),
        _ => {
            leave(work, execution, StageStatus::Stopped, StageState::Stopped);
            return end_stopped(work, execution);
        }
    }
    match execution.start.ends_with(stage, work.declaration.stages.len()) {
        _ if stopping => end_stopped(work, execution),
        true => end_execution(work, execution, ExecutionStatus::Succeeded, None),
        false => admission::arrive(work, execution),
    }
}

/// The stage failed, and its execution with it.
pub(super) fn fail(work: &mut Work<'_>, execution: &mut Execution, more: Option<String>) {
    let mut summary = course::failure(&work.declaration, execution);
    summary.extend(more.into_iter().flat_map(|more| ["; ".to_owned(), more]));
    leave(work, execution, StageStatus::Failed, StageState::Failed);
    end_execution(work, execution, ExecutionStatus::Failed, Some(summary));
}

/// Ends the execution's part in its stage, and frees the stage for the next one.
pub(super) fn leave(work: &mut Work<'_>, execution: &mut Execution, status: StageStatus, state: StageState) {
    let stage = execution.stage();
    let head = &mut work.head_mut().stages[stage];
    head.occupant = None;
    if status == StageStatus::Succeeded {
        // What a rollback brought back is what its target had made of the stage.
        head.succeeded = Some(match execution.start.execution_type {
            ExecutionType::Standard => execution.id,
            ExecutionType::Rollback { target } => target,
        });
    }
    work.freed.insert(stage);
    set_stage(work, execution, status, state);
}

/// Sets the status of the stage that the execution is in, and for the pipeline where no later one has entered it, and tells
/// of it.
pub(super) fn set_stage(work: &mut Work<'_>, execution: &mut Execution, status: StageStatus, state: StageState) {
    let stage = execution.stage();
    let Some(run) = execution.progress.stages.last_mut() else { return };
    run.status = status;
    run.updated = work.at;
    if !matches!(status, StageStatus::InProgress | StageStatus::Stopping) {
        run.rolls_back_to = None;
    }
    execution.progress.updated = work.at;
    let latest = work.head_mut().stages[stage].latest.as_mut();
    if let Some(latest) = latest.filter(|latest| latest.execution == execution.id) {
        latest.status = status;
    }
    work.events.push(Event::Stage(StageEvent {
        execution: execution.id,
        version: execution.start.version,
        stage: work.declaration.stages[stage].name.clone(),
        started: Some(run.started),
        attempt: run.attempt(),
        state,
    }));
}

pub(super) fn end_stopped(work: &mut Work<'_>, execution: &mut Execution) {
    let reason = execution.progress.stop.as_ref().and_then(|stop| stop.reason.clone());
    end_execution(work, execution, ExecutionStatus::Stopped, reason);
}

/// Ends an execution that is in no stage (any more). It leaves the live state when it is put back.
pub(super) fn end_execution(
    work: &mut Work<'_>,
    execution: &mut Execution,
    status: ExecutionStatus,
    summary: Option<String>,
) {
    execution.progress.status = status;
    execution.progress.summary = summary;
    execution.progress.ended = Some(work.at);
    execution.progress.updated = work.at;
    let state = match status {
        ExecutionStatus::InProgress | ExecutionStatus::Stopping => return,
        ExecutionStatus::Cancelled => ExecutionState::Canceled,
        ExecutionStatus::Stopped => ExecutionState::Stopped,
        ExecutionStatus::Succeeded => ExecutionState::Succeeded,
        ExecutionStatus::Superseded => ExecutionState::Superseded,
        ExecutionStatus::Failed => ExecutionState::Failed,
    };
    tell(work, execution, state);
}

/// Tells of an execution's new state.
pub(super) fn tell(work: &mut Work<'_>, execution: &Execution, state: ExecutionState) {
    let started = state == ExecutionState::Started;
    work.events.push(Event::Execution(ExecutionEvent {
        execution: execution.id,
        number: execution.start.number,
        version: execution.start.version,
        started: execution.start.at,
        attempt: execution.progress.attempt,
        state,
        summary: execution.progress.summary.clone(),
        trigger: execution.start.trigger.clone(),
        variables: if started { execution.start.variables.clone() } else { Variables::new() },
    }));
}
