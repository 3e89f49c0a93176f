//! The inputs of CodeBuild's operations: their types, and the table of their shapes.
//!
//! Of a project is kept what it says, to the leaf: an input is its members, judged against their shapes and rid of all that
//! CodeBuild does not know. Must not know what any member does.

use serde_json::{Map, Value};

use super::{Deserialize, Request, Row, Serialize, Shape};
use crate::validate::shape::Shape::{Boolean, Choice, Integer, Structure};
use crate::validate::shape::{ANY, Member, list, optional, pattern, patterns, required, text};

/// The members of an input, as they were given.
pub type Members = Map<String, Value>;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CreateProjectInput(pub Members);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UpdateProjectInput(pub Members);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteProjectInput {
    pub name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchGetProjectsInput {
    pub names: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListProjectsInput {
    #[serde(default)]
    pub sort_by: SortBy,
    #[serde(default)]
    pub sort_order: SortOrder,
    pub next_token: Option<String>,
}

/// CodeBuild's ProjectSortByType.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SortBy {
    #[default]
    Name,
    CreatedTime,
    LastModifiedTime,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum SortOrder {
    #[default]
    Ascending,
    Descending,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchGetBuildsInput {
    pub ids: Vec<String>,
}

/// The newest first where the caller does not say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListBuildsInput {
    pub sort_order: Option<SortOrder>,
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListBuildsForProjectInput {
    pub project_name: String,
    pub sort_order: Option<SortOrder>,
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct StartBuildInput(pub Members);

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchGetReportsInput {
    pub report_arns: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeTestCasesInput {
    pub report_arn: String,
    pub next_token: Option<String>,
    pub max_results: Option<u32>,
    pub filter: Option<TestCaseFilter>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestCaseFilter {
    pub status: Option<String>,
    /// Within the name or the prefix.
    pub keyword: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopBuildInput {
    pub id: String,
}

/// What the inputs of CreateProject and UpdateProject have in common, before and after what one of them needs.
macro_rules! project {
    ($needed:ident, $name:expr) => {
        &[
            required("name", $name),
            optional("description", &text(0, 255)),
            $needed("source", &SOURCE),
            optional("secondarySources", &list(0, 12, &SOURCE)),
            optional("sourceVersion", &STRING),
            optional("secondarySourceVersions", &list(0, 12, &SOURCE_VERSION)),
            $needed("artifacts", &ARTIFACTS),
            optional("secondaryArtifacts", &list(0, 12, &ARTIFACTS)),
            optional("cache", &CACHE),
            $needed("environment", &ENVIRONMENT),
            $needed("serviceRole", &NOT_EMPTY),
            optional("timeoutInMinutes", &BUILD_TIMEOUT),
            optional("queuedTimeoutInMinutes", &QUEUED_TIMEOUT),
            optional("encryptionKey", &NOT_EMPTY),
            optional("tags", &list(0, 50, &TAG)),
            optional("vpcConfig", &VPC),
            optional("badgeEnabled", &Boolean),
            optional("logsConfig", &LOGS),
            optional("fileSystemLocations", &list(0, ANY, &FILE_SYSTEM)),
            optional("buildBatchConfig", &BATCH),
            optional("concurrentBuildLimit", &INTEGER),
            optional("autoRetryLimit", &INTEGER),
        ]
    };
}

macro_rules! requests {
    ($($operation:literal $input:ident $members:expr;)*) => {
        $(impl Request for $input {
            const ROW: Row = {
                static MEMBERS: &[Member] = $members;
                static SHAPE: Shape = Structure(MEMBERS);
                Row { operation: $operation, shape: &SHAPE }
            };
        })*

        pub static REQUESTS: &[Row] = &[$($input::ROW),*];
    };
}

requests! {
    "CreateProject" CreateProjectInput project!(required, &PROJECT_NAME);
    "UpdateProject" UpdateProjectInput project!(optional, &NOT_EMPTY);
    "DeleteProject" DeleteProjectInput &[required("name", &NOT_EMPTY)];
    "BatchGetProjects" BatchGetProjectsInput &[required("names", &list(1, 100, &NOT_EMPTY))];
    "ListProjects" ListProjectsInput &[
        optional("sortBy", &Choice(&["NAME", "CREATED_TIME", "LAST_MODIFIED_TIME"])),
        optional("sortOrder", &SORT_ORDER),
        optional("nextToken", &NOT_EMPTY),
    ];
    "BatchGetBuilds" BatchGetBuildsInput &[required("ids", &list(1, 100, &NOT_EMPTY))];
    "ListBuilds" ListBuildsInput &[optional("sortOrder", &SORT_ORDER), optional("nextToken", &STRING)];
    "ListBuildsForProject" ListBuildsForProjectInput &[
        required("projectName", &NOT_EMPTY),
        optional("sortOrder", &SORT_ORDER),
        optional("nextToken", &STRING),
    ];
    "BatchGetReports" BatchGetReportsInput &[required("reportArns", &list(1, 100, &NOT_EMPTY))];
    "DescribeTestCases" DescribeTestCasesInput &[
        required("reportArn", &STRING),
        optional("nextToken", &STRING),
        optional("maxResults", &PAGE_SIZE),
        optional("filter", &Structure(&[optional("status", &STRING), optional("keyword", &STRING)])),
    ];
    "StartBuild" StartBuildInput &[
        required("projectName", &NOT_EMPTY),
        optional("secondarySourcesOverride", &list(0, 12, &SOURCE)),
        optional("secondarySourcesVersionOverride", &list(0, 12, &SOURCE_VERSION)),
        optional("sourceVersion", &STRING),
        optional("artifactsOverride", &ARTIFACTS),
        optional("secondaryArtifactsOverride", &list(0, 12, &ARTIFACTS)),
        optional("environmentVariablesOverride", &list(0, ANY, &ENVIRONMENT_VARIABLE)),
        optional("sourceTypeOverride", &SOURCE_TYPE),
        optional("sourceLocationOverride", &STRING),
        optional("sourceAuthOverride", &SOURCE_AUTH),
        optional("gitCloneDepthOverride", &CLONE_DEPTH),
        optional("gitSubmodulesConfigOverride", &SUBMODULES),
        optional("buildspecOverride", &STRING),
        optional("insecureSslOverride", &Boolean),
        optional("reportBuildStatusOverride", &Boolean),
        optional("buildStatusConfigOverride", &BUILD_STATUS),
        optional("environmentTypeOverride", &ENVIRONMENT_TYPE),
        optional("imageOverride", &NOT_EMPTY),
        optional("computeTypeOverride", &COMPUTE_TYPE),
        optional("certificateOverride", &STRING),
        optional("cacheOverride", &CACHE),
        optional("serviceRoleOverride", &NOT_EMPTY),
        optional("privilegedModeOverride", &Boolean),
        optional("timeoutInMinutesOverride", &BUILD_TIMEOUT),
        optional("queuedTimeoutInMinutesOverride", &QUEUED_TIMEOUT),
        optional("encryptionKeyOverride", &NOT_EMPTY),
        optional("idempotencyToken", &STRING),
        optional("logsConfigOverride", &LOGS),
        optional("registryCredentialOverride", &REGISTRY_CREDENTIAL),
        optional("imagePullCredentialsTypeOverride", &PULL_CREDENTIALS),
        optional("debugSessionEnabled", &Boolean),
        optional("fleetOverride", &FLEET),
        optional("autoRetryLimitOverride", &INTEGER),
        optional("hostKernelOverride", &KERNEL),
    ];
    "StopBuild" StopBuildInput &[required("id", &NOT_EMPTY)];
}

patterns! {
    NAME_CHARACTERS = r"[A-Za-z0-9][A-Za-z0-9\-_]{1,149}";
}

static PROJECT_NAME: Shape = pattern(2, 150, &NAME_CHARACTERS);
static STRING: Shape = text(0, ANY);
static NOT_EMPTY: Shape = text(1, ANY);
static INTEGER: Shape = Integer { min: i32::MIN as i64, max: i32::MAX as i64 };
static LONG: Shape = Integer { min: i64::MIN, max: i64::MAX };
static PAGE_SIZE: Shape = Integer { min: 1, max: 100 };
static BUILD_TIMEOUT: Shape = Integer { min: 5, max: 2160 };
static QUEUED_TIMEOUT: Shape = Integer { min: 5, max: 480 };
static CLONE_DEPTH: Shape = Integer { min: 0, max: i32::MAX as i64 };
static SORT_ORDER: Shape = Choice(&["ASCENDING", "DESCENDING"]);
static TAG: Shape = Structure(&[optional("key", &text(1, 127)), optional("value", &text(0, 255))]);

static SOURCE_TYPE: Shape = Choice(&[
    "CODECOMMIT",
    "CODEPIPELINE",
    "GITHUB",
    "GITLAB",
    "GITLAB_SELF_MANAGED",
    "S3",
    "BITBUCKET",
    "GITHUB_ENTERPRISE",
    "NO_SOURCE",
]);
static SOURCE: Shape = Structure(&[
    required("type", &SOURCE_TYPE),
    optional("location", &STRING),
    optional("gitCloneDepth", &CLONE_DEPTH),
    optional("gitSubmodulesConfig", &SUBMODULES),
    optional("buildspec", &STRING),
    optional("auth", &SOURCE_AUTH),
    optional("reportBuildStatus", &Boolean),
    optional("buildStatusConfig", &BUILD_STATUS),
    optional("insecureSsl", &Boolean),
    optional("sourceIdentifier", &STRING),
]);
static SOURCE_VERSION: Shape = Structure(&[required("sourceIdentifier", &STRING), required("sourceVersion", &STRING)]);
static SUBMODULES: Shape = Structure(&[required("fetchSubmodules", &Boolean)]);
static SOURCE_AUTH: Shape = Structure(&[
    required("type", &Choice(&["OAUTH", "CODECONNECTIONS", "SECRETS_MANAGER"])),
    optional("resource", &STRING),
]);
static BUILD_STATUS: Shape = Structure(&[optional("context", &STRING), optional("targetUrl", &STRING)]);

static ARTIFACTS: Shape = Structure(&[
    required("type", &Choice(&["CODEPIPELINE", "S3", "NO_ARTIFACTS"])),
    optional("location", &STRING),
    optional("path", &STRING),
    optional("namespaceType", &Choice(&["NONE", "BUILD_ID"])),
    optional("name", &STRING),
    optional("packaging", &Choice(&["NONE", "ZIP"])),
    optional("overrideArtifactName", &Boolean),
    optional("encryptionDisabled", &Boolean),
    optional("artifactIdentifier", &STRING),
    optional("bucketOwnerAccess", &BUCKET_ACCESS),
]);
static BUCKET_ACCESS: Shape = Choice(&["NONE", "READ_ONLY", "FULL"]);
static CACHE: Shape = Structure(&[
    required("type", &Choice(&["NO_CACHE", "S3", "LOCAL"])),
    optional("location", &STRING),
    optional(
        "modes",
        &list(0, ANY, &Choice(&["LOCAL_DOCKER_LAYER_CACHE", "LOCAL_SOURCE_CACHE", "LOCAL_CUSTOM_CACHE"])),
    ),
    optional("cacheNamespace", &STRING),
]);

static ENVIRONMENT: Shape = Structure(&[
    required("type", &ENVIRONMENT_TYPE),
    required("image", &NOT_EMPTY),
    required("computeType", &COMPUTE_TYPE),
    optional("computeConfiguration", &COMPUTE_CONFIGURATION),
    optional("fleet", &FLEET),
    optional("environmentVariables", &list(0, ANY, &ENVIRONMENT_VARIABLE)),
    optional("privilegedMode", &Boolean),
    optional("certificate", &STRING),
    optional("registryCredential", &REGISTRY_CREDENTIAL),
    optional("imagePullCredentialsType", &PULL_CREDENTIALS),
    optional("dockerServer", &DOCKER_SERVER),
    optional("hostKernel", &KERNEL),
]);
static ENVIRONMENT_TYPE: Shape = Choice(&[
    "WINDOWS_CONTAINER",
    "LINUX_CONTAINER",
    "LINUX_GPU_CONTAINER",
    "ARM_CONTAINER",
    "WINDOWS_SERVER_2019_CONTAINER",
    "WINDOWS_SERVER_2022_CONTAINER",
    "LINUX_LAMBDA_CONTAINER",
    "ARM_LAMBDA_CONTAINER",
    "LINUX_EC2",
    "ARM_EC2",
    "WINDOWS_EC2",
    "MAC_ARM",
]);
static COMPUTE_TYPE: Shape = Choice(&[
    "BUILD_GENERAL1_SMALL",
    "BUILD_GENERAL1_MEDIUM",
    "BUILD_GENERAL1_LARGE",
    "BUILD_GENERAL1_XLARGE",
    "BUILD_GENERAL1_2XLARGE",
    "BUILD_LAMBDA_1GB",
    "BUILD_LAMBDA_2GB",
    "BUILD_LAMBDA_4GB",
    "BUILD_LAMBDA_8GB",
    "BUILD_LAMBDA_10GB",
    "ATTRIBUTE_BASED_COMPUTE",
    "CUSTOM_INSTANCE_TYPE",
]);
static COMPUTE_CONFIGURATION: Shape = Structure(&[
    optional("vCpu", &LONG),
    optional("memory", &LONG),
    optional("disk", &LONG),
    optional("machineType", &Choice(&["GENERAL", "NVME"])),
    optional("instanceType", &NOT_EMPTY),
]);
static FLEET: Shape = Structure(&[optional("fleetArn", &STRING)]);
static ENVIRONMENT_VARIABLE: Shape = Structure(&[
    required("name", &NOT_EMPTY),
    required("value", &STRING),
    optional("type", &Choice(&["PLAINTEXT", "PARAMETER_STORE", "SECRETS_MANAGER"])),
]);
static REGISTRY_CREDENTIAL: Shape =
    Structure(&[required("credential", &NOT_EMPTY), required("credentialProvider", &Choice(&["SECRETS_MANAGER"]))]);
static PULL_CREDENTIALS: Shape = Choice(&["CODEBUILD", "SERVICE_ROLE"]);
static DOCKER_SERVER: Shape = Structure(&[
    required("computeType", &COMPUTE_TYPE),
    optional("securityGroupIds", &list(0, 5, &NOT_EMPTY)),
    optional("status", &Structure(&[optional("status", &STRING), optional("message", &STRING)])),
]);
static KERNEL: Shape = Choice(&["LINUX_KERNEL_4", "LINUX_KERNEL_6", "LINUX_KERNEL_LATEST"]);

static VPC: Shape = Structure(&[
    optional("vpcId", &NOT_EMPTY),
    optional("subnets", &list(0, 16, &NOT_EMPTY)),
    optional("securityGroupIds", &list(0, 5, &NOT_EMPTY)),
]);
static LOGS: Shape = Structure(&[
    optional(
        "cloudWatchLogs",
        &Structure(&[
            required("status", &LOGS_STATUS),
            optional("groupName", &STRING),
            optional("streamName", &STRING),
        ]),
    ),
    optional(
        "s3Logs",
        &Structure(&[
            required("status", &LOGS_STATUS),
            optional("location", &STRING),
            optional("encryptionDisabled", &Boolean),
            optional("bucketOwnerAccess", &BUCKET_ACCESS),
        ]),
    ),
]);
static LOGS_STATUS: Shape = Choice(&["ENABLED", "DISABLED"]);
static FILE_SYSTEM: Shape = Structure(&[
    optional("type", &Choice(&["EFS"])),
    optional("location", &STRING),
    optional("mountPoint", &STRING),
    optional("identifier", &STRING),
    optional("mountOptions", &STRING),
]);
static BATCH: Shape = Structure(&[
    optional("serviceRole", &NOT_EMPTY),
    optional("combineArtifacts", &Boolean),
    optional(
        "restrictions",
        &Structure(&[
            optional("maximumBuildsAllowed", &INTEGER),
            optional("computeTypesAllowed", &list(0, ANY, &NOT_EMPTY)),
            optional("fleetsAllowed", &list(0, ANY, &NOT_EMPTY)),
        ]),
    ),
    optional("timeoutInMins", &INTEGER),
    optional("batchReportMode", &Choice(&["REPORT_INDIVIDUAL_BUILDS", "REPORT_AGGREGATED_BATCH"])),
]);
