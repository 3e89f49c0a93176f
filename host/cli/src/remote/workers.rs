//! `pipewright worker`: which action types workers and functions serve, what waits for them, and what they have.

use std::process::ExitCode;

use serde_json::Value;

use super::Connection;
use super::show::{self, text, time_ms};
use crate::exit::{self, Ended};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let mut listed = server.client.document(&["v1", "workers"], "").await?;
        if server.json {
            out::json(&listed);
            return Ok(ExitCode::from(exit::SUCCEEDED));
        }
        let types = listed["actionTypes"].take();
        let types: Vec<&Value> = types.as_array().into_iter().flatten().collect();
        let count = |jobs: &Value| jobs.as_array().map_or(0, Vec::len).to_string();
        let row = |of: &&Value| {
            let at = of["polled"]["at"].as_u64().map(time_ms).unwrap_or_default();
            [text(&of["actionType"]), count(&of["waiting"]), count(&of["leased"]), at, text(&of["polled"]["by"])]
        };
        let rows: Vec<_> = types.iter().map(row).collect();
        show::table(["ACTION TYPE", "WAITING", "LEASED", "LAST POLL", "BY"], &rows);
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
