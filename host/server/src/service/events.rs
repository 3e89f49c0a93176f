//! Events of one pipeline or of the account, from any point of what is kept and then as they happen.
//!
//! Owns the cursors. A cursor says which records were delivered whole, so at worst an event is delivered twice, and
//! never not at all. Must not know the shape of an event (`eventbridge`), nor how it is sent.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, StreamExt as _};
use pipewright_engine::driver::rows::{EventRow, Row as _};
use pipewright_engine::driver::{Aggregate, DriverError, Entry, Watcher};
use pipewright_pipeline::machine::{Event, Timestamp};
use pipewright_runner::builds::is_own_pipeline;
use serde_json::Value;

use super::approvals::{self, Request};
use super::eventbridge::{self, At};
use super::{Context, Service, ServiceError};

/// What is read ahead: records of one pipeline, or rows of the account's events.
const READ_AHEAD_MAX: usize = 64;
/// Records that are read at once: one read after the other would hold up all that happens on a busy host.
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
pub struct FeedEvent {
    pub cursor: String,
    /// Unique among all events of the host.
    pub id: String,
    pub at: Timestamp,
    pub pipeline: Aggregate,
    pub event: Value,
    /// A request for approval, which is put into words when its turn has come.
    request: Option<Box<Request>>,
}

fn invalid_cursor() -> ServiceError {
    ServiceError::validation("The Last-Event-ID is not one that this stream gave")
}

/// The number that a cursor begins with.
fn number(cursor: &str) -> Result<u64, ServiceError> {
    let number = cursor.split('.').next().and_then(|number| number.parse().ok());
    number.ok_or_else(invalid_cursor)
}

/// The event that a feed of an account gave with this cursor, and its pipeline; none where it is kept no more.
pub async fn again(service: &Arc<Service>, context: &Context, cursor: &str) -> Result<Option<FeedEvent>, ServiceError> {
    let mut parts = cursor.split('.').skip(1);
    let uid = parts.next().and_then(|uid| u128::from_str_radix(uid, 16).ok()).ok_or_else(invalid_cursor)?;
    let sequence = parts.next().and_then(|sequence| sequence.parse().ok()).ok_or_else(invalid_cursor)?;
    let pipeline = Aggregate { account: context.account, uid: uid.to_be_bytes() };
    let mut feed = of_account(service, context, From::Cursor(cursor)).await?.with_approvals();
    feed.backlog = None;
    let Some(entry) = service.driver().entry(pipeline, sequence).await? else { return Ok(None) };
    feed.tell(pipeline, &entry);
    let Some(told) = feed.ready.into_iter().find(|told| told.cursor == cursor) else { return Ok(None) };
    told.in_words(service).await
}

/// One pipeline that cannot be read is in the way of no other.
fn untold(pipeline: Aggregate, error: &DriverError) {
    tracing::warn!(%pipeline, "some of its events cannot be told: {error}");
}

pub async fn of_pipeline(
    service: &Arc<Service>,
    context: &Context,
    name: &str,
    from: From<'_>,
) -> Result<Feed, ServiceError> {
    let pipeline = service.pipeline(context, name).await?.pipeline;
    let driver = service.driver();
    let watcher = driver.watch(Some(pipeline));
    let next = match from {
        From::Cursor(cursor) => number(cursor)?.checked_add(1).ok_or_else(invalid_cursor)?,
        From::Now => driver.first_since(pipeline, driver.clock().now_ms() + 1).await?,
        From::Start => 1,
    };
    Ok(Feed {
        names: HashMap::from([(pipeline, name.to_owned())]),
        next: HashMap::from([(pipeline, next)]),
        behind: VecDeque::from([(pipeline, u64::MAX)]),
        one: true,
        ..Feed::new(service, context, watcher)
    })
}

pub async fn of_account(service: &Arc<Service>, context: &Context, from: From<'_>) -> Result<Feed, ServiceError> {
    let driver = service.driver();
    let watcher = driver.watch(Some(Aggregate::of_account(context.account)));
    let since = match from {
        From::Cursor(cursor) => number(cursor)?.saturating_sub(LATE_MILLISECONDS_MAX),
        From::Now => driver.clock().now_ms(),
        From::Start => 0,
    };
    // In this order: one that is deleted in between is in both. A client that was away is told how those ended that are gone.
    let there = driver.pipelines(context.account).await?;
    let deleted = driver.deleted_since(context.account, since).await?;
    let names = there.into_iter().chain(deleted).map(|(name, pipeline)| (pipeline, name)).collect();
    Ok(Feed { names, since, backlog: Some(EventRow::since(since)), ..Feed::new(service, context, watcher) })
}

