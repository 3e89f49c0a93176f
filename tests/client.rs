//! The command line as the client of a real server: every command, as a person or a script uses it.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::Duration;

use pipewright_store::DirectoryLock;
use serde_json::{Value, json};

use crate::server::share_compiled;

/// A server over a data directory of its own, with a folder to run commands in.
pub struct Site {
    home: tempfile::TempDir,
    server: Child,
    /// Open as long as the server runs: it must be able to print.
    _said: BufReader<ChildStdout>,
}

impl Site {
    /// Without a pipeline yet; `site` and `slow` may read the folder `source`.
    pub fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(home.path().join(name), text).unwrap();
        fs::create_dir_all(home.path().join("source/bin")).unwrap();
        write("source/README.md", "# Read me\n");
        write("source/bin/run", "#!/bin/sh\n");
        fs::set_permissions(home.path().join("source/bin/run"), fs::Permissions::from_mode(0o755)).unwrap();
        symlink("../README.md", home.path().join("source/bin/link")).unwrap();
        write(
            "grants.toml",
            "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n",
        );
        write("config.toml", "plugins = \"plugins\"\n\n[grants]\nsite = \"grants.toml\"\nslow = \"grants.toml\"\n");
        fs::create_dir(home.path().join("plugins")).unwrap();
        for guest in ["steps", "deeds"] {
            fs::write(home.path().join(format!("plugins/{guest}.wasm")), pipewright_guests::get(guest)).unwrap();
        }
        let (server, said) = serve(home.path(), "127.0.0.1:0");
        Self { home, server, _said: said }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(self.home.path());
        command.args(arguments).args(["--data", "data"]);
        command
    }

    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::new(self.command(arguments).output().unwrap())
    }

    /// The JSON that a command prints.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        let ended = self.run(&[arguments, &["--json"]].concat());
        assert_eq!(ended.code, Some(0), "{ended:?}");
        serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.out))
    }

    pub fn create(&self, name: &str, stages: &[Value]) -> Ended {
        let mut source = action("Source", "Custom", "Directory", "Source", json!({ "Directory": "source" }));
        source["outputArtifacts"] = json!([{ "name": "Code" }]);
        let first = json!({ "name": "Source", "actions": [source] });
        let stages = [&[first], stages].concat();
        let document = json!({ "pipeline": {
            "name": name,
            "roleArn": "arn:aws:iam::000000000000:role/test",
            "artifactStore": { "type": "S3", "location": "artifacts" },
            "pipelineType": "V2",
            "variables": [{ "name": "Script", "defaultValue": "read inputs/Code/README.md" }],
            "stages": stages,
        }});
        fs::write(self.path(&format!("{name}.json")), document.to_string()).unwrap();
        self.run(&["create", &format!("{name}.json")])
    }

    /// Dies without a word, and is there again at the same address.
    pub fn kill_and_serve(&mut self) {
        let address = fs::read_to_string(self.path("data/endpoint")).unwrap();
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        self.serve(&address);
    }

    /// Stops in an orderly way, and is there again at the same address once `meanwhile` is done.
    pub fn stop_and_serve(&mut self, meanwhile: impl FnOnce(&Self)) {
        let address = fs::read_to_string(self.path("data/endpoint")).unwrap();
        let id = rustix::process::Pid::from_raw(self.server.id().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        assert!(self.server.wait().unwrap().success());
        meanwhile(self);
        self.serve(&address);
    }

    fn serve(&mut self, address: &str) {
        (self.server, self._said) = serve(self.home.path(), address.trim().strip_prefix("http://").unwrap());
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The program, with nothing of this machine's own AWS settings.
pub fn program(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("AWS_") || name == "PIPEWRIGHT_LOG" {
            command.env_remove(name);
        }
    }
    command.current_dir(home).env("HOME", home).env_remove("XDG_DATA_HOME").stdin(Stdio::null());
    command
}

fn serve(home: &Path, listen: &str) -> (Child, BufReader<ChildStdout>) {
    share_compiled(&home.join("data"));
    let mut server = program(home)
        .args(["serve", "--data", "data", "--config", "config.toml", "--listen", listen])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    let mut said = BufReader::new(server.stdout.take().unwrap());
    said.read_line(&mut ready).unwrap();
    assert!(ready.contains("ready"), "{ready}");
    (server, said)
}

#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

impl Ended {
    pub fn new(output: Output) -> Self {
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Self { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
    }

    /// Ended with this code and said all of these.
    #[track_caller]
    pub fn check(&self, code: i32, said: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:?}");
        for text in said {
            assert!(self.out.contains(text) || self.error.contains(text), "{text:?} is missing in: {self:?}");
        }
        self
    }
}

fn action(category: &str, owner: &str, provider: &str, name: &str, configuration: Value) -> Value {
    json!({
        "name": name,
        "actionTypeId": { "category": category, "owner": owner, "provider": provider, "version": "1" },
        "configuration": configuration,
    })
}

/// A stage that runs the script in the pipeline's variable.
pub fn make() -> Value {
    let mut steps = action("Invoke", "Custom", "Steps", "Steps", json!({ "Script": "#{variables.Script}" }));
    steps["inputArtifacts"] = json!([{ "name": "Code" }]);
    json!({ "name": "Make", "actions": [steps] })
}

pub fn gate(names: &[&str]) -> Value {
    let ask = |name: &&str| action("Approval", "AWS", "Manual", name, json!({ "CustomData": "Really?" }));
    json!({ "name": "Gate", "actions": names.iter().map(ask).collect::<Vec<_>>() })
}

const FAILING: &str = "Script=read inputs/Code/missing.md";

#[test]
fn an_execution_from_its_creation_to_its_artifacts() {
    let site = Site::new();
    site.run(&["pipelines"]).check(0, &[]);
    site.create("site", &[make()]).check(0, &["site is created", "pipewright status site --data data"]);
    site.run(&["pipelines"]).check(0, &["site\t1\tV2\tSUPERSEDED\t20"]);
    assert_eq!(site.json(&["pipelines"])["pipelines"][0]["name"], "site");
    site.create("site", &[make()]).check(2, &["PipelineNameInUseException"]);

    // Its first execution may still run.
    site.run(&["logs", "site", "--follow"]).check(0, &["[Make/Steps] read inputs/Code/README.md: # Read me"]);
    site.run(&["status", "site"]).check(0, &["Make/Steps\tSucceeded\t20"]);
    let followed = site.run(&["start", "site", "--follow"]);
    followed.check(0, &["Source: succeeded", "[Make/Steps] read inputs/Code/README.md: # Read me", "site succeeded"]);
    let (said, done) = (followed.out.find("# Read me").unwrap(), followed.out.find("[Make/Steps] succeeded").unwrap());
    assert!(said < done, "an action's words come before its end: {}", followed.out);

    let executions = site.json(&["history", "site"]);
    let executions = executions["pipelineExecutionSummaries"].as_array().unwrap();
    assert_eq!(executions.len(), 2);
    let (newest, first) = (&executions[0], executions[1]["pipelineExecutionId"].as_str().unwrap());
    assert_eq!(newest["status"], "Succeeded");
    site.run(&["history", "site", "--limit", "1"]).check(0, &[newest["pipelineExecutionId"].as_str().unwrap()]);
    assert_eq!(site.run(&["history", "site", "--limit", "1"]).out.lines().count(), 1);
    let actions = site.run(&["history", "site", "--actions", "--execution", first]);
    assert_eq!(actions.check(0, &["Make/Steps\tSucceeded"]).out.lines().count(), 2, "{actions:?}");

    let log = site.run(&["logs", "site", "Steps", "--execution", first, "--json"]);
    let log: Value = serde_json::from_str(log.check(0, &[]).out.lines().next().unwrap()).unwrap();
    assert_eq!((&log["stageName"], &log["level"]), (&json!("Make"), &json!("Info")), "{log}");
    site.run(&["logs", "site", "Make/Other"]).check(2, &["Make/Other did not run", "these have: Make/Steps, "]);

    site.run(&["artifacts", "get", "site", "Code"]).check(0, &["Code: "]);
    assert_eq!(fs::read_to_string(site.path("Code/bin/link")).unwrap(), "# Read me\n");
    assert_eq!(fs::read_link(site.path("Code/bin/link")).unwrap(), Path::new("../README.md"));
    let mode = |name: &str| fs::metadata(site.path(name)).unwrap().permissions().mode() & 0o111;
    assert_eq!((mode("Code/bin/run"), mode("Code/README.md")), (0o111, 0));
    site.run(&["artifacts", "get", "site", "Code"]).check(2, &["Code is not an empty folder"]);
    site.run(&["artifacts", "get", "site", "Code", "-o", "code.zip", "--execution", first]).check(0, &["code.zip: "]);
    assert!(fs::read(site.path("code.zip")).unwrap().starts_with(b"PK"));
    site.run(&["artifacts", "get", "site", "Other"]).check(2, &["no artifact Other; there are: Code"]);
}

#[test]
fn approvals_are_found_and_answered() {
    let site = Site::new();
    site.create("site", &[gate(&["Legal", "Press"])]).check(0, &[]);
    // What waits says so in the events only by having started.
    site.run(&["logs", "site", "Source", "--follow"]).check(0, &[]);
    wait_until(|| site.run(&["status", "site"]).out.matches("waits for approval\t").count() == 2);
    let status = site.run(&["status", "site"]);
    status.check(0, &["Gate/Legal waits for approval", "pipewright reject site Gate/Press --data data"]);
    let tokens = site.json(&["status", "site"]);
    let shown = &tokens["stageStates"][1]["actionStates"][0]["latestExecution"]["token"];
    assert_eq!(*shown, json!("hidden"));

    site.run(&["approve", "site"]).check(2, &["several approvals of site wait", "Gate/Legal", "Gate/Press"]);
    site.run(&["approve", "site", "Gate/Other"]).check(2, &["this approval does not wait", "Gate/Legal"]);
    site.run(&["approve", "site", "Gate/Legal", "--summary", "fine"]).check(0, &["Gate/Legal of ", "is approved"]);
    let answer = site.json(&["reject", "site"]);
    assert!(answer["approvedAt"].is_number(), "{answer}");
    site.run(&["approve", "site"]).check(2, &["no approval of site waits"]);
    wait_until(|| site.run(&["history", "site"]).out.contains("\tFailed\t"));
    site.run(&["status", "site"]).check(
        0,
        &[
            "\tapproved by administrator: fine",
            "\trejected by administrator",
            "Gate/Press failed.",
            "pipewright retry site Gate --data data",
        ],
    );
    site.run(&["history", "site", "--actions"])
        .check(0, &["\tapproved by administrator: fine", "\trejected by administrator"]);
    // The rest of an execution that waits is not waited for.
    let left = site.run(&["start", "site", "--follow", "--timeout", "0"]);
    left.check(124, &["The execution goes on. To stop it: pipewright stop site "]);
}

/// What runs goes on, and is followed on, over the death of the server.
#[test]
fn following_outlives_the_server() {
    let mut site = Site::new();
    site.create("site", &[gate(&["Ask"])]).check(0, &[]);
    wait_until(|| site.run(&["reject", "site"]).code == Some(0));
    wait_until(|| site.run(&["history", "site"]).out.contains("\tFailed\t"));

    let mut follower = site.command(&["start", "site", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(follower.stdout.take().unwrap()).lines();
    let waits = lines.by_ref().map(Result::unwrap).find(|line| line.contains("[Gate/Ask] waiting"));
    assert!(waits.is_some_and(|line| line.contains("pipewright approve site Gate/Ask --data data")));
    site.kill_and_serve();
    // What was begun and had not answered yet begins anew before it waits.
    wait_until(|| site.run(&["approve", "site"]).code == Some(0));
    let rest: Vec<String> = lines.map(Result::unwrap).collect();
    assert_eq!(follower.wait().unwrap().code(), Some(0), "{rest:?}");
    assert_eq!(rest.last().map(String::as_str), Some("site succeeded"), "{rest:?}");
    assert_eq!(rest.iter().filter(|line| line.contains("[Gate/Ask] succeeded")).count(), 1, "{rest:?}");
}

#[test]
fn a_failure_is_told_and_tried_again() {
    let site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    let failed = site.run(&["start", "site", "--var", FAILING, "--follow"]);
    failed.check(1, &["[Make/Steps] failed", "Make/Steps failed: ", "site failed"]);
    site.run(&["status", "site"]).check(0, &["Make/Steps\tFailed", "Make/Steps failed.", "pipewright retry site Make"]);
    site.run(&["retry", "site", "Other"]).check(2, &["site has no stage Other"]);
    site.run(&["retry", "site"]).check(0, &["Make of ", "runs again"]);
    site.run(&["logs", "site", "--follow"]).check(0, &[]);
    wait_until(|| site.run(&["history", "site", "--actions"]).out.matches("Make/Steps\tFailed").count() == 2);

    // As JSON: the start's output, then each event, the last of them the end.
    let ended = site.run(&["start", "site", "--var", FAILING, "--follow", "--json"]);
    let lines: Vec<Value> = ended.check(1, &[]).out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let execution = &lines[0]["pipelineExecutionId"];
    assert!(lines[1..].iter().all(|event| event["detail"]["execution-id"] == *execution));
    assert_eq!(lines.last().unwrap()["detail"]["state"], "FAILED");
    // Each says why: who started it by which request, and then the actions by themselves.
    let (first, last) = (&lines[1]["detail"]["cause"], &lines.last().unwrap()["detail"]["cause"]);
    assert_eq!((&first["by"], &first["from"]), (&json!("arn:aws:iam::000000000000:user/administrator"), &json!("api")));
    assert!(first["request"].as_str().is_some_and(|request| request.len() == 36), "{first}");
    assert_eq!(*last, json!({ "by": "pipewright:action", "from": "action" }));
    site.run(&["start", "site", "--var", "Script"]).check(2, &["write it as NAME=VALUE"]);
}

/// What a rule says is read like what an action says, and a person can let the execution go on.
#[test]
fn a_condition_is_shown_with_its_rules_and_overridden() {
    let site = Site::new();
    let rule = |name: &str, provider: &str, configuration: Value| {
        let id = json!({ "category": "Rule", "owner": "AWS", "provider": provider, "version": "1" });
        json!({ "name": name, "ruleTypeId": id, "configuration": configuration })
    };
    let script = json!({ "Variable": "#{variables.Script}", "Operator": "CONTAINS", "Value": "missing" });
    // Nothing listens there.
    let health = rule("Health", "HttpCheck", json!({ "Url": "http://127.0.0.1:1/" }));
    let rules = json!([rule("Script", "VariableCheck", script), health]);
    let mut make = make();
    make["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": rules }] });
    let granted =
        "\n[action.\"Make/beforeEntry/Health\"]\nhttp = [{ origin = \"http://127.0.0.1:1\", private = true }]\n";
    let grants = fs::read_to_string(site.path("grants.toml")).unwrap();
    fs::write(site.path("grants.toml"), grants + granted).unwrap();
    site.create("site", &[make]).check(0, &[]);
    let followed = site.run(&["start", "site", "--follow"]);
    followed.check(1, &["[Make/beforeEntry/Health] failed: ", "[Make/beforeEntry/Script] failed: ", "site failed"]);
    let status = site.run(&["status", "site"]);
    status.check(
        0,
        &["Make/beforeEntry\tFailed\t20", "Make/beforeEntry/Script\tFailed\t20", "does not contain `missing`"],
    );
    status.check(0, &["Make/Steps\tnot started", "Make/beforeEntry did not pass.", "pipewright override site Make"]);
    let history = site.run(&["history", "site", "--actions"]);
    history.check(0, &["\tMake/beforeEntry/Script\tFailed\t20", "\tSource/Source\tSucceeded\t20"]);
    let log = site.run(&["logs", "site", "Make/beforeEntry/Health"]);
    log.check(0, &["[Make/beforeEntry/Health] the request to http://127.0.0.1:1/ failed"]);
    let file = site.path("grants.toml").to_str().unwrap().to_owned();
    site.run(&["grants", "suggest", "site", "--grants", &file]).check(0, &["[action.\"Make/beforeEntry/Health\"]"]);
    site.run(&["override", "site", "Make"]).check(0, &["its condition BEFORE_ENTRY is overridden"]);
    wait_until(|| site.run(&["status", "site"]).out.contains("Make/Steps\tSucceeded"));
    site.run(&["status", "site"]).check(0, &["Make/beforeEntry\tOverridden"]);
}

