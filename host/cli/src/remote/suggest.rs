//! `pipewright grants suggest`: the least grants that the last executions needed. Must not know what needs which grant
//! (`grants::suggest`).

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{Connection, Server, find};
use crate::exit::Ended;
use crate::out::{self, note};
use pipewright_runner::grants::GrantsFile;
use pipewright_runner::grants::suggest::{Used, least};

/// A journal of more bytes is not read.
const JOURNAL_BYTES_MAX: u64 = 16 * 1024 * 1024;

#[derive(clap::Subcommand)]
pub enum Command {
    /// Print a grants file with no more than what the last executions of a pipeline used
    ///
    /// Nothing is added: what was refused is told with the line that would allow it.
    Suggest(Arguments),
}

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    pipeline: String,
    /// Its grants file
    #[arg(long, value_name = "FILE")]
    grants: PathBuf,
    /// How many executions to look at, the newest first
    #[arg(long, value_name = "N", default_value = "10")]
    last: NonZeroUsize,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(Command::Suggest(arguments): &Command) -> Result<ExitCode, Ended> {
    let grants = GrantsFile::read(&arguments.grants).map_err(Ended::usage)?;
    arguments.connection.run(async |server| {
        let mut used: BTreeMap<String, Used> = BTreeMap::new();
        let executions = find::executions(server, &arguments.pipeline, arguments.last.get()).await?;
        for execution in &executions {
            let id = &execution.pipeline_execution_id;
            for run in find::runs(server, &arguments.pipeline, id).await?.into_iter().rev() {
                let path = ["v1", "pipelines", &arguments.pipeline, "executions", id, "actions"];
                let path = [&path[..], &[run.id.as_str(), "journal"]].concat();
                let journal = journal(server, &path).await?;
                let name = format!("{}/{}", run.stage, run.name);
                let added = used.entry(name).or_default().add(&journal);
                added
                    .map_err(|error| Ended::Host(anyhow::anyhow!("the server's journal has another form: {error}")))?;
            }
        }
        let (text, notes) = least(grants.text(), &used).map_err(Ended::usage)?;
        note!("by the journals of {} executions of {}:", executions.len(), arguments.pipeline);
        for note in notes {
            note!("- {note}");
        }
        out::lines(text.trim_end());
        Ok(ExitCode::SUCCESS)
    })
}

async fn journal(server: &Server, path: &[&str]) -> Result<String, Ended> {
    let mut stream = server.client.stream(path, JOURNAL_BYTES_MAX).await?;
    let mut bytes = Vec::new();
    while let Some(piece) = stream.next().await? {
        bytes.extend_from_slice(&piece);
    }
    String::from_utf8(bytes).map_err(|_| Ended::Host(anyhow::anyhow!("the server's journal is not UTF-8")))
}
