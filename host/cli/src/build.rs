//! `pipewright build`: runs a folder's buildspec as a server would, without a pipeline of the user's own.
//!
//! Owns the arguments, the pipeline of two actions that they come to, and where the artifacts go. How it runs is the same as of
//! `pipewright run`. Must not know what a buildspec says.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_artifacts::files::export;
use pipewright_base::hex;
use pipewright_base::home::DataDirectory;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_runner::grants::{self, GrantsFile};
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::exit::Ended;
use crate::run::prepare::{self, Prepared, SOURCE_DIRECTORY, SOURCE_REPOSITORY, linked_repository, pair};
use crate::run::{Ran, execute, failed, images};

/// The names of what is built: of the project, the pipeline, and the artifact.
const PROJECT: &str = "build";
const ARTIFACTS: &str = "Artifacts";
const ACTION: &str = "Build/Build";
/// How a build's failure ends of which a shell did not find a program.
const NOT_FOUND: &str = "exit status 127";

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder with the source
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The buildspec, by its path in the folder; `buildspec.yml` without it
    #[arg(long, value_name = "FILE")]
    buildspec: Option<String>,
    /// Run the commands in this image
    #[arg(long, value_name = "REF")]
    image: Option<String>,
    /// Give the build a variable
    #[arg(long = "env", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Let commands reach this origin, like https://registry.example
    #[arg(long = "network", value_name = "ORIGIN")]
    network: Vec<String>,
    /// Put the files of the artifacts here: a folder that is empty, or not there yet
    #[arg(long, value_name = "DIR")]
    artifacts: Option<PathBuf>,
    /// Keep state, artifacts, logs and compiled plugins here instead of in the user's own folders
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Print JSON lines
    #[arg(long)]
    json: bool,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let prepared = prepare(&arguments).await?;
        let ran = execute(false, images(arguments.data.as_ref())?, prepared).await?;
        if let Some(to) = &arguments.artifacts {
            take_out(&ran, to).await?;
        }
        hint(&ran).await?;
        Ok(ran.code)
    });
    runtime.shutdown_background();
    ended
}

/// All that can be wrong before anything starts.
async fn prepare(arguments: &Arguments) -> Result<Prepared, Ended> {
    let shown = arguments.dir.display();
    let dir = std::fs::canonicalize(&arguments.dir).map_err(|error| Ended::Usage(format!("{shown}: {error}")))?;
    if !dir.is_dir() {
        return Err(Ended::Usage(format!("{shown} is not a folder: name the one with the source")));
    }
    let buildspec = arguments.buildspec.as_deref().unwrap_or("buildspec.yml");
    if !dir.join(buildspec).is_file() {
        let mend = "write one, or name another file of the folder with --buildspec";
        return Err(Ended::Usage(format!("{shown} has no file {buildspec}: {mend}")));
    }
    if let Some(to) = arguments.artifacts.as_ref().filter(|to| !is_free(to)) {
        let mend = "name a folder that is empty, or not there yet";
        return Err(Ended::Usage(format!("--artifacts {}: there is something already: {mend}", to.display())));
    }
    let variables = arguments.variables.iter().map(|variable| pair(variable, "--env", "NAME=VALUE"));
    let variables = variables.collect::<Result<Vec<_>, _>>()?;
    let (folders, sandbox, plugins) = prepare::loaded(arguments.data.as_deref(), &[]).await?;
    let data = arguments
        .data
        .clone()
        .unwrap_or_else(|| folders.run_data(PROJECT, &hex::encode(Sha256::digest(dir.as_os_str().as_encoded_bytes()))));
    let project = project(buildspec, arguments.image.as_deref(), &variables);
    let grants = grants(arguments, dir, kept(&data, &project)?)?;
    Ok(Prepared {
        declaration: declaration(arguments.artifacts.is_some())?,
        data,
        sandbox,
        plugins,
        grants,
        variables: Vec::new(),
        stdin_asks: false,
        form: prepare::lines(arguments.json),
    })
}

