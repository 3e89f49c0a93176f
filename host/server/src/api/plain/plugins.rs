//! The plugins of an account, and what it says of them.
//!
//! Must not know who sees what, nor what is kept of it (the service).

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use pipewright_base::Source;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::super::error::ApiError;
use super::super::{Api, BODY_BYTES_MAX, read_body};
use crate::service::{Context, plugins};

pub async fn list(State(api): State<Arc<Api>>, parts: Parts) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    Ok(super::json(&plugins::list(&api.service, &context).await?))
}

pub async fn consent(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (context, input) = read(&api, request).await?;
    plugins::consent(&api.service, &context, input).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn offer(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (context, input) = read(&api, request).await?;
    plugins::offer(&api.service, &context, input).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub async fn notice(State(api): State<Arc<Api>>, request: Request) -> Result<Response<Body>, ApiError> {
    let (context, input) = read(&api, request).await?;
    plugins::notice(&api.service, &context, input).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn read<T: DeserializeOwned>(api: &Arc<Api>, request: Request) -> Result<(Context, T), ApiError> {
    let (parts, body) = request.into_parts();
    let body = read_body(body, BODY_BYTES_MAX).await?;
    let context = api.authenticate(&parts, &body, Source::Http, "")?;
    let document = serde_json::from_slice(&body).map_err(|error| ApiError::validation(error.to_string()))?;
    Ok((context, document))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Page {
    next_token: Option<String>,
}

pub async fn uses(
    State(api): State<Arc<Api>>,
    Path((team, plugin)): Path<(String, String)>,
    Query(page): Query<Page>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let plugin = format!("{team}/{plugin}");
    Ok(super::json(&plugins::uses(&api.service, &context, &plugin, page.next_token.as_deref()).await?))
}
