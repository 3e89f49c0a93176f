//! `pipewright run` as a person or a script uses it: what it prints, what it leaves behind, and how it ends.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::server::{Server, cache_home, share_compiled};
use crate::tools;

/// A home of its own for one test, with the compile cache that all tests share, which its data directory has, too.
pub(crate) struct Home(tempfile::TempDir);

impl Home {
    pub(crate) fn new() -> Self {
        let home = Self(tempfile::tempdir().unwrap());
        share_compiled(&home.path("data"));
        home
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Writes a file below the home.
    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env("HOME", self.0.path())
            .env("XDG_CACHE_HOME", cache_home())
            // Programs of actions see the system's own tools.
            .env_remove("RUSTUP_HOME")
            .env_remove("CARGO_HOME")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_CONFIG_HOME")
            .env_remove("PIPEWRIGHT_LOG")
            .stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(self.command(arguments).output().unwrap())
    }

    /// The same where no other program is installed.
    pub(crate) fn run_without_path(&self, arguments: &[&str]) -> Ended {
        Ended::new(self.command(arguments).env("PATH", "").output().unwrap())
    }
}

pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) text: String,
}

impl Ended {
    pub(crate) fn new(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        Self { code: output.status.code(), text }
    }

    /// Ended with this code and said all of these.
    #[track_caller]
    pub(crate) fn check(&self, code: i32, said: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{}", self.text);
        for text in said {
            assert!(self.text.contains(text), "{text:?} is missing in:\n{}", self.text);
        }
        self
    }
}

pub(crate) fn action(category: &str, owner: &str, provider: &str, name: &str) -> Value {
    json!({
        "name": name,
        "actionTypeId": { "category": category, "owner": owner, "provider": provider, "version": "1" },
    })
}

/// A pipeline with a source action `Source` that makes the artifact `Code`, and a stage for each further action.
pub(crate) fn pipeline(actions: &[Value]) -> String {
    let mut source = action("Source", "Custom", "Directory", "Source");
    source["outputArtifacts"] = json!([{ "name": "Code" }]);
    of_source(&source, actions)
}

/// The same with another source action.
fn of_source(source: &Value, actions: &[Value]) -> String {
    let mut stages = vec![json!({ "name": "Source", "actions": [source] })];
    for action in actions {
        stages.push(json!({ "name": action["name"], "actions": [action] }));
    }
    let declaration = json!({
        "name": "test",
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "artifactStore": { "type": "S3", "location": "artifacts" },
        "stages": stages,
    });
    declaration.to_string()
}

/// A pipeline that publishes the artifact `Code` of its source action into the granted directory `public`.
pub(crate) fn published(source: &Value) -> String {
    let mut deploy = action("Deploy", "Custom", "Directory", "Publish");
    deploy["configuration"] = json!({ "Directory": "public" });
    deploy["inputArtifacts"] = json!([{ "name": "Code" }]);
    of_source(source, &[deploy])
}

/// Builds a website of `Code`, checks it, and publishes it into the granted directory `public`.
fn site() -> String {
    let mut build = action("Build", "Custom", "Site", "Build");
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    build["outputArtifacts"] = json!([{ "name": "Website" }]);
    let mut test = action("Test", "Custom", "LinkCheck", "Check");
    test["inputArtifacts"] = json!([{ "name": "Website" }]);
    let mut deploy = action("Deploy", "Custom", "Directory", "Publish");
    deploy["inputArtifacts"] = json!([{ "name": "Website" }]);
    deploy["configuration"] = json!({ "Directory": "public" });
    pipeline(&[build, test, deploy])
}

const PUBLIC: &str = "[action.\"Publish/Publish\"]\ndirectories.public = { path = \"public\", access = \"write\" }\n";

#[test]
fn the_example_publishes_this_repository() {
    let _alone = tools::SITE.lock();
    let home = Home::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut command = home.command(&[
        "run",
        "examples/site/pipeline.json",
        "--source",
        "Source=.",
        "--grants",
        "examples/site/grants.toml",
        "--approve",
    ]);
    let current = root.join("target/site/current");
    let ended = Ended::new(command.current_dir(&root).output().unwrap());
    ended.check(0, &["site succeeded", &format!("Publish/Site published {}", current.display())]);
    let page = fs::read_to_string(current.join("index.html")).unwrap();
    assert!(page.contains("<title>"), "{page}");
    assert!(page.contains("href=\"ARCHITECTURE.html\""), "{page}");
}

