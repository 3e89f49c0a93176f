//! PollForJobs, AcknowledgeJob, GetJobDetails, PutJobSuccessResult, PutJobFailureResult.
//!
//! Owns what a worker is told of a job, and what its report means to the action. Must not know the states of a job (the core's
//! state machine), nor how artifacts come and go (`job_artifacts`).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_engine::driver::job_rows::{JobRow, QueuedRow};
use pipewright_engine::driver::{Aggregate, DriverError};
use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::action_type::{FUNCTION_NAME, is_of_functions};
use pipewright_pipeline::declaration::{ActionCategory, ActionOwner, ActionTypeId, ArtifactStore};
use pipewright_pipeline::machine::{
    ActionError, ActionRun, Execution, ExecutionDetails, Failure, FailureType, InputKind, Job as Queued, JobEnd, JobId,
    JobReport, JobStatus as Status, Link, Nonce, OUTPUT_VARIABLES_BYTES_MAX, Outcome, Refusal, Reply, Revision,
    RunAction, Success, Timestamp, Verdict,
};
use pipewright_pipeline::requests::{self, CurrentRevision, JobExecutionDetails};
use pipewright_pipeline::responses::{
    AcknowledgeJobOutput, ActionConfiguration, ActionContext, Artifact, ArtifactLocation, ArtifactLocationType,
    GetJobDetailsOutput, Job, JobData, JobDetails, JobStatus, PipelineContext, PollForJobsOutput, S3ArtifactLocation,
    StageContext,
};
use pipewright_sandbox::Masks;
use serde::Serialize;

use super::{Context, Service, ServiceError, job_artifacts, placeholders};

/// Jobs that one poll gives, whatever it asks for.
const JOBS_PER_POLL_MAX: u32 = 100;
/// CodePipeline's bound on what is shown as an address.
const URL_CHARACTERS_MAX: usize = 2048;
/// Queued jobs that are read at once.
const ROWS_PER_READ: usize = 50;
/// The key of `ExecutionDetails::details` that has how far a worker is.
const PERCENT_COMPLETE: &str = "percentComplete";

/// A job that a worker can see: its action is in progress.
pub(super) struct Seen {
    pub pipeline: Aggregate,
    pub execution: Arc<Execution>,
    pub run: Arc<ActionRun>,
    pub called: RunAction,
    pub job: Queued,
}

impl Seen {
    /// Of the worker that has the job, or is offered it.
    pub(super) fn nonce(&self) -> Option<Nonce> {
        match self.job.status {
            Status::Offered { nonce, .. } | Status::InProgress { nonce, .. } => Some(nonce),
            Status::Queued => None,
        }
    }

    /// The function that does it, if none of the workers that poll does.
    pub(super) fn function(&self) -> Option<&str> {
        let name = self.called.configuration.get(FUNCTION_NAME)?;
        is_of_functions(&self.called.declared().type_id()).then_some(name)
    }

    /// Whether whoever has it may write: a worker that acknowledged it, and a function from the moment in which it is told.
    pub(super) fn is_in_progress(&self) -> bool {
        match self.job.status {
            Status::InProgress { .. } => true,
            Status::Offered { .. } => self.function().is_some(),
            Status::Queued => false,
        }
    }
}

fn not_found() -> ServiceError {
    Refusal::JobNotFound.into()
}

fn over(job: JobId) -> ServiceError {
    Refusal::InvalidJobState { job, why: "its action is over, or goes on with another job" }.into()
}

impl Service {
    /// Where a job is, or was. A job of a partner is there by the partners' operations alone, which want the client's token, and
    /// any other one by the others.
    pub(super) async fn job_row(
        &self,
        context: &Context,
        id: &str,
        owner: ActionOwner,
    ) -> Result<JobRow, ServiceError> {
        let id = id.parse().map_err(|_| not_found())?;
        let row = self.driver().job(context.account, id).await?.ok_or_else(not_found)?;
        let seen = self.seen(context.account, row.uid, row.action, row.job).await?;
        // Those of partners are seen by who shows the client's token, and no others.
        let is_of_partner = |owner| owner == ActionOwner::ThirdParty;
        let is_another = |seen: Seen| is_of_partner(seen.called.declared().type_id().owner) != is_of_partner(owner);
        if seen.is_some_and(is_another) { Err(not_found()) } else { Ok(row) }
    }

