//! `pipewright reload`: loads a quarantined pipeline again, once what stopped it is mended.

use std::process::ExitCode;

use super::Connection;
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        server.client.post(&["v1", "pipelines", &arguments.name, "reload"]).await?;
        if server.json {
            out::json(&serde_json::json!({}));
        } else {
            say!("{} is loaded, and goes on", arguments.name);
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
