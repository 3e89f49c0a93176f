//! Plugins in Python, begun and built with the documented commands: each template passes its own cases, a deployment speaks to a
//! real server, and `languages/` uses all of the layer. And what holds for every language; javascript.rs has JavaScript.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};

use crate::run::Home;
use crate::tools;

mod python;

/// What a server heard: the authorization and the body of each request.
type Heard = Arc<Mutex<Vec<(String, String)>>>;

async fn check(language: &str, extension: &str, install: &dyn Fn(&Path)) -> Home {
    let home = Home::new();
    home.run(&["plugin", "new", "acme/index", "--kind", "build", "--lang", language]).check(0, &["plugin test ."]);
    install(&home.path("index"));

    // The whole layer in the place of the template, which tests/chain.rs builds: the same cases hold for both languages.
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/languages");
    let source = fs::read_to_string(sources.join("everything").with_extension(extension)).unwrap();
    home.write(&format!("index/src/plugin.{extension}"), &source);
    fs::remove_dir_all(home.path("index/cases")).unwrap();
    symlink(sources.join("cases").canonicalize().unwrap(), home.path("index/cases")).unwrap();
    home.run(&["plugin", "test", "index"]).check(0, &["17 passed, 0 failed"]);

    home.run(&["plugin", "new", "acme/ship-it", "--kind", "deploy", "--lang", language]).check(0, &["plugin test ."]);
    install(&home.path("ship-it"));
    let (port, heard) = serve().await;
    home.write("ship-it/cases/real-server/inputs/Site/index.html", "");
    home.write("ship-it/cases/real-server/token.txt", "a-secret-value");
    home.write("ship-it/cases/real-server/case.toml", &case(port));
    let said = ["ok      real-server", "ok      waits-for-the-service", "ok      reaches-nothing", " 0 failed"];
    home.run(&["plugin", "test", "ship-it"]).check(0, &said);
    let heard = heard.lock().unwrap();
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let [(posted_with, posted), (asked_with, _)] = &heard[..] else { panic!("{heard:?}") };
    assert_eq!([posted_with, asked_with], ["Bearer a-secret-value"; 2]);
    let posted: serde_json::Value = serde_json::from_str(posted).unwrap();
    assert_eq!(posted, serde_json::json!({ "files": { "index.html": empty } }));
    home
}

/// A deployment that is first running and then done.
async fn serve() -> (u16, Heard) {
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

fn case(port: u16) -> String {
    format!(
        r#"
        action = "Deploy/Custom/ShipIt/1"
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
