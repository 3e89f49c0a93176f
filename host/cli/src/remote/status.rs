//! `pipewright status`: where a pipeline stands, and what a person can do about it.

use std::process::ExitCode;

use pipewright_pipeline::machine::{ActionStatus, StageStatus};
use pipewright_pipeline::responses::{ActionState, GetPipelineStateOutput, StageState};
use pipewright_text::printable;

use super::show::{self, time_of};
use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let mut output = server.call("GetPipelineState", serde_json::json!({ "name": arguments.name })).await?;
        if server.json {
            hide_tokens(&mut output);
            out::json(&output);
            return Ok(ExitCode::from(exit::SUCCEEDED));
        }
        let state: GetPipelineStateOutput = find::read(output)?;
        let rows: Vec<_> = state.stage_states.iter().flat_map(rows).collect();
        show::table(["STAGE/ACTION", "STATUS", "CHANGED", "SUMMARY"], &rows);
        for advice in state.stage_states.iter().flat_map(|stage| advice(server, &arguments.name, stage)) {
            out::lines(&advice);
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// Who sees a terminal or a build log must not be able to approve by it.
fn hide_tokens(output: &mut serde_json::Value) {
    let stages = output["stageStates"].as_array_mut().into_iter().flatten();
    let actions = stages.filter_map(|stage| stage["actionStates"].as_array_mut()).flatten();
    for execution in actions.filter_map(|action| action["latestExecution"].as_object_mut()) {
        if let Some(token) = execution.get_mut("token") {
            *token = serde_json::json!("hidden");
        }
    }
}

/// A stage, and each of its actions.
fn rows(stage: &StageState) -> Vec<[String; 4]> {
    let latest = stage.latest_execution.as_ref();
    let status = latest.map_or("not started".to_owned(), |latest| format!("{:?}", latest.status));
    let execution = stage.latest_execution.as_ref().map_or("", |latest| &latest.pipeline_execution_id);
    let mut rows = vec![[stage.stage_name.clone(), status, String::new(), execution.to_owned()]];
    let waits = |id: &str| [stage.stage_name.clone(), "waits in front".to_owned(), String::new(), id.to_owned()];
    rows.extend(stage.inbound_executions.iter().map(|waiting| waits(&waiting.pipeline_execution_id)));
    rows.extend(stage.action_states.iter().map(|action| row(&stage.stage_name, action)));
    rows
}

fn row(stage: &str, action: &ActionState) -> [String; 4] {
    let name = format!("{stage}/{}", action.action_name);
    let Some(latest) = &action.latest_execution else {
        return [name, "not started".to_owned(), String::new(), String::new()];
    };
    let status = match &latest.token {
        Some(_) => "waits for approval".to_owned(),
        None => format!("{:?}", latest.status),
    };
    let error = latest.error_details.as_ref().map(|error| error.message.as_ref().unwrap_or(&error.code));
    let summary = error.or(latest.summary.as_ref()).and_then(|text| text.lines().next()).unwrap_or_default();
    [name, status, time_of(latest.last_status_change), summary.to_owned()]
}

/// What holds the pipeline up, and the command that helps.
fn advice(server: &Server, pipeline: &str, stage: &StageState) -> Vec<String> {
    let mut lines = Vec::new();
    let name = &stage.stage_name;
    let mut add = |why: String, command: String| lines.push(format!("\n{}\n  {command}", printable(&why)));
    if let Some(transition) = stage.inbound_transition_state.as_ref().filter(|transition| !transition.enabled) {
        let reason = transition.disabled_reason.as_deref().unwrap_or("no reason was given");
        let waiting = match stage.inbound_executions.first() {
            Some(first) => format!("; execution {} waits there", first.pipeline_execution_id),
            None => String::new(),
        };
        add(
            format!("The transition into {name} is disabled ({reason}){waiting}."),
            format!(
                "aws codepipeline enable-stage-transition --pipeline-name {pipeline} --stage-name {name} \
                 --transition-type Inbound"
            ),
        );
    }
    let open = stage
        .action_states
        .iter()
        .filter(|action| action.latest_execution.as_ref().is_some_and(|latest| latest.token.is_some()));
    for action in open {
        let action = format!("{name}/{}", action.action_name);
        let answer = |word: &str| server.command(&format!("{word} {pipeline} {action}"));
        add(format!("{action} waits for approval."), format!("{}\n  {}", answer("approve"), answer("reject")));
    }
    if let Some(latest) = stage.latest_execution.as_ref().filter(|latest| latest.status == StageStatus::Failed) {
        let failed = stage.action_states.iter().find(|action| {
            let latest = action.latest_execution.as_ref();
            latest.is_some_and(|latest| latest.status == ActionStatus::Failed)
        });
        let target = failed.map_or_else(|| name.clone(), |action| format!("{name}/{}", action.action_name));
        let execution = &latest.pipeline_execution_id;
        let logs = server.command(&format!("logs {pipeline} {target} --execution {execution}"));
        let error = failed.and_then(|action| action.latest_execution.as_ref()?.error_details.as_ref());
        // An execution keeps the grants that it started with, and so does its retry.
        let (why, again) = match error.is_some_and(|error| error.code == "PermissionError") {
            true => (" for lack of a grant or a credential: mend that, and start anew", format!("start {pipeline}")),
            false => ("", format!("retry {pipeline} {name}")),
        };
        add(format!("{target} failed{why}."), format!("{logs}\n  {}", server.command(&again)));
    }
    lines
}
