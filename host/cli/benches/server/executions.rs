//! From `StartPipelineExecution` to the event that the execution succeeded, over the API of a server, beside the same runs
//! through a driver in this process without HTTP. The client learns of the end by the account's events (`/v1/events`), one
//! stream for all pipelines.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_base::home::DataDirectory;
use pipewright_base::{Cause, Source};
use pipewright_engine::driver::Driver;
use pipewright_packages::plugins::Plugins;
use pipewright_pipeline::machine::{InputKind, StartRequest};
use pipewright_runner::actions::Runner;
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::host::{Host, Identity, sandbox_with_compiler};
use pipewright_store::{SledStore, Store};

use crate::Bench;
use crate::child::{Server, Settings};
use crate::client::{Client, Ends};
use crate::measure::{compare, head};
use crate::report::{percentile, tell, time};
use crate::runs::{Runs, cause};

const PIPELINES: usize = 64;
/// Rounds, and runs of each pipeline in one.
const ROUNDS: (usize, usize) = (9, 4);
const ROUNDS_QUICK: (usize, usize) = (3, 2);
/// Runs one at a time.
const SAMPLES: usize = 1000;
const SAMPLES_QUICK: usize = 100;
/// At least half the throughput.
const GOAL: f64 = 2.0;

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let server = Server::start(&folder.join("server"), &bench.plugins, &Settings::default())?;
    let mut api = bench.runtime.block_on(OverApi::new(&server))?;
    let driver = bench.runtime.block_on(without_http(bench, folder))?;

    let mut latencies = bench.runtime.block_on(api.one_at_a_time(bench.choose(SAMPLES_QUICK, SAMPLES)))?;
    for percent in [50, 99] {
        let name = format!("start to Succeeded, three actions, one at a time over the API: p{percent}");
        tell(&name, &time(percentile(&mut latencies, percent)));
    }
    let (rounds, runs) = bench.choose(ROUNDS_QUICK, ROUNDS);
    let count = (PIPELINES * runs) as u32;
    let mut name = String::new();
    let line = compare("the time of each, API against driver", GOAL, (rounds, count), |round| {
        let (ours, bare) =
            bench.runtime.block_on(async { anyhow::Ok((api.round(runs).await?, driver.round(runs).await?)) })?;
        if round == rounds {
            let rate = |took: Duration| f64::from(count) / took.as_secs_f64();
            name = format!("{:.0}/s and {:.0}/s", rate(ours), rate(bare));
        }
        Ok((ours, bare))
    })?;
    tell("throughput with 64 pipelines in flight, API and driver, in the last round", &name);
    println!("{}", head());
    println!("{line}");
    server.stop()
}

fn name(number: usize) -> String {
    format!("bench-{number}")
}

/// A client for each pipeline, and one for the events.
struct OverApi {
    clients: Vec<Client>,
    ends: Ends,
}

impl OverApi {
    async fn new(server: &Server) -> anyhow::Result<Self> {
        let mut clients = Vec::new();
        for number in 0..PIPELINES {
            let mut client = server.connect().await?;
            client.create(&crate::pipelines::of_nothing(&name(number))).await?;
            clients.push(client);
        }
        let ends = Ends::follow(server.connect().await?).await?;
        Ok(Self { clients, ends })
    }

    async fn one_at_a_time(&mut self, samples: usize) -> anyhow::Result<Vec<Duration>> {
        let mut latencies = Vec::with_capacity(samples);
        for _ in 0..samples {
            let start = monotonic();
            let execution = self.clients[0].start(&name(0)).await?;
            self.ends.success(&execution).await?;
            latencies.push(start.elapsed());
        }
        Ok(latencies)
    }

    async fn round(&mut self, runs: usize) -> anyhow::Result<Duration> {
        let start = monotonic();
        let clients = std::mem::take(&mut self.clients).into_iter().enumerate();
        let running: Vec<_> = clients
            .map(|(number, mut client)| {
                let ends = self.ends.clone();
                tokio::spawn(async move {
                    for _ in 0..runs {
                        let execution = client.start(&name(number)).await?;
                        ends.success(&execution).await?;
                    }
                    anyhow::Ok(client)
                })
            })
            .collect();
        for client in running {
            self.clients.push(client.await??);
        }
        Ok(start.elapsed())
    }
}

async fn without_http(bench: &Bench, folder: &Path) -> anyhow::Result<Runs> {
    let sandbox = sandbox_with_compiler(folder.join("compiled"), env!("CARGO_BIN_EXE_pipewright").into())?;
    let plugins = Plugins::load(&sandbox, &[bench.plugins.join("bench.wasm")], None).await?;
    let data = DataDirectory::open(&folder.join("host"))?;
    let host = Host::open(&data, Identity::default(), sandbox, plugins, GrantBook::one(GrantsFile::default()))?;
    let store: Arc<dyn Store> = Arc::new(SledStore::open(&folder.join("driver"), SledStore::CACHE_BYTES_DEFAULT)?);
    let driver = Driver::new(store, Arc::new(Runner(Arc::clone(&host.actions))), pipewright_base::clock::system());
    let mut pipelines = Vec::new();
    for number in 0..PIPELINES {
        let pipeline = driver
            .named(pipewright_runner::host::ACCOUNT, &name(number), &Cause::host("bench", Source::CommandLine))
            .await?;
        let declaration = serde_json::from_value(crate::pipelines::of_nothing(&name(number)))?;
        driver.submit(pipeline, InputKind::Create { declaration: Arc::new(declaration) }, &cause()).await?;
        pipelines.push(pipeline);
    }
    Runs::new(driver, pipelines, StartRequest::default()).await
}
