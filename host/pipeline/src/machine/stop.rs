//! Stopping an execution: by waiting for its actions in progress, or by abandoning them.

use super::address::Address;
use super::bounds::{CALLER_CHARS_MAX, STOP_REASON_CHARS_MAX, cut_to};
use super::event::{ActionHappening, ExecutionState, StageState};
use super::execution::{Execution, ExecutionStatus, StageStatus, StopRequest};
use super::ids::ExecutionId;
use super::refusal::Refusal;
use super::step::Reply;
use super::work::Work;
use super::{actions, stages};

pub(super) fn stop(
    work: &mut Work<'_>,
    id: ExecutionId,
    abandon: bool,
    reason: Option<String>,
    by: Option<String>,
) -> Result<Reply, Refusal> {
    let mut execution = work.take(id).ok_or(Refusal::NotStoppable { execution: id })?;
    let stopping = execution.progress.status == ExecutionStatus::Stopping;
    if stopping && !abandon {
        return Err(Refusal::DuplicatedStop { execution: id, pipeline: work.declaration.name.clone() });
    }
    let before = execution.progress.stop.take().unwrap_or_default();
    // Whoever abandons what somebody stopped before need not give the reason again.
    let reason = cut_to(reason, STOP_REASON_CHARS_MAX).or(before.reason);
    execution.progress.stop = Some(StopRequest { reason, by: cut_to(by, CALLER_CHARS_MAX).or(before.by) });
    execution.progress.updated = work.at;
    if !stopping {
        execution.progress.status = ExecutionStatus::Stopping;
        stages::tell(work, &execution, ExecutionState::Stopping);
    }
    if execution.progress.inbound_since.is_some() {
        stages::end_stopped(work, &mut execution);
    } else {
        if !stopping {
            stages::set_stage(work, &mut execution, StageStatus::Stopping, StageState::Stopping);
        }
        if abandon {
            abandon_actions(work, &mut execution, &ActionHappening::Abandoned);
        }
        stages::advance(work, &mut execution);
    }
    work.put(execution);
    Ok(Reply::Execution(id))
}

/// Ends all actions and rules in progress without an outcome.
pub(super) fn abandon_actions(work: &mut Work<'_>, execution: &mut Execution, what: &ActionHappening) {
    let runs = execution.stage_runs(execution.stage());
    for address in runs.map(|(address, _)| address).collect::<Vec<Address>>() {
        actions::abandon(work, execution, address, what.clone());
    }
    if let Some(run) = execution.stage_run_mut() {
        run.rolls_back_to = None;
    }
}
