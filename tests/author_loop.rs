//! The loop of somebody who writes a plugin: a mistake is told in the compiler's words, cases run by name and within limits, what
//! failed says why, and a crash on a host is told with names.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::authors::Desk;
use crate::run::{action, pipeline};
use crate::server::{Server, share_compiled};

/// However slow the machine is, a build of a small plugin is over by then.
const PATIENCE: Duration = Duration::from_secs(600);

impl Desk {
    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, text).expect("it is written");
    }

    fn replace(&self, path: &str, from: &str, to: &str) {
        let text = fs::read_to_string(self.path(path)).expect("it is there");
        assert!(text.contains(from), "{path} has no {from}");
        self.write(path, &text.replace(from, to));
    }

    /// An invoke plugin that does this first.
    fn plugin(&self, name: &str, deed: &str) {
        self.begin(name, "invoke");
        fs::remove_dir_all(self.path(&format!("{name}/cases"))).expect("the template's own");
        self.replace(
            &format!("{name}/src/lib.rs"),
            "    let files = files::list",
            &format!("    {deed}\n    let files = files::list"),
        );
    }
}

#[test]
fn a_mistake_is_told_in_the_compilers_words() {
    let desk = Desk::new();
    desk.begin("count", "build");
    desk.replace(
        "count/src/lib.rs",
        "use pipewright_sdk::prelude::*;",
        "use pipewright_sdk::prelude::*;\nconst WRONG: u8 = \"text\";",
    );
    let said = ["error[E0308]: mismatched types", "--> src/lib.rs:", "const WRONG: u8 = \"text\";", "cannot be built"];
    desk.check(2, &["plugin", "test", "count"], &said);
}

