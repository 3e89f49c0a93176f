//! `pipewright override`: lets an execution go on that a condition of a stage holds, or that failed by it.

use std::process::ExitCode;

use pipewright_pipeline::machine::ConditionStatus;
use pipewright_pipeline::responses::{StageConditionState, StageState};
use serde_json::json;

use super::{Connection, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// The stage
    stage: String,
    /// The execution [default: the latest in the stage]
    execution: Option<String>,
    /// The condition [default: the one that holds the stage's latest execution]
    #[arg(long, value_name = "WHEN")]
    condition: Option<Condition>,
    #[command(flatten)]
    connection: Connection,
}

/// Those that can be overridden.
#[derive(Clone, Copy, clap::ValueEnum)]
enum Condition {
    BeforeEntry,
    OnSuccess,
}

impl Condition {
    /// CodePipeline's word for it.
    fn name(self) -> &'static str {
        match self {
            Condition::BeforeEntry => "BEFORE_ENTRY",
            Condition::OnSuccess => "ON_SUCCESS",
        }
    }
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let Arguments { name, stage, .. } = arguments;
        let state = find::state(server, name).await?;
        let (execution, condition) = choose(arguments, &state.stage_states)?;
        let input = json!({
            "pipelineName": name,
            "stageName": stage,
            "pipelineExecutionId": execution,
            "conditionType": condition.name(),
        });
        server.call("OverrideStageCondition", input).await?;
        if server.json {
            out::json(&json!({}));
        } else {
            say!("{execution} goes on in {stage}: its condition {} is overridden", condition.name());
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

/// The execution and the condition that were named, or those that the stage's state shows.
fn choose<'a>(arguments: &'a Arguments, stages: &'a [StageState]) -> Result<(&'a str, Condition), Ended> {
    let Arguments { name, stage, .. } = arguments;
    let shown = stages.iter().find(|shown| shown.stage_name == *stage);
    let shown = shown.ok_or_else(|| Ended::Usage(format!("{name} has no stage {stage}")))?;
    let latest = shown.latest_execution.as_ref().map(|latest| latest.pipeline_execution_id.as_str());
    let execution = arguments.execution.as_deref().or(latest);
    let execution = execution.ok_or_else(|| Ended::Usage(format!("the stage {stage} of {name} never ran")))?;
    let found = held_by(shown).filter(|_| latest == Some(execution));
    let condition = arguments.condition.or(found).ok_or_else(|| {
        Ended::Usage(format!(
            "the state of {name} shows no condition of {stage} that holds {execution}; where executions run side by side, \
             name the condition with --condition"
        ))
    })?;
    Ok((execution, condition))
}

/// The condition that is being judged, or that the stage failed by.
fn held_by(stage: &StageState) -> Option<Condition> {
    let holds = |state: &Option<StageConditionState>| {
        let status = state.as_ref().map(|state| state.latest_execution.status);
        matches!(status, Some(ConditionStatus::InProgress | ConditionStatus::Failed | ConditionStatus::Errored))
    };
    let conditions = [
        (Condition::BeforeEntry, &stage.before_entry_condition_state),
        (Condition::OnSuccess, &stage.on_success_condition_state),
    ];
    conditions.into_iter().find(|(_, state)| holds(state)).map(|(condition, _)| condition)
}
