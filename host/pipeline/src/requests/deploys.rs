//! What ListDeployActionExecutionTargets takes.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListDeployActionExecutionTargetsInput {
    pub pipeline_name: Option<String>,
    pub action_execution_id: String,
    pub filters: Option<Vec<TargetFilter>>,
    pub max_results: Option<u32>,
    pub next_token: Option<String>,
}

/// A target's status is all that can be filtered by, so that the name says nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetFilter {
    pub name: Option<String>,
    pub values: Option<Vec<String>>,
}
