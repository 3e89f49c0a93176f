//! The benchmark: what the host costs over what cannot be saved, both measured in one run, side by side.
//!
//! The times depend on the machine; the ratios are what counts. Each line is the median of many rounds, in which both
//! sides took turns.
#![expect(clippy::print_stdout, reason = "a benchmark prints what it found")]

mod artifacts;
mod bare;
mod driver;
mod measure;
mod replay;
mod runs;
mod sandbox;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use pipewright_base::home::DataDirectory;
use pipewright_packages::plugins::Plugins;
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::{Host, Identity, sandbox_with_compiler};

use crate::bare::Bare;

/// Calls that the bare side runs at once; the sandbox has room for as many.
const CALLS_MAX: u32 = 1_000;

fn main() -> anyhow::Result<()> {
    // On the disk of the build: a temporary folder may be in memory, where a sync costs nothing.
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    // In memory where there is such a place: the wait for a disk would hide what the sandbox costs.
    let memory = Path::new("/dev/shm");
    let quick = if memory.is_dir() { tempfile::tempdir_in(memory)? } else { tempfile::tempdir_in(folder.path())? };
    // Cargo hands over `--bench` and what was given as a filter: a part of a line's name.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wants = |name: &str| wanted.is_empty() || wanted.iter().any(|part| name.contains(part));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;

    let component = pipewright_guests::get("bench");
    let plugin = folder.path().join("bench.wasm");
    std::fs::write(&plugin, component)?;
    let compiler = PathBuf::from(env!("CARGO_BIN_EXE_pipewright"));
    let sandbox = sandbox_with_compiler(folder.path().join("compiled"), compiler)?;
    let plugins = runtime.block_on(Plugins::load(&sandbox, std::slice::from_ref(&plugin), None))?;
    let bare = Arc::new(Bare::new(component, CALLS_MAX).map_err(anyhow::Error::from).context("the bare component")?);

    println!("{}", measure::head());
    if wants("sandbox") {
        let plugin = runtime.block_on(sandbox.load(component.into()))?;
        println!("{}", sandbox::run(&runtime, &sandbox, plugin, &bare, quick.path())?);
    }
    if wants("driver") {
        let data = DataDirectory::open(&folder.path().join("host"))?;
        let host = runtime.block_on(async {
            Host::open(&data, Identity::default(), sandbox.clone(), plugins, GrantBook::one(GrantsFile::default()))
        })?;
        for line in driver::run(&runtime, &host, &bare, &folder.path().join("driver"))? {
            println!("{line}");
        }
    }
    if wants("artifacts") {
        println!("{}", artifacts::run(&runtime, &sandbox, &plugin, &folder.path().join("artifacts"))?);
    }
    Ok(())
}