pub struct Feed {
    service: Arc<Service>,
    context: Context,
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
    ready: VecDeque<FeedEvent>,
    /// The feed of one pipeline, whose cursors need no time.
    one: bool,
    /// The one pipeline was deleted: nothing will follow.
    ended: bool,
    /// Tells of requests for approval, too, as SNS does.
    approvals: bool,
    /// The only kind of which it tells.
    only: Option<&'static str>,
}

impl FeedEvent {
    /// What is to be told; nothing of a request that names nobody to tell.
    async fn in_words(mut self, service: &Service) -> Result<Option<Self>, ServiceError> {
        let Some(request) = self.request.take() else { return Ok(Some(self)) };
        let message = approvals::message(service, &request, (&self.id, self.at)).await?;
        Ok(message.map(|event| Self { event, ..self }))
    }
}

impl Feed {
    fn new(service: &Arc<Service>, context: &Context, watcher: Watcher) -> Self {
        Self {
            service: Arc::clone(service),
            context: context.clone(),
            watcher,
            names: HashMap::new(),
            next: HashMap::new(),
            since: 0,
            backlog: None,
            behind: VecDeque::new(),
            ready: VecDeque::new(),
            one: false,
            ended: false,
            approvals: false,
            only: None,
        }
    }

    pub fn with_approvals(self) -> Self {
        Self { approvals: true, ..self }
    }

    /// Tells of one kind of event alone.
    pub fn of_type(self, detail_type: &str) -> Result<Self, ServiceError> {
        let only = eventbridge::DETAIL_TYPES.into_iter().find(|kind| *kind == detail_type).ok_or_else(|| {
            let kinds = eventbridge::DETAIL_TYPES.join(", ");
            ServiceError::validation(format!(
                "detail-type={detail_type}: there is no such kind of event; there are: {kinds}"
            ))
        })?;
        Ok(Self { only: Some(only), ..self })
    }

    /// The next event, once it has happened; none when nothing will follow.
    pub async fn event(&mut self) -> Result<Option<FeedEvent>, ServiceError> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                let id = told.id.clone();
                match told.in_words(&self.service).await {
                    Ok(None) => continue,
                    Err(error) => {
                        tracing::warn!(id, "a request for approval cannot be told: {error}");
                        continue;
                    }
                    told => return told,
                }
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
    async fn read_backlog(&mut self, after: Bytes) -> Result<Option<Bytes>, ServiceError> {
        let (driver, account) = (self.service.driver().clone(), self.context.account);
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
                    entries.iter().filter(|it| it.sequence == sequence).for_each(|it| self.tell(pipeline, it));
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
        let of_account = Aggregate::of_account(self.context.account);
        self.behind.extend(std::iter::once(first).chain(more).filter(|(aggregate, _)| *aggregate != of_account));
        true
    }

    /// Tells what one pipeline has done since it was looked at last.
    async fn catch_up(&mut self, pipeline: Aggregate, last: u64) -> Result<(), ServiceError> {
        let driver = self.service.driver().clone();
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
            if !self.one && is_own_pipeline(pipeline) {
                continue;
            }
            if self.only.is_some_and(|only| eventbridge::detail_type(event) != Some(only)) {
                continue;
            }
            let uid = u128::from_be_bytes(aggregate.uid);
            let id = format!("{uid:032x}.{}.{number}", entry.sequence);
            let (service, context) = (&self.service, &self.context);
            let at = At { service, context, pipeline, id: &id, time, cause: entry.cause.as_ref() };
            let request = Request::of(aggregate, pipeline, event).filter(|_| self.approvals);
            let Some(event) = eventbridge::event(&at, event).or(request.as_ref().map(|_| Value::Null)) else {
                continue;
            };
            let cursor = match self.one {
                // The records before are delivered whole; this one may come again from its start.
                true if number + 1 < entry.events.len() => format!("{}.{number}", entry.sequence - 1),
                true => format!("{}.{number}", entry.sequence),
                false => format!("{}.{id}", time.0),
            };
            self.ready.push_back(FeedEvent {
                cursor,
                id,
                at: time,
                pipeline: aggregate,
                event,
                request: request.map(Box::new),
            });
        }
    }
}
