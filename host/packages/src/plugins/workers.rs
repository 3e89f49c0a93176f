//! Action types that no plugin serves, but workers that poll for jobs.
//!
//! Owns what an account says of one. Must not know what a job is, nor how a type is kept.

use std::collections::BTreeMap;

use pipewright_pipeline::action_type::ActionTypeInfo;
use pipewright_pipeline::responses::ActionTypeSettings;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerType {
    pub info: ActionTypeInfo,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub settings: Option<ActionTypeSettings>,
    /// How long a worker has for one job; as long as the action where nothing is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_timeout_seconds: Option<u32>,
    /// Of a custom one.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
}

impl WorkerType {
    /// The key by whose value workers ask for jobs.
    pub fn queryable(&self) -> Option<&str> {
        self.info.properties.iter().find(|property| property.queryable).map(|property| property.name.as_str())
    }
}
