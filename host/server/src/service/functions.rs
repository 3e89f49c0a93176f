//! The functions that do actions of `Invoke/AWS/Lambda/1` and rules `LambdaInvoke`: each is told of its job in the form in which AWS
//! Lambda is, and reports it as a worker does (S198).
//!
//! Owns what the operator says of a function, which of its jobs are due, and what it is told. Must not know how it is asked
//! (`crate::functions`), nor the states of a job.

use std::collections::BTreeMap;

use bytes::Bytes;
use pipewright_base::Source;
use pipewright_engine::driver::job_rows::QueuedRow;
use pipewright_packages::plugins::WorkerType;
use pipewright_pipeline::action_type::{ActionTypeInfo, FUNCTION_NAME, is_of_functions, of_functions};
use pipewright_pipeline::machine::{FailureType, InputKind, JobId, Nonce, Placed, Reply};
use pipewright_runner::connections::SecretPlace;
use pipewright_runner::host::Host;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::jobs::{self, Seen};
use super::{Context, Service, ServiceError};
use crate::notify::is_address;

/// How long a function has for each of its jobs, as CodePipeline has it.
const JOB_SECONDS: u32 = 20 * 60;
/// A function that nobody answers for is asked again for so long. Stops a job from waiting for one that is gone for good.
const UNREACHABLE_MILLISECONDS_MAX: u64 = 20 * 60 * 1000;
/// A function that goes on from a continuation token is asked again after so long, as CodePipeline does: it looks whether
/// something has come meanwhile.
const CONTINUES_MILLISECONDS: u64 = 30 * 1000;
/// Queued jobs that are read at once.
const ROWS_PER_READ: usize = 50;

/// Something that takes what AWS Lambda's Invoke takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Function {
    /// Where it is asked, by a POST: for AWS Lambda `https://lambda.REGION.amazonaws.com/2015-03-31/functions/NAME/invocations`.
    pub url: String,
    /// Its address may be a loopback, link-local or private one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub private: bool,
    /// The access key that requests are signed with; without it they are not signed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<FunctionKey>,
}

/// An access key of AWS, or of what speaks like it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FunctionKey {
    /// The access key's id, like `AKIAIOSFODNN7EXAMPLE`.
    pub id: String,
    /// The secret of the access key.
    pub secret: SecretPlace,
    /// The region for which it is signed, where it is not the server's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
}

/// Those of every account that has some, by their names.
pub type Functions = BTreeMap<u64, BTreeMap<String, Function>>;

impl Function {
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if !is_address(&self.url) {
            return Err("url: write an http or https address, without a user in it".to_owned());
        }
        self.key.as_ref().map_or(Ok(()), |key| key.secret.check().map_err(|reason| format!("key.secret: {reason}")))
    }
}

/// From now on the functions of each account do what is of their types there.
pub fn configure(host: &Host, functions: &Functions) {
    let served = |info: ActionTypeInfo| WorkerType {
        info,
        settings: None,
        job_timeout_seconds: Some(JOB_SECONDS),
        tags: BTreeMap::new(),
    };
    host.actions.plugins.share(|sharing| {
        for account in functions.keys().copied() {
            sharing.workers.extend(of_functions().map(|info| ((account, info.id.clone()), Some(served(info)))));
        }
    });
}

/// A job that a function is to be told of.
pub struct Invocation {
    pub name: String,
    /// None where the configuration has none of the name.
    pub function: Option<Function>,
    pub event: Bytes,
    context: Context,
    seen: Seen,
    nonce: Nonce,
}

/// What came of telling a function of its job.
pub enum Told {
    /// It has it, as far as can be known.
    Taken,
    /// It never will.
    Refused(FailureType, String),
    /// It may the next time.
    Unreachable(String),
}

/// The jobs of an account that are due, and when the next one is, in milliseconds since 1970.
pub async fn due(service: &Service, account: u64) -> Result<(Vec<QueuedRow>, Option<u64>), ServiceError> {
    let now = service.driver().clock().now_ms();
    let (mut due, mut next) = (Vec::new(), None::<u64>);
    for info in of_functions() {
        let mut after = None;
        loop {
            let rows = service.driver().queued_jobs(account, &info.id, after.as_ref(), ROWS_PER_READ).await?;
            after = rows.last().cloned();
            let is_last = rows.len() < ROWS_PER_READ;
            for row in rows {
                // A pipeline that cannot be read keeps no function from the jobs of others.
                let Ok(Some(seen)) = service.seen(account, row.uid, row.action, row.job).await else { continue };
                let pause = if seen.job.number > 1 { CONTINUES_MILLISECONDS } else { 0 };
                match seen.job.queued.0 + pause {
                    at if at <= now => due.push(row),
                    at => next = Some(next.map_or(at, |next| next.min(at))),
                }
            }
            if is_last {
                break;
            }
        }
    }
    Ok((due, next))
}

