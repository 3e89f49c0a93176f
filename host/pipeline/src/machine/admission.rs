//! Who may enter a stage, and who waits in front of it (contract §7.1, §7.2).
//!
//! Owns the execution mode: SUPERSEDED alone for now, and this is the one file that another mode changes. Must not know
//! what happens inside of a stage.

use super::execution::{Execution, ExecutionStatus};
use super::refusal::Refusal;
use super::stages;
use super::work::Work;
use crate::declaration::{ExecutionMode, PipelineDeclaration};

/// An execution that waited longer than this does not go on (contract §7.2).
pub const INBOUND_WAIT_MILLISECONDS_MAX: u64 = 30 * 24 * 60 * 60 * 1000;

pub(super) fn check_mode(declaration: &PipelineDeclaration) -> Result<(), Refusal> {
    match declaration.execution_mode.unwrap_or_default() {
        ExecutionMode::Superseded => Ok(()),
        ExecutionMode::Queued => Err(Refusal::NotSupported("A pipeline of execution mode QUEUED".into())),
        ExecutionMode::Parallel => Err(Refusal::NotSupported("A pipeline of execution mode PARALLEL".into())),
    }
}

/// An execution comes to the stage after those it entered: it goes in, or waits in the one slot. Who waited there is
/// superseded, for executions come to a stage in the order of their starts.
pub(super) fn arrive(work: &mut Work<'_>, execution: &mut Execution) {
    let stage = execution.progress.stages.len();
    if let Some(older) = work.head.stages[stage].waiting
        && let Some(mut older) = work.take(older)
    {
        let summary = format!("Superseded by the pipeline execution {}", execution.id);
        stages::end_execution(work, &mut older, ExecutionStatus::Superseded, Some(summary));
        work.put(older);
    }
    if work.head.stages[stage].occupant.is_none() && is_open(work, stage) {
        return stages::enter(work, execution);
    }
    work.head.to_mut().stages[stage].waiting = Some(execution.id);
    execution.progress.inbound_since = Some(work.at);
    execution.progress.updated = work.at;
}

/// Lets the waiting execution in, if the stage is free and open to it.
pub(super) fn let_in(work: &mut Work<'_>, stage: usize) {
    let here = &work.head.stages[stage];
    let Some(waiting) = here.waiting.filter(|_| here.occupant.is_none() && is_open(work, stage)) else { return };
    let Some(mut execution) = work.take(waiting) else { return };
    let since = execution.progress.inbound_since.unwrap_or(work.at);
    if work.at > since.plus(INBOUND_WAIT_MILLISECONDS_MAX) {
        let summary = "The execution waited for more than 30 days in front of a stage".to_owned();
        stages::end_execution(work, &mut execution, ExecutionStatus::Stopped, Some(summary));
    } else {
        work.head.to_mut().stages[stage].waiting = None;
        stages::enter(work, &mut execution);
    }
    work.put(execution);
}

/// Whether the transition into a stage is enabled, seen from both of its ends.
fn is_open(work: &Work<'_>, stage: usize) -> bool {
    let out_of_previous = stage.checked_sub(1).is_none_or(|previous| work.head.stages[previous].outbound.enabled);
    out_of_previous && work.head.stages[stage].inbound.enabled
}
