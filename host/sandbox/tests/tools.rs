//! Command-line tools that a plugin runs, in the real sandbox: what they see, how they end, and what they do not get.
//!
//! A case is a list of steps for the guest `steps`, and what is in its log afterwards.

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::sync::Arc;

use common::Memory;
use pipewright_artifacts::files::{BlobDir, Blobs as _, Entry, FileQuota, Node, Tree};
use pipewright_sandbox::abi::Output;
use pipewright_sandbox::files::Input;
use pipewright_sandbox::grants::{Access, DirectoryGrant, Grants};
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::seam::Sink;
use pipewright_sandbox::{Call, CallEnd, CallFailure, Plugin, Sandbox};

struct World {
    root: tempfile::TempDir,
    blobs: BlobDir,
    input: Tree,
    sandbox: Sandbox,
    plugin: Plugin,
}

impl World {
    async fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let blobs = BlobDir::new(root.path().join("blobs")).unwrap();
        let file = |path: &str, bytes: &[u8]| {
            let node = Node::File { digest: blobs.put(bytes).unwrap(), size: bytes.len() as u64, executable: false };
            Entry { path: path.to_owned(), node }
        };
        let steps = pipewright_guests::get("steps");
        let files = [("note", &b"a note"[..]), ("plugin.wasm", steps), ("tool.wasm", pipewright_guests::get("tool"))];
        let input = Tree::new(files.map(|(path, bytes)| file(path, bytes)).into()).unwrap();
        let shelf = root.path().join("shelf");
        fs::create_dir(&shelf).unwrap();
        fs::write(shelf.join("tool.wasm"), pipewright_guests::get("tool")).unwrap();
        let sandbox = common::sandbox();
        let plugin = sandbox.load(steps.into()).await.unwrap();
        Self { root, blobs, input, sandbox, plugin }
    }

    async fn run(&self, script: &[&str], limits: CallLimits) -> (CallEnd, Vec<String>) {
        let memory = Arc::new(Memory::default());
        let sink: Arc<dyn Sink> = Arc::<Memory>::clone(&memory);
        let mut call = common::call("Steps", &[("Script", &script.join("\n"))], sink);
        call.request.inputs = vec!["in".to_owned()];
        call.request.outputs = vec![Output { name: "out".to_owned(), files: Vec::new() }];
        let tree = Arc::new(self.input.clone());
        let inputs = vec![Input { name: "in".to_owned(), tree, blobs: Arc::new(self.blobs.clone()) }];
        let grant = DirectoryGrant { path: self.root.path().join("shelf"), access: Access::Read };
        let grants = Grants { directories: BTreeMap::from([("shelf".to_owned(), grant)]), ..Grants::default() };
        let work_dir = tempfile::tempdir_in(self.root.path()).unwrap().keep();
        let end = self.sandbox.call(&self.plugin, Call { grants, inputs, work_dir, limits, ..call }).await;
        (end, memory.lines())
    }

    /// What is in the log, in this order, and how the call ended.
    async fn check(&self, script: &[&str], wanted: &[&str], failure: Option<&str>) {
        let (end, log) = self.run(script, limits()).await;
        let mut lines = log.iter();
        for wanted in wanted {
            assert!(lines.any(|line| line.contains(wanted)), "{wanted:?} is not in {log:#?}");
        }
        match (&end.result, failure) {
            (Ok(_), None) => {}
            (Err(error), Some(wanted)) => assert!(error.to_string().contains(wanted), "{error}"),
            (result, _) => panic!("{result:?}"),
        }
    }
}

fn limits() -> CallLimits {
    CallLimits { wall_seconds_max: 60, ..CallLimits::default() }
}

