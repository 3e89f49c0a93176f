//! Command-line tools as packages: published and added as plugins are, and run by actions of the account that has them.

use std::fs;

use serde_json::{Value, json};

use super::World;
use crate::run::{Home, action, pipeline};
use crate::server::{Server, share_compiled};

#[test]
fn a_tool_is_published_judged_and_installed_as_a_plugin_is() {
    let Some(world) = World::new() else { return };
    world.write("lint.wasm", pipewright_guests::get("tool"));
    let (tool, reference) = (["--tool", "team/lint@1.0.0"], world.reference("team/lint"));
    let publish = |more: &[&str]| world.run(&[&["publish", "lint.wasm", reference.as_str()], more].concat());
    publish(&[]).refused(2, "--tool TEAM/NAME@VERSION");
    publish(&["--tool", "lint"]).refused(2, "--tool lint: write it as team/name@1.0.0");
    publish(&["--tool", "Lint@1.0.0"]).refused(2, "write it as team/name");
    publish(&[&tool[..], &["--key", "eve.key"]].concat()).succeeded();
    let package = format!("{reference}:1.0.0");
    world.run(&["add", &package, "--yes"]).refused(2, "none of its signatures is by a key that counts");
    publish(&[&tool[..], &["--key", "maria.key"]].concat()).succeeded();
    world.run(&["add", &package, tool[0], tool[1], "--yes"]).refused(2, "leave --tool out");
    let added = world.run(&["add", &package, "--yes"]).succeeded();
    for part in ["team/lint 1.0.0 (sha256:", "a command-line tool", "asks for nothing", "team/lint 1.0.0 is installed"]
    {
        assert!(added.contains(part), "{part}: {added}");
    }
    assert!(world.run(&["list"]).succeeded().contains("team/lint 1.0.0"));
    assert!(world.run(&["verify"]).succeeded().contains("1 of 1 packages"));
    // What a plugin's file says of itself is not said again.
    let plugin = world.component("team/packaged", "1.0.0", &[]);
    world.run(&["publish", &plugin, &world.reference("team/other"), tool[0], tool[1]]).refused(2, "is not a tool");
    let archive = ["save", "tools.tar", "team/lint"];
    world.run(&archive).succeeded();
    world.run(&["remove", "team/lint"]).succeeded();
    world.run(&["load", "tools.tar", "--yes"]).succeeded();
    assert!(world.run(&["list"]).succeeded().contains("team/lint 1.0.0"));
}

/// Removed while an execution waits in front of it, it runs all the same; in the next one, and in another account, there is none.
#[test]
fn an_action_runs_the_tool_that_its_account_had_when_it_started() {
    let home = Home::new();
    share_compiled(&home.path("data"));
    fs::write(home.path("lint.wasm"), pipewright_guests::get("tool")).unwrap();
    home.write("data/plugins/policy.toml", "unsigned_files = [\"acme/*\"]\n");
    home.write("code/a.txt", "");
    let add = ["plugin", "add", "lint.wasm", "--tool", "acme/lint@1.0.0", "--data", "data", "--yes"];
    home.run(&add).check(0, &["acme/lint 1.0.0 is installed"]);
    let ask = action("Approval", "AWS", "Manual", "Ask");
    let mut lint = action("Test", "Custom", "WasiTool", "Lint");
    lint["configuration"] = json!({ "Package": "acme/lint@1.0.0", "Arguments": "[\"say\", \"hello\", \"there\"]" });
    let mut declaration: Value = serde_json::from_str(&pipeline(&[ask, lint])).unwrap();
    declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "code" });
    home.write("pipeline.json", &json!({ "pipeline": declaration }).to_string());
    let accounts = "[accounts.111111111111.grants]\ntest = \"grants.toml\"\n";
    home.write("serve.toml", &format!("[grants]\ntest = \"grants.toml\"\n{accounts}"));
    home.write(
        "grants.toml",
        "[action.\"Source/Source\"]\ndirectories.code = { path = \"code\", access = \"read\" }\n",
    );
    let _server = Server::start(&home.path(""));
    let ask = |profile: &str, words: &[&str]| home.run(&[words, &["--data", "data", "--profile", profile]].concat());
    let waits = |profile: &str| {
        let is_it = |_| {
            std::thread::sleep(std::time::Duration::from_millis(50));
            ask(profile, &["status", "test"]).text.contains("Ask/Ask\twaits for approval")
        };
        assert!((0..1200).any(is_it), "{}", ask(profile, &["status", "test"]).text);
    };
    let approved = |profile: &str, said: &str| {
        ask(profile, &["approve", "test", "Ask"]).check(0, &[]);
        let log = ask(profile, &["logs", "test", "--follow"]).text;
        let status = ask(profile, &["status", "test"]).text;
        assert!([&log, &status].iter().any(|text| text.contains(said)), "{said}: {log}{status}");
    };
    let [own, other] = ["default", "111111111111"];
    for profile in [own, other] {
        ask(profile, &["create", "pipeline.json"]).check(0, &[]);
        waits(profile);
    }
    approved(other, "no tool acme/lint@1.0.0 is installed");
    home.run(&["plugin", "remove", "acme/lint", "--data", "data"]).check(0, &["from now on"]);
    approved(own, "hello there");
    let history: Value = serde_json::from_str(&ask(own, &["history", "test", "--json"]).text).unwrap();
    let execution = history["pipelineExecutionSummaries"][0]["pipelineExecutionId"].as_str().unwrap().to_owned();
    ask(own, &["plugin", "record", "test", &execution, "Lint/Lint", "-o", "lint.zip"]).check(0, &["bytes"]);
    home.run(&["plugin", "replay", "lint.zip"]).check(0, &["same"]);
    ask(own, &["start", "test"]).check(0, &[]);
    waits(own);
    approved(own, "no tool acme/lint@1.0.0 is installed");
}
