//! Which jobs wait for whom.
//!
//! Must not know what it takes (the service).

use axum::body::Body;
use axum::http::Response;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::workers;

pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&workers::list(call.service(), call.context()).await?))
}
