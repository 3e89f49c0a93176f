//! The cases of a plugin: its tests as data, run in the real sandbox. `sdk/CASES.md` describes the format.
//!
//! Owns finding the cases, running them side by side, and telling what differs. `file` is the format of a case, `folder`
//! what lies beside it, `run` the calls, `seen` what came of one, `check` the comparing, `update` the rewriting of what was
//! not met. Must not know how results are shown, or where a component came from.

mod check;
mod file;
pub(crate) mod folder;
mod run;
mod seen;
mod update;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use futures::{StreamExt as _, stream};
use pipewright_sandbox::abi::TypeId;
use pipewright_sandbox::{Plugin, Sandbox};

pub use check::Difference;
use file::CaseFile;
use run::Ran;

use crate::single::unknown_settings;
use pipewright_packages::plugins;

/// The folder of a plugin's cases, beside its `Cargo.toml` or its component.
pub const FOLDER: &str = "cases";
const CASE_FILE: &str = "case.toml";
/// A larger one is refused: nobody would read it either.
const CASE_FILE_BYTES_MAX: u64 = 256 * 1024;

/// What came of one case.
#[derive(Debug)]
pub struct CaseResult {
    /// The name of the case's folder.
    pub name: String,
    /// Everything that is not as expected.
    pub differences: Vec<Difference>,
    /// Its expectations were rewritten.
    pub updated: bool,
}

impl CaseResult {
    pub fn passed(&self) -> bool {
        self.differences.is_empty()
    }
}

/// Why the cases were not run, or not all of them.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    #[error(
        "{} has no cases: a plugin's tests are folders in it, each with a {CASE_FILE}; `sdk/CASES.md` describes them",
        .0.display()
    )]
    Missing(PathBuf),
    /// Every problem of every case, each with its file and key.
    #[error("{}", .0.join("\n"))]
    Invalid(Vec<String>),
    #[error("case {case}: {error:#}")]
    Host { case: String, error: anyhow::Error },
}

/// A case as it was read.
#[derive(Debug)]
struct Case {
    name: String,
    folder: PathBuf,
    action: TypeId,
    file: CaseFile,
}

fn cases_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs every case in `folder` and gives their results in the order of the names. With `update`, the expectations that were
/// not met are rewritten, and what differs then is what could not be.
pub async fn run_all(
    sandbox: &Sandbox,
    plugin: &Plugin,
    folder: &Path,
    update: bool,
) -> Result<Vec<CaseResult>, CasesError> {
    let cases = read_all(plugin, folder)?;
    let running = cases.into_iter().map(|case| {
        let (sandbox, plugin) = (sandbox.clone(), plugin.clone());
        async move {
            let name = case.name.clone();
            // A task of its own: a guest computes on the thread that polls it.
            let ran = tokio::spawn(async move {
                let ran = run::run(&sandbox, &plugin, &case).await?;
                case.told(ran, update)
            });
            let ran = ran.await;
            match ran {
                Ok(result) => result,
                Err(error) => Err(CasesError::Host { case: name, error: error.into() }),
            }
        }
    });
    let mut running = stream::iter(running).buffered(cases_at_once());
    let (mut results, mut problems) = (Vec::new(), Vec::new());
    while let Some(result) = running.next().await {
        match result {
            Ok(result) => results.push(result),
            Err(CasesError::Invalid(more)) => problems.extend(more),
            Err(error) => return Err(error),
        }
    }
    if problems.is_empty() { Ok(results) } else { Err(CasesError::Invalid(problems)) }
}

fn read_all(plugin: &Plugin, folder: &Path) -> Result<Vec<Case>, CasesError> {
    let names = names(folder).map_err(|error| CasesError::Invalid(vec![format!("{}: {error}", folder.display())]))?;
    if names.is_empty() {
        return Err(CasesError::Missing(folder.to_owned()));
    }
    let (mut cases, mut problems) = (Vec::new(), Vec::new());
    for name in names {
        match Case::read(folder, name, plugin) {
            Ok(case) => cases.push(case),
            Err(more) => problems.extend(more),
        }
    }
    if problems.is_empty() { Ok(cases) } else { Err(CasesError::Invalid(problems)) }
}

