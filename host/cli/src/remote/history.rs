//! `pipewright history`: a pipeline's executions, or its action and rule executions, the newest first.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::num::NonZeroUsize;
use std::process::ExitCode;

use pipewright_pipeline::machine::ActionStatus;
use pipewright_pipeline::responses::{RuleExecutionDetail, Time};
use serde::Deserialize as _;
use serde_json::{Value, json};

use super::show::{self, text, time};
use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// Show each execution of an action, or of a condition's rule
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
    let (limit, mut input) = (arguments.limit.get(), json!({ "pipelineName": arguments.name }));
    if let Some(execution) = &arguments.execution {
        input["filter"] = json!({ "pipelineExecutionId": execution });
    }
    arguments.connection.run(async |server| {
        if arguments.actions {
            let [actions, rules] = ["actionExecutionDetails", "ruleExecutionDetails"];
            let of_actions = find::pages(server, "ListActionExecutions", input.clone(), actions, limit).await?;
            let of_rules = find::pages(server, "ListRuleExecutions", input, rules, limit).await?;
            if server.json {
                out::json(&json!({ actions: of_actions, rules: of_rules }));
            } else {
                show_runs(server, arguments, of_actions, of_rules).await?;
            }
            return Ok(ExitCode::from(exit::SUCCEEDED));
        }
        let member = "pipelineExecutionSummaries";
        let found = find::pages(server, "ListPipelineExecutions", input, member, limit).await?;
        if server.json {
            out::json(&json!({ member: found }));
        } else {
            let rows: Vec<_> = found.iter().map(execution_row).collect();
            show::table(["EXECUTION", "STATUS", "STARTED", "UPDATED", "TRIGGER", "REVISIONS"], &rows);
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// Of actions and rules together, as many as were asked for.
async fn show_runs(
    server: &Server,
    arguments: &Arguments,
    actions: Vec<Value>,
    rules: Vec<Value>,
) -> Result<(), Ended> {
    let mut runs = Vec::new();
    for action in &actions {
        runs.push((find::read::<Time>(action["startTime"].clone())?, run_row(action, &text(&action["actionName"]))));
    }
    let mut declarations = BTreeMap::new();
    for rule in &rules {
        let detail: RuleExecutionDetail = find::read(rule.clone())?;
        let declaration = match declarations.entry(detail.pipeline_version) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(unread) => {
                unread.insert(find::declaration(server, &arguments.name, detail.pipeline_version).await?)
            }
        };
        let name = find::rule_in_stage(Some(declaration), &detail);
        runs.push((detail.start_time, run_row(rule, &name)));
    }
    runs.sort_by_key(|(began, _)| Reverse(began.0));
    let rows: Vec<_> = runs.into_iter().map(|(_, row)| row).take(arguments.limit.get()).collect();
    show::table(["EXECUTION", "STAGE/ACTION", "STATUS", "STARTED", "UPDATED", "SUMMARY"], &rows);
    Ok(())
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

/// An action execution or a rule execution, by what it is called in its stage.
fn run_row(run: &Value, name: &str) -> [String; 6] {
    let result = &run["output"]["executionResult"];
    let error = text(&result["errorDetails"]["message"]);
    let said = if error.is_empty() { text(&result["externalExecutionSummary"]) } else { error };
    let status = ActionStatus::deserialize(&run["status"]).unwrap_or(ActionStatus::InProgress);
    [
        text(&run["pipelineExecutionId"]),
        format!("{}/{name}", text(&run["stageName"])),
        text(&run["status"]),
        time(&run["startTime"]),
        time(&run["lastUpdateTime"]),
        show::summary(status, run["updatedBy"].as_str(), &said),
    ]
}

/// As people write commits.
fn short(revision: &str) -> &str {
    let is_hash = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_hash { &revision[..10] } else { revision }
}
