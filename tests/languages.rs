//! What holds for every language but Rust, and what the tests of several of them have in common. `languages/` uses all of a layer;
//! python.rs there has what is Python's, and javascript.rs what is JavaScript's.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use pipewright_sandbox::abi::NamedValue;

use crate::cases::sandbox;
use crate::run::Home;
use crate::tools;

mod python;

/// What a server heard: the authorization and the body of each request.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

/// That the template of a deployment did what `deployment` makes it do.
fn is_deployed(heard: &[(String, String)]) {
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let [(posted_with, posted), (asked_with, _)] = heard else { panic!("{heard:?}") };
    assert_eq!([posted_with, asked_with], ["Bearer a-secret-value"; 2]);
    let posted: serde_json::Value = serde_json::from_str(posted).unwrap();
    assert_eq!(posted, serde_json::json!({ "files": { "index.html": empty } }));
}

/// A deployment that is first running and then done.
async fn deployments() -> (u16, Heard) {
    let hear = |heard: &Heard, headers: &HeaderMap, body: String| {
        let authorization = headers.get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        heard.lock().unwrap().push((authorization.to_owned(), body));
    };
    let begin = async move |State(heard): State<Heard>, headers: HeaderMap, body: String| {
        hear(&heard, &headers, body);
        r#"{ "id": "d-1", "status": "running" }"#
    };
    let ask = async move |State(heard): State<Heard>, headers: HeaderMap| {
        hear(&heard, &headers, String::new());
        r#"{ "id": "d-1", "status": "done", "url": "https://www.example.com/" }"#
    };
    let heard = Heard::default();
    let routes = Router::new().route("/deployments", post(begin)).route("/deployments/d-1", get(ask));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let service = routes.with_state(Arc::clone(&heard));
    tokio::spawn(async move { axum::serve(listener, service).await });
    (port, heard)
}

/// The case of the template against it.
fn deployment(port: u16) -> String {
    format!(
        r#"
        action = "Deploy/Custom/Deploy/1"
        settings = {{ Url = "http://127.0.0.1:{port}/deployments" }}
        network = true

        [grants]
        http = [{{ origin = "http://127.0.0.1:{port}", private = true }}]
        secrets = {{ token = {{ file = "token.txt", hosts = ["127.0.0.1"] }} }}

        [expected]
        outcome = "waiting"
        waiting = {{ until = 1700000010000 }}

        [[then]]
        wake = "time"
        expected = {{ outcome = "succeeded", variables = {{ DeploymentId = "d-1" }}, external-id = "d-1" }}
        "#
    )
}

/// A case of `everything` that runs a real tool.
pub(crate) fn tool_case(all: &Path) {
    let folder = all.join("cases/tools");
    fs::create_dir_all(folder.join("inputs/Source")).unwrap();
    fs::write(folder.join("inputs/Source/tool.wasm"), pipewright_guests::get("tool")).unwrap();
    let case = r#"
        action = "Build/Custom/Everything/1"
        outputs = ["Out"]
        settings = { Deed = "tools" }

        [expected]
        outcome = "failed"
        failure = { kind = "ConfigurationError", contains = ["it is another file"] }
        log = ["LEVEL is high", "status 0, copied True", "status 1", "JobFailed the tool crashed: "]
        "#;
    fs::write(folder.join("case.toml"), case).unwrap();
}

/// The cases of a folder, with a name before theirs, and an origin in the place of `{{origin}}`.
pub(crate) fn copy_cases(from: &Path, all: &Path, name: &str, origin: &str) {
    for case in fs::read_dir(from).unwrap() {
        let case = case.unwrap();
        let to = all.join("cases").join(format!("{name}-{}", case.file_name().display()));
        copy_folder(&case.path(), &to);
        let text = fs::read_to_string(to.join("case.toml")).unwrap();
        fs::write(to.join("case.toml"), text.replace("{{origin}}", origin)).unwrap();
    }
}

