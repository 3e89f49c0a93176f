//! Fills a store with executions through the real driver, whose actions are scripted: in a process of its own, so that it
//! can be killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, Read as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use anyhow::Context as _;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_base::{Cause, Source};
use pipewright_engine::driver::{Actions, Driver};
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ExecutionDetails, InputKind, Report, RunAction, StartRequest, Success};
use pipewright_runner::actions::plugin_pin;
use pipewright_runner::host::ACCOUNT;
use pipewright_store::{Aggregate, SledStore};

use crate::runs::{Runs, cause};

/// The hidden command by which the benchmark starts itself.
pub(crate) const COMMAND: &str = "fill-store";
/// What it says when it is done.
const FILLED: &str = "filled";
/// Of each execution.
pub(crate) const ACTIONS: usize = 3;

/// Executions of one pipeline after another, in the store of a data directory. The process that did it is killed: what it
/// wrote was acknowledged, and its store never closed.
pub(crate) fn fill(data: &Path, runs: &[usize]) -> anyhow::Result<()> {
    let runs: Vec<_> = runs.iter().map(usize::to_string).collect();
    let mut child = Command::new(std::env::current_exe()?)
        .arg(COMMAND)
        .arg(data.join("store"))
        .arg(runs.join(","))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
    child.kill()?;
    child.wait()?;
    anyhow::ensure!(line.trim() == FILLED, "the store could not be filled");
    Ok(())
}

/// The pipelines' names.
pub(crate) fn name(number: usize) -> String {
    format!("bench-{number:03}")
}

/// In the child: fills, says so, and waits to be killed. `runs` are the numbers of executions of each pipeline, most first.
pub(crate) async fn run(store: &Path, runs: &str) -> anyhow::Result<()> {
    let runs = runs.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let store = Arc::new(SledStore::open(store, SledStore::CACHE_BYTES_DEFAULT)?);
    let driver = Driver::new(store, Arc::new(Scripted), pipewright_base::clock::system());
    let mut pipelines = Vec::new();
    for number in 0..runs.len() {
        let pipeline = driver.named(ACCOUNT, &name(number), &Cause::host("bench", Source::CommandLine)).await?;
        let declaration = serde_json::from_value(crate::pipelines::of_nothing(&name(number)))?;
        driver.submit(pipeline, InputKind::Create { declaration: Arc::new(declaration) }, &cause()).await?;
        pipelines.push(pipeline);
    }
    let mut all = Runs::new(driver, pipelines, StartRequest::default()).await?;
    let mut done = 0;
    while let Some(least) = runs.iter().copied().filter(|wanted| *wanted > done).min() {
        all.pipelines.truncate(runs.iter().take_while(|wanted| **wanted > done).count());
        all.round(least - done).await?;
        done = least;
    }
    println!("{FILLED}");
    // Until it is killed, or left alone.
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

/// Succeeds at once, and says what an action of the plugin `bench` says.
struct Scripted;

impl Actions for Scripted {
    fn run(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, Report> {
        let told = ExecutionDetails { summary: Some("done".to_owned()), ..ExecutionDetails::default() };
        std::future::ready(Report::succeeded(Success { told, ..Success::default() })).boxed()
    }

    fn may_run_again(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, bool> {
        std::future::ready(true).boxed()
    }

    /// What the executions of a server hold on to.
    fn pins(&self, _: u64, declaration: &PipelineDeclaration) -> BTreeMap<String, String> {
        let stages = declaration.stages.iter();
        stages.map(|stage| (plugin_pin(&format!("{}/{}", stage.name, stage.actions[0].name)), "0".repeat(64))).collect()
    }
}