#[test]
fn a_stage_goes_back_to_an_execution_that_succeeded_there() {
    let site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);
    let newest = || site.json(&["history", "site"])["pipelineExecutionSummaries"][0].clone();
    let good = newest()["pipelineExecutionId"].as_str().unwrap().to_owned();
    site.run(&["start", "site", "--var", FAILING, "--follow"]).check(1, &["site failed"]);
    site.run(&["rollback", "site", "Make"]).check(2, &["--to <ID>"]);
    site.run(&["rollback", "site", "Make", "--to", "nope"])
        .check(2, &["--to nope: that is no execution's id", "history site"]);
    site.run(&["rollback", "site", "Source", "--to", &good]).check(2, &["a source stage is not rolled back"]);
    site.run(&["rollback", "site", "Make", "--to", &good])
        .check(0, &[&format!("Make goes back to {good}, as execution ")]);
    assert_eq!(newest()["rollbackMetadata"], json!({ "rollbackTargetPipelineExecutionId": good }));
    wait_until(|| newest()["status"] == "Succeeded");
    let found = format!("execution {good} has no reports");
    site.run(&["tests", "site"]).check(0, &[&format!("went back to {good}, whose reports these are"), &found]);

    // Nothing is held here that could be overridden.
    site.run(&["override", "site", "Other"]).check(2, &["site has no stage Other"]);
    site.run(&["override", "site", "Make"]).check(2, &["shows no condition of Make that holds", "--condition"]);
    let named = ["override", "site", "Make", "--condition", "on-success"];
    site.run(&named).check(2, &["it has no condition of this type"]);
}

