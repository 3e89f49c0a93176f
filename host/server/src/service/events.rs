//! Events of one pipeline or of the account, from any point of what is kept and then as they happen.
//!
//! Owns the cursors. A cursor says which records were delivered whole, so at worst an event is delivered twice, and
//! never not at all. Must not know the shape of an event (`eventbridge`), nor how it is sent.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _};
use pipewright_base::clock;
use pipewright_engine::driver::{Aggregate, DriverError, Entry, Record, Watcher};
use pipewright_pipeline::machine::Event;
use serde_json::Value;

use super::eventbridge::{self, At};
use super::{Context, Service, ServiceError};

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

/// Where a feed begins.
#[derive(Clone, Copy, Debug)]
pub enum From<'a> {
    /// With the oldest event that is kept.
    Start,
    Now,
    /// After the event that had this cursor.
    Cursor(&'a str),
}

/// An event in EventBridge's shape, and the cursor after it.
#[derive(Clone, Debug)]
pub struct Told {
    pub cursor: String,
    pub event: Value,
}

fn invalid_cursor() -> ServiceError {
    ServiceError::validation("The Last-Event-ID is not one that this stream gave")
}

/// The number that a cursor begins with.
fn number(cursor: &str) -> Result<u64, ServiceError> {
    let number = cursor.split('.').next().and_then(|number| number.parse().ok());
    number.ok_or_else(invalid_cursor)
}

pub async fn of_pipeline(
    service: &Arc<Service>,
    context: &Context,
    name: &str,
    from: From<'_>,
) -> Result<Feed, ServiceError> {
    let pipeline = service.pipeline(context, name).await?.pipeline;
    let watcher = service.driver().watch(Some(pipeline));
    let next = match from {
        From::Cursor(cursor) => number(cursor)?.checked_add(1).ok_or_else(invalid_cursor)?,
        From::Now => service.driver().first_since(pipeline, clock::now_ms() + 1).await?,
        From::Start => 1,
    };
    let feed = Feed {
        names: HashMap::from([(pipeline, name.to_owned())]),
        places: HashMap::from([(pipeline, Place::at(next))]),
        one: true,
        ..Feed::new(service, context, watcher)
    };
    feed.start().await
}

