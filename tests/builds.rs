//! Real builds by `pipewright run`: commands of a buildspec and of an action run on this machine, apart from it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::run::{Ended, Home, action, pipeline};
use crate::tools;

const GRANTS: &str = "[action.\"Build/Build\"]\ncommands = { level = \"toolchain\" }\n";
const LATER_GRANTS: &str = "
[action.\"Check/Check\"]
commands = { level = \"toolchain\" }
[action.\"Publish/Publish\"]
directories.public = { path = \"public\", access = \"write\" }
";

/// An action of CodeBuild with the input artifact `Code`.
fn codebuild(category: &str, name: &str, configuration: Value) -> Value {
    let mut build = action(category, "AWS", "CodeBuild", name);
    build["configuration"] = json!({ "ProjectName": "app" });
    for (key, value) in configuration.as_object().unwrap() {
        build["configuration"][key] = value.clone();
    }
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    build["namespace"] = json!(name);
    build
}

fn with(mut action: Value, key: &str, value: Value) -> Value {
    action[key] = value;
    action
}

/// A home with a source and its buildspec, run through these actions.
fn run(home: &Home, buildspec: &str, files: &[(&str, &str)], actions: &[Value], grants: &str) -> Ended {
    home.write("code/buildspec.yml", buildspec);
    for (name, text) in files {
        home.write(&format!("code/{name}"), text);
    }
    let declaration: Value = serde_json::from_str(&pipeline(actions)).unwrap();
    let declaration = with(declaration, "pipelineType", json!("V2"));
    home.write("pipeline.json", &declaration.to_string());
    home.write("grants.toml", grants);
    home.run(&["run", "pipeline.json", "--source", "Source=code", "--grants", "grants.toml"])
}

const PROGRAM: &str = "#include <stdio.h>\nint main(void) { puts(VERSION); return 0; }\n";

/// Compiled, tested with a report, given on with its version, run by the next action, and published.
#[test]
fn a_program_in_c() {
    if tools::find("bwrap").is_none() || tools::find("cc").is_none() {
        return;
    }
    let home = Home::new();
    let buildspec = r#"
version: 0.2
env:
  variables: {CFLAGS: -O1}
  exported-variables: [VERSION]
phases:
  install: {commands: [cd src, mkdir ../out]}
  build:
    commands:
      - VERSION="$(cat ../version.txt)"
      - cc $CFLAGS -DVERSION="\"$VERSION\"" -o ../out/app main.c
  post_build:
    commands:
      - test "$(../out/app)" = "$VERSION"
      - |
        cat >../out/junit.xml <<END
        <testsuite name="app"><testcase name="says its version"/></testsuite>
        END
reports: {app: {files: ['*.xml'], base-directory: out}}
artifacts: {base-directory: out, files: ['**/*']}
"#;
    let build = with(codebuild("Build", "Build", json!({})), "outputArtifacts", json!([{ "name": "App" }]));
    let mut check = with(action("Compute", "AWS", "Commands", "Check"), "inputArtifacts", json!([{ "name": "App" }]));
    let wanted = |version: &str| format!("test \"$(cat said.txt)\" = \"{version}\"");
    check["commands"] =
        json!(["./app > said.txt", wanted("#{Build.VERSION}"), wanted("$WANTED"), "SAID=$(cat said.txt)"]);
    check["environmentVariables"] = json!([{ "name": "WANTED", "value": "#{Build.VERSION}" }]);
    check["outputArtifacts"] = json!([{ "name": "Said", "files": ["said.txt"] }]);
    check["outputVariables"] = json!(["SAID"]);
    let mut junit = with(action("Test", "Custom", "JUnit", "Units"), "inputArtifacts", json!([{ "name": "App" }]));
    junit["configuration"] = json!({ "CasesMin": "1" });
    let mut publish =
        with(action("Deploy", "Custom", "Directory", "Publish"), "inputArtifacts", json!([{ "name": "App" }]));
    publish["configuration"] = json!({ "Directory": "public" });
    let files = [("src/main.c", PROGRAM), ("version.txt", "1.2.3\n")];
    let ended = run(&home, buildspec, &files, &[build, check, junit, publish], &format!("{GRANTS}{LATER_GRANTS}"));
    ended.check(0, &["test succeeded", "Running command cc $CFLAGS", "Report app: 1 cases: 1 succeeded", "VERSION"]);
    let said = Command::new(home.path("public/current/app")).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&said.stdout), "1.2.3\n");
    let mode = fs::metadata(home.path("public/current/app")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}

/// A stage is entered where the commands of a rule succeed.
#[test]
fn commands_of_a_rule() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    home.write("code/ready.txt", "1\n");
    home.write("grants.toml", "[action.\"Check/beforeEntry/Ready\"]\ncommands = { level = \"toolchain\" }\n");
    let run = |command: &str| {
        let check = with(action("Test", "Custom", "JUnit", "Check"), "inputArtifacts", json!([{ "name": "Code" }]));
        let mut declaration: Value = serde_json::from_str(&pipeline(&[check])).unwrap();
        declaration["pipelineType"] = json!("V2");
        let rule = json!({
            "name": "Ready", "ruleTypeId": { "category": "Rule", "owner": "AWS", "provider": "Commands", "version": "1" },
            "commands": [command], "inputArtifacts": [{ "name": "Code" }],
        });
        declaration["stages"][1]["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [rule] }] });
        home.write("pipeline.json", &declaration.to_string());
        home.run(&["run", "pipeline.json", "--source", "Source=code", "--grants", "grants.toml"])
    };
    run("test -f ready.txt").check(1, &["[Check/beforeEntry/Ready] succeeded", "[Check/Check] in progress"]);
    let error = "Error while executing command: test -f steady.txt. Reason: exit status 1";
    run("test -f steady.txt").check(1, &[error, "The entry condition of stage Check failed"]);
}

#[test]
fn a_program_that_a_build_does_not_find_is_told_with_the_mend() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    home.write("code/buildspec.yml", "version: 0.2\nphases: { build: { commands: [no-such-program] } }\n");
    let told = ["no-such-program: not found", "Install it for all users, or name an image that has it by --image"];
    home.run(&["build", "code", "--data", "data"]).check(1, &told);
}

#[test]
fn a_phase_that_fails() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let buildspec = "
version: 0.2
phases:
  build:
    commands: [echo one, 'sh -c \"exit 3\"', echo never]
    finally: [echo finally]
  post_build: {commands: ['echo after: $CODEBUILD_BUILD_SUCCEEDING']}
";
    let ended = run(&home, buildspec, &[], &[codebuild("Build", "Build", json!({}))], GRANTS);
    ended.check(
        1,
        &[
            "Build terminated with state: FAILED. Phase: BUILD, Code: COMMAND_EXECUTION_ERROR",
            "Reason: exit status 3",
            "finally",
            "after: 0",
        ],
    );
    let lines = ended.text.lines().filter(|line| line.ends_with("never")).count();
    assert_eq!(lines, 0, "{}", ended.text);
}

/// What is kept between commands, and what a command finds of the machine.
#[test]
fn what_a_command_finds() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let buildspec = r#"
version: 0.2
env: {shell: bash}
phases:
  install: {commands: [mkdir d, cd d, 'export A="x  y"', 'echo kept > ~/kept.txt', 'echo kept > "$TMPDIR/kept.txt"']}
  build:
    commands:
      - test "$(pwd)" = "$CODEBUILD_SRC_DIR/d"
      - test "$A" = "x  y"
      - test "$(cat ~/kept.txt "$TMPDIR/kept.txt")" = "$(printf 'kept\nkept')"
      - test "$CODEBUILD_INITIATOR" = codepipeline/test && [[ $CODEBUILD_BUILD_ID == app:* ]]
      - test ! -e /root && test ! -e /home
      - '! (echo > /dev/tcp/1.1.1.1/80) 2>/dev/null'
"#;
    run(&home, buildspec, &[], &[codebuild("Build", "Build", json!({}))], GRANTS).check(0, &["test succeeded"]);
}

