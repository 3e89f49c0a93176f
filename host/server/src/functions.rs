//! Asking functions to do their jobs: AWS Lambda's Invoke, to AWS or to whatever takes the same request (S198).
//!
//! Owns when an account's functions are looked for work, how one is asked, and what its answer means. Must not know what it is told, nor
//! what becomes of its job (the service).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt as _;
use pipewright_aws::auth::{AccessKey, Scope, Secret, sign};
use pipewright_base::fair::Permits;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::FailureType;
use pipewright_sandbox::capabilities::http::{Method, origin_of};
use tokio::task::JoinSet;

use crate::notify::{Outgoing, USER_AGENT, Unsent};
use crate::service::functions::{self, Function, Invocation, Told};
use crate::service::{Service, ServiceError};

/// Functions that are asked at once; more wait. Stops functions that hang from taking all connections.
const ASKED_AT_ONCE_MAX: usize = 64;
/// And of one account. Stops an account whose functions hang from being waited for by every other.
const ASKED_OF_ACCOUNT_MAX: usize = 8;
/// How often is looked for work at most, however much happens in an account.
const LOOKS_PAUSE: Duration = Duration::from_millis(100);
/// And at least: what an error kept from being seen.
const LOOKS_PAUSE_MAX: Duration = Duration::from_secs(60);

/// Asks the functions of all accounts, for as long as it runs.
pub async fn run(service: Arc<Service>) {
    let permits = Permits::new(ASKED_AT_ONCE_MAX, ASKED_OF_ACCOUNT_MAX);
    let mut accounts = JoinSet::new();
    for account in service.functions.keys().copied() {
        let (service, permits) = (Arc::clone(&service), permits.clone());
        accounts.spawn(async move {
            // A panic is a defect of the host, but not a reason never to ask anybody again.
            while AssertUnwindSafe(follow(&service, account, &permits)).catch_unwind().await.is_err() {
                tracing::error!(account, "asking functions is interrupted: the host failed");
                service.host.driver.clock().sleep(LOOKS_PAUSE_MAX).await;
            }
        });
    }
    while accounts.join_next().await.is_some() {}
}

/// Until the host goes down.
async fn follow(service: &Arc<Service>, account: u64, permits: &Permits) {
    let clock = Arc::clone(service.host.driver.clock());
    let mut changes = service.host.driver.watch(Some(Aggregate::of_account(account)));
    let mut asked = JoinSet::new();
    loop {
        let next = look(service, account, permits, &mut asked).await.unwrap_or_else(|error| {
            tracing::warn!(account, "the jobs of functions cannot be read: {error}");
            None
        });
        let wait = next.map(|at| Duration::from_millis(at.saturating_sub(clock.now_ms())));
        tokio::select! {
            change = changes.changed() => if change.is_none() { return },
            () = clock.sleep(wait.unwrap_or(LOOKS_PAUSE_MAX)) => {}
        }
        while let Some(Some(_)) = changes.changed().now_or_never() {}
        while asked.try_join_next().is_some() {}
        clock.sleep(LOOKS_PAUSE).await;
    }
}

/// Asks the functions whose jobs are due; says when the next one is.
async fn look(
    service: &Arc<Service>,
    account: u64,
    permits: &Permits,
    asked: &mut JoinSet<()>,
) -> Result<Option<u64>, ServiceError> {
    let (due, next) = functions::due(service, account).await?;
    for row in due {
        // Before it is offered: an offer lapses.
        let permit = permits.acquire(account).await;
        let Some(invocation) = functions::offer(service, account, &row).await? else { continue };
        let service = Arc::clone(service);
        asked.spawn(async move {
            let _permit = permit;
            let told = ask(&service, account, &invocation).await;
            // Its action has ended meanwhile, mostly by the function's own report.
            if let Err(error) = functions::told(&service, invocation, told).await {
                tracing::debug!(account, "a function's job is over: {error}");
            }
        });
    }
    Ok(next)
}

async fn ask(service: &Service, account: u64, invocation: &Invocation) -> Told {
    let Invocation { name, function, event, .. } = invocation;
    let Some(function) = function else { return functions::unknown(name) };
    let headers = vec![
        ("content-type", "application/json".to_owned()),
        ("user-agent", USER_AGENT.to_owned()),
        ("x-amz-invocation-type", "Event".to_owned()),
    ];
    let (url, private) = (function.url.clone(), function.private);
    let outgoing = Outgoing { method: Method::POST, url, headers, body: event.clone(), private };
    let outgoing = match signed(service, account, function, outgoing).await {
        Ok(outgoing) => outgoing,
        Err(reason) => return Told::Unreachable(reason),
    };
    meaning(name, service.notify.post(outgoing).await)
}

/// What an answer means to the job. One that does not come may be that of a function which works already.
fn meaning(name: &str, sent: Result<(), Unsent>) -> Told {
    let refused = |kind, status| {
        Told::Refused(
            kind,
            format!("The AWS Lambda function {name} cannot be invoked: it answered with the status {status}"),
        )
    };
    match sent {
        Ok(()) | Err(Unsent::Late(_)) => Told::Taken,
        Err(Unsent::Answered(404)) => functions::unknown(name),
        Err(Unsent::Answered(status @ (401 | 403))) => refused(FailureType::PermissionError, status),
        Err(Unsent::Answered(status @ (408 | 425 | 429 | 500..))) => {
            Told::Unreachable(format!("it answered with the status {status}"))
        }
        Err(Unsent::Answered(status)) => refused(FailureType::ConfigurationError, status),
        Err(unsent) => Told::Unreachable(unsent.to_string()),
    }
}

/// The same request, signed with the function's key, if it has one.
async fn signed(
    service: &Service,
    account: u64,
    function: &Function,
    mut outgoing: Outgoing,
) -> Result<Outgoing, String> {
    let Some(key) = &function.key else { return Ok(outgoing) };
    let stored = service.host.actions.secrets.values(account, key.secret.stored()).await?;
    let place = key.secret.clone();
    let secret = service.work().blocking(move || place.read(&stored)).await;
    let secret = secret.map_err(|reason| format!("the secret of its access key cannot be read: {reason}"))?;
    let secret = Secret::new(secret.expose());
    let access_key = AccessKey { id: key.id.clone(), secret, user: String::new() };
    let region = key.region.clone().unwrap_or_else(|| service.region().to_owned());
    let scope = Scope { region, service: "lambda" };
    let mut request = http::Request::post(&outgoing.url);
    let origin = origin_of(&outgoing.url).unwrap_or_default();
    let host = origin.split_once("://").map_or("", |(_, host)| host);
    for (name, value) in outgoing.headers.iter().map(|(name, value)| (*name, value.as_str())).chain([("host", host)]) {
        request = request.header(name, value);
    }
    let mut request = request.body(outgoing.body.clone()).map_err(|error| error.to_string())?;
    sign(&mut request, &access_key, &scope, service.host.driver.clock().now_ms());
    for name in ["authorization", "x-amz-date"] {
        let value = request.headers().get(name).and_then(|value| value.to_str().ok());
        outgoing.headers.extend(value.map(|value| (name, value.to_owned())));
    }
    Ok(outgoing)
}
