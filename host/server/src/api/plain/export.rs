//! Everything that the host keeps, as it is exported. Must not know what that is (`export`).

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

use super::super::Call;
use pipewright_engine::export;

/// An export that fails is cut off: its last line is missing.
pub async fn export(call: Call) -> Response<Body> {
    let exported = call.api.exported.clone();
    let stream = call.api.host.actions.work_runtime.run(async move { export::stream(exported) }).await;
    let mut response = Response::new(Body::from_stream(stream));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    response
}
