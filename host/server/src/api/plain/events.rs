//! Events as server-sent events, of one pipeline or of the account, from any point of what is kept and then live.
//!
//! Owns the cursors. A cursor says which records were delivered whole, so at worst an event is delivered twice, and
//! never not at all. Must not know the shape of an event (`eventbridge`).

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;

use axum::extract::{Path, Query};
use axum::http::request::Parts;
use axum::response::sse::{Event, KeepAlive, Sse};
use bytes::Bytes;
use futures::{FutureExt as _, Stream, StreamExt as _};
use pipewright_pipeline::machine::Event as Happened;
use serde::Deserialize;

use super::super::error::ApiError;
use super::super::{Api, Call};
use super::eventbridge::{self, At};
use pipewright_base::clock;
use pipewright_engine::driver::Entry;
use pipewright_engine::driver::index::Kind;
use pipewright_store::{Aggregate, List, READ_ROWS_MAX, Record, Watcher};

/// Records of one pipeline that are read at once.
const RECORDS_MAX: usize = 64;
/// And of all pipelines together, but at least one of each: stops a stream of an account with a great many pipelines from holding
/// pages of all of them while its client does not read.
const RECORDS_HELD_MAX: usize = 1024;
/// Pipelines that are read at once: one read after the other would hold up all that happens on a busy host.
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

pub async fn of_pipeline(
    call: Call,
    Path(name): Path<String>,
    Query(query): Query<From>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let (aggregate, _) = super::pipeline(&call, &name).await?;
    let watcher = call.api.host.driver.store().watch(Some(aggregate));
    let next = match (last_event_id(&parts), query.from.as_deref()) {
        (Some(id), _) => {
            let last = id.split('.').next().and_then(|sequence| sequence.parse::<u64>().ok());
            last.and_then(|last| last.checked_add(1)).ok_or_else(invalid_cursor)?
        }
        (None, Some("now")) => first_since(&call, aggregate, clock::now_ms() + 1).await?,
        (None, _) => 1,
    };
    let feed = Feed {
        names: HashMap::from([(aggregate, name)]),
        places: HashMap::from([(aggregate, Place::at(next))]),
        one: true,
        ..Feed::new(call, watcher)
    };
    Ok(feed.start().await?.into_sse())
}

