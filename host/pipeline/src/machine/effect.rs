//! What the driver is asked to do once a step's changes are durable.
//!
//! Effects are not stored: `State::outstanding` makes those that await an answer anew. Must not know how they are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::ActionAddress;
use super::execution::Start;
use super::ids::{ActionExecutionId, ExecutionId, TimerId, Timestamp};
use super::input::SourceRevisionOverride;
use super::report::{Resumption, Usage};
use crate::declaration::{ActionDeclaration, EnvironmentVariable, PipelineDeclaration, StageDeclaration};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Call an action; answered by `ActionReported` with the same call number.
    RunAction(Box<RunAction>),
    /// End a running call; its report is no longer wanted.
    StopAction { execution: ExecutionId, action: ActionExecutionId },
    /// Answered by `TimerDue`, not before `at`; a timer of a time past is due at once.
    SetTimer { id: TimerId, at: Timestamp },
    /// Forget a timer; its answer is no longer wanted.
    ClearTimer { id: TimerId },
}

/// One call of an action, with every `#{…}` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAction {
    pub execution: ExecutionId,
    /// The execution's number, trigger, variables and pins.
    pub start: Arc<Start>,
    pub declaration: Arc<PipelineDeclaration>,
    pub address: ActionAddress,
    /// Also the idempotency key: the same for every call and attempt of this action execution.
    pub action_execution: ActionExecutionId,
    /// 1, and one more for each time that a wait ended.
    pub call: u32,
    /// 1, and one more for each time that the host went down while the action ran.
    pub attempt: u32,
    /// What the calls before this one used of what is limited for all of them together.
    pub spent: Usage,
    pub started: Timestamp,
    pub deadline: Timestamp,
    pub configuration: BTreeMap<String, String>,
    pub commands: Vec<String>,
    pub environment: Vec<EnvironmentVariable>,
    /// Name and digest of the input artifacts, in the declaration's order.
    pub inputs: Vec<(String, String)>,
    pub resumed: Option<Resumption>,
    /// Of a source action: the revision that the start asked for.
    pub source_revision: Option<SourceRevisionOverride>,
}

impl RunAction {
    pub fn stage(&self) -> &StageDeclaration {
        &self.declaration.stages[usize::from(self.address.stage)]
    }

    /// The action as declared: its name, type, output artifacts, output variables and region.
    pub fn action(&self) -> &ActionDeclaration {
        &self.stage().actions[usize::from(self.address.action)]
    }
}