#[test]
fn a_broken_link_fails_the_run() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n\nSee [the guide](guide.md) and\n[nothing](missing.md).\n");
    home.write("docs/guide.md", "# Guide\n\n[Back](README.md#title)\n");
    let file = home.write("pipeline.json", &site());
    let grants = home.write("grants.toml", PUBLIC);
    let (file, grants) = (file.to_str().unwrap(), grants.to_str().unwrap());
    let run = || home.run(&["run", file, "--source", "Source=docs", "--grants", grants]);
    run().check(1, &["README.md:4: missing.md: there is no such file", "test failed"]);
    assert!(!home.path("public/current").exists(), "nothing may be published");

    home.write("docs/missing.md", "# Not missing any more\n");
    run().check(0, &["test succeeded"]);
    assert!(home.path("public/current/missing.html").is_file());
}

/// One that passes, one that does not, and one that lacks a grant.
#[test]
fn rules_decide_whether_a_stage_is_entered() {
    let home = Home::new();
    home.write("docs/page.md", "# Page\n");
    let grants = home.write("grants.toml", PUBLIC);
    let mut source = action("Source", "Custom", "Directory", "Source");
    source["outputArtifacts"] = json!([{ "name": "Code" }]);
    let rule = |name: &str, provider: &str, configuration: Value| {
        let id = json!({ "category": "Rule", "owner": "AWS", "provider": provider, "version": "1" });
        json!({ "name": name, "ruleTypeId": id, "configuration": configuration })
    };
    let run = |branch: &str, rules: Value| {
        let mut declaration: Value = serde_json::from_str(&published(&source)).unwrap();
        declaration["pipelineType"] = json!("V2");
        declaration["variables"] = json!([{ "name": "Branch", "defaultValue": "main" }]);
        declaration["stages"][1]["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": rules }] });
        let file = home.write("pipeline.json", &declaration.to_string());
        let (file, grants, branch) = (file.to_str().unwrap(), grants.to_str().unwrap(), format!("Branch={branch}"));
        home.run(&["run", file, "--source", "Source=docs", "--grants", grants, "--var", &branch])
    };
    let branch = rule(
        "Branch",
        "VariableCheck",
        json!({ "Variable": "#{variables.Branch}", "Operator": "EQ", "Value": "main" }),
    );
    let not =
        ["Publish/beforeEntry/Branch failed: `test` is not `main`", "The entry condition of stage Publish failed"];
    run("test", json!([branch])).check(1, &not);
    assert!(!home.path("public/current").exists(), "nothing may be published");
    let health = rule("Health", "HttpCheck", json!({ "Url": "https://example.com/" }));
    run("main", json!([branch, health]))
        .check(1, &["[Publish/beforeEntry/Branch] succeeded", "http = [\"https://example.com\"]"]);
    run("main", json!([branch])).check(0, &["[Publish/beforeEntry/Branch] succeeded", "test succeeded"]);
    assert!(home.path("public/current").exists());
    let nobody = rule("Moon", "FullMoon", json!({}));
    run("main", json!([nobody]))
        .check(2, &["beforeEntry.conditions[0].rules[0].ruleTypeId: this host has no plugin for Rule/AWS/FullMoon/1"]);
}

