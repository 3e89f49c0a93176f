//! Retrying a stage.

use super::address::{ActionAddress, Address};
use super::event::{ExecutionState, StageState};
use super::execution::{ActionStatus, Execution, ExecutionStatus, StagePhase, StageStatus};
use super::input::RetryRequest;
use super::refusal::Refusal;
use super::step::Reply;
use super::work::Work;
use super::{admission, stages};
use crate::declaration::{ExecutionMode, StageRetryMode};

const NOT_REACHED: &str = "its execution has not reached it";

/// Runs the failed actions of a stage again, or all of them, in the same execution. While peers of a failed action still
/// run, the failed one alone can be retried.
pub(super) fn retry_stage(work: &mut Work<'_>, request: RetryRequest) -> Result<Reply, Refusal> {
    let stage = work.stage_index(&request.stage)?;
    let id = request.execution;
    let is_latest = work.head.stages[stage].latest.is_some_and(|latest| latest.execution == id);
    let ended = request.ended.map(|ended| *ended).filter(|ended| ended.id == id && ended.progress.ended.is_some());
    let found = work.take(id).or(ended);
    let refused = |reason| Refusal::NotRetryable { stage: request.stage.clone(), reason };
    if !is_latest && work.mode() != ExecutionMode::Parallel {
        // One of an earlier version has other stages, and one that is not kept is not known.
        let has_reached = |execution: &Execution| {
            execution.start.version != work.head.version || execution.stage_run(stage).is_some()
        };
        return Err(match work.head.stages[stage].latest {
            Some(_) if found.as_ref().is_none_or(has_reached) => {
                Refusal::NotLatest { stage: request.stage, execution: id }
            }
            Some(_) => refused(NOT_REACHED),
            None => refused("no execution has reached it"),
        });
    }
    let mut execution = found.ok_or_else(|| refused("its execution is not kept any more"))?;
    let again = actions_to_retry(work, &execution, stage, request.mode).map_err(refused)?;
    if execution.progress.ended.is_some() {
        admission::check_room(work, &execution.start)?;
    }

    for address in again {
        execution.runs.remove(&Address::Action(address));
    }
    if let Some(run) = execution.progress.stages.last_mut() {
        run.phase = StagePhase::Actions;
        run.manual_retries += 1;
        run.last_retry = Some(work.at);
    }
    execution.progress.updated = work.at;
    if execution.progress.ended.take().is_some() {
        execution.progress.status = ExecutionStatus::InProgress;
        execution.progress.summary = None;
        execution.progress.stop = None;
        execution.progress.attempt += 1;
        stages::lock(work, stage, id);
        stages::tell(work, &execution, ExecutionState::Resumed);
        stages::set_stage(work, &mut execution, StageStatus::InProgress, StageState::Resumed);
    }
    stages::advance(work, &mut execution);
    work.put(execution);
    Ok(Reply::Execution(id))
}

/// The actions whose runs are to be discarded, or why the stage cannot be retried.
fn actions_to_retry(
    work: &Work<'_>,
    execution: &Execution,
    stage: usize,
    mode: StageRetryMode,
) -> Result<Vec<ActionAddress>, &'static str> {
    if execution.start.version != work.head.version {
        return Err("the pipeline has been updated since");
    }
    if execution.stage_run(stage).is_none() {
        return Err(NOT_REACHED);
    }
    if execution.stage() != stage || execution.progress.inbound_since.is_some() {
        return Err("its execution has gone on");
    }
    let is_again = |status| match mode {
        StageRetryMode::AllActions => true,
        StageRetryMode::FailedActions => matches!(status, ActionStatus::Failed | ActionStatus::Abandoned),
    };
    let runs = || execution.stage_actions(stage);
    let again: Vec<_> = runs().filter(|(_, run)| is_again(run.status)).map(|(address, _)| address).collect();
    match execution.progress.stages.last().map(|run| run.status) {
        Some(StageStatus::Failed | StageStatus::Stopped) => Ok(again),
        Some(StageStatus::InProgress) if mode == StageRetryMode::AllActions => Err("actions in it are in progress"),
        Some(StageStatus::InProgress) if again.is_empty() => Err("it contains no failed actions"),
        Some(StageStatus::InProgress) => Ok(again),
        _ => Err("it has neither failed nor been stopped"),
    }
}
