//! `pipewright create`: makes a pipeline out of a file, or updates it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pipewright_pipeline::machine::ExecutionStatus;
use pipewright_pipeline::responses::PipelineExecutionSummary;
use serde_json::{Value, json};

use super::show::text;
use super::{Connection, Server, find, notices};
use crate::exit::{self, Ended};
use crate::out::{self, note, say};
use crate::run::prepare::{invalid, read_document, unknown_members};

/// How many of the newest executions are looked through for those that an update cancels.
const LOOKED_THROUGH_MAX: usize = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// A PipelineDeclaration, or the input of CreatePipeline or UpdatePipeline, as JSON
    #[arg(value_name = "FILE.json")]
    file: PathBuf,
    /// Update the pipeline of this name instead
    #[arg(long)]
    update: bool,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let document = read_document(&arguments.file)?;
    let unknown = unknown_members(&document);
    if !unknown.is_empty() {
        return Err(invalid(&arguments.file, unknown.into_iter()));
    }
    if arguments.update && document.get("tags").is_some() {
        note!("{}: an update leaves the pipeline's tags as they are", arguments.file.display());
    }
    let input = input(document, &arguments.file, arguments.update)?;
    arguments.connection.run(async |server| {
        if arguments.update {
            return update(server, input).await;
        }
        let output = server.call("CreatePipeline", input).await?;
        tell(server, &output).await?;
        notices::tell(server, &output["pipeline"]).await;
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// What GetPipeline prints can be given back: its metadata is left out. Tags are made with a pipeline only.
fn input(document: Value, file: &Path, is_update: bool) -> Result<Value, Ended> {
    let Value::Object(mut members) = document else {
        return Err(Ended::Usage(format!("{}: a pipeline is a JSON object", file.display())));
    };
    if !members.contains_key("pipeline") {
        return Ok(json!({ "pipeline": members }));
    }
    members.retain(|name, _| name == "pipeline" || name == "tags" && !is_update);
    Ok(Value::Object(members))
}

/// An update cancels what runs and waits (S35): said before it is done, and after.
async fn update(server: &Server, input: Value) -> Result<ExitCode, Ended> {
    let name = text(&input["pipeline"]["name"]);
    // Where the pipeline is not there, the update says so.
    let before = find::executions(server, &name, LOOKED_THROUGH_MAX).await.unwrap_or_default();
    let running: Vec<_> = before.into_iter().filter(|it| it.is_running()).map(|it| it.pipeline_execution_id).collect();
    if !running.is_empty() {
        note!("The update cancels what runs or waits in {name}: {}", running.join(", "));
    }
    let output = server.call("UpdatePipeline", input).await?;
    let after = find::executions(server, &name, LOOKED_THROUGH_MAX).await?;
    let is_cancelled = |it: &PipelineExecutionSummary| {
        it.status == ExecutionStatus::Cancelled && running.contains(&it.pipeline_execution_id)
    };
    let cancelled: Vec<_> = after.into_iter().filter(is_cancelled).map(|it| it.pipeline_execution_id).collect();
    if server.json {
        out::json(&output);
    } else {
        say!("{name} is updated to version {}", text(&output["pipeline"]["version"]));
    }
    notices::tell(server, &output["pipeline"]).await;
    if !cancelled.is_empty() {
        note!("Cancelled: {}. To run the new version:", cancelled.join(", "));
        note!("  {}", server.command(&format!("start {name}")));
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn tell(server: &Server, output: &Value) -> Result<(), Ended> {
    if server.json {
        out::json(output);
        return Ok(());
    }
    let name = text(&output["pipeline"]["name"]);
    if find::executions(server, &name, 1).await?.is_empty() {
        say!("{name} is created, and no execution of it started; why, this says:");
        say!("  {}", server.command(&format!("start {name}")));
    } else {
        say!("{name} is created, and its first execution started");
        say!("  {}", server.command(&format!("status {name}")));
    }
    Ok(())
}