#[test]
fn a_report_with_a_failed_case_fails_a_test_whose_commands_failed() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let buildspec = "
version: 0.2
phases: {build: {commands: ['exit $STATUS']}}
reports: {units: {files: [junit.xml]}}
";
    let report =
        "<testsuite name=\"sums\"><testcase name=\"adds\"><failure message=\"1 is not 2\"/></testcase></testsuite>";
    let of = |status: &str| {
        let variables = format!(r#"[{{"name":"STATUS","value":"{status}"}}]"#);
        codebuild("Test", "Build", json!({ "EnvironmentVariables": variables }))
    };
    let ended = run(&home, buildspec, &[("junit.xml", report)], &[of("1")], GRANTS);
    ended.check(1, &["1 of 1 cases failed", "1 is not 2"]);
    let ended = run(&home, buildspec, &[("junit.xml", report)], &[of("0")], GRANTS);
    ended.check(0, &["test succeeded", "Report units: 1 cases: 1 failed"]);
}

/// A project of the operator's directory, with a secret that no log shows.
#[test]
fn a_project_and_its_secret() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let token = home.write("token.txt", "not-a-real-token");
    fs::set_permissions(token, fs::Permissions::from_mode(0o600)).unwrap();
    home.write(
        "projects/app.json",
        r#"{"source": {"buildspec": "ci.yml"}, "environment": {"environmentVariables":
            [{"name": "TOKEN", "value": "token", "type": "SECRETS_MANAGER"}]}}"#,
    );
    let grants = "
