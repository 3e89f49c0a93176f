//! ListRuleTypes, ListRuleExecutions: no rule runs yet, and what has one is not taken (`validate/unsupported`), so that both lists
//! are empty.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleTypesOutput {
    pub rule_types: [(); 0],
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleExecutionsOutput {
    pub rule_execution_details: [(); 0],
}
