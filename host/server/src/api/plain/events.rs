//! Events as server-sent events, of one pipeline or of the account, from any point of what is kept and then live.
//!
//! Owns the cursors. A cursor says which records were delivered whole, so at worst an event is delivered twice, and
//! never not at all. Must not know the shape of an event (`eventbridge`).

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use pipewright_pipeline::machine::{Event as Happened, Timestamp};
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::{Api, Call};
use super::eventbridge::{self, At};
use pipewright_engine::driver::rows::{DeletedRow, EventRow, Row as _};
use pipewright_engine::driver::{Aggregate, DriverError, Entry, Watcher};

/// What is read ahead: records of one pipeline, or rows of the account's events.
const READ_AHEAD_MAX: usize = 64;
/// Records that are read at once: one read after the other would hold up all that happens on a busy host.
const READS_MAX: usize = 16;
/// How much later than its time an event may become durable: a client that comes back to the account's events gets
/// those of this time again, rather than miss one.
const LATE_MILLISECONDS_MAX: u64 = 10_000;

#[derive(Deserialize)]
pub struct From {
    from: Option<String>,
}

/// Counts a stream while it is open.
struct Open(Arc<Api>);

impl Open {
    fn new(api: &Arc<Api>) -> Self {
        api.metrics.streams.inc();
        Self(Arc::clone(api))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.streams.dec();
    }
}

fn last_event_id(parts: &Parts) -> Option<&str> {
    parts.headers.get("last-event-id").and_then(|value| value.to_str().ok()).filter(|id| !id.is_empty())
}

fn invalid_cursor() -> ApiError {
    ApiError::validation("The Last-Event-ID is not one that this stream gave")
}

/// One pipeline that cannot be read is in the way of no other.
fn untold(pipeline: Aggregate, error: &DriverError) {
    tracing::warn!(%pipeline, "some of its events cannot be told: {error}");
}

pub async fn of_pipeline(
    State(api): State<Arc<Api>>,
    Path(name): Path<String>,
    Query(query): Query<From>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let (aggregate, _) = super::pipeline(&call, &name).await?;
    let driver = &api.host.driver;
    let watcher = driver.watch(Some(aggregate));
    let next = match (last_event_id(&parts), query.from.as_deref()) {
        (Some(id), _) => {
            let last = id.split('.').next().and_then(|sequence| sequence.parse::<u64>().ok());
            last.and_then(|last| last.checked_add(1)).ok_or_else(invalid_cursor)?
        }
        (None, Some("now")) => driver.first_since(aggregate, driver.clock().now_ms() + 1).await?,
        (None, _) => 1,
    };
    let feed = Feed {
        names: HashMap::from([(aggregate, name)]),
        next: HashMap::from([(aggregate, next)]),
        behind: VecDeque::from([(aggregate, u64::MAX)]),
        one: true,
        ..Feed::new(call, watcher)
    };
    Ok(feed.into_sse())
}

pub async fn of_account(
    State(api): State<Arc<Api>>,
    Query(query): Query<From>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let driver = &api.host.driver;
    let watcher = driver.watch(None);
    let since = match (last_event_id(&parts), query.from.as_deref()) {
        (Some(id), _) => {
            let at: u64 = id.split('.').next().and_then(|at| at.parse().ok()).ok_or_else(invalid_cursor)?;
            at.saturating_sub(LATE_MILLISECONDS_MAX)
        }
        (None, Some("now")) => driver.clock().now_ms(),
        (None, _) => 0,
    };
    // In this order: one that is deleted in between is in both. A client that was away is told how those ended that are gone.
    let there = driver.pipelines(call.account).await?;
    let mut names: HashMap<_, _> = there.into_iter().map(|(name, aggregate)| (aggregate, name)).collect();
    let mut deleted = driver.walk::<DeletedRow>(call.account, Bytes::new(), Some(DeletedRow::since(since)));
    loop {
        let page = deleted.page().await?;
        if page.is_empty() {
            break;
        }
        let of_account = |uid| Aggregate { account: call.account, uid };
        names.extend(page.into_iter().map(|row| (of_account(row.uid), row.pipeline)));
    }
    let feed = Feed { names, since, backlog: Some(EventRow::since(since)), ..Feed::new(call, watcher) };
    Ok(feed.into_sse())
}

struct Feed {
    call: Call,
    watcher: Watcher,
    names: HashMap<Aggregate, String>,
    /// Of the pipelines that something was told of, the next record.
    next: HashMap<Aggregate, u64>,
    /// Where the feed of an account began.
    since: u64,
    /// After which row of the account's events it goes on; `None` once all that was there is told.
    backlog: Option<Bytes>,
    /// Pipelines that went on since then, each with the last record that is known to be there.
    behind: VecDeque<(Aggregate, u64)>,
    ready: VecDeque<Event>,
    /// The feed of one pipeline, whose cursors need no time.
    one: bool,
    /// The one pipeline was deleted: nothing will follow.
    ended: bool,
    _open: Open,
}

