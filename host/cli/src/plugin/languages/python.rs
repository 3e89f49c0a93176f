//! Plugins in Python: what makes a component of a folder with a `pyproject.toml`. Must not know what is done with it.

use std::path::Path;

use serde::Deserialize;
use tokio::process::Command as Process;

use super::COMPONENT;
use crate::exit::Ended;

/// The version that the layer in `sdk/python` was written for.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";

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

/// componentize-py of the folder's own environment, or else of the PATH; and how to install it.
pub(super) fn tool(folder: &Path) -> Result<(Process, String), Ended> {
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