#[tokio::test]
async fn a_tool_has_the_files_and_the_log_of_the_plugin() {
    let world = World::new().await;
    let script = [
        "tool /inputs/in/tool.wasm say,hello,world",
        "tool /inputs/in/tool.wasm variable,LEVEL,none,variable,HOME,none,input",
        "tool /inputs/in/tool.wasm copy,/inputs/in/note,/scratch/copied",
        "tool /directories/shelf/tool.wasm write,/outputs/out/made,by-a-tool",
        "read /scratch/copied",
        "tool /inputs/in/tool.wasm exit",
    ];
    let log = ["Info hello world", "status 0", "Info LEVEL is high", "Info HOME is none", "Info 0 bytes of input"];
    let log = [&log[..], &["tools run", "read /scratch/copied: a note", "tool.wasm exit: status 1"]].concat();
    world.check(&script, &log, None).await;
    let (end, _) = world.run(&script[3..4], limits()).await;
    assert_eq!(end.outputs.len(), 1, "what it made is the action's output");
}

#[tokio::test]
async fn a_tool_reaches_no_more_than_the_plugin() {
    let world = World::new().await;
    let refused = [
        ("tool /inputs/in/tool.wasm write,/inputs/in/note,changed", "write /inputs/in/note changed: "),
        (
            "tool /inputs/in/tool.wasm copy,/directories/other/x,/scratch/x",
            "tried to use the directory /directories/other",
        ),
        ("tool /inputs/in/tool.wasm connect,127.0.0.1:1", "connect 127.0.0.1:1"),
        ("tool-online /inputs/in/tool.wasm connect,127.0.0.1:1", "connect 127.0.0.1:1"),
    ];
    for (step, log) in refused {
        world.check(&[step], &[log, "status 1"], None).await;
    }
}

#[tokio::test]
async fn what_is_no_tool_is_refused() {
    let world = World::new().await;
    let digest = "0".repeat(64);
    let pinned = format!("tool-pinned /directories/shelf/tool.wasm {digest}");
    let refused = [
        ("tool /inputs/in/note say,a,b", "not a WebAssembly component"),
        ("tool /inputs/in/none say,a,b", "/inputs/in/none does not exist"),
        ("tool /inputs/in/plugin.wasm say,a,b", "which no tool is given"),
        ("tool /directories/other/tool.wasm say,a,b", "tried to use the directory /directories/other"),
        (pinned.as_str(), "it is another file"),
    ];
    for (step, wanted) in refused {
        world.check(&[step], &[], Some(wanted)).await;
    }
}

#[tokio::test]
async fn a_tool_that_crashes_ends_alone() {
    let world = World::new().await;
    let script = ["tool /inputs/in/tool.wasm panic,broken", "tool /inputs/in/tool.wasm say,still,here"];
    world.check(&script, &["panicked at", "Info still here"], Some("the tool crashed")).await;
}

#[tokio::test]
async fn what_a_tool_uses_counts_for_the_call() {
    let world = World::new().await;
    let check = async |step: &str, limits: CallLimits, wanted: &str| {
        let (end, log) = world.run(&[step], limits).await;
        match end.result {
            Err(CallFailure::Limit(reached)) => assert_eq!(reached.limit, wanted),
            Err(CallFailure::Plugin(failure)) => assert!(failure.message.contains(wanted), "{failure:?}"),
            result => panic!("{step}: {result:?} {log:#?}"),
        }
    };
    let cpu = CallLimits { cpu_seconds_max: 1, ..limits() };
    check("tool /inputs/in/tool.wasm loop", cpu, "cpu_seconds_max").await;
    let wall = CallLimits { wall_seconds_max: 1, ..limits() };
    check("tool /inputs/in/tool.wasm loop", wall, "wall_seconds_max").await;
    let memory = CallLimits { memory_bytes_max: 32 << 20, ..limits() };
    check("tool /inputs/in/tool.wasm fill", memory, "memory_bytes_max").await;
    let files = CallLimits { files: FileQuota { bytes_max: 3, ..FileQuota::default() }, ..limits() };
    let (end, _) = world.run(&["tool /inputs/in/tool.wasm write,/scratch/x,more"], files).await;
    assert!(end.result.is_ok(), "the tool is told, and not the plugin: {:?}", end.result);
}

#[tokio::test]
async fn a_call_runs_a_number_of_tools() {
    let world = World::new().await;
    let script = vec!["tool /inputs/in/tool.wasm say,a,b"; 65];
    world.check(&script, &[], Some("a call runs at most 64 tools")).await;
}
