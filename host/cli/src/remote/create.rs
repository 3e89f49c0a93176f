//! `pipewright create`: makes a pipeline out of a file, or updates it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use serde_json::{Value, json};

use super::show::{self, text};
use super::{Connection, Server, find, notices};
use crate::exit::{self, Ended};
use crate::out::{self, say};
use crate::run::prepare::read_document;

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
    let input = input(read_document(&arguments.file)?, &arguments.file, arguments.update)?;
    arguments.connection.run(async |server| {
        let operation = if arguments.update { "UpdatePipeline" } else { "CreatePipeline" };
        let output = server.call(operation, input).await?;
        tell(server, &output, arguments.update).await?;
        notices::tell(server, &text(&output["pipeline"]["name"])).await;
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

async fn tell(server: &Server, output: &Value, is_update: bool) -> Result<(), Ended> {
    if server.json {
        out::json(output);
        return Ok(());
    }
    let (name, version) = (text(&output["pipeline"]["name"]), text(&output["pipeline"]["version"]));
    if is_update {
        say!("{name} is updated to version {version}");
    } else if find::executions(server, &name, 1).await?.is_empty() {
        say!("{name} is created, and no execution of it started; why, this says:");
        say!("  {}", server.command(&format!("start {name}")));
    } else {
        say!("{name} is created, and its first execution started");
        say!("  {}", server.command(&format!("status {name}")));
    }
    Ok(())
}