/// A retry keeps the grants of the start: what lacked one is to be started anew, and it is said where the grant belongs.
#[test]
fn what_lacks_a_grant_is_started_anew() {
    let site = Site::new();
    let granted = fs::read_to_string(site.path("grants.toml")).unwrap();
    fs::write(site.path("grants.toml"), "").unwrap();
    site.create("site", &[make()]).check(0, &[]);
    wait_until(|| site.run(&["history", "site"]).out.contains("\tFailed\t"));
    let status = site.run(&["status", "site"]);
    status.check(0, &["Source/Source failed for lack of a grant", "pipewright start site --data data"]);
    assert!(!status.out.contains("pipewright retry"), "{status:?}");
    let state = site.json(&["status", "site"]);
    let error = &state["stageStates"][0]["actionStates"][0]["latestExecution"]["errorDetails"];
    let remedy = format!("Once {} grants it, start a new execution", site.path("grants.toml").display());
    assert!(error["code"] == "PermissionError" && error["message"].as_str().unwrap().contains(&remedy), "{error}");
    fs::write(site.path("grants.toml"), granted).unwrap();
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);
}

/// A type of AWS's own can be declared without a plugin: whoever makes, starts or looks at the pipeline is told, and it fails.
#[test]
fn what_no_plugin_serves_is_told_and_fails() {
    let site = Site::new();
    let mut ship = action("Deploy", "AWS", "ECS", "Ship", json!({ "ClusterName": "c", "ServiceName": "s" }));
    ship["inputArtifacts"] = json!([{ "name": "Code" }]);
    let stage = |provider: &str| {
        let id = json!({ "category": "Rule", "owner": "AWS", "provider": provider, "version": "1" });
        let rule = json!({ "name": "Ask", "ruleTypeId": id, "configuration": { "FunctionName": "ask" } });
        let conditions = json!([{ "result": "FAIL", "rules": [rule] }]);
        json!({ "name": "Ship", "actions": [ship], "onFailure": { "conditions": conditions } })
    };
    site.create("site", &[stage("FullMoon")]).check(2, &["in rule 'Ask' is not available in region us-east-1"]);
    let told = [
        "Ship/Ship fails when it is due: this host has no plugin for",
        "Ship/onFailure/Ask fails when it is due: functions do Rule/AWS/LambdaInvoke/1, and there is none: `[functions.NAME]`",
    ];
    site.create("site", &[stage("LambdaInvoke")]).check(0, &told).check(0, &["site is created"]);
    site.run(&["start", "site", "--follow"])
        .check(1, &told)
        .check(1, &["Ship/Ship failed: this host has no plugin for"]);
    site.run(&["status", "site"]).check(0, &told);
    let condition = &site.json(&["status", "site"])["stageStates"][1]["onFailureConditionState"];
    assert_eq!(condition["latestExecution"]["status"], "Errored");
}