pub(crate) fn copy_folder(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// What is wrong with a setting of a template's build is told when a pipeline is made.
pub(crate) async fn checks_settings(component: &[u8], provider: &str) {
    let sandbox = sandbox();
    let plugin = sandbox.load(component.into()).await.unwrap();
    let types = &plugin.description().action_types;
    let id = types.iter().map(|offered| &offered.id).find(|id| id.provider == provider).unwrap().clone();
    let given = [("AtLeast", "1.5"), ("Ending", "1.5")];
    let given = given.map(|(name, value)| NamedValue { name: name.to_owned(), value: value.to_owned() });
    let problems = sandbox.check(0, &plugin, id, given.into()).await.unwrap();
    let told: Vec<_> = problems.iter().map(|it| format!("{} {}", it.setting, it.message)).collect();
    assert_eq!(told, ["AtLeast must be a whole number, and is `1.5`"]);
}

/// A world of all kinds of plugins.
pub(crate) fn every_world(kinds: &[&str]) -> String {
    let worlds: String = kinds.iter().map(|kind| format!("    include {kind}-plugin;\n")).collect();
    format!("package pipewright:plugin@0.1.0;\n\n@since(version = 0.1.0)\nworld every-plugin {{\n{worlds}}}\n")
}

/// Where the tool of a language is missing, the way to install it is one line.
#[test]
fn a_missing_tool_is_named_with_its_installation() {
    let home = Home::new();
    let check = |language: &str, said: &str| {
        home.run(&["plugin", "new", &format!("acme/{language}"), "--kind", "build", "--lang", language]).check(0, &[]);
        home.run_without_path(&["plugin", "test", language]).check(2, &[said]);
    };
    check("python", "install it by `python3 -m venv .venv && .venv/bin/pip install componentize-py==");
    check("javascript", "install Node.js");
}

/// A plugin of the same files is not built again, and a build says that it is under way. In the place of the tool is a script that
/// counts how often it is called.
#[test]
fn what_did_not_change_is_not_built_again() {
    let Some(_) = tools::find("python3") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "python"]).check(0, &[]);
    fs::write(home.path("index/made.wasm"), pipewright_guests::get("bench")).unwrap();
    let script = "#!/bin/sh\necho built >>../builds\ncp made.wasm build/plugin.wasm\n";
    let tool = home.write("index/.venv/bin/componentize-py", script);
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    let check = |builds: usize, is_built: bool| {
        let built = home.run(&["plugin", "build", "index"]);
        built.check(0, &["dist/bench.wasm"]);
        assert_eq!(built.text.contains("building "), is_built, "{}", built.text);
        assert_eq!(fs::read_to_string(home.path("builds")).unwrap().lines().count(), builds, "{}", built.text);
    };
    check(1, true);
    check(1, false);
    home.write("index/cases/another/case.toml", "");
    check(1, false);
    let source = fs::read_to_string(home.path("index/src/plugin.py")).unwrap();
    home.write("index/src/plugin.py", &format!("{source}\n# Changed.\n"));
    check(2, true);
    check(2, false);
}

/// In the place of the tool is a script that gives a finished component.
#[test]
fn a_version_that_is_raised_in_one_place_only_is_told() {
    let Some(_) = tools::find("python3") else { return };
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", "python"]).check(0, &[]);
    fs::write(home.path("index/made.wasm"), pipewright_guests::get("bench")).unwrap();
    let tool = home.write("index/.venv/bin/componentize-py", "#!/bin/sh\ncp made.wasm build/plugin.wasm\n");
    fs::set_permissions(tool, fs::Permissions::from_mode(0o755)).unwrap();
    home.run(&["plugin", "build", "index"]).check(0, &["dist/bench.wasm"]);
    // What is to be published is tested by the cases of the folder, which are for another plugin here.
    let built = ["plugin", "test", "index/dist/bench.wasm", "--cases", "index/cases"];
    home.run(&built).check(2, &["BROKEN", "the plugin offers"]);
    let manifest = fs::read_to_string(home.path("index/pyproject.toml")).unwrap();
    home.write("index/pyproject.toml", &manifest.replace("\"0.1.0\"", "\"0.2.0\""));
    home.run(&["plugin", "build", "index"])
        .check(2, &["the manifest has the version 0.2.0, and the plugin says 0.1.0"]);
}
