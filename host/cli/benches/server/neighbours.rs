//! Whether executions of a pipeline cost each other anything: a look at its state, and a start that is stopped at once, beside as many
//! as a pipeline of its mode has, against beside one.

use std::path::Path;
use std::time::Duration;

use pipewright_base::clock::monotonic;
use serde_json::{Value, json};

use crate::Bench;
use crate::child::{Server, Settings};
use crate::client::Client;
use crate::pipelines::with_approval;
use crate::report::{judge, percentile, time, times};

/// Of mode QUEUED those that wait, and of mode PARALLEL those that run.
const CROWDS: [(&str, usize); 2] = [("QUEUED", 1000), ("PARALLEL", 500)];
const SAMPLES: usize = 400;
const SAMPLES_QUICK: usize = 100;
const RATIO_MAX: f64 = 2.0;
const PAGE: usize = 100;
const LOOK: Duration = Duration::from_millis(200);

pub(crate) fn run(bench: &Bench, folder: &Path) -> anyhow::Result<()> {
    let server = Server::start(folder, &bench.plugins, &Settings::default())?;
    let samples = bench.choose(SAMPLES_QUICK, SAMPLES);
    for (mode, count) in CROWDS {
        bench.runtime.block_on(beside(&server, mode, count, samples))?;
    }
    server.stop()
}

async fn beside(server: &Server, mode: &str, count: usize, samples: usize) -> anyhow::Result<()> {
    let mut client = server.connect().await?;
    let (alone, crowd) = (format!("{mode}-alone"), format!("{mode}-crowd"));
    for (name, count) in [(&alone, 1), (&crowd, count)] {
        let mut pipeline = with_approval(name);
        pipeline["pipelineType"] = "V2".into();
        pipeline["executionMode"] = mode.into();
        // Which starts the first.
        client.create(&pipeline).await?;
        for _ in 1..count {
            client.start(name).await?;
        }
        while fetched(&mut client, name).await? < count {
            tokio::time::sleep(LOOK).await;
        }
    }
    let (mut looks, mut steps) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for _ in 0..samples {
        for (at, name) in [&alone, &crowd].into_iter().enumerate() {
            looks[at].push(looked(&mut client, name).await?);
            steps[at].push(started_and_stopped(&mut client, name).await?);
        }
    }
    for (what, [mut alone, mut crowd]) in [("GetPipelineState", looks), ("a start and its stop", steps)] {
        let halves = [percentile(&mut alone, 50), percentile(&mut crowd, 50)];
        let name = format!("{what} beside {count} {mode}: p50 {} and {}", time(halves[0]), time(halves[1]));
        judge(&name, halves[1].as_secs_f64() / halves[0].as_secs_f64(), RATIO_MAX, times);
    }
    Ok(())
}

/// How many executions have come to the approval, or wait in front of it.
async fn fetched(client: &mut Client, pipeline: &str) -> anyhow::Result<usize> {
    let (mut found, mut next) = (0, Value::Null);
    loop {
        let input = json!({ "pipelineName": pipeline, "maxResults": PAGE, "nextToken": next });
        let page: Value = serde_json::from_slice(&client.call("ListActionExecutions", &input).await?)?;
        let rows = page["actionExecutionDetails"].as_array().into_iter().flatten();
        found += rows.filter(|row| row["stageName"] == "One" && row["status"] == "Succeeded").count();
        next = page["nextToken"].clone();
        if next.is_null() {
            return Ok(found);
        }
    }
}

async fn looked(client: &mut Client, pipeline: &str) -> anyhow::Result<Duration> {
    let start = monotonic();
    client.call("GetPipelineState", &json!({ "name": pipeline })).await?;
    Ok(start.elapsed())
}

async fn started_and_stopped(client: &mut Client, pipeline: &str) -> anyhow::Result<Duration> {
    let start = monotonic();
    let execution = client.start(pipeline).await?;
    let stop = json!({ "pipelineName": pipeline, "pipelineExecutionId": execution, "abandon": true });
    client.call("StopPipelineExecution", &stop).await?;
    Ok(start.elapsed())
}
