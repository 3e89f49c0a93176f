//! Starting an execution.

use std::sync::Arc;

use super::event::ExecutionState;
use super::execution::{Execution, ExecutionStatus, Start};
use super::input::StartRequest;
use super::refusal::Refusal;
use super::report::Variables;
use super::step::Reply;
use super::work::Work;
use super::{admission, stages};
use crate::declaration::{ConditionResult, FailureConditions, PipelineDeclaration, PipelineType, StageDeclaration};
use crate::variables::{self, VariablesError};

/// An execution without a required variable starts and has failed (contract §7.7).
pub(super) fn start(work: &mut Work<'_>, request: StartRequest) -> Result<Reply, Refusal> {
    check_supported(&work.declaration)?;
    let is_v2 = work.declaration.pipeline_type == Some(PipelineType::V2);
    if !request.variables.is_empty() && !is_v2 {
        return Err(Refusal::InvalidVariables("Pipeline variable can only be used with V2 pipelines".into()));
    }
    let (variables, missing) = match variables::pipeline_variables(&work.declaration, &request.variables) {
        Ok(variables) => (variables, None),
        Err(error @ VariablesError::Missing { .. }) => (Variables::new(), Some(error.to_string())),
        Err(error @ VariablesError::Duplicate { .. }) => return Err(Refusal::InvalidVariables(error.to_string())),
    };
    let head = work.head.to_mut();
    head.executions += 1;
    let start = Start {
        number: head.executions,
        version: head.version,
        at: work.at,
        trigger: request.trigger,
        variables,
        source_revisions: request.source_revisions,
        pins: request.pins,
    };
    let id = work.ids.execution();
    let mut execution = Execution::new(id, Arc::new(start));
    stages::tell(work, &execution, ExecutionState::Started);
    match missing {
        None => admission::arrive(work, &mut execution),
        Some(message) => stages::end_execution(work, &mut execution, ExecutionStatus::Failed, Some(message)),
    }
    work.put(execution);
    Ok(Reply::Execution(id))
}

/// Refuses what the machine cannot run yet, so that nothing silently behaves otherwise than declared.
fn check_supported(declaration: &PipelineDeclaration) -> Result<(), Refusal> {
    admission::check_mode(declaration)?;
    match declaration.stages.iter().find(|stage| has_conditions(stage)) {
        Some(stage) => Err(Refusal::NotSupported(format!("The stage '{}' with its conditions", stage.name))),
        None => Ok(()),
    }
}

/// A plain `onFailure` of FAIL says what happens anyway.
fn has_conditions(stage: &StageDeclaration) -> bool {
    let is_plain = |on_failure: &FailureConditions| {
        matches!(on_failure.result, None | Some(ConditionResult::Fail)) && on_failure.conditions.is_none()
    };
    stage.before_entry.is_some()
        || stage.on_success.is_some()
        || stage.on_failure.as_ref().is_some_and(|it| !is_plain(it))
}
