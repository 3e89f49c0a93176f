//! Rolling a stage back: a new execution of that one stage, with what an earlier one had when it succeeded there (S46).
//!
//! Must not know what a stage's failure leads to (`course`).

use std::sync::Arc;

use super::address::Address;
use super::bounds::{TRIGGER_DETAIL_CHARS_MAX, cut_to};
use super::effect::Effect;
use super::event::ExecutionState;
use super::execution::{ActionStatus, Execution, ExecutionStatus, ExecutionType, StageStatus, Start};
use super::ids::ExecutionId;
use super::input::{RollbackRequest, Trigger, TriggerType};
use super::refusal::Refusal;
use super::step::Reply;
use super::work::Work;
use super::{admission, stages};
use crate::declaration::ExecutionMode;

const IN_PARALLEL: &str = "stages of a pipeline of mode PARALLEL are not rolled back";
const SOURCES: &str = "a source stage is not rolled back";

/// A person rolls a stage back.
pub(super) fn by_hand(work: &mut Work<'_>, request: RollbackRequest) -> Result<Reply, Refusal> {
    let stage = work.stage_index(&request.stage)?;
    let unable = |reason: &str| Refusal::UnableToRollBack { stage: request.stage.clone(), reason: reason.to_owned() };
    if work.mode() == ExecutionMode::Parallel {
        return Err(unable(IN_PARALLEL));
    }
    if stage == 0 {
        return Err(unable(SOURCES));
    }
    let ended = request.ended.map(|ended| *ended).filter(|ended| ended.id == request.target);
    let target = work.take(request.target).or(ended);
    let target = target.ok_or(Refusal::ExecutionNotFound { execution: request.target })?;
    if target.start.version != work.head.version {
        return Err(Refusal::ExecutionOutdated { execution: target.id });
    }
    if let Some(reason) = objection(&target, stage) {
        return Err(unable(reason));
    }
    let here = &work.head.stages[stage];
    if here.occupant.is_some() {
        return Err(unable("an execution is in it"));
    }
    if here.latest.is_some_and(|latest| latest.status == StageStatus::Skipped) {
        return Err(unable("its latest execution skipped it"));
    }
    let detail = serde_json::json!({ "AwsUserArn": request.by.unwrap_or_default() });
    let trigger = Trigger { kind: TriggerType::ManualRollback, detail: detail.to_string() };
    let rollback = rollback_of(work, stage, &target, trigger);
    admission::check_room(work, &rollback, None).map_err(|refusal| unable(&refusal.to_string()))?;
    Ok(Reply::Execution(start_rollback(work, rollback)))
}

/// What makes an execution no target.
fn objection(target: &Execution, stage: usize) -> Option<&'static str> {
    if target.start.execution_type != ExecutionType::Standard {
        return Some("the target is itself a rollback");
    }
    match target.stage_run(stage).map(|run| run.status) {
        Some(StageStatus::Succeeded) => None,
        Some(_) => Some("the target has not succeeded in it"),
        None => Some("the target has not reached it"),
    }
}

/// A stage failed that is to be rolled back: to the execution that succeeded there last. Until the driver has brought that,
/// nothing else comes into the stage.
pub(super) fn by_failure(work: &mut Work<'_>, execution: &mut Execution) {
    let stage = execution.stage();
    let found = match work.head.stages[stage].succeeded {
        _ if work.mode() == ExecutionMode::Parallel => Err(IN_PARALLEL),
        _ if stage == 0 => Err(SOURCES),
        None => Err("no execution of this version of the pipeline has succeeded there"),
        Some(target) => Ok(target),
    };
    let target = match found {
        Ok(target) => target,
        Err(reason) => return stages::fail(work, execution, Some(format!("it is not rolled back: {reason}"))),
    };
    match work.take(target) {
        Some(target) => roll_back(work, execution, Some(&target)),
        None => {
            if let Some(run) = execution.stage_run_mut() {
                run.rolls_back_to = Some(target);
            }
            work.effects.push(Effect::LoadExecution { execution: execution.id, target });
        }
    }
}

/// The driver brought the target, or says that it is gone.
pub(super) fn loaded(
    work: &mut Work<'_>,
    id: ExecutionId,
    target: ExecutionId,
    found: Option<Box<Execution>>,
) -> Result<Reply, Refusal> {
    let mut execution = work.take(id).ok_or(Refusal::Stale)?;
    let awaits = execution.stage_run_mut().and_then(|run| run.rolls_back_to.take_if(|awaited| *awaited == target));
    if awaits.is_none() {
        return Err(Refusal::Stale);
    }
    if execution.progress.status == ExecutionStatus::Stopping {
        stages::end_stage(work, &mut execution, StageStatus::Stopped);
    } else {
        let found = found.map(|found| *found).filter(|found| found.id == target);
        let target = work.take(target).or(found);
        roll_back(work, &mut execution, target.as_ref());
    }
    work.put(execution);
    Ok(Reply::Done)
}

/// Ends the execution that failed, and starts the rollback in its place.
fn roll_back(work: &mut Work<'_>, failed: &mut Execution, target: Option<&Execution>) {
    let stage = failed.stage();
    let detail = serde_json::json!({ "FailedPipelineExecutionId": failed.id.to_string() });
    let trigger = Trigger { kind: TriggerType::AutomatedRollback, detail: detail.to_string() };
    let made = match target {
        Some(target) => match objection(target, stage) {
            Some(reason) => Err(reason.to_owned()),
            None => {
                let rollback = rollback_of(work, stage, target, trigger);
                let room = admission::check_room(work, &rollback, Some(failed));
                room.map(|()| (rollback, target.id)).map_err(|refusal| refusal.to_string())
            }
        },
        None => Err("the execution that succeeded there last is not kept any more".to_owned()),
    };
    match made {
        Ok((rollback, target)) => {
            stages::fail(work, failed, Some(format!("it is rolled back to the pipeline execution {target}")));
            start_rollback(work, rollback);
        }
        Err(reason) => stages::fail(work, failed, Some(format!("it is not rolled back: {reason}"))),
    }
}

/// A rollback that is about to start: all that the target started with, its plugins and grants, and what the actions of earlier
/// stages made for it.
fn rollback_of(work: &mut Work<'_>, stage: usize, target: &Execution, trigger: Trigger) -> Execution {
    let detail = cut_to(Some(trigger.detail), TRIGGER_DETAIL_CHARS_MAX).unwrap_or_default();
    let start = Start {
        number: work.head.executions + 1,
        version: work.head.version,
        at: work.at,
        execution_type: ExecutionType::Rollback { target: target.id },
        entry: stage as u16,
        trigger: Trigger { detail, ..trigger },
        variables: target.start.variables.clone(),
        source_revisions: target.start.source_revisions.clone(),
        branch: target.start.branch.clone(),
        pins: target.start.pins.clone(),
    };
    let mut rollback = Execution::new(work.ids.execution(), Arc::new(start));
    let before =
        target.actions().filter(|(at, run)| usize::from(at.stage) < stage && run.status == ActionStatus::Succeeded);
    rollback.runs = before.map(|(at, run)| (Address::Action(at), run.clone())).collect();
    rollback
}

/// It goes into its stage at once: it comes from no stage, so no transition is in its way.
fn start_rollback(work: &mut Work<'_>, mut rollback: Execution) -> ExecutionId {
    work.head_mut().executions = rollback.start.number;
    let id = rollback.id;
    stages::tell(work, &rollback, ExecutionState::Started);
    stages::enter(work, &mut rollback);
    work.put(rollback);
    id
}