[action.\"Build/Build\"]
commands = { level = \"toolchain\" }
directories.projects = { path = \"projects\", access = \"read\" }
secrets.token = { file = \"token.txt\", commands = true }
";
    let ci = "version: 0.2\nphases: {build: {commands: ['echo \"the token is $TOKEN\"', 'test ${#TOKEN} = 16']}}\n";
    let ended = run(&home, "", &[("ci.yml", ci)], &[codebuild("Build", "Build", json!({}))], grants);
    ended.check(0, &["test succeeded", "the token is "]);
    assert!(!ended.text.contains("not-a-real-token"), "{}", ended.text);
}

#[test]
fn what_is_not_granted_is_named() {
    let home = Home::new();
    let buildspec = "version: 0.2\nphases: {build: {commands: [make]}}\n";
    let ended = run(&home, buildspec, &[], &[codebuild("Build", "Build", json!({}))], "");
    ended.check(1, &["commands = { level = \"toolchain\" }"]);
}

/// Runs an example as it is written down. The one in Rust is run by a push.
fn example(name: &str) -> (Ended, PathBuf) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let home = Home::new();
    let file = |file: &str| format!("examples/{name}/{file}");
    let (pipeline, grants, source) = (file("pipeline.json"), file("grants.toml"), format!("Source=examples/{name}"));
    let mut command = home.command(&["run", &pipeline, "--source", &source, "--grants", &grants, "--approve"]);
    (Ended::new(command.current_dir(&root).output().unwrap()), root.join("target").join(name).join("current"))
}

#[test]
fn the_example_in_javascript() {
    if tools::find("bwrap").is_none() {
        return;
    }
    // Jobs see the system's own.
    let Some(_) = tools::find("node").filter(|node| node.starts_with("/usr")) else { return };
    let (ended, current) = example("node-site");
    ended.check(0, &["node-site succeeded"]);
    let page = fs::read_to_string(current.join("index.html")).unwrap();
    assert!(page.contains("<h1>Home</h1>"), "{page}");
}
