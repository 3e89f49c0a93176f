//! The API: CodePipeline's own operations, and beside them, over plain HTTP, what CodePipeline has no word for.
//!
//! Owns the way of a request from its bytes to one function of the service, and back. Must not know how anything is done, nor
//! what the driver, the store or a plugin is made of.

mod error;
mod metrics;
mod operations;
mod permission;
mod plain;
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

pub use error::ApiError;
pub use metrics::Metrics;
pub use operations::OPERATIONS;
pub use permission::{Permission, Resource};
use pipewright_aws::auth::{AccessKey, AuthError, Scope, verify};
use pipewright_base::{Cause, Principal, Source, clock};
use wire::Protocol;

use crate::service::{Context, Service};

/// The service's name in signatures.
pub const SERVICE: &str = "codepipeline";
/// A larger body is refused before it is read; the largest declaration has less.
pub const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;
/// A body that takes longer is given up: a client that sends a byte a minute must not hold a connection.
const BODY_TIME_MAX: Duration = Duration::from_secs(30);

/// What every request needs.
pub struct Api {
    pub service: Arc<Service>,
    /// Each with the account whose it is.
    pub keys: Vec<(u64, AccessKey)>,
    pub metrics: Arc<Metrics>,
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
    fn authenticate(&self, parts: &Parts, body: &[u8], source: Source, request: &str) -> Result<Context, ApiError> {
        let scope = Scope { region: self.service.region().to_owned(), service: SERVICE };
        let key = |id: &str| self.keys.iter().find(|(_, key)| key.id == id);
        let verified = verify(parts, body, &scope, clock::now_ms(), |id| key(id).map(|(_, key)| key.clone()))?;
        let (account, _) = key(&verified.access_key).ok_or(AuthError::Unrecognized)?;
        let principal = Principal::user(*account, &verified.user);
        Ok(Context { account: *account, cause: Cause { principal, request: request.to_owned(), source } })
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
        let context = api.authenticate(&parts, &body, Source::Api, &request_id)?;
        (row.run)(Arc::clone(&api.service), context, protocol.read(&body)?, protocol).await
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