/// What would be taken and mean nothing is refused by its name.
#[test]
fn what_means_nothing_is_refused() {
    let site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    site.run(&["start", "site", "--var", "Scirpt=x"])
        .check(2, &["--var Scirpt: site declares no such variable", "Script"]);
    site.run(&["start", "site", "--revision", "Source=abc", "--follow"]).check(1, &["and abc was asked for"]);
    let mut document: Value = serde_json::from_slice(&fs::read(site.path("site.json")).unwrap()).unwrap();
    document["pipeline"]["exectionMode"] = json!("QUEUED");
    fs::write(site.path("wrong.json"), document.to_string()).unwrap();
    let meant = "pipeline.exectionMode: no member of this name means anything here: perhaps `executionMode` is meant";
    for command in [&["create", "wrong.json"][..], &["create", "wrong.json", "--update"], &["run", "wrong.json"]] {
        site.run(command).check(2, &["wrong.json is not a valid pipeline", meant]);
    }
    // All that the server finds is told, as a run tells it.
    document["pipeline"].as_object_mut().unwrap().remove("exectionMode");
    document["pipeline"]["stages"][1]["actions"][0]["configuration"]["Scirpt"] = json!("x");
    document["pipeline"]["stages"][1]["actions"][0]["namespace"] = json!("variables");
    fs::write(site.path("wrong.json"), document.to_string()).unwrap();
    site.run(&["create", "wrong.json", "--update"])
        .check(2, &["pipeline.stages[1].actions[0].configuration", "pipeline.stages[1].actions[0].namespace"]);
    let account = ["plugin", "list", "--account", "111111111111"];
    site.run(&account).check(2, &["--account 111111111111", "has no such account"]);
}

