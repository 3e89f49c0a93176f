//! The operations of the API, one row each, by the services of AWS that have them.
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
use crate::service::{
    action_types, actions, builds, custom_types, deploys, executions, identity, jobs, partner_jobs, pipelines,
    projects, rules, state, tags, webhooks,
};

/// A service of AWS that is spoken here: how it is called, and how it calls its errors.
#[derive(Debug)]
pub struct Dialect {
    /// In signatures, and before the names of permissions.
    pub name: &'static str,
    /// Before the name of an operation, in JSON and in CBOR; none where the query protocol is spoken.
    pub target_prefix: Option<&'static str>,
    /// Its own names for what others call differently.
    errors: &'static [(&'static str, &'static str)],
}

impl Dialect {
    /// A mistake of the input, whoever found it, is what this service calls it.
    pub(super) fn code(&self, code: &'static str) -> &'static str {
        self.errors.iter().find(|(others, _)| *others == code).map_or(code, |(_, own)| own)
    }
}

pub static CODEPIPELINE: Dialect =
    Dialect { name: "codepipeline", target_prefix: Some("CodePipeline_20150709"), errors: &[] };

pub static CODEBUILD: Dialect = Dialect {
    name: "codebuild",
    target_prefix: Some("CodeBuild_20161006"),
    errors: &[
        ("ValidationException", "InvalidInputException"),
        ("InvalidNextTokenException", "InvalidInputException"),
        ("LimitExceededException", "AccountLimitExceededException"),
    ],
};

/// The errors are those that all services of the query protocol have (AWS Security Token Service API Reference, "Common Errors").
pub static STS: Dialect = Dialect {
    name: "sts",
    target_prefix: None,
    errors: &[
        ("AccessDeniedException", "AccessDenied"),
        ("IncompleteSignatureException", "IncompleteSignature"),
        ("InvalidSignatureException", "SignatureDoesNotMatch"),
        ("MissingAuthenticationTokenException", "MissingAuthenticationToken"),
        ("ServiceUnavailableException", "ServiceUnavailable"),
        ("ThrottlingException", "Throttling"),
        ("UnknownOperationException", "InvalidAction"),
        ("UnrecognizedClientException", "InvalidClientTokenId"),
    ],
};

pub static DIALECTS: &[&Dialect] = &[&CODEPIPELINE, &CODEBUILD, &STS];

pub struct Operation {
    pub of: &'static Dialect,
    pub name: &'static str,
    pub permission: Permission,
    pub(super) run: fn(Call, Value, Protocol) -> BoxFuture<'static, Result<Bytes, ApiError>>,
}

/// How the names of those begin that change nothing. Polls offer a job to whoever asks, and one that is taken is not offered.
const READS: &[&str] = &["Get", "List", "BatchGet", "Describe", "PollFor"];

impl Operation {
    /// Whether it may be done again as often as anybody likes.
    pub fn only_reads(&self) -> bool {
        READS.iter().any(|begin| self.name.starts_with(begin))
    }
}

macro_rules! operations {
    ($($of:ident $prefix:literal { $($name:ident on $resource:ident => $function:path,)* })*) => {
        pub const OPERATIONS: &[Operation] = &[$($(Operation {
            of: &$of,
            name: stringify!($name),
            permission: Permission {
                action: concat!($prefix, ":", stringify!($name)),
                resource: Resource::$resource,
            },
            run: |call, document, protocol| async move {
                let output = $function(call.service(), call.context(), read(&document)?).await?;
                write(protocol, stringify!($name), &call, &output)
            }.boxed(),
        }),*),*];
    };
}

operations! {
    CODEPIPELINE "codepipeline" {
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
        CreateCustomActionType on ActionType => custom_types::create,
        DeleteCustomActionType on ActionType => custom_types::delete,
        PollForJobs on ActionType => jobs::poll,
        AcknowledgeJob on Account => jobs::acknowledge,
        GetJobDetails on Account => jobs::details,
        PutJobSuccessResult on Account => jobs::succeed,
        PutJobFailureResult on Account => jobs::fail,
        PollForThirdPartyJobs on ActionType => partner_jobs::poll,
        AcknowledgeThirdPartyJob on Account => partner_jobs::acknowledge,
        GetThirdPartyJobDetails on Account => partner_jobs::details,
        PutThirdPartyJobSuccessResult on Account => partner_jobs::succeed,
        PutThirdPartyJobFailureResult on Account => partner_jobs::fail,
        TagResource on Tagged => tags::tag,
        UntagResource on Tagged => tags::untag,
        ListTagsForResource on Tagged => tags::list,
        PutWebhook on Webhook => webhooks::put,
        ListWebhooks on Account => webhooks::list,
        DeleteWebhook on Webhook => webhooks::delete,
        RegisterWebhookWithThirdParty on Webhook => webhooks::register,
        DeregisterWebhookWithThirdParty on Webhook => webhooks::deregister,
    }
    CODEBUILD "codebuild" {
        CreateProject on Project => projects::create,
        UpdateProject on Project => projects::update,
        DeleteProject on Project => projects::delete,
        BatchGetProjects on Project => projects::batch_get,
        ListProjects on Account => projects::list,
        StartBuild on Project => builds::start,
        StopBuild on Project => builds::stop,
        BatchGetBuilds on Project => builds::batch_get,
        ListBuilds on Account => builds::list,
        ListBuildsForProject on Project => builds::list_for_project,
        BatchGetReports on Project => builds::reports::batch_get,
        DescribeTestCases on Project => builds::reports::test_cases,
    }
    STS "sts" {
        GetCallerIdentity on Account => identity::get,
    }
}

pub fn find(of: &Dialect, name: &str) -> Result<&'static Operation, ApiError> {
    let row = OPERATIONS.iter().find(|row| row.of.name == of.name && row.name == name);
    row.ok_or_else(|| ApiError::unknown_operation(name))
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

fn write<T: Serialize + 'static>(protocol: Protocol, name: &str, call: &Call, output: &T) -> Result<Bytes, ApiError> {
    // An operation that has no output answers with an empty body (S2).
    let has_none = (output as &dyn std::any::Any).is::<()>();
    protocol.write(name, &call.context().cause.request, (!has_none).then_some(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_one_row_and_each_input_an_operation() {
        for row in OPERATIONS {
            let rows = OPERATIONS.iter().filter(|other| other.permission == row.permission);
            assert_eq!(rows.count(), 1, "{}", row.name);
            assert_eq!(row.permission.action, format!("{}:{}", row.of.name, row.name));
            assert!(DIALECTS.iter().any(|of| of.name == row.of.name));
        }
        let is_read = |name: &str| OPERATIONS.iter().any(|row| row.name == name && row.only_reads());
        for (name, expected) in [
            ("GetPipelineState", true),
            ("BatchGetBuilds", true),
            ("PollForJobs", true),
            ("EnableStageTransition", false),
            ("AcknowledgeJob", false),
            ("RegisterWebhookWithThirdParty", false),
        ] {
            assert_eq!(is_read(name), expected, "{name}");
        }
        let requests = [
            (&CODEPIPELINE, requests::REQUESTS),
            (&CODEPIPELINE, requests::JOB_REQUESTS),
            (&CODEBUILD, requests::codebuild::REQUESTS),
            (&STS, requests::sts::REQUESTS),
        ];
        for (of, request) in requests.iter().flat_map(|(of, rows)| rows.iter().map(move |row| (of, row))) {
            assert!(find(of, request.operation).is_ok(), "{}", request.operation);
        }
        for (of, name) in [
            (&CODEPIPELINE, "DropPipeline"),
            (&CODEPIPELINE, "StartBuild"),
            (&CODEBUILD, "GetPipeline"),
            (&STS, "AssumeRole"),
        ] {
            assert!(find(of, name).is_err_and(|error| error.code == "UnknownOperationException"), "{name}");
        }
    }
}
