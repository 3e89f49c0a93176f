//! The outputs of CodeBuild's operations. What a project was given is told as it was given.

use serde::Serialize;

use super::Time;
use crate::requests::codebuild::Members;

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    #[serde(flatten)]
    pub members: Members,
    pub arn: String,
    pub created: Time,
    pub last_modified: Time,
}

#[derive(Clone, Debug, Serialize)]
pub struct ProjectOutput {
    pub project: Project,
}

#[derive(Clone, Debug, Serialize)]
pub struct DeleteProjectOutput {}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchGetProjectsOutput {
    pub projects: Vec<Project>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub projects_not_found: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListProjectsOutput {
    pub projects: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ListBuildsOutput {
    pub ids: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchGetBuildsOutput {
    pub builds: Vec<Build>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub builds_not_found: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct BuildOutput {
    pub build: Build,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// What it has of its project: source, environment, timeouts and the like.
    #[serde(flatten)]
    pub members: Members,
    pub id: String,
    pub arn: String,
    pub build_number: u64,
    pub project_name: String,
    pub build_status: BuildStatus,
    pub build_complete: bool,
    pub current_phase: &'static str,
    pub start_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    pub phases: Vec<BuildPhase>,
    pub initiator: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resolved_source_version: Option<String>,
    pub logs: LogsLocation,
    pub exported_environment_variables: Vec<ExportedEnvironmentVariable>,
}

/// CodeBuild's StatusType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildStatus {
    Succeeded,
    Failed,
    Fault,
    TimedOut,
    InProgress,
    Stopped,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildPhase {
    pub phase_type: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phase_status: Option<BuildStatus>,
    pub start_time: Time,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end_time: Option<Time>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_in_seconds: Option<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<PhaseContext>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PhaseContext {
    pub status_code: String,
    pub message: String,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LogsLocation {
    pub group_name: String,
    pub stream_name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deep_link: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
pub struct ExportedEnvironmentVariable {
    pub name: String,
    pub value: String,
}
