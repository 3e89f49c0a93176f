//! Finds what a person names by less than its id: the latest execution, an action, everything on many pages.
//!
//! Owns the calls that find something. Must not change anything.

use pipewright_pipeline::responses::{ActionExecutionDetail, GetPipelineStateOutput, PipelineExecutionSummary};
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
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let newest = executions(server, pipeline, 1).await?.pop();
    let newest = newest.ok_or_else(|| {
        Ended::Usage(format!(
            "{pipeline} has no executions: `{}` makes one",
            server.command(&format!("start {pipeline}"))
        ))
    })?;
    Ok(newest.pipeline_execution_id)
}

/// The action executions of one execution, in the order in which they began.
pub async fn actions(server: &Server, pipeline: &str, execution: &str) -> Result<Vec<ActionExecutionDetail>, Ended> {
    let input = json!({ "pipelineName": pipeline, "filter": { "pipelineExecutionId": execution } });
    let found = pages(server, "ListActionExecutions", input, "actionExecutionDetails", usize::MAX).await?;
    found.into_iter().rev().map(read).collect()
}

/// Whether a person who wrote `named` means this action: `Stage/Action`, or one of both.
pub fn is_named(named: &str, stage: &str, action: &str) -> bool {
    match named.split_once('/') {
        Some((of_stage, of_action)) => (of_stage, of_action) == (stage, action),
        None => named == action || named == stage,
    }
}