#[test]
fn an_update_says_what_it_cancels() {
    let site = Site::new();
    site.create("site", &[gate(&["Ask"])]).check(0, &[]);
    let history = site.json(&["history", "site"]);
    let id = history["pipelineExecutionSummaries"][0]["pipelineExecutionId"].as_str().unwrap();
    let before = format!("The update cancels what runs or waits in site: {id}");
    let after = format!("Cancelled: {id}. To run the new version:\n  pipewright start site --data data");
    site.run(&["create", "site.json", "--update"]).check(0, &[&before, &after, "site is updated to version 2"]);
    site.run(&["create", "site.json", "--update"]).check(0, &["site is updated to version 3"]);
}

/// A folder, a port and a lock are told as what whoever starts a server can mend.
#[test]
fn a_server_that_cannot_start_says_what_is_in_its_way() {
    let site = Site::new();
    let serve = |data: &str, listen: &str| {
        let arguments = ["serve", "--data", data, "--config", "config.toml", "--listen", listen];
        Ended::new(program(site.home.path()).args(arguments).output().unwrap())
    };
    fs::write(site.path("file"), "").unwrap();
    serve("file", "127.0.0.1:0").check(2, &["pipewright: the data directory ", "file"]);
    let endpoint = fs::read_to_string(site.path("data/endpoint")).unwrap();
    let address = endpoint.trim().strip_prefix("http://").unwrap();
    serve("other", address).check(2, &[&format!("cannot listen on {address}"), "--listen"]);
    assert!(!site.path("other/store").exists(), "nothing was begun");
    serve("data", "127.0.0.1:0").check(2, &["is in use by another process"]);

    let asked = |target: &str| {
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {target} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").unwrap();
        std::io::read_to_string(stream).unwrap()
    };
    assert!(asked("/healthz").starts_with("HTTP/1.1 200 "));
    let refused = asked("/healthz?form=now");
    assert!(refused.starts_with("HTTP/1.1 400 ") && refused.contains("There is no query key"), "{refused}");
    assert!(asked("/metrics").contains("pipewright_pipelines_quarantined 0"));
}

