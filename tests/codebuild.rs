//! CodeBuild's own API on a real server, by botocore's model and the AWS CLI; and builds of a folder without a server.

use std::fs;
use std::path::Path;
use std::process::Command;

use pipewright_server::api::OPERATIONS;
use serde_json::{Value, json};

use crate::run::{Home, action, pipeline};
use crate::server::Server;
use crate::tools;

const CONFIG: &str = "projects = \"projects\"\n[grants]\n\"codebuild:app\" = \"grants.toml\"\n";
const GRANTS: &str = "[action.\"Build/Build\"]\ncommands = { level = \"restricted\" }\n";
const FIXED: &str = r#"{ "source": { "type": "CODEPIPELINE" }, "artifacts": { "type": "CODEPIPELINE" } }"#;

fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("projects")).unwrap();
    for (file, text) in [("serve.toml", CONFIG), ("grants.toml", GRANTS), ("projects/fixed.json", FIXED)] {
        fs::write(home.path().join(file), text).unwrap();
    }
    home
}

#[test]
fn every_answer_is_one_of_botocores_model() {
    let Some(python) = tools::python("botocore").and(tools::python("cbor2")) else { return };
    let home = home();
    let server = Server::start(home.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/codebuild.py");
    let offered = OPERATIONS.iter().filter(|operation| operation.of.name == "codebuild");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(server.endpoint())
        .arg(server.credentials())
        .arg("us-east-1")
        .args(offered.map(|operation| operation.name))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

const BUILDSPEC: &str = r#"
version: 0.2
env: {exported-variables: [SAID]}
phases:
  build:
    commands:
      - 'SAID="$COLOUR $CODEBUILD_BUILD_NUMBER $CODEBUILD_INITIATOR"'
      - 'echo $SAID > said.txt'
      - echo "<testsuite name='all'><testcase name='adds'/><testcase name='breaks'><failure message='no'/></testcase></testsuite>" > unit.xml
artifacts: {files: [said.txt]}
reports: {unit: {files: [unit.xml], file-format: JUNITXML}}
"#;

/// What the AWS CLI is answered.
#[track_caller]
fn ask(aws: &Path, server: &Server, operation: &str, input: &Value) -> Value {
    let endpoint = server.endpoint();
    let output = Command::new(aws)
        .args(["--endpoint-url", &endpoint, "--no-paginate", "codebuild", operation])
        .args(["--cli-input-json", &input.to_string()])
        .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
        .envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_PAGER", ""), ("AWS_EC2_METADATA_DISABLED", "true")])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

#[test]
fn the_aws_cli_starts_a_build() {
    let (Some(aws), Some(_)) = (tools::find("aws"), tools::find("bwrap")) else { return };
    let home = home();
    let server = Server::start(home.path());
    let ask = |operation: &str, input: Value| ask(&aws, &server, operation, &input);
    let environment = json!({
        "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL",
        "environmentVariables": [{ "name": "COLOUR", "value": "blue" }],
    });
    let project = json!({
        "name": "app", "source": { "type": "NO_SOURCE", "buildspec": BUILDSPEC }, "environment": environment,
        "artifacts": { "type": "S3", "location": "bucket" }, "serviceRole": "arn:aws:iam::000000000000:role/build",
    });
    ask("create-project", project);
    let red = json!([{ "name": "COLOUR", "value": "red" }]);
    for (number, (colour, overrides)) in (1..).zip([("blue", json!([])), ("red", red)]) {
        let started = ask("start-build", json!({ "projectName": "app", "environmentVariablesOverride": overrides }));
        let ids = json!({ "ids": [started["build"]["id"]] });
        let build = loop {
            let shown = ask("batch-get-builds", ids.clone())["builds"][0].take();
            if shown["buildComplete"] == true {
                break shown;
            }
        };
        assert_eq!(build["buildStatus"], "SUCCEEDED", "{build}");
        let said = json!([{ "name": "SAID", "value": format!("{colour} {number} administrator") }]);
        assert_eq!(build["exportedEnvironmentVariables"], said);
        let [arn] = &build["reportArns"].as_array().unwrap()[..] else { panic!("{build}") };
        let report = ask("batch-get-reports", json!({ "reportArns": [arn] }))["reports"][0].take();
        assert_eq!((&report["arn"], &report["executionId"]), (arn, &build["arn"]));
        assert_eq!((&report["status"], &report["testSummary"]["total"]), (&json!("FAILED"), &json!(2)), "{report}");
        let cases = |members: Value| {
            let mut input = json!({ "reportArn": arn });
            input.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            let found = ask("describe-test-cases", input);
            let names =
                found["testCases"].as_array().unwrap().iter().map(|case| case["name"].clone()).collect::<Vec<_>>();
            (names, found["nextToken"].clone())
        };
        assert_eq!(cases(json!({ "filter": { "status": "FAILED" } })).0, ["breaks"]);
        assert_eq!(cases(json!({ "filter": { "keyword": "add" } })).0, ["adds"]);
        let (mut names, next) = cases(json!({ "maxResults": 1 }));
        names.extend(cases(json!({ "nextToken": next })).0);
        names.sort_by_key(ToString::to_string);
        assert_eq!(names, ["adds", "breaks"]);
    }
    assert_eq!(ask("list-builds-for-project", json!({ "projectName": "app" }))["ids"].as_array().unwrap().len(), 2);
    ask("delete-project", json!({ "name": "app" }));
    assert_eq!(ask("list-projects", json!({}))["projects"], json!(["fixed"]));
}

/// One program at once: the second build waits and says so, the third is stopped while it waits, and the end of the first is the
/// beginning of the second.
#[test]
fn builds_wait_for_their_turn_and_are_told_as_queued() {
    let (Some(aws), Some(_)) = (tools::find("aws"), tools::find("bwrap")) else { return };
    let home = home();
    fs::write(home.path().join("serve.toml"), format!("{CONFIG}[commands]\nlevel = \"restricted\"\nat_once = 1\n"))
        .unwrap();
    let server = Server::start(home.path());
    let ask = |operation: &str, input: Value| ask(&aws, &server, operation, &input);
    let start = |command: &str| {
        let project = json!({ "projectName": "app", "buildspecOverride": buildspec(command) });
        ask("start-build", project)["build"]["id"].take()
    };
    let until = |id: &Value, is_it: &dyn Fn(&Value) -> bool| loop {
        let build = ask("batch-get-builds", json!({ "ids": [id] }))["builds"][0].take();
        if is_it(&build) {
            return build;
        }
        assert_ne!(build["buildComplete"], json!(true), "{build}");
    };
    let is_in = |phase: &'static str| move |build: &Value| build["currentPhase"] == phase;
    ask(
        "create-project",
        json!({
            "name": "app", "source": { "type": "NO_SOURCE", "buildspec": BUILDSPEC }, "artifacts": { "type": "NO_ARTIFACTS" },
            "environment": {
                "type": "LINUX_CONTAINER", "image": "aws/codebuild/standard:7.0", "computeType": "BUILD_GENERAL1_SMALL",
            },
            "serviceRole": "arn:aws:iam::000000000000:role/build",
        }),
    );
    let first = start("sleep 600");
    until(&first, &is_in("BUILD"));
    let second = start("true");
    let waiting = until(&second, &is_in("QUEUED"));
    assert_eq!(waiting["buildStatus"], "IN_PROGRESS");
    let third = start("exit 0");
    until(&third, &is_in("QUEUED"));
    ask("stop-build", json!({ "id": third }));
    until(&third, &|build| build["buildStatus"] == "STOPPED");
    let waiting = until(&second, &|_| true);
    assert_eq!(waiting["currentPhase"], "QUEUED", "{waiting}");
    ask("stop-build", json!({ "id": first }));
    until(&first, &|build| build["buildStatus"] == "STOPPED");
    until(&second, &|build| build["buildStatus"] == "SUCCEEDED");
}

/// Builds that a pipeline's action ran are builds of their project, and are stopped as such.
#[test]
fn builds_of_a_pipeline_are_listed_told_and_stopped() {
    let (Some(aws), Some(_)) = (tools::find("aws"), tools::find("bwrap")) else { return };
    let home = Home::new();
    let spec = |command: &str| home.write("source/buildspec.yml", &buildspec(command));
    spec("echo done");
    home.write("projects/app.json", FIXED);
    home.write("serve.toml", "projects = \"projects\"\n[grants]\ntest = \"grants.toml\"\n");
    let source = "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
    home.write("grants.toml", &format!("{source}{}", GRANTS.replace("restricted", "toolchain")));
    let mut build = action("Build", "AWS", "CodeBuild", "Build");
    build["configuration"] = json!({ "ProjectName": "app" });
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    let mut declaration: Value = serde_json::from_str(&pipeline(&[build])).unwrap();
    declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "source" });
    home.write("create.json", &json!({ "pipeline": declaration }).to_string());
    let server = Server::start(&home.path(""));
    let run = |arguments: &[&str]| home.run(&[arguments, &["--data", "data"]].concat());
    let ask = |operation: &str, input: Value| ask(&aws, &server, operation, &input);
    let told = |ids: &Value, is_it: &dyn Fn(&Value) -> bool| loop {
        let build = ask("batch-get-builds", json!({ "ids": ids }))["builds"][0].take();
        if is_it(&build) {
            return build;
        }
        assert_ne!(build["buildComplete"], json!(true), "{build}");
    };
    let newest = |count: usize| loop {
        let ids = ask("list-builds-for-project", json!({ "projectName": "app" }))["ids"].take();
        if ids.as_array().unwrap().len() == count {
            assert_eq!(ask("list-builds", json!({}))["ids"], ids);
            return json!([ids[0]]);
        }
    };

    run(&["create", "create.json"]).check(0, &[]);
    let build = told(&newest(1), &|build| build["buildStatus"] == "SUCCEEDED");
    assert_eq!((&build["initiator"], &build["buildNumber"]), (&json!("codepipeline/test"), &json!(1)));
    check_phases(&build, &PHASES);

    spec("exit 3");
    run(&["start", "test"]).check(0, &[]);
    let build = told(&newest(2), &|build| build["buildStatus"] == "FAILED");
    let failed = PHASES.map(|(name, status)| (name, if name == "BUILD" { "FAILED" } else { status }));
    check_phases(&build, &failed);
    let phase = build["phases"].as_array().unwrap().iter().find(|phase| phase["phaseType"] == "BUILD").unwrap();
    assert_eq!(phase["contexts"][0]["statusCode"], "COMMAND_EXECUTION_ERROR", "{phase}");

    spec("sleep 600");
    run(&["start", "test"]).check(0, &[]);
    let ids = newest(3);
    let build = told(&ids, &|build| build["currentPhase"] == "BUILD");
    assert_eq!(build["buildStatus"], "IN_PROGRESS");
    check_phases(&build, &PHASES[..5]);
    let stopped = ask("stop-build", json!({ "id": ids[0] }));
    assert_eq!(stopped["build"]["id"], ids[0]);
    told(&ids, &|build| build["buildStatus"] == "STOPPED");
    run(&["logs", "test", "--follow"]).check(0, &[]);
    run(&["status", "test"]).check(0, &["Build/Build failed"]);
}

/// The phases of a build that went well.
const PHASES: [(&str, &str); 10] = [
    ("SUBMITTED", "SUCCEEDED"),
    ("QUEUED", "SUCCEEDED"),
    ("DOWNLOAD_SOURCE", "SUCCEEDED"),
    ("INSTALL", "SUCCEEDED"),
    ("PRE_BUILD", "SUCCEEDED"),
    ("BUILD", "SUCCEEDED"),
    ("POST_BUILD", "SUCCEEDED"),
    ("UPLOAD_ARTIFACTS", "SUCCEEDED"),
    ("FINALIZING", "SUCCEEDED"),
    ("COMPLETED", ""),
];

/// Those that have ended, each of which begins where the one before it ends, or later.
#[track_caller]
fn check_phases(build: &Value, expected: &[(&str, &str)]) {
    let phases = build["phases"].as_array().unwrap();
    let text = |phase: &Value, name: &str| phase[name].as_str().unwrap_or_default().to_owned();
    let named: Vec<_> = phases.iter().map(|phase| (text(phase, "phaseType"), text(phase, "phaseStatus"))).collect();
    let named: Vec<_> = named.iter().map(|(name, status)| (name.as_str(), status.as_str())).collect();
    assert_eq!(&named[..expected.len()], expected, "{phases:?}");
    for pair in phases.windows(2) {
        let is_timed =
            pair[0]["durationInSeconds"].is_u64() && text(&pair[0], "endTime") <= text(&pair[1], "startTime");
        assert!(is_timed, "{pair:?}");
    }
}

fn buildspec(command: &str) -> String {
    json!({ "version": 0.2, "phases": { "build": { "commands": [command] } } }).to_string()
}

#[test]
fn a_folder_is_built_without_a_server() {
    if tools::find("bwrap").is_none() || tools::find("node").is_none() {
        return;
    }
    let home = Home::new();
    let site = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/node-site");
    let site = site.to_str().unwrap();
    let built = home.run(&["build", site, "--artifacts", "out"]);
    built.check(0, &["Report tests: 2 cases: 2 succeeded", "build succeeded", "out: 2 files"]);
    assert!(fs::read_to_string(home.path("out/dist/index.html")).unwrap().contains("<"));
    home.run(&["build", site, "--artifacts", "out"]).check(2, &["--artifacts out: there is something already"]);
    home.write(
        "app/ci.yml",
        "version: 0.2\nphases: {build: {commands: ['echo $COLOUR $CODEBUILD_BUILD_NUMBER', 'exit 3']}}\n",
    );
    for number in ["blue 1", "blue 2"] {
        let failed = home.run(&["build", "app", "--buildspec", "ci.yml", "--env", "COLOUR=blue"]);
        failed.check(1, &[number, "Phase: BUILD, Code: COMMAND_EXECUTION_ERROR", "exit status 3"]);
    }
    home.run(&["build", "app"]).check(2, &["app has no file buildspec.yml", "--buildspec"]);
    home.run(&["build", "app", "--buildspec", "ci.yml", "--env", "x"]).check(2, &["--env x: write it as NAME=VALUE"]);
}
