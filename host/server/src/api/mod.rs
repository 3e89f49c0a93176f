//! The API: CodePipeline's own operations, and beside them, over plain HTTP, what CodePipeline has no word for.
//!
//! Owns the way of a request from its bytes to an authenticated call. Must not know how an operation does its work, nor
//! what the driver, the store or a plugin is made of.

mod action_types;
mod actions;
mod error;
mod executions;
mod metrics;
mod operations;
mod pages;
mod pipelines;
mod plain;
mod state;
mod tags;
mod views;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use axum::http::request::Parts;
use axum::routing::{any, get};
use tracing::Instrument as _;

use crate::config::Quotas;
pub use error::ApiError;
pub use metrics::Metrics;
pub use operations::OPERATIONS;
pub use pages::Pages;
use pipewright_aws::auth::{AccessKey, AuthError, Scope, verify};
use pipewright_base::{Cause, Principal, Source, clock};
use pipewright_packages::plugins::Catalogue;
use pipewright_runner::host::Host;
use wire::Protocol;

/// The service's name in signatures (contract §1).
pub const SERVICE: &str = "codepipeline";
/// A larger body is refused before it is read; the largest declaration has less.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A body that takes longer is given up: a client that sends a byte a minute must not hold a connection.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// What every request needs.
pub struct Api {
    pub host: Host,
    /// Of this account are those who run the host.
    pub operator: u64,
    pub region: String,
    pub quotas: Quotas,
    /// Each with the account whose it is.
    pub keys: Vec<(u64, AccessKey)>,
    pub pages: Pages,
    pub metrics: Arc<Metrics>,
    /// Held while tags change: what they become depends on what they are.
    pub tagging: tokio::sync::Mutex<()>,
    /// Tells the poller that a pipeline's sources may have changed.
    pub poller: crate::poll::Poller,
    pub catalogues: Arc<crate::catalogues::Catalogues>,
    pub exported: pipewright_engine::export::Exported,
}

/// One authenticated request.
pub struct Call {
    pub api: Arc<Api>,
    pub account: u64,
    /// The ARN of who asks.
    pub caller: String,
}

impl Call {
    pub fn account_id(&self) -> String {
        format!("{:012}", self.account)
    }

    /// What the account can use now.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.api.host.actions.plugins.catalogue(self.account)
    }

    /// Some of what the host knows is not an account's.
    fn as_operator(&self) -> Result<(), ApiError> {
        if self.account == self.api.operator {
            return Ok(());
        }
        let message = format!("{} may not do this: it is for the account of those who run the host", self.caller);
        Err(ApiError::denied(message))
    }

    /// What is to be kept of the reason of what this request changes.
    fn cause(&self) -> Cause {
        let user = self.caller.rsplit('/').next().unwrap_or_default();
        Cause { principal: Principal::user(self.account, user), request: String::new(), source: Source::Api }
    }

    pub fn arn(&self, pipeline: &str) -> String {
        format!("arn:aws:codepipeline:{}:{}:{pipeline}", self.api.region, self.account_id())
    }
}

impl Api {
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", any(operation))
            .route("/service/{service}/operation/{operation}", any(operation))
            .route("/healthz", get(plain::health::healthz))
            .route("/metrics", get(plain::health::metrics))
            .merge(plain::router())
            .fallback(plain::no_such_path)
            .with_state(self)
    }

    /// Who asks, if the signature is right.
    fn authenticate(self: &Arc<Self>, parts: &Parts, body: &[u8]) -> Result<Call, ApiError> {
        let scope = Scope { region: self.region.clone(), service: SERVICE };
        let key = |id: &str| self.keys.iter().find(|(_, key)| key.id == id);
        let verified = verify(parts, body, &scope, clock::now_ms(), |id| key(id).map(|(_, key)| key.clone()))?;
        let (account, _) = key(&verified.access_key).ok_or(AuthError::Unrecognized)?;
        let caller = format!("arn:aws:iam::{account:012}:user/{}", verified.user);
        Ok(Call { api: Arc::clone(self), account: *account, caller })
    }
}

/// An operation of CodePipeline, in either protocol.
async fn operation(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let began = clock::monotonic();
    let request_id = request_id();
    let (parts, body) = request.into_parts();
    let protocol = Protocol::of(&parts);
    let row = protocol.operation(&parts).and_then(operations::find);
    let name = row.as_ref().map_or("unknown", |row| row.name);
    let span = tracing::debug_span!("request", operation = name, request_id);
    let result = async {
        if parts.method != axum::http::Method::POST {
            return Err(ApiError::unknown_operation(&format!("{} {}", parts.method, parts.uri.path())));
        }
        let row = row?;
        protocol.check_headers(&parts)?;
        let body = read_body(body, BODY_BYTES_MAX).await?;
        let call = api.authenticate(&parts, &body)?;
        (row.run)(call, protocol.read(&body)?, protocol).await
    }
    .instrument(span)
    .await;
    api.metrics.request(name, result.as_ref().err().map(|error| error.code), began.elapsed());
    protocol.respond(&request_id, result)
}

async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, ApiError> {
    use http_body_util::{BodyExt as _, LengthLimitError, Limited};
    let read = tokio::time::timeout(BODY_TIME_MAX, Limited::new(body, bytes_max).collect()).await;
    match read {
        Err(_) => Err(ApiError::timeout()),
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => Err(ApiError::too_large(bytes_max)),
        Ok(Err(error)) => Err(ApiError::serialization(format!("The request's body cannot be read: {error}"))),
    }
}

/// Sixteen random bytes as a UUID of version 4; zeros where the system has no randomness, for it is only a name.
fn request_id() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