    /// What can be seen of a job, while its action waits for it.
    pub(super) async fn seen(
        &self,
        account: u64,
        uid: [u8; 16],
        action: pipewright_pipeline::machine::ActionExecutionId,
        id: JobId,
    ) -> Result<Option<Seen>, ServiceError> {
        let pipeline = Aggregate { account, uid };
        let state = self.driver().state(pipeline).await?;
        let Some((run, called)) = state.called(action) else { return Ok(None) };
        let Some(job) = run.job.clone().filter(|job| job.id == id) else { return Ok(None) };
        let Some(execution) = state.executions.get(&called.execution).cloned() else { return Ok(None) };
        Ok(Some(Seen { pipeline, execution, run, called, job }))
    }

    pub(super) async fn seen_at(&self, context: &Context, row: &JobRow) -> Result<Seen, ServiceError> {
        self.seen(context.account, row.uid, row.action, row.job).await?.ok_or_else(not_found)
    }

    /// Offers jobs of an action type to whoever asks, those first that came first: each to one worker alone.
    pub(super) async fn offer(
        &self,
        context: &Context,
        id: &ActionTypeId,
        count: Option<u32>,
        query: &BTreeMap<String, String>,
    ) -> Result<Vec<(Seen, Nonce)>, ServiceError> {
        let limit = count.unwrap_or(1).min(JOBS_PER_POLL_MAX) as usize;
        let (mut offered, mut after) = (Vec::new(), None::<QueuedRow>);
        while offered.len() < limit {
            let rows = self.driver().queued_jobs(context.account, id, after.as_ref(), ROWS_PER_READ).await?;
            let is_last = rows.len() < ROWS_PER_READ;
            after = rows.last().cloned();
            for row in rows {
                // A pipeline that cannot be read keeps no worker from the jobs of others.
                let seen = self.seen(context.account, row.uid, row.action, row.job).await;
                let Ok(Some(seen)) = seen else { continue };
                let is_asked_for = query.iter().all(|(key, value)| seen.called.configuration.get(key) == Some(value));
                if !is_asked_for || offered.len() == limit {
                    continue;
                }
                let what = InputKind::OfferJob { action: row.action, job: row.job };
                match self.driver().submit(seen.pipeline, what, &context.cause).await {
                    Ok(Reply::Offered(nonce)) => offered.push((seen, nonce)),
                    // Another worker was first, or its action has just ended.
                    Ok(_) | Err(DriverError::Refused(_)) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            if is_last {
                break;
            }
        }
        Ok(offered)
    }

    /// The action type that workers of this account serve.
    pub(super) fn worker_type(&self, context: &Context, id: &ActionTypeId) -> Result<WorkerType, ServiceError> {
        let catalogue = self.catalogue(context);
        catalogue.workers(id).cloned().ok_or_else(|| {
            let message = format!("There is no action type {id} here that workers serve");
            ServiceError::refused("ActionTypeNotFoundException", message)
        })
    }
}

pub async fn poll(
    service: &Service,
    context: &Context,
    input: requests::PollForJobsInput,
) -> Result<PollForJobsOutput, ServiceError> {
    let id = input.action_type_id;
    if id.owner != ActionOwner::Custom {
        let message = "Value at 'actionTypeId.owner' must be Custom: poll for others with PollForThirdPartyJobs";
        return Err(ServiceError::validation(message));
    }
    let served = service.worker_type(context, &id)?;
    service.polls.note(context, &id, service.driver().clock().now_ms());
    let asked: Vec<&str> = input.query_param.keys().map(String::as_str).collect();
    if asked != Vec::from_iter(served.queryable()) {
        let must =
            served.queryable().map_or("must be empty: the action type has no queryable property".to_owned(), |key| {
                format!("must have the action type's queryable property, '{key}', and no other")
            });
        return Err(ServiceError::validation(format!("Value at 'queryParam' {must}")));
    }
    let offered = service.offer(context, &id, input.max_batch_size, &input.query_param).await?;
    let job = |(seen, nonce): (Seen, Nonce)| Job {
        id: seen.job.id.to_string(),
        data: data(service, context, &seen, Some(nonce)),
        nonce: nonce.to_string(),
        account_id: context.account_id(),
    };
    Ok(PollForJobsOutput { jobs: offered.into_iter().map(job).collect() })
}

/// What a worker is told of a job: all that its action was called with, secrets too, and where its artifacts are. Whom nobody
/// offered it reaches none of them.
pub(super) fn data(service: &Service, context: &Context, seen: &Seen, nonce: Option<Nonce>) -> JobData {
    let Seen { execution, called, job, run, .. } = seen;
    let store = artifact_store(service, called);
    let location = |key: String| ArtifactLocation {
        kind: ArtifactLocationType::S3,
        s3_location: S3ArtifactLocation { bucket_name: bucket(store), object_key: key },
    };
    let made_by = |name: &str| execution.runs.values().find(|run| run.artifacts.contains_key(name));
    let inputs = called.inputs.iter().map(|(name, digest)| Artifact {
        name: name.clone(),
        revision: made_by(name).and_then(|run| run.revision.as_ref()).map(|revision| revision.id.clone()),
        location: location(job_artifacts::key(called, name, digest)),
    });
    let outputs = called.outputs().map(|name| Artifact {
        name: name.to_owned(),
        revision: None,
        location: location(job_artifacts::key(called, name, &job_artifacts::made_up(called, name))),
    });
    let pipeline_name = called.declaration.name.clone();
    let token = run.wait.as_ref().map(|wait| String::from_utf8_lossy(&wait.continuation).into_owned());
    JobData {
        action_type_id: called.declared().type_id(),
        action_configuration: ActionConfiguration { configuration: called.configuration.clone() },
        pipeline_context: PipelineContext {
            stage: StageContext { name: called.stage().name.clone() },
            action: ActionContext {
                name: called.name().to_owned(),
                action_execution_id: called.action_execution.to_string(),
            },
            pipeline_arn: Some(service.arn(context, &pipeline_name)),
            pipeline_execution_id: Some(called.execution.to_string()),
            pipeline_name,
        },
        input_artifacts: inputs.collect(),
        output_artifacts: outputs.collect(),
        artifact_credentials: nonce
            .map(|nonce| job_artifacts::credentials(service, seen.pipeline, called.action_execution, job.id, nonce)),
        continuation_token: token.filter(|token| !token.is_empty()),
        encryption_key: store.and_then(|store| store.encryption_key.clone()),
    }
}

/// Where a declaration says that its artifacts are.
fn artifact_store<'a>(service: &Service, called: &'a RunAction) -> Option<&'a ArtifactStore> {
    let declaration = &called.declaration;
    let of_region = || declaration.artifact_stores.as_ref()?.get(service.region());
    declaration.artifact_store.as_ref().or_else(of_region)
}

