//! The resident memory of a server that waits: for requests, and for ten thousand approvals.

use std::path::Path;
use std::time::Duration;

use crate::Bench;
use crate::child::{Server, Settings};
use crate::report::{judge, kib, mib};

const APPROVALS: usize = 10_000;
const APPROVALS_QUICK: usize = 1_000;
const IDLE_BYTES_MAX: f64 = 64.0 * 1024.0 * 1024.0;
const APPROVAL_BYTES_MAX: f64 = 8.0 * 1024.0;
/// Who creates pipelines at once.
const CLIENTS: usize = 32;
/// How often it is looked whether all of them wait.
const LOOK: Duration = Duration::from_millis(500);

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    bench.runtime.block_on(measure(bench, folder))
}

async fn measure(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    // The store's cache is configured, and not to be counted.
    let settings = Settings { store_cache_mib: Some(1), ..Settings::default() };
    let approvals = bench.choose(APPROVALS_QUICK, APPROVALS);
    let data = folder.join("data");
    // The first start compiles.
    Server::start(&data, &bench.plugins, &settings)?.stop()?;
    let server = Server::start(&data, &bench.plugins, &settings)?;
    let idle = settled(&server, 0).await?;
    judge("resident memory of an idle server", idle, IDLE_BYTES_MAX, mib);

    create(&server, approvals).await?;
    let waiting = settled(&server, approvals).await?;
    let name = format!("resident memory of each of {approvals} waiting approvals, just made");
    judge(&name, (waiting - idle) / approvals as f64, APPROVAL_BYTES_MAX, kib);
    server.stop()?;

    let server = Server::start(&data, &bench.plugins, &settings)?;
    let waiting = settled(&server, 0).await?;
    judge("the same after a restart", (waiting - idle) / approvals as f64, APPROVAL_BYTES_MAX, kib);
    server.stop()
}

/// What is resident once `waiting` approvals were asked for and no pipeline is in memory.
async fn settled(server: &Server, waiting: usize) -> anyhow::Result<f64> {
    let client = server.connect().await?;
    loop {
        tokio::time::sleep(LOOK).await;
        let started = client.metric("pipewright_action_executions{state=\"STARTED\"}").await?;
        // The source before it, and the approval.
        if started as usize >= 2 * waiting && client.metric("pipewright_pipelines_loaded").await? == 0 {
            return Ok(server.resident_bytes()? as f64);
        }
    }
}

/// Creating a pipeline starts it.
async fn create(server: &Server, pipelines: usize) -> anyhow::Result<()> {
    let mut running = Vec::new();
    for first in 0..CLIENTS {
        let mut client = server.connect().await?;
        running.push(tokio::spawn(async move {
            for number in (first..pipelines).step_by(CLIENTS) {
                client.create(&crate::pipelines::with_approval(&format!("bench-{number}"))).await?;
            }
            anyhow::Ok(())
        }));
    }
    for run in running {
        run.await??;
    }
    Ok(())
}
