//! Caches of real builds by `pipewright run`, `pipewright build` and a server: what one leaves, the next one finds, and nobody else,
//! wherever the host dies.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use pipewright_artifacts::caches::{self, CacheLimits, Caches, Space};
use pipewright_artifacts::files::{MadeOutput, Node};
use serde_json::{Value, json};

use crate::run::{Ended, Home, action, pipeline};
use crate::server::Server;
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

/// Each with a project of the same name, whose builds have the same source and key.
#[test]
fn accounts_with_the_same_project_and_key_see_no_cache_of_each_other() {
    if tools::find("bwrap").is_none() {
        return;
    }
    const KEYED: &str = "
version: 0.2
phases: {build: {commands: ['cat deps/lib || echo nothing', 'mkdir -p deps', 'cp version.txt deps/lib']}}
cache: {key: the-same, fallback-keys: [the-, t], paths: ['deps/**/*']}
";
    let home = Home::new();
    let accounts = ["111111111111", "222222222222"];
    for account in accounts {
        home.write(&format!("{account}.toml"), &granted(account));
        home.write(&format!("{account}/buildspec.yml"), KEYED);
        home.write(&format!("{account}/version.txt"), &format!("of {account}\n"));
    }
    let configuration = accounts.map(|it| format!("[accounts.{it}.grants]\ntest = \"{it}.toml\"\n")).concat();
    let _server = server_of_project(&home, &configuration);
    let of = |account: &str, words: &[&str]| home.run(&[words, &["--data", "data", "--profile", account]].concat());
    let check = |account: &str, words: &[&str], finds: &str| {
        of(account, words).check(0, &[]);
        let log = ended(&|words| of(account, words));
        log.check(0, &[finds]);
        let other = accounts.iter().find(|it| **it != account).unwrap();
        assert!(!log.text.contains(&format!("of {other}")), "{}", log.text);
    };
    let [one, other] = accounts;
    let (create, start) = (["create", "pipeline.json"], ["start", "test", "--follow"]);
    check(one, &create, "There is no cache `");
    check(other, &create, "There is no cache `");
    check(one, &start, "of 111111111111");
    check(other, &start, "of 222222222222");
    let listed = home.run(&["cache", "list", "--data", "data"]);
    listed.check(0, &[&format!("{one}\tproject app\t"), &format!("{other}\tproject app\t")]);
    let removed = ["cache", "remove", "--data", "data", "--account", one, "--project", "app"];
    home.run(&removed).check(0, &["1 caches, 1 KiB", "when it next keeps a cache"]);
    home.run(&removed).check(2, &["there is no such cache"]);
    check(one, &start, "There is no cache `");
    check(other, &start, "of 222222222222");
}

/// The log of the newest execution, once it has ended; a new pipeline has none for a moment.
fn ended(ask: &dyn Fn(&[&str]) -> Ended) -> Ended {
    let mut logs = (0..600).map(|_| {
        std::thread::sleep(Duration::from_millis(50));
        ask(&["logs", "test", "--follow"])
    });
    logs.find(|log| log.code == Some(0)).expect("the pipeline starts")
}

/// Set for the process that is killed: the folder in which it finds what to keep, and keeps it.
const CHILD: &str = "PIPEWRIGHT_TEST_KEEPING";
/// What changes something on the disk. What is opened is empty until something is written.
const CALLS: &[&str] = &[
    "write",
    "pwrite64",
    "copy_file_range",
    "ftruncate",
    "rename",
    "renameat",
    "renameat2",
    "link",
    "linkat",
    "unlink",
    "unlinkat",
    "rmdir",
    "mkdir",
    "mkdirat",
    "chmod",
    "fchmod",
    "fchmodat",
    "utimensat",
    "fsync",
    "fdatasync",
    "syncfs",
];

fn space() -> Space {
    Space { account: 1, name: "project/app".to_owned(), shown: "project app".to_owned() }
}

fn open(folder: &Path) -> Caches {
    Caches::open(&folder.join("caches"), CacheLimits::default()).unwrap()
}

/// Keeps a directory of a few files, each with the same text.
fn keep(folder: &Path, text: &str) {
    let made = lay_out(folder, text);
    open(folder).keep(&space(), "k", &made).unwrap();
}

fn lay_out(folder: &Path, text: &str) -> MadeOutput {
    let made = folder.join("made");
    let _ = fs::remove_dir_all(&made);
    for name in ["a", "b/c", "b/d"] {
        let file = made.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, format!("{text} {name}")).unwrap();
    }
    MadeOutput::of_directory("cache", made)
}

/// What is found, which is whole.
fn found(folder: &Path) -> String {
    let found = open(folder).find(&space(), "k", &[]).unwrap().unwrap();
    let text = |node: &Node| match node {
        Node::File { digest, size, .. } => String::from_utf8(found.blobs.read(digest, *size).unwrap()).unwrap(),
        _ => String::new(),
    };
    let texts: Vec<String> =
        found.tree.entries().iter().map(|entry| text(&entry.node)).filter(|it| !it.is_empty()).collect();
    let first = texts[0].split(' ').next().unwrap();
    assert_eq!(texts, ["a", "b/c", "b/d"].map(|name| format!("{first} {name}")));
    first.to_owned()
}

/// In the process that is killed.
#[test]
fn keeping_process() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let folder = Path::new(&folder);
    let made = MadeOutput::of_directory("cache", folder.join("made"));
    open(folder).keep(&space(), "k", &made).unwrap();
}

