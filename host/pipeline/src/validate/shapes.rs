//! The shapes of CreatePipelineInput and all that it holds, to the leaf (contract §5).
//!
//! Owns the table. Must not know how it is read (`shape`).

use std::sync::LazyLock;

use regex_lite::Regex;

use super::shape::Shape::{Choice, Integer, List, Map, Structure, Text};
use super::shape::{Member, Pattern, Shape};

const ANY: usize = usize::MAX;

const fn required(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: true, shape }
}

const fn optional(name: &'static str, shape: &'static Shape) -> Member {
    Member { name, required: false, shape }
}

const fn text(chars_min: usize, chars_max: usize) -> Shape {
    Text { chars_min, chars_max, pattern: None }
}

const fn pattern(chars_min: usize, chars_max: usize, pattern: &'static Pattern) -> Shape {
    Text { chars_min, chars_max, pattern: Some(pattern) }
}

const fn list(items_min: usize, items_max: usize, of: &'static Shape) -> Shape {
    List { items_min, items_max, of }
}

const fn map(entries_max: usize, key: &'static Shape, value: &'static Shape) -> Shape {
    Map { entries_max, key, value }
}

macro_rules! patterns {
    ($($name:ident = $text:literal;)*) => {
        $(static $name: Pattern = Pattern {
            text: $text,
            regex: LazyLock::new(|| Regex::new(concat!("^(?:", $text, ")$")).expect("the pattern is a constant")),
        };)*
    };
}

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

static TAG: Shape = Structure(&[required("key", &text(1, 128)), required("value", &text(0, 256))]);

static PIPELINE_DECLARATION: Shape = Structure(&[
    required("name", &ENTITY_NAME),
    required("roleArn", &ROLE),
    optional("artifactStore", &ARTIFACT_STORE),
    optional("artifactStores", &map(ANY, &REGION, &ARTIFACT_STORE)),
    required("stages", &list(0, ANY, &STAGE_DECLARATION)),
    optional("version", &Integer { min: 1, max: i32::MAX as i64 }),
    optional("executionMode", &Choice(&["QUEUED", "SUPERSEDED", "PARALLEL"])),
    optional("pipelineType", &Choice(&["V1", "V2"])),
    optional("variables", &list(0, 50, &PIPELINE_VARIABLE_DECLARATION)),
    optional("triggers", &list(0, 50, &PIPELINE_TRIGGER_DECLARATION)),
]);

static ENTITY_NAME: Shape = pattern(1, 100, &NAME);
static ROLE: Shape = pattern(0, 1024, &ROLE_ARN);
static REGION: Shape = text(4, 30);

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

static ACTION_TYPE_ID: Shape = Structure(&[
    required("category", &Choice(&["Source", "Build", "Deploy", "Test", "Invoke", "Approval", "Compute"])),
    required("owner", &Choice(&["AWS", "ThirdParty", "Custom"])),
    required("provider", &pattern(1, 35, &PROVIDER)),
    required("version", &pattern(1, 9, &PROVIDER)),
]);

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
    optional("retryConfiguration", &Structure(&[optional("retryMode", &Choice(&["FAILED_ACTIONS", "ALL_ACTIONS"]))])),
    optional("conditions", &CONDITIONS),
]);

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
    optional("owner", &Choice(&["AWS"])),
    required("provider", &pattern(1, 35, &PROVIDER)),
    optional("version", &pattern(1, 9, &PROVIDER)),
]);

static PIPELINE_VARIABLE_DECLARATION: Shape = Structure(&[
    required("name", &pattern(1, 128, &NAME_WITHOUT_DOT)),
    optional("defaultValue", &pattern(1, 1000, &ONE_LINE)),
    optional("description", &pattern(0, 200, &ONE_LINE)),
]);

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
