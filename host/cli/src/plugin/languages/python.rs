//! Plugins in Python: what looks at a folder with a `pyproject.toml`, and what makes a component of it. Must not know what is
//! done with it.
//!
//! Packages come from the folder's own `.venv`, or from nowhere.

use std::path::Path;
use std::{fs, io};

use pipewright_artifacts::files::remove_tree;
use serde::Deserialize;
use tokio::process::Command as Process;

use super::COMPONENT;
use crate::exit::Ended;

/// The version that the layer in `sdk/python` was written for.
const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
/// What componentize-py takes for the environment of a plugin that has none; without one it takes the machine's packages.
const NO_PACKAGES: &str = "build/no-packages";
/// The interface as a component is built with it, below the folder.
const WIT: &str = "build/wit";
/// `sdk/python/pipewright_look.py`, which has its arguments after it.
const LOOK: &str = "import sys; sys.path.append('pipewright/python'); import pipewright_look; pipewright_look.main()";

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

/// A look at the plugin, to be run in its folder before `tool` and whenever a source changes: it imports the plugin's module
/// in the folder's own Python, and compares what is installed with what is wanted and locked. It ends in a fraction of a
/// second with a status other than 0 if something is wrong, which is in Python's own words on standard error, and tells there
/// which packages will be in the component.
///
/// Must not build, write a file, reach the network, or take an import of the machine's own packages for one of the plugin's.
pub(super) fn check(folder: &Path) -> Result<Process, Ended> {
    let world = world(folder)?;
    if !folder.join("pipewright/python/pipewright_look.py").is_file() {
        let here = folder.display();
        let text = format!("{here} has no Python layer of this pipewright; get it by `pipewright plugin renew {here}`");
        return Err(Ended::usage(text));
    }
    let own = folder.join(".venv/bin/python");
    let mut look = Process::new(if own.is_file() { own } else { "python3".into() });
    // Isolated, without the packages of the machine, and without caches of what it compiles.
    look.args(["-I", "-S", "-B", "-c", LOOK, &world]);
    Ok(look)
}

/// componentize-py of the folder's own environment, or else of the PATH; and how to install it.
pub(super) fn tool(folder: &Path) -> Result<(Process, String), Ended> {
    let world = world(folder)?;
    let own = folder.join(".venv/bin/componentize-py");
    let mut tool = Process::new(if own.is_file() { own } else { "componentize-py".into() });
    // An older layer has no checks of settings.
    match folder.join("pipewright/python/pipewright/checks.py").is_file() {
        true => {
            let world = checked_world(folder, &world).map_err(|error| Ended::usage(format!("{WIT}: {error}")))?;
            tool.args(["-q", "-d", WIT, "-w", &world, "componentize"]);
        }
        false => drop(tool.args(["-q", "-d", "pipewright/wit", "-w", &world, "componentize"])),
    }
    tool.args(["-p", "src", "-p", "pipewright/python", "pipewright_component", "-o", COMPONENT]);
    let packages = match folder.join(".venv").is_dir() {
        true => folder.join(".venv"),
        false => {
            let none = folder.join(NO_PACKAGES);
            let inside = none.join("lib/site-packages");
            fs::create_dir_all(&inside).map_err(|error| Ended::usage(format!("{}: {error}", inside.display())))?;
            none
        }
    };
    tool.env("VIRTUAL_ENV", packages);
    // An author's mistake is shown as Python's own traceback, and not the tool's as well.
    tool.env("RUST_BACKTRACE", "0");
    Ok((tool, format!("install it by `python3 -m venv .venv && .venv/bin/pip install {COMPONENTIZE_PY}`")))
}

/// A copy of the interface in `WIT`, and in it the plugin's world with what every plugin of this layer has besides: its name.
fn checked_world(folder: &Path, world: &str) -> io::Result<String> {
    let copy = folder.join(WIT);
    remove_tree(&copy)?;
    copy_folder(&folder.join("pipewright/wit"), &copy)?;
    let text = fs::read_to_string(copy.join("plugin.wit"))?;
    let package = text.lines().find(|line| line.starts_with("package ")).unwrap_or_default();
    let worlds = format!("    include {world};\n    include checked;\n");
    let checked = format!("checked-{world}");
    fs::write(
        copy.join("checked.wit"),
        format!("{package}\n\n@since(version = 0.1.0)\nworld {checked} {{\n{worlds}}}\n"),
    )?;
    Ok(checked)
}

fn copy_folder(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy_folder(&entry.path(), &to)?,
            false => drop(fs::copy(entry.path(), to)?),
        }
    }
    Ok(())
}

/// The world that the plugin is for.
fn world(folder: &Path) -> Result<String, Ended> {
    let manifest = folder.join("pyproject.toml");
    let text =
        fs::read_to_string(&manifest).map_err(|error| Ended::usage(format!("{}: {error}", manifest.display())))?;
    let project: PythonProject = toml::from_str(&text).map_err(|error| {
        let wants = "it needs `[tool.pipewright]` with `world = \"build-plugin\"` or another";
        Ended::usage(format!("{}: {error}; {wants}", manifest.display()))
    })?;
    Ok(project.tool.pipewright.world)
}
