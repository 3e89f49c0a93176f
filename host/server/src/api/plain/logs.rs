//! The log and the journal of an action execution: whole, by range, or followed while it runs.
//!
//! Owns ranges of files over HTTP. Must not know which file it is, or how a log grows (the service).

use std::convert::Infallible;

use axum::body::Body;
use axum::extract::Path;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;

use super::super::Call;
use super::super::error::ApiError;
use super::super::paced::{self, OfFile};
use super::Asked;
use crate::service::logs::{self, Following, Named, Written};

#[derive(Deserialize)]
pub struct Follow {
    #[serde(default)]
    follow: bool,
}

type Names = Path<(String, String, String)>;

pub async fn log(
    call: Call,
    Path((pipeline, execution, action)): Names,
    Asked(query): Asked<Follow>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let named = Named { pipeline, execution, action };
    if query.follow {
        return Ok(sse(logs::follow(call.service(), call.context(), &named).await?).into_response());
    }
    let written = logs::log(call.service(), call.context(), &named).await?;
    Ok(serve(&call, written, "text/plain; charset=utf-8", &parts))
}

pub async fn journal(
    call: Call,
    Path((pipeline, execution, action)): Names,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let written = logs::journal(call.service(), call.context(), &Named { pipeline, execution, action }).await?;
    Ok(serve(&call, written, "application/jsonl", &parts))
}

/// A file of an action execution, or one range of it. One that was never written to is empty.
fn serve(call: &Call, written: Option<Written>, content_type: &'static str, parts: &Parts) -> Response<Body> {
    let length = written.as_ref().map_or(0, |written| written.bytes);
    let wanted = parts.headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(Range::read);
    let range = wanted.map(|range| range.within(length));
    let (first, count, status) = match range {
        None => (0, length, StatusCode::OK),
        Some(Some((first, last))) => (first, last + 1 - first, StatusCode::PARTIAL_CONTENT),
        Some(None) => (0, 0, StatusCode::RANGE_NOT_SATISFIABLE),
    };
    let body = match written {
        Some(Written { file, .. }) if count > 0 => {
            paced::body(call.service().work(), OfFile { file, at: first, left: count })
        }
        _ => Body::empty(),
    };
    let mut response = paced::response(body, content_type);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CONTENT_LENGTH, count.into());
    let content_range = match status {
        StatusCode::PARTIAL_CONTENT => Some(format!("bytes {first}-{}/{length}", first + count - 1)),
        StatusCode::RANGE_NOT_SATISFIABLE => Some(format!("bytes */{length}")),
        _ => None,
    };
    if let Some(value) = content_range.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(header::CONTENT_RANGE, value);
    }
    response
}

/// One range of RFC 9110 §14.1.2. Several, or what is malformed, count as none.
enum Range {
    From(u64, Option<u64>),
    Last(u64),
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let (first, last) = text.strip_prefix("bytes=")?.split_once('-')?;
        match (first.trim(), last.trim()) {
            ("", last) => Some(Self::Last(last.parse().ok()?)),
            (first, "") => Some(Self::From(first.parse().ok()?, None)),
            (first, last) => Some(Self::From(first.parse().ok()?, Some(last.parse().ok()?))),
        }
    }

    fn within(self, length: u64) -> Option<(u64, u64)> {
        let end = length.checked_sub(1)?;
        match self {
            Self::From(first, last) => {
                let last = last.unwrap_or(end).min(end);
                (first <= last).then_some((first, last))
            }
            Self::Last(count) => (count > 0).then(|| (length.saturating_sub(count), end)),
        }
    }
}

/// A log as it grows, line by line.
fn sse(following: Following) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let stream = futures::stream::unfold(Some(following), |following| async move {
        let mut following = following?;
        match following.line().await {
            Ok(Some(line)) => Some((Ok(Event::default().data(line)), Some(following))),
            // Clients drop an event without data.
            Ok(None) => Some((Ok(Event::default().event("end").data("end")), None)),
            Err(error) => {
                tracing::error!("a stream of a log ends: {error}");
                None
            }
        }
    });
    Sse::new(stream).keep_alive(KeepAlive::default())
}
