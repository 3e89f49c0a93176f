//! Caches of real builds by `pipewright run` and `pipewright build`: what one leaves, the next one finds.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use serde_json::{Value, json};

use crate::run::{Ended, Home, action, pipeline};
use crate::tools;

const BUILDSPEC: &str = "
version: 0.2
phases: {build: {commands: ['cat deps/lib ~/.m2/jar || echo nothing', 'mkdir -p deps ~/.m2', 'cp version.txt deps/lib', 'cp version.txt ~/.m2/jar', 'sh ./last.sh']}}
cache: {paths: ['deps/**/*', '/root/.m2/**/*']}
";
const GRANTS: &str = "[action.\"Build/Build\"]
commands = { level = \"toolchain\" }
directories.projects = { path = \"projects\", access = \"read\" }
";
const CACHE_GRANT: &str = "caches = true\n";

/// One more build of a version of the source; its last command is `last`.
fn build(home: &Home, project: &str, version: &str, last: &str, grants: &str) -> Ended {
    let mut build = action("Build", "AWS", "CodeBuild", "Build");
    build["configuration"] = json!({ "ProjectName": project });
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    home.write("pipeline.json", &pipeline(&[build]));
    home.write("grants.toml", &format!("{GRANTS}{grants}"));
    home.write("code/buildspec.yml", BUILDSPEC);
    home.write("code/version.txt", &format!("version {version}\n"));
    home.write("code/last.sh", last);
    for name in ["app", "other"] {
        let project = json!({ "cache": { "type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"] } });
        home.write(&format!("projects/{name}.json"), &project.to_string());
    }
    home.write("projects/bare.json", "{}");
    let variable = json!({ "name": "TOKEN", "value": "token", "type": "PARAMETER_STORE" });
    let secret = json!({ "cache": { "type": "S3" }, "environment": { "environmentVariables": [variable] } });
    home.write("projects/secret.json", &secret.to_string());
    home.run(&["run", "pipeline.json", "--source", "Source=code", "--grants", "grants.toml", "--data", "data"])
}

#[test]
fn a_build_finds_what_the_one_before_left() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    let of_it = |ended: &Ended| ended.text.lines().filter(|line| line.contains("version ")).count();
    let first = build(&home, "app", "1", ":", CACHE_GRANT);
    first.check(0, &["There is no cache `", "nothing", ") is kept"]);
    assert_eq!(of_it(&first), 0, "{}", first.text);
    // Its own project's, in both places; and which one it was is told.
    let second = build(&home, "app", "2", ":", CACHE_GRANT);
    second.check(0, &["(sha256:", ") is used: 2 files in /scratch/cache", "version 1", ") is kept"]);
    assert_eq!(of_it(&second), 2, "{}", second.text);
    // One that fails keeps nothing, nor one that has another cache or none.
    build(&home, "app", "3", "exit 3", CACHE_GRANT).check(1, &["version 2", "exit status 3"]);
    build(&home, "other", "4", ":", CACHE_GRANT).check(0, &["nothing"]);
    build(&home, "bare", "5", ":", CACHE_GRANT).check(0, &["Passed over: cache: the project keeps none", "nothing"]);
    build(&home, "app", "6", ":", "").check(0, &["Passed over: cache: the grant has no `caches = true`", "nothing"]);
    let last = build(&home, "app", "7", ":", CACHE_GRANT);
    last.check(0, &["version 2"]);
    assert!(!last.text.contains("version 3") && !last.text.contains("version 6"), "{}", last.text);
}