fn bucket(store: Option<&ArtifactStore>) -> String {
    store.map_or("pipewright", |store| store.location.as_str()).to_owned()
}

pub(super) fn bucket_of(service: &Service, called: &RunAction) -> String {
    bucket(artifact_store(service, called))
}

pub async fn acknowledge(
    service: &Service,
    context: &Context,
    input: requests::AcknowledgeJobInput,
) -> Result<AcknowledgeJobOutput, ServiceError> {
    acknowledge_of(service, context, ActionOwner::Custom, input).await
}

pub(super) async fn acknowledge_of(
    service: &Service,
    context: &Context,
    owner: ActionOwner,
    input: requests::AcknowledgeJobInput,
) -> Result<AcknowledgeJobOutput, ServiceError> {
    let row = service.job_row(context, &input.job_id, owner).await?;
    let what = InputKind::AcknowledgeJob { action: row.action, job: row.job, nonce: input.nonce };
    submit(service, context, &row, what).await?;
    Ok(AcknowledgeJobOutput { status: JobStatus::InProgress })
}

pub async fn details(
    service: &Service,
    context: &Context,
    input: requests::GetJobDetailsInput,
) -> Result<GetJobDetailsOutput, ServiceError> {
    let row = service.job_row(context, &input.job_id, ActionOwner::Custom).await?;
    let seen = service.seen_at(context, &row).await?;
    let (id, account_id) = (seen.job.id.to_string(), context.account_id());
    Ok(GetJobDetailsOutput {
        job_details: JobDetails { id, data: data(service, context, &seen, seen.nonce()), account_id },
    })
}

