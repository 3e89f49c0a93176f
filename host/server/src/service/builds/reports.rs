//! BatchGetReports, DescribeTestCases: what builds reported of tests and coverage, in CodeBuild's words (S283).
//!
//! A report has no record of its own: its ARN names the build and what the buildspec calls it. Must not know how results are kept.

use std::collections::HashMap;
use std::sync::Arc;

use pipewright_pipeline::machine::Timestamp;
use pipewright_pipeline::requests::codebuild::{BatchGetReportsInput, DescribeTestCasesInput, TestCaseFilter};
use pipewright_pipeline::responses::Time;
use pipewright_pipeline::responses::codebuild::{
    BatchGetReportsOutput, CoverageSummary, DescribeTestCasesOutput, ExportConfig, Report, ReportStatus, TestCase,
    TestSummary,
};
use pipewright_runner::builds::Build;
use pipewright_sandbox::results::{Case, Content, Counts, Coverage, Ratio, Results, Tests};
use serde_json::to_value;

use super::super::{Context, Service, ServiceError};

/// Results that one request reads; what is beyond is not found. Stops a request that reads for minutes.
const READ_BYTES_MAX: u64 = 64 << 20;
const CASES_PER_PAGE: usize = 100;

/// One report of a build.
#[derive(Clone)]
struct Kept {
    /// Behind `report/` in its ARN.
    name: String,
    /// When its action reported first, in milliseconds since 1970.
    at: u64,
    results: Results,
}

/// What a build reported, as far as it fits into the bytes that are left.
async fn of_build(service: &Service, build: &Build, bytes_left: &mut u64) -> Result<Vec<Kept>, ServiceError> {
    let (actions, execution, mut left) = (Arc::clone(&service.host.actions), build.execution.clone(), *bytes_left);
    let read = service.work().blocking(move || actions.logs.results(&execution, &mut left).map(|(all, _)| (all, left)));
    let (all, left) = read.await.map_err(ServiceError::host)?;
    *bytes_left = left;
    let own = all.into_iter().filter(|reported| match &build.action {
        Some(action) => reported.action_execution_id == *action,
        None => reported.action_name == "Build",
    });
    let uuid = uuid(&build.id);
    let kept = own.flat_map(|reported| {
        reported.reports.into_iter().map(move |results| Kept {
            name: format!("{}-{}:{uuid}", build.project, results.name),
            at: reported.at,
            results,
        })
    });
    Ok(kept.collect())
}

fn uuid(id: &str) -> &str {
    id.rsplit(':').next().unwrap_or_default()
}

/// The ARNs of what a build reported.
pub(super) async fn arns(service: &Service, context: &Context, build: &Build) -> Result<Vec<String>, ServiceError> {
    let kept = of_build(service, build, &mut { READ_BYTES_MAX }).await?;
    Ok(kept.iter().map(|kept| service.codebuild_arn(context, &format!("report/{}", kept.name))).collect())
}

/// The builds of the account by the part of their ids that their reports have, too.
async fn by_uuid(service: &Service, context: &Context) -> Result<HashMap<String, Build>, ServiceError> {
    let builds = service.builds().all(context.account).await?;
    Ok(builds.into_iter().map(|build| (uuid(&build.id).to_owned(), build)).collect())
}

pub async fn batch_get(
    service: &Service,
    context: &Context,
    input: BatchGetReportsInput,
) -> Result<BatchGetReportsOutput, ServiceError> {
    let (builds, mut read, mut left) = (by_uuid(service, context).await?, HashMap::new(), READ_BYTES_MAX);
    let mut output = BatchGetReportsOutput { reports: Vec::new(), reports_not_found: Vec::new() };
    for arn in input.report_arns {
        let name = service.codebuild_named(context, "report/", &arn);
        let Some(build) = builds.get(uuid(name)) else {
            output.reports_not_found.push(arn);
            continue;
        };
        if !read.contains_key(&build.id) {
            read.insert(build.id.clone(), of_build(service, build, &mut left).await?);
        }
        match read[&build.id].iter().find(|kept| kept.name == name) {
            Some(kept) => output.reports.push(report(service, context, build, kept)),
            None => output.reports_not_found.push(arn),
        }
    }
    Ok(output)
}