/// What was killed just now may hold the data a moment longer.
#[test]
fn a_server_waits_for_the_one_before_it() {
    let mut site = Site::new();
    site.stop_and_serve(|site| {
        let held = DirectoryLock::take(&site.path("data/store")).unwrap();
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(500));
            drop(held);
        });
    });
    site.run(&["pipelines"]).check(0, &[]);
}

#[test]
fn the_least_grant_is_suggested() {
    let site = Site::new();
    let source = "directories.source = { path = \"source\", access = \"write\" } # of the site\n";
    let granted =
        format!("[action.\"Source/Source\"]\n{source}directories.data = {{ path = \"data\", access = \"write\" }}\n");
    fs::write(site.path("grants.toml"), granted + "clock = true\n\n[action.\"Make/Steps\"]\nrandomness = true\n")
        .unwrap();
    site.create("site", &[make()]).check(0, &[]);
    site.run(&["logs", "site", "--follow"]).check(0, &[]);
    let suggested = site.run(&["grants", "suggest", "site", "--grants", "grants.toml", "--last", "1"]);
    let least = format!("[action.\"Source/Source\"]\n{}", source.replace("write", "read"));
    suggested.check(0, &["by the journals of 1 executions of site", "Make/Steps made no host call"]);
    assert_eq!(suggested.out, least + "\n[action.\"Make/Steps\"]\nrandomness = true\n");
    site.run(&["grants", "suggest", "site", "--grants", "none.toml"]).check(2, &["none.toml: cannot be read"]);
    // What is suggested suffices.
    fs::write(site.path("grants.toml"), suggested.out).unwrap();
    site.run(&["start", "site", "--follow"]).check(0, &["site succeeded"]);
}

