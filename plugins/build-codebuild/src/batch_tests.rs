//! Batches whose builds really run, by the fake host of the SDK.

use build_jobs::testing::to_the_end;
use pipewright_sdk::Status as Told;
use pipewright_sdk::testing::Host;

use super::*;

const GRAPH: &str = "
version: 0.2
batch:
  fast-fail: FAST
  build-graph:
    - {identifier: make, env: {variables: {KIND: first}}}
    - {identifier: check, depend-on: [make], ignore-failure: IGNORED}
    - {identifier: ship, buildspec: ship.yml, depend-on: [check]}
    - {identifier: other}
env: {variables: {KIND: own}}
phases:
  build:
    commands:
      - echo \"$CODEBUILD_BATCH_BUILD_IDENTIFIER is $KIND\" > made.txt; cat made.txt
      - test \"$CODEBUILD_BATCH_BUILD_IDENTIFIER\" != FAILING
      - test ! -e left; touch left
artifacts: {files: [made.txt], secondary-artifacts: {Copy: {files: [made.txt]}}}
";

fn settings(combine: bool) -> Configuration {
    Configuration {
        project_name: "app".to_owned(),
        primary_source: None,
        environment_variables: None,
        buildspec_override: None,
        batch_enabled: true,
        combine_artifacts: combine,
        service_role_arn_override: None,
    }
}

fn source(failing: &str, ignored: &str, fast: &str) -> Host {
    let graph = GRAPH.replace("FAILING", failing).replace("IGNORED", ignored).replace("FAST", fast);
    let ship =
        "version: 0.2\nphases: {build: {commands: ['echo shipped > ship.txt']}}\nartifacts: {files: [ship.txt]}\n";
    Host::new().input("Source", &[("buildspec.yml", &graph), ("ship.yml", ship)])
}

#[test]
fn builds_run_one_after_another_each_with_its_own_sources() {
    let host = source("none", "false", "false").output("make").output("check_Copy").output("ship");
    let (host, report) = to_the_end(host, |action| codebuild(action, settings(false)));
    let report = report.unwrap();
    assert_eq!(report.summary.as_deref(), Some("4 of 4 builds succeeded"));
    assert_eq!(host.read("outputs/make/made.txt"), "make is first\n");
    assert_eq!(host.read("outputs/check_Copy/made.txt"), "check is own\n");
    assert_eq!(host.read("outputs/ship/ship.txt"), "shipped\n");
    let log = host.log();
    let started: Vec<_> = log.lines().filter(|line| line.starts_with("Build ") && !line.contains("ed")).collect();
    assert_eq!(started, ["Build make", "Build check", "Build ship", "Build other"], "{log}");
}

/// How each build ended, as the cases of a Test action.
fn check(host: Host, expected: &[(&str, Told)], summary: &str) {
    let (_host, tested) = to_the_end(host, |action| codebuild_test(action, settings(false)));
    let tested = tested.unwrap();
    let cases: Vec<_> = tested.cases.iter().map(|case| (case.name.as_str(), case.status)).collect();
    assert_eq!((cases.as_slice(), tested.report.summary.as_deref()), (expected, Some(summary)));
}

#[test]
fn what_follows_a_build_that_failed() {
    use Told::{Failed, Passed, Skipped};
    check(
        source("check", "false", "false"),
        &[("make", Passed), ("check", Failed), ("ship", Skipped), ("other", Passed)],
        "Build batch terminated with state: FAILED. 2 of 4 builds succeeded; failed: check; not started: ship",
    );
    check(
        source("make", "false", "true"),
        &[("make", Failed), ("check", Skipped), ("ship", Skipped), ("other", Skipped)],
        "Build batch terminated with state: FAILED. 0 of 4 builds succeeded; failed: make; not started: check, ship, other",
    );
    check(
        source("check", "true", "true"),
        &[("make", Passed), ("check", Skipped), ("ship", Passed), ("other", Passed)],
        "3 of 4 builds succeeded; failed: check",
    );
}

#[test]
fn artifacts_are_combined_where_no_two_builds_made_one_file() {
    let combined = |spec: &str| {
        let host = Host::new().input("Source", &[("buildspec.yml", spec)]).output("All");
        to_the_end(host, |action| codebuild(action, settings(true)))
    };
    let spec = "version: 0.2\nbatch: {build-matrix: {dynamic: {env: {variables: {OS: [a, b]}}}}}\n\
        phases: {build: {commands: ['mkdir out; echo $OS > out/FILE']}}\nartifacts: {files: ['out/*']}\n";
    let (host, report) = combined(&spec.replace("FILE", "$OS"));
    report.unwrap();
    assert_eq!((host.read("outputs/All/out/a"), host.read("outputs/All/out/b")), ("a\n".to_owned(), "b\n".to_owned()));
    drop(host);
    let (_host, report) = combined(&spec.replace("FILE", "same"));
    assert!(report.unwrap_err().message.contains("two builds made `out/same`"));
}

#[test]
fn an_output_that_no_build_makes_is_told() {
    let host = source("none", "false", "false").output("make_None");
    let (host, report) = to_the_end(host, |action| codebuild(action, settings(false)));
    let message = report.unwrap_err().message;
    assert!(message.contains("no build made the artifact `make_None`"), "{message}");
    drop(host);
    let (_host, report) = to_the_end(source("none", "false", "false"), |action| codebuild(action, settings(true)));
    assert!(report.unwrap_err().message.contains("makes one output artifact, and the action has 0"));
}
