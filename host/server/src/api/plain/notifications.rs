//! The targets of an account's notifications, and what they could not be told.
//!
//! Must not know what is kept of a target, nor how it is told (the service).

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::notifications;

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&notifications::list(call.service(), call.context()).await?))
}

pub async fn put(call: Call, Path(name): Path<String>, body: Bytes) -> Result<Response<Body>, ApiError> {
    let input = super::read(&body)?;
    Ok(super::json(&notifications::put(call.service(), call.context(), &name, input).await?))
}

pub async fn remove(call: Call, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    notifications::remove(call.service(), call.context(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn failed(call: Call, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&notifications::failed(call.service(), call.context(), &name).await?))
}

pub async fn retry(call: Call, Path((name, delivery)): Path<(String, String)>) -> Result<Response<Body>, ApiError> {
    notifications::retry(call.service(), call.context(), &name, &delivery).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
