//! `pipewright run`: runs a pipeline here without a server, with the engine and the sandbox that the server uses.
//!
//! Owns the arguments and the course of a run. What is checked before anything starts is in `prepare`, what happens while
//! it runs in `follow`, and how it is shown in `board` and `view`.

pub(super) mod board;
mod follow;
pub(super) mod prepare;
pub(super) mod view;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ExecutionId, InputKind, Reply, StartRequest};

use super::exit::Ended;
use pipewright_base::home::{DataDirectory, UserFolders};
use pipewright_base::{Cause, Principal, Source};
use pipewright_engine::driver::{Aggregate, Driver, DriverError};
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::host::{ACCOUNT, Host, Identity};
use prepare::Prepared;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline: a PipelineDeclaration, or the input of CreatePipeline, as JSON
    pipeline: PathBuf,
    /// Feed a source action from a local directory
    #[arg(long = "source", value_name = "ACTION=DIR")]
    sources: Vec<String>,
    /// Give a pipeline variable a value
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// What the actions may reach; without it, a grants.toml beside the pipeline is asked about on a terminal
    #[arg(long, value_name = "FILE")]
    grants: Option<PathBuf>,
    /// Approve every manual approval in advance
    #[arg(long)]
    approve: bool,
    /// Add a plugin that is not bundled
    #[arg(long = "plugin", value_name = "FILE.wasm")]
    plugins: Vec<PathBuf>,
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
        let prepared = prepare::prepare(&arguments).await?;
        let images = images(arguments.data.as_ref())?;
        execute(arguments.approve, images, prepared).await.map(|ran| ran.code)
    });
    // A guest that computes, or a person who never answers, must not keep the process.
    runtime.shutdown_background();
    ended
}

/// An execution that has ended, and the host on which it ran.
pub(super) struct Ran {
    pub code: ExitCode,
    pub host: Host,
    pub pipeline: Aggregate,
    pub execution: ExecutionId,
}

/// Where images are: with the data that were named, or else for all runs of this user.
pub(super) fn images(data: Option<&PathBuf>) -> Result<Option<PathBuf>, Ended> {
    Ok(if data.is_none() { Some(UserFolders::find()?.images()) } else { None })
}

pub(super) async fn execute(approve: bool, images: Option<PathBuf>, prepared: Prepared) -> Result<Ran, Ended> {
    let Prepared { declaration, data, sandbox, plugins, grants, variables, stdin_asks, form } = prepared;
    let data = DataDirectory::open(&data)?;
    // A server made them. What runs here would end what waits there, and change its pipelines.
    if data.credentials().exists() {
        let place = data.path().display();
        return Err(Ended::Usage(format!(
            "{place} is the data directory of a server: start the pipeline there (`pipewright start`), or name another \
             directory for a run of your own"
        )));
    }
    let granted = grants.clone();
    let identity = Identity { images, ..Identity::default() };
    let host = Host::open(&data, identity, sandbox, plugins, GrantBook::one(grants))?;
    let pipeline = host.driver.named(ACCOUNT, &declaration.name, &cause()).await.map_err(failed)?;
    abandon_interrupted(&host.driver, pipeline).await?;
    put(&host.driver, pipeline, &declaration).await?;

    let follower = follow::Follower::new(&host, pipeline, &declaration, form, granted).await.map_err(failed)?;
    let start = StartRequest { variables, ..StartRequest::default() };
    let reply = host.driver.submit(pipeline, InputKind::Start(start), &cause()).await;
    let Reply::Execution(execution) = reply.map_err(refused)? else {
        return Err(Ended::Host(anyhow::anyhow!("the start was answered with something else")));
    };
    let approvals = match (approve, stdin_asks) {
        (true, _) => follow::Approvals::Given,
        (false, true) => follow::Approvals::Asked,
        (false, false) => follow::Approvals::None,
    };
    let code = follower.follow(execution, approvals).await?;
    // Its end does not wait for them, and this process ends with it.
    host.actions.recordings.written().await;
    Ok(Ran { code, host, pipeline, execution })
}

/// What an earlier run left behind when it was killed is not run again: the person who runs the pipeline now wants this
/// run.
async fn abandon_interrupted(driver: &Driver, pipeline: Aggregate) -> Result<(), Ended> {
    let state = driver.state(pipeline).await.map_err(failed)?;
    for &execution in state.executions.keys() {
        let reason = Some("the run was interrupted, and another was started".to_owned());
        let stop = InputKind::Stop { execution, abandon: true, reason, by: None };
        driver.submit(pipeline, stop, &cause()).await.map_err(failed)?;
        tracing::warn!("execution {execution} was interrupted; it is abandoned");
    }
    Ok(())
}

/// Creates the pipeline, or updates it where it differs.
async fn put(driver: &Driver, pipeline: Aggregate, declaration: &PipelineDeclaration) -> Result<(), Ended> {
    let state = driver.state(pipeline).await.map_err(failed)?;
    let same = |known: &PipelineDeclaration| PipelineDeclaration { version: None, ..known.clone() } == *declaration;
    let declaration = std::sync::Arc::new(declaration.clone());
    let what = match &state.declaration {
        Some(known) if same(known) => return Ok(()),
        Some(_) => InputKind::Update { declaration },
        None => InputKind::Create { declaration },
    };
    driver.submit(pipeline, what, &cause()).await.map_err(refused).map(drop)
}

/// Whoever has this machine's account, by this command.
fn cause() -> Cause {
    let name = std::env::var("USER").unwrap_or_else(|_| "administrator".to_owned());
    Cause { principal: Principal::user(ACCOUNT, &name), request: String::new(), source: Source::CommandLine }
}

pub(super) fn failed(error: DriverError) -> Ended {
    Ended::Host(error.into())
}

/// A refusal is the caller's to mend, anything else is not.
fn refused(error: DriverError) -> Ended {
    match error {
        DriverError::Refused(_) | DriverError::TooLarge(_) | DriverError::Unpinned(_) => Ended::usage(error),
        other => failed(other),
    }
}