pub async fn of_account(
    call: Call,
    Query(query): Query<From>,
    parts: Parts,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, ApiError> {
    let watcher = call.api.host.driver.store().watch(Some(Aggregate::of_account(call.account)));
    let since = match (last_event_id(&parts), query.from.as_deref()) {
        (Some(id), _) => {
            let at: u64 = id.split('.').next().and_then(|at| at.parse().ok()).ok_or_else(invalid_cursor)?;
            at.saturating_sub(LATE_MILLISECONDS_MAX)
        }
        (None, Some("now")) => clock::now_ms(),
        (None, _) => 0,
    };
    let mut feed = Feed::new(call, watcher);
    // In this order: one that is deleted in between is in both.
    let there = feed.call.api.host.driver.pipelines(feed.call.account).await?;
    for (name, aggregate) in there.into_iter().chain(deleted_since(&feed.call, since).await?) {
        let next = match first_since(&feed.call, aggregate, since).await {
            Ok(next) => next,
            Err(error) => {
                untold(aggregate, &error);
                continue;
            }
        };
        feed.names.insert(aggregate, name);
        feed.places.insert(aggregate, Place::at(next));
    }
    Ok(feed.start().await?.into_sse())
}

/// Pipelines that were deleted then or later: a client that was away is told how they ended.
async fn deleted_since(call: &Call, since: u64) -> Result<Vec<(String, Aggregate)>, ApiError> {
    let account = call.account;
    let mut found = Vec::new();
    let mut after = Bytes::copy_from_slice(&since.to_be_bytes());
    loop {
        let (kind, after_row) = (Kind::Deleted as u8, Some(after));
        let list = List { account, kind, after: after_row, limit: READ_ROWS_MAX, ..List::default() };
        let rows = call.api.host.driver.store().list(list).await?;
        let Some((last, _)) = rows.last() else { return Ok(found) };
        after = last.clone();
        for (row, name) in &rows {
            if let Some(uid) = row.last_chunk() {
                found.push((String::from_utf8_lossy(name).into_owned(), Aggregate { account, uid: *uid }));
            }
        }
    }
}

/// The first record whose events happened at a time or later. Times do not go back within a pipeline, but for a clock
/// that was set.
async fn first_since(call: &Call, aggregate: Aggregate, since: u64) -> Result<u64, ApiError> {
    let store = call.api.host.driver.store();
    let (mut low, mut high) = (1, store.load(aggregate).await?.sequence + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        // Records that were collected are older than all that are left.
        let record = store.history(aggregate, middle, 1).await?.pop().filter(|record| record.sequence == middle);
        let before = match record {
            None => true,
            Some(record) => time_of(&record)?.is_none_or(|at| at < since),
        };
        match before {
            true => low = middle + 1,
            false => high = middle,
        }
    }
    Ok(low)
}

fn untold(pipeline: Aggregate, error: &ApiError) {
    tracing::warn!(%pipeline, "some of its events cannot be told: {}", error.message);
}

fn time_of(record: &Record) -> Result<Option<u64>, ApiError> {
    Ok(Entry::time(record)?.map(|at| at.0))
}

/// Records that were there before, by time; of each pipeline at most one page is in memory.
#[derive(Default)]
struct Backlog {
    heads: BinaryHeap<Reverse<(u64, Aggregate)>>,
    pages: HashMap<Aggregate, VecDeque<Record>>,
}

/// How far the events of a pipeline are told.
struct Place {
    /// The next record.
    next: u64,
    /// The last one that is known to be there; all until the watcher told of one.
    last: u64,
}

impl Place {
    fn at(next: u64) -> Self {
        Self { next, last: u64::MAX }
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::at(1)
    }
}

struct Feed {
    call: Call,
    watcher: Watcher,
    names: HashMap<Aggregate, String>,
    places: HashMap<Aggregate, Place>,
    backlog: Backlog,
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
        let (names, places, backlog) = (HashMap::new(), HashMap::new(), Backlog::default());
        Self { call, watcher, names, places, backlog, ready: VecDeque::new(), one: false, ended: false, _open: open }
    }

    async fn start(mut self) -> Result<Self, ApiError> {
        self.refill(self.places.keys().copied().collect()).await?;
        Ok(self)
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

    /// Reads the next page of each pipeline into the backlog. One whose history cannot be read is in the way of no other.
    async fn refill(&mut self, pipelines: Vec<Aggregate>) -> Result<(), ApiError> {
        let store = self.call.api.host.driver.store();
        let limit = (RECORDS_HELD_MAX / self.places.len().max(1)).clamp(1, RECORDS_MAX);
        let reads = pipelines.into_iter().map(|pipeline| {
            let next = self.places.entry(pipeline).or_default().next;
            store.history(pipeline, next, limit).map(move |page| (pipeline, page))
        });
        let pages: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS_MAX).collect().await;
        for (pipeline, page) in pages {
            let read = page.map_err(ApiError::from).and_then(|page| {
                let at = page.first().map(time_of).transpose()?;
                Ok((page, at.flatten().unwrap_or_default()))
            });
            match read {
                Ok((page, _)) if page.is_empty() => {}
                Ok((page, at)) => {
                    self.backlog.heads.push(Reverse((at, pipeline)));
                    self.backlog.pages.insert(pipeline, page.into());
                }
                Err(error) if self.one => return Err(error),
                Err(error) => untold(pipeline, &error),
            }
        }
        Ok(())
    }

    /// Waits for pipelines of the account that went on; `None` once the host goes down.
    async fn changed(&mut self) -> Option<Vec<Aggregate>> {
        let first = self.watcher.changed().await?;
        let more = std::iter::from_fn(|| self.watcher.changed().now_or_never().flatten());
        let mut changed = Vec::new();
        for (aggregate, last) in std::iter::once(first).chain(more) {
            if aggregate != Aggregate::of_account(self.call.account) {
                self.places.entry(aggregate).or_default().last = last;
                changed.push(aggregate);
            }
        }
        Some(changed)
    }

    async fn event(&mut self) -> Result<Option<Event>, ApiError> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.ended {
                return Ok(None);
            }
            if let Some(Reverse((_, aggregate))) = self.backlog.heads.pop() {
                self.take(aggregate).await?;
                continue;
            }
            match self.changed().await {
                None => return Ok(None),
                Some(changed) => self.refill(changed).await?,
            }
        }
    }

    /// Takes one record of a pipeline out of the backlog.
    async fn take(&mut self, aggregate: Aggregate) -> Result<(), ApiError> {
        let Some(page) = self.backlog.pages.get_mut(&aggregate) else { return Ok(()) };
        let Some(record) = page.pop_front() else { return Ok(()) };
        let following = page.front().map(|record| time_of(record).unwrap_or_default());
        let place = self.places.entry(aggregate).or_default();
        place.next = record.sequence + 1;
        match following {
            Some(at) => self.backlog.heads.push(Reverse((at.unwrap_or_default(), aggregate))),
            None => {
                self.backlog.pages.remove(&aggregate);
                if place.next <= place.last {
                    self.refill(vec![aggregate]).await?;
                }
            }
        }
        match self.tell(aggregate, &record) {
            Err(error) if !self.one => {
                untold(aggregate, &error);
                Ok(())
            }
            told => told,
        }
    }

    fn tell(&mut self, aggregate: Aggregate, record: &Record) -> Result<(), ApiError> {
        let entry = Entry::read(record)?;
        let time = entry.at.unwrap_or_default();
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
            let id = format!("{uid:032x}.{}.{number}", record.sequence);
            let at = At { call: &self.call, pipeline, id: &id, time, cause: entry.cause.as_ref() };
            let Some(event) = eventbridge::event(&at, event) else { continue };
            let cursor = match self.one {
                // The records before are delivered whole; this one may come again from its start.
                true if number + 1 < entry.events.len() => format!("{}.{number}", record.sequence - 1),
                true => format!("{}.{number}", record.sequence),
                false => format!("{}.{id}", time.0),
            };
            self.ready.push_back(Event::default().id(cursor).data(event.to_string()));
        }
        Ok(())
    }
}