pub async fn of_account(service: &Arc<Service>, context: &Context, from: From<'_>) -> Result<Feed, ServiceError> {
    let watcher = service.driver().watch(Some(Aggregate::of_account(context.account)));
    let since = match from {
        From::Cursor(cursor) => number(cursor)?.saturating_sub(LATE_MILLISECONDS_MAX),
        From::Now => clock::now_ms(),
        From::Start => 0,
    };
    let mut feed = Feed::new(service, context, watcher);
    // In this order: one that is deleted in between is in both. A client that was away is told how those ended.
    let there = service.driver().pipelines(context.account).await?;
    let deleted = service.driver().deleted_since(context.account, since).await?;
    for (name, pipeline) in there.into_iter().chain(deleted) {
        let next = match service.driver().first_since(pipeline, since).await {
            Ok(next) => next,
            Err(error) => {
                untold(pipeline, &error);
                continue;
            }
        };
        feed.names.insert(pipeline, name);
        feed.places.insert(pipeline, Place::at(next));
    }
    feed.start().await
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

pub struct Feed {
    service: Arc<Service>,
    context: Context,
    watcher: Watcher,
    names: HashMap<Aggregate, String>,
    places: HashMap<Aggregate, Place>,
    backlog: Backlog,
    ready: VecDeque<Told>,
    /// The feed of one pipeline, whose cursors need no time.
    one: bool,
    /// The one pipeline was deleted: nothing will follow.
    ended: bool,
}

fn untold(pipeline: Aggregate, error: &DriverError) {
    tracing::warn!(%pipeline, "some of its events cannot be told: {error}");
}

fn time_of(record: &Record) -> Result<u64, DriverError> {
    Ok(Entry::time(record)?.unwrap_or_default().0)
}

impl Feed {
    fn new(service: &Arc<Service>, context: &Context, watcher: Watcher) -> Self {
        Self {
            service: Arc::clone(service),
            context: context.clone(),
            watcher,
            names: HashMap::new(),
            places: HashMap::new(),
            backlog: Backlog::default(),
            ready: VecDeque::new(),
            one: false,
            ended: false,
        }
    }

    async fn start(mut self) -> Result<Self, ServiceError> {
        self.refill(self.places.keys().copied().collect()).await?;
        Ok(self)
    }

    /// Reads the next page of each pipeline into the backlog. One whose history cannot be read is in the way of no other.
    async fn refill(&mut self, pipelines: Vec<Aggregate>) -> Result<(), ServiceError> {
        let driver = self.service.driver();
        let limit = (RECORDS_HELD_MAX / self.places.len().max(1)).clamp(1, RECORDS_MAX);
        let reads = pipelines.into_iter().map(|pipeline| {
            let next = self.places.entry(pipeline).or_default().next;
            driver.history(pipeline, next, limit).map(move |page| (pipeline, page))
        });
        let pages: Vec<_> = futures::stream::iter(reads).buffer_unordered(READS_MAX).collect().await;
        for (pipeline, page) in pages {
            let read = page.and_then(|page| {
                let at = page.first().map(time_of).transpose()?;
                Ok((page, at))
            });
            match read {
                Ok((_, None)) => {}
                Ok((page, Some(at))) => {
                    self.backlog.heads.push(Reverse((at, pipeline)));
                    self.backlog.pages.insert(pipeline, page.into());
                }
                Err(error) if self.one => return Err(error.into()),
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
            if aggregate != Aggregate::of_account(self.context.account) {
                self.places.entry(aggregate).or_default().last = last;
                changed.push(aggregate);
            }
        }
        Some(changed)
    }

    /// The next event, once it has happened; none when nothing will follow.
    pub async fn event(&mut self) -> Result<Option<Told>, ServiceError> {
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
    async fn take(&mut self, aggregate: Aggregate) -> Result<(), ServiceError> {
        let Some(page) = self.backlog.pages.get_mut(&aggregate) else { return Ok(()) };
        let Some(record) = page.pop_front() else { return Ok(()) };
        let following = page.front().map(|record| time_of(record).unwrap_or_default());
        let place = self.places.entry(aggregate).or_default();
        place.next = record.sequence + 1;
        match following {
            Some(at) => self.backlog.heads.push(Reverse((at, aggregate))),
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
            told => Ok(told?),
        }
    }

    fn tell(&mut self, aggregate: Aggregate, record: &Record) -> Result<(), DriverError> {
        let entry = Entry::read(record)?;
        let time = entry.at.unwrap_or_default();
        for (number, event) in entry.events.iter().enumerate() {
            match event {
                Event::PipelineCreated { declaration } => {
                    self.names.insert(aggregate, declaration.name.clone());
                }
                Event::PipelineDeleted { .. } => self.ended = self.one,
                _ => {}
            }
            let Some(pipeline) = self.names.get(&aggregate) else { continue };
            let uid = u128::from_be_bytes(aggregate.uid);
            let id = format!("{uid:032x}.{}.{number}", record.sequence);
            let (service, context) = (&self.service, &self.context);
            let at = At { service, context, pipeline, id: &id, time, cause: entry.cause.as_ref() };
            let Some(event) = eventbridge::event(&at, event) else { continue };
            let cursor = match self.one {
                // The records before are delivered whole; this one may come again from its start.
                true if number + 1 < entry.events.len() => format!("{}.{number}", record.sequence - 1),
                true => format!("{}.{number}", record.sequence),
                false => format!("{}.{id}", time.0),
            };
            self.ready.push_back(Told { cursor, event });
        }
        Ok(())
    }
}
