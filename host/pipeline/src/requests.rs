//! The inputs of the API's operations, to the leaf (S4): their types, and the table of their shapes.
//!
//! CreatePipeline and UpdatePipeline are not here: a declaration has rules beyond its shape, and `validate` judges it.
//!
//! Owns what an input looks like. Must not know what an operation does with it, or how a request is spoken. What is text
//! here and an id elsewhere may still be none of ours: only its pattern has been checked.

pub mod codebuild;
mod deploys;
mod jobs;
pub mod sts;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::declaration::{ActionOwner, ActionTypeId, StageRetryMode, Tag};
use crate::machine::{ApprovalStatus, ConditionType, SourceRevisionOverride, TransitionKind};
use crate::validate::shape::Shape::{self, Boolean, Choice, Integer, Structure, Time};
use crate::validate::shape::{ANY, list, optional, pattern, patterns, required, text};
use crate::validate::shapes::{
    ACTION_CATEGORY, ACTION_OWNER, ACTION_PROVIDER, ACTION_VERSION, ENTITY_NAME, PIPELINE_VARIABLE_NAME,
    PIPELINE_VARIABLE_VALUE, PIPELINE_VERSION, REGION, RETRY_MODE, TAG, TAG_KEY,
};
use crate::validate::{self, Problems};
use crate::webhooks::{self, WebhookDefinition};

pub use deploys::*;
pub use jobs::*;

/// The input of an operation, as it is read from a request.
pub trait Request: DeserializeOwned {
    const ROW: Row;
}

/// A row of the table: an operation, and what its input must look like.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    pub operation: &'static str,
    shape: &'static Shape,
}

