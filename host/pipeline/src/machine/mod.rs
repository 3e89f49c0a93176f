//! The execution state machine of one pipeline.
//!
//! `step` takes the state and one input, and answers with the changed parts, the events and the effects, or refuses. It is
//! a pure function: the time and the random bytes come in with the input. Whoever calls it makes the changes durable, then
//! applies them, then replies, then does the effects, and brings each effect's answer as a later input.
//!
//! Must not know how state is stored, how an action is run, or who asks.

mod actions;
mod address;
mod admission;
mod approvals;
pub(crate) mod bounds;
mod conditions;
mod course;
mod declared;
mod effect;
mod event;
mod execution;
mod executions;
mod ids;
mod input;
mod jobs;
mod lifecycle;
mod refusal;
mod report;
mod resolve;
mod retry;
mod rollback;
mod stages;
mod start;
mod state;
mod step;
mod stop;
pub mod stored;
mod work;

pub use address::{ActionAddress, Address, ConditionType, InvalidAddress, RuleAddress};
pub use admission::{EXECUTIONS_COUNT_MAX, INBOUND_WAIT_MILLISECONDS_MAX};
pub use bounds::{
    APPROVAL_SUMMARY_CHARS_MAX, ARTIFACTS_BYTES_MAX, COMMIT_BYTES_MAX, DECLARATION_BYTES_MAX, EXECUTION_TEXT_BYTES_MAX,
    EXECUTION_VARIABLES_BYTES_MAX, LIVE_BYTES_MAX, OUTPUT_VARIABLES_BYTES_MAX, START_BYTES_MAX, VALUE_BYTES_MAX,
};
pub use declared::{Declared, Placed, all, condition, configuration_mut, rule_in_stage, rules};
pub use effect::{Effect, RunAction};
pub use event::{
    ActionEvent, ActionHappening, ConditionEvent, Event, ExecutionEvent, ExecutionState, RuleEvent, StageEvent,
    StageState, WaitEvent,
};
pub use execution::{
    ActionRun, ActionStatus, ConditionRun, ConditionStatus, Decision, Execution, ExecutionStatus, ExecutionType,
    Progress, StagePhase, StageRun, StageStatus, Start, StopRequest,
};
pub use executions::Executions;
pub use ids::{ActionExecutionId, Entropy, ExecutionId, JobId, Nonce, TimerId, TimerKind, Timestamp};
pub use input::{
    ApprovalAnswer, ApprovalStatus, Input, InputKind, OverrideRequest, RetryRequest, RollbackRequest,
    SIGNAL_PAYLOAD_BYTES_MAX, SourceRevisionOverride, SourceRevisionType, StartRequest, TransitionKind, Trigger,
    TriggerType,
};
pub use jobs::{JOBS_COUNT_MAX, Job, JobEnd, JobHappening, JobReport, JobStatus, OFFER_MILLISECONDS};
pub use lifecycle::OUTDATED_APPROVALS_COUNT_MAX;
pub use refusal::Refusal;
pub use report::{
    APPROVAL_SIGNAL, ActionError, Awaited, CALLS_COUNT_MAX, CONTINUATION_BYTES_MAX, ExecutionDetails, Failure,
    FailureType, Link, Outcome, Report, Resumption, Revision, Success, Usage, Variables, Verdict,
    WAIT_MILLISECONDS_MIN, Wait, Wake,
};
pub use resolve::CONFIGURATION_BYTES_MAX;
pub use state::{BrokenState, Change, Head, Latest, Part, StageHead, State, Transition};
pub use step::{Reply, Step, step};

#[cfg(test)]
mod tests;
