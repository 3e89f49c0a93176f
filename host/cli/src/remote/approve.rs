//! `pipewright approve` and `reject`: answers an approval that waits.

use std::process::ExitCode;

use serde_json::json;

use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

/// How many of the newest executions are looked through for approvals of a pipeline whose executions run side by side.
const LOOKED_THROUGH_MAX: usize = 100;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The approval; may be left out where only one waits
    #[arg(value_name = "STAGE/ACTION")]
    action: Option<String>,
    /// The execution, where several wait side by side
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// What to note about the decision
    #[arg(long, value_name = "TEXT", default_value = "")]
    summary: String,
    #[command(flatten)]
    connection: Connection,
}

/// An approval that waits.
pub(super) struct Approval {
    pub(super) execution: String,
    pub(super) stage: String,
    pub(super) action: String,
    token: String,
}

/// `status` is `Approved` or `Rejected`.
pub fn run(arguments: &Arguments, status: &str) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let approval = choose(arguments, open(server, &arguments.name).await?)?;
        let input = json!({
            "pipelineName": arguments.name,
            "stageName": approval.stage,
            "actionName": approval.action,
            "token": approval.token,
            "result": { "status": status, "summary": arguments.summary },
        });
        let output = server.call("PutApprovalResult", input).await?;
        if server.json {
            out::json(&output);
        } else {
            let (stage, action) = (&approval.stage, &approval.action);
            say!("{stage}/{action} of {} is {}", approval.execution, status.to_lowercase());
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// Those that wait.
pub(super) async fn open(server: &Server, pipeline: &str) -> Result<Vec<Approval>, Ended> {
    let state = find::state(server, pipeline).await?;
    let mut found = Vec::new();
    for stage in state.stage_states {
        let Some(execution) = stage.latest_execution else { continue };
        for action in stage.action_states {
            if let Some(token) = action.latest_execution.and_then(|latest| latest.token) {
                found.push(Approval {
                    execution: execution.pipeline_execution_id.clone(),
                    stage: stage.stage_name.clone(),
                    action: action.action_name,
                    token,
                });
            }
        }
    }
    if !found.is_empty() {
        return Ok(found);
    }
    // The state of a pipeline whose executions run side by side has no tokens (S63).
    for execution in find::executions(server, pipeline, LOOKED_THROUGH_MAX).await? {
        if !execution.is_running() {
            continue;
        }
        for action in find::actions(server, pipeline, &execution.pipeline_execution_id).await? {
            if let Some(token) = action.approval_token() {
                found.push(Approval {
                    token: token.to_owned(),
                    execution: action.pipeline_execution_id,
                    stage: action.stage_name,
                    action: action.action_name,
                });
            }
        }
    }
    Ok(found)
}

fn choose(arguments: &Arguments, open: Vec<Approval>) -> Result<Approval, Ended> {
    let is_meant = |approval: &Approval| {
        arguments.action.as_deref().is_none_or(|named| find::is_named(named, &approval.stage, &approval.action))
            && arguments.execution.as_deref().is_none_or(|execution| execution == approval.execution)
    };
    let listed = |approvals: &[Approval]| {
        let lines = approvals.iter().map(|a| format!("\n  {}/{} --execution {}", a.stage, a.action, a.execution));
        lines.collect::<String>()
    };
    let (mut meant, others): (Vec<_>, Vec<_>) = open.into_iter().partition(is_meant);
    let name = &arguments.name;
    match (meant.len(), meant.pop()) {
        (1, Some(approval)) => Ok(approval),
        (_, Some(last)) => {
            meant.push(last);
            Err(Ended::Usage(format!("several approvals of {name} wait; name one of them:{}", listed(&meant))))
        }
        (_, None) if others.is_empty() => Err(Ended::Usage(format!("no approval of {name} waits"))),
        (_, None) => {
            Err(Ended::Usage(format!("this approval does not wait, but these of {name} do:{}", listed(&others))))
        }
    }
}
