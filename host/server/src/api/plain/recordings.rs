//! The recording of an action execution.
//!
//! Must not know what a recording says (the service).

use axum::body::Body;
use axum::extract::Path;
use axum::http::Response;

use super::super::Call;
use super::super::error::ApiError;
use super::super::paced::{self, OfBytes};
use crate::service::logs::{self, Named};

pub async fn recording(
    call: Call,
    Path((pipeline, execution, action)): Path<(String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let (shares, account) = (&call.api().shares, call.context().account);
    let turn = shares.making(account).await?;
    let bytes = logs::recording(call.service(), call.context(), &Named { pipeline, execution, action }).await?;
    drop(turn);
    let held = shares.memory(account, bytes.len())?;
    Ok(paced::response(paced::body(call.service().work(), OfBytes::new(bytes, held)), "application/zip"))
}
