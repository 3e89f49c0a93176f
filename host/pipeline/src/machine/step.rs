//! The door of the machine: dispatches an input to the rules it concerns.
//!
//! Must not know the rules themselves.

use super::effect::Effect;
use super::event::Event;
use super::ids::{ExecutionId, Nonce, Timestamp};
use super::input::{Input, InputKind};
use super::refusal::Refusal;
use super::state::{Change, State};
use super::work::Work;
use super::{actions, admission, approvals, conditions, jobs, lifecycle, retry, rollback, start, stop};

/// What follows from an input. Changes and events are one record: durable together, before the reply and the effects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    pub changes: Vec<Change>,
    pub events: Vec<Event>,
    pub effects: Vec<Effect>,
    pub reply: Reply,
}

/// What the sender of the input is told once the changes are durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    Done,
    /// Of `Create` and `Update`: the pipeline's version.
    Version(u32),
    /// Of `Start`, `Stop` and `RetryStage`; of `RollbackStage` the new one.
    Execution(ExecutionId),
    /// Of `OfferJob`.
    Offered(Nonce),
}

/// Decides what an input does to a pipeline at a time.
pub fn step(state: &State, input: Input, at: Timestamp) -> Result<Step, Refusal> {
    if let InputKind::Create { declaration } = input.what {
        return lifecycle::create(state, declaration, at);
    }
    let is_command = input.what.is_command();
    let gone = if is_command { Refusal::PipelineNotFound } else { Refusal::Stale };
    let mut work = Work::new(state, input.entropy, at).ok_or(gone)?;
    let reply = match input.what {
        InputKind::Create { .. } => Reply::Done,
        InputKind::Update { declaration } => lifecycle::update(&mut work, declaration)?,
        InputKind::Delete => return Ok(lifecycle::delete(work)),
        InputKind::DisableTransition { stage, kind, reason, by } => {
            lifecycle::change_transition(&mut work, &stage, kind, Some(reason), by)?
        }
        InputKind::EnableTransition { stage, kind, by } => {
            lifecycle::change_transition(&mut work, &stage, kind, None, by)?
        }
        InputKind::Start(request) => start::start(&mut work, request)?,
        InputKind::Stop { execution, abandon, reason, by } => stop::stop(&mut work, execution, abandon, reason, by)?,
        InputKind::RetryStage(request) => retry::retry_stage(&mut work, request)?,
        InputKind::RollbackStage(request) => rollback::by_hand(&mut work, request)?,
        InputKind::OverrideCondition(request) => conditions::override_condition(&mut work, request)?,
        InputKind::ExecutionLoaded { execution, target, found } => {
            rollback::loaded(&mut work, execution, target, found)?
        }
        InputKind::PutApprovalResult(answer) => approvals::put_result(&mut work, answer)?,
        InputKind::Signal { action, kind, payload } => actions::signal(&mut work, action, kind, payload)?,
        InputKind::OfferJob { action, job } => jobs::offer(&mut work, action, job)?,
        InputKind::AcknowledgeJob { action, job, nonce } => jobs::acknowledge(&mut work, action, job, &nonce)?,
        InputKind::ReportJob { action, job, report } => jobs::reported(&mut work, action, job, report)?,
        InputKind::ActionReported { action, call, report } => actions::reported(&mut work, action, call, report)?,
        InputKind::ActionRestarted { action, crashed } => actions::restarted(&mut work, action, crashed)?,
        InputKind::TimerDue { timer } => actions::timer_due(&mut work, timer)?,
    };
    while let Some(stage) = work.freed.pop_first() {
        admission::let_in(&mut work, stage);
    }
    Ok(work.finish(reply))
}
