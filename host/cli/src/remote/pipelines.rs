//! `pipewright pipelines`: what pipelines there are.

use std::process::ExitCode;

use serde_json::json;

use super::show::{self, text, time};
use super::{Connection, find};
use crate::exit::{self, Ended};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let pipelines = find::pages(server, "ListPipelines", json!({}), "pipelines", usize::MAX).await?;
        if server.json {
            show::json(&json!({ "pipelines": pipelines }));
            return Ok(ExitCode::from(exit::SUCCEEDED));
        }
        let row = |pipeline: &serde_json::Value| {
            [
                text(&pipeline["name"]),
                text(&pipeline["version"]),
                text(&pipeline["pipelineType"]),
                text(&pipeline["executionMode"]),
                time(&pipeline["updated"]),
            ]
        };
        let rows: Vec<_> = pipelines.iter().map(row).collect();
        show::table(["NAME", "VERSION", "TYPE", "MODE", "UPDATED"], &rows);
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
