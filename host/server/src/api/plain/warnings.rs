//! What keeps a pipeline from running as it is declared.
//!
//! Must not know what that is (the service).

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::warnings;

pub async fn list(call: Call, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    Ok(super::json(&warnings::list(call.service(), call.context(), &name).await?))
}
