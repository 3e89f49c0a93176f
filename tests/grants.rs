//! Grants on a real server: what somebody who lacks one is told, and how a server gets to know of new ones.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStderr, ChildStdout, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::client::{Site, make};
use crate::run::{Home, action, pipeline};
use crate::server::share_compiled;

/// By the name under which a grants file grants it something, although an action of its stage is called as it is.
#[test]
fn a_rule_without_a_grant_is_told_its_own_name() {
    let site = Site::new();
    let mut make = make();
    let name = make["actions"][0]["name"].clone();
    assert_eq!(name, "Steps");
    let id = json!({ "category": "Rule", "owner": "AWS", "provider": "HttpCheck", "version": "1" });
    let rule = json!({ "name": name, "ruleTypeId": id, "configuration": { "Url": "http://127.0.0.1:1/" } });
    make["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [rule] }] });
    site.create("site", &[make]).check(0, &[]);
    site.run(&["start", "site", "--follow"]).check(1, &[]);
    let wanted = "grant the action \"Make/beforeEntry/Steps\"";
    let state = site.json(&["status", "site"]);
    let rules = &state["stageStates"][1]["beforeEntryConditionState"]["conditionStates"][0]["ruleStates"];
    let error = &rules[0]["latestExecution"]["errorDetails"];
    assert_eq!(error["code"], "PermissionError", "{error}");
    assert!(error["message"].as_str().unwrap().contains(wanted), "{error}");
    site.run(&["logs", "site", "Make/beforeEntry/Steps"]).check(0, &[wanted]);
    let status = site.run(&["status", "site"]);
    status.check(0, &["Make/beforeEntry did not pass for lack of a grant", "pipewright start site"]);
    assert!(!status.out.contains("pipewright override"), "{status:?}");

    // What the file has since is not told again, and what it has for the action is not what the rule lacks.
    let file = site.path("grants.toml");
    let (granted, before) = ("http = [{ origin = \"http://127.0.0.1:1\", private = true }]", fs::read_to_string(&file));
    let before = before.unwrap();
    let suggested = |name: &str| {
        fs::write(&file, format!("{before}\n[action.\"{name}\"]\n{granted}\n")).unwrap();
        site.run(&["grants", "suggest", "site", "--grants", file.to_str().unwrap()])
    };
    suggested("Make/Steps").check(0, &["Make/beforeEntry/Steps was refused something", wanted]);
    let mended = suggested("Make/beforeEntry/Steps");
    assert!(!mended.error.contains("was refused"), "{mended:?}");
}

/// A server whose log is read.
struct Told {
    child: Child,
    log: BufReader<ChildStderr>,
    /// Open as long as the server runs: it must be able to print.
    _stdout: BufReader<ChildStdout>,
}

impl Told {
    fn start(home: &Home) -> Self {
        share_compiled(&home.path("data"));
        let mut serve = home.command(&["serve", "--listen", "127.0.0.1:0", "--data", "data", "--config", "serve.toml"]);
        let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut String::new()).unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        Self { child, log, _stdout: stdout }
    }

    /// Hangs up, and gives what the server says to that.
    fn hang_up(&mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::HUP).unwrap();
        let mut said = (&mut self.log).lines().map(|line| line.unwrap());
        said.find(|line| line.contains("SIGHUP")).expect("the server goes on")
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_hang_up_has_the_grants_read_again() {
    let home = Home::new();
    home.write("source/a.md", "");
    let mut publish = action("Deploy", "Custom", "Directory", "Publish");
    publish["configuration"] = json!({ "Directory": "public" });
    publish["inputArtifacts"] = json!([{ "name": "Code" }]);
    let declaration: serde_json::Value = serde_json::from_str(&pipeline(&[publish])).unwrap();
    home.write("create.json", &json!({ "pipeline": declaration }).to_string());
    home.write(
        "grants.toml",
        "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n\
         [action.\"Publish/Publish\"]\ndirectories.public = { path = \"public\", access = \"write\" }\n",
    );
    home.write("serve.toml", "[grants]\nother = \"grants.toml\"\n");
    let mut server = Told::start(&home);
    home.run(&["create", "create.json", "--data", "data"]).check(0, &[]);
    let start = || home.run(&["start", "test", "--follow", "--data", "data"]);
    start().check(1, &["SIGHUP has the server read that again", "start a new execution"]);
    home.write("serve.toml", "[grants]\n\"te*\" = \"grants.toml\"\n");
    start().check(1, &[]);
    let said = server.hang_up();
    assert!(said.contains("the grants files are those of serve.toml now"), "{said}");
    start().check(0, &["test succeeded"]);
    home.write("serve.toml", "[grants]\ntest = 7\n");
    let said = server.hang_up();
    assert!(said.contains("serve.toml") && said.contains("the grants files are those of before"), "{said}");
    start().check(0, &["test succeeded"]);
}