impl Feed {
    fn new(call: Call, watcher: Watcher) -> Self {
        let open = Open::new(&call.api);
        Self {
            call,
            watcher,
            names: HashMap::new(),
            next: HashMap::new(),
            since: 0,
            backlog: None,
            behind: VecDeque::new(),
            ready: VecDeque::new(),
            one: false,
            ended: false,
            _open: open,
        }
    }

    fn into_sse(self) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
        let stream = futures::stream::unfold(self, |mut feed| async move {
            match feed.event().await {
                Ok(Some(event)) => Some((Ok(event), feed)),
                Ok(None) => None,
                Err(error) => {
                    tracing::error!("a stream of events ends: {}", error.message);
                    None
                }
            }
        });
        Sse::new(stream).keep_alive(KeepAlive::default())
    }

    async fn event(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(after) = self.backlog.take() {
                self.backlog = self.read_backlog(after).await?;
            } else if let Some((pipeline, last)) = self.behind.pop_front() {
                self.catch_up(pipeline, last).await?;
            } else if !self.changed().await {
                return Ok(None);
            }
        }
    }

    /// Tells the next of the account's events, and gives the row to go on after.
    async fn read_backlog(&mut self, after: Bytes) -> Result<Option<Bytes>, ApiError> {
        let (driver, account) = (self.call.api.host.driver.clone(), self.call.account);
        let rows = driver.rows::<EventRow>(account, Bytes::new(), Some(after), READ_AHEAD_MAX).await?;
        let last = rows.last().map(EventRow::name);
        let reads = rows.into_iter().map(|row| {
            let pipeline = Aggregate { account, uid: row.uid };
            driver.history(pipeline, row.sequence, 1).map(move |read| (pipeline, row.sequence, read))
        });
        let reads: Vec<_> = futures::stream::iter(reads).buffered(READS_MAX).collect().await;
        for (pipeline, sequence, read) in reads {
            match read {
                // Retention may have been faster.
                Ok(entries) => {
                    entries.iter().filter(|it| it.sequence == sequence).for_each(|it| self.tell(pipeline, it))
                }
                Err(error) => untold(pipeline, &error),
            }
        }
        Ok(last)
    }

    /// Waits until pipelines of the account went on; false once the host goes down.
    async fn changed(&mut self) -> bool {
        let Some(first) = self.watcher.changed().await else { return false };
        let more = std::iter::from_fn(|| self.watcher.changed().now_or_never().flatten());
        let account = self.call.account;
        let ours = |(aggregate, _): &(Aggregate, u64)| {
            aggregate.account == account && *aggregate != Aggregate::of_account(account)
        };
        self.behind.extend(std::iter::once(first).chain(more).filter(ours));
        true
    }

    /// Tells what one pipeline has done since it was looked at last.
    async fn catch_up(&mut self, pipeline: Aggregate, last: u64) -> Result<(), ApiError> {
        let driver = self.call.api.host.driver.clone();
        let read = async {
            let next = match self.next.get(&pipeline) {
                Some(next) => *next,
                None => driver.first_since(pipeline, self.since).await?,
            };
            driver.history(pipeline, next, READ_AHEAD_MAX).await
        };
        let entries = match read.await {
            Err(error) if !self.one => {
                untold(pipeline, &error);
                return Ok(());
            }
            read => read?,
        };
        for entry in &entries {
            self.tell(pipeline, entry);
        }
        if entries.last().is_some_and(|entry| entry.sequence < last) {
            self.behind.push_back((pipeline, last));
        }
        Ok(())
    }

    fn tell(&mut self, aggregate: Aggregate, entry: &Entry) {
        let next = self.next.entry(aggregate).or_default();
        *next = (entry.sequence + 1).max(*next);
        let time = entry.at.unwrap_or(Timestamp(0));
        for (number, event) in entry.events.iter().enumerate() {
            match event {
                Happened::PipelineCreated { declaration } => {
                    self.names.insert(aggregate, declaration.name.clone());
                }
                Happened::PipelineDeleted { .. } => self.ended = self.one,
                _ => {}
            }
            let Some(pipeline) = self.names.get(&aggregate) else { continue };
            let uid = u128::from_be_bytes(aggregate.uid);
            let id = format!("{uid:032x}.{}.{number}", entry.sequence);
            let at = At { call: &self.call, pipeline, id: &id, time };
            let Some(event) = eventbridge::event(&at, event) else { continue };
            let cursor = match self.one {
                // The records before are delivered whole; this one may come again from its start.
                true if number + 1 < entry.events.len() => format!("{}.{number}", entry.sequence - 1),
                true => format!("{}.{number}", entry.sequence),
                false => format!("{}.{id}", time.0),
            };
            self.ready.push_back(Event::default().id(cursor).data(event.to_string()));
        }
    }
}