pub async fn succeed(
    service: &Service,
    context: &Context,
    input: requests::PutJobSuccessResultInput,
) -> Result<(), ServiceError> {
    succeed_of(service, context, ActionOwner::Custom, input).await
}

pub(super) async fn succeed_of(
    service: &Service,
    context: &Context,
    owner: ActionOwner,
    input: requests::PutJobSuccessResultInput,
) -> Result<(), ServiceError> {
    let bytes: usize = input.output_variables.iter().map(|(key, value)| key.len() + value.len()).sum();
    if input.continuation_token.is_some() && !input.output_variables.is_empty() {
        let message = "Output variables can be given only where there is no continuation token";
        return Err(ServiceError::validation(message));
    }
    if bytes > OUTPUT_VARIABLES_BYTES_MAX {
        let message = format!("The output variables have {bytes} bytes, more than {OUTPUT_VARIABLES_BYTES_MAX}");
        return Err(ServiceError::refused("OutputVariablesSizeExceededException", message));
    }
    let row = service.job_row(context, &input.job_id, owner).await?;
    report(service, context, &row, &input, async |seen: &Seen, turn| {
        let masks = masks(service, context, seen);
        let told = told(service, context, seen, &masks, input.execution_details.clone());
        if let Some(token) = input.continuation_token.clone() {
            return Ok(JobEnd::Continues { token, told });
        }
        if seen.called.is_rule() {
            return Ok(JobEnd::Action(Outcome::Decided(Box::new(Verdict { passed: true, told }))));
        }
        let made = match leaked(&masks, &input.output_variables) {
            Some(error) => Err(error),
            None => job_artifacts::take_in(service, seen, turn).await?,
        };
        Ok(JobEnd::Action(match made {
            Ok(artifacts) => {
                let is_source = seen.called.declared().type_id().category == ActionCategory::Source;
                let current = input.current_revision.clone().filter(|_| is_source);
                let revision = current.map(|current| revision(current, &masks));
                let variables = input.output_variables.clone();
                Outcome::Succeeded(Box::new(Success { variables, artifacts, revision, told }))
            }
            Err(error) => Outcome::Failed(Box::new(Failure::instead_of(told, error))),
        }))
    })
    .await
}

pub async fn fail(
    service: &Service,
    context: &Context,
    input: requests::PutJobFailureResultInput,
) -> Result<(), ServiceError> {
    fail_of(service, context, ActionOwner::Custom, input).await
}

pub(super) async fn fail_of(
    service: &Service,
    context: &Context,
    owner: ActionOwner,
    input: requests::PutJobFailureResultInput,
) -> Result<(), ServiceError> {
    let row = service.job_row(context, &input.job_id, owner).await?;
    report(service, context, &row, &input, async |seen: &Seen, _| {
        let mut failed = input.failure_details.clone();
        let masks = masks(service, context, seen);
        failed.message = masks.text(&failed.message).into_owned();
        let external_execution_id = failed.external_execution_id;
        let details = JobExecutionDetails { external_execution_id, ..JobExecutionDetails::default() };
        let told = told(service, context, seen, &masks, Some(details));
        // A rule that could not be judged is told from one that does not pass by the kind of the failure (S199).
        if seen.called.is_rule() && failed.kind == FailureType::JobFailed {
            let told = ExecutionDetails { summary: Some(failed.message), ..told };
            return Ok(JobEnd::Action(Outcome::Decided(Box::new(Verdict { passed: false, told }))));
        }
        let error = ActionError { kind: failed.kind, message: failed.message };
        Ok(JobEnd::Action(Outcome::Failed(Box::new(Failure { error, told }))))
    })
    .await
}