/// Killed at the beginning of each system call that changes something, one after the other.
#[test]
fn wherever_whoever_keeps_a_cache_dies_it_is_the_old_or_the_new_one() {
    let Some(strace) = tools::find("strace") else { return };
    let home = tempfile::tempdir().unwrap();
    let run = |folder: &Path, arguments: &[&str]| -> ExitStatus {
        fs::create_dir(folder).unwrap();
        keep(folder, "old");
        lay_out(folder, "new");
        let mut traced = Command::new(&strace);
        traced.args(["-f", "-o"]).arg(folder.join("trace")).args(arguments).arg(std::env::current_exe().unwrap());
        traced.args(["--exact", "caches::keeping_process"]).env(CHILD, folder).output().unwrap().status
    };
    let calls = CALLS.join(",");
    let whole = home.path().join("whole");
    assert!(run(&whole, &["-e", &format!("trace={calls}")]).success());
    assert_eq!(found(&whole), "new");
    let trace = fs::read_to_string(whole.join("trace")).unwrap();
    let mut times = BTreeMap::<&str, usize>::new();
    for line in trace.lines() {
        let call = line.split_once(' ').and_then(|(_, call)| call.trim_start().split('(').next()).unwrap_or_default();
        *times.entry(CALLS.iter().find(|it| **it == call).copied().unwrap_or_default()).or_default() += 1;
    }
    times.remove("");
    let mut seen = BTreeSet::new();
    for (number, (call, time)) in
        times.iter().flat_map(|(call, most)| (1..=*most).map(move |time| (call, time))).enumerate()
    {
        let folder = home.path().join(number.to_string());
        let inject = format!("inject={call}:signal=KILL:when={time}");
        let ended = run(&folder, &["-e", &format!("trace={calls}"), "-e", &inject]);
        let what = found(&folder);
        seen.insert((what, ended.signal().is_some()));
        // The next one is kept and found, and nothing of the others stays.
        keep(&folder, "next");
        assert_eq!(found(&folder), "next", "{inject}");
        assert_eq!(caches::list(&folder.join("caches")).unwrap().len(), 1, "{inject}");
        fs::remove_dir_all(folder).unwrap();
    }
    for what in ["old", "new"] {
        assert!(seen.contains(&(what.to_owned(), true)), "{seen:?} of {times:?}");
    }
}

/// Killed once the host has begun to take in what a build left, somewhat later, and once the entry is there; the build runs again at
/// the next start, and each that follows finds a cache of one version alone.
#[test]
fn a_server_that_is_killed_while_it_keeps_a_cache_goes_on() {
    if tools::find("bwrap").is_none() {
        return;
    }
    const FILES: usize = 400;
    let buildspec = format!(
        "
version: 0.2
phases:
  build:
    commands:
      - 'echo found $(ls deps | wc -l) files of $(cat deps/* | cut -d: -f1 | sort -u | wc -l) version'
      - 'mkdir -p deps; version=$(cat version.txt); for i in $(seq {FILES}); do echo $version:$i >deps/$i; done'
cache: {{paths: ['deps/**/*']}}
"
    );
    let home = Home::new();
    home.write("grants.toml", &granted("code"));
    home.write("code/buildspec.yml", &buildspec);
    home.write("code/version.txt", "0");
    let server = server_of_project(&home, "[grants]\ntest = \"grants.toml\"\n");
    let ask = |words: &[&str]| home.run(&[words, &["--data", "data"]].concat());
    ask(&["create", "pipeline.json"]).check(0, &[]);
    ended(&ask).check(0, &[") is kept"]);
    let finds = format!("found {FILES} files of 1 version");
    let mut server = Some(server);
    let folder = home.path("data/caches");
    let kept = || caches::list(&folder).unwrap().first().map(|cache| cache.digest);
    for (version, more) in [1, FILES / 2, usize::MAX / 2].into_iter().enumerate() {
        home.write("code/version.txt", &(version + 1).to_string());
        let (before, old) = (files_below(&folder.join("blobs")), kept());
        ask(&["start", "test"]).check(0, &[]);
        let is_time = |_| {
            std::thread::sleep(Duration::from_millis(1));
            files_below(&folder.join("blobs")) >= before + more || kept() != old
        };
        assert!((0..100_000).any(is_time), "{}", ask(&["logs", "test"]).text);
        server.take().unwrap().kill();
        server = Some(Server::start(&home.path("")));
        // It waits for the one that was interrupted, and for what that keeps.
        ask(&["start", "test", "--follow"]).check(0, &[]);
        ask(&["logs", "test"]).check(0, &[&finds, ") is used", ") is kept"]);
    }
    assert_eq!(caches::list(&folder).unwrap().len(), 1);
}

fn files_below(folder: &Path) -> usize {
    // What is not there any more was not one.
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    let count = |path: PathBuf| if path.is_dir() { files_below(&path) } else { usize::from(path.is_file()) };
    entries.flatten().map(|entry| count(entry.path())).sum()
}

/// A server whose pipelines build the project `app`, which keeps a cache.
fn server_of_project(home: &Home, configuration: &str) -> Server {
    let mut build = action("Build", "AWS", "CodeBuild", "Build");
    build["configuration"] = json!({ "ProjectName": "app" });
    build["inputArtifacts"] = json!([{ "name": "Code" }]);
    let mut declaration: Value = serde_json::from_str(&pipeline(&[build])).unwrap();
    declaration["stages"][0]["actions"][0]["configuration"] = json!({ "Directory": "code" });
    home.write("pipeline.json", &json!({ "pipeline": declaration }).to_string());
    home.write("projects/app.json", &json!({ "cache": { "type": "S3" } }).to_string());
    home.write("serve.toml", configuration);
    Server::start(&home.path(""))
}

/// What such a pipeline is granted whose source is in a folder.
fn granted(folder: &str) -> String {
    let source =
        format!("[action.\"Source/Source\"]\ndirectories.code = {{ path = \"{folder}\", access = \"read\" }}\n");
    format!("{source}{GRANTS}{CACHE_GRANT}")
}
