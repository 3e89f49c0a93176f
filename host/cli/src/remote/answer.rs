//! What the commands read of the API's answers.
//!
//! Owns the few members that they need. Must not print anything.

use serde::Deserialize;

/// GetPipelineState's output.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineState {
    #[serde(default)]
    pub stage_states: Vec<StageState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageState {
    pub stage_name: String,
    pub inbound_execution: Option<StageExecution>,
    #[serde(default)]
    pub inbound_executions: Vec<StageExecution>,
    pub inbound_transition_state: Option<Transition>,
    pub latest_execution: Option<StageExecution>,
    #[serde(default)]
    pub action_states: Vec<ActionState>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StageExecution {
    pub pipeline_execution_id: String,
    pub status: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Transition {
    pub enabled: bool,
    pub disabled_reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionState {
    pub action_name: String,
    pub latest_execution: Option<ActionExecution>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecution {
    pub status: Option<String>,
    pub summary: Option<String>,
    #[serde(default)]
    pub last_status_change: serde_json::Value,
    /// Of an approval that waits.
    pub token: Option<String>,
    pub error_details: Option<ErrorDetails>,
}

#[derive(Debug, Deserialize)]
pub struct ErrorDetails {
    pub code: Option<String>,
    pub message: Option<String>,
}

/// One of ListPipelineExecutions.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionSummary {
    pub pipeline_execution_id: String,
    pub status: String,
}

impl ExecutionSummary {
    pub fn is_running(&self) -> bool {
        matches!(self.status.as_str(), "InProgress" | "Stopping")
    }
}

/// One of ListActionExecutions.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionExecutionDetail {
    pub pipeline_execution_id: String,
    pub action_execution_id: String,
    pub stage_name: String,
    pub action_name: String,
    pub status: String,
    pub input: Option<ActionInput>,
    pub output: Option<ActionOutput>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionInput {
    pub action_type_id: Option<ActionTypeId>,
}

#[derive(Clone, Debug, Deserialize)]
pub struct ActionTypeId {
    pub category: String,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionOutput {
    pub execution_result: Option<ActionResult>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionResult {
    pub external_execution_id: Option<String>,
}

impl ActionExecutionDetail {
    pub fn is_running(&self) -> bool {
        self.status == "InProgress"
    }

    /// What answers this action, if it is an approval that waits: executions side by side have no other token
    /// (contract §7.8).
    pub fn approval_token(&self) -> Option<&str> {
        let category = &self.input.as_ref()?.action_type_id.as_ref()?.category;
        if category != "Approval" || !self.is_running() {
            return None;
        }
        self.output.as_ref()?.execution_result.as_ref()?.external_execution_id.as_deref()
    }
}
