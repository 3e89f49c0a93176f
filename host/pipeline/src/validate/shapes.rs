//! The shapes of CreatePipelineInput, UpdatePipelineInput and all that they hold, to the leaf (S10).
//!
//! Owns the table. Must not know how it is read (`shape`).

use super::shape::Shape::{self, Choice, Integer, Structure};
use super::shape::{ANY, list, map, optional, pattern, patterns, required, text};

patterns! {
    NAME = r"[A-Za-z0-9.@\-_]+";
    NAME_WITHOUT_DOT = r"[A-Za-z0-9@\-_]+";
    ROLE_ARN = r"arn:aws(-[\w]+)*:iam::[0-9]{12}:role/.*";
    BUCKET = r"[a-zA-Z0-9\-\.]+";
    ARTIFACT_NAME = r"[a-zA-Z0-9_\-]+";
    PROVIDER = r"[0-9A-Za-z_-]+";
    ENVIRONMENT_NAME = r"[A-Za-z0-9_]+";
    ONE_LINE = r".*";
}

pub(super) static CREATE_PIPELINE_INPUT: Shape =
    Structure(&[required("pipeline", &PIPELINE_DECLARATION), optional("tags", &list(0, ANY, &TAG))]);

pub(super) static UPDATE_PIPELINE_INPUT: Shape = Structure(&[required("pipeline", &PIPELINE_DECLARATION)]);

pub(crate) static TAG: Shape = Structure(&[required("key", &TAG_KEY), required("value", &text(0, 256))]);

pub(crate) static TAG_KEY: Shape = text(1, 128);

pub(super) static PIPELINE_DECLARATION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    required("roleArn", &ROLE),
    optional("artifactStore", &ARTIFACT_STORE),
    optional("artifactStores", &map(ANY, &REGION, &ARTIFACT_STORE)),
    required("stages", &list(0, ANY, &STAGE_DECLARATION)),
    optional("version", &PIPELINE_VERSION),
    optional("executionMode", &Choice(&["QUEUED", "SUPERSEDED", "PARALLEL"])),
    optional("pipelineType", &Choice(&["V1", "V2"])),
    optional("variables", &list(0, 50, &PIPELINE_VARIABLE_DECLARATION)),
    optional("triggers", &list(0, 50, &PIPELINE_TRIGGER_DECLARATION)),
]);

pub(crate) static PIPELINE_VERSION: Shape = Integer { min: 1, max: i32::MAX as i64 };
/// The names of pipelines, stages and actions.
pub(crate) static ENTITY_NAME: Shape = pattern(1, 100, &NAME);
static ROLE: Shape = pattern(0, 1024, &ROLE_ARN);
pub(crate) static REGION: Shape = text(4, 30);

static ARTIFACT_STORE: Shape = Structure(&[
    required("type", &Choice(&["S3"])),
    required("location", &pattern(3, 63, &BUCKET)),
    optional("encryptionKey", &Structure(&[required("id", &text(1, 400)), required("type", &Choice(&["KMS"]))])),
]);

static STAGE_DECLARATION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    optional("blockers", &list(0, ANY, &BLOCKER_DECLARATION)),
    required("actions", &list(0, ANY, &ACTION_DECLARATION)),
    optional("onFailure", &FAILURE_CONDITIONS),
    optional("onSuccess", &STAGE_CONDITIONS),
    optional("beforeEntry", &STAGE_CONDITIONS),
]);

static BLOCKER_DECLARATION: Shape =
    Structure(&[required("name", &text(1, 100)), required("type", &Choice(&["Schedule"]))]);

static ACTION_DECLARATION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    required("actionTypeId", &ACTION_TYPE_ID),
    optional("runOrder", &Integer { min: 1, max: 999 }),
    optional("configuration", &map(ANY, &text(1, 50), &text(1, 1000))),
    optional("commands", &COMMANDS),
    optional("outputArtifacts", &list(0, ANY, &OUTPUT_ARTIFACT)),
    optional("inputArtifacts", &list(0, ANY, &INPUT_ARTIFACT)),
    optional("outputVariables", &list(1, 15, &text(1, 128))),
    optional("roleArn", &ROLE),
    optional("region", &REGION),
    optional("namespace", &pattern(1, 100, &NAME_WITHOUT_DOT)),
    optional("timeoutInMinutes", &TIMEOUT),
    optional("environmentVariables", &list(1, 10, &ENVIRONMENT_VARIABLE)),
]);

pub(crate) static ACTION_TYPE_ID: Shape = Structure(&[
    required("category", &ACTION_CATEGORY),
    required("owner", &ACTION_OWNER),
    required("provider", &ACTION_PROVIDER),
    required("version", &ACTION_VERSION),
]);

pub(crate) static ACTION_CATEGORY: Shape =
    Choice(&["Source", "Build", "Deploy", "Test", "Invoke", "Approval", "Compute"]);
