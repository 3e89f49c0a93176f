//! The plugins of an account, and what it says of them.
//!
//! Must not know who sees what, nor what is kept of it (the service).

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Deserialize;

use super::super::Call;
use super::super::error::ApiError;
use super::Asked;
use crate::service::plugins;

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&plugins::list(call.service(), call.context()).await?))
}

pub async fn load(call: Call) -> Result<Response<Body>, ApiError> {
    plugins::load(call.service(), call.context()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn consent(call: Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    plugins::consent(call.service(), call.context(), super::read(&body)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn offer(call: Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    plugins::offer(call.service(), call.context(), super::read(&body)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn notice(call: Call, body: Bytes) -> Result<Response<Body>, ApiError> {
    plugins::notice(call.service(), call.context(), super::read(&body)?).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    next_token: Option<String>,
}

pub async fn uses(
    call: Call,
    Path((team, plugin)): Path<(String, String)>,
    Asked(page): Asked<Page>,
) -> Result<Response<Body>, ApiError> {
    let plugin = format!("{team}/{plugin}");
    let uses = plugins::uses(call.service(), call.context(), &plugin, page.next_token.as_deref()).await?;
    Ok(super::json(&uses))
}
