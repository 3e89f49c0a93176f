//! Why an input was refused. A refused input changes nothing.
//!
//! Owns the reasons, their AWS error classes and words. Must not know HTTP.

use super::ids::{ExecutionId, JobId};
use crate::validate::Problem;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("A pipeline with the name '{0}' already exists")]
    PipelineNameInUse(String),
    #[error("The pipeline does not exist")]
    PipelineNotFound,
    #[error("The pipeline '{pipeline}' does not have a stage with name '{stage}'")]
    StageNotFound { pipeline: String, stage: String },
    #[error("The stage '{stage}' of pipeline '{pipeline}' does not have an action with name '{action}'")]
    ActionNotFound { pipeline: String, stage: String, action: String },
    #[error("{0}")]
    InvalidVariables(String),
    #[error("{0}")]
    InvalidSourceRevisions(String),
    /// What the start gives is too much to keep.
    #[error("{0}")]
    StartTooLarge(String),
    #[error(
        "The pipeline '{pipeline}' has {count_max} executions in progress, which is as many as it can have; start another \
         when one of them has ended, or stop one"
    )]
    TooManyExecutions { pipeline: String, count_max: usize },
    #[error("The transition cannot be disabled: {0}")]
    InvalidTransition(&'static str),
    #[error(
        "Unable to stop the pipeline execution with ID {execution}. The execution might already be in a Stopped state, or \
         it might no longer be in progress."
    )]
    NotStoppable { execution: ExecutionId },
    #[error(
        "The execution with ID {execution} in {pipeline} is already in a stopping state. If you already chose to stop and \
         wait, you cannot make that request again. You can choose to stop and abandon now, but be aware that this option \
         can lead to failed actions. If you already chose to stop and abandon, you cannot make that request again."
    )]
    DuplicatedStop { execution: ExecutionId, pipeline: String },
    #[error(
        "The stage '{stage}' has run in a later execution of the pipeline, and the pipelineExecutionId {execution} \
         associated with the request is out of date."
    )]
    NotLatest { stage: String, execution: ExecutionId },
    #[error("Unable to retry the stage '{stage}': {reason}.")]
    NotRetryable { stage: String, reason: &'static str },
    #[error("Unable to roll back the stage '{stage}': {reason}.")]
    UnableToRollBack { stage: String, reason: String },
    #[error("The pipeline has no execution with ID {execution}.")]
    ExecutionNotFound { execution: ExecutionId },
    #[error(
        "The pipeline execution with ID {execution} is of an earlier version of the pipeline and cannot be used as a target \
         pipeline execution for rollback."
    )]
    ExecutionOutdated { execution: ExecutionId },
    #[error("Unable to override the condition of the stage '{stage}': {reason}.")]
    ConditionNotOverridable { stage: String, reason: &'static str },
    #[error("The approval request already received a response or has expired.")]
    InvalidApprovalToken,
    #[error("The pipeline {pipeline} has been updated, and the approval request you responded to is now out of date.")]
    ApprovalOutdated { pipeline: String },
    #[error("The approval action has already been approved or rejected.")]
    ApprovalAlreadyCompleted,
    #[error("There is no job of this id.")]
    JobNotFound,
    #[error("The job {job} cannot be taken with this nonce: poll again for a job.")]
    InvalidNonce { job: JobId },
    #[error("The job {job} is not in a state in which this can be done to it: {why}.")]
    InvalidJobState { job: JobId, why: &'static str },
    /// What the declaration says cannot be done here yet: it is not taken, rather than something that behaves otherwise.
    #[error("{}", .0.iter().map(|problem| format!("{}: {}", problem.path, problem.message)).collect::<Vec<_>>().join("; "))]
    NotSupported(Vec<Problem>),
    #[error("The signal's payload has {bytes} bytes, which is more than {bytes_max}")]
    SignalTooLarge { bytes: usize, bytes_max: usize },
    /// The action runs, or waits for something else; the sender may try again later.
    #[error("The action execution does not wait for a signal of kind '{kind}'")]
    NotWaiting { kind: String },
    /// An answer to what is no longer asked: late callbacks have no effect.
    #[error("The answer comes too late: what it answers is over")]
    Stale,
}

impl Refusal {
    /// The modelled AWS error that the API answers with; none for what is no API operation of CodePipeline.
    pub fn error_class(&self) -> Option<&'static str> {
        Some(match self {
            Refusal::PipelineNameInUse(_) => "PipelineNameInUseException",
            Refusal::PipelineNotFound => "PipelineNotFoundException",
            Refusal::StageNotFound { .. } => "StageNotFoundException",
            Refusal::ActionNotFound { .. } => "ActionNotFoundException",
            Refusal::InvalidVariables(_)
            | Refusal::InvalidSourceRevisions(_)
            | Refusal::StartTooLarge(_)
            | Refusal::InvalidTransition(_)
            | Refusal::NotSupported(_) => "ValidationException",
            Refusal::TooManyExecutions { .. } => "ConcurrentPipelineExecutionsLimitExceededException",
            Refusal::NotStoppable { .. } => "PipelineExecutionNotStoppableException",
            Refusal::DuplicatedStop { .. } => "DuplicatedStopRequestException",
            Refusal::NotLatest { .. } => "NotLatestPipelineExecutionException",
            Refusal::NotRetryable { .. } => "StageNotRetryableException",
            Refusal::UnableToRollBack { .. } => "UnableToRollbackStageException",
            Refusal::ExecutionNotFound { .. } => "PipelineExecutionNotFoundException",
            Refusal::ExecutionOutdated { .. } => "PipelineExecutionOutdatedException",
            Refusal::ConditionNotOverridable { .. } => "ConditionNotOverridableException",
            Refusal::InvalidApprovalToken | Refusal::ApprovalOutdated { .. } => "InvalidApprovalTokenException",
            Refusal::ApprovalAlreadyCompleted => "ApprovalAlreadyCompletedException",
            Refusal::JobNotFound => "JobNotFoundException",
            Refusal::InvalidNonce { .. } => "InvalidNonceException",
            Refusal::InvalidJobState { .. } => "InvalidJobStateException",
            Refusal::SignalTooLarge { .. } | Refusal::NotWaiting { .. } | Refusal::Stale => return None,
        })
    }
}
