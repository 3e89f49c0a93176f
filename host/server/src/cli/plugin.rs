//! `pipewright plugin`: what somebody who writes a plugin needs.
//!
//! Owns finding or building the component, and the printing of results. Must not know how a case is run (`cases`).

use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::Context as _;
use pipewright_sandbox::{LoadError, Sandbox};
use serde::Deserialize;
use tokio::process::Command as Process;

use super::exit::{self, Ended};
use crate::cases::{self, CaseResult, CasesError};
use crate::home::UserFolders;
use crate::host;
use crate::plugins;

/// The target for which plugins are built.
const TARGET: &str = "wasm32-wasip2";

#[derive(clap::Subcommand)]
pub enum Command {
    /// Run the cases of a plugin in the sandbox
    ///
    /// The cases are the folders in `cases/`, beside the crate's Cargo.toml or beside the component.
    Test {
        /// The folder of the plugin's crate, which is built with cargo; or a component
        #[arg(value_name = "DIR|FILE.wasm")]
        plugin: PathBuf,
    },
}

pub fn run(command: Command) -> Result<ExitCode, Ended> {
    let Command::Test { plugin } = command;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    runtime.block_on(async {
        let sandbox = host::sandbox(UserFolders::find()?.compiled(), Vec::new())?;
        test(&sandbox, &plugin).await
    })
}

async fn test(sandbox: &Sandbox, path: &Path) -> Result<ExitCode, Ended> {
    let component = if path.is_dir() { build(path).await? } else { path.to_owned() };
    let bytes = plugins::read(&component).map_err(Ended::usage)?;
    let plugin = match sandbox.load(bytes.into()).await {
        Ok(plugin) => plugin,
        Err(LoadError::Host(error)) => return Err(Ended::Host(error)),
        Err(error) => return Err(Ended::usage(format!("{}: {error}", component.display()))),
    };
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) };
    let results = cases::run_all(sandbox, &plugin, &folder.join(cases::FOLDER)).await.map_err(|error| match error {
        CasesError::Host { .. } => Ended::Host(error.into()),
        CasesError::Missing(_) | CasesError::Invalid(_) => Ended::usage(error),
    })?;
    print(&results);
    Ok(ExitCode::from(if results.iter().all(CaseResult::passed) { exit::SUCCEEDED } else { exit::FAILED }))
}

fn print(results: &[CaseResult]) {
    for result in results {
        println!("{} {}", if result.passed() { "ok    " } else { "FAILED" }, result.name);
        for difference in &result.differences {
            println!("    {}", difference.to_string().replace('\n', "\n    "));
        }
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    println!("{} passed, {failed} failed", results.len() - failed);
}

/// What cargo says of each thing that it made.
#[derive(Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Builds the crate in a folder as its author would, and gives the file of its component. What cargo says to a person goes
/// to standard error.
async fn build(folder: &Path) -> Result<PathBuf, Ended> {
    let manifest = folder.join("Cargo.toml");
    let manifest = manifest.canonicalize().map_err(|error| {
        Ended::usage(format!("{}: {error}; give the folder of a plugin's crate, or a component", manifest.display()))
    })?;
    let mut cargo = Process::new("cargo");
    cargo.args(["build", "--release", "--target", TARGET, "--message-format", "json-render-diagnostics"]);
    let built = cargo.arg("--manifest-path").arg(&manifest).stderr(Stdio::inherit()).output().await;
    let built =
        built.map_err(|error| Ended::usage(format!("cargo, which builds the plugin, cannot be run: {error}")))?;
    if !built.status.success() {
        return Err(Ended::usage(format!("{} cannot be built for {TARGET}; see above", manifest.display())));
    }
    let is_component = |file: &PathBuf| file.extension().is_some_and(|extension| extension == "wasm");
    String::from_utf8_lossy(&built.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest)
        .flat_map(|message| message.filenames)
        .find(is_component)
        .ok_or_else(|| {
            let wants = "it needs `crate-type = [\"cdylib\"]` in its `[lib]`";
            Ended::usage(format!("{} makes no component: {wants}", manifest.display()))
        })
}
