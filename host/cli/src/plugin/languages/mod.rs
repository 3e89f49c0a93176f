//! Plugins in other languages than Rust: a folder is known by its manifest, and a tool of its language makes the component.
//!
//! Owns where the component is put; each language is a file of its own. Must not know what is done with the component.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use pipewright_author::cases;
use tokio::process::Command as Process;

use super::changes::Snapshot;
use crate::exit::Ended;
use crate::out::note;

mod javascript;
mod python;

/// Where the component is put, below the folder.
const COMPONENT: &str = "build/plugin.wasm";
/// What it was built of, beside it.
const INPUTS: &str = "build/plugin.inputs";

/// A language other than Rust.
#[derive(Clone, Copy, Debug)]
pub(super) enum Language {
    Python,
    JavaScript,
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

    /// Builds the component unless it was built of the same files, and gives its file. What the tool says goes to standard error.
    pub(super) async fn build(self, folder: &Path) -> Result<PathBuf, Ended> {
        let at = |error: io::Error| Ended::usage(format!("{}: {error}", folder.display()));
        let folder = &folder.canonicalize().map_err(at)?;
        let (component, inputs) = (folder.join(COMPONENT), folder.join(INPUTS));
        // With this program's version, whose SDK may be another.
        let made_of =
            format!("{} {}", env!("CARGO_PKG_VERSION"), Snapshot::of(folder, &[cases::FOLDER]).map_err(at)?.digest());
        if component.is_file() && std::fs::read_to_string(&inputs).is_ok_and(|before| before == made_of) {
            return Ok(component);
        }
        std::fs::create_dir_all(component.parent().unwrap_or(folder)).map_err(at)?;
        let (check, (tool, install)) = match self {
            Self::Python => (python::check(folder)?, python::tool(folder)?),
            Self::JavaScript => (javascript::check(), javascript::tool()),
        };
        run(check, folder, &install).await?;
        note!("building {}", folder.display());
        run(tool, folder, &install).await?;
        std::fs::write(&inputs, made_of).map_err(at)?;
        Ok(component)
    }
}

/// Runs one step of a build in the plugin's folder.
async fn run(mut tool: Process, folder: &Path, install: &str) -> Result<(), Ended> {
    let name = tool.as_std().get_program().to_string_lossy().into_owned();
    let ended = tool.current_dir(folder).stdout(Stdio::from(io::stderr())).kill_on_drop(true).status().await.map_err(
        |error| {
            let here = folder.display();
            Ended::usage(format!("{name}, which builds the plugin in {here}, cannot be run: {error}; {install}"))
        },
    )?;
    match ended.success() {
        true => Ok(()),
        false => Err(Ended::usage(format!("{} cannot be built by {name}; see above", folder.display()))),
    }
}
