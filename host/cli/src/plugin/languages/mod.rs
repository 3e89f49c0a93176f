//! Plugins in other languages than Rust: a folder is known by its manifest, and a tool of its language makes the component.
//!
//! Owns where the component is put; each language is a file of its own. Must not know what is done with the component.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command as Process;

use crate::exit::Ended;

mod javascript;
mod python;

/// Where the component is put, below the folder.
const COMPONENT: &str = "build/plugin.wasm";

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

    /// Builds the component, and gives its file. What the tool says goes to standard error.
    pub(super) async fn build(self, folder: &Path) -> Result<PathBuf, Ended> {
        let at = |error: io::Error| Ended::usage(format!("{}: {error}", folder.display()));
        let folder = &folder.canonicalize().map_err(at)?;
        let component = folder.join(COMPONENT);
        std::fs::create_dir_all(component.parent().unwrap_or(folder)).map_err(at)?;
        let (tool, install) = match self {
            Self::Python => python::tool(folder)?,
            Self::JavaScript => javascript::tool(),
        };
        if let Self::Python = self {
            run(python::check(folder)?, folder, &install).await?;
        }
        run(tool, folder, &install).await?;
        Ok(component)
    }
}

/// Runs one step of a build in the plugin's folder.
async fn run(mut tool: Process, folder: &Path, install: &str) -> Result<(), Ended> {
    let name = tool.as_std().get_program().to_string_lossy().into_owned();
    let ended = tool.current_dir(folder).stdout(Stdio::from(io::stderr())).status().await.map_err(|error| {
        let here = folder.display();
        Ended::usage(format!("{name}, which builds the plugin in {here}, cannot be run: {error}; {install}"))
    })?;
    match ended.success() {
        true => Ok(()),
        false => Err(Ended::usage(format!("{} cannot be built by {name}; see above", folder.display()))),
    }
}
