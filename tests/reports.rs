//! Results of tests over several runs of a real server, and tools that are components, by the command line.

use std::fs;

use serde_json::{Value, json};

use crate::client::{Ended, Site, program, wait_until};

fn action(category: &str, provider: &str, name: &str, configuration: Value) -> Value {
    json!({
        "name": name,
        "actionTypeId": { "category": category, "owner": "Custom", "provider": provider, "version": "1" },
        "configuration": configuration,
    })
}

fn with(mut action: Value, key: &str, artifacts: &[&str]) -> Value {
    action[key] = artifacts.iter().map(|name| json!({ "name": name })).collect();
    action
}

const GRANTS: &str = "
[action.\"Source/Source\"]
directories.source = { path = \"source\", access = \"read\" }
[action.\"Make/Make\"]
directories.shelf = { path = \"shelf\", access = \"read\" }
";

/// The case `adds` always succeeds, the other one as it is given.
fn write_report(site: &Site, is_good: bool) {
    let failure = if is_good { "" } else { "<failure message=\"it was late\"/>" };
    let report = format!(
        "<testsuite name=\"unit\"><testcase name=\"adds\" time=\"0.5\"/><testcase name=\"waits\">{failure}</testcase></testsuite>"
    );
    fs::create_dir_all(site.path("shelf")).unwrap();
    fs::write(site.path("shelf/report.xml"), report).unwrap();
}

/// What was recorded of an action comes of it again.
#[track_caller]
fn replay_is_the_same(site: &Site, execution: &str, action: &str) {
    site.run(&["plugin", "record", "site", execution, action, "-o", "it.zip"]).check(0, &[]);
    let replayed = program(&site.path("")).args(["plugin", "replay", "it.zip"]).output().unwrap();
    Ended::new(replayed).check(0, &["same (1 call replayed)"]);
}

#[test]
fn a_flaky_case_is_told_after_three_runs_of_one_revision() {
    let site = Site::new();
    fs::write(site.path("grants.toml"), GRANTS).unwrap();
    write_report(&site, true);
    let script = json!({ "Script": "copy directories/shelf/report.xml outputs/Results/report.xml" });
    let make = with(
        with(action("Invoke", "Steps", "Make", script), "inputArtifacts", &["Code"]),
        "outputArtifacts",
        &["Results"],
    );
    let stages = |failed_max: &str| {
        let judge = action("Test", "JUnit", "Unit", json!({ "FailedMax": failed_max }));
        let judge = with(judge, "inputArtifacts", &["Results"]);
        [json!({ "name": "Make", "actions": [make] }), json!({ "name": "Test", "actions": [judge] })]
    };
    site.create("site", &stages("5")).check(0, &[]);
    wait_until(|| site.run(&["history", "site"]).out.contains("\tSucceeded\t"));
    site.run(&["tests", "site"]).check(0, &["Test/Unit Unit: 2 cases: 2 succeeded"]);
    assert_eq!(site.json(&["tests", "site"])["flaky"], json!([]));

    write_report(&site, false);
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);
    let shown = site.run(&["tests", "site"]);
    shown.check(0, &["2 cases: 1 succeeded, 1 failed", "  FAILED unit waits\n      it was late\n"]);
    // Also of an action that fails by it.
    site.create("slow", &stages("0")).check(0, &[]);
    wait_until(|| site.run(&["history", "slow"]).out.contains("\tFailed\t"));
    site.run(&["tests", "slow"]).check(0, &["2 cases: 1 succeeded, 1 failed"]);
    write_report(&site, true);
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);

    let found = site.json(&["tests", "site"]);
    let flaky = found["flaky"].as_array().unwrap();
    assert_eq!(flaky.len(), 1, "{found}");
    let seen = ["name", "sameRevision", "changes", "runs"].map(|key| flaky[0][key].clone());
    assert_eq!(seen, [json!("waits"), json!(true), json!(2), json!(3)]);
    let case = &found["actions"][0]["reports"][0]["tests"]["cases"][0];
    assert_eq!((&case["name"], &case["durationInNanoSeconds"]), (&json!("adds"), &json!(500_000_000)));
    site.run(&["tests", "site"])
        .check(0, &["flaky: Test/Unit unit waits: it passed and failed with the same revision"]);

    let first = site.json(&["history", "site"])["pipelineExecutionSummaries"][2]["pipelineExecutionId"].clone();
    let first = first.as_str().unwrap();
    site.run(&["tests", "site", "--execution", first])
        .check(0, &["2 cases: 2 succeeded", "flaky: Test/Unit unit waits"]);
    site.run(&["tests", "site", "--execution", "none"]).check(2, &["does not have an execution with ID 'none'"]);

    replay_is_the_same(&site, first, "Test/Unit");
    let mut archive = zip::ZipArchive::new(fs::File::open(site.path("it.zip")).unwrap()).unwrap();
    let recording: Value = serde_json::from_reader(archive.by_name("recording.json").unwrap()).unwrap();
    assert_eq!(recording["calls"][0]["results"][0]["tests"]["counts"]["succeeded"], 2);
    keeps_its_reports_elsewhere(site);
}

/// An export and an import bring the reports of every execution with them.
fn keeps_its_reports_elsewhere(mut site: Site) {
    let before = site.json(&["tests", "site"]);
    site.run(&["export", "-o", "all.jsonl"]).check(0, &[]);
    site.stop_and_serve(|site| {
        fs::rename(site.path("data"), site.path("before")).unwrap();
        let imported = program(&site.path("")).args(["import", "--data", "data", "all.jsonl"]).output().unwrap();
        Ended::new(imported).check(0, &[]);
    });
    assert_eq!(site.json(&["tests", "site"]), before);
}

#[test]
fn a_tool_that_is_a_component_builds_and_fails() {
    let site = Site::new();
    fs::create_dir_all(site.path("source/tools")).unwrap();
    fs::write(site.path("source/tools/tool.wasm"), pipewright_guests::get("tool")).unwrap();
    let tool = |name: &str, arguments: &[&str]| {
        let configuration = json!({
            "Component": "tools/tool.wasm",
            "Arguments": json!(arguments).to_string(),
            "Environment": json!(["LEVEL=high"]).to_string(),
        });
        with(action("Build", "WasiTool", name, configuration), "inputArtifacts", &["Code"])
    };
    let build = ["copy", "/inputs/Code/README.md", "/outputs/Made/copied.md", "variable", "LEVEL", "none"];
    let build = with(tool("Build", &build), "outputArtifacts", &["Made"]);
    let stages = [
        json!({ "name": "Build", "actions": [build] }),
        json!({ "name": "Check", "actions": [tool("Check", &["write", "/inputs/Code/README.md", "changed"])] }),
    ];
    site.create("site", &stages).check(0, &[]);
    wait_until(|| site.run(&["history", "site"]).out.contains("\tFailed\t"));
    site.run(&["logs", "site", "Build/Build"]).check(0, &["LEVEL is high"]);
    site.run(&["artifacts", "get", "site", "Made"]).check(0, &["Made: "]);
    assert_eq!(fs::read_to_string(site.path("Made/copied.md")).unwrap(), "# Read me\n");
    site.run(&["status", "site"]).check(0, &["Check/Check failed.", "tools/tool.wasm ended with status 1"]);
    site.run(&["logs", "site", "Check/Check"]).check(0, &["write /inputs/Code/README.md changed: "]);
    let execution = site.json(&["history", "site"])["pipelineExecutionSummaries"][0]["pipelineExecutionId"].clone();
    site.run(&["tests", "site"]).check(0, &["has no reports"]);
    replay_is_the_same(&site, execution.as_str().unwrap(), "Build/Build");
}
