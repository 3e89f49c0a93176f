//! The jobs of third-party action types: as other jobs, but that whoever works on one shows a token of the client for it.
//!
//! Owns the clients: each account is one, whose id and token those of the account can see (`waiting`). Must not know the states of
//! a job.

use std::collections::BTreeMap;

use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::action_type::{ActionTypeInfo, ArtifactCount, Property, PropertyKind, is_of_plugins};
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId};
use pipewright_pipeline::requests;
use pipewright_pipeline::responses::{
    AcknowledgeJobOutput, ActionTypeSettings, GetThirdPartyJobDetailsOutput, JobData, PipelineContext,
    PollForThirdPartyJobsOutput, ThirdPartyJob, ThirdPartyJobDetails,
};
use serde::Deserialize;
use serde_json::Value;
use uuid::Uuid;

use super::{Context, Service, ServiceError, jobs};

/// What a client is sealed for.
const CLIENT: &str = "client";
const CLIENT_TOKEN: &str = "client token";

/// By which a partner knows whose job it is, and shows that it may work on it.
pub struct Client {
    pub id: String,
    pub token: String,
}

impl Client {
    pub fn of(service: &Service, context: &Context) -> Self {
        let account = context.account.to_be_bytes();
        let seed = pipewright_base::Digest::of(service.pages.token(CLIENT, &account).as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&seed.as_bytes()[..16]);
        let id = uuid::Builder::from_random_bytes(bytes).into_uuid();
        Self { id: Uuid::to_string(&id), token: service.pages.token(CLIENT_TOKEN, &account) }
    }

    fn check(service: &Service, context: &Context, token: &str) -> Result<(), ServiceError> {
        // Compared as digests, so that the time it takes tells nothing of the token.
        let digest = |token: &str| pipewright_base::Digest::of(token.as_bytes());
        if digest(token) == digest(&Self::of(service, context).token) {
            return Ok(());
        }
        let message = "The client token is not the one of the job's client";
        Err(ServiceError::refused("InvalidClientTokenException", message))
    }
}

pub async fn poll(
    service: &Service,
    context: &Context,
    input: requests::PollForThirdPartyJobsInput,
) -> Result<PollForThirdPartyJobsOutput, ServiceError> {
    let id = input.action_type_id;
    if id.owner != ActionOwner::ThirdParty {
        let message = "Value at 'actionTypeId.owner' must be ThirdParty: poll for others with PollForJobs";
        return Err(ServiceError::validation(message));
    }
    service.worker_type(context, &id)?;
    service.polls.note(context, &id, service.driver().clock().now_ms());
    let offered = service.offer(context, &id, input.max_batch_size, &Default::default()).await?;
    let client_id = Client::of(service, context).id;
    let jobs = offered
        .into_iter()
        .map(|(seen, _)| ThirdPartyJob { client_id: client_id.clone(), job_id: seen.job.id.to_string() });
    Ok(PollForThirdPartyJobsOutput { jobs: jobs.collect() })
}

pub async fn acknowledge(
    service: &Service,
    context: &Context,
    input: requests::AcknowledgeThirdPartyJobInput,
) -> Result<AcknowledgeJobOutput, ServiceError> {
    Client::check(service, context, &input.client_token)?;
    let input = requests::AcknowledgeJobInput { job_id: input.job_id, nonce: input.nonce };
    jobs::acknowledge_of(service, context, ActionOwner::ThirdParty, input).await
}

pub async fn details(
    service: &Service,
    context: &Context,
    input: requests::GetThirdPartyJobDetailsInput,
) -> Result<GetThirdPartyJobDetailsOutput, ServiceError> {
    Client::check(service, context, &input.client_token)?;
    let row = service.job_row(context, &input.job_id, ActionOwner::ThirdParty).await?;
    let seen = service.seen_at(context, &row).await?;
    let nonce = seen.nonce().ok_or_else(|| {
        let message = "The job is offered to nobody now: poll again for it";
        ServiceError::refused("InvalidJobException", message)
    })?;
    let data = jobs::data(service, context, &seen, Some(nonce));
    // A partner is not told where in the account the action is.
    let pipeline_context = PipelineContext { pipeline_arn: None, pipeline_execution_id: None, ..data.pipeline_context };
    let data = JobData { pipeline_context, ..data };
    let id = seen.job.id.to_string();
    Ok(GetThirdPartyJobDetailsOutput { job_details: ThirdPartyJobDetails { id, data, nonce: nonce.to_string() } })
}

