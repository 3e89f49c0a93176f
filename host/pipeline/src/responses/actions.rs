//! ListActionExecutions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ErrorDetails, Time};
use crate::declaration::{ActionCategory, ActionTypeId};
use crate::machine::ActionStatus;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListActionExecutionsOutput {
    pub action_execution_details: Vec<ActionExecutionDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecutionDetail {
    pub pipeline_execution_id: String,
    pub action_execution_id: String,
    pub pipeline_version: u32,
    pub stage_name: String,
    pub action_name: String,
    pub start_time: Time,
    pub last_update_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<String>,
    pub status: ActionStatus,
    pub input: ActionExecutionInput,
    pub output: ActionExecutionOutput,
}

impl ActionExecutionDetail {
    pub fn is_running(&self) -> bool {
        self.status == ActionStatus::InProgress
    }

    /// What answers this action, if it is an approval that waits: executions side by side have no other token.
    pub fn approval_token(&self) -> Option<&str> {
        let is_approval = self.input.action_type_id.category == ActionCategory::Approval;
        let result = self.output.execution_result.as_ref().filter(|_| is_approval && self.is_running());
        result?.external_execution_id.as_deref()
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecutionInput {
    pub action_type_id: ActionTypeId,
    pub configuration: BTreeMap<String, String>,
    pub resolved_configuration: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    pub region: String,
    pub input_artifacts: Vec<ArtifactDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecutionOutput {
    pub output_artifacts: Vec<ArtifactDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_result: Option<ActionExecutionResult>,
    pub output_variables: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecutionResult {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_execution_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_execution_summary: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external_execution_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_details: Option<ErrorDetails>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactDetail {
    pub name: String,
    pub s3location: S3Location,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct S3Location {
    pub bucket: String,
    pub key: String,
}
