//! Whether history costs anything: reads with a million action executions in the store against a thousand, and how soon a
//! server is ready with them.

use std::path::Path;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_runner::host::REGION;
use serde_json::{Value, json};

use crate::Bench;
use crate::child::{Server, Settings};
use crate::client::Client;
use crate::fill::{self, ACTIONS};
use crate::report::{judge, percentile, seconds, tell, time, times};

/// In both stores.
const PIPELINES: usize = 64;
/// Those of them that are asked for. Each has more than a page of executions, also in the small store.
const ASKED: usize = 3;
const EXECUTIONS: usize = 112;
/// Of each operation and store.
const SAMPLES: usize = 1000;
const SAMPLES_QUICK: usize = 200;
const READ_RATIO_MAX: f64 = 2.0;
const STOPPED_SECONDS_MAX: f64 = 1.0;
const KILLED_SECONDS_MAX: f64 = 5.0;
/// How often a server is stopped and killed, each time after that many executions of each pipeline that is asked for.
const RESTARTS: usize = 3;
const EXECUTIONS_BEFORE: usize = 20;

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let (small, large) = (folder.join("small"), folder.join("large"));
    let executions = bench.actions.div_ceil(ACTIONS).div_ceil(PIPELINES).max(EXECUTIONS);
    let settings = Settings::default();
    for (data, runs) in [(&small, [EXECUTIONS; ASKED].to_vec()), (&large, vec![executions; PIPELINES])] {
        // The first start compiles.
        Server::start(data, &bench.plugins, &settings)?.stop()?;
        let runs: Vec<_> = runs.into_iter().chain(std::iter::repeat(0)).take(PIPELINES).collect();
        let actions = runs.iter().sum::<usize>() * ACTIONS;
        let start = monotonic();
        fill::fill(data, &runs)?;
        let took = time(start.elapsed());
        let bytes = std::fs::metadata(data.join("store/db"))?.len() as f64;
        let name = format!("{actions} action executions written in {took}; the store's file");
        tell(&name, &crate::report::mib(bytes));
    }
    let server = Server::start(&large, &bench.plugins, &settings)?;
    let ready = server.ready_after.as_secs_f64();
    judge("ready after the process that wrote all of it was killed", ready, KILLED_SECONDS_MAX, seconds);
    let few = Server::start(&small, &bench.plugins, &settings)?;
    bench.runtime.block_on(reads(bench.choose(SAMPLES_QUICK, SAMPLES), &few, &server))?;
    few.stop()?;
    restarts(bench, &large, server)
}

/// The operations, each with its input for one pipeline.
fn operations(pipeline: &str) -> [(&'static str, Value); 6] {
    let arn = format!("arn:aws:codepipeline:{REGION}:000000000000:{pipeline}");
    [
        ("GetPipelineState", json!({ "name": pipeline })),
        ("ListPipelines", json!({})),
        ("ListPipelineExecutions", json!({ "pipelineName": pipeline })),
        ("ListActionExecutions", json!({ "pipelineName": pipeline })),
        ("ListActionTypes", json!({})),
        ("ListTagsForResource", json!({ "resourceArn": arn })),
    ]
}

async fn reads(samples: usize, few: &Server, many: &Server) -> anyhow::Result<()> {
    let (mut few, mut many) = (few.connect().await?, many.connect().await?);
    for operation in 0..operations("").len() {
        let (mut took_few, mut took_many) = (Vec::new(), Vec::new());
        // The first looks are not counted: nothing is in memory yet.
        for sample in 0..samples + ASKED {
            let (name, input) = operations(&fill::name(sample % ASKED)).into_iter().nth(operation).expect("in range");
            let pair = (timed(&mut few, name, &input).await?, timed(&mut many, name, &input).await?);
            if sample >= ASKED {
                took_few.push(pair.0);
                took_many.push(pair.1);
            }
        }
        let (name, _) = &operations("")[operation];
        let halves = (percentile(&mut took_few, 50), percentile(&mut took_many, 50));
        let (few, many) = (percentile(&mut took_few, 99), percentile(&mut took_many, 99));
        let name =
            format!("{name}: p50 {} and {}, p99 {} and {}", time(halves.0), time(halves.1), time(few), time(many));
        judge(&name, many.as_secs_f64() / few.as_secs_f64(), READ_RATIO_MAX, times);
    }
    Ok(())
}

async fn timed(client: &mut Client, operation: &str, input: &Value) -> anyhow::Result<Duration> {
    let start = monotonic();
    client.call(operation, input).await?;
    Ok(start.elapsed())
}

/// The slowest of some starts after a stop, and of some after a kill.
fn restarts(bench: &Bench, data: &Path, mut server: Server) -> anyhow::Result<()> {
    type End = fn(Server) -> anyhow::Result<()>;
    let ends: [(&str, End, f64); 2] =
        [("a clean stop", Server::stop, STOPPED_SECONDS_MAX), ("a kill", Server::kill, KILLED_SECONDS_MAX)];
    for (name, end, most) in ends {
        let mut slowest = 0_f64;
        for _ in 0..RESTARTS {
            bench.runtime.block_on(write(&server))?;
            end(server)?;
            server = Server::start(data, &bench.plugins, &Settings::default())?;
            slowest = slowest.max(server.ready_after.as_secs_f64());
        }
        judge(&format!("ready after {name}"), slowest, most, seconds);
    }
    server.stop()
}

async fn write(server: &Server) -> anyhow::Result<()> {
    let ends = crate::client::Ends::follow(server.connect().await?).await?;
    let mut client = server.connect().await?;
    for number in 0..ASKED * EXECUTIONS_BEFORE {
        let execution = client.start(&fill::name(number % ASKED)).await?;
        ends.success(&execution).await?;
    }
    Ok(())
}
