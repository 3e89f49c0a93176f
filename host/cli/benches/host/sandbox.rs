//! One small action: an input, an output file and a log line. Through the sandbox, its output taken in as the host does;
//! against the bare component with the same system calls. Without the sync of the output, which is the same for both.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pipewright_artifacts::files::{BlobDir, Blobs as _, Node, Tree, collect, remove_tree};
use pipewright_base::Digest;
use pipewright_base::clock::monotonic;
use pipewright_runner::logs::Logs;
use pipewright_sandbox::abi::{self, Category, Entry, Owner, Request};
use pipewright_sandbox::files::Input;
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::Outside;
use pipewright_sandbox::{Call, Plugin, Sandbox};
use tokio::runtime::Runtime;

use crate::bare::{Bare, Reach};
use crate::measure::{Line, compare};

const ROUNDS: usize = 20;
const CALLS: u32 = 50;
const GOAL: f64 = 2.0;

const INPUT: &str = "Code";
const OUTPUT: &str = "Built";
const CONTENT: &[u8] = b"one small file\n";

struct Ours<'a> {
    sandbox: &'a Sandbox,
    plugin: Plugin,
    input: Input,
    blobs: BlobDir,
    trees: BlobDir,
    logs: Logs,
    work: PathBuf,
}

struct Theirs<'a> {
    bare: &'a Bare,
    input: PathBuf,
    blobs: PathBuf,
    logs: PathBuf,
    work: PathBuf,
}

pub(crate) fn run(
    runtime: &Runtime,
    sandbox: &Sandbox,
    plugin: Plugin,
    bare: &Bare,
    folder: &Path,
) -> anyhow::Result<Line> {
    let ours = Ours::new(sandbox, plugin, &folder.join("ours"))?;
    let theirs = Theirs::new(bare, &folder.join("bare"))?;
    // Where a host makes its calls.
    let there = sandbox.runtime().context("the sandbox has threads")?;
    compare("one small action through the sandbox", GOAL, (ROUNDS, CALLS), |round| {
        let keys = (0..CALLS).map(|call| format!("{round:06}-{call:06}")).collect::<Vec<_>>();
        let start = monotonic();
        for key in &keys {
            there.block_on(ours.call(key))?;
        }
        let took = start.elapsed();
        let start = monotonic();
        for key in &keys {
            runtime.block_on(theirs.call(key))?;
        }
        anyhow::Ok::<(Duration, Duration)>((took, start.elapsed()))
    })
}

impl<'a> Ours<'a> {
    fn new(sandbox: &'a Sandbox, plugin: Plugin, folder: &Path) -> anyhow::Result<Self> {
        let blobs = BlobDir::new(folder.join("blobs"))?;
        let node = Node::File { digest: blobs.put(CONTENT)?, size: CONTENT.len() as u64, executable: false };
        let tree = Tree::new(vec![pipewright_artifacts::files::Entry { path: "file".to_owned(), node }])?;
        Ok(Self {
            sandbox,
            plugin,
            input: Input { name: INPUT.to_owned(), tree: Arc::new(tree), blobs: Arc::new(blobs.clone()) },
            blobs,
            trees: BlobDir::new(folder.join("trees"))?,
            logs: Logs::new(folder.join("logs")),
            work: folder.join("work"),
        })
    }

    /// As `actions` and `artifacts` of the host do it.
    async fn call(&self, key: &str) -> anyhow::Result<()> {
        let work = self.work.join(key);
        remove_tree(&work)?;
        let log = self.logs.of("execution", key, "Build", "Small");
        let limits = CallLimits::default();
        let quota = limits.files.clone();
        let call = Call {
            tenant: 0,
            entry: Entry::Build,
            request: request(key),
            granted_as: None,
            grants: Grants::default(),
            time: None,
            inputs: vec![self.input.clone()],
            work_dir: work.clone(),
            secret_environment: Vec::new(),
            ended: None,
            caches: Default::default(),
            tools: Default::default(),
            limits,
            sink: log.clone(),
            outside: Outside::Live,
        };
        let end = self.sandbox.call(&self.plugin, call).await;
        log.flush();
        end.result?;
        for made in &end.outputs {
            let tree = collect(made, &self.blobs, &quota)?;
            self.trees.put(&tree.to_bytes())?;
        }
        Ok(remove_tree(&work)?)
    }
}

impl<'a> Theirs<'a> {
    fn new(bare: &'a Bare, folder: &Path) -> anyhow::Result<Self> {
        let input = folder.join("input");
        fs::create_dir_all(&input)?;
        fs::write(input.join("file"), CONTENT)?;
        let [blobs, logs, work] = ["blobs", "logs", "work"].map(|name| folder.join(name));
        fs::create_dir_all(&blobs)?;
        Ok(Self { bare, input, blobs, logs, work })
    }

    /// What the host does for such a call, by plain system calls.
    async fn call(&self, key: &str) -> anyhow::Result<()> {
        let work = self.work.join(key);
        empty(&work)?;
        let output = work.join("outputs").join(OUTPUT);
        fs::create_dir_all(&output)?;
        let reach = Reach {
            input: Some((&self.input, INPUT)),
            output: Some((&output, OUTPUT)),
            log: self.logs.join("execution").join(key).with_extension("log"),
        };
        self.bare.call("Small", key, reach).await?;
        for entry in fs::read_dir(&output)? {
            let entry = entry?;
            let size = entry.metadata()?.len();
            let digest = Digest::of(&fs::read(entry.path())?);
            self.keep(&entry.path(), &digest)?;
            let manifest = format!("{{\"path\":\"file\",\"sha256\":\"{digest}\",\"size\":{size}}}\n");
            let aside = self.blobs.join("new");
            File::create(&aside)?.write_all(manifest.as_bytes())?;
            self.keep(&aside, &Digest::of(manifest.as_bytes()))?;
        }
        empty(&work)
    }

    fn keep(&self, file: &Path, digest: &Digest) -> anyhow::Result<()> {
        let name = digest.to_string();
        let folder = self.blobs.join(&name[..2]);
        let to = folder.join(&name[2..]);
        fs::set_permissions(file, Permissions::from_mode(0o444))?;
        if fs::rename(file, &to).is_err() {
            fs::create_dir_all(&folder)?;
            fs::rename(file, &to)?;
        }
        Ok(())
    }
}

fn empty(folder: &Path) -> anyhow::Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

fn request(key: &str) -> Request {
    let text = str::to_owned;
    Request {
        action_type: abi::TypeId {
            category: Category::Build,
            owner: Owner::Custom,
            provider: text("Small"),
            version: text("1"),
        },
        context: abi::Context {
            account: text("000000000000"),
            region: text("us-east-1"),
            pipeline: text("bench"),
            execution_id: text("00000000-0000-4000-8000-000000000000"),
            stage: text("Build"),
            action: text("Small"),
            action_execution_id: text(key),
        },
        settings: Vec::new(),
        inputs: vec![text(INPUT)],
        outputs: vec![abi::Output { name: text(OUTPUT), files: Vec::new() }],
        commands: Vec::new(),
        environment: Vec::new(),
        output_variables: Vec::new(),
        idempotency_key: text(key),
        attempt: 1,
        resumed: None,
    }
}
