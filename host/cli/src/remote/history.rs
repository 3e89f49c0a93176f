//! `pipewright history`: a pipeline's executions, or its action executions, the newest first.

use std::num::NonZeroUsize;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::show::{self, text, time};
use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// Show each action execution
    #[arg(long)]
    actions: bool,
    /// Only those of this execution
    #[arg(long, value_name = "ID", requires = "actions")]
    execution: Option<String>,
    /// At most this many
    #[arg(long, value_name = "NUMBER", default_value = "20")]
    limit: NonZeroUsize,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let (operation, member) = match arguments.actions {
        true => ("ListActionExecutions", "actionExecutionDetails"),
        false => ("ListPipelineExecutions", "pipelineExecutionSummaries"),
    };
    let mut input = json!({ "pipelineName": arguments.name });
    if let Some(execution) = &arguments.execution {
        input["filter"] = json!({ "pipelineExecutionId": execution });
    }
    arguments.connection.run(async |server| {
        let found = find::pages(server, operation, input, member, arguments.limit.get()).await?;
        if server.json {
            out::json(&json!({ member: found }));
        } else if arguments.actions {
            let rows: Vec<_> = found.iter().map(action_row).collect();
            show::table(["EXECUTION", "STAGE/ACTION", "STATUS", "STARTED", "UPDATED", "SUMMARY"], &rows);
        } else {
            let rows: Vec<_> = found.iter().map(execution_row).collect();
            show::table(["EXECUTION", "STATUS", "STARTED", "UPDATED", "TRIGGER", "REVISIONS"], &rows);
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

fn execution_row(execution: &Value) -> [String; 6] {
    let revisions = execution["sourceRevisions"].as_array().into_iter().flatten().map(|revision| {
        let (id, summary) = (text(&revision["revisionId"]), text(&revision["revisionSummary"]));
        let first_line = summary.lines().next().unwrap_or_default();
        format!("{}: {} {first_line}", text(&revision["actionName"]), short(&id)).trim_end().to_owned()
    });
    [
        text(&execution["pipelineExecutionId"]),
        text(&execution["status"]),
        time(&execution["startTime"]),
        time(&execution["lastUpdateTime"]),
        text(&execution["trigger"]["triggerType"]),
        revisions.collect::<Vec<_>>().join("; "),
    ]
}

fn action_row(action: &Value) -> [String; 6] {
    let result = &action["output"]["executionResult"];
    let error = text(&result["errorDetails"]["message"]);
    let summary = if error.is_empty() { text(&result["externalExecutionSummary"]) } else { error };
    [
        text(&action["pipelineExecutionId"]),
        format!("{}/{}", text(&action["stageName"]), text(&action["actionName"])),
        text(&action["status"]),
        time(&action["startTime"]),
        time(&action["lastUpdateTime"]),
        summary.lines().next().unwrap_or_default().to_owned(),
    ]
}

/// As people write commits.
fn short(revision: &str) -> &str {
    let is_hash = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { &revision[..10] } else { revision }
}
