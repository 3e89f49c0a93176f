//! Retrying a stage: by hand, or once by itself.

use super::address::{ActionAddress, Address, ConditionType};
use super::event::{ExecutionState, StageState};
use super::execution::{ActionStatus, ConditionStatus, Execution, ExecutionStatus, StagePhase, StageStatus};
use super::ids::ExecutionId;
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
    let refused = |reason| Refusal::NotRetryable { stage: request.stage.clone(), reason };
    let mut execution = latest_in(work, stage, &request.stage, request.execution, request.ended, refused)?;
    let again = actions_to_retry(work, &execution, stage, request.mode).map_err(refused)?;
    if execution.progress.ended.is_some() {
        admission::check_room(work, &execution, None)?;
        execution.progress.attempt += 1;
    }
    begin_again(&mut execution, again);
    if let Some(run) = execution.stage_run_mut() {
        run.manual_retries += 1;
        run.last_retry = Some(work.at);
        run.last_retry_automatic = false;
    }
    execution.progress.updated = work.at;
    resume(work, &mut execution, stage);
    stages::advance(work, &mut execution);
    work.put(execution);
    Ok(Reply::Execution(request.execution))
}

/// A stage that failed is retried by itself: its execution has not ended, and stays in it (S57).
pub(super) fn automatically(work: &mut Work<'_>, execution: &mut Execution, mode: StageRetryMode) {
    let again = runs_of(execution, execution.stage(), mode);
    begin_again(execution, again);
    if let Some(run) = execution.stage_run_mut() {
        run.automatic_retries += 1;
        run.last_retry = Some(work.at);
        run.last_retry_automatic = true;
    }
    execution.progress.attempt += 1;
    stages::tell(work, execution, ExecutionState::Resumed);
    stages::set_stage(work, execution, StageStatus::InProgress, StageState::Resumed);
}

/// An execution, live or brought along, that nobody has followed into a stage.
pub(super) fn latest_in(
    work: &Work<'_>,
    stage: usize,
    name: &str,
    id: ExecutionId,
    ended: Option<Box<Execution>>,
    refused: impl Fn(&'static str) -> Refusal,
) -> Result<Execution, Refusal> {
    let is_latest = work.head.stages[stage].latest.is_some_and(|latest| latest.execution == id);
    let ended = ended.map(|ended| *ended).filter(|ended| ended.id == id && ended.progress.ended.is_some());
    let found = work.take(id).or(ended);
    if !is_latest && work.mode() != ExecutionMode::Parallel {
        // One of an earlier version has other stages, and one that is not kept is not known.
        let has_reached = |execution: &Execution| {
            execution.start.version != work.head.version || execution.stage_run(stage).is_some()
        };
        return Err(match work.head.stages[stage].latest {
            Some(_) if found.as_ref().is_none_or(has_reached) => {
                Refusal::NotLatest { stage: name.to_owned(), execution: id }
            }
            Some(_) => refused(NOT_REACHED),
            None => refused("no execution has reached it"),
        });
    }
    found.ok_or_else(|| refused("its execution is not kept any more"))
}

/// An execution that has ended is in its stage again.
pub(super) fn resume(work: &mut Work<'_>, execution: &mut Execution, stage: usize) {
    if execution.progress.ended.take().is_some() {
        execution.progress.status = ExecutionStatus::InProgress;
        execution.progress.summary = None;
        execution.progress.stop = None;
        stages::lock(work, stage, execution.id);
        stages::tell(work, execution, ExecutionState::Resumed);
        stages::set_stage(work, execution, StageStatus::InProgress, StageState::Resumed);
    }
}

/// Discards runs, and judges anew what did not let the execution go on. Conditions of entry are behind it, unless it was they
/// that held it.
fn begin_again(execution: &mut Execution, again: Vec<ActionAddress>) {
    for address in again {
        execution.runs.remove(&Address::Action(address));
    }
    if let Some(run) = execution.stage_run_mut() {
        run.conditions.retain(|condition| {
            let has_passed = matches!(condition.status, ConditionStatus::Succeeded | ConditionStatus::Overridden);
            condition.which == ConditionType::BeforeEntry && has_passed
        });
        if run.phase != StagePhase::BeforeEntry {
            run.phase = StagePhase::Actions;
        }
    }
}

fn runs_of(execution: &Execution, stage: usize, mode: StageRetryMode) -> Vec<ActionAddress> {
    let is_again = |status| match mode {
        StageRetryMode::AllActions => true,
        StageRetryMode::FailedActions => matches!(status, ActionStatus::Failed | ActionStatus::Abandoned),
    };
    let runs = execution.stage_actions(stage).filter(|(_, run)| is_again(run.status));
    runs.map(|(address, _)| address).collect()
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
    let again = runs_of(execution, stage, mode);
    match execution.progress.stages.last().map(|run| (run.status, run.phase)) {
        Some((StageStatus::Failed | StageStatus::Stopped, _)) => Ok(again),
        Some((StageStatus::InProgress, StagePhase::Actions)) if mode == StageRetryMode::AllActions => {
            Err("actions in it are in progress")
        }
        Some((StageStatus::InProgress, StagePhase::Actions)) if again.is_empty() => {
            Err("it contains no failed actions")
        }
        Some((StageStatus::InProgress, StagePhase::Actions)) => Ok(again),
        Some((StageStatus::InProgress, _)) => Err("its conditions are being judged"),
        _ => Err("it has neither failed nor been stopped"),
    }
}
