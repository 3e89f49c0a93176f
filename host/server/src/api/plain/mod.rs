//! What CodePipeline has no word for, over plain HTTP with the same signatures: logs, journals,
//! artifacts, events, plugins.
//!
//! Owns the paths (docs/server.md lists them). Must not know what lies behind one.

mod artifacts;
mod events;
mod export;
pub(super) mod health;
mod logs;
mod plugins;
mod recordings;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::{get, put};
use pipewright_base::Source;
use serde::Serialize;

use super::Api;
use super::error::ApiError;
use crate::service::Context;

/// Whole paths: a nested router would cut off what is signed.
pub(super) fn router() -> Router<Arc<Api>> {
    Router::new()
        .route("/v1/events", get(events::of_account))
        .route("/v1/export", get(export::export))
        .route("/v1/plugins", get(plugins::list))
        .route("/v1/plugins/{team}/{plugin}/uses", get(plugins::uses))
        .route("/v1/plugins/consent", put(plugins::consent))
        .route("/v1/plugins/offer", put(plugins::offer))
        .route("/v1/plugins/notice", put(plugins::notice))
        .route("/v1/pipelines/{pipeline}/events", get(events::of_pipeline))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/log", get(logs::log))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/journal", get(logs::journal))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/actions/{action}/recording", get(recordings::recording))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/artifacts", get(artifacts::list))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}", get(artifacts::zip))
        .route("/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}/files", get(artifacts::files))
        .route(
            "/v1/pipelines/{pipeline}/executions/{execution}/artifacts/{artifact}/files/{*path}",
            get(artifacts::file),
        )
}

/// What a path names and is not there.
const NOT_FOUND: &[&str] =
    &["PipelineNotFoundException", "PipelineExecutionNotFoundException", "ResourceNotFoundException"];

pub(super) async fn no_such_path() -> ApiError {
    ApiError::not_found("There is nothing at this path")
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response<Body> {
        #[derive(Serialize)]
        struct Shown<'a> {
            #[serde(rename = "__type")]
            code: &'a str,
            message: &'a str,
        }
        let mut response = json(&Shown { code: self.code, message: &self.message });
        *response.status_mut() = if NOT_FOUND.contains(&self.code) { StatusCode::NOT_FOUND } else { self.status };
        response
    }
}

fn json(value: &impl Serialize) -> Response<Body> {
    let mut response = Response::new(Body::from(serde_json::to_vec(value).unwrap_or_default()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Who asks; requests for what is plain have no body.
fn caller(api: &Api, parts: &Parts) -> Result<Context, ApiError> {
    api.authenticate(parts, &[], Source::Http, "")
}