/// Each deployment touches only its own, so two at one time leave both releases whole, and one of them live.
#[test]
fn two_pipelines_publish_into_one_directory_at_once() {
    const FILES: usize = 300;
    let home = Home::new();
    let grants = home.write("grants.toml", PUBLIC);
    fs::create_dir(home.path("public")).unwrap();
    let mut source = action("Source", "Custom", "Directory", "Source");
    source["outputArtifacts"] = json!([{ "name": "Code" }]);
    let names = ["one", "two"];
    let running = names.map(|name| {
        (0..FILES).for_each(|number| drop(home.write(&format!("{name}/{number}.txt"), name)));
        let mut declaration: Value = serde_json::from_str(&published(&source)).unwrap();
        declaration["name"] = json!(name);
        let file = home.write(&format!("{name}.json"), &declaration.to_string());
        let (file, from, data) = (file.display().to_string(), format!("Source={name}"), format!("data-{name}"));
        share_compiled(&home.path(&data));
        let grants = grants.to_str().unwrap();
        let mut run = home.command(&["run", &file, "--source", &from, "--grants", grants, "--data", &data]);
        run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    });
    for (name, running) in names.iter().zip(running) {
        Ended::new(running.wait_with_output().unwrap()).check(0, &[&format!("{name} succeeded")]);
    }
    // What a release has, which is all of one pipeline's.
    let whole = |release: PathBuf| {
        let files = fs::read_dir(release).unwrap().map(|file| fs::read_to_string(file.unwrap().path()).unwrap());
        let files: Vec<String> = files.collect();
        assert!(files.len() == FILES && files.iter().all(|text| *text == files[0]), "{} files", files.len());
        files[0].clone()
    };
    let releases = fs::read_dir(home.path("public/releases")).unwrap().map(|release| whole(release.unwrap().path()));
    let mut releases: Vec<String> = releases.collect();
    releases.sort();
    assert_eq!(releases, names);
    assert!(names.contains(&&*whole(home.path("public/current"))));
}

#[test]
fn what_is_wrong_before_the_start_is_all_told() {
    let check = |pipeline: &str, arguments: &[&str], said: &[&str]| {
        let home = Home::new();
        home.write("docs/README.md", "# Title\n");
        home.write("no-component.wasm", "hello");
        home.write("module.wasm", "\0asm\u{1}\0\0\0");
        home.write("bad.toml", "[action.\"Publish/Publish\"]\nfiles = true\n");
        home.write("other.toml", "[action.\"Publish/Other\"]\nclock = true\n");
        let file = home.write("pipeline.json", pipeline);
        let arguments = [&["run", file.to_str().unwrap()], arguments].concat();
        home.run(&arguments).check(2, said);
        assert!(!home.path(".local/share/pipewright").exists(), "{arguments:?} left state behind");
    };
    let site = site();
    let source = ["--source", "Source=docs"];
    let with = |more: &[&'static str]| [&source[..], more].concat();
    check("{", &source, &["not JSON"]);
    check("[]", &source, &["not a valid pipeline"]);
    check(
        &site.replace("\"Deploy\"", "\"Deliver\"").replace("\"Website\"", "\"Web site\""),
        &source,
        &[
            "stages[3].actions[0].actionTypeId.category",
            "stages[1].actions[0].outputArtifacts[0].name",
            "ValidationException",
        ],
    );
    check(&site, &["--source", "Sauce=docs"], &["the source actions are: Source"]);
    check(&site, &["--source", "Source=nowhere"], &["--source Source=nowhere"]);
    check(&site, &["--source", "docs"], &["ACTION=DIR"]);
    check(&site, &with(&["--var", "x"]), &["NAME=VALUE"]);
    check(&site, &with(&["--grants", "nowhere.toml"]), &["nowhere.toml"]);
    check(&site, &with(&["--grants", "bad.toml"]), &["bad.toml", "files"]);
    check(&site, &with(&["--grants", "other.toml"]), &["Publish/Other"]);
    check(&site, &with(&["--plugin", "nowhere.wasm"]), &["nowhere.wasm"]);
    check(&site, &with(&["--plugin", "no-component.wasm"]), &["no-component.wasm", "not a WebAssembly component"]);
    check(&site, &with(&["--plugin", "module.wasm"]), &["module.wasm", "module"]);
    let mut build = action("Build", "AWS", "CodeBuild", "Build");
    build["configuration"] = json!({ "ProjectName": "p" });
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    let mut unserved = action("Deploy", "AWS", "ECS", "Deploy");
    unserved["configuration"] = json!({ "ClusterName": "c", "ServiceName": "s" });
    unserved["inputArtifacts"] = build["inputArtifacts"].clone();
    check(&pipeline(&[unserved]), &source, &["no plugin serves", "Deploy/AWS/ECS/1"]);
    build["inputArtefacts"] = build["inputArtifacts"].take();
    let misspelled = ["inputArtefacts: no member", "perhaps `inputArtifacts` is meant", "declares 0 input artifacts"];
    check(&pipeline(&[build]), &source, &misspelled);
    check(&site, &with(&["--var", "Version=1"]), &["--var Version: test declares no such variable; it has none"]);
    let approval = pipeline(&[action("Approval", "AWS", "Manual", "Gate")]);
    check(&approval, &source, &["Gate/Gate", "--approve"]);
}

#[test]
fn bad_usage_ends_with_2() {
    let home = Home::new();
    home.run(&["run"]).check(2, &["Usage"]);
    home.run(&["fly"]).check(2, &["unrecognized"]);
    home.run(&["run", "nowhere.json"]).check(2, &["nowhere.json"]);
    home.run(&["artifacts", "check", "--data", "nowhere"]).check(2, &["nowhere"]);
    home.run(&["--help"]).check(0, &["Exit codes: 0 succeeded"]);
}

#[test]
fn without_a_grant_the_denial_names_it() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n");
    let file = home.write("pipeline.json", &site());
    // A proposal beside the pipeline does not count where nobody can be asked.
    home.write("grants.toml", PUBLIC);
    let ended = home.run(&["run", file.to_str().unwrap(), "--source", "Source=docs"]);
    ended.check(1, &["is a proposal", "directories.public = {", "access = \"write\"", "Publish/Publish"]);
    assert!(!home.path("public").exists());
}

