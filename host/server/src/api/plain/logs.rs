//! The log and the journal of an action execution: whole, by range, or followed while it runs.
//!
//! Owns ranges of files over HTTP. Must not know which file it is, or how a log grows (the service).

use std::convert::Infallible;
use std::io::SeekFrom;
use std::path::PathBuf;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::super::Api;
use super::super::error::ApiError;
use crate::service::logs::{self, Following, Named};

/// What is read and sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
pub struct Follow {
    #[serde(default)]
    follow: bool,
}

type Names = Path<(String, String, String)>;

pub async fn log(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, action)): Names,
    Query(query): Query<Follow>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let named = Named { pipeline, execution, action };
    if query.follow {
        return Ok(sse(logs::follow(&api.service, &context, &named).await?).into_response());
    }
    serve(logs::log(&api.service, &context, &named).await?, "text/plain; charset=utf-8", &parts).await
}

pub async fn journal(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, action)): Names,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let context = super::caller(&api, &parts)?;
    let named = Named { pipeline, execution, action };
    serve(logs::journal(&api.service, &context, &named).await?, "application/jsonl", &parts).await
}

/// A file, or one range of it. One that was never written to is empty.
async fn serve(path: PathBuf, content_type: &'static str, parts: &Parts) -> Result<Response<Body>, ApiError> {
    let io = |error: std::io::Error| ApiError::internal(&error);
    let opened = match File::open(&path).await {
        Ok(file) => Some(file),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
        Err(error) => return Err(io(error)),
    };
    let length = match &opened {
        Some(file) => file.metadata().await.map_err(io)?.len(),
        None => 0,
    };
    let wanted = parts.headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(Range::read);
    let range = wanted.map(|range| range.within(length));
    let (first, count, status) = match range {
        None => (0, length, StatusCode::OK),
        Some(Some((first, last))) => (first, last + 1 - first, StatusCode::PARTIAL_CONTENT),
        Some(None) => (0, 0, StatusCode::RANGE_NOT_SATISFIABLE),
    };
    let body = match opened {
        Some(mut file) if count > 0 => {
            file.seek(SeekFrom::Start(first)).await.map_err(io)?;
            Body::from_stream(chunks(file, count))
        }
        _ => Body::empty(),
    };
    let mut response = Response::new(body);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
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
    Ok(response)
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

fn chunks(file: File, count: u64) -> impl Stream<Item = std::io::Result<Bytes>> {
    futures::stream::try_unfold((file.take(count), vec![0; CHUNK_BYTES]), |(mut file, mut buffer)| async move {
        let read = file.read(&mut buffer).await?;
        Ok((read > 0).then(|| (Bytes::copy_from_slice(&buffer[..read]), (file, buffer))))
    })
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
