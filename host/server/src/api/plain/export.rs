//! Everything that the host keeps, as it is exported. Must not know what that is (the service).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};

use super::super::Api;
use super::super::error::ApiError;
use crate::service::host;

pub async fn export(State(api): State<Arc<Api>>, parts: Parts) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let mut response = Response::new(Body::from_stream(host::export(&api.service, &context)?));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    Ok(response)
}
