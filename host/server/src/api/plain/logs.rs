//! The log and the journal of an action execution: whole, by range, or followed while it runs.
//!
//! Must not know how lines get into the files (`logs`).

use std::collections::VecDeque;
use std::convert::Infallible;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path as FilePath, PathBuf};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse as _;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, Start};
use serde::Deserialize;

use super::super::Call;
use super::super::error::ApiError;
use super::paced::{self, OfFile, PIECE_BYTES};
use pipewright_engine::driver::index::{self, Kind};
use pipewright_runner::logs::Listener;
use pipewright_store::{Aggregate, List};

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
        let place = Self { aggregate, execution: execution.id, action, start: Arc::clone(&execution.start) };
        let prefix = [&place.aggregate.uid[..], &index::id(place.execution)].concat();
        let skip = prefix.len() + 8;
        let mut after = None;
        loop {
            let rows = place.rows(call, Kind::ActionsOf, prefix.clone(), after.take()).await?;
            if rows.iter().any(|(name, _)| name[skip..] == index::action_id(action)) {
                return Ok(place);
            }
            after = Some(rows.last().ok_or_else(not_found)?.0.clone());
        }
    }

    async fn rows(
        &self,
        call: &Call,
        kind: Kind,
        prefix: Vec<u8>,
        after: Option<Bytes>,
    ) -> Result<Vec<(Bytes, Bytes)>, ApiError> {
        let list =
            List { account: self.aggregate.account, kind: kind as u8, prefix: prefix.into(), after, limit: 1000 };
        Ok(call.api.host.driver.store().list(list).await?)
    }

    /// Nothing is written any more to the log of one that has ended.
    async fn has_ended(&self, call: &Call) -> Result<bool, ApiError> {
        let state = call.api.host.driver.state(self.aggregate).await?;
        let live = state.executions.get(&self.execution);
        let run = live.and_then(|live| live.runs.values().find(|run| run.id == self.action));
        Ok(run.is_none_or(|run| !run.in_progress()))
    }
}

pub async fn log(
    call: Call,
    Path(names): Names,
    Query(query): Query<Follow>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    let logs = &call.api.host.actions.logs;
    if query.follow {
        let listener = logs.listen_to(&execution, &action);
        return Ok(Following::new(call, place, listener).into_sse().into_response());
    }
    let path = logs.log_path(&execution, &action);
    serve(&call, path, action, "text/plain; charset=utf-8", &parts).await
}

pub async fn journal(call: Call, Path(names): Names, parts: Parts) -> Result<Response<Body>, ApiError> {
    let place = Place::find(&call, &names).await?;
    let (execution, action) = (place.execution.to_string(), place.action.to_string());
    let path = call.api.host.actions.logs.journal_path(&execution, &action);
    serve(&call, path, action, "application/jsonl", &parts).await
}

/// A file and its length. One that was never written to is none.
fn open(path: &FilePath) -> io::Result<Option<(File, u64)>> {
    match File::open(path) {
        Ok(file) => file.metadata().map(|metadata| Some((file, metadata.len()))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file of an action execution, or one range of it. One that was never written to is empty.
async fn serve(
    call: &Call,
    path: PathBuf,
    action: String,
    content_type: &'static str,
    parts: &Parts,
) -> Result<Response<Body>, ApiError> {
    let actions = Arc::clone(&call.api.host.actions);
    let opened = call.api.host.actions.work_runtime.blocking(move || {
        actions.logs.flush(&action);
        open(&path)
    });
    let opened = opened.await.map_err(|error| ApiError::internal(&error))?;
    let length = opened.as_ref().map_or(0, |(_, length)| *length);
    let wanted = parts.headers.get(header::RANGE).and_then(|value| value.to_str().ok()).and_then(Range::read);
    let range = wanted.map(|range| range.within(length));
    let (first, count, status) = match range {
        None => (0, length, StatusCode::OK),
        Some(Some((first, last))) => (first, last + 1 - first, StatusCode::PARTIAL_CONTENT),
        Some(None) => (0, 0, StatusCode::RANGE_NOT_SATISFIABLE),
    };
    let body = match opened {
        Some((file, _)) if count > 0 => {
            paced::body(&call.api.host.actions.work_runtime, OfFile { file, at: first, left: count })
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

/// A log that is read as it grows.
struct Following {
    call: Call,
    place: Place,
    listener: Listener,
    file: Option<Arc<File>>,
    /// How far the file is read.
    at: u64,
    /// The start of a line that is not whole yet.
    partial: Vec<u8>,
    lines: VecDeque<String>,
    ended: bool,
}

impl Following {
    fn new(call: Call, place: Place, listener: Listener) -> Self {
        let (partial, lines) = (Vec::new(), VecDeque::new());
        Self { call, place, listener, file: None, at: 0, partial, lines, ended: false }
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
        // Whoever is called says so when there is more, and when the call has ended.
        if self.listener.is_called() {
            self.listener.something().await;
            return true;
        }
        let mut watcher = self.call.api.host.driver.store().watch(Some(self.place.aggregate));
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
    async fn read(&mut self) -> io::Result<bool> {
        let (log, file, at) = (self.listener.log(), self.file.clone(), self.at);
        let read = self.call.api.host.actions.work_runtime.blocking(move || -> io::Result<_> {
            log.flush();
            let file = match file {
                Some(file) => file,
                None => match open(log.path())? {
                    Some((file, _)) => Arc::new(file),
                    None => return Ok(None),
                },
            };
            let mut piece = vec![0; PIECE_BYTES];
            let read = file.read_at(&mut piece, at)?;
            piece.truncate(read);
            Ok(Some((file, piece)))
        });
        let Some((file, piece)) = read.await? else { return Ok(false) };
        self.file = Some(file);
        self.at += piece.len() as u64;
        self.partial.extend_from_slice(&piece);
        while let Some(end) = self.partial.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.partial.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).replace('\r', "");
            self.lines.push_back(line);
        }
        Ok(!piece.is_empty())
    }
}
