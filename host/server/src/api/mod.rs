//! The API: CodePipeline's own operations, CodeBuild's and STS's one, and beside them, over plain HTTP, what they have no word for.
//!
//! Owns the way of a request from its bytes to one function of the service, and back. Must not know how anything is done, nor
//! what the driver, the store or a plugin is made of.

mod doors;
mod entrance;
mod error;
mod metrics;
mod once;
mod operations;
mod paced;
mod permission;
mod plain;
mod query;
mod s3;
mod shares;
mod wire;
mod xml;

use std::sync::Arc;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::Response;
use axum::middleware::from_fn_with_state;
use axum::routing::any;
use tracing::Instrument as _;

use crate::connections;
use crate::service::Service;
pub use doors::Doors;
pub use entrance::Call;
pub use error::ApiError;
pub use metrics::Metrics;
use once::{Once, Whole};
pub use operations::{CODEPIPELINE, DIALECTS, Dialect, OPERATIONS};
pub use permission::{Permission, Resource};
use pipewright_aws::auth::AccessKey;
use pipewright_aws::client::PROBLEMS;
use pipewright_base::{Source, clock};
pub use plain::{ROUTES, Route};
use shares::Answer;
pub use shares::Shares;
use wire::Protocol;

/// What every request needs.
pub struct Api {
    pub service: Arc<Service>,
    /// Each with the account whose it is.
    pub keys: Vec<(u64, AccessKey)>,
    pub shares: Shares,
    pub once: TakenOnce,
    /// Of those who need no key.
    pub doors: Arc<Doors>,
    pub metrics: Arc<Metrics>,
}

/// Of what changes something: an operation, or a method of plain HTTP.
#[derive(Default)]
pub struct TakenOnce {
    operations: Once<Result<Bytes, ApiError>>,
    plain: Once<Whole>,
}

impl Api {
    pub fn router(self: Arc<Self>) -> Router {
        Router::new()
            .route("/", any(operation))
            .route("/service/{service}/operation/{operation}", any(operation))
            .merge(plain::router(&self))
            .fallback(plain::no_such_path)
            .layer(from_fn_with_state(Arc::clone(&self), s3::beside))
            .with_state(self)
    }
}

/// An operation of one of the services, in one of the protocols.
async fn operation(State(api): State<Arc<Api>>, request: Request) -> Response<Body> {
    let began = clock::monotonic();
    let request_id = request_id();
    let (parts, body) = request.into_parts();
    let protocol = Protocol::of(&parts);
    let wants_problems = parts.headers.contains_key(PROBLEMS);
    let find = |body: &[u8]| protocol.operation(&parts, body).and_then(|(of, name)| operations::find(of, name));
    // Only the query protocol has the name in the body.
    let mut row = (protocol != Protocol::Query).then(|| find(b""));
    let span = tracing::debug_span!("request", operation = tracing::field::Empty, request_id);
    let mut held = None;
    let result = async {
        if parts.method != axum::http::Method::POST {
            return Err(ApiError::unknown_operation(&format!("{} {}", parts.method, parts.uri.path())));
        }
        if let Some(row) = &row {
            row.clone()?;
        }
        protocol.check_headers(&parts)?;
        let body = api.body(&parts, body).await?;
        let row = row.get_or_insert_with(|| find(&body)).clone()?;
        tracing::Span::current().record("operation", row.name);
        let asked = (row.of, request_id.clone(), Source::Api);
        let (call, taken) = api.enter(&parts, &body, &row.permission, asked, Answer::Document)?;
        held = Some(taken);
        let context = call.context().clone();
        let answer = (row.run)(call, protocol.read(&body)?, protocol);
        if row.only_reads() { answer.await } else { api.once.operations.answer(&context, answer).await }
    }
    .instrument(span)
    .await;
    let (name, of) = match row {
        Some(Ok(row)) => (row.name, row.of),
        _ => ("unknown", protocol.first_dialect()),
    };
    let result = result.map_err(|error: ApiError| ApiError { code: of.code(error.code), ..error });
    let result = result.map_err(|error| if wants_problems { error } else { error.without_problems() });
    api.metrics.request(name, result.as_ref().err().map(|error| error.code), began.elapsed());
    protocol.respond(&request_id, result).map(|body| connections::held(body, held))
}

/// Sixteen random bytes as a UUID of version 4; zeros where the system has no randomness, for it is only a name.
fn request_id() -> String {
    let mut bytes = [0; 16];
    let _ = getrandom::fill(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}
