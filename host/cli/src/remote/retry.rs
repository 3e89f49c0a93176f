//! `pipewright retry`: runs a stage that failed or was stopped again, with the same execution.

use std::process::ExitCode;

use pipewright_pipeline::machine::StageStatus;
use pipewright_pipeline::responses::StageState;
use serde_json::json;

use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The stage; may be left out where only one can be retried
    stage: Option<String>,
    /// Run all actions of the stage again, not only those that failed
    #[arg(long)]
    all_actions: bool,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let state = find::state(server, &arguments.name).await?;
        let (stage, execution) = choose(&state.stage_states, &arguments.name, arguments.stage.as_deref())?;
        let mode = if arguments.all_actions { "ALL_ACTIONS" } else { "FAILED_ACTIONS" };
        let input = json!({
            "pipelineName": arguments.name,
            "stageName": stage,
            "pipelineExecutionId": execution,
            "retryMode": mode,
        });
        let output = server.call("RetryStageExecution", input).await?;
        if server.json {
            out::json(&output);
        } else {
            say!("{stage} of {execution} runs again");
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// The stage that was named, or the one that can be retried, with its execution.
fn choose<'a>(stages: &'a [StageState], pipeline: &str, named: Option<&str>) -> Result<(&'a str, &'a str), Ended> {
    let of = |stage: &'a StageState| {
        let execution = stage.latest_execution.as_ref()?;
        Some((stage.stage_name.as_str(), execution.pipeline_execution_id.as_str()))
    };
    if let Some(named) = named {
        let stage = stages.iter().find(|stage| stage.stage_name == named);
        let stage = stage.ok_or_else(|| Ended::Usage(format!("{pipeline} has no stage {named}")))?;
        return of(stage).ok_or_else(|| Ended::Usage(format!("the stage {named} of {pipeline} never ran")));
    }
    let is_retryable = |stage: &&StageState| {
        let latest = stage.latest_execution.as_ref();
        latest.is_some_and(|latest| matches!(latest.status, StageStatus::Failed | StageStatus::Stopped))
    };
    let found: Vec<_> = stages.iter().filter(is_retryable).filter_map(of).collect();
    match found[..] {
        [] => Err(Ended::Usage(format!("no stage of {pipeline} has failed or was stopped"))),
        [one] => Ok(one),
        _ => {
            let names: Vec<_> = found.iter().map(|(stage, execution)| format!("{stage} ({execution})")).collect();
            let names = names.join("\n  ");
            Err(Ended::Usage(format!("several stages of {pipeline} can be retried; name one of them:\n  {names}")))
        }
    }
}
