//! The course of an execution through a stage, and its end.
//!
//! Must not know what an action does (`actions`) or who may enter (`admission`).

use super::address::ActionAddress;
use super::event::{Event, ExecutionEvent, ExecutionState, StageEvent, StageState};
use super::execution::{ActionStatus, Execution, ExecutionStatus, StagePhase, StageRun, StageStatus};
use super::ids::ExecutionId;
use super::report::Variables;
use super::state::Latest;
use super::work::Work;
use super::{actions, admission};
use crate::declaration::{ExecutionMode, StageDeclaration};

/// The execution locks the next stage, and its first actions start.
pub(super) fn enter(work: &mut Work<'_>, execution: &mut Execution) {
    let stage = execution.next_stage();
    execution.progress.inbound_since = None;
    execution.progress.stages.push(StageRun {
        stage: stage as u16,
        // Conditions of entry would be judged before; none can be declared yet (`unsupported`).
        phase: StagePhase::Actions,
        status: StageStatus::InProgress,
        started: work.at,
        updated: work.at,
        manual_retries: 0,
        last_retry: None,
    });
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

/// Goes on as far as it can: starts the actions whose turn it is, or ends the stage.
pub(super) fn advance(work: &mut Work<'_>, execution: &mut Execution) {
    loop {
        let stage = execution.stage();
        match next(&work.declaration.stages[stage], execution, stage) {
            Next::Wait => return,
            Next::Start(addresses) => {
                for address in addresses {
                    actions::start(work, execution, address);
                }
            }
            Next::Fail(action) => {
                let stage = &work.declaration.stages[stage];
                let summary = format!("The action {} in stage {} failed", stage.actions[action].name, stage.name);
                set_phase(execution, StagePhase::OnFailure);
                leave(work, execution, StageStatus::Failed, StageState::Failed);
                return end_execution(work, execution, ExecutionStatus::Failed, Some(summary));
            }
            Next::Stop => {
                leave(work, execution, StageStatus::Stopped, StageState::Stopped);
                return end_stopped(work, execution);
            }
            Next::Succeed => {
                let stopping = execution.progress.status == ExecutionStatus::Stopping;
                set_phase(execution, StagePhase::OnSuccess);
                leave(work, execution, StageStatus::Succeeded, StageState::Succeeded);
                return match execution.start.ends_with(stage, work.declaration.stages.len()) {
                    _ if stopping => end_stopped(work, execution),
                    true => end_execution(work, execution, ExecutionStatus::Succeeded, None),
                    false => admission::arrive(work, execution),
                };
            }
        }
    }
}

fn set_phase(execution: &mut Execution, phase: StagePhase) {
    if let Some(run) = execution.progress.stages.last_mut() {
        run.phase = phase;
    }
}

enum Next {
    Wait,
    Start(Vec<ActionAddress>),
    /// The index of an action that failed.
    Fail(usize),
    Stop,
    Succeed,
}

/// Decides by the lowest run order that has not succeeded: equal run orders run in parallel, a failure lets its peers end,
/// and nothing of a higher run order starts after it.
fn next(stage: &StageDeclaration, execution: &Execution, index: usize) -> Next {
    let address = |action: usize| ActionAddress { stage: index as u16, action: action as u16 };
    let status = |action: usize| execution.action(address(action)).map(|run| run.status);
    let unfinished = || (0..stage.actions.len()).filter(|action| status(*action) != Some(ActionStatus::Succeeded));
    let Some(order) = unfinished().map(|action| stage.actions[action].run_order()).min() else { return Next::Succeed };
    let current = || unfinished().filter(|action| stage.actions[*action].run_order() == order);

    let ready: Vec<_> = current().filter(|action| status(*action).is_none()).map(address).collect();
    let stopping = execution.progress.status == ExecutionStatus::Stopping;
    if !stopping && !ready.is_empty() {
        Next::Start(ready)
    } else if current().any(|action| status(action) == Some(ActionStatus::InProgress)) {
        Next::Wait
    } else if stopping {
        Next::Stop
    } else {
        current().next().map_or(Next::Succeed, Next::Fail)
    }
}

/// Ends the execution's part in its stage, and frees the stage for the next one.
pub(super) fn leave(work: &mut Work<'_>, execution: &mut Execution, status: StageStatus, state: StageState) {
    let stage = execution.stage();
    work.head_mut().stages[stage].occupant = None;
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
    execution.progress.updated = work.at;
    let latest = work.head_mut().stages[stage].latest.as_mut();
    if let Some(latest) = latest.filter(|latest| latest.execution == execution.id) {
        latest.status = status;
    }
    work.events.push(Event::Stage(StageEvent {
        execution: execution.id,
        version: execution.start.version,
        stage: work.declaration.stages[stage].name.clone(),
        attempt: run.manual_retries,
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
    let stage = execution.stage();
    if execution.progress.inbound_since.is_some() {
        work.head_mut().stages[stage].waiting.remove(execution.id);
    }
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
