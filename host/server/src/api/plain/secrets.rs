//! The secrets of an account.
//!
//! Must not know how they are kept (the service).

use axum::body::{Body, Bytes};
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::secrets;

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&secrets::list(call.service(), call.context()).await?))
}

pub async fn put(call: Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    // What is wrong with it is not told in serde's words, which repeat what they found.
    let input = serde_json::from_slice(&body);
    let input = input.map_err(|_| ApiError::validation("write {\"name\": \"…\", \"value\": \"…\"}, both texts"))?;
    Ok(super::json(&secrets::put(call.service(), call.context(), input).await?))
}

pub async fn remove(call: Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    secrets::remove(call.service(), call.context(), super::read(&body)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn rotate_key(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&secrets::rotate_key(call.service(), call.context()).await?))
}
