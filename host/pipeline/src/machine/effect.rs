//! What the driver is asked to do once a step's changes are durable.
//!
//! Effects are not stored: `State::outstanding` makes those that await an answer anew. Must not know how they are done.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::address::Address;
use super::declared::{Declared, Placed};
use super::execution::Start;
use super::ids::{ActionExecutionId, ExecutionId, TimerId, Timestamp};
use super::input::SourceRevisionOverride;
use super::report::{Resumption, Usage};
use crate::declaration::{EnvironmentVariable, PipelineDeclaration, StageDeclaration};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Call an action or a rule; answered by `ActionReported` with the same call number.
    RunAction(Box<RunAction>),
    /// End a running call; its report is no longer wanted.
    StopAction { execution: ExecutionId, action: ActionExecutionId },
    /// Answered by `TimerDue`, not before `at`; a timer of a time past is due at once.
    SetTimer { id: TimerId, at: Timestamp },
    /// Bring an execution that has ended, to which the other one is to be rolled back; answered by `ExecutionLoaded`. What
    /// comes after the other has ended is stale.
    LoadExecution { execution: ExecutionId, target: ExecutionId },
    /// Forget a timer; its answer is no longer wanted.
    ClearTimer { id: TimerId },
}

/// One call of an action or of a rule, with every `#{…}` resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunAction {
    pub execution: ExecutionId,
    /// The execution's number, trigger, variables and pins.
    pub start: Arc<Start>,
    pub declaration: Arc<PipelineDeclaration>,
    pub address: Address,
    /// The action execution, or the rule execution. Also the idempotency key: the same for every call and attempt of this action execution.
    pub action_execution: ActionExecutionId,
    /// 1, and one more for each time that a wait ended.
    pub call: u32,
    /// 1, and one more for each time that the host went down while the action ran.
    pub attempt: u32,
    /// Whether this call is made again because the host went down: the driver knows, and says so when it makes it.
    pub is_restart: bool,
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
        &self.declaration.stages[self.address.stage()]
    }

    /// What is called, and where it stands.
    pub fn placed(&self) -> Placed<'_> {
        Placed::at(&self.declaration, self.address)
    }

    /// What is called, as declared.
    pub fn declared(&self) -> Declared<'_> {
        self.placed().declared
    }

    pub fn name(&self) -> &str {
        self.declared().name()
    }

    pub fn is_rule(&self) -> bool {
        matches!(self.address, Address::Rule(_))
    }

    /// The names of the output artifacts, of which a rule has none.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.declared().output_artifacts().iter().map(|output| output.name.as_str())
    }
}