#[test]
fn machines_read_json_lines() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n");
    let file = home.write("pipeline.json", &pipeline(&[action("Approval", "AWS", "Manual", "Gate")]));
    let output =
        home.command(&["run", file.to_str().unwrap(), "--source", "Source=docs", "--approve", "--json"]).output();
    let ended = Ended::new(output.unwrap());
    ended.check(0, &[]);
    let lines: Vec<Value> = ended.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let find = |kind: &str| lines.iter().rfind(|line| line["type"] == kind).unwrap();
    assert_eq!(find("execution")["status"], "Succeeded");
    assert_eq!(find("stage"), &json!({ "type": "stage", "stage": "Gate", "status": "Succeeded" }));
    assert_eq!(find("action")["action"], "Gate");
}

/// The data directory with everything that a run left, and the artifacts' check.
#[test]
fn a_flipped_byte_in_an_artifact_is_found() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n");
    let file = home.write("pipeline.json", &pipeline(&[action("Approval", "AWS", "Manual", "Gate")]));
    home.run(&["run", file.to_str().unwrap(), "--source", "Source=docs", "--approve", "--data", "data"]).check(0, &[]);
    home.run(&["artifacts", "check", "--data", "data"]).check(0, &["1 artifacts, 1 files, 8 bytes"]);

    let blob = walk(&home.path("data/artifacts/blobs")).pop().unwrap();
    let mut permissions = fs::metadata(&blob).unwrap().permissions();
    #[expect(clippy::permissions_set_readonly_false, reason = "a test's own file")]
    permissions.set_readonly(false);
    fs::set_permissions(&blob, permissions).unwrap();
    fs::write(&blob, "# Tidle\n").unwrap();
    home.run(&["artifacts", "check", "--data", "data"]).check(1, &["is damaged"]);
}

fn walk(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { walk(&path) } else { vec![path] }).collect()
}

/// A plugin in another language against the same interface: log, artifacts, a denied request, and waiting.
#[test]
fn a_python_plugin_runs_in_a_pipeline() {
    let Some(componentize) = tools::find("componentize-py") else { return };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let component = Path::new(env!("CARGO_TARGET_TMPDIR")).join("words.wasm");
    let built = Command::new(componentize)
        .current_dir(root.join("tests/guests/python-build"))
        .args(["-d", "../../../wit", "-w", "build-plugin", "componentize", "plugin", "-o"])
        .arg(&component)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));

    let home = Home::new();
    home.write("docs/a.txt", "one two three\n");
    home.write("docs/more/b.txt", "four\n");
    let mut words = action("Build", "Custom", "Words", "Words");
    words["configuration"] = json!({ "Url": "https://example.com/x", "Pause": "1000" });
    words["inputArtifacts"] = json!([{ "name": "Code" }]);
    words["outputArtifacts"] = json!([{ "name": "Counts" }]);
    let file = home.write("pipeline.json", &pipeline(&[words]));
    let plugin = component.to_str().unwrap();
    let ended = home.run(&["run", file.to_str().unwrap(), "--source", "Source=docs", "--plugin", plugin]);
    let denial = "tests/words (action Words/Words) tried GET https://example.com/x, which it was not granted";
    ended.check(
        0,
        &["waiting: pausing", "woken with b'paused once'", denial, "http = [\"https://example.com\"]", "4 words"],
    );
}

