//! Starting an execution.

use std::sync::Arc;

use pipewright_text::cut_chars;

use super::bounds::{self, TRIGGER_DETAIL_CHARS_MAX};
use super::event::ExecutionState;
use super::execution::{Execution, ExecutionStatus, ExecutionType, Start};
use super::input::{SourceRevisionOverride, SourceRevisionType, StartRequest};
use super::refusal::Refusal;
use super::report::Variables;
use super::step::Reply;
use super::work::Work;
use super::{admission, stages};
use crate::declaration::{ActionCategory, ActionOwner, ActionTypeId, PipelineDeclaration, PipelineType};
use crate::variables::{self, VariablesError};

/// An execution without a required variable starts and has failed, as in CodePipeline.
pub(super) fn start(work: &mut Work<'_>, mut request: StartRequest) -> Result<Reply, Refusal> {
    check_source_revisions(&work.declaration, &request.source_revisions)?;
    let is_v2 = work.declaration.pipeline_type == Some(PipelineType::V2);
    if !request.variables.is_empty() && !is_v2 {
        return Err(Refusal::InvalidVariables("Pipeline variable can only be used with V2 pipelines".into()));
    }
    let (variables, missing) = match variables::pipeline_variables(&work.declaration, &request.variables) {
        Ok(variables) => (variables, None),
        Err(error @ VariablesError::Missing { .. }) => (Variables::new(), Some(error.to_string())),
        Err(error @ VariablesError::Duplicate { .. }) => return Err(Refusal::InvalidVariables(error.to_string())),
    };
    cut_chars(&mut request.trigger.detail, TRIGGER_DETAIL_CHARS_MAX);
    let start = Start {
        number: work.head.executions + 1,
        version: work.head.version,
        at: work.at,
        execution_type: ExecutionType::Standard,
        entry: 0,
        trigger: request.trigger,
        variables,
        source_revisions: request.source_revisions,
        branch: request.branch,
        pins: request.pins,
    };
    if let Some(objection) = bounds::start_objection(&start) {
        return Err(Refusal::StartTooLarge(objection));
    }
    let id = work.ids.execution();
    let mut execution = Execution::new(id, Arc::new(start));
    admission::check_room(work, &execution, None)?;
    work.head_mut().executions = execution.start.number;
    stages::tell(work, &execution, ExecutionState::Started);
    match missing {
        None => admission::arrive(work, &mut execution),
        Some(message) => stages::end_execution(work, &mut execution, ExecutionStatus::Failed, Some(message)),
    }
    work.put(execution);
    Ok(Reply::Execution(id))
}

/// Whether the revisions of a source are of this type. What a plugin or a worker of others takes, nobody but it knows.
fn takes(id: &ActionTypeId, kind: SourceRevisionType) -> bool {
    use SourceRevisionType::{CommitId, ImageDigest, S3ObjectKey, S3ObjectVersionId};
    match (id.owner, id.provider.as_str()) {
        (ActionOwner::AWS, "CodeCommit" | "CodeStarSourceConnection")
        | (ActionOwner::ThirdParty, "GitHub")
        | (ActionOwner::Custom, "Git") => kind == CommitId,
        (ActionOwner::AWS, "ECR") => kind == ImageDigest,
        (ActionOwner::AWS, "S3") => matches!(kind, S3ObjectVersionId | S3ObjectKey),
        _ => true,
    }
}

/// A revision is for a source action, of a type that it takes, and each has one.
fn check_source_revisions(
    declaration: &PipelineDeclaration,
    revisions: &[SourceRevisionOverride],
) -> Result<(), Refusal> {
    let declared = declaration.stages.iter().flat_map(|stage| &stage.actions);
    let declared: Vec<_> = declared.map(|action| (action.name.as_str(), &action.action_type_id)).collect();
    for (index, revision) in revisions.iter().enumerate() {
        let name = revision.action_name.as_str();
        let wrong = if revisions[..index].iter().any(|before| before.action_name == name) {
            "is named twice: an action takes one revision"
        } else {
            match declared.iter().find(|(declared, _)| *declared == name) {
                None => "does not exist in the pipeline",
                Some((_, id)) if id.category != ActionCategory::Source => "is no source action",
                Some((_, id)) if !takes(id, revision.revision_type) => {
                    "is of a type whose revisions are not of this revisionType"
                }
                Some(_) => continue,
            }
        };
        return Err(Refusal::InvalidSourceRevisions(format!("The action '{name}' of sourceRevisions {wrong}")));
    }
    Ok(())
}
