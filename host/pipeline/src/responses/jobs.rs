//! CreateCustomActionType, PollForJobs, AcknowledgeJob, GetJobDetails, and the third-party ones.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::ActionType;
use crate::declaration::{ActionTypeId, EncryptionKey, Tag};

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateCustomActionTypeOutput {
    pub action_type: ActionType,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<Tag>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollForJobsOutput {
    pub jobs: Vec<Job>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: String,
    pub data: JobData,
    pub nonce: String,
    pub account_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AcknowledgeJobOutput {
    pub status: JobStatus,
}

/// Of those that CodePipeline has, what a worker hears.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    InProgress,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetJobDetailsOutput {
    pub job_details: JobDetails,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobDetails {
    pub id: String,
    pub data: JobData,
    pub account_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PollForThirdPartyJobsOutput {
    pub jobs: Vec<ThirdPartyJob>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ThirdPartyJob {
    pub client_id: String,
    pub job_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetThirdPartyJobDetailsOutput {
    pub job_details: ThirdPartyJobDetails,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ThirdPartyJobDetails {
    pub id: String,
    pub data: JobData,
    pub nonce: String,
}

/// Also CodePipeline's ThirdPartyJobData, which has the same members.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobData {
    pub action_type_id: ActionTypeId,
    pub action_configuration: ActionConfiguration,
    pub pipeline_context: PipelineContext,
    pub input_artifacts: Vec<Artifact>,
    pub output_artifacts: Vec<Artifact>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub artifact_credentials: Option<AwsSessionCredentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continuation_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encryption_key: Option<EncryptionKey>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ActionConfiguration {
    pub configuration: BTreeMap<String, String>,
}

/// A partner does not hear the ARN and the execution.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineContext {
    pub pipeline_name: String,
    pub stage: StageContext,
    pub action: ActionContext,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_arn: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pipeline_execution_id: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StageContext {
    pub name: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionContext {
    pub name: String,
    pub action_execution_id: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Artifact {
    pub name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    pub location: ArtifactLocation,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactLocation {
    #[serde(rename = "type")]
    pub kind: ArtifactLocationType,
    pub s3_location: S3ArtifactLocation,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArtifactLocationType {
    S3,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct S3ArtifactLocation {
    pub bucket_name: String,
    pub object_key: String,
}

/// Good for the artifacts of one job, for as long as a worker has it.
#[derive(Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AwsSessionCredentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: String,
}

impl std::fmt::Debug for AwsSessionCredentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AwsSessionCredentials(…)")
    }
}