/// Neither what leads out of the cache is kept, nor does what stands where the cache is collected lead anywhere.
#[test]
fn links_of_a_build_do_no_harm() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    home.write("outside/secret.txt", "not for the cache\n");
    fs::create_dir_all(home.path("code")).unwrap();
    let outside = home.path("outside").display().to_string();
    build(&home, "app", "1", ":", CACHE_GRANT).check(0, &[") is kept"]);
    let out = format!("ln -s {outside} deps/out; ln -s /etc/passwd deps/file");
    build(&home, "app", "2", &out, CACHE_GRANT).check(0, &["Skipping link", ") is kept"]);
    build(&home, "app", "3", &format!("ln -s {outside} /work/cache"), CACHE_GRANT).check(0, &["version 2"]);
    let last = build(&home, "app", "4", "ls -R deps", CACHE_GRANT);
    last.check(0, &["version 3"]);
    assert!(!last.text.contains("secret.txt") && !last.text.contains("out"), "{}", last.text);
    assert_eq!(fs::read_dir(home.path("outside")).unwrap().count(), 1);
}

/// Later builds may be given fewer secrets.
#[test]
fn a_cache_with_a_secret_in_it_is_not_kept() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    fs::set_permissions(home.write("token", "correct-horse-battery"), fs::Permissions::from_mode(0o600)).unwrap();
    let grants = format!("{CACHE_GRANT}secrets.token = {{ file = \"token\", commands = true }}\n");
    let leak = "printf %s \"$TOKEN\" | base64 >deps/token";
    let leaked = build(&home, "secret", "1", leak, &grants);
    leaked.check(0, &["is not kept: a secret that the action was granted is in src/deps/token"]);
    build(&home, "secret", "2", ":", &grants).check(0, &["nothing", ") is kept"]);
}

#[test]
fn builds_of_a_folder_keep_a_cache() {
    if tools::find("bwrap").is_none() {
        return;
    }
    let home = Home::new();
    home.write("code/buildspec.yml", BUILDSPEC);
    home.write("code/version.txt", "version 1\n");
    home.write("code/last.sh", ":");
    // The source of a build is a folder, and a link in it is none of the cache's.
    symlink("version.txt", home.path("code/link")).unwrap();
    home.run(&["build", "code", "--data", "data"]).check(0, &["nothing", ") is kept"]);
    home.run(&["build", "code", "--data", "data"]).check(0, &[") is used", "version 1"]);
}

/// Of any action but a build, each has its own.
#[test]
fn an_action_finds_what_it_kept_itself() {
    let home = Home::new();
    home.write("code/a.txt", "");
    fs::write(home.path("reach.wasm"), pipewright_guests::get("reach")).unwrap();
    let run = |found: &[(&str, &str)]| {
        let reach = |(name, _): &(&str, &str)| {
            let mut reach = action("Invoke", "Custom", "Reach", name);
            (reach["configuration"], reach["namespace"]) = (json!({ "Capability": "caches" }), json!(name));
            reach
        };
        let rule = |(name, word): &(&str, &str)| {
            let id = json!({ "category": "Rule", "owner": "AWS", "provider": "VariableCheck", "version": "1" });
            let settings = json!({ "Variable": format!("#{{{name}.Found}}"), "Operator": "CONTAINS", "Value": word });
            json!({ "name": name, "ruleTypeId": id, "configuration": settings })
        };
        let last = action("Approval", "AWS", "Manual", "Check");
        let actions: Vec<Value> = found.iter().map(reach).chain([last]).collect();
        let mut declaration: Value = serde_json::from_str(&pipeline(&actions)).unwrap();
        let rules: Vec<Value> = found.iter().map(rule).collect();
        let condition = json!({ "conditions": [{ "result": "FAIL", "rules": rules }] });
        (declaration["pipelineType"], declaration["stages"][actions.len()]["beforeEntry"]) = (json!("V2"), condition);
        home.write("pipeline.json", &declaration.to_string());
        let grant = |(name, _): &(&str, &str)| format!("[action.\"{name}/{name}\"]\n{CACHE_GRANT}");
        home.write("grants.toml", &found.iter().map(grant).collect::<String>());
        let arguments = ["run", "pipeline.json", "--source", "Source=code", "--grants", "grants.toml"];
        home.run(&[&arguments[..], &["--plugin", "reach.wasm", "--approve", "--data", "data"]].concat()).check(0, &[]);
    };
    run(&[("One", "none")]);
    run(&[("One", "index"), ("Two", "none")]);
    run(&[("One", "index"), ("Two", "index")]);
}
