//! The log and the journal of an action execution: whole, by range, or followed while it runs.
//!
//! Must not know how lines get into the files (`logs`).

use std::collections::VecDeque;
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
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, Start};
use serde::Deserialize;
use tokio::fs::File;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::super::error::ApiError;
use super::super::{Api, Call};
use pipewright_engine::driver::Aggregate;
use pipewright_engine::driver::rows::ActionOfRow;
use pipewright_runner::logs::Listener;

/// What is read and sent at once.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Deserialize)]
pub struct Follow {
    #[serde(default)]
    follow: bool,
}

type Names = Path<(String, String, String)>;

/// An action execution that paths name.
pub(super) struct Place {
    pub(super) aggregate: Aggregate,
    pub(super) execution: ExecutionId,
    pub(super) action: ActionExecutionId,
    /// With what the execution started.
    pub(super) start: Arc<Start>,
}

impl Place {
    pub(super) async fn find(
        call: &Call,
        (pipeline, execution, action): &(String, String, String),
    ) -> Result<Self, ApiError> {
        let (aggregate, execution) = super::execution(call, pipeline, execution).await?;
        let not_found = || ApiError::not_found(format!("The execution has no action execution with ID '{action}'"));
        let action = action.parse().map_err(|_| not_found())?;
        let place = Self { aggregate, execution: execution.id, action, start: execution.start };
        let of = ActionOfRow::of(&aggregate.uid, place.execution);
        let mut rows = call.api.host.driver.walk::<ActionOfRow>(aggregate.account, of, None);
        loop {
            let page = rows.page().await?;
            if page.is_empty() {
                return Err(not_found());
            }
            if page.iter().any(|row| row.place.action == action) {
                return Ok(place);
            }
        }
    }

    /// Nothing is written any more to the log of one that has ended.
    async fn has_ended(&self, call: &Call) -> Result<bool, ApiError> {
        let state = call.api.host.driver.state(self.aggregate).await?;
        let live = state.executions.get(&self.execution);
        let run = live.and_then(|live| live.actions.values().find(|run| run.id == self.action));
        Ok(run.is_none_or(|run| !run.in_progress()))
    }
}

pub async fn log(
    State(api): State<Arc<Api>>,
    Path(names): Names,
    Query(query): Query<Follow>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    if query.follow {
        let listener = api.host.actions.logs.listen_to(&execution, &action);
        return Ok(Following::new(call, place, listener).into_sse().into_response());
    }
    api.host.actions.logs.flush(&action);
    serve(api.host.actions.logs.log_path(&execution, &action), "text/plain; charset=utf-8", &parts).await
}

pub async fn journal(
    State(api): State<Arc<Api>>,
    Path(names): Names,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    api.host.actions.logs.flush(&action);
    serve(api.host.actions.logs.journal_path(&execution, &action), "application/jsonl", &parts).await
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

/// A log that is read as it grows.
struct Following {
    call: Call,
    place: Place,
    listener: Listener,
    file: Option<File>,
    /// The start of a line that is not whole yet.
    partial: Vec<u8>,
    lines: VecDeque<String>,
    ended: bool,
}

impl Following {
    fn new(call: Call, place: Place, listener: Listener) -> Self {
        Self { call, place, listener, file: None, partial: Vec::new(), lines: VecDeque::new(), ended: false }
    }

    fn into_sse(self) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
        let stream = futures::stream::unfold(Some(self), |following| async move {
            let mut following = following?;
            match following.line().await {
                Ok(Some(line)) => Some((Ok(Event::default().data(line)), Some(following))),
                // Clients drop an event without data.
                Ok(None) => Some((Ok(Event::default().event("end").data("end")), None)),
                Err(error) => {
                    tracing::error!("a stream of a log ends: {}", error.message);
                    None
                }
            }
        });
        Sse::new(stream).keep_alive(KeepAlive::default())
    }

    async fn line(&mut self) -> Result<Option<String>, ApiError> {
        loop {
            if let Some(line) = self.lines.pop_front() {
                return Ok(Some(line));
            }
            // In this order: what is written before the end is read after it was seen.
            let ended = self.ended || self.place.has_ended(&self.call).await?;
            let read = self.read().await.map_err(|error| ApiError::internal(&error))?;
            if read {
                continue;
            }
            if ended {
                return Ok(None);
            }
            self.ended = !self.wait().await;
        }
    }

    /// Waits until there may be more. False once there will be nothing more.
    async fn wait(&mut self) -> bool {
        let mut watcher = self.call.api.host.driver.watch(Some(self.place.aggregate));
        // It may have ended before the watcher watched.
        if self.place.has_ended(&self.call).await.unwrap_or(true) {
            return true;
        }
        tokio::select! {
            () = self.listener.something() => true,
            changed = watcher.changed() => changed.is_some(),
        }
    }

    /// Reads what is there; false if that is nothing.
    async fn read(&mut self) -> std::io::Result<bool> {
        self.listener.flush();
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(self.listener.path()).await {
                Ok(file) => self.file.insert(file),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
                Err(error) => return Err(error),
            },
        };
        let mut buffer = vec![0; CHUNK_BYTES];
        let read = file.read(&mut buffer).await?;
        self.partial.extend_from_slice(&buffer[..read]);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).replace('\r', "");
            self.lines.push_back(line);
        }
        Ok(read > 0)
    }
}