/// Ctrl-C stops what runs, and another run goes on as if nothing had been.
#[test]
fn ctrl_c_stops_and_the_next_run_starts_anew() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n");
    let mut sleep = action("Invoke", "Custom", "Deed", "Sleep");
    sleep["configuration"] = json!({ "Deed": "sleep", "Amount": "600000" });
    let file = home.write("pipeline.json", &pipeline(&[sleep]));
    let plugin = home.path("deeds.wasm");
    fs::write(&plugin, pipewright_guests::get("deeds")).unwrap();
    let arguments = ["run", file.to_str().unwrap(), "--source", "Source=docs", "--plugin", plugin.to_str().unwrap()];
    for signal in [rustix::process::Signal::INT, rustix::process::Signal::KILL, rustix::process::Signal::INT] {
        let mut child = home.command(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        for line in lines.by_ref() {
            let line = line.unwrap();
            said.push_str(&line);
            if line.contains("[Sleep/Sleep] in progress") {
                break;
            }
        }
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, signal).unwrap();
        let rest: Vec<String> = lines.map(Result::unwrap).collect();
        let status = child.wait().unwrap();
        if signal == rustix::process::Signal::INT {
            assert_eq!(status.code(), Some(130), "{said}\n{rest:?}");
            assert!(rest.iter().any(|line| line.contains("test stopped")), "{rest:?}");
        }
    }
}

/// By what its type says of it, before the plugin is called.
#[test]
fn a_value_is_judged_when_its_variables_are_resolved() {
    let home = Home::new();
    home.write("docs/README.md", "# Title\n");
    fs::write(home.path("deeds.wasm"), pipewright_guests::get("deeds")).unwrap();
    let mut sleep = action("Invoke", "Custom", "Deed", "Sleep");
    sleep["configuration"] = json!({ "Deed": "sleep", "Amount": "#{variables.Amount}" });
    let mut declaration: Value = serde_json::from_str(&pipeline(&[sleep])).unwrap();
    (declaration["pipelineType"], declaration["variables"]) = (json!("V2"), json!([{ "name": "Amount" }]));
    home.write("pipeline.json", &declaration.to_string());
    let run = |amount: &str| {
        let amount = format!("Amount={amount}");
        home.run(&["run", "pipeline.json", "--source", "Source=docs", "--plugin", "deeds.wasm", "--var", &amount])
    };
    run("1").check(0, &["test succeeded"]);
    let misfit = "configuration.Amount: the type does not take the value that came of the variables: write a number";
    run("soon").check(1, &["Sleep/Sleep: ", misfit]);
}

/// Each call of an action that waits again and again would have a second of its own.
#[test]
fn the_calls_of_an_action_share_its_cpu_time() {
    let home = Home::new();
    home.write("source/a.md", "");
    home.write(
        "grants.toml",
        "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n",
    );
    let limits = "[limits]\ncpu_seconds_max = 1\n";
    home.write("serve.toml", &format!("plugins = \"plugins\"\n\n[grants]\ntest = \"grants.toml\"\n\n{limits}"));
    fs::create_dir(home.path("plugins")).unwrap();
    fs::write(home.path("plugins/deeds.wasm"), pipewright_guests::get("deeds")).unwrap();
    let mut compute = action("Invoke", "Custom", "Deed", "Compute");
    compute["configuration"] = json!({ "Deed": "compute and wait", "Amount": "400" });
    let mut declaration: Value = serde_json::from_str(&pipeline(&[compute])).unwrap();
    declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "source" });
    home.write("test.json", &json!({ "pipeline": declaration }).to_string());
    let _server = Server::start(&home.path(""));
    home.run(&["create", "test.json", "--data", "data"]).check(0, &[]);
    home.run(&["logs", "test", "--follow", "--data", "data"]).check(0, &[]);
    home.run(&["status", "test", "--data", "data"]).check(0, &["cpu_seconds_max"]);
}
