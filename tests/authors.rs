//! What the author of a plugin does, with the documented commands alone: from no folder to a component that is checked.
//! Builds share one cache here.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use pipewright_packages::plugins::described_type;
use pipewright_pipeline::declaration::{ActionCategory, ActionTypeId};
use pipewright_pipeline::validate::{Context, validate};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cases::sandbox;
use crate::run::action;
use crate::server::cache_home;

/// A plugin that does nothing but what every plugin does is smaller; the shipped one, without debug information.
const COMPONENT_BYTES_MAX: u64 = 110 * 1000;

/// The lock of a plugin that was just begun.
static LOCKED: OnceLock<String> = OnceLock::new();

/// Where an author works.
pub(crate) struct Desk {
    folder: TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { folder: TempDir::new().expect("a folder") }
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// What a command prints, and whether it ended with that code.
    pub(crate) fn command(&self, code: i32, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        command.args(arguments).current_dir(self.folder.path());
        let output = self.surround(&mut command).output().expect("it runs");
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(code), "pipewright {}:\n{said}", arguments.join(" "));
        said
    }

    /// Builds share what they make on the way, as a user's do.
    pub(crate) fn surround<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("XDG_CACHE_HOME", cache_home())
    }

    fn cargo(&self, folder: &Path, arguments: &[&str]) -> String {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(arguments).current_dir(folder).env("RUSTFLAGS", "-D warnings");
        // What makes a component small takes most of the time, and says nothing of tests.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
        let output =
            cargo.env("CARGO_BUILD_BUILD_DIR", cache_home().join("pipewright/cargo")).output().expect("it runs");
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert!(output.status.success(), "cargo {}:\n{said}", arguments.join(" "));
        said
    }

    /// `plugin new acme/NAME`. What is the same in every plugin is neither looked up nor compiled again for this one: the versions
    /// that the first one here got, and the SDK, whose files are as old as the program that carries them.
    pub(crate) fn begin(&self, name: &str, kind: &str) -> String {
        let said = self.command(0, &["plugin", "new", &format!("acme/{name}"), "--kind", kind]);
        let (folder, lock) = (self.path(name), self.path(name).join("Cargo.lock"));
        let locked = LOCKED.get_or_init(|| {
            self.cargo(&folder, &["generate-lockfile"]);
            std::fs::read_to_string(&lock).expect("the lock")
        });
        std::fs::write(lock, locked).expect("it is written");
        let mut touch = Command::new("find");
        touch.arg(folder.join("pipewright")).args([
            "-exec",
            "touch",
            "-r",
            env!("CARGO_BIN_EXE_pipewright"),
            "{}",
            "+",
        ]);
        assert!(touch.status().expect("find").success());
        said
    }

    pub(crate) fn check(&self, code: i32, arguments: &[&str], expected: &[&str]) {
        let said = self.command(code, arguments);
        for text in expected {
            assert!(said.contains(text), "pipewright {}: no `{text}` in:\n{said}", arguments.join(" "));
        }
    }
}

/// Every template builds as it is, and passes its own cases, and its unit tests without WebAssembly; no compiler warns.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_plugin_begins_with_one_command() {
    let desk = Desk::new();
    for kind in ["source", "build", "test", "deploy", "approval", "invoke", "rule"] {
        let name = format!("my-{kind}");
        let said = desk.begin(&name, kind);
        assert!(said.contains("src/lib.rs") && said.contains("plugin test ."), "{said}");
        desk.check(0, &["plugin", "test", &name], &["ok ", " 0 failed"]);
        desk.check(0, &["plugin", "build", &name], &["dist/", "compiled in", &format!("acme/{name} 0.1.0"), "sha256:"]);
        let component = std::fs::read(desk.path(&format!("{name}/dist/{name}.wasm"))).expect("the component");
        its_readme_fits_a_pipeline(&desk.path(&name), &component).await;
        // For a target that is named, and optimized, it has the macros in common with the component.
        desk.cargo(&desk.path(&name), &["test", "--release", "--target", "host-tuple"]);
        let bytes = std::fs::metadata(desk.path(&format!("{name}/dist/{name}.wasm"))).expect("the component").len();
        // What a deploy carries in it is JSON and HTTP.
        assert!(bytes < COMPONENT_BYTES_MAX || kind == "deploy" || kind == "approval", "{kind}: {bytes} bytes");
    }
    desk.check(2, &["plugin", "new", "acme/my-build", "--kind", "build"], &["my-build", "--path"]);
    desk.check(2, &["plugin", "new", "my-other", "--kind", "build"], &["`my-team/my-other`"]);
    desk.check(2, &["plugin", "new", "acme/My_Build", "--kind", "build"], &["`acme/My_Build`", "small letters"]);
}

