//! What a server computes to look at a thousand git sources once a minute each, beside one without sources.

use std::path::Path;
use std::time::Duration;

use crate::Bench;
use crate::child::{Server, Settings};
use crate::report::{judge, percent, tell, time};

const SOURCES: u64 = 1000;
const POLL_SECONDS: u64 = 60;
/// To begin with, until every source's revision is known.
const POLL_SECONDS_FIRST: u64 = 5;
/// Two looks at each source start an execution and note the revision.
const POLLS_FIRST: u64 = 4 * SOURCES;
const MEASURED: Duration = Duration::from_secs(120);
const MEASURED_QUICK: Duration = Duration::from_secs(30);
const SHARE_MAX: f64 = 0.05;

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    bench.runtime.block_on(measure(bench, folder))
}

fn name(number: u64) -> String {
    format!("bench-{number}")
}

async fn measure(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let git = crate::git::serve().await?;
    let grants = folder.join("grants.toml");
    let origin = format!("http = [{{ origin = \"http://{git}\", private = true }}]");
    std::fs::write(&grants, format!("[action.\"One/Git\"]\n{origin}\n"))?;
    let grants = Some((grants, (0..SOURCES).map(name).collect()));
    let data = folder.join("with");
    let first = Settings { poll_seconds: Some(POLL_SECONDS_FIRST), grants: grants.clone(), ..Settings::default() };
    let server = Server::start(&data, &bench.plugins, &first)?;
    let mut client = server.connect().await?;
    for number in 0..SOURCES {
        let url = format!("http://{git}/{number}.git");
        client.create(&crate::pipelines::of_repository(&name(number), &url)).await?;
    }
    while client.metric("pipewright_polls").await? < POLLS_FIRST {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    server.stop()?;

    let settings = Settings { poll_seconds: Some(POLL_SECONDS), grants, ..Settings::default() };
    let with = Server::start(&data, &bench.plugins, &settings)?;
    let without = folder.join("without");
    Server::start(&without, &bench.plugins, &Settings::default())?.stop()?;
    let without = Server::start(&without, &bench.plugins, &Settings::default())?;
    let client = with.connect().await?;
    // What a start costs is over by then.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let failed = client.metric("pipewright_poll_failures").await?;
    let polled = client.metric("pipewright_polls").await?;
    let (before, before_without) = (with.cpu_time()?, without.cpu_time()?);
    let measured = bench.choose(MEASURED_QUICK, MEASURED);
    tokio::time::sleep(measured).await;
    let (cost, idle) = (with.cpu_time()? - before, without.cpu_time()? - before_without);
    let polled = client.metric("pipewright_polls").await? - polled;
    anyhow::ensure!(client.metric("pipewright_poll_failures").await? == failed, "looks failed");
    anyhow::ensure!(polled > 0, "no source was looked at");
    tell("looks at sources", &format!("{polled} in {}", time(measured)));
    tell(
        "computed for each, and by a server without sources in all this time",
        &format!("{}, {}", time(cost.saturating_sub(idle) / polled as u32), time(idle)),
    );
    let share = cost.saturating_sub(idle).as_secs_f64() / measured.as_secs_f64();
    judge("share of a core for 1,000 sources once a minute, over a server without", share, SHARE_MAX, percent);
    with.stop()?;
    without.stop()
}