#[test]
fn what_runs_is_stopped() {
    let site = Site::new();
    let sleep = action("Invoke", "Custom", "Deed", "Sleep", json!({ "Deed": "sleep", "Amount": "600000" }));
    site.create("slow", &[json!({ "name": "Sleep", "actions": [sleep] })]).check(0, &[]);
    wait_until(|| site.run(&["status", "slow"]).out.contains("Sleep/Sleep\tInProgress"));
    site.run(&["retry", "slow"]).check(2, &["no stage of slow has failed"]);
    site.run(&["start", "slow"]).check(0, &["-"]);
    site.run(&["stop", "slow"]).check(2, &["several executions of slow run; name one of them"]);
    let executions = site.json(&["history", "slow"]);
    for execution in executions["pipelineExecutionSummaries"].as_array().unwrap() {
        let id = execution["pipelineExecutionId"].as_str().unwrap();
        site.run(&["stop", "slow", id, "--abandon", "--reason", "enough"]).check(0, &["is stopped"]);
    }
    wait_until(|| site.run(&["history", "slow"]).out.matches("\tStopped\t").count() == 2);
    site.run(&["stop", "slow"]).check(2, &["no execution of slow runs"]);
}

#[test]
fn a_pipeline_is_updated_from_what_the_api_gives() {
    let site = Site::new();
    site.create("site", &[make()]).check(0, &[]);
    site.run(&["create", "site.json", "--update"]).check(0, &["site is updated to version 2"]);
    let declaration: Value = serde_json::from_slice(&fs::read(site.path("site.json")).unwrap()).unwrap();
    fs::write(site.path("bare.json"), declaration["pipeline"].to_string()).unwrap();
    let output = site.json(&["create", "bare.json", "--update"]);
    assert_eq!(output["pipeline"]["version"], 3);
    site.run(&["create", "nowhere.json"]).check(2, &["nowhere.json"]);
    fs::write(site.path("list.json"), "[]").unwrap();
    site.run(&["create", "list.json"]).check(2, &["a pipeline is a JSON object"]);
    fs::write(site.path("empty.json"), "{}").unwrap();
    site.run(&["create", "empty.json"]).check(2, &["Exception)"]);
}

