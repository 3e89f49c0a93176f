//! `pipewright status`: where a pipeline stands, and what a person can do about it.

use std::process::ExitCode;

use pipewright_pipeline::machine::ConditionType::{self, BeforeEntry, OnFailure, OnSuccess};
use pipewright_pipeline::machine::{ActionStatus, ConditionStatus, StageStatus, rule_in_stage};
use pipewright_pipeline::responses::{ActionState, ConditionState, ErrorDetails, GetPipelineStateOutput, StageState};
use pipewright_text::printable;
use serde_json::json;

use super::show::{self, time_of};
use super::{Connection, Server, approve, find, notices};
use crate::exit::{self, Ended};
use crate::out::{self, note};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let mut output = server.call("GetPipelineState", json!({ "name": arguments.name })).await?;
        if server.json {
            hide_tokens(&mut output);
            out::json(&output);
            return Ok(ExitCode::from(exit::SUCCEEDED));
        }
        let state: GetPipelineStateOutput = find::read(output)?;
        let rows: Vec<_> = state.stage_states.iter().flat_map(rows).collect();
        show::table(["STAGE/ACTION", "STATUS", "CHANGED", "SUMMARY"], &rows);
        for stage in &state.stage_states {
            let retry = retry(server, &state, stage).await?;
            for advice in advice(server, &arguments.name, stage, &retry) {
                out::lines(&advice);
            }
        }
        for advice in side_by_side(server, &state).await? {
            out::lines(&advice);
        }
        notices::warn(server, &arguments.name).await;
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// Who sees a terminal or a build log must not be able to approve by it.
fn hide_tokens(output: &mut serde_json::Value) {
    let stages = output["stageStates"].as_array_mut().into_iter().flatten();
    let actions = stages.filter_map(|stage| stage["actionStates"].as_array_mut()).flatten();
    for execution in actions.filter_map(|action| action["latestExecution"].as_object_mut()) {
        if let Some(token) = execution.get_mut("token") {
            *token = json!("hidden");
        }
    }
}

/// A stage, with its conditions and actions.
fn rows(stage: &StageState) -> Vec<[String; 4]> {
    let latest = stage.latest_execution.as_ref();
    let status = latest.map_or("not started".to_owned(), |latest| format!("{:?}", latest.status));
    let execution = stage.latest_execution.as_ref().map_or("", |latest| &latest.pipeline_execution_id);
    let mut rows = vec![[stage.stage_name.clone(), status, String::new(), execution.to_owned()]];
    let waits = |id: &str| [stage.stage_name.clone(), "waits in front".to_owned(), String::new(), id.to_owned()];
    rows.extend(stage.inbound_executions.iter().map(|waiting| waits(&waiting.pipeline_execution_id)));
    let conditions: Vec<_> = conditions(stage).collect();
    let (before, after) = conditions.split_at(conditions.iter().take_while(|(which, _)| *which == BeforeEntry).count());
    rows.extend(before.iter().flat_map(|(which, condition)| condition_rows(&stage.stage_name, *which, condition)));
    rows.extend(stage.action_states.iter().map(|action| row(&stage.stage_name, action)));
    rows.extend(after.iter().flat_map(|(which, condition)| condition_rows(&stage.stage_name, *which, condition)));
    rows
}

/// The conditions of a stage that were judged, in the order in which they are.
fn conditions(stage: &StageState) -> impl Iterator<Item = (ConditionType, &ConditionState)> {
    let states = [
        (BeforeEntry, &stage.before_entry_condition_state),
        (OnSuccess, &stage.on_success_condition_state),
        (OnFailure, &stage.on_failure_condition_state),
    ];
    states.into_iter().flat_map(|(which, state)| {
        let conditions = state.iter().flat_map(|state| &state.condition_states);
        conditions.map(move |condition| (which, condition))
    })
}