pub async fn test_cases(
    service: &Service,
    context: &Context,
    input: DescribeTestCasesInput,
) -> Result<DescribeTestCasesOutput, ServiceError> {
    let missing = || ServiceError::not_found(format!("Report cannot be found: {}", input.report_arn));
    let name = service.codebuild_named(context, "report/", &input.report_arn);
    let mut builds = by_uuid(service, context).await?;
    let build = builds.remove(uuid(name)).ok_or_else(missing)?;
    let kept = of_build(service, &build, &mut { READ_BYTES_MAX }).await?;
    let kept = kept.into_iter().find(|kept| kept.name == name).ok_or_else(missing)?;
    let Content::Tests(Tests { cases, .. }) = kept.results.content else {
        return Err(ServiceError::validation("The report is one of coverage: it has no test cases"));
    };
    let filter = input.filter.unwrap_or_default();
    let scope = format!("DescribeTestCases {name} {filter:?}");
    let after = service.after(context, &scope, input.next_token.as_deref())?;
    let first = after.and_then(|after| String::from_utf8(after).ok()?.parse().ok()).unwrap_or(0);
    let limit = input.max_results.map_or(CASES_PER_PAGE, |max| max as usize);
    let mut fitting = cases.into_iter().filter(|case| fits(&filter, case)).skip(first);
    let arn = service.codebuild_arn(context, &format!("report/{name}"));
    let test_cases = fitting.by_ref().take(limit).map(|case| test_case(&arn, case)).collect();
    let next_token = fitting.next().map(|_| service.token(context, &scope, (first + limit).to_string().as_bytes()));
    Ok(DescribeTestCasesOutput { test_cases, next_token })
}

fn fits(filter: &TestCaseFilter, case: &Case) -> bool {
    let is_of = |status: &String| to_value(case.status).is_ok_and(|own| own == **status);
    let has = |keyword: &String| case.name.contains(keyword.as_str()) || case.prefix.contains(keyword.as_str());
    filter.status.as_ref().is_none_or(is_of) && filter.keyword.as_ref().is_none_or(has)
}

fn test_case(arn: &str, case: Case) -> TestCase {
    let given = |text: String| Some(text).filter(|text| !text.is_empty());
    TestCase {
        report_arn: arn.to_owned(),
        status: to_value(case.status).unwrap_or_default(),
        prefix: given(case.prefix),
        test_suite_name: given(case.test_suite_name),
        name: case.name,
        duration_in_nano_seconds: case.duration_in_nano_seconds.unwrap_or_default(),
        message: given(case.message),
    }
}

fn report(service: &Service, context: &Context, build: &Build, kept: &Kept) -> Report {
    let group = kept.name.rsplit_once(':').map_or(kept.name.as_str(), |(group, _)| group);
    let (tests, coverage) = match &kept.results.content {
        Content::Tests(tests) => (Some(tests), None),
        Content::Coverage(coverage) => (None, Some(coverage)),
    };
    let has_failed = tests.is_some_and(|Tests { counts, .. }| counts.failed + counts.error > 0);
    Report {
        arn: service.codebuild_arn(context, &format!("report/{}", kept.name)),
        r#type: if tests.is_some() { "TEST" } else { "CODE_COVERAGE" },
        name: kept.results.name.clone(),
        report_group_arn: service.codebuild_arn(context, &format!("report-group/{group}")),
        execution_id: service.codebuild_arn(context, &format!("build/{}", build.id)),
        status: if has_failed { ReportStatus::Failed } else { ReportStatus::Succeeded },
        created: Time(Timestamp(kept.at)),
        export_config: ExportConfig { export_config_type: "NO_EXPORT" },
        truncated: tests.map_or(0, |it| it.left_out) + coverage.map_or(0, |it| it.left_out) > 0,
        test_summary: tests.map(summary),
        code_coverage_summary: coverage.map(covered),
    }
}

fn summary(Tests { counts, cases, .. }: &Tests) -> TestSummary {
    let Counts { succeeded, failed, error, skipped, unknown } = *counts;
    let status_counts =
        [("SUCCEEDED", succeeded), ("FAILED", failed), ("ERROR", error), ("SKIPPED", skipped), ("UNKNOWN", unknown)];
    TestSummary {
        total: succeeded + failed + error + skipped + unknown,
        status_counts: status_counts.into(),
        duration_in_nano_seconds: cases.iter().filter_map(|case| case.duration_in_nano_seconds).sum(),
    }
}

fn covered(Coverage { lines, branches, .. }: &Coverage) -> CoverageSummary {
    let percentage = |of: &Ratio| (of.total > 0).then(|| of.covered as f64 * 100.0 / of.total as f64);
    CoverageSummary {
        line_coverage_percentage: percentage(lines),
        lines_covered: lines.covered,
        lines_missed: lines.total.saturating_sub(lines.covered),
        branch_coverage_percentage: percentage(branches),
        branches_covered: branches.covered,
        branches_missed: branches.total.saturating_sub(branches.covered),
    }
}
