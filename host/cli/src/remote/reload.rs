//! `pipewright reload`: loads a quarantined pipeline again, once what stopped it is mended.

use std::process::ExitCode;

use super::{Connection, show};
use crate::exit::{self, Ended};

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
            show::json(&serde_json::json!({}));
        } else {
            show::line(&format!("{} is loaded, and goes on", arguments.name));
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
