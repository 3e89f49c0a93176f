//! Plugins in Python and JavaScript: a folder is known by its manifest, and a tool of its language makes the component.
//!
//! Owns where such a folder has what, as `plugin new` writes it. Must not know what is done with the component.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde::Deserialize;
use tokio::process::Command as Process;

use super::super::exit::Ended;

/// Where the component is put, below the folder.
const COMPONENT: &str = "build/plugin.wasm";
/// The version that the layer in `sdk/python` was written for.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

/// A language other than Rust.
#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    Python,
    JavaScript,
}

/// The part of `pyproject.toml` that is ours.
#[derive(Deserialize)]
struct PythonProject {
    tool: PythonTools,
}

#[derive(Deserialize)]
struct PythonTools {
    pipewright: PythonPlugin,
}

#[derive(Deserialize)]
struct PythonPlugin {
    /// of `pipewright/wit/plugin.wit`
    world: String,
}

impl Language {
    /// The language of the plugin in a folder, unless it is a crate.
    pub(super) fn of(folder: &Path) -> Option<Self> {
        let has = |name: &str| folder.join(name).is_file();
        match () {
            () if has("Cargo.toml") => None,
            () if has("pyproject.toml") => Some(Self::Python),
            () if has("package.json") => Some(Self::JavaScript),
            () => None,
        }
    }

    /// Builds the component, and gives its file. What the tool says goes to standard error.
    pub(super) async fn build(self, folder: &Path) -> Result<PathBuf, Ended> {
        let at = |error: io::Error| Ended::usage(format!("{}: {error}", folder.display()));
        let folder = &folder.canonicalize().map_err(at)?;
        let component = folder.join(COMPONENT);
        std::fs::create_dir_all(component.parent().unwrap_or(folder)).map_err(at)?;
        let (mut tool, install) = match self {
            Self::Python => python(folder)?,
            Self::JavaScript => javascript(),
        };
        let name = tool.as_std().get_program().to_string_lossy().into_owned();
        let ended = tool.current_dir(folder).stdout(Stdio::from(io::stderr())).status().await.map_err(|error| {
            let here = folder.display();
            Ended::usage(format!("{name}, which builds the plugin in {here}, cannot be run: {error}; {install}"))
        })?;
        if !ended.success() {
            return Err(Ended::usage(format!("{} cannot be built by {name}; see above", folder.display())));
        }
        Ok(component)
    }
}

/// componentize-py of the folder's own environment, or else of the PATH; and how to install it.
fn python(folder: &Path) -> Result<(Process, String), Ended> {
    let manifest = folder.join("pyproject.toml");
    let text =
        std::fs::read_to_string(&manifest).map_err(|error| Ended::usage(format!("{}: {error}", manifest.display())))?;
    let project: PythonProject = toml::from_str(&text).map_err(|error| {
        let wants = "it needs `[tool.pipewright]` with `world = \"build-plugin\"` or another";
        Ended::usage(format!("{}: {error}; {wants}", manifest.display()))
    })?;
    let own = folder.join(".venv/bin/componentize-py");
    let mut tool = Process::new(if own.is_file() { own } else { "componentize-py".into() });
    tool.args(["-d", "pipewright/wit", "-w", &project.tool.pipewright.world, "componentize"]);
    tool.args(["-p", "src", "-p", "pipewright/python", "plugin", "-o", COMPONENT]);
    // An author's mistake is shown as Python's own traceback, and not the tool's as well.
    tool.env("RUST_BACKTRACE", "0");
    Ok((tool, format!("install it by `python3 -m venv .venv && .venv/bin/pip install {COMPONENTIZE_PY}`")))
}

/// The folder's own script knows the rest, and says if `npm install` is missing.
fn javascript() -> (Process, String) {
    let mut tool = Process::new("node");
    tool.args(["pipewright/javascript/build.mjs", COMPONENT]);
    (tool, "install Node.js 20 or newer from https://nodejs.org, or with the packages of your system".to_owned())
}
