//! The cases of a plugin: its tests as data, run in the real sandbox. `sdk/CASES.md` describes the format.
//!
//! Owns finding the cases, running them side by side, and telling what differs; one that cannot be used stops no other. `file` and `limits` are the format of a case, `folder`
//! what lies beside it, `place` where a key is, `run` the calls, `seen` what came of one, `check` the comparing, `update` the rewriting of what was
//! not met. Must not know how results are shown, or where a component came from.

mod check;
mod file;
pub(crate) mod folder;
mod limits;
mod place;
mod reports;
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
use file::{CaseFile, SourceCall};
use run::Ran;

use crate::fit;
use pipewright_packages::plugins;

/// The folder of a plugin's cases, beside its `Cargo.toml` or its component.
pub const FOLDER: &str = "cases";
const CASE_FILE: &str = "case.toml";
/// A larger one is refused: nobody would read it either.
const CASE_FILE_BYTES_MAX: u64 = 256 * 1024;

/// What came of one case.
#[derive(Debug, Default)]
pub struct CaseResult {
    /// The name of the case's folder.
    pub name: String,
    /// Why it cannot be used, each with its file and key.
    pub problems: Vec<String>,
    /// Everything that is not as expected.
    pub differences: Vec<Difference>,
    /// What is worth a look and fails nothing.
    pub notes: Vec<String>,
    /// Its expectations were rewritten.
    pub updated: bool,
    /// What the plugin wrote into the log, over all calls.
    pub log: String,
}

impl CaseResult {
    pub fn passed(&self) -> bool {
        self.problems.is_empty() && self.differences.is_empty()
    }
}

/// Why no case was run.
#[derive(Debug, thiserror::Error)]
pub enum CasesError {
    #[error(
        "{} has no cases: a plugin's tests are folders in it, each with a {CASE_FILE}; `sdk/CASES.md` describes them",
        .0.display()
    )]
    Missing(PathBuf),
    #[error("{}: {error}", folder.display())]
    Unreadable { folder: PathBuf, error: io::Error },
    /// A name that was asked for and that no case has.
    #[error("no case is called {name}; there are {}", .there_are.join(", "))]
    Unknown { name: String, there_are: Vec<String> },
    #[error("case {case}: {error:#}")]
    Host { case: String, error: anyhow::Error },
}

/// What ended one case before it could be judged.
enum CaseError {
    /// What cannot be right whatever the plugin does.
    Invalid(Vec<String>),
    Host(anyhow::Error),
}

/// Which cases are run, and how.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Their names; none: all.
    pub names: Vec<String>,
    /// The expectations that were not met are rewritten, and what differs then is what could not be.
    pub update: bool,
}

/// A case as it was read.
#[derive(Debug)]
struct Case {
    name: String,
    folder: PathBuf,
    /// The file, as its author wrote it.
    text: String,
    action: TypeId,
    file: CaseFile,
}

fn cases_at_once() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Runs the cases in `folder`, tells each result as soon as those before it, in the order of the names, are told, and gives them all.
///
/// # Errors
/// Nothing was run; or the host failed under a case.
pub async fn run(
    sandbox: &Sandbox,
    plugin: &Plugin,
    folder: &Path,
    options: &Options,
    mut tell: impl FnMut(&CaseResult),
) -> Result<Vec<CaseResult>, CasesError> {
    let names = chosen(folder, &options.names)?;
    let running = names.into_iter().map(|name| {
        let (sandbox, plugin, folder, update) = (sandbox.clone(), plugin.clone(), folder.to_owned(), options.update);
        async move {
            let case = name.clone();
            // A task of its own: a guest computes on the thread that polls it.
            let ran = tokio::spawn(async move {
                let case = Case::read(&folder, name, &plugin).map_err(CaseError::Invalid)?;
                let ran = run::run(&sandbox, &plugin, &case).await?;
                case.told(ran, update)
            });
            match ran.await.map_err(|error| CaseError::Host(error.into())).flatten() {
                Ok(result) => Ok(result),
                Err(CaseError::Invalid(problems)) => Ok(CaseResult { name: case, problems, ..CaseResult::default() }),
                Err(CaseError::Host(error)) => Err(CasesError::Host { case, error }),
            }
        }
    });
    let mut running = stream::iter(running).buffered(cases_at_once());
    let mut results = Vec::new();
    while let Some(result) = running.next().await {
        let result = result?;
        tell(&result);
        results.push(result);
    }
    Ok(results)
}

