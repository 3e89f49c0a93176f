//! ListRuleTypes, ListRuleExecutions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{ActionConfigurationProperty, ActionExecutionResult, ArtifactDetail, ArtifactDetails, Time};
use crate::declaration::RuleTypeId;
use crate::machine::ActionStatus;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleTypesOutput {
    pub rule_types: Vec<RuleType>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleType {
    pub id: RuleTypeId,
    /// CodePipeline's RuleConfigurationProperty, which has the same shape as an action's.
    pub rule_configuration_properties: Vec<ActionConfigurationProperty>,
    pub input_artifact_details: ArtifactDetails,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleExecutionsOutput {
    pub rule_execution_details: Vec<RuleExecutionDetail>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExecutionDetail {
    pub pipeline_execution_id: String,
    pub rule_execution_id: String,
    pub pipeline_version: u32,
    pub stage_name: String,
    pub rule_name: String,
    pub start_time: Time,
    pub last_update_time: Time,
    pub status: ActionStatus,
    pub input: RuleExecutionInput,
    pub output: RuleExecutionOutput,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExecutionInput {
    pub rule_type_id: RuleTypeId,
    pub configuration: BTreeMap<String, String>,
    pub resolved_configuration: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    pub region: String,
    pub input_artifacts: Vec<ArtifactDetail>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleExecutionOutput {
    /// CodePipeline's RuleExecutionResult, which has the same shape as an action's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_result: Option<ActionExecutionResult>,
}
