//! Who may enter a stage, and who waits in front of it.
//!
//! Owns the execution modes: this is the one file that another mode changes. Must not know what happens inside of a stage.

use super::bounds::{TELLING_BYTES_MAX, held_bytes, reserved_bytes};
use super::execution::{Execution, ExecutionStatus};
use super::refusal::Refusal;
use super::stages;
use super::work::Work;
use crate::declaration::ExecutionMode;

/// An execution that waited longer than this does not go on.
pub const INBOUND_WAIT_MILLISECONDS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;
/// Executions in progress of a pipeline of mode QUEUED or PARALLEL: a thousand that wait, and one in each of fifty stages. Stops a
/// pipeline that is started by every event of something busy from holding more and more.
pub const EXECUTIONS_COUNT_MAX: usize = 1_050;

/// Whether one more execution may be in progress, or one in the place of another that leaves. It is to find as much room as one
/// execution can take at most, though that is nobody's alone.
pub(super) fn check_room(work: &Work<'_>, more: &Execution, leaving: Option<&Execution>) -> Result<(), Refusal> {
    let in_progress = work.executions_count() - usize::from(leaving.is_some());
    let too_many = |count_max| Err(Refusal::TooManyExecutions { pipeline: work.declaration.name.clone(), count_max });
    if work.mode() != ExecutionMode::Superseded && in_progress >= EXECUTIONS_COUNT_MAX {
        return too_many(EXECUTIONS_COUNT_MAX);
    }
    let reserved = reserved_bytes(&work.declaration);
    let freed = leaving.map_or(0, |leaving| reserved + held_bytes(0, None, Some(leaving)));
    let wanted = reserved + held_bytes(0, None, Some(more)) + TELLING_BYTES_MAX;
    if wanted > work.room_bytes() + freed {
        return too_many(in_progress);
    }
    Ok(())
}

/// An execution comes to the stage after those it entered: it goes in, or waits in front of it. Executions come to a stage
/// in the order of their starts, so who waits in the one slot of SUPERSEDED is older, and superseded.
pub(super) fn arrive(work: &mut Work<'_>, execution: &mut Execution) {
    let (stage, mode) = (execution.next_stage(), work.mode());
    if mode == ExecutionMode::Parallel {
        return stages::enter(work, execution);
    }
    let is_free = work.head.stages[stage].occupant.is_none() && is_open(work, stage);
    let waits = work.first_in_front_of(stage);
    let goes_in = is_free && (mode == ExecutionMode::Superseded || waits.is_none());
    let superseded = waits.filter(|_| mode == ExecutionMode::Superseded);
    if let Some(mut older) = superseded.and_then(|older| work.take(older)) {
        let summary = format!("Superseded by the pipeline execution {}", execution.id);
        stages::end_execution(work, &mut older, ExecutionStatus::Superseded, Some(summary));
        work.put(older);
    }
    if goes_in {
        return stages::enter(work, execution);
    }
    execution.progress.inbound_since = Some(work.at);
    execution.progress.updated = work.at;
}

/// Lets in who waits first, if the stage is free and open.
pub(super) fn let_in(work: &mut Work<'_>, stage: usize) {
    while work.head.stages[stage].occupant.is_none() && is_open(work, stage) {
        let first = work.first_in_front_of(stage);
        let Some(mut execution) = first.and_then(|first| work.take(first)) else { return };
        let since = execution.progress.inbound_since.unwrap_or(work.at);
        if work.at > since.plus(INBOUND_WAIT_MILLISECONDS_MAX) {
            let summary = "The execution waited for more than 30 days in front of a stage".to_owned();
            stages::end_execution(work, &mut execution, ExecutionStatus::Stopped, Some(summary));
        } else {
            stages::enter(work, &mut execution);
        }
        work.put(execution);
    }
}

/// Whether the transition into a stage is enabled, seen from both of its ends.
fn is_open(work: &Work<'_>, stage: usize) -> bool {
    let out_of_previous = stage.checked_sub(1).is_none_or(|previous| work.head.stages[previous].outbound.enabled);
    out_of_previous && work.head.stages[stage].inbound.enabled
}
