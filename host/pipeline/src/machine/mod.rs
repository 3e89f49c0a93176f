//! The execution state machine of one pipeline (contract §6.9, §7.1–7.4, §7.7, §7.8, §7.12).
//!
//! `step` takes the state and one input, and answers with the changed parts, the events and the effects, or refuses. It is
//! a pure function: the time and the random bytes come in with the input. Whoever calls it makes the changes durable, then
//! applies them, then replies, then does the effects, and brings each effect's answer as a later input.
//!
//! Must not know how state is stored, how an action is run, or who asks.

mod actions;
mod admission;
mod approvals;
mod effect;
mod event;
mod execution;
mod ids;
mod input;
mod kept;
mod lifecycle;
mod refusal;
mod report;
mod resolve;
mod retry;
mod stages;
mod start;
mod state;
mod step;
mod stop;
mod work;

pub use admission::INBOUND_WAIT_MILLISECONDS_MAX;
pub use effect::{Effect, RunAction};
pub use event::{ActionEvent, ActionHappening, Event, ExecutionEvent, ExecutionState, StageEvent, StageState};
pub use execution::{
    APPROVAL_SIGNAL, ActionRun, ActionStatus, Decision, Execution, ExecutionStatus, Progress, StageRun, StageStatus,
    Start, StopRequest,
};
pub use ids::{ActionExecutionId, Entropy, ExecutionId, Place, TimerId, TimerKind, Timestamp};
pub use input::{
    ApprovalAnswer, ApprovalStatus, Input, Report, RetryRequest, SIGNAL_PAYLOAD_BYTES_MAX, SourceRevisionOverride,
    SourceRevisionType, StartRequest, TransitionKind, Trigger, TriggerType, What,
};
pub use kept::{
    DETAILS_BYTES_MAX, EXECUTION_TEXT_BYTES_MAX, EXECUTION_VARIABLES_BYTES_MAX, EXTERNAL_ID_BYTES_MAX, LINKS_COUNT_MAX,
    MESSAGE_BYTES_MAX, OUTPUT_VARIABLES_BYTES_MAX, SUMMARY_BYTES_MAX,
};
pub use lifecycle::OUTDATED_APPROVALS_COUNT_MAX;
pub use refusal::Refusal;
pub use report::{
    ActionError, CONTINUATION_BYTES_MAX, Failure, FailureType, Link, Resumption, Revision, Success, Told, Variables,
    Wait, Wake,
};
pub use resolve::CONFIGURATION_BYTES_MAX;
pub use state::{BrokenState, Change, Head, Latest, Part, StageHead, State, Transition};
pub use step::{Reply, Step, step};

#[cfg(test)]
mod tests;
