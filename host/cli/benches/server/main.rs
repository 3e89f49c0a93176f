//! The server's benchmark: what a real `pipewright serve` costs, asked by real requests, with the goal of each figure.
//!
//! The times depend on the machine and on what else it does; ratios, memory and CPU times hardly do. CONTRIBUTING.md says
//! what each figure means.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

mod child;
mod client;
mod executions;
mod fill;
mod git;
mod history;
#[path = "../host/measure.rs"]
mod measure;
mod memory;
mod neighbours;
mod pipelines;
mod plugins;
mod report;
#[path = "../host/runs.rs"]
mod runs;
mod sources;

use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::Context as _;
use tokio::runtime::Runtime;

/// What every part works with.
struct Bench {
    runtime: Runtime,
    /// For data; each part has its own folder below.
    folder: PathBuf,
    /// The components that servers are started with.
    plugins: PathBuf,
    quick: bool,
    /// Action executions in the large store.
    actions: usize,
}

impl Bench {
    fn choose<T>(&self, quick: T, full: T) -> T {
        if self.quick { quick } else { full }
    }
}

/// What a part measures in a folder of its own.
type Part = fn(&Bench, &Path) -> anyhow::Result<()>;

const PARTS: [(&str, Part); 6] = [
    ("executions", executions::run),
    ("memory", memory::run),
    ("history", history::run),
    ("neighbours", neighbours::run),
    ("sources", sources::run),
    ("plugins", plugins::run),
];

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if let [command, store, runs] = &arguments[..]
        && command == fill::COMMAND
    {
        return runtime.block_on(fill::run(Path::new(store), runs));
    }
    // On the disk of the build: a temporary folder may be in memory, where a sync costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let plugins = folder.path().join("components");
    std::fs::create_dir(&plugins)?;
    std::fs::write(plugins.join("bench.wasm"), pipewright_guests::get("bench"))?;
    let quick = arguments.iter().any(|argument| argument == "--quick");
    let actions = value(&arguments, "--actions=")?.unwrap_or(if quick { 20_000 } else { 1_000_000 });
    // Cargo hands over `--bench` too.
    let wanted: Vec<_> = arguments.iter().filter(|argument| !argument.starts_with("--")).collect();
    let bench = Bench { runtime, folder: folder.path().to_owned(), plugins, quick, actions };
    for (name, run) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|part| name.contains(part.as_str())) {
            let folder = bench.folder.join(name);
            std::fs::create_dir(&folder)?;
            run(&bench, &folder).with_context(|| format!("part {name}"))?;
            // The next one may need the space.
            std::fs::remove_dir_all(&folder)?;
        }
    }
    Ok(())
}

fn value<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    arguments: &[String],
    name: &str,
) -> anyhow::Result<Option<T>> {
    let value = arguments.iter().find_map(|argument| argument.strip_prefix(name));
    value.map(|value| value.parse().context(name.to_owned())).transpose()
}
