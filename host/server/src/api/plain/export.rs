//! Everything that the host keeps, as it is exported. Must not know what that is (`export`).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};

use super::super::Api;
use super::super::error::ApiError;
use pipewright_engine::export;

/// An export that fails is cut off: its last line is missing.
pub async fn export(State(api): State<Arc<Api>>, parts: Parts) -> Result<Response<Body>, ApiError> {
    super::caller(&api, &parts)?.as_operator()?;
    let mut response = Response::new(Body::from_stream(export::stream(api.exported.clone())));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}