pub(crate) static ACTION_OWNER: Shape = Choice(&["AWS", "ThirdParty", "Custom"]);
pub(crate) static ACTION_PROVIDER: Shape = pattern(1, 35, &PROVIDER);
pub(crate) static ACTION_VERSION: Shape = pattern(1, 9, &PROVIDER);

static COMMANDS: Shape = list(1, 50, &text(1, 1000));
static TIMEOUT: Shape = Integer { min: 5, max: 86400 };

static OUTPUT_ARTIFACT: Shape =
    Structure(&[required("name", &pattern(1, 100, &ARTIFACT_NAME)), optional("files", &list(1, 10, &text(1, 128)))]);

static INPUT_ARTIFACT: Shape = Structure(&[required("name", &pattern(1, 100, &ARTIFACT_NAME))]);

static ENVIRONMENT_VARIABLE: Shape = Structure(&[
    required("name", &pattern(1, 128, &ENVIRONMENT_NAME)),
    required("value", &pattern(1, 2000, &ONE_LINE)),
    optional("type", &Choice(&["PLAINTEXT", "SECRETS_MANAGER"])),
]);

static FAILURE_CONDITIONS: Shape = Structure(&[
    optional("result", &RESULT),
    optional("retryConfiguration", &Structure(&[optional("retryMode", &RETRY_MODE)])),
    optional("conditions", &CONDITIONS),
]);

pub(crate) static RETRY_MODE: Shape = Choice(&["FAILED_ACTIONS", "ALL_ACTIONS"]);

static STAGE_CONDITIONS: Shape = Structure(&[required("conditions", &CONDITIONS)]);
static CONDITIONS: Shape = list(1, 1, &CONDITION);
static CONDITION: Shape = Structure(&[optional("result", &RESULT), optional("rules", &list(1, 5, &RULE_DECLARATION))]);
static RESULT: Shape = Choice(&["ROLLBACK", "FAIL", "RETRY", "SKIP"]);

static RULE_DECLARATION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    required("ruleTypeId", &RULE_TYPE_ID),
    optional("configuration", &map(200, &text(1, 50), &text(1, 10000))),
    optional("commands", &COMMANDS),
    optional("inputArtifacts", &list(0, ANY, &INPUT_ARTIFACT)),
    optional("roleArn", &ROLE),
    optional("region", &REGION),
    optional("timeoutInMinutes", &TIMEOUT),
]);

static RULE_TYPE_ID: Shape = Structure(&[
    required("category", &Choice(&["Rule"])),
    optional("owner", &ACTION_OWNER),
    required("provider", &ACTION_PROVIDER),
    optional("version", &ACTION_VERSION),
]);

static PIPELINE_VARIABLE_DECLARATION: Shape = Structure(&[
    required("name", &PIPELINE_VARIABLE_NAME),
    optional("defaultValue", &PIPELINE_VARIABLE_VALUE),
    optional("description", &pattern(0, 200, &ONE_LINE)),
]);

pub(crate) static PIPELINE_VARIABLE_NAME: Shape = pattern(1, 128, &NAME_WITHOUT_DOT);
pub(crate) static PIPELINE_VARIABLE_VALUE: Shape = pattern(1, 1000, &ONE_LINE);

static PIPELINE_TRIGGER_DECLARATION: Shape = Structure(&[
    required("providerType", &Choice(&["CodeStarSourceConnection"])),
    required("gitConfiguration", &GIT_CONFIGURATION),
]);

static GIT_CONFIGURATION: Shape = Structure(&[
    required("sourceActionName", &ENTITY_NAME),
    optional("push", &list(1, 3, &GIT_PUSH_FILTER)),
    optional("pullRequest", &list(1, 3, &GIT_PULL_REQUEST_FILTER)),
]);

static GIT_PUSH_FILTER: Shape = Structure(&[
    optional("tags", &TAG_PATTERNS),
    optional("branches", &GIT_PATTERNS),
    optional("filePaths", &GIT_PATTERNS),
]);

static GIT_PULL_REQUEST_FILTER: Shape = Structure(&[
    optional("events", &list(1, 3, &Choice(&["OPEN", "UPDATED", "CLOSED"]))),
    optional("branches", &GIT_PATTERNS),
    optional("filePaths", &GIT_PATTERNS),
]);

static TAG_PATTERNS: Shape =
    Structure(&[optional("includes", &list(1, 8, &text(1, 255))), optional("excludes", &list(1, 8, &text(1, 255)))]);

static GIT_PATTERNS: Shape = Structure(&[
    optional("includes", &list(1, 8, &pattern(1, 255, &ONE_LINE))),
    optional("excludes", &list(1, 8, &pattern(1, 255, &ONE_LINE))),
]);
