//! The operations of the API, one row each.
//!
//! Owns the table. Must not know what an operation does: the row names its function.

use axum::body::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_pipeline::requests::{self, Request};
use serde::Serialize;
use serde_json::Value;

use super::error::ApiError;
use super::permission::{Permission, Resource};
use super::wire::Protocol;
use super::{Call, action_types, actions, executions, pipelines, state, tags};

pub struct Operation {
    pub name: &'static str,
    pub permission: Permission,
    pub(super) run: fn(Call, Value, Protocol) -> BoxFuture<'static, Result<Bytes, ApiError>>,
}

/// The output of an operation that has none (contract §2): an empty body.
#[derive(Serialize)]
pub struct NoBody;

macro_rules! operations {
    ($($name:ident on $resource:ident => $function:path,)*) => {
        pub const OPERATIONS: &[Operation] = &[$(Operation {
            name: stringify!($name),
            permission: Permission {
                action: concat!("codepipeline:", stringify!($name)),
                resource: Resource::$resource,
            },
            run: |call, document, protocol| async move {
                let output = $function(&call, read(&document)?).await?;
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
    RetryStageExecution on Stage => executions::retry_stage,
    EnableStageTransition on Stage => state::enable_transition,
    DisableStageTransition on Stage => state::disable_transition,
    PutApprovalResult on Action => executions::put_approval_result,
    ListActionTypes on Account => action_types::list,
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

fn read<T: Input>(document: &Value) -> Result<T, ApiError> {
    T::read(document)
}

fn write<T: Serialize + 'static>(protocol: Protocol, output: &T) -> Result<Bytes, ApiError> {
    let has_none = (output as &dyn std::any::Any).is::<NoBody>();
    protocol.write((!has_none).then_some(output))
}
