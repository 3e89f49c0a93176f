//! ListDeployActionExecutionTargets.

use serde::{Deserialize, Serialize};

use super::Time;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListDeployActionExecutionTargetsOutput {
    pub targets: Vec<DeployActionExecutionTarget>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeployActionExecutionTarget {
    pub target_id: String,
    pub target_type: String,
    pub status: String,
    pub start_time: Time,
    pub end_time: Time,
    /// A plugin tells how a target ended, and nothing of the way there.
    pub events: [(); 0],
}
