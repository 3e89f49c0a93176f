//! The operations of the API, one row each.
//!
//! Owns the table. Must not know what an operation does: the row names its function.

use axum::body::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_pipeline::requests::{self, Request};
use serde::Serialize;
use serde_json::Value;

use super::Call;
use super::error::ApiError;
use super::permission::{Permission, Resource};
use super::wire::Protocol;
use crate::service::pipelines::Document;
use crate::service::{action_types, actions, deploys, executions, pipelines, rules, state, tags};

pub struct Operation {
    pub name: &'static str,
    pub permission: Permission,
    pub(super) run: fn(Call, Value, Protocol) -> BoxFuture<'static, Result<Bytes, ApiError>>,
}

macro_rules! operations {
    ($($name:ident on $resource:ident => $function:path,)*) => {
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            name: stringify!($name),
            permission: Permission {
                action: concat!("codepipeline:", stringify!($name)),
                resource: Resource::$resource,
            },
            run: |call, document, protocol| async move {
                let output = $function(call.service(), call.context(), read(&document)?).await?;
                write(protocol, &output)
            }.boxed(),
        }),*];
    };
}

operations! {
    CreatePipeline on Pipeline => pipelines::create,
    GetPipeline on Pipeline => pipelines::get,
    UpdatePipeline on Pipeline => pipelines::update,
    DeletePipeline on Pipeline => pipelines::delete,
    ListPipelines on Account => pipelines::list,
    StartPipelineExecution on Pipeline => executions::start,
    StopPipelineExecution on Pipeline => executions::stop,
    GetPipelineState on Pipeline => state::get,
    GetPipelineExecution on Pipeline => executions::get,
    ListPipelineExecutions on Pipeline => executions::list,
    ListActionExecutions on Pipeline => actions::list,
    ListRuleExecutions on Pipeline => rules::list_executions,
    ListDeployActionExecutionTargets on Account => deploys::list_targets,
    RetryStageExecution on Stage => executions::retry_stage,
    RollbackStage on Stage => executions::rollback_stage,
    OverrideStageCondition on Stage => executions::override_condition,
    EnableStageTransition on Stage => state::enable_transition,
    DisableStageTransition on Stage => state::disable_transition,
    PutApprovalResult on Action => executions::put_approval_result,
    PutActionRevision on Action => executions::put_action_revision,
    ListActionTypes on Account => action_types::list,
    ListRuleTypes on Account => rules::list_types,
    GetActionType on ActionType => action_types::get,
    UpdateActionType on ActionType => action_types::update,
    TagResource on Tagged => tags::tag,
    UntagResource on Tagged => tags::untag,
    ListTagsForResource on Tagged => tags::list,
}

pub fn find(name: &str) -> Result<&'static Operation, ApiError> {
    OPERATIONS.iter().find(|row| row.name == name).ok_or_else(|| ApiError::unknown_operation(name))
}

/// An operation whose input is judged against more than its shape takes the document as it is.
pub trait Input: Sized {
    fn read(document: &Value) -> Result<Self, ApiError>;
}

impl<T: Request> Input for T {
    fn read(document: &Value) -> Result<Self, ApiError> {
        requests::read(document).map_err(|problems| ApiError::problems(&problems))
    }
}

/// A declaration has rules beyond its shape.
impl Input for Document {
    fn read(document: &Value) -> Result<Self, ApiError> {
        Ok(Self(document.clone()))
    }
}

fn read<T: Input>(document: &Value) -> Result<T, ApiError> {
    T::read(document)
}

fn write<T: Serialize + 'static>(protocol: Protocol, output: &T) -> Result<Bytes, ApiError> {
    // An operation that has no output answers with an empty body (S2).
    let has_none = (output as &dyn std::any::Any).is::<()>();
    protocol.write((!has_none).then_some(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_one_row_and_each_input_an_operation() {
        for row in OPERATIONS {
            let rows = OPERATIONS.iter().filter(|other| other.name == row.name);
            assert_eq!(rows.count(), 1, "{}", row.name);
            assert_eq!(row.permission.action, format!("codepipeline:{}", row.name));
        }
        for request in requests::REQUESTS {
            assert!(find(request.operation).is_ok(), "{}", request.operation);
        }
        assert!(find("DropPipeline").is_err_and(|error| error.code == "UnknownOperationException"));
    }
}
