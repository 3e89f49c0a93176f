//! The inputs of the operations on custom action types and on the jobs of workers.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Request, Row, Shape, requests};
use crate::declaration::{ActionCategory, ActionTypeId, Tag};
use crate::machine::FailureType;
use crate::responses::{ActionConfigurationProperty, ActionTypeSettings, ArtifactDetails};
use crate::validate::shape::Shape::{Boolean, Choice, Integer, Structure, Time};
use crate::validate::shape::{ANY, list, map, optional, pattern, patterns, required, text};
use crate::validate::shapes::{ACTION_CATEGORY, ACTION_PROVIDER, ACTION_TYPE_ID, ACTION_VERSION, TAG};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CreateCustomActionTypeInput {
    pub category: ActionCategory,
    pub provider: String,
    pub version: String,
    pub settings: Option<ActionTypeSettings>,
    #[serde(default)]
    pub configuration_properties: Vec<ActionConfigurationProperty>,
    pub input_artifact_details: ArtifactDetails,
    pub output_artifact_details: ArtifactDetails,
    pub tags: Option<Vec<Tag>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteCustomActionTypeInput {
    pub category: ActionCategory,
    pub provider: String,
    pub version: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollForJobsInput {
    pub action_type_id: ActionTypeId,
    pub max_batch_size: Option<u32>,
    #[serde(default)]
    pub query_param: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgeJobInput {
    pub job_id: String,
    pub nonce: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetJobDetailsInput {
    pub job_id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutJobSuccessResultInput {
    pub job_id: String,
    pub current_revision: Option<CurrentRevision>,
    pub continuation_token: Option<String>,
    pub execution_details: Option<JobExecutionDetails>,
    #[serde(default)]
    pub output_variables: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutJobFailureResultInput {
    pub job_id: String,
    pub failure_details: FailureDetails,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PollForThirdPartyJobsInput {
    pub action_type_id: ActionTypeId,
    pub max_batch_size: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AcknowledgeThirdPartyJobInput {
    pub job_id: String,
    pub nonce: String,
    pub client_token: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetThirdPartyJobDetailsInput {
    pub job_id: String,
    pub client_token: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutThirdPartyJobSuccessResultInput {
    pub job_id: String,
    pub client_token: String,
    pub current_revision: Option<CurrentRevision>,
    pub continuation_token: Option<String>,
    pub execution_details: Option<JobExecutionDetails>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutThirdPartyJobFailureResultInput {
    pub job_id: String,
    pub client_token: String,
    pub failure_details: FailureDetails,
}

/// The revision that a worker of a source action found.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CurrentRevision {
    pub revision: String,
    pub change_identifier: String,
    pub created: Option<f64>,
    pub revision_summary: Option<String>,
}

/// CodePipeline's ExecutionDetails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobExecutionDetails {
    pub summary: Option<String>,
    pub external_execution_id: Option<String>,
    pub percent_complete: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FailureDetails {
    #[serde(rename = "type")]
    pub kind: FailureType,
    pub message: String,
    pub external_execution_id: Option<String>,
}

patterns! {
    JOB_ID_CHARACTERS = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    QUERYABLE = r"[a-zA-Z0-9_-]+";
    VARIABLE = r"[A-Za-z0-9@\-_]+";
}

requests! { JOB_REQUESTS:
    "CreateCustomActionType" CreateCustomActionTypeInput [
        required("category", &ACTION_CATEGORY),
        required("provider", &ACTION_PROVIDER),
        required("version", &ACTION_VERSION),
        optional("settings", &SETTINGS),
        optional("configurationProperties", &list(0, 10, &PROPERTY)),
        required("inputArtifactDetails", &ARTIFACT_DETAILS),
        required("outputArtifactDetails", &ARTIFACT_DETAILS),
        optional("tags", &list(0, ANY, &TAG)),
    ];
    "DeleteCustomActionType" DeleteCustomActionTypeInput [
        required("category", &ACTION_CATEGORY),
        required("provider", &ACTION_PROVIDER),
        required("version", &ACTION_VERSION),
    ];
    "PollForJobs" PollForJobsInput [
        required("actionTypeId", &ACTION_TYPE_ID),
        optional("maxBatchSize", &BATCH),
        optional("queryParam", &map(1, &text(1, 50), &pattern(1, 50, &QUERYABLE))),
    ];
    "AcknowledgeJob" AcknowledgeJobInput [required("jobId", &JOB_ID), required("nonce", &text(1, 50))];
    "GetJobDetails" GetJobDetailsInput [required("jobId", &JOB_ID)];
    "PutJobSuccessResult" PutJobSuccessResultInput [
        required("jobId", &JOB_ID),
        optional("currentRevision", &CURRENT_REVISION),
        optional("continuationToken", &text(1, 2048)),
        optional("executionDetails", &EXECUTION_DETAILS),
        optional("outputVariables", &map(ANY, &pattern(0, ANY, &VARIABLE), &text(0, ANY))),
    ];
    "PutJobFailureResult" PutJobFailureResultInput [
        required("jobId", &JOB_ID),
        required("failureDetails", &FAILURE_DETAILS),
    ];
    "PollForThirdPartyJobs" PollForThirdPartyJobsInput [
        required("actionTypeId", &ACTION_TYPE_ID),
        optional("maxBatchSize", &BATCH),
    ];
    "AcknowledgeThirdPartyJob" AcknowledgeThirdPartyJobInput [
        required("jobId", &THIRD_PARTY_JOB_ID),
        required("nonce", &text(1, 50)),
        required("clientToken", &CLIENT_TOKEN),
    ];
    "GetThirdPartyJobDetails" GetThirdPartyJobDetailsInput [
        required("jobId", &THIRD_PARTY_JOB_ID),
        required("clientToken", &CLIENT_TOKEN),
    ];
    "PutThirdPartyJobSuccessResult" PutThirdPartyJobSuccessResultInput [
        required("jobId", &THIRD_PARTY_JOB_ID),
        required("clientToken", &CLIENT_TOKEN),
        optional("currentRevision", &CURRENT_REVISION),
        optional("continuationToken", &text(1, 2048)),
        optional("executionDetails", &EXECUTION_DETAILS),
    ];
    "PutThirdPartyJobFailureResult" PutThirdPartyJobFailureResultInput [
        required("jobId", &THIRD_PARTY_JOB_ID),
        required("clientToken", &CLIENT_TOKEN),
        required("failureDetails", &FAILURE_DETAILS),
    ];
}

static JOB_ID: Shape = pattern(0, ANY, &JOB_ID_CHARACTERS);
static THIRD_PARTY_JOB_ID: Shape = text(1, 512);
static CLIENT_TOKEN: Shape = text(1, 256);
static BATCH: Shape = Integer { min: 1, max: i32::MAX as i64 };

/// ActionTypeSettings.
static SETTINGS: Shape = Structure(&[
    optional("thirdPartyConfigurationUrl", &text(1, 2048)),
    optional("entityUrlTemplate", &text(1, 2048)),
    optional("executionUrlTemplate", &text(1, 2048)),
    optional("revisionUrlTemplate", &text(1, 2048)),
]);

/// ActionConfigurationProperty.
static PROPERTY: Shape = Structure(&[
    required("name", &text(1, 50)),
    required("required", &Boolean),
    required("key", &Boolean),
    required("secret", &Boolean),
    optional("queryable", &Boolean),
    optional("description", &text(1, 160)),
    optional("type", &Choice(&["String", "Number", "Boolean"])),
]);

static ARTIFACT_DETAILS: Shape = Structure(&[
    required("minimumCount", &Integer { min: 0, max: 5 }),
    required("maximumCount", &Integer { min: 0, max: 5 }),
]);

static CURRENT_REVISION: Shape = Structure(&[
    required("revision", &text(1, 1500)),
    required("changeIdentifier", &text(1, 100)),
    optional("created", &Time),
    optional("revisionSummary", &text(1, 2048)),
]);

static EXECUTION_DETAILS: Shape = Structure(&[
    optional("summary", &text(1, 2048)),
    optional("externalExecutionId", &text(1, 1500)),
    optional("percentComplete", &Integer { min: 0, max: 100 }),
]);

static FAILURE_DETAILS: Shape = Structure(&[
    required(
        "type",
        &Choice(&[
            "JobFailed",
            "ConfigurationError",
            "PermissionError",
            "RevisionOutOfSync",
            "RevisionUnavailable",
            "SystemUnavailable",
        ]),
    ),
    required("message", &text(1, 5000)),
    optional("externalExecutionId", &text(1, 1500)),
]);