/// A condition, and each of its rules.
fn condition_rows(stage: &str, which: ConditionType, condition: &ConditionState) -> Vec<[String; 4]> {
    let latest = &condition.latest_execution;
    let name = format!("{stage}/{}", which.member());
    let mut rows = vec![[name, format!("{:?}", latest.status), time_of(latest.last_status_change), String::new()]];
    rows.extend(condition.rule_states.iter().map(|rule| {
        let name = format!("{stage}/{}", rule_in_stage(which, &rule.rule_name));
        let Some(latest) = &rule.latest_execution else {
            return [name, "not started".to_owned(), String::new(), String::new()];
        };
        let summary = first_line(latest.error_details.as_ref(), latest.summary.as_ref());
        [name, format!("{:?}", latest.status), time_of(latest.last_status_change), summary]
    }));
    rows
}

fn first_line(error: Option<&ErrorDetails>, summary: Option<&String>) -> String {
    let error = error.map(|error| error.message.as_ref().unwrap_or(&error.code));
    error.or(summary).and_then(|text| text.lines().next()).unwrap_or_default().to_owned()
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
    let said = first_line(latest.error_details.as_ref(), latest.summary.as_ref());
    let summary = show::summary(latest.status, latest.last_updated_by.as_deref(), &said);
    [name, status, time_of(latest.last_status_change), summary]
}

/// What runs a failed stage again: only an execution of the pipeline's own version is retried.
async fn retry(server: &Server, state: &GetPipelineStateOutput, stage: &StageState) -> Result<String, Ended> {
    let pipeline = &state.pipeline_name;
    let failed = stage.latest_execution.as_ref().filter(|latest| latest.status == StageStatus::Failed);
    if let Some(failed) = failed {
        let input = json!({ "pipelineName": pipeline, "pipelineExecutionId": failed.pipeline_execution_id });
        let execution = server.call("GetPipelineExecution", input).await?;
        if execution["pipelineExecution"]["pipelineVersion"] != state.pipeline_version {
            return Ok(format!("start {pipeline}"));
        }
    }
    Ok(format!("retry {pipeline} {}", stage.stage_name))
}

fn advised(why: &str, command: &str) -> String {
    format!("\n{}\n  {command}", printable(why))
}

/// What holds up whoever comes to this stage, whether or not something has.
fn closed(pipeline: &str, stage: &StageState) -> Option<String> {
    let transition = stage.inbound_transition_state.as_ref().filter(|transition| !transition.enabled)?;
    let name = &stage.stage_name;
    let reason = transition.disabled_reason.as_deref().unwrap_or("no reason was given");
    let waiting = match stage.inbound_executions.first() {
        Some(first) => format!("; execution {} waits there", first.pipeline_execution_id),
        None => String::new(),
    };
    Some(advised(
        &format!("The transition into {name} is disabled ({reason}){waiting}."),
        &format!(
            "aws codepipeline enable-stage-transition --pipeline-name {pipeline} --stage-name {name} \
             --transition-type Inbound"
        ),
    ))
}

/// Says on standard error where an execution that is started now will wait.
pub async fn tell_closed(server: &Server, pipeline: &str) -> Result<(), Ended> {
    let state = find::state(server, pipeline).await?;
    for advice in state.stage_states.iter().filter_map(|stage| closed(pipeline, stage)) {
        note!("{}", advice.trim_start());
    }
    Ok(())
}

/// Says on standard error what the pipeline waits for, and how to answer.
pub async fn tell_waiting(server: &Server, pipeline: &str) -> Result<(), Ended> {
    let state = find::state(server, pipeline).await?;
    for stage in &state.stage_states {
        for advice in closed(pipeline, stage).into_iter().chain(approvals(server, pipeline, stage)) {
            note!("{}", advice.trim_start());
        }
    }
    Ok(())
}

/// The approvals of a stage that wait, with the commands that answer them.
fn approvals(server: &Server, pipeline: &str, stage: &StageState) -> impl Iterator<Item = String> {
    let open = stage
        .action_states
        .iter()
        .filter(|action| action.latest_execution.as_ref().is_some_and(|latest| latest.token.is_some()));
    open.map(move |action| {
        let action = format!("{}/{}", stage.stage_name, action.action_name);
        let answer = |word: &str| server.command(&format!("{word} {pipeline} {action}"));
        advised(&format!("{action} waits for approval."), &format!("{}\n  {}", answer("approve"), answer("reject")))
    })
}

