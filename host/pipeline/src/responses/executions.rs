//! StartPipelineExecution, StopPipelineExecution, RetryStageExecution, RollbackStage, GetPipelineExecution,
//! ListPipelineExecutions, PutApprovalResult, PutActionRevision.

use serde::{Deserialize, Serialize};

use super::Time;
use crate::declaration::ExecutionMode;
use crate::machine::{ExecutionStatus, ExecutionType, Trigger};

/// Of every operation that answers with an execution's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionIdOutput {
    pub pipeline_execution_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPipelineExecutionOutput {
    pub pipeline_execution: PipelineExecution,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineExecution {
    pub pipeline_name: String,
    pub pipeline_version: u32,
    pub pipeline_execution_id: String,
    pub status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_summary: Option<String>,
    pub artifact_revisions: Vec<ArtifactRevision>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<ResolvedPipelineVariable>,
    pub trigger: Trigger,
    pub execution_mode: ExecutionMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_type: Option<ExecutionTypeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_metadata: Option<PipelineRollbackMetadata>,
}

/// CodePipeline's ExecutionType; an execution of the type STANDARD has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ExecutionTypeName {
    Standard,
    Rollback,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineRollbackMetadata {
    pub rollback_target_pipeline_execution_id: String,
}

impl PipelineRollbackMetadata {
    pub fn of(execution_type: ExecutionType) -> Option<PipelineRollbackMetadata> {
        match execution_type {
            ExecutionType::Standard => None,
            ExecutionType::Rollback { target } => {
                Some(PipelineRollbackMetadata { rollback_target_pipeline_execution_id: target.to_string() })
            }
        }
    }
}

impl ExecutionTypeName {
    /// None of what is shown by saying nothing.
    pub fn of(execution_type: ExecutionType) -> Option<ExecutionTypeName> {
        match execution_type {
            ExecutionType::Standard => None,
            ExecutionType::Rollback { .. } => Some(ExecutionTypeName::Rollback),
        }
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactRevision {
    pub name: String,
    pub revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_url: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResolvedPipelineVariable {
    pub name: String,
    pub resolved_value: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPipelineExecutionsOutput {
    pub pipeline_execution_summaries: Vec<PipelineExecutionSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineExecutionSummary {
    pub pipeline_execution_id: String,
    pub status: ExecutionStatus,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_summary: Option<String>,
    pub start_time: Time,
    pub last_update_time: Time,
    pub source_revisions: Vec<SourceRevision>,
    pub trigger: Trigger,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_trigger: Option<StopExecutionTrigger>,
    pub execution_mode: ExecutionMode,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_type: Option<ExecutionTypeName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rollback_metadata: Option<PipelineRollbackMetadata>,
}

impl PipelineExecutionSummary {
    pub fn is_running(&self) -> bool {
        matches!(self.status, ExecutionStatus::InProgress | ExecutionStatus::Stopping)
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceRevision {
    pub action_name: String,
    pub revision_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_url: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StopExecutionTrigger {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutApprovalResultOutput {
    pub approved_at: Time,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutActionRevisionOutput {
    pub new_revision: bool,
    /// The execution that the revision started, else the one that came into the first stage last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_id: Option<String>,
}
