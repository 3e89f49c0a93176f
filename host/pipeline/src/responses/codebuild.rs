//! The outputs of CodeBuild's operations. What a project was given is told as it was given.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

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
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub report_arns: Vec<String>,
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

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchGetReportsOutput {
    /// The model has no empty list here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reports: Vec<Report>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub reports_not_found: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub arn: String,
    pub r#type: &'static str,
    pub name: String,
    pub report_group_arn: String,
    /// The ARN of its build.
    pub execution_id: String,
    pub status: ReportStatus,
    pub created: Time,
    pub export_config: ExportConfig,
    pub truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_summary: Option<TestSummary>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code_coverage_summary: Option<CoverageSummary>,
}

/// Those of CodeBuild's ReportStatusType that a report has here.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ReportStatus {
    Succeeded,
    Failed,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExportConfig {
    pub export_config_type: &'static str,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestSummary {
    pub total: u64,
    pub status_counts: BTreeMap<&'static str, u64>,
    pub duration_in_nano_seconds: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct CoverageSummary {
    /// None where there is nothing to cover.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_coverage_percentage: Option<f64>,
    pub lines_covered: u64,
    pub lines_missed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch_coverage_percentage: Option<f64>,
    pub branches_covered: u64,
    pub branches_missed: u64,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DescribeTestCasesOutput {
    pub test_cases: Vec<TestCase>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next_token: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TestCase {
    pub report_arn: String,
    /// As it is kept.
    pub status: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_suite_name: Option<String>,
    pub name: String,
    pub duration_in_nano_seconds: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}
