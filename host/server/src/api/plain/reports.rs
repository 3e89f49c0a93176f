//! What the actions of an execution reported. Must not know how it is kept (the service).

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;

use super::super::Call;
use super::super::error::ApiError;
use crate::service::reports;

pub async fn get(call: Call, Path((pipeline, execution)): Path<(String, String)>) -> Result<Response<Body>, ApiError> {
    // The results of many executions are read for it.
    let _turn = call.api().shares.making(call.context().account).await?;
    Ok(super::json(&reports::get(call.service(), call.context(), &pipeline, &execution).await?))
}
