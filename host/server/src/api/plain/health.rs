//! Whether the host is well, and its numbers. Both tell nothing of what the pipelines hold, and need no signature.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;

use super::super::Api;
use super::super::error::ApiError;
use crate::service::host;

/// Prometheus's text format, which OpenMetrics extends.
const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

pub async fn healthz(State(api): State<Arc<Api>>) -> Result<&'static str, ApiError> {
    match host::failure(&api.service) {
        None => Ok("ok\n"),
        Some(reason) => Err(ApiError::unavailable(reason)),
    }
}

pub async fn metrics(State(api): State<Arc<Api>>) -> Result<impl IntoResponse, ApiError> {
    let (counts, loaded, quarantined) = host::counts(&api.service);
    let (polls, notify) = (&api.service.changes.counts, &api.service.notify.counts);
    let text = api.metrics.text(counts, (loaded, quarantined), polls, notify);
    Ok(([(header::CONTENT_TYPE, METRICS)], text.map_err(|error| ApiError::internal(&error))?))
}
