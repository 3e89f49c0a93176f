//! `pipewright pipelines`: what pipelines there are.

use std::process::ExitCode;

use serde_json::json;

use super::show::{self, text, time};
use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let pipelines = find::pages(server, "ListPipelines", json!({}), "pipelines", usize::MAX).await?;
        let quarantined = server.client.document(&["v1", "quarantine"], "").await?;
        if server.json {
            out::json(&json!({ "pipelines": pipelines, "quarantined": quarantined["pipelines"] }));
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
        for pipeline in quarantined["pipelines"].as_array().into_iter().flatten() {
            let name = text(&pipeline["name"]);
            let reload = server.command(&format!("reload {name}"));
            say!();
            say!("{name} is quarantined: {}. Mend the cause, then", text(&pipeline["reason"]));
            say!("  {reload}");
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
