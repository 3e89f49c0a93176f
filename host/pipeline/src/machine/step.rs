//! The door of the machine: dispatches an input to what it does.
//!
//! Must not know the rules themselves.

use super::effect::Effect;
use super::event::Event;
use super::ids::{ExecutionId, Timestamp};
use super::input::Input;
use super::refusal::Refusal;
use super::state::{Change, State};

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
    /// Of `Start`, `Stop` and `RetryStage`.
    Execution(ExecutionId),
}

/// Decides what an input does to a pipeline at a time.
pub fn step(state: &State, input: Input, at: Timestamp) -> Result<Step, Refusal> {
    let _ = (state, input, at);
    Err(Refusal::PipelineNotFound)
}
