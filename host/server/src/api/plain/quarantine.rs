//! Pipelines that stopped because of an error of their own: which they are, and loading one again.
//!
//! Must not know why a pipeline stopped (the driver).

use axum::body::Body;
use axum::extract::Path;
use axum::http::{Response, StatusCode};
use axum::response::IntoResponse as _;
use serde::Serialize;

use super::super::Call;
use super::super::error::ApiError;

#[derive(Serialize)]
struct Listed {
    pipelines: Vec<Quarantined>,
}

#[derive(Serialize)]
struct Quarantined {
    name: String,
    reason: String,
}

/// Those that somebody has met since the host started.
pub async fn list(call: Call) -> Result<Response<Body>, ApiError> {
    let driver = &call.api.host.driver;
    let quarantined = |(name, pipeline)| {
        let reason = driver.quarantined(pipeline)?.to_string();
        Some(Quarantined { name, reason })
    };
    let pipelines = driver.pipelines(call.account).await?.into_iter().filter_map(quarantined).collect();
    Ok(super::json(&Listed { pipelines }))
}

pub async fn reload(call: Call, Path(name): Path<String>) -> Result<Response<Body>, ApiError> {
    let pipeline = call.api.host.driver.find(call.account, &name).await?;
    let pipeline = pipeline.ok_or_else(|| ApiError::not_found(format!("There is no pipeline {name} here")))?;
    call.api.host.driver.reload(pipeline).await?;
    call.api.poller.changed(pipeline);
    Ok(StatusCode::NO_CONTENT.into_response())
}
