//! What the actions of an execution reported of tests and coverage, and which of their cases are flaky.
//!
//! Must not know how results are kept (`logs`).

pub mod flaky;

use std::sync::Arc;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::Execution;
use pipewright_runner::logs::ActionResults;
use serde::Serialize;

use self::flaky::{Flaky, Run};
use super::{Context, Service, ServiceError, views};

/// Results of one execution that are shown; further action executions are counted. Stops an answer that fills the memory.
const SHOWN_BYTES_MAX: u64 = 16 << 20;
/// The executions that cases are compared over (S181).
const RUNS_MAX: usize = 20;
/// Their results together; executions before are not looked at. Stops a request that reads for minutes.
const COMPARED_BYTES_MAX: u64 = 64 << 20;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reports {
    pub pipeline_name: String,
    pub pipeline_execution_id: String,
    /// In the order in which the actions reported.
    pub actions: Vec<ActionResults>,
    /// How many action executions reported more than is shown.
    pub left_out: usize,
    /// Cases of this execution that do not always end in the same way.
    pub flaky: Vec<Flaky>,
}

pub async fn get(
    service: &Service,
    context: &Context,
    pipeline: &str,
    execution: &str,
) -> Result<Reports, ServiceError> {
    let mut reading = service.runner(context, pipeline, execution).await?;
    let named = reading.named(execution).await?;
    let mut compared = Vec::new();
    for (_, id) in service.driver().list_executions(reading.pipeline, None, RUNS_MAX).await? {
        // It may have been collected meanwhile.
        let Some(execution) = reading.execution(id).await? else { continue };
        let declaration = reading.declaration(execution.start.version).await?;
        compared.push((id.to_string(), revisions(&execution, &declaration)));
    }
    let (actions, id) = (Arc::clone(&service.host.actions), named.id.to_string());
    let read = service.work().blocking(move || -> std::io::Result<_> {
        let (shown, left_out) = actions.logs.results(&id, &mut { SHOWN_BYTES_MAX })?;
        let (mut runs, mut left) = (Vec::new(), COMPARED_BYTES_MAX);
        for (id, revisions) in compared {
            let (results, _) = actions.logs.results(&id, &mut left)?;
            runs.push(Run::of(revisions, &results));
        }
        // The newest comes first in a list.
        runs.reverse();
        let flaky = flaky::flaky(&runs, &shown);
        Ok((shown, left_out, flaky))
    });
    let (actions, left_out, flaky) = read.await.map_err(ServiceError::host)?;
    Ok(Reports {
        pipeline_name: pipeline.to_owned(),
        pipeline_execution_id: named.id.to_string(),
        actions,
        left_out,
        flaky,
    })
}

/// What an execution is of: the revisions of all its sources. None where a source has none, so that nobody knows.
fn revisions(execution: &Execution, declaration: &PipelineDeclaration) -> Option<String> {
    let revisions = views::summary_of(execution, declaration).source_revisions;
    let sources = declaration.stages.first().map_or(0, |stage| stage.actions.len());
    let named = revisions.iter().map(|revision| format!("{}={}", revision.action_name, revision.revision_id));
    (sources > 0 && revisions.len() == sources).then(|| named.collect::<Vec<_>>().join("\n"))
}
