//! Everything about a run that can be wrong before anything starts, and is then the caller's to mend.
//!
//! Owns the reading of the arguments and the pipeline, the plugins' loading, and consent. Must not start anything.

use std::io::{BufRead as _, IsTerminal as _};
use std::path::{Path, PathBuf};

use pipewright_base::hex;
use pipewright_pipeline::action_type::unserved;
use pipewright_pipeline::declaration::{
    ActionCategory, ActionDeclaration, ActionOwner, ActionTypeId, PipelineDeclaration,
};
use pipewright_pipeline::machine::all;
use pipewright_pipeline::secrets;
use pipewright_pipeline::validate::{self, Context};
use pipewright_sandbox::capabilities::secrets::stored::Stored;
use pipewright_sandbox::{LoadError, Sandbox};
use sha2::{Digest as _, Sha256};

use super::view::Form;
use super::{Arguments, Ended};
use crate::consent::Consents;
use crate::out::{self, note};
use pipewright_base::home::{DataDirectory, UserFolders};
use pipewright_packages::plugins::{PluginError, Plugins};
use pipewright_runner::checks::{Refused, refused_settings};
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::{self, ACCOUNT};

/// A larger pipeline file is refused; 500 actions with everything have less.
const PIPELINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// The name under which a `--source` directory is granted.
pub(crate) const SOURCE_DIRECTORY: &str = "source";
/// And that of its repository, where that lies elsewhere.
pub(crate) const SOURCE_REPOSITORY: &str = "repository";

pub(crate) struct Prepared {
    pub declaration: PipelineDeclaration,
    pub data: PathBuf,
    pub sandbox: Sandbox,
    pub plugins: Plugins,
    pub grants: GrantsFile,
    pub variables: Vec<(String, String)>,
    /// A person is there to be asked.
    pub stdin_asks: bool,
    pub form: Form,
}

pub(super) async fn prepare(arguments: &Arguments) -> Result<Prepared, Ended> {
    let document = read_document(&arguments.pipeline)?;
    let variables =
        arguments.variables.iter().map(|v| pair(v, "--var", "NAME=VALUE")).collect::<Result<Vec<_>, _>>()?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !arguments.json;

    let (folders, sandbox, plugins) = loaded(arguments.data.as_deref(), &arguments.plugins).await?;

    let catalogue = plugins.catalogue(ACCOUNT);
    let context = Context { region: None, action_types: catalogue.types() };
    let unknown = unknown_members(&document);
    let mut declaration = match validate::validate_document(&document, &context) {
        Ok(declaration) if unknown.is_empty() => declaration,
        judged => {
            let problems = unknown.into_iter().chain(judged.err().map(|problems| problems.to_string()));
            return Err(invalid(&arguments.pipeline, problems));
        }
    };
    check_variables(&declaration, &variables)?;
    let problems = validate::unsupported(&declaration);
    if !problems.is_empty() {
        let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
        return Err(Ended::Usage(format!("{} cannot be run:\n{}", arguments.pipeline.display(), lines.join("\n"))));
    }
    let sources = feed_sources(&mut declaration, &arguments.sources)?;
    check_bound(&declaration, &context)?;
    secrets::restore(&mut declaration, None, catalogue.types()).map_err(Ended::usage)?;
    check_settings(arguments, &sandbox, &plugins, &declaration).await?;
    if !arguments.approve && !terminal {
        check_approvals(&declaration)?;
    }
    let mut grants = grants(arguments, terminal, &folders)?;
    check_grants(&grants, &declaration)?;
    for (action, directory) in sources {
        if let Some(repository) = linked_repository(&directory) {
            grants.add_directory(&action, SOURCE_REPOSITORY, repository);
        }
        grants.add_directory(&action, SOURCE_DIRECTORY, directory);
    }
    resolve_grants(&grants, &declaration, &plugins)?;

    let data = match &arguments.data {
        Some(data) => data.clone(),
        None => {
            let file =
                std::fs::canonicalize(&arguments.pipeline).map_err(|error| unreadable(&arguments.pipeline, &error))?;
            folders.run_data(&declaration.name, &hex::encode(Sha256::digest(file.as_os_str().as_encoded_bytes())))
        }
    };
    let form = if !arguments.json && std::io::stdout().is_terminal() { Form::Tree } else { lines(arguments.json) };
    Ok(Prepared { declaration, data, sandbox, plugins, grants, variables, stdin_asks: terminal, form })
}

