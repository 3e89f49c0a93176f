//! `pipewright plugin record`: what a server kept of an action execution, as a file. Must not know what is in it
//! (`recording`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::super::remote::{Connection, find};
use crate::out::say;
use pipewright_runner::recording::BUNDLE_BYTES_MAX;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    pipeline: String,
    /// The execution
    execution: String,
    /// The action, STAGE/ACTION, or the ID of the action execution
    action: String,
    /// The file to write [default: ACTION.recording.zip]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let Arguments { pipeline, execution, action: named, .. } = arguments;
        let mut found = find::actions(server, pipeline, execution).await?;
        found.retain(|action| {
            action.action_execution_id == *named || find::is_named(named, &action.stage_name, &action.action_name)
        });
        // The last attempt of a stage that was retried.
        let action =
            found.pop().ok_or_else(|| Ended::Usage(format!("{named} did not run in execution {execution}")))?;
        let default = || PathBuf::from(format!("{}.recording.zip", action.action_name));
        let output = arguments.output.clone().unwrap_or_else(default);
        let folder = output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let unwritable = |error: std::io::Error| Ended::Usage(format!("{}: {error}", output.display()));
        // Beside its place, so that it gets there whole.
        let mut file = tempfile::NamedTempFile::new_in(folder).map_err(unwritable)?;
        let id = &action.action_execution_id;
        let path = ["v1", "pipelines", pipeline, "executions", execution, "actions", id, "recording"];
        let mut stream = server.client.stream(&path, BUNDLE_BYTES_MAX).await?;
        let mut bytes = 0;
        while let Some(piece) = stream.next().await? {
            bytes += piece.len();
            file.write_all(&piece).map_err(unwritable)?;
        }
        file.persist(&output).map_err(|error| unwritable(error.error))?;
        say!("{}: {bytes} bytes", output.display());
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}
