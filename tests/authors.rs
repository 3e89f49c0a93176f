//! What the author of a plugin does, with the documented commands alone: from no folder to a component that is checked.
//! Builds share one target directory here, which spares compiling the SDK again for each.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A plugin that does nothing but what every plugin does is smaller; the shipped one, without debug information.
const COMPONENT_BYTES_MAX: u64 = 100 * 1000;

/// Where an author works.
struct Desk {
    folder: TempDir,
    target: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("authors");
        Self { folder: TempDir::new().expect("a folder"), target }
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    /// What a command prints, and whether it ended with that code.
    fn command(&self, code: i32, arguments: &[&str]) -> String {
        let output = Command::new(env!("CARGO_BIN_EXE_pipewright"))
            .args(arguments)
            .current_dir(self.folder.path())
            .env("CARGO_TARGET_DIR", &self.target)
            .env("XDG_CACHE_HOME", self.target.join("cache"))
            .output()
            .expect("it runs");
        let said = [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
        assert_eq!(output.status.code(), Some(code), "pipewright {}:\n{said}", arguments.join(" "));
        said
    }

    fn check(&self, code: i32, arguments: &[&str], expected: &[&str]) {
        let said = self.command(code, arguments);
        for text in expected {
            assert!(said.contains(text), "pipewright {}: no `{text}` in:\n{said}", arguments.join(" "));
        }
    }
}

/// Every template builds as it is, and passes its own cases.
#[test]
fn every_kind_of_plugin_begins_with_one_command() {
    let desk = Desk::new();
    for kind in ["source", "build", "test", "deploy", "approval", "invoke", "rule"] {
        let name = format!("my-{kind}");
        desk.check(0, &["plugin", "new", &format!("acme/{name}"), "--kind", kind], &["src/lib.rs", "plugin test ."]);
        desk.check(0, &["plugin", "test", &name], &["ok ", " 0 failed"]);
        desk.check(0, &["plugin", "build", &name], &["dist/", "compiled in", &format!("acme/{name} 0.1.0"), "sha256:"]);
        let bytes = std::fs::metadata(desk.path(&format!("{name}/dist/{name}.wasm"))).expect("the component").len();
        // What a deploy carries in it is JSON and HTTP.
        assert!(bytes < COMPONENT_BYTES_MAX || kind == "deploy" || kind == "approval", "{kind}: {bytes} bytes");
    }
    desk.check(2, &["plugin", "new", "my-build", "--kind", "build"], &["my-build", "--path"]);
    desk.check(2, &["plugin", "new", "My_Build", "--kind", "build"], &["`My_Build`", "small letters"]);
}

#[test]
fn a_run_shows_everything_that_the_action_did() {
    let desk = Desk::new();
    desk.command(0, &["plugin", "new", "acme/count", "--kind", "build"]);
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

/// The line that a denial says is missing is the one to give.
#[test]
fn a_denial_says_what_to_grant() {
    let desk = Desk::new();
    desk.command(0, &["plugin", "new", "acme/tell", "--kind", "deploy"]);
    std::fs::create_dir(desk.path("site")).expect("a folder");
    let server = std::net::TcpListener::bind("127.0.0.1:0").expect("an address");
    let origin = format!("http://{}", server.local_addr().expect("an address"));
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = server.accept().expect("a request");
        let mut request = Vec::new();
        while !request.contains(&b'}') {
            let mut bytes = [0; 1024];
            let count = stream.read(&mut bytes).expect("it reads");
            request.extend_from_slice(&bytes[..count]);
        }
        let answer = "HTTP/1.1 201 Created\r\ncontent-length: 11\r\nconnection: close\r\n\r\n{\"id\":\"r1\"}";
        stream.write_all(answer.as_bytes()).expect("it writes");
        String::from_utf8_lossy(&request).into_owned()
    });
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
    desk.command(0, &["plugin", "new", "acme/fall", "--kind", "approval"]);
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
    desk.check(1, &["plugin", "run", "fall"], &["stumbled at 16", "stumble at ", "src/lib.rs:", "the plugin crashed"]);
    desk.command(0, &["plugin", "build", "fall"]);
    desk.check(1, &["plugin", "run", "fall/dist/fall.wasm"], &["stumble at ", "approve at "]);
    std::fs::remove_file(desk.path("fall/dist/fall.debug.wasm")).expect("it is there");
    let said = desk.command(1, &["plugin", "run", "fall/dist/fall.wasm"]);
    assert!(said.contains(": function ") && !said.contains("stumble at "), "{said}");
}