#[test]
fn cases_run_by_name_and_each_by_itself() {
    let desk = Desk::new();
    desk.plugin(
        "stuck",
        "if settings.most == Some(3) { std::process::exit(3); }
    if settings.most == Some(7) { info!(\"about to loop\"); loop { std::hint::black_box(()); } }",
    );
    let case = "action = \"Invoke/Custom/Stuck/1\"\n";
    desk.write("stuck/cases/good/inputs/Source/a.txt", "a");
    desk.write("stuck/cases/good/case.toml", &format!("{case}expected.outcome = \"succeeded\"\n"));
    desk.write("stuck/cases/endless/inputs/Source/a.txt", "a");
    let endless = "settings.Most = \"7\"\nlimits.cpu-seconds = 1\nexpected.outcome = \"succeeded\"\n";
    desk.write("stuck/cases/endless/case.toml", &format!("{case}{endless}"));
    desk.write("stuck/cases/broken/case.toml", "outcome = 1\n");
    desk.write("stuck/cases/exits/inputs/Source/a.txt", "a");
    desk.write(
        "stuck/cases/exits/case.toml",
        &format!("{case}settings.Most = \"3\"\nexpected.outcome = \"succeeded\"\n"),
    );

    let broken = ["BROKEN  broken", "cases/broken/case.toml", "unknown field `outcome`"];
    let of_limit = ["cpu_seconds_max", "`limits.cpu-seconds` of the case sets it"];
    let failed = [&["FAILED  endless", "    | about to loop"], &of_limit[..]].concat();
    let exited =
        ["FAILED  exits", "it exited with a failure instead of answering", "ok      good", "1 passed, 3 failed"];
    let said = desk.command(2, &["plugin", "test", "stuck"]);
    for text in [&broken[..], &failed[..], &exited[..]].concat() {
        assert!(said.contains(text), "no `{text}` in:\n{said}");
    }
    assert!(!said.contains("<wasm function") && !said.contains("exit status 1"), "{said}");
    desk.check(1, &["plugin", "test", "stuck", "endless", "good"], &["1 passed, 1 failed"]);
    let said = desk.command(0, &["plugin", "test", "stuck", "good"]);
    assert!(said.contains("1 passed, 0 failed") && !said.contains("endless"), "{said}");
    desk.check(2, &["plugin", "test", "stuck", "god"], &["no case is called god", "broken, endless, exits, good"]);
}

/// A case that grants an origin and has no answers made up reaches nobody.
#[test]
fn no_request_of_a_case_leaves_the_machine_unless_it_says_so() {
    let desk = Desk::new();
    desk.plugin("ask", "http::get(\"http://127.0.0.1:1/jobs\").send()?;");
    desk.replace(
        "ask/src/lib.rs",
        "name: \"acme/ask\",",
        "name: \"acme/ask\",\n    asks: [ask(Capability::Http(\"127.0.0.1:1\".into()), \"to ask\")],",
    );
    let case =
        "action = \"Invoke/Custom/Ask/1\"\ngrants.http = [{ origin = \"http://127.0.0.1:1\", private = true }]\n";
    desk.write("ask/cases/ask/inputs/Source/a.txt", "a");
    let check = |rest: &str, code: i32, said: &[&str]| {
        desk.write("ask/cases/ask/case.toml", &format!("{case}{rest}\n"));
        desk.check(code, &["plugin", "test", "ask"], said);
    };
    check("expected.outcome = \"failed\"", 1, &["GET http://127.0.0.1:1/jobs", "no further request"]);
    check("network = true\nexpected = { outcome = \"failed\", failure.contains = [\"refused\"] }", 0, &["1 passed"]);
    check("network = true\nhttp = []\nexpected.outcome = \"failed\"", 2, &["network: give it or made-up answers"]);
}

#[test]
fn what_no_grant_allows_is_named() {
    let desk = Desk::new();
    desk.plugin(
        "net",
        "std::net::TcpStream::connect(\"127.0.0.1:80\").map_err(|error| Failure::job(error.to_string()))?;",
    );
    desk.write("docs/a.md", "one\n");
    let denial =
        "tried to use a socket of its own (tcp IPv4), which no grant allows; there are requests by HTTP instead";
    desk.check(1, &["plugin", "run", "net", "--input", "Source=docs"], &[denial]);
    desk.check(
        2,
        &["plugin", "run", "net", "--input", "Source=nowhere"],
        &["the input artifact Source: nowhere: No such file"],
    );
}

#[test]
fn an_output_that_was_not_made_fails_the_run() {
    let desk = Desk::new();
    desk.plugin("idle", "");
    desk.replace("idle/src/lib.rs", "inputs = 1", "inputs = 1, outputs = 0..=1");
    desk.write("docs/a.md", "one\n");
    let run = ["plugin", "run", "idle", "--input", "Source=docs"];
    desk.check(0, &run, &["succeeded"]);
    // What no pipeline could have is not run.
    let (none, two) = (["plugin", "run", "idle"], [&run[..], &["--output", "A", "--output", "B"]].concat());
    desk.check(2, &none, &["has 1 input artifact, and there are 0 here", "give each by --input NAME=DIR"]);
    desk.check(2, &two, &["has 0 to 1 output artifacts, and there are 2 here"]);
    let misspelled = [&run[..], &["--set", "Mots=3"]].concat();
    desk.check(2, &misspelled, &["--set Mots: Invoke/Custom/Idle/1 has no such setting; it has Most"]);
    desk.check(
        1,
        &[&run[..], &["--output", "Out"]].concat(),
        &["ConfigurationError: the output artifact Out was declared and not made", "/outputs/Out"],
    );
}

/// Wherever the debug file lies beside the component: in a single run, in a local pipeline, and not needed by a replay.
#[test]
fn a_crash_on_a_host_is_told_with_names() {
    let desk = Desk::new();
    desk.plugin("fall", "stumble(settings.most.unwrap_or(7));");
    let stumble = "#[inline(never)]\nfn stumble(at: u32) {\n    panic!(\"stumbled at {at}\");\n}\n\nplugin! {";
    desk.replace("fall/src/lib.rs", "plugin! {", stumble);
    desk.command(0, &["plugin", "build", "fall"]);
    desk.write("docs/a.md", "one\n");

    let mut fall = action("Invoke", "Custom", "Fall", "Fall");
    fall["inputArtifacts"] = serde_json::json!([{ "name": "Code" }]);
    desk.write("pipeline.json", &pipeline(&[fall]));
    let run = ["run", "pipeline.json", "--source", "Source=docs", "--data", "data", "--plugin", "fall/dist/fall.wasm"];
    share_compiled(&desk.path("data"));
    desk.check(1, &run, &["stumbled at 7", "stumble at ", "src/lib.rs:"]);

    let single = ["plugin", "run", "fall/dist/fall.wasm", "--input", "Source=docs", "--record", "r.zip"];
    desk.check(1, &single, &["stumble at "]);
    desk.check(0, &["plugin", "replay", "r.zip"], &["same (1 call replayed)"]);

    // A server has them in its folder of plugins.
    desk.write(
        "grants.toml",
        "[action.\"Source/Source\"]\ndirectories.docs = { path = \"docs\", access = \"read\" }\n",
    );
    desk.write("serve.toml", "plugins = \"fall/dist\"\n\n[grants]\ntest = \"grants.toml\"\n");
    let served = fs::read_to_string(desk.path("pipeline.json")).expect("it was written");
    let mut served: serde_json::Value = serde_json::from_str(&served).expect("a pipeline");
    served["stages"][0]["actions"][0]["configuration"] = serde_json::json!({ "Directory": "docs" });
    desk.write("served.json", &serde_json::json!({ "pipeline": served }).to_string());
    fs::remove_dir_all(desk.path("data")).expect("of the local pipeline");
    let _server = Server::start(&desk.path(""));
    desk.command(0, &["create", "served.json", "--data", "data"]);
    desk.check(0, &["logs", "test", "--follow", "--data", "data"], &["stumbled at 7"]);
    let history = ["history", "test", "--actions", "--json", "--data", "data"];
    desk.check(0, &history, &["stumbled at 7", "stumble at ", "src/lib.rs:"]);
}

/// What `plugin test --watch` says, line by line.
struct Watch {
    child: Child,
    lines: Receiver<String>,
}

impl Watch {
    fn new(desk: &Desk, plugin: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        command.args(["plugin", "test", plugin, "--watch"]).current_dir(desk.path(""));
        desk.surround(&mut command);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
        let (sender, lines) = mpsc::channel();
        let (out, err) = (child.stdout.take().expect("piped"), child.stderr.take().expect("piped"));
        for stream in [Box::new(out) as Box<dyn Read + Send>, Box::new(err)] {
            let sender = sender.clone();
            std::thread::spawn(move || {
                let lines = BufReader::new(stream).lines().map_while(Result::ok);
                lines.take_while(|line| sender.send(line.clone()).is_ok()).for_each(drop);
            });
        }
        Self { child, lines }
    }

    /// Until all of it was said, in any order: output and errors are two streams. Gives what was said.
    fn until(&self, wanted: &[&str]) -> String {
        let mut said = String::new();
        while !wanted.iter().all(|wanted| said.contains(wanted)) {
            let line = self.lines.recv_timeout(PATIENCE);
            said += &(line.unwrap_or_else(|error| panic!("no {wanted:?} ({error}) in:\n{said}")) + "\n");
        }
        said
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn what_is_saved_is_built_and_tested_at_once() {
    let desk = Desk::new();
    desk.begin("count", "build");
    let watch = Watch::new(&desk, "count");
    watch.until(&["2 passed, 0 failed", "waiting for a change in count"]);
    desk.replace("count/src/lib.rs", "plugin! {", "const WRONG: u8 = \"text\";\n\nplugin! {");
    watch.until(&["const WRONG: u8 = \"text\";", "waiting for a change"]);
    desk.replace("count/src/lib.rs", "const WRONG: u8 = \"text\";\n\n", "");
    watch.until(&["2 passed, 0 failed", "waiting for a change"]);
    desk.replace("count/cases/counts-lines/case.toml", "Lines = \"3\"", "Lines = \"4\"");
    let said = watch.until(&["FAILED  counts-lines"]);
    assert!(!said.contains("Compiling"), "a case is no part of the plugin:\n{said}");
}

/// The compiler says what it is at. What all plugins are built of lies in one folder for all of them, and what did not change is
/// not built again.
#[test]
fn what_plugins_are_built_of_is_built_once() {
    /// A component, with and without debug information, and what cargo notes about it.
    const TARGET_BYTES_MAX: u64 = 16 << 20;

    let desk = Desk::new();
    for plugin in ["one", "another"] {
        desk.begin(plugin, "build");
        let first = desk.command(0, &["plugin", "test", plugin]);
        assert!(first.contains(&format!("Compiling {plugin} ")), "{first}");
        let again = desk.command(0, &["plugin", "test", plugin]);
        assert!(!again.contains("Compiling"), "{again}");
        let bytes = bytes_in(&desk.path(&format!("{plugin}/target")));
        assert!(bytes < TARGET_BYTES_MAX, "the target folder of {plugin} has {bytes} bytes");
        // Of the first one here what is shared may be compiled.
        assert!(plugin == "one" || !first.contains("Compiling serde"), "{first}");
    }
}

fn bytes_in(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let bytes = |entry: fs::DirEntry| match entry.metadata().expect("it is there") {
        metadata if metadata.is_dir() => bytes_in(&entry.path()),
        metadata => metadata.len(),
    };
    entries.map(bytes).sum()
}

#[test]
fn a_plugin_has_a_page_of_its_own() {
    let desk = Desk::new();
    desk.begin("tell", "deploy");
    let said = [
        "# acme/tell 0.1.0",
        "## Deploy/Custom/Tell/1",
        "| `Url` | text | it is needed |",
        "| variable |",
        "## What it asks for",
    ];
    desk.check(0, &["plugin", "doc", "tell"], &said);
}