fn is_free(folder: &Path) -> bool {
    match std::fs::read_dir(folder) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

/// The project of CodeBuild that the arguments come to.
fn project(buildspec: &str, image: Option<&str>, variables: &[(String, String)]) -> serde_json::Value {
    let variables: Vec<_> = variables.iter().map(|(name, value)| json!({ "name": name, "value": value })).collect();
    json!({
        "name": PROJECT,
        "source": { "buildspec": buildspec },
        "cache": { "type": "LOCAL", "modes": ["LOCAL_CUSTOM_CACHE"] },
        "environment": { "image": image.unwrap_or_default(), "environmentVariables": variables },
    })
}

/// Writes the project into a folder of its own, which the build is granted.
fn kept(data: &Path, project: &serde_json::Value) -> Result<PathBuf, Ended> {
    let folder = DataDirectory::open(data)?.path().join("projects");
    std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(folder.join(format!("{PROJECT}.json")), project.to_string()))
        .with_context(|| format!("cannot write into {}", folder.display()))?;
    std::path::absolute(&folder).context("the data directory").map_err(Ended::Host)
}

/// The commands are the user's own: they run as far apart as this machine offers, and reach what the user names.
fn grants(arguments: &Arguments, dir: PathBuf, projects: PathBuf) -> Result<GrantsFile, Ended> {
    let list = |texts: &[String]| json!(texts).to_string();
    let level = if arguments.image.is_some() { "image" } else { "restricted" };
    let images: Vec<String> = arguments.image.iter().cloned().collect();
    let line = format!(
        "commands = {{ level = \"{level}\", network = {}, images = {} }}",
        list(&arguments.network),
        list(&images)
    );
    let lines = [line, "caches = true".to_owned()];
    let mut granted = grants::in_one_action(ACTION, &lines).map_err(Ended::usage)?;
    granted.add_directory(ACTION, "projects", projects);
    if let Some(repository) = linked_repository(&dir) {
        granted.add_directory("Source/Source", SOURCE_REPOSITORY, repository);
    }
    granted.add_directory("Source/Source", SOURCE_DIRECTORY, dir);
    Ok(granted)
}

fn declaration(has_artifacts: bool) -> Result<PipelineDeclaration, Ended> {
    let outputs = if has_artifacts { json!([{ "name": ARTIFACTS }]) } else { json!([]) };
    let declaration = json!({
        "name": PROJECT,
        "roleArn": "arn:aws:iam::000000000000:role/pipewright",
        "artifactStore": { "type": "S3", "location": "pipewright" },
        "stages": [
            { "name": "Source", "actions": [{
                "name": "Source",
                "actionTypeId": { "category": "Source", "owner": "Custom", "provider": "Directory", "version": "1" },
                "configuration": { "Directory": SOURCE_DIRECTORY },
                "outputArtifacts": [{ "name": "Source" }],
            }] },
            { "name": "Build", "actions": [{
                "name": "Build",
                "actionTypeId": { "category": "Build", "owner": "AWS", "provider": "CodeBuild", "version": "1" },
                "configuration": { "ProjectName": PROJECT },
                "inputArtifacts": [{ "name": "Source" }],
                "outputArtifacts": outputs,
            }] },
        ],
    });
    serde_json::from_value(declaration).context("the pipeline of a build").map_err(Ended::Host)
}

/// Whoever builds here for the first time may miss a program that is on the machine all the same.
async fn hint(ran: &Ran) -> Result<(), Ended> {
    let execution = ran.host.driver.archived(ran.pipeline, ran.execution).await.map_err(failed)?;
    let mut errors = execution.iter().flat_map(|it| it.runs.values()).filter_map(|run| run.error.as_ref());
    if errors.any(|error| error.message.ends_with(NOT_FOUND)) {
        crate::out::note!(
            "A program was not found: commands see those of the machine's own folders (/usr/bin, /usr/local/bin), and nothing of your \
             home. Install it for all users, or name an image that has it by --image: `pipewright image pull` gets one"
        );
    }
    Ok(())
}

/// Where the build made artifacts, puts their files into the folder.
async fn take_out(ran: &Ran, to: &Path) -> Result<(), Ended> {
    let Some(execution) = ran.host.driver.archived(ran.pipeline, ran.execution).await.map_err(failed)? else {
        return Ok(());
    };
    let made = execution.runs.values().find_map(|run| run.artifacts.get(ARTIFACTS));
    let Some(digest) = made else { return Ok(()) };
    let artifacts = &ran.host.actions.artifacts;
    let tree = artifacts.tree(digest).context("the artifacts of the build")?;
    std::fs::create_dir_all(to).map_err(|error| Ended::Usage(format!("{}: {error}", to.display())))?;
    let copied = export(&**artifacts.blobs(), &tree, ARTIFACTS, to);
    let copied = copied.map_err(|error| Ended::Usage(format!("{}: {error}", to.display())))?;
    crate::out::note!("{}: {} files, {} bytes", to.display(), copied.files, copied.bytes);
    Ok(())
}