/// What the README of a new plugin's folder shows of a pipeline is taken as it stands there.
pub(crate) async fn its_readme_fits_a_pipeline(folder: &Path, component: &[u8]) {
    let plugin = sandbox().load(component.into()).await.expect("the component");
    let readme = std::fs::read_to_string(folder.join("README.md")).expect("the README");
    let at = readme.find("\n    {\n").expect("a snippet");
    let lines = readme[at + 1..].lines().take_while(|line| line.starts_with("    "));
    let shown: Value = serde_json::from_str(&lines.collect::<String>()).expect("JSON");
    let id = shown.get("actionTypeId").or(shown.get("ruleTypeId")).expect("a type").clone();
    let id: ActionTypeId = serde_json::from_value(id).expect("a type");
    let info = described_type(plugin.description(), &id).unwrap_or_else(|| panic!("{id} is not the plugin's"));
    let mut source = action("Source", "Custom", "Directory", "Source");
    source["outputArtifacts"] = json!([{ "name": "Source" }]);
    let mut second = json!({ "name": "Second", "actions": [action("Approval", "AWS", "Manual", "Ask")] });
    match id.category {
        ActionCategory::Source => source = shown,
        ActionCategory::Rule => {
            second["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [shown] }] });
        }
        _ => second["actions"] = json!([shown]),
    }
    let pipeline = json!({
        "name": "test", "roleArn": "arn:aws:iam::000000000000:role/test", "pipelineType": "V2",
        "artifactStore": { "type": "S3", "location": "artifacts" },
        "stages": [{ "name": "First", "actions": [source] }, second],
    });
    let action_types = [(id, info)].into();
    let judged = validate(&pipeline, &Context { region: None, action_types: &action_types });
    assert!(judged.is_ok(), "{}: {:?}", folder.display(), judged.err());
}

/// The package of the SDK has the interface in it; CONTRIBUTING.md has the command that builds what is in the packages.
#[test]
fn the_sdk_is_published_with_the_interface() {
    let desk = Desk::new();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let listed = desk.cargo(&workspace, &["package", "--list", "--allow-dirty", "-p", "pipewright-sdk"]);
    for file in ["Cargo.toml", "README.md", "src/lib.rs", "wit/plugin.wit", "wit/deps/http.wit"] {
        assert!(listed.lines().any(|line| line == file), "{file} is missing in:\n{listed}");
    }
}

/// An older folder gets the SDK of a newer program, and keeps what its author wrote.
#[test]
fn the_sdk_in_a_folder_is_renewed() {
    let desk = Desk::new();
    let all = || {
        let listed =
            Command::new("find").args([".", "-type", "f"]).current_dir(desk.path("it")).output().expect("find");
        let mut files: Vec<String> = String::from_utf8_lossy(&listed.stdout).lines().map(str::to_owned).collect();
        files.sort();
        files
            .into_iter()
            .map(|path| (std::fs::read(desk.path("it").join(&path)).expect("a file"), path))
            .collect::<Vec<_>>()
    };
    for (lang, lies) in [("rust", "sdk/rust/src/lib.rs"), ("python", "python/pipewright/http.py")] {
        desk.command(0, &["plugin", "new", "acme/it", "--kind", "build", "--lang", lang]);
        let fresh = all();
        std::fs::write(desk.path("it/pipewright").join(lies), "older").expect("it is written");
        std::fs::write(desk.path("it/pipewright/gone"), "").expect("it is written");
        desk.check(0, &["plugin", "renew", "it"], &[lies, "1 files changed"]);
        assert!(all() == fresh, "{lang}");
        desk.check(0, &["plugin", "renew", "it"], &["0 files changed"]);
        std::fs::remove_dir_all(desk.path("it")).expect("it is removed");
    }
    desk.check(2, &["plugin", "renew", "."], &["is no folder that `pipewright plugin new` made"]);
}

#[test]
fn a_run_shows_everything_that_the_action_did() {
    let desk = Desk::new();
    desk.begin("count", "build");
    std::fs::create_dir(desk.path("docs")).expect("a folder");
    std::fs::write(desk.path("docs/a.md"), "one\ntwo\n").expect("a file");
    let run = ["plugin", "run", "count", "--input", "Source=docs", "--output", "Out"];
    desk.check(
        0,
        &[&run[..], &["--into", "made"]].concat(),
        &["info       a.md: 2", "variable   Lines=2", "lines.txt (7 bytes)", "succeeded", "0 host calls"],
    );
    assert_eq!(std::fs::read_to_string(desk.path("made/Out/lines.txt")).expect("it was made"), "2 a.md\n");
    desk.check(1, &[&run[..], &["--set", "Ending=.rst"]].concat(), &["failed     ConfigurationError", "`.rst`"]);
    desk.check(2, &[&run[..], &["--action", "Build/Custom/Other/1"]].concat(), &["Build/Custom/Count/1, not"]);
    desk.check(2, &[&run[..], &["--grant", "clock = 1"]].concat(), &["--grant", "clock"]);
}

/// Expectations that are not met are rewritten on request; all else in the file stays as it is.
#[test]
fn cases_are_updated_for_review() {
    let desk = Desk::new();
    desk.begin("count", "build");
    let path = desk.path("count/cases/counts-lines/case.toml");
    let before = std::fs::read_to_string(&path).expect("the case");
    let wrong = before.replace("Lines = \"3\"", "Lines = \"4\"").replace("[\"3 lines\"]", "[\"4 lines\"]");
    let wrong = format!("# as it was once\n{}", wrong.replace("[\"lines.txt\"]", "[\"words.txt\"]"));
    std::fs::write(&path, &wrong).expect("it is written");
    desk.check(1, &["plugin", "test", "count"], &["FAILED  counts-lines", "1 passed, 1 failed"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the case"), wrong);
    desk.check(0, &["plugin", "test", "count", "--update"], &["updated counts-lines", "ok      finds-nothing"]);
    assert_eq!(std::fs::read_to_string(&path).expect("the case"), format!("# as it was once\n{before}"));
    desk.check(0, &["plugin", "test", "count"], &["2 passed, 0 failed"]);
    let exactly = format!("files = [\"lines.txt\"], digest = \"{}\"", "0".repeat(64));
    std::fs::write(&path, before.replace("files = [\"lines.txt\"]", &exactly)).expect("it is written");
    desk.check(1, &["plugin", "test", "count"], &["expected.outputs.Out.digest", "1 passed, 1 failed"]);
    desk.check(0, &["plugin", "test", "count", "--update"], &["updated counts-lines"]);
    desk.check(0, &["plugin", "test", "count"], &["2 passed, 0 failed"]);
}

/// The line that a denial says is missing is the one to give.
#[test]
fn a_denial_says_what_to_grant() {
    let desk = Desk::new();
    desk.begin("tell", "deploy");
    std::fs::create_dir(desk.path("site")).expect("a folder");
    let service = TcpListener::bind("127.0.0.1:0").expect("an address");
    let origin = format!("http://{}", service.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || answer(&service, r#"{"id":"r1"}"#));
    let url = format!("Url={origin}/releases");
    let run = ["plugin", "run", "tell", "--input", "Site=site", "--set", &url];
    desk.check(1, &run, &["PermissionError", "secrets.token = { env = "]);
    std::fs::write(desk.path("token.txt"), "geheim").expect("a file");
    std::fs::set_permissions(desk.path("token.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    let token = "secrets.token = { file = \"token.txt\", hosts = [\"127.0.0.1\"] }";
    let denied = desk.command(1, &[&run[..], &["--grant", token]].concat());
    let line = denied.lines().find_map(|line| line.split_once("\"Plugin/Run\": ")).expect("a denial").1;
    let done = desk.command(0, &[&run[..], &["--grant", token, "--grant", line]].concat());
    for text in ["external   r1", "variable   ReleaseId=r1", "POST http://"] {
        assert!(done.contains(text), "{done}");
    }
    assert!(!done.contains("geheim"), "{done}");
    let request = answering.join().expect("it answered");
    assert!(request.contains("authorization: Bearer geheim") && request.contains("{\"files\":0,"), "{request}");
}

/// A crash is told with names and places where the debug information lies beside the component, and with numbers where not.
#[test]
fn a_crash_is_told_with_the_stack() {
    let desk = Desk::new();
    desk.begin("fall", "approval");
    let source = desk.path("fall/src/lib.rs");
    let text = std::fs::read_to_string(&source).expect("the source");
    let call = "    // Called a first time";
    assert!(text.contains(call));
    let text = text.replace(call, &format!("    stumble(settings.question.len());\n{call}"));
    std::fs::write(
        &source,
        text + "\n#[inline(never)]\nfn stumble(at: usize) {\n    panic!(\"stumbled at {at}\");\n}\n",
    )
    .expect("it is written");
    let told = ["the plugin crashed: panicked at src/lib.rs:", "stumbled at 16", "stumble at "];
    desk.check(1, &["plugin", "run", "fall"], &told);
    desk.command(0, &["plugin", "build", "fall"]);
    desk.check(1, &["plugin", "run", "fall/dist/fall.wasm"], &["stumble at ", "approve at "]);
    std::fs::remove_file(desk.path("fall/dist/fall.debug.wasm")).expect("it is there");
    let said = desk.command(1, &["plugin", "run", "fall/dist/fall.wasm"]);
    assert!(said.contains(": function ") && !said.contains("stumble at "), "{said}");
    assert!(said.contains(told[0]), "{said}");
}

/// A plugin outside of this repository's workspace, that posts to a service with a secret and waits until it is done: its
/// cases pass, and what it did with a real service is replayed without it.
#[test]
fn a_plugin_of_somebody_else_passes_its_cases_and_is_replayed() {
    let desk = Desk::new();
    desk.begin("rollout", "deploy");
    for own in ["src", "cases"] {
        std::fs::remove_dir_all(desk.path("rollout").join(own)).expect("the template's own");
    }
    copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/rollout"), &desk.path("rollout"));
    desk.check(0, &["plugin", "test", "rollout"], &["ok      waits-until-it-is-out", " 0 failed"]);

    std::fs::create_dir(desk.path("site")).expect("a folder");
    std::fs::write(desk.path("token.txt"), "correct-horse-battery").expect("a file");
    std::fs::set_permissions(desk.path("token.txt"), std::os::unix::fs::PermissionsExt::from_mode(0o600))
        .expect("a mode");
    let service = TcpListener::bind("127.0.0.1:0").expect("an address");
    let origin = format!("http://{}", service.local_addr().expect("an address"));
    let answers = [
        r#"{"id":"r-1","state":"running"}"#,
        r#"{"id":"r-1","state":"running"}"#,
        r#"{"id":"r-1","state":"done","servers":["a","b"]}"#,
    ];
    let serving = std::thread::spawn(move || answers.map(|body| answer(&service, body)));
    let (url, http) = (format!("Url={origin}"), format!("http = [{{ origin = \"{origin}\", private = true }}]"));
    let token = "secrets.token = { file = \"token.txt\", hosts = [\"127.0.0.1\"] }";
    let run = ["plugin", "run", "rollout", "--input", "Site=site", "--set", &url, "--set", "LookEvery=1"];
    let grants = ["--grant", &http, "--grant", token, "--grant", "clock = true", "--record", "r.recording"];
    desk.check(0, &[&run[..], &grants].concat(), &["waiting    ", "summary    out on 2 servers", "succeeded"]);
    for request in serving.join().expect("the service") {
        assert!(request.contains("authorization: Bearer correct-horse-battery"), "{request}");
    }
    let recording = std::fs::read(desk.path("r.recording")).expect("the recording");
    assert!(!String::from_utf8_lossy(&recording).contains("correct-horse"), "the secret is in the recording");
    desk.check(0, &["plugin", "replay", "r.recording"], &[]);

    // Another build of it that asks for something else stops at the first request that differs.
    let source = desk.path("rollout/src/lib.rs");
    let text = std::fs::read_to_string(&source).expect("the source");
    std::fs::write(&source, text.replace("{}/rollouts/{id}", "{}/rollout/{id}")).expect("it is written");
    desk.check(1, &["plugin", "replay", "r.recording", "--with", "rollout"], &["/rollouts/r-1", "/rollout/r-1"]);
}

/// Answers one request, and gives it back.
fn answer(service: &TcpListener, body: &str) -> String {
    let (stream, _) = service.accept().expect("a request");
    let mut reader = BufReader::new(&stream);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        assert!(reader.read_line(&mut request).expect("it reads") > 0, "{request}");
    }
    while request.starts_with("POST") && !request.ends_with('}') {
        let bytes = reader.fill_buf().expect("it reads");
        let end = bytes.iter().position(|byte| *byte == b'}').map_or(bytes.len(), |at| at + 1);
        request.push_str(&String::from_utf8_lossy(&bytes[..end]));
        reader.consume(end);
    }
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    (&stream).write_all((head + body).as_bytes()).expect("it writes");
    // Closed with something unread, the connection would be reset, and the answer with it.
    stream.shutdown(std::net::Shutdown::Write).expect("it ends");
    std::io::copy(&mut reader, &mut std::io::sink()).expect("the client ends too");
    request
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder").map(|entry| entry.expect("an entry")) {
        let to = to.join(entry.file_name());
        match entry.file_type().expect("its type").is_dir() {
            true => copy(&entry.path(), &to),
            false => drop(std::fs::copy(entry.path(), to).expect("it is copied")),
        }
    }
}
