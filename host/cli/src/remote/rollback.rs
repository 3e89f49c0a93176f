//! `pipewright rollback`: runs a stage again with what an earlier execution had when it succeeded there.

use std::process::ExitCode;

use pipewright_pipeline::responses::ExecutionIdOutput;
use serde_json::json;

use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

/// As `01234567-89ab-cdef-0123-456789abcdef` has.
const EXECUTION_ID_CHARS: usize = 36;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The stage
    stage: String,
    /// The execution to go back to, which has succeeded in the stage
    #[arg(long, value_name = "ID")]
    to: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let Arguments { name, stage, to, .. } = arguments;
        if to.len() != EXECUTION_ID_CHARS {
            let history = server.command(&format!("history {name}"));
            return Err(Ended::Usage(format!("--to {to}: that is no execution's id; `{history}` lists them")));
        }
        let input = json!({ "pipelineName": name, "stageName": stage, "targetPipelineExecutionId": to });
        let output = server.call("RollbackStage", input).await?;
        if server.json {
            out::json(&output);
        } else {
            let started: ExecutionIdOutput = find::read(output)?;
            say!("{stage} goes back to {to}, as execution {}", started.pipeline_execution_id);
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