/// The bundle's plugins, and those of these files.
pub(crate) async fn loaded(data: Option<&Path>, files: &[PathBuf]) -> Result<(UserFolders, Sandbox, Plugins), Ended> {
    let folders = UserFolders::find()?;
    let compiled = match data {
        Some(data) => DataDirectory::open(data)?.compiled(),
        None => folders.compiled(),
    };
    let sandbox = host::sandbox(compiled, Vec::new())?;
    let plugins = Plugins::load(&sandbox, files, None).await.map_err(|error| match error {
        PluginError::Refused { source: LoadError::Host(_), .. } | PluginError::NoBundle => Ended::Host(error.into()),
        mendable => Ended::usage(mendable),
    })?;
    Ok((folders, sandbox, plugins))
}

/// What the plugins say of them (S280).
async fn check_settings(
    arguments: &Arguments,
    sandbox: &Sandbox,
    plugins: &Plugins,
    declaration: &PipelineDeclaration,
) -> Result<(), Ended> {
    let refused = refused_settings(sandbox, plugins, ACCOUNT, declaration).await;
    let told = |it: &Refused<'_>| format!("{}.configuration.{}: it {}", it.placed.path(), it.setting, it.message);
    if refused.is_empty() { Ok(()) } else { Err(invalid(&arguments.pipeline, refused.iter().map(told))) }
}

/// For whoever is no person at a terminal.
pub(crate) fn lines(json: bool) -> Form {
    if json { Form::Json } else { Form::Lines }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Ended {
    Ended::Usage(format!("{}: {error}", path.display()))
}

/// Of a pipeline's file: a member that is misspelled would be as if it were not there.
pub(crate) fn unknown_members(document: &serde_json::Value) -> Vec<String> {
    let problems = validate::unknown_members(document).into_iter();
    problems.map(|problem| format!("{}: {}: {}", problem.path, problem.message, problem.mend)).collect()
}

pub(crate) fn invalid(path: &Path, problems: impl Iterator<Item = String>) -> Ended {
    let problems = problems.collect::<Vec<_>>().join("\n");
    Ended::Usage(format!("{} is not a valid pipeline:\n{problems}", path.display()))
}

/// A value for a variable that is not declared would be ignored, as CodePipeline does (S82).
pub(crate) fn check_variables(declaration: &PipelineDeclaration, given: &[(String, String)]) -> Result<(), Ended> {
    let declared: Vec<_> = declaration.variables.iter().flatten().map(|variable| variable.name.as_str()).collect();
    match given.iter().find(|(name, _)| !declared.contains(&name.as_str())) {
        None => Ok(()),
        Some((name, _)) => Err(Ended::Usage(format!(
            "--var {name}: {} declares no such variable; {}",
            declaration.name,
            if declared.is_empty() { "it has none".to_owned() } else { format!("it has {}", declared.join(", ")) }
        ))),
    }
}

pub(crate) fn read_document(path: &Path) -> Result<serde_json::Value, Ended> {
    let metadata = std::fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.len() > PIPELINE_BYTES_MAX {
        return Err(Ended::Usage(format!("{}: larger than {PIPELINE_BYTES_MAX} bytes", path.display())));
    }
    let bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?;
    serde_json::from_slice(&bytes).map_err(|error| Ended::Usage(format!("{}: not JSON: {error}", path.display())))
}

pub(crate) fn pair(text: &str, option: &str, form: &str) -> Result<(String, String), Ended> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err(Ended::Usage(format!("{option} {text}: write it as {form}"))),
    }
}

