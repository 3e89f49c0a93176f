//! The recording of an action execution.
//!
//! Must not know what a recording says (the service).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};

use super::super::Api;
use super::super::error::ApiError;
use crate::service::logs::{self, Named};

pub async fn recording(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, action)): Path<(String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let bundle = logs::recording(&api.service, &context, &Named { pipeline, execution, action }).await?;
    let mut response = Response::new(Body::from(bundle));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    Ok(response)
}
