//! The component that a command is about: found, or built with cargo, and loaded.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use pipewright_sandbox::{LoadError, Plugin, Sandbox};
use serde::Deserialize;
use tokio::process::Command as Process;

use super::super::exit::Ended;
use crate::plugins;

/// The target for which plugins are built.
pub(super) const TARGET: &str = "wasm32-wasip2";

/// The component at a path: a file, or what the crate in a folder makes.
pub(super) async fn find(path: &Path) -> Result<PathBuf, Ended> {
    if path.is_dir() { build(path).await } else { Ok(path.to_owned()) }
}

/// The folder in which the cases of a plugin lie: beside its manifest or its component.
pub(super) fn folder(path: &Path) -> &Path {
    if path.is_dir() { path } else { path.parent().unwrap_or(Path::new("")) }
}

pub(super) async fn load(sandbox: &Sandbox, component: &Path) -> Result<Plugin, Ended> {
    let bytes = plugins::read(component).map_err(Ended::usage)?;
    match sandbox.load(bytes.into()).await {
        Ok(plugin) => Ok(plugin),
        Err(LoadError::Host(error)) => Err(Ended::Host(error)),
        Err(error) => Err(Ended::usage(format!("{}: {error}", component.display()))),
    }
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