/// Offers a job to its function; none where it waits no more.
pub async fn offer(service: &Service, account: u64, row: &QueuedRow) -> Result<Option<Invocation>, ServiceError> {
    let context = Context::of_host("functions", Source::Timer, account);
    let Some(seen) = service.seen(account, row.uid, row.action, row.job).await? else { return Ok(None) };
    let what = InputKind::OfferJob { action: row.action, job: row.job };
    let Ok(Reply::Offered(nonce)) = service.driver().submit(seen.pipeline, what, &context.cause).await else {
        return Ok(None);
    };
    let name = seen.called.configuration.get(FUNCTION_NAME).cloned().unwrap_or_default();
    let function = service.functions.get(&account).and_then(|theirs| theirs.get(plain(&name))).cloned();
    let event = Bytes::from(event(service, &context, &seen, nonce).to_string());
    Ok(Some(Invocation { name, function, event, context, seen, nonce }))
}

/// The name of a function that is given as an ARN.
fn plain(name: &str) -> &str {
    let of_arn = name.strip_prefix("arn:").and_then(|rest| rest.split_once(":function:"));
    of_arn.map_or(name, |(_, name)| name.split(':').next().unwrap_or(name))
}

/// What AWS Lambda is told by CodePipeline: a worker's job, without where in the pipeline it is, and until when its credentials are good.
fn event(service: &Service, context: &Context, seen: &Seen, nonce: Nonce) -> Value {
    let mut data = json!(jobs::data(service, context, seen, Some(nonce)));
    if let Some(members) = data.as_object_mut() {
        members.remove("actionTypeId");
        members.remove("pipelineContext");
    }
    for artifacts in ["inputArtifacts", "outputArtifacts"] {
        for artifact in data[artifacts].as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut) {
            artifact.entry("revision").or_insert(Value::Null);
        }
    }
    let until = service.driver().clock().now_ms() + u64::from(JOB_SECONDS) * 1000;
    data["artifactCredentials"]["expirationTime"] = until.into();
    json!({ "CodePipeline.job": { "id": seen.job.id.to_string(), "accountId": context.account_id(), "data": data } })
}

/// Goes on after a function was told: one that has its job has acknowledged it, and one that will not have it has failed.
pub async fn told(service: &Service, invocation: Invocation, told: Told) -> Result<(), ServiceError> {
    let Invocation { name, context, seen, nonce, .. } = invocation;
    let failed = match told {
        Told::Taken => None,
        Told::Refused(kind, message) => Some((kind, message)),
        Told::Unreachable(reason) => {
            let job: JobId = seen.job.id;
            tracing::warn!(%job, account = context.account, "the function {name} cannot be told of its job: {reason}");
            let waited = service.driver().clock().now_ms().saturating_sub(seen.job.queued.0);
            if waited < UNREACHABLE_MILLISECONDS_MAX {
                // The offer lapses, and then it is told again.
                return Ok(());
            }
            Some((
                FailureType::SystemUnavailable,
                format!("The AWS Lambda function {name} cannot be invoked: {reason}"),
            ))
        }
    };
    jobs::acknowledge_offer(service, &context, &seen, nonce).await?;
    match failed {
        Some((kind, message)) => jobs::give_up(service, &context, &seen, kind, message).await,
        None => Ok(()),
    }
}

/// That there is no such function, in CodePipeline's words, and what to do.
pub fn unknown(name: &str) -> Told {
    Told::Refused(FailureType::ConfigurationError, missing(name))
}

fn missing(name: &str) -> String {
    format!(
        "The AWS Lambda function {name} does not exist. Correct `FunctionName`, or name the function in `[functions.{}]` of the \
         server's configuration",
        plain(name)
    )
}

/// Why an action or a rule that names a function would fail for it.
pub fn lacking(service: &Service, account: u64, placed: &Placed<'_>) -> Option<String> {
    let name = placed.declared.configuration()?.get(FUNCTION_NAME)?;
    let is_known = |theirs: &BTreeMap<String, Function>| name.contains("#{") || theirs.contains_key(plain(name));
    let is_one = is_of_functions(&placed.declared.type_id());
    (is_one && !is_known(service.functions.get(&account)?)).then(|| missing(name))
}
