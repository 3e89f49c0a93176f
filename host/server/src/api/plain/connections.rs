//! The connections of an account to git hosts.
//!
//! Must not know what is kept of one (the service).

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use pipewright_runner::connections::Connection;
use serde::Deserialize;

use super::super::Call;
use super::super::error::ApiError;
use super::Asked;
use crate::service::connections;

/// Whose connection it is, where it is not that of who asks.
#[derive(Deserialize)]
pub struct Whose {
    account: Option<String>,
}

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&connections::list(call.service(), call.context()).await?))
}

pub async fn put(
    call: Call,
    Path(name): Path<String>,
    Asked(Whose { account }): Asked<Whose>,
    body: Bytes,
) -> Result<Response<Body>, ApiError> {
    let connection: Connection =
        serde_json::from_slice(&body).map_err(|error| ApiError::validation(error.to_string()))?;
    let (service, context, account) = (call.service(), call.context(), account.as_deref());
    connections::put(service, context, account, &name, connection.clone()).await?;
    Ok(super::json(&connections::warnings(service, context, account, &connection).await?))
}

pub async fn remove(
    call: Call,
    Path(name): Path<String>,
    Asked(Whose { account }): Asked<Whose>,
) -> Result<Response<Body>, ApiError> {
    connections::remove(call.service(), call.context(), account.as_deref(), &name).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