/// Reports a job once: the same report again changes nothing, and another one is refused. One that comes meanwhile waits, and is
/// judged by what has become of the job.
async fn report(
    service: &Service,
    context: &Context,
    row: &JobRow,
    input: &impl Serialize,
    end: impl AsyncFnOnce(&Seen, Arc<job_artifacts::Turn>) -> Result<JobEnd, ServiceError>,
) -> Result<(), ServiceError> {
    let text = serde_json::to_vec(input).map_err(ServiceError::host)?;
    let digest = Digest::of(&text);
    let is_same = |report: Option<[u8; 32]>| report.as_ref() == Some(digest.as_bytes());
    let pipeline = Aggregate { account: context.account, uid: row.uid };
    let turn = job_artifacts::turn(service, pipeline, row.action).await;
    let known = service.driver().job(context.account, row.job).await?.and_then(|now| now.report);
    if known.is_some() {
        return if is_same(known) { Ok(()) } else { Err(over(row.job)) };
    }
    let seen = service.seen(context.account, row.uid, row.action, row.job).await?.ok_or_else(|| over(row.job))?;
    if !seen.is_in_progress() {
        return Err(Refusal::InvalidJobState { job: row.job, why: "no worker has acknowledged it" }.into());
    }
    // A function that says something of its job has it, whoever else has not said so yet.
    if let Status::Offered { nonce, .. } = seen.job.status {
        acknowledge_offer(service, context, &seen, nonce).await?;
    }
    let end = end(&seen, Arc::clone(&turn)).await?;
    let is_over = matches!(end, JobEnd::Action(_));
    let report = JobReport { digest: digest.to_string(), end };
    let what = InputKind::ReportJob { action: row.action, job: row.job, report };
    match submit(service, context, row, what).await {
        Ok(()) if is_over => job_artifacts::forget(service, seen.pipeline, seen.run.id).await,
        Ok(()) => {}
        // The same, whose sender did not wait for the answer.
        Err(error) => {
            let now = service.driver().job(context.account, row.job).await?;
            if !now.is_some_and(|now| is_same(now.report)) {
                return Err(error);
            }
        }
    }
    Ok(())
}

async fn submit(service: &Service, context: &Context, row: &JobRow, what: InputKind) -> Result<(), ServiceError> {
    let pipeline = Aggregate { account: context.account, uid: row.uid };
    match service.driver().submit(pipeline, what, &context.cause).await {
        Ok(_) => Ok(()),
        Err(DriverError::Refused(Refusal::PipelineNotFound | Refusal::JobNotFound)) => Err(over(row.job)),
        Err(error) => Err(error.into()),
    }
}

/// Takes the job for the function that it was offered to.
pub(super) async fn acknowledge_offer(
    service: &Service,
    context: &Context,
    seen: &Seen,
    nonce: Nonce,
) -> Result<(), ServiceError> {
    let what = InputKind::AcknowledgeJob { action: seen.run.id, job: seen.job.id, nonce: nonce.to_string() };
    service.driver().submit(seen.pipeline, what, &context.cause).await?;
    Ok(())
}

/// Ends the job of a function that cannot do it, and what waits for it with it.
pub(super) async fn give_up(
    service: &Service,
    context: &Context,
    seen: &Seen,
    kind: FailureType,
    message: String,
) -> Result<(), ServiceError> {
    let digest = Digest::of(message.as_bytes()).to_string();
    let told = told(service, context, seen, &Masks::default(), None);
    let failure = Failure { error: ActionError { kind, message }, told };
    let report = JobReport { digest, end: JobEnd::Action(Outcome::Failed(Box::new(failure))) };
    let what = InputKind::ReportJob { action: seen.run.id, job: seen.job.id, report };
    service.driver().submit(seen.pipeline, what, &context.cause).await?;
    Ok(())
}