/// Reads an operation's input. Unknown members are ignored, and null is absent (S4). `Problems::error` has all
/// that is wrong in AWS's words.
pub fn read<T: Request>(document: &Value) -> Result<T, Problems> {
    validate::read(T::ROW.shape, document)
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPipelineInput {
    pub name: String,
    pub version: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeletePipelineInput {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPipelinesInput {
    pub next_token: Option<String>,
    pub max_results: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StartPipelineExecutionInput {
    pub name: String,
    #[serde(default)]
    pub variables: Vec<PipelineVariable>,
    pub client_request_token: Option<String>,
    #[serde(default)]
    pub source_revisions: Vec<SourceRevisionOverride>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineVariable {
    pub name: String,
    pub value: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StopPipelineExecutionInput {
    pub pipeline_name: String,
    pub pipeline_execution_id: String,
    #[serde(default)]
    pub abandon: bool,
    pub reason: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GetPipelineStateInput {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetPipelineExecutionInput {
    pub pipeline_name: String,
    pub pipeline_execution_id: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListPipelineExecutionsInput {
    pub pipeline_name: String,
    pub max_results: Option<u32>,
    pub filter: Option<PipelineExecutionFilter>,
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PipelineExecutionFilter {
    pub succeeded_in_stage: Option<SucceededInStageFilter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SucceededInStageFilter {
    pub stage_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListActionExecutionsInput {
    pub pipeline_name: String,
    pub filter: Option<ExecutionFilter>,
    pub max_results: Option<u32>,
    pub next_token: Option<String>,
}

/// CodePipeline's ActionExecutionFilter and RuleExecutionFilter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionFilter {
    pub pipeline_execution_id: Option<String>,
    pub latest_in_pipeline_execution: Option<LatestInPipelineExecutionFilter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LatestInPipelineExecutionFilter {
    pub pipeline_execution_id: String,
    pub start_time_range: StartTimeRange,
}

impl ExecutionFilter {
    /// The one execution whose actions or rules are listed.
    pub fn wanted(&self) -> Option<&str> {
        let latest = self.latest_in_pipeline_execution.as_ref().map(|latest| &latest.pipeline_execution_id);
        latest.or(self.pipeline_execution_id.as_ref()).map(String::as_str)
    }
}

/// Since the latest attempt of the execution, or since its first (S103).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StartTimeRange {
    Latest,
    All,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RetryStageExecutionInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub pipeline_execution_id: String,
    pub retry_mode: StageRetryMode,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RollbackStageInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub target_pipeline_execution_id: String,
}

/// The condition is never that on a failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OverrideStageConditionInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub pipeline_execution_id: String,
    pub condition_type: ConditionType,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutActionRevisionInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub action_name: String,
    pub action_revision: ActionRevision,
}

/// All but the id is as it was sent: what an execution fetches, its source action tells.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ActionRevision {
    pub revision_id: String,
    pub revision_change_id: String,
    pub created: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleExecutionsInput {
    pub pipeline_name: String,
    pub filter: Option<ExecutionFilter>,
    pub max_results: Option<u32>,
    pub next_token: Option<String>,
}

/// AWS is the only owner that there is, so that filter leaves nothing out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListRuleTypesInput {
    pub rule_owner_filter: Option<ActionOwner>,
    pub region_filter: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnableStageTransitionInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub transition_type: TransitionKind,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DisableStageTransitionInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub transition_type: TransitionKind,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PutApprovalResultInput {
    pub pipeline_name: String,
    pub stage_name: String,
    pub action_name: String,
    pub result: ApprovalResult,
    pub token: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApprovalResult {
    pub summary: String,
    pub status: ApprovalStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListActionTypesInput {
    pub action_owner_filter: Option<ActionOwner>,
    pub next_token: Option<String>,
    pub region_filter: Option<String>,
}

/// The owner is never `Custom`: GetActionType does not know the older kind of action type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GetActionTypeInput {
    pub id: ActionTypeId,
}

/// The declaration is as it was sent: what of it may change is not a matter of its shape.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateActionTypeInput {
    pub action_type: Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TagResourceInput {
    pub resource_arn: String,
    pub tags: Vec<Tag>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UntagResourceInput {
    pub resource_arn: String,
    pub tag_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListTagsForResourceInput {
    pub resource_arn: String,
    pub next_token: Option<String>,
    pub max_results: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutWebhookInput {
    pub webhook: WebhookDefinition,
    #[serde(default)]
    pub tags: Vec<Tag>,
}

/// Capitals here alone, as in CodePipeline's model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct ListWebhooksInput {
    pub next_token: Option<String>,
    pub max_results: Option<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteWebhookInput {
    pub name: String,
}

/// Of RegisterWebhookWithThirdParty and DeregisterWebhookWithThirdParty, which may name none and then have nothing to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RegisterWebhookWithThirdPartyInput {
    pub webhook_name: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeregisterWebhookWithThirdPartyInput {
    pub webhook_name: Option<String>,
}

patterns! {
    UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
    TOKEN_CHARACTERS = r"^[a-zA-Z0-9-]+$";
    REASON_CHARACTERS = r"[a-zA-Z0-9!@ \(\)\.\*\?\-]+";
    AWS_OWNER = r"AWS|ThirdParty";
    ACCOUNT = r"[0-9]{12}";
    ALLOWED_ACCOUNT = r"[0-9]{12}|\*";
    LAMBDA_ARN = r"arn:aws(-[\w]+)*:lambda:.+:[0-9]{12}:function:.+";
    // CodePipeline's own demands an account (S7).
    ARN = r"arn:aws(-[\w]+)*:codepipeline:.+:([0-9]{12})?:.+";
}

macro_rules! requests {
    ($table:ident: $($operation:literal $input:ident [$($member:expr),* $(,)?];)*) => {
        $(impl Request for $input {
            const ROW: Row = {
                static SHAPE: Shape = Structure(&[$($member),*]);
                Row { operation: $operation, shape: &SHAPE }
            };
        })*

        /// Every operation whose input has only a shape to keep.
        pub static $table: &[Row] = &[$($input::ROW),*];
    };
}

use requests;

requests! { REQUESTS:
    "GetPipeline" GetPipelineInput [required("name", &ENTITY_NAME), optional("version", &PIPELINE_VERSION)];
    "DeletePipeline" DeletePipelineInput [required("name", &ENTITY_NAME)];
    "ListPipelines" ListPipelinesInput [
        optional("nextToken", &NEXT_TOKEN),
        optional("maxResults", &Integer { min: 1, max: 1000 }),
    ];
    "StartPipelineExecution" StartPipelineExecutionInput [
        required("name", &ENTITY_NAME),
        optional("variables", &list(1, 50, &PIPELINE_VARIABLE)),
        optional("clientRequestToken", &pattern(1, 128, &TOKEN_CHARACTERS)),
        optional("sourceRevisions", &list(0, 50, &SOURCE_REVISION_OVERRIDE)),
    ];
    "StopPipelineExecution" StopPipelineExecutionInput [
        required("pipelineName", &ENTITY_NAME),
        required("pipelineExecutionId", &ID),
        optional("abandon", &Boolean),
        optional("reason", &text(0, 200)),
    ];
    "GetPipelineState" GetPipelineStateInput [required("name", &ENTITY_NAME)];
    "GetPipelineExecution" GetPipelineExecutionInput [
        required("pipelineName", &ENTITY_NAME),
        required("pipelineExecutionId", &ID),
    ];
    "ListPipelineExecutions" ListPipelineExecutionsInput [
        required("pipelineName", &ENTITY_NAME),
        optional("maxResults", &MAX_RESULTS),
        optional("filter", &PIPELINE_EXECUTION_FILTER),
        optional("nextToken", &NEXT_TOKEN),
    ];
    "ListActionExecutions" ListActionExecutionsInput [
        required("pipelineName", &ENTITY_NAME),
        optional("filter", &EXECUTION_FILTER),
        optional("maxResults", &MAX_RESULTS),
        optional("nextToken", &NEXT_TOKEN),
    ];
    "ListRuleExecutions" ListRuleExecutionsInput [
        required("pipelineName", &ENTITY_NAME),
        optional("filter", &EXECUTION_FILTER),
        optional("maxResults", &MAX_RESULTS),
        optional("nextToken", &NEXT_TOKEN),
    ];
    "ListDeployActionExecutionTargets" ListDeployActionExecutionTargetsInput [
        optional("pipelineName", &ENTITY_NAME),
        required("actionExecutionId", &text(0, ANY)),
        optional("filters", &list(0, ANY, &TARGET_FILTER)),
        optional("maxResults", &MAX_RESULTS),
        optional("nextToken", &NEXT_TOKEN),
    ];
    "RetryStageExecution" RetryStageExecutionInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("pipelineExecutionId", &ID),
        required("retryMode", &RETRY_MODE),
    ];
    "RollbackStage" RollbackStageInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("targetPipelineExecutionId", &ID),
    ];
    "OverrideStageCondition" OverrideStageConditionInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("pipelineExecutionId", &ID),
        required("conditionType", &Choice(&["BEFORE_ENTRY", "ON_SUCCESS"])),
    ];
    "PutActionRevision" PutActionRevisionInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("actionName", &ENTITY_NAME),
        required("actionRevision", &ACTION_REVISION),
    ];
    "EnableStageTransition" EnableStageTransitionInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("transitionType", &TRANSITION_TYPE),
    ];
    "DisableStageTransition" DisableStageTransitionInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("transitionType", &TRANSITION_TYPE),
        required("reason", &pattern(1, 300, &REASON_CHARACTERS)),
    ];
    "PutApprovalResult" PutApprovalResultInput [
        required("pipelineName", &ENTITY_NAME),
        required("stageName", &ENTITY_NAME),
        required("actionName", &ENTITY_NAME),
        required("result", &APPROVAL_RESULT),
        required("token", &ID),
    ];
    "ListActionTypes" ListActionTypesInput [
        optional("actionOwnerFilter", &ACTION_OWNER),
        optional("nextToken", &NEXT_TOKEN),
        optional("regionFilter", &REGION),
    ];
    "ListRuleTypes" ListRuleTypesInput [
        optional("ruleOwnerFilter", &ACTION_OWNER),
        optional("regionFilter", &REGION),
    ];
    "GetActionType" GetActionTypeInput [
        required("category", &ACTION_CATEGORY),
        required("owner", &ACTION_TYPE_OWNER),
        required("provider", &ACTION_PROVIDER),
        required("version", &ACTION_VERSION),
    ];
    "UpdateActionType" UpdateActionTypeInput [required("actionType", &ACTION_TYPE_DECLARATION)];
    "TagResource" TagResourceInput [required("resourceArn", &RESOURCE_ARN), required("tags", &list(0, ANY, &TAG))];
    "UntagResource" UntagResourceInput [
        required("resourceArn", &RESOURCE_ARN),
        required("tagKeys", &list(0, ANY, &TAG_KEY)),
    ];
    "ListTagsForResource" ListTagsForResourceInput [
        required("resourceArn", &RESOURCE_ARN),
        optional("nextToken", &NEXT_TOKEN),
        optional("maxResults", &MAX_RESULTS),
    ];
    "PutWebhook" PutWebhookInput [required("webhook", &webhooks::DEFINITION), optional("tags", &list(0, ANY, &TAG))];
    "ListWebhooks" ListWebhooksInput [optional("NextToken", &NEXT_TOKEN), optional("MaxResults", &MAX_RESULTS)];
    "DeleteWebhook" DeleteWebhookInput [required("name", &ENTITY_NAME)];
    "RegisterWebhookWithThirdParty" RegisterWebhookWithThirdPartyInput [optional("webhookName", &ENTITY_NAME)];
    "DeregisterWebhookWithThirdParty" DeregisterWebhookWithThirdPartyInput [optional("webhookName", &ENTITY_NAME)];
}

/// The ids of executions and the tokens of approvals.
static ID: Shape = pattern(0, ANY, &UUID);
static RESOURCE_ARN: Shape = pattern(0, ANY, &ARN);
static NEXT_TOKEN: Shape = text(1, 2048);
static MAX_RESULTS: Shape = Integer { min: 1, max: 100 };
static TRANSITION_TYPE: Shape = Choice(&["Inbound", "Outbound"]);

static ACTION_TYPE_OWNER: Shape = pattern(0, ANY, &AWS_OWNER);

/// ActionTypeDeclaration.
static ACTION_TYPE_DECLARATION: Shape = Structure(&[
    optional("description", &text(1, 1024)),
    required("executor", &ACTION_TYPE_EXECUTOR),
    required("id", &ACTION_TYPE_IDENTIFIER),
    required("inputArtifactDetails", &ACTION_TYPE_ARTIFACT_DETAILS),
    required("outputArtifactDetails", &ACTION_TYPE_ARTIFACT_DETAILS),
    optional(
        "permissions",
        &Structure(&[required("allowedAccounts", &list(1, 1000, &pattern(0, ANY, &ALLOWED_ACCOUNT)))]),
    ),
    optional("properties", &list(0, 10, &ACTION_TYPE_PROPERTY)),
    optional("urls", &ACTION_TYPE_URLS),
]);

static ACTION_TYPE_EXECUTOR: Shape = Structure(&[
    required("configuration", &EXECUTOR_CONFIGURATION),
    required("type", &Choice(&["JobWorker", "Lambda"])),
    optional("policyStatementsTemplate", &text(1, 2048)),
    optional("jobTimeout", &Integer { min: 60, max: 43200 }),
]);

static EXECUTOR_CONFIGURATION: Shape = Structure(&[
    optional(
        "lambdaExecutorConfiguration",
        &Structure(&[required("lambdaFunctionArn", &pattern(1, 140, &LAMBDA_ARN))]),
    ),
    optional(
        "jobWorkerExecutorConfiguration",
        &Structure(&[
            optional("pollingAccounts", &list(1, 1000, &pattern(0, ANY, &ACCOUNT))),
            optional("pollingServicePrincipals", &list(1, 10, &text(1, 128))),
        ]),
    ),
]);

static ACTION_TYPE_IDENTIFIER: Shape = Structure(&[
    required("category", &ACTION_CATEGORY),
    required("owner", &ACTION_TYPE_OWNER),
    required("provider", &ACTION_PROVIDER),
    required("version", &ACTION_VERSION),
]);

static ACTION_TYPE_ARTIFACT_DETAILS: Shape = Structure(&[
    required("minimumCount", &Integer { min: 0, max: 10 }),
    required("maximumCount", &Integer { min: 0, max: 10 }),
]);

static ACTION_TYPE_PROPERTY: Shape = Structure(&[
    required("name", &text(1, 50)),
    required("optional", &Boolean),
    required("key", &Boolean),
    required("noEcho", &Boolean),
    optional("queryable", &Boolean),
    optional("description", &text(1, 250)),
]);

static ACTION_TYPE_URLS: Shape = Structure(&[
    optional("configurationUrl", &text(1, 2048)),
    optional("entityUrlTemplate", &text(1, 2048)),
    optional("executionUrlTemplate", &text(1, 2048)),
    optional("revisionUrlTemplate", &text(1, 2048)),
]);

static PIPELINE_VARIABLE: Shape =
    Structure(&[required("name", &PIPELINE_VARIABLE_NAME), required("value", &PIPELINE_VARIABLE_VALUE)]);

static SOURCE_REVISION_OVERRIDE: Shape = Structure(&[
    required("actionName", &ENTITY_NAME),
    required("revisionType", &Choice(&["COMMIT_ID", "IMAGE_DIGEST", "S3_OBJECT_VERSION_ID", "S3_OBJECT_KEY"])),
    required("revisionValue", &text(1, 1500)),
]);

static PIPELINE_EXECUTION_FILTER: Shape =
    Structure(&[optional("succeededInStage", &Structure(&[optional("stageName", &ENTITY_NAME)]))]);

static EXECUTION_FILTER: Shape = Structure(&[
    optional("pipelineExecutionId", &ID),
    optional("latestInPipelineExecution", &LATEST_IN_PIPELINE_EXECUTION_FILTER),
]);

static TARGET_FILTER: Shape =
    Structure(&[optional("name", &Choice(&["TARGET_STATUS"])), optional("values", &list(0, ANY, &text(1, ANY)))]);

static LATEST_IN_PIPELINE_EXECUTION_FILTER: Shape =
    Structure(&[required("pipelineExecutionId", &ID), required("startTimeRange", &Choice(&["Latest", "All"]))]);

static ACTION_REVISION: Shape = Structure(&[
    required("revisionId", &text(1, 1500)),
    required("revisionChangeId", &text(1, 100)),
    required("created", &Time),
]);

static APPROVAL_RESULT: Shape =
    Structure(&[required("summary", &text(0, 512)), required("status", &Choice(&["Approved", "Rejected"]))]);

#[cfg(test)]
mod tests;