/// The cases of these names, or all.
fn chosen(folder: &Path, wanted: &[String]) -> Result<Vec<String>, CasesError> {
    let there_are = names(folder).map_err(|error| CasesError::Unreadable { folder: folder.to_owned(), error })?;
    if there_are.is_empty() {
        return Err(CasesError::Missing(folder.to_owned()));
    }
    if let Some(name) = wanted.iter().find(|name| !there_are.contains(name)) {
        return Err(CasesError::Unknown { name: name.clone(), there_are });
    }
    Ok(there_are.into_iter().filter(|name| wanted.is_empty() || wanted.contains(name)).collect())
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

fn read(path: &Path) -> anyhow::Result<(String, CaseFile)> {
    if std::fs::metadata(path).context("cannot be read")?.len() > CASE_FILE_BYTES_MAX {
        anyhow::bail!("larger than {CASE_FILE_BYTES_MAX} bytes");
    }
    let text = std::fs::read_to_string(path)?;
    let file = toml::from_str(&text)?;
    Ok((text, file))
}

/// A problem that begins with its key, with its place in the file.
fn placed(path: &Path, text: &str, problem: &str) -> String {
    let key = problem.split(": ").next().unwrap_or_default();
    let line = place::line(text, key).map(|line| format!(":{line}")).unwrap_or_default();
    format!("{}{line}: {problem}", path.display())
}

impl Case {
    /// What is wrong is what cannot be right whatever the plugin does, each with its file and key.
    fn read(folder: &Path, name: String, plugin: &Plugin) -> Result<Self, Vec<String>> {
        let folder = folder.join(&name);
        let path = folder.join(CASE_FILE);
        let unreadable = |error| vec![format!("{}: {}", path.display(), format!("{error:#}").trim_end())];
        let (text, file) = read(&path).map_err(unreadable)?;
        let wrong = |problems: Vec<String>| -> Vec<String> {
            problems.iter().map(|problem| placed(&path, &text, problem)).collect()
        };
        let mut problems = file.problems();
        let offered: Vec<(String, &TypeId)> =
            plugin.description().action_types.iter().map(|kind| (plugins::label(&kind.id), &kind.id)).collect();
        let Some((_, action)) = offered.iter().find(|(label, _)| *label == file.action) else {
            let offered: Vec<String> = offered.into_iter().map(|(label, _)| label).collect();
            problems.push(format!("action: the plugin offers {}, not {}", offered.join(", "), file.action));
            return Err(wrong(problems));
        };
        let settings = file.settings.keys().chain(file.then.iter().flat_map(|then| then.settings.keys()));
        let unknown = fit::unknown_settings(plugin, action, settings).into_iter();
        problems.extend(unknown.map(|problem| format!("settings.{problem}")));
        let case = Self { name, folder, text: text.clone(), action: (*action).clone(), file };
        problems.extend(case.folder_problems());
        problems.extend(case.wrong_counts(plugin));
        if problems.is_empty() { Ok(case) } else { Err(wrong(problems)) }
    }

    /// The result; with `update`, after what was seen was written into the case.
    fn told(self, Ran { mut differences, notes, seen, log }: Ran, update: bool) -> Result<CaseResult, CaseError> {
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
            let left = rewrite().map_err(CaseError::Host)?;
            differences.retain(|difference| left.contains(&difference.key));
        }
        Ok(CaseResult { name: self.name, problems: Vec::new(), differences, notes, updated, log })
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

    /// Numbers of artifacts that no pipeline could have. Who asks a source what is new makes none.
    fn wrong_counts(&self, plugin: &Plugin) -> Vec<String> {
        let count =
            |given: Option<usize>, folder| given.unwrap_or_else(|| self.names(folder).map_or(0, |names| names.len()));
        let inputs = count(self.file.inputs.as_ref().map(Vec::len), folder::INPUTS);
        let outputs = count(self.file.outputs.as_ref().map(Vec::len), folder::OUTPUTS);
        let (inputs, outputs) = fit::wrong_counts(plugin, &self.action, inputs, outputs);
        let outputs = outputs.filter(|_| self.file.call != Some(SourceCall::Latest));
        let inputs =
            inputs.map(|wrong| format!("inputs: {wrong}; `inputs` names those of the folder inputs/ that it has"));
        let outputs = outputs.map(|wrong| format!("outputs: {wrong}; `outputs` names them"));
        inputs.into_iter().chain(outputs).collect()
    }

    /// The names of the folders in one of the case's folders.
    fn names(&self, folder: &str) -> io::Result<Vec<String>> {
        names(&self.folder.join(folder))
    }
}
