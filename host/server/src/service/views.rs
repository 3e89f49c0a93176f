//! What is shown of pipelines and executions: CodePipeline's structures, made from the core's.
//!
//! Owns the outputs that several operations share. Must not know where they are read from.

use pipewright_pipeline::action_type::ActionTypes;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ActionError, Execution, Revision};
use pipewright_pipeline::responses::{
    ArtifactRevision, ErrorDetails, ExecutionTypeName, PipelineExecution, PipelineExecutionSummary,
    PipelineRollbackMetadata, ResolvedPipelineVariable, SourceRevision, StopExecutionTrigger, Time,
};
use pipewright_pipeline::secrets;
use pipewright_pipeline::validate::with_defaults;
use pipewright_text::cut_chars;

/// CodePipeline's limits on what it shows; more is cut.
const SUMMARY_CHARS_MAX: usize = 2048;
const ERROR_CHARS_MAX: usize = 5000;

/// The declaration as it is read back: with defaults, and without its secrets.
pub fn declaration(declaration: &PipelineDeclaration, types: &ActionTypes) -> PipelineDeclaration {
    let mut shown = with_defaults(declaration);
    secrets::mask(&mut shown, types);
    shown
}

pub fn error(error: &ActionError) -> ErrorDetails {
    ErrorDetails { code: format!("{:?}", error.kind), message: text(Some(&error.message), ERROR_CHARS_MAX) }
}

/// The revisions that an execution's source actions fetched, with the declared action.
fn revisions<'a>(
    execution: &'a Execution,
    declaration: &'a PipelineDeclaration,
) -> impl Iterator<Item = (&'a pipewright_pipeline::declaration::ActionDeclaration, &'a Revision)> {
    execution.stage_actions(0).filter_map(|(place, run)| {
        let action = declaration.stages.first()?.actions.get(usize::from(place.action))?;
        Some((action, run.revision.as_ref().filter(|revision| !revision.id.is_empty())?))
    })
}

/// `declaration` is of the version that the execution runs.
pub fn execution(execution: &Execution, declaration: &PipelineDeclaration) -> PipelineExecution {
    let revisions = revisions(execution, declaration).flat_map(|(action, revision)| {
        action.outputs().map(|name| ArtifactRevision {
            name: name.to_owned(),
            revision_id: revision.id.clone(),
            revision_summary: summary(revision.summary.as_ref()),
            created: revision.created.map(Time),
            revision_url: summary(revision.url.as_ref()),
        })
    });
    let variables = execution.start.variables.iter();
    PipelineExecution {
        pipeline_name: declaration.name.clone(),
        pipeline_version: execution.start.version,
        pipeline_execution_id: execution.id.to_string(),
        status: execution.progress.status,
        status_summary: execution.progress.summary.clone(),
        artifact_revisions: revisions.collect(),
        variables: variables
            .map(|(name, value)| ResolvedPipelineVariable { name: name.clone(), resolved_value: value.clone() })
            .collect(),
        trigger: execution.start.trigger.clone(),
        execution_mode: declaration.execution_mode.unwrap_or_default(),
        execution_type: ExecutionTypeName::of(execution.start.execution_type),
        rollback_metadata: PipelineRollbackMetadata::of(execution.start.execution_type),
    }
}

/// The same as lists show it.
pub fn summary_of(execution: &Execution, declaration: &PipelineDeclaration) -> PipelineExecutionSummary {
    let revisions = revisions(execution, declaration).map(|(action, revision)| SourceRevision {
        action_name: action.name.clone(),
        revision_id: revision.id.clone(),
        revision_summary: summary(revision.summary.as_ref()),
        revision_url: summary(revision.url.as_ref()),
    });
    PipelineExecutionSummary {
        pipeline_execution_id: execution.id.to_string(),
        status: execution.progress.status,
        status_summary: execution.progress.summary.clone(),
        start_time: Time(execution.start.at),
        last_update_time: Time(execution.progress.updated),
        source_revisions: revisions.collect(),
        trigger: execution.start.trigger.clone(),
        stop_trigger: execution.progress.stop.as_ref().map(|stop| StopExecutionTrigger { reason: stop.reason.clone() }),
        execution_mode: declaration.execution_mode.unwrap_or_default(),
        execution_type: ExecutionTypeName::of(execution.start.execution_type),
        rollback_metadata: PipelineRollbackMetadata::of(execution.start.execution_type),
    }
}

/// A text as CodePipeline bounds it: not empty, and cut where it is too long.
pub fn text(text: Option<&String>, chars_max: usize) -> Option<String> {
    let mut text = text.filter(|text| !text.is_empty())?.clone();
    cut_chars(&mut text, chars_max);
    Some(text)
}

/// The same for a summary.
pub fn summary(given: Option<&String>) -> Option<String> {
    text(given, SUMMARY_CHARS_MAX)
}