/// Makes each named source action one that takes a local directory, whatever its type was; gives the `Stage/Action` names
/// with their directories.
fn feed_sources(declaration: &mut PipelineDeclaration, sources: &[String]) -> Result<Vec<(String, PathBuf)>, Ended> {
    let mut fed = Vec::new();
    for source in sources {
        let (name, directory) = pair(source, "--source", "ACTION=DIR")?;
        let path = Path::new(&directory);
        let metadata = std::fs::metadata(path).map_err(|error| Ended::Usage(format!("--source {source}: {error}")))?;
        if !metadata.is_dir() {
            return Err(Ended::Usage(format!("--source {source}: {directory} is not a directory")));
        }
        let path = std::path::absolute(path).map_err(|error| Ended::Usage(format!("--source {source}: {error}")))?;
        let stage = &mut declaration.stages[0];
        let names = stage.actions.iter().map(|action| action.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(action) = stage.actions.iter_mut().find(|action| action.name == name) else {
            return Err(Ended::Usage(format!("--source {source}: the source actions are: {names}")));
        };
        take_directory(action);
        fed.push((format!("{}/{name}", stage.name), path));
    }
    Ok(fed)
}

/// The repository of a work tree that `git worktree add` made, if that names the work tree in turn: a file `.git` alone could
/// lead anywhere.
pub(crate) fn linked_repository(work: &Path) -> Option<PathBuf> {
    let read = |file: PathBuf| Some(std::fs::read_to_string(file).ok()?.trim_end().to_owned());
    let git = work.join(".git");
    let folder = std::fs::canonicalize(work.join(read(git.clone())?.strip_prefix("gitdir: ")?)).ok()?;
    let named = std::fs::canonicalize(folder.join(read(folder.join("gitdir"))?)).ok()?;
    let repository = std::fs::canonicalize(folder.join(read(folder.join("commondir"))?)).ok()?;
    let is_its_own = named == std::fs::canonicalize(git).ok()? && folder.parent()? == repository.join("worktrees");
    is_its_own.then_some(repository)
}

fn take_directory(action: &mut ActionDeclaration) {
    action.action_type_id = ActionTypeId {
        category: ActionCategory::Source,
        owner: ActionOwner::Custom,
        provider: "Directory".to_owned(),
        version: "1".to_owned(),
    };
    action.configuration = Some([("Directory".to_owned(), SOURCE_DIRECTORY.to_owned())].into());
}

fn check_bound(declaration: &PipelineDeclaration, context: &Context<'_>) -> Result<(), Ended> {
    let unbound = validate::unbound(declaration, context);
    if unbound.is_empty() {
        return Ok(());
    }
    let is_source = |unbound: &validate::Unbound| unbound.id.category == ActionCategory::Source;
    let feed = if unbound.iter().any(is_source) { ", or feed a source action with --source" } else { "" };
    let mut text = format!("no plugin serves these; add one with --plugin{feed}:");
    for unbound in unbound {
        text.push_str(&format!("\n{}: {}", unbound.path, unserved(&unbound.id, context.action_types)));
    }
    Err(Ended::Usage(text))
}

fn check_approvals(declaration: &PipelineDeclaration) -> Result<(), Ended> {
    let approval = |action: &&ActionDeclaration| action.action_type_id.category == ActionCategory::Approval;
    for stage in &declaration.stages {
        if let Some(action) = stage.actions.iter().find(approval) {
            return Err(Ended::Usage(format!(
                "{}/{} waits for a manual approval, and there is no terminal to ask on; give it in advance with --approve",
                stage.name, action.name
            )));
        }
    }
    Ok(())
}

/// The grants that count: those named on the command line, or the proposal beside the pipeline if a person consents.
fn grants(arguments: &Arguments, terminal: bool, folders: &UserFolders) -> Result<GrantsFile, Ended> {
    if let Some(path) = &arguments.grants {
        return GrantsFile::read(path).map_err(Ended::usage);
    }
    let proposal = arguments.pipeline.with_file_name("grants.toml");
    if !proposal.is_file() {
        return Ok(GrantsFile::default());
    }
    let grants = GrantsFile::read(&proposal).map_err(Ended::usage)?;
    let consents = Consents::new(folders.consents());
    match consents.answer(&grants) {
        Some(true) => Ok(grants),
        Some(false) => Ok(GrantsFile::default()),
        None if terminal => {
            let granted = ask_consent(&proposal, &grants).map_err(|error| Ended::Host(error.into()))?;
            consents.keep(&grants, granted)?;
            Ok(if granted { grants } else { GrantsFile::default() })
        }
        None => {
            note!("{} is a proposal and does not count; name it with --grants to use it", proposal.display());
            Ok(GrantsFile::default())
        }
    }
}

fn ask_consent(path: &Path, grants: &GrantsFile) -> std::io::Result<bool> {
    out::lines(&format!("{} asks that\n{}", path.display(), grants.in_words().trim_end()));
    out::ask("Grant this? The answer is kept. [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A grant to an action that is not there is a mistake that would otherwise be noticed by what is refused.
fn check_grants(grants: &GrantsFile, declaration: &PipelineDeclaration) -> Result<(), Ended> {
    let there: Vec<String> = all(declaration).map(|placed| placed.name_in_pipeline()).collect();
    match grants.actions().find(|name| !there.iter().any(|there| there == name)) {
        Some(name) => {
            let what = if name.matches('/').count() == 1 { "action" } else { "rule" };
            Err(Ended::Usage(format!("the grants name the {what} \"{name}\", which the pipeline does not have")))
        }
        None => Ok(()),
    }
}

/// Missing directories and secrets are told now, and not in the middle of the run.
fn resolve_grants(grants: &GrantsFile, declaration: &PipelineDeclaration, plugins: &Plugins) -> Result<(), Ended> {
    let catalogue = plugins.catalogue(ACCOUNT);
    for placed in all(declaration) {
        if let Some(served) = catalogue.bound(&placed.declared.type_id()) {
            let (name, version) = (&served.about.name, &served.about.version);
            grants.resolve(&placed.name_in_pipeline(), name, version, &Stored::new()).map_err(Ended::usage)?;
        }
    }
    Ok(())
}