/// How far the action's worker said that it is, from 0 to 100.
pub(super) fn percent_complete(told: &ExecutionDetails) -> Option<u32> {
    u32::try_from(told.details.get(PERCENT_COMPLETE)?.as_u64()?).ok()
}

/// A variable is for other actions, for which half of one would be a wrong one (S303).
fn leaked(masks: &Masks, variables: &BTreeMap<String, String>) -> Option<ActionError> {
    let (name, _) = variables.iter().find(|(_, value)| matches!(masks.text(value), Cow::Owned(_)))?;
    let message = format!("the output variable {name} has the value of a secret setting of the action in it");
    Some(ActionError { kind: FailureType::JobFailed, message })
}

fn revision(current: CurrentRevision, masks: &Masks) -> Revision {
    Revision {
        id: current.revision,
        change: Some(current.change_identifier),
        summary: current.revision_summary.map(|summary| masks.text(&summary).into_owned()),
        url: None,
        created: current.created.map(|seconds| Timestamp((seconds * 1000.0) as u64)),
    }
}

/// The secret settings of the action, which its worker was given, are told nowhere (S176).
fn masks(service: &Service, context: &Context, seen: &Seen) -> Masks {
    let served = service.worker_type(context, &seen.called.declared().type_id()).ok();
    let properties = served.iter().flat_map(|served| &served.info.properties).filter(|property| property.secret);
    Masks::of(properties.filter_map(|property| seen.called.configuration.get(&property.name)).map(String::as_str))
}

/// What is shown of the action: by the words of the worker, and the address that the type has for them.
fn told(
    service: &Service,
    context: &Context,
    seen: &Seen,
    masks: &Masks,
    details: Option<JobExecutionDetails>,
) -> ExecutionDetails {
    let JobExecutionDetails { summary, external_execution_id, percent_complete } = details.unwrap_or_default();
    let [summary, external_execution_id] =
        [summary, external_execution_id].map(|text| text.map(|text| masks.text(&text).into_owned()));
    // As CodePipeline has it: a function's execution is known by its name, and says nothing besides.
    if let Some(function) = seen.function() {
        return ExecutionDetails { external_id: Some(function.to_owned()), ..ExecutionDetails::default() };
    }
    let external_id = external_execution_id.or_else(|| seen.run.told.external_id.clone());
    let percent = percent_complete.map(|percent| (PERCENT_COMPLETE.to_owned(), percent.into()));
    let type_id = seen.called.declared().type_id();
    let served = service.worker_type(context, &type_id).ok();
    let url = served.as_ref().and_then(|served| {
        let template = served.settings.as_ref()?.execution_url_template.as_ref()?;
        address(served, template, &seen.called.configuration, external_id.as_deref())
    });
    let link = url.map(|url| Link { title: type_id.provider.clone(), url });
    ExecutionDetails { summary, external_id, links: link.into_iter().collect(), details: percent.into_iter().collect() }
}

/// The address that a type has for an action: a template with its settings, and with what the worker calls its work. None where it
/// is longer than an address can be shown.
pub(super) fn address(
    served: &WorkerType,
    template: &str,
    configuration: &BTreeMap<String, String>,
    external_id: Option<&str>,
) -> Option<String> {
    let value = |name: &str| match name.strip_prefix("Config:") {
        Some(setting) => {
            let is_shown = served.info.properties.iter().any(|it| it.name == setting && !it.secret);
            configuration.get(setting).filter(|_| is_shown).map(String::as_str)
        }
        None if name == "ExternalExecutionId" => Some(external_id.unwrap_or_default()),
        None => None,
    };
    placeholders::filled(template, URL_CHARACTERS_MAX, value)
}
