//! ListActionTypes, GetActionType.

use serde::{Deserialize, Serialize};

use crate::declaration::ActionTypeId;

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListActionTypesOutput {
    pub action_types: Vec<ActionType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionType {
    pub id: ActionTypeId,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<ActionTypeSettings>,
    pub action_configuration_properties: Vec<ActionConfigurationProperty>,
    pub input_artifact_details: ArtifactDetails,
    pub output_artifact_details: ArtifactDetails,
}

/// Addresses for whoever looks at a pipeline. In a template, `{Config:NAME}` is a setting, and `{ExternalExecutionId}` what the
/// worker calls its work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypeSettings {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub third_party_configuration_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entity_url_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub execution_url_template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision_url_template: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionConfigurationProperty {
    pub name: String,
    pub required: bool,
    pub key: bool,
    pub secret: bool,
    #[serde(default)]
    pub queryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    #[serde(rename = "type", default)]
    pub kind: ActionConfigurationPropertyType,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ActionConfigurationPropertyType {
    #[default]
    String,
    Number,
    Boolean,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactDetails {
    pub minimum_count: u32,
    pub maximum_count: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetActionTypeOutput {
    pub action_type: ActionTypeDeclaration,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypeDeclaration {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    pub id: ActionTypeId,
    pub executor: ActionTypeExecutor,
    pub input_artifact_details: ArtifactDetails,
    pub output_artifact_details: ArtifactDetails,
    pub permissions: ActionTypePermissions,
    pub properties: Vec<ActionTypeProperty>,
}

/// Who may use the type: in the account that offers it all of them, elsewhere that account.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypePermissions {
    pub allowed_accounts: Vec<String>,
}

/// CodePipeline's types run in a Lambda function or a job worker; ours in a plugin, which is more like the latter.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypeExecutor {
    #[serde(rename = "type")]
    pub kind: ExecutorType,
    pub configuration: ExecutorConfiguration,
    /// In seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_timeout: Option<u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExecutorType {
    JobWorker,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutorConfiguration {
    pub job_worker_executor_configuration: JobWorkerExecutorConfiguration,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct JobWorkerExecutorConfiguration {}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionTypeProperty {
    pub name: String,
    pub optional: bool,
    pub key: bool,
    pub no_echo: bool,
    pub queryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
}