/// An execution keeps the grants that it started with, and so does its retry.
const FOR_LACK: &str = " for lack of a grant or a credential: mend that, and start anew";

fn is_for_lack(error: Option<&ErrorDetails>) -> bool {
    error.is_some_and(|error| error.code == "PermissionError")
}

/// The approvals of a pipeline whose executions run side by side, of which its state has no tokens (S63).
async fn side_by_side(server: &Server, state: &GetPipelineStateOutput) -> Result<Vec<String>, Ended> {
    let latest = || {
        let actions = state.stage_states.iter().flat_map(|stage| &stage.action_states);
        actions.filter_map(|action| action.latest_execution.as_ref())
    };
    let may_wait = latest().any(|latest| latest.status == ActionStatus::InProgress);
    if !may_wait || latest().any(|latest| latest.token.is_some()) {
        return Ok(Vec::new());
    }
    let pipeline = &state.pipeline_name;
    let waits = |approve::Approval { execution, stage, action, .. }: &approve::Approval| {
        let answer =
            |word: &str| server.command(&format!("{word} {pipeline} {stage}/{action} --execution {execution}"));
        let commands = format!("{}\n  {}", answer("approve"), answer("reject"));
        advised(&format!("{stage}/{action} of {execution} waits for approval."), &commands)
    };
    Ok(approve::open(server, pipeline).await?.iter().map(waits).collect())
}

/// What holds the pipeline up, and the command that helps; `retry` runs the stage again if it failed.
fn advice(server: &Server, pipeline: &str, stage: &StageState, retry: &str) -> Vec<String> {
    let name = &stage.stage_name;
    let mut lines: Vec<String> =
        closed(pipeline, stage).into_iter().chain(approvals(server, pipeline, stage)).collect();
    let mut add = |why: String, command: String| lines.push(advised(&why, &command));
    if let Some(latest) = stage.latest_execution.as_ref().filter(|latest| latest.status == StageStatus::Failed) {
        let failed = stage.action_states.iter().find(|action| {
            let latest = action.latest_execution.as_ref();
            latest.is_some_and(|latest| latest.status == ActionStatus::Failed)
        });
        let execution = &latest.pipeline_execution_id;
        let is_failed = |condition: &ConditionState| {
            matches!(condition.latest_execution.status, ConditionStatus::Failed | ConditionStatus::Errored)
        };
        let mut held = conditions(stage).filter(|(which, condition)| *which != OnFailure && is_failed(condition));
        if let Some((which, condition)) = held.next() {
            let logs = server.command(&format!("logs {pipeline} {name} --execution {execution}"));
            let mut errors = condition.rule_states.iter().filter_map(|rule| rule.latest_execution.as_ref());
            let (why, command) = match errors.any(|rule| is_for_lack(rule.error_details.as_ref())) {
                true => (FOR_LACK, format!("start {pipeline}")),
                false => ("", format!("override {pipeline} {name}")),
            };
            add(
                format!("{name}/{} did not pass{why}.", which.member()),
                format!("{logs}\n  {}", server.command(&command)),
            );
            return lines;
        }
        let target = failed.map_or_else(|| name.clone(), |action| format!("{name}/{}", action.action_name));
        let logs = server.command(&format!("logs {pipeline} {target} --execution {execution}"));
        let error = failed.and_then(|action| action.latest_execution.as_ref()?.error_details.as_ref());
        let (why, again) = match is_for_lack(error) {
            true => (FOR_LACK, format!("start {pipeline}")),
            false => ("", retry.to_owned()),
        };
        add(format!("{target} failed{why}."), format!("{logs}\n  {}", server.command(&again)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_in_front_of_a_stage_is_shown() {
        let stage = serde_json::json!({
            "stageName": "Deploy",
            "inboundExecutions": [{ "pipelineExecutionId": "first", "status": "InProgress" }],
            "actionStates": [],
        });
        let rows = rows(&serde_json::from_value(stage).unwrap());
        let shown: Vec<_> = rows.iter().map(|row| row.join(" ")).collect();
        assert_eq!(shown, ["Deploy not started  ", "Deploy waits in front  first"]);
    }
}