#[test]
fn whoever_cannot_ask_is_told_why() {
    let site = Site::new();
    site.run(&["status", "nobody"]).check(2, &["PipelineNotFoundException"]);
    site.run(&["start", "nobody", "--follow"]).check(2, &["PipelineNotFoundException"]);
    let endpoint = fs::read_to_string(site.path("data/endpoint")).unwrap();
    let credentials = site.path("data/credentials");
    let with = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = program(site.home.path());
        Ended::new(command.args(arguments).envs(variables.iter().copied()).output().unwrap())
    };
    let (endpoint, credentials) = (endpoint.trim(), credentials.to_str().unwrap());
    let address = ("AWS_ENDPOINT_URL_CODEPIPELINE", endpoint);
    let file = ("AWS_SHARED_CREDENTIALS_FILE", credentials);
    with(&[address, file], &["pipelines"]).check(0, &[]);
    with(&[file], &["pipelines", "--endpoint", endpoint, "--profile", "default"]).check(0, &[]);
    with(&[address], &["pipelines"]).check(2, &["there is no access key"]);
    let stranger = [address, ("AWS_ACCESS_KEY_ID", "AKIASTRANGER"), ("AWS_SECRET_ACCESS_KEY", "x")];
    with(&stranger, &["pipelines"])
        .check(2, &["does not accept the access key AKIASTRANGER", "UnrecognizedClientException"]);
    with(&[address, file, ("AWS_REGION", "eu-west-1")], &["pipelines"])
        .check(2, &["'us-east-1', not 'eu-west-1'", "InvalidSignatureException", "--region"]);
    with(&[file], &["pipelines", "--endpoint", "http://127.0.0.1:1"]).check(3, &["cannot connect", "pipewright serve"]);
    with(&[file], &["pipelines", "--endpoint", "localhost"]).check(2, &["write it as http://HOST:PORT"]);
    with(&[], &["pipelines", "--data", "nowhere"]).check(2, &["nowhere is not a directory"]);
}

/// Looks again until it is so; what takes longer than two minutes never comes.
#[track_caller]
pub fn wait_until(mut is_so: impl FnMut() -> bool) {
    for _ in 0..600 {
        if is_so() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(200));
    }
    panic!("it did not come to be");
}