pub async fn succeed(
    service: &Service,
    context: &Context,
    input: requests::PutThirdPartyJobSuccessResultInput,
) -> Result<(), ServiceError> {
    Client::check(service, context, &input.client_token)?;
    let input = requests::PutJobSuccessResultInput {
        job_id: input.job_id,
        current_revision: input.current_revision,
        continuation_token: input.continuation_token,
        execution_details: input.execution_details,
        output_variables: Default::default(),
    };
    jobs::succeed_of(service, context, ActionOwner::ThirdParty, input).await
}

pub async fn fail(
    service: &Service,
    context: &Context,
    input: requests::PutThirdPartyJobFailureResultInput,
) -> Result<(), ServiceError> {
    Client::check(service, context, &input.client_token)?;
    let input = requests::PutJobFailureResultInput { job_id: input.job_id, failure_details: input.failure_details };
    jobs::fail_of(service, context, ActionOwner::ThirdParty, input).await
}

/// Of an ActionTypeDeclaration, what says how workers serve it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Declared {
    #[serde(default)]
    description: String,
    executor: Executor,
    id: ActionTypeId,
    input_artifact_details: Count,
    output_artifact_details: Count,
    #[serde(default)]
    properties: Vec<DeclaredProperty>,
    urls: Option<Urls>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Executor {
    #[serde(rename = "type")]
    kind: String,
    job_timeout: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    minimum_count: u32,
    maximum_count: u32,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DeclaredProperty {
    name: String,
    optional: bool,
    key: bool,
    no_echo: bool,
    #[serde(default)]
    queryable: bool,
    #[serde(default)]
    description: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Urls {
    configuration_url: Option<String>,
    entity_url_template: Option<String>,
    execution_url_template: Option<String>,
    revision_url_template: Option<String>,
}

/// Whether an account may say how its workers serve an action type: one of AWS's partners that no plugin serves there.
pub(super) fn is_for_workers(service: &Service, context: &Context, id: &ActionTypeId) -> bool {
    let is_served = service.catalogue(context).bindings().contains_key(id);
    id.owner == ActionOwner::ThirdParty && !is_served && !is_of_plugins(id)
}

/// UpdateActionType of such a type: from then on, workers of the account serve it.
pub(super) async fn declare(service: &Service, context: &Context, declared: Value) -> Result<(), ServiceError> {
    let wrong = |error| ServiceError::validation(format!("actionType: {error}"));
    let declared: Declared = serde_json::from_value(declared).map_err(wrong)?;
    if declared.executor.kind != "JobWorker" {
        let message = "Value at 'actionType.executor.type' must be JobWorker: there are no Lambda functions here";
        return Err(ServiceError::validation(message));
    }
    let property = |property: DeclaredProperty| Property {
        name: property.name,
        kind: PropertyKind::String,
        required: !property.optional,
        secret: property.no_echo,
        key: property.key,
        queryable: property.queryable,
        default: None,
        choices: Vec::new(),
        documentation: property.description,
    };
    let count = |count: Count| ArtifactCount { min: count.minimum_count, max: count.maximum_count };
    let id = declared.id.clone();
    let served = WorkerType {
        info: ActionTypeInfo {
            id: declared.id,
            inputs: count(declared.input_artifact_details),
            outputs: count(declared.output_artifact_details),
            properties: declared.properties.into_iter().map(property).collect(),
            documentation: declared.description,
        },
        settings: declared.urls.map(|urls| ActionTypeSettings {
            third_party_configuration_url: urls.configuration_url,
            entity_url_template: urls.entity_url_template,
            execution_url_template: urls.execution_url_template,
            revision_url_template: urls.revision_url_template,
        }),
        job_timeout_seconds: declared.executor.job_timeout,
        tags: BTreeMap::new(),
    };
    Ok(service.account_plugins.put_worker_type(context.account, &id, Some(served), &context.cause).await?)
}
