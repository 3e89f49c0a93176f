//! What the machine is told: commands of people and reports of what ran.
//!
//! Must not know what follows from an input (`step`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::address::ConditionType;
use super::execution::Execution;
use super::ids::{ActionExecutionId, Entropy, ExecutionId, JobId, TimerId};
use super::jobs::JobReport;
use super::report::Report;
use crate::declaration::{PipelineDeclaration, StageRetryMode};

/// The bytes of a signal's payload; larger ones are refused, so that no signal bloats the state.
pub const SIGNAL_PAYLOAD_BYTES_MAX: usize = 64 * 1024;

/// One thing that happens to a pipeline, with fresh random bytes from which the machine derives every id.
#[derive(Clone, Debug)]
pub struct Input {
    pub entropy: Entropy,
    pub what: InputKind,
}

#[derive(Clone, Debug)]
pub enum InputKind {
    /// The declaration has passed validation; its `version` is ignored and becomes 1.
    Create {
        declaration: Arc<PipelineDeclaration>,
    },
    /// The same; its version becomes the current one plus 1. Cancels the live executions.
    Update {
        declaration: Arc<PipelineDeclaration>,
    },
    /// Cancels the live executions and leaves an empty state.
    Delete,
    Start(StartRequest),
    Stop {
        execution: ExecutionId,
        abandon: bool,
        reason: Option<String>,
        by: Option<String>,
    },
    RetryStage(RetryRequest),
    RollbackStage(RollbackRequest),
    OverrideCondition(OverrideRequest),
    DisableTransition {
        stage: String,
        kind: TransitionKind,
        reason: String,
        by: Option<String>,
    },
    EnableTransition {
        stage: String,
        kind: TransitionKind,
        by: Option<String>,
    },
    PutApprovalResult(ApprovalAnswer),
    /// Something a waiting action waits for.
    Signal {
        action: ActionExecutionId,
        kind: String,
        payload: Vec<u8>,
    },
    /// A worker asks for a job; it is answered with a nonce.
    OfferJob {
        action: ActionExecutionId,
        job: JobId,
    },
    /// The worker with this nonce takes it.
    AcknowledgeJob {
        action: ActionExecutionId,
        job: JobId,
        nonce: String,
    },
    /// And says how it went.
    ReportJob {
        action: ActionExecutionId,
        job: JobId,
        report: JobReport,
    },
    /// The answer to a `RunAction`, be it of an action or of a rule, with this call number.
    ActionReported {
        action: ActionExecutionId,
        call: u32,
        report: Report,
    },
    /// The driver is about to run a call again that the host's end interrupted: counts the attempt before it happens.
    ActionRestarted {
        action: ActionExecutionId,
        /// The host did not end as it should have.
        crashed: bool,
    },
    /// The answer to a `LoadExecution`: the target as `Change::Archive` gave it, where it is kept.
    ExecutionLoaded {
        execution: ExecutionId,
        target: ExecutionId,
        found: Option<Box<Execution>>,
    },
    /// The answer to a `SetTimer`.
    TimerDue {
        timer: TimerId,
    },
}

#[derive(Clone, Debug, Default)]
pub struct StartRequest {
    pub trigger: Trigger,
    /// Values for pipeline variables; an unknown name is ignored, a name given twice is refused.
    pub variables: Vec<(String, String)>,
    pub source_revisions: Vec<SourceRevisionOverride>,
    /// Where the change of these revisions was made, if a repository tells (S290).
    pub branch: Option<String>,
    /// What the execution holds on to until it ends, e.g. plugin and grants digests; opaque to the machine.
    pub pins: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub struct RetryRequest {
    pub stage: String,
    pub execution: ExecutionId,
    pub mode: StageRetryMode,
    /// The execution as `Change::Archive` gave it, where it is not among the live ones.
    pub ended: Option<Box<Execution>>,
}

#[derive(Clone, Debug)]
pub struct RollbackRequest {
    pub stage: String,
    pub target: ExecutionId,
    /// The target as `Change::Archive` gave it, where it is not among the live ones.
    pub ended: Option<Box<Execution>>,
    pub by: Option<String>,
}

#[derive(Clone, Debug)]
pub struct OverrideRequest {
    pub stage: String,
    pub execution: ExecutionId,
    pub which: ConditionType,
    /// The execution as `Change::Archive` gave it, where it is not among the live ones.
    pub ended: Option<Box<Execution>>,
    pub by: Option<String>,
}

#[derive(Clone, Debug)]
pub struct ApprovalAnswer {
    pub stage: String,
    pub action: String,
    pub token: String,
    pub status: ApprovalStatus,
    pub summary: String,
    pub by: Option<String>,
}

impl InputKind {
    /// Asked by somebody who hears the answer; the others are answers themselves, which may come too late.
    pub(super) fn is_command(&self) -> bool {
        !matches!(
            self,
            InputKind::Signal { .. }
                | InputKind::ActionReported { .. }
                | InputKind::ActionRestarted { .. }
                | InputKind::ExecutionLoaded { .. }
                | InputKind::TimerDue { .. }
        )
    }
}

/// CodePipeline's ExecutionTrigger.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Trigger {
    #[serde(rename = "triggerType")]
    pub kind: TriggerType,
    #[serde(rename = "triggerDetail", default, skip_serializing_if = "String::is_empty")]
    pub detail: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum TriggerType {
    CreatePipeline,
    #[default]
    StartPipelineExecution,
    PollForSourceChanges,
    Webhook,
    CloudWatchEvent,
    PutActionRevision,
    WebhookV2,
    ManualRollback,
    AutomatedRollback,
}

/// CodePipeline's SourceRevisionOverride.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRevisionOverride {
    pub action_name: String,
    pub revision_type: SourceRevisionType,
    pub revision_value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SourceRevisionType {
    CommitId,
    ImageDigest,
    #[serde(rename = "S3_OBJECT_VERSION_ID")]
    S3ObjectVersionId,
    #[serde(rename = "S3_OBJECT_KEY")]
    S3ObjectKey,
}

/// CodePipeline's StageTransitionType: into the stage, or out of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TransitionKind {
    Inbound,
    Outbound,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalStatus {
    Approved,
    Rejected,
}
