//! Pipelines that stopped because of an error of their own: which they are, and loading one again.
//!
//! Must not know what it takes (the service).

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::quarantine;

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&quarantine::list(call.service(), call.context()).await?))
}

pub async fn reload(call: Call, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    quarantine::reload(call.service(), call.context(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
