//! Finds what a person names by less than its id: the latest execution, an action, everything on many pages.
//!
//! Owns the calls that find something. Must not change anything.

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ActionStatus, Declared, all};
use pipewright_pipeline::responses::{
    ActionExecutionDetail, GetPipelineStateOutput, PipelineExecutionSummary, RuleExecutionDetail, Time,
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Server;
use crate::exit::Ended;

/// The most that the API gives at once.
const PAGE_MAX: usize = 100;

/// The members of a list, over as many pages as `count` needs.
pub async fn pages(
    server: &Server,
    operation: &str,
    mut input: Value,
    member: &str,
    count: usize,
) -> Result<Vec<Value>, Ended> {
    // This list alone writes them with capitals.
    let (max, next) = match operation {
        "ListWebhooks" => ("MaxResults", "NextToken"),
        _ => ("maxResults", "nextToken"),
    };
    let mut found = Vec::new();
    while found.len() < count {
        input[max] = json!(PAGE_MAX.min(count - found.len()));
        let mut answer = server.call(operation, input.clone()).await?;
        if let Value::Array(page) = answer[member].take() {
            found.extend(page);
        }
        match answer[next].take() {
            Value::Null => break,
            token => input[next] = token,
        }
    }
    Ok(found)
}

/// Reads an answer's members.
pub fn read<T: DeserializeOwned>(answer: Value) -> Result<T, Ended> {
    let read = serde_json::from_value(answer);
    read.map_err(|error| Ended::Host(anyhow::anyhow!("the server's answer has another form: {error}")))
}

pub async fn state(server: &Server, pipeline: &str) -> Result<GetPipelineStateOutput, Ended> {
    read(server.call("GetPipelineState", json!({ "name": pipeline })).await?)
}

/// The newest first.
pub async fn executions(server: &Server, pipeline: &str, count: usize) -> Result<Vec<PipelineExecutionSummary>, Ended> {
    let input = json!({ "pipelineName": pipeline });
    let found = pages(server, "ListPipelineExecutions", input, "pipelineExecutionSummaries", count).await?;
    found.into_iter().map(read).collect()
}

/// The execution that was named, or the newest.
pub async fn execution(server: &Server, pipeline: &str, named: Option<&str>) -> Result<String, Ended> {
    match named {
        Some(named) => Ok(named.to_owned()),
        None => Ok(newest(server, pipeline).await?.pipeline_execution_id),
    }
}

pub async fn newest(server: &Server, pipeline: &str) -> Result<PipelineExecutionSummary, Ended> {
    let newest = executions(server, pipeline, 1).await?.pop();
    newest.ok_or_else(|| {
        Ended::Usage(format!(
            "{pipeline} has no executions: `{}` makes one",
            server.command(&format!("start {pipeline}"))
        ))
    })
}

/// The action executions of one execution, in the order in which they began.
pub async fn actions(server: &Server, pipeline: &str, execution: &str) -> Result<Vec<ActionExecutionDetail>, Ended> {
    let input = json!({ "pipelineName": pipeline, "filter": { "pipelineExecutionId": execution } });
    let found = pages(server, "ListActionExecutions", input, "actionExecutionDetails", usize::MAX).await?;
    found.into_iter().rev().map(read).collect()
}

/// An action execution or a rule execution.
pub struct Run {
    pub id: String,
    pub stage: String,
    /// In its stage: `Action`, or `beforeEntry/Rule`.
    pub name: String,
    pub is_running: bool,
    began: Time,
}

/// All that runs in one execution, in the order in which it began.
pub async fn runs(server: &Server, pipeline: &str, execution: &str) -> Result<Vec<Run>, Ended> {
    let input = json!({ "pipelineName": pipeline, "filter": { "pipelineExecutionId": execution } });
    let rules = pages(server, "ListRuleExecutions", input, "ruleExecutionDetails", usize::MAX).await?;
    let action = |action: ActionExecutionDetail| Run {
        is_running: action.is_running(),
        id: action.action_execution_id,
        stage: action.stage_name,
        name: action.action_name,
        began: action.start_time,
    };
    let rules: Vec<RuleExecutionDetail> = rules.into_iter().rev().map(read).collect::<Result<_, _>>()?;
    let declaration = match rules.first() {
        Some(rule) => Some(declaration(server, pipeline, rule.pipeline_version).await?),
        None => None,
    };
    let rule = |rule: RuleExecutionDetail| Run {
        name: rule_in_stage(declaration.as_ref(), &rule),
        id: rule.rule_execution_id,
        stage: rule.stage_name,
        is_running: rule.status == ActionStatus::InProgress,
        began: rule.start_time,
    };
    let actions = actions(server, pipeline, execution).await?;
    let mut runs: Vec<Run> = actions.into_iter().map(action).chain(rules.into_iter().map(rule)).collect();
    runs.sort_by_key(|run| run.began.0);
    Ok(runs)
}

/// A version of a pipeline.
pub async fn declaration(server: &Server, pipeline: &str, version: u32) -> Result<PipelineDeclaration, Ended> {
    read(server.call("GetPipeline", json!({ "name": pipeline, "version": version })).await?["pipeline"].take())
}

/// What a rule is called in its stage. The API does not say in which condition it is; where several of the stage have a rule of its
/// name, its name stands by itself.
pub fn rule_in_stage(declaration: Option<&PipelineDeclaration>, rule: &RuleExecutionDetail) -> String {
    let named = declaration.into_iter().flat_map(all).filter(|placed| {
        matches!(placed.declared, Declared::Rule(it) if it.name == rule.rule_name)
            && placed.stage.name == rule.stage_name
    });
    match named.collect::<Vec<_>>()[..] {
        [one] => one.name_in_stage(),
        _ => rule.rule_name.clone(),
    }
}

/// Whether a person who wrote `named` means this action or rule: `Stage/Action`, `Stage/beforeEntry/Rule`, or a part.
pub fn is_named(named: &str, stage: &str, name: &str) -> bool {
    match named.split_once('/') {
        Some((of_stage, of_name)) => (of_stage, of_name) == (stage, name) || named == name,
        None => named == stage || Some(named) == name.rsplit('/').next(),
    }
}
