//! Everything that the host keeps, as it is exported. Must not know what that is (the service).

use axum::body::Body;
use axum::http::{HeaderValue, Response, header};

use super::super::Call;
use crate::service::host;

pub async fn export(call: Call) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(host::export(call.service()).await));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/jsonl"));
    response
}