/// The names of the folders in a folder, in order; none if it is not there.
fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            let name = entry.file_name().into_string();
            names.push(name.map_err(|name| io::Error::other(format!("{} is not UTF-8", name.display())))?);
        }
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> anyhow::Result<CaseFile> {
    if std::fs::metadata(path).context("cannot be read")?.len() > CASE_FILE_BYTES_MAX {
        anyhow::bail!("larger than {CASE_FILE_BYTES_MAX} bytes");
    }
    Ok(toml::from_str(&std::fs::read_to_string(path)?)?)
}

impl Case {
    /// What is wrong is what cannot be right whatever the plugin does, each with its file and key.
    fn read(folder: &Path, name: String, plugin: &Plugin) -> Result<Self, Vec<String>> {
        let folder = folder.join(&name);
        let path = folder.join(CASE_FILE);
        let wrong = |problem: String| format!("{}: {problem}", path.display());
        let file = read(&path).map_err(|error| vec![wrong(format!("{error:#}").trim_end().to_owned())])?;
        let mut problems = file.problems();
        let offered: Vec<(String, &TypeId)> =
            plugin.description().action_types.iter().map(|kind| (plugins::label(&kind.id), &kind.id)).collect();
        let Some((_, action)) = offered.iter().find(|(label, _)| *label == file.action) else {
            let offered: Vec<String> = offered.into_iter().map(|(label, _)| label).collect();
            problems.push(format!("action: the plugin offers {}, not {}", offered.join(", "), file.action));
            return Err(problems.into_iter().map(wrong).collect());
        };
        let settings = file.settings.keys().chain(file.then.iter().flat_map(|then| then.settings.keys()));
        let unknown = unknown_settings(plugin, action, settings).into_iter();
        problems.extend(unknown.map(|problem| format!("settings.{problem}")));
        let case = Self { name, folder, action: (*action).clone(), file };
        problems.extend(case.folder_problems());
        if problems.is_empty() { Ok(case) } else { Err(problems.into_iter().map(wrong).collect()) }
    }

    /// The result; with `update`, after what was seen was written into the case.
    fn told(self, Ran { mut differences, seen }: Ran, update: bool) -> Result<CaseResult, CasesError> {
        let mut updated = false;
        if update && !differences.is_empty() {
            let path = self.folder.join(CASE_FILE);
            let mut rewrite = || -> anyhow::Result<_> {
                let text = std::fs::read_to_string(&path)?;
                let (new, left) = update::rewritten(&text, &seen, &differences)?;
                updated = new != text;
                std::fs::write(&path, new)?;
                Ok(left)
            };
            let left = rewrite().map_err(|error| CasesError::Host { case: self.name.clone(), error })?;
            differences.retain(|difference| left.contains(&difference.key));
        }
        Ok(CaseResult { name: self.name, differences, updated })
    }

    fn folder_problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        match names(&self.folder) {
            Ok(names) => problems.extend(
                names
                    .iter()
                    .filter(|name| !folder::KNOWN.contains(&name.as_str()))
                    .map(|name| format!("the folder {name}/ means nothing; there may be {}", folder::KNOWN.join(", "))),
            ),
            Err(error) => problems.push(error.to_string()),
        }
        let mut artifacts: BTreeMap<String, String> = BTreeMap::new();
        artifacts.extend(self.file.inputs.iter().flatten().map(|name| (name.clone(), "inputs".to_owned())));
        for (number, then) in self.file.then.iter().enumerate() {
            let key = format!("then.{}.inputs", number + 1);
            artifacts.extend(then.inputs.values().map(|name| (name.clone(), key.clone())));
        }
        for (name, key) in artifacts {
            if !self.folder.join(folder::INPUTS).join(&name).is_dir() {
                problems.push(format!("{key}: there is no folder {}/{name}", folder::INPUTS));
            }
        }
        problems
    }

    /// The names of the folders in one of the case's folders.
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        names(&self.folder.join(folder))
    }
}
