//! `pipewright stop`: stops an execution.

use std::process::ExitCode;

use serde_json::json;

use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

/// How many of the newest executions are looked through for one that runs.
const LOOKED_THROUGH_MAX: usize = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The execution; may be left out where only one runs
    execution: Option<String>,
    /// Give up the actions that run, instead of letting them end
    #[arg(long)]
    abandon: bool,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let execution = match &arguments.execution {
            Some(execution) => execution.clone(),
            None => running(server, &arguments.name).await?,
        };
        let mut input = json!({
            "pipelineName": arguments.name,
            "pipelineExecutionId": execution,
            "abandon": arguments.abandon,
        });
        if let Some(reason) = &arguments.reason {
            input["reason"] = json!(reason);
        }
        let output = server.call("StopPipelineExecution", input).await?;
        if server.json {
            out::json(&output);
        } else if arguments.abandon {
            say!("{execution} is stopped, and its actions are abandoned");
        } else {
            say!("{execution} stops when the actions that run have ended");
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// The one execution that runs.
async fn running(server: &Server, pipeline: &str) -> Result<String, Ended> {
    let executions = find::executions(server, pipeline, LOOKED_THROUGH_MAX).await?;
    let mut running: Vec<String> =
        executions.into_iter().filter(|e| e.is_running()).map(|e| e.pipeline_execution_id).collect();
    match (running.len(), running.pop()) {
        (_, None) => Err(Ended::Usage(format!("no execution of {pipeline} runs"))),
        (1, Some(execution)) => Ok(execution),
        (_, Some(last)) => {
            running.push(last);
            Err(Ended::Usage(format!(
                "several executions of {pipeline} run; name one of them:\n  {}",
                running.join("\n  ")
            )))
        }
    }
}
