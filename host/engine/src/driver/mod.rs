//! The driver: the one place that does what the state machine decides.
//!
//! Owns the loop (input → step → commit, durable → reply → effects), one actor per pipeline, and what goes on after a
//! restart. Must not know how a store keeps records, how an action runs, or who asks.

mod account;
mod accounts;
mod actor;
pub mod counts;
mod entry;
#[cfg(test)]
pub(crate) mod faults;
mod history;
pub mod index;
pub mod job_rows;
#[cfg(test)]
mod judged;
mod lists;
#[cfg(test)]
mod pinned;
pub mod points;
mod quarantine;
pub(crate) mod record;
#[cfg(test)]
mod rolled_back;
pub mod rows;
#[cfg(test)]
pub(crate) mod tests;
pub mod timers;
#[cfg(test)]
mod told;
mod wakeups;
mod writer;

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    Execution, ExecutionId, InputKind, Refusal, Reply, Report, RunAction, StartRequest, State,
};
use tokio::sync::{mpsc, oneshot, watch};

use account::Accounts;
use actor::{Actor, Message, Submission, SubmitOptions};
use pipewright_base::clock::Clock;
use pipewright_base::{Cause, Scope};
use pipewright_store::{CommitError, LeaseError, Store, StoreError};
use quarantine::Quarantine;
use rows::DueRow;
use timers::Now;
use wakeups::Wakeups;
use writer::WriterContext;

pub use account::{AccountEntry, AccountEvent};
pub use accounts::{GRANTS, KEYS, PAGE_KEY, SECRETS};
pub use actor::{Note, StartToken, TOKEN_MILLISECONDS_MAX};
pub use counts::Counts;
pub use entry::Entry;
pub use lists::{ActionRecords, Position};
pub use pipewright_store::{Aggregate, Watcher};
pub(crate) use quarantine::erase;

/// Commands and answers that wait for one pipeline's actor; more senders wait. Stops a flood of commands from filling
/// memory.
const INBOX_MESSAGES_MAX: usize = 256;

/// What runs the actions: the sandbox in a host, a script in a simulation.
pub trait Actions: Send + Sync {
    /// One call of one action, to its end. Dropping the future stops the call.
    fn run(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, Report>;

    /// Where calls run; none: where the driver does.
    fn runtime(&self) -> Option<tokio::runtime::Handle> {
        None
    }

    /// Whether an action that a crash interrupted may run again.
    fn may_run_again(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, bool>;

    /// Whether an action that a crash interrupted had come no further than to wait for its turn: then it is not what the host died of.
    fn only_waited(&self, _run: &RunAction) -> bool {
        false
    }

    /// The grants of a pipeline as they are now, to be pinned by a start; it is refused where they cannot be had. Before the
    /// start is decided, and beside what else the pipeline does.
    fn grants(&self, _account: u64, _pipeline: &str) -> BoxFuture<'static, Granted> {
        std::future::ready(Ok(None)).boxed()
    }

    /// The parts of the account's record that an execution of this pipeline holds on to, as they are when it starts, where
    /// there are such. Reads nothing.
    fn parts(&self, _declaration: &PipelineDeclaration) -> Vec<String> {
        Vec::new()
    }

    /// What else an execution of this pipeline holds on to that starts now. Reads nothing.
    fn pins(&self, _account: u64, _declaration: &PipelineDeclaration) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Grants to be kept with the pipeline, by their digest; none where there are none to pin; or why a start is refused.
pub type Granted = Result<Option<Bytes>, String>;

/// The name in `Start::pins` under which an execution holds on to its grants, by their digest.
pub const GRANTS_PIN: &str = "grants";

/// The name in `Start::pins` under which an execution holds on to a part of the account's record, by its digest.
pub fn part_pin(key: &str) -> String {
    format!("part/{key}")
}

/// The grants, or the part of the account's record, of this digest, if executions of the pipeline pinned such.
pub async fn kept_pin(store: &dyn Store, pipeline: Aggregate, digest: &str) -> Result<Option<Bytes>, DriverError> {
    Ok(store.get(pipeline, &record::grants(digest)).await?)
}

/// Why an input had no effect.
#[derive(Debug, thiserror::Error)]
pub enum DriverError {
    /// The caller can mend it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// What the input would store is too large.
    #[error("{0}")]
    TooLarge(String),
    /// There is no room for it now, or not what it needs; the same later may succeed.
    #[error("{0}")]
    Full(String),
    /// What a start has to pin cannot be had: the operator's to mend.
    #[error("no execution can start: {0}")]
    Unpinned(String),
    /// The pipeline stopped for this reason; it can be loaded again once that is mended, exported, and deleted.
    #[error("the pipeline is quarantined: {0}")]
    Quarantined(Arc<str>),
    #[error(transparent)]
    Store(StoreError),
    /// What the store holds is not what the driver wrote.
    #[error("{0}")]
    Damaged(String),
    /// This program is to be mended.
    #[error("a defect of the host, whose log says more: {0}")]
    Defect(String),
}

impl DriverError {
    /// What it ends.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Refused(_) | Self::TooLarge(_) | Self::Full(_) | Self::Unpinned(_) | Self::Quarantined(_) => {
                Scope::Request
            }
            Self::Store(error) => error.scope(),
            Self::Damaged(_) | Self::Defect(_) => Scope::Pipeline,
        }
    }
}

impl From<StoreError> for DriverError {
    fn from(error: StoreError) -> Self {
        match error {
            full @ StoreError::Full { .. } => Self::Full(full.to_string()),
            error => Self::Store(error),
        }
    }
}

impl From<CommitError> for DriverError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => error.into(),
            CommitError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            CommitError::Conflict { .. } | CommitError::Fenced { .. } => {
                Self::Damaged(format!("two hosts write one store: {error}"))
            }
        }
    }
}

impl From<LeaseError> for DriverError {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Store(error) => error.into(),
            // The same is possible again once the other host lets go, or dies.
            LeaseError::Held { .. } => Self::Full(error.to_string()),
            LeaseError::Lost { .. } => Self::Damaged(error.to_string()),
        }
    }
}

/// A cheap handle: clones drive the same pipelines.
#[derive(Clone)]
pub struct Driver(Arc<Shared>);

/// For what the driver itself holds.
pub struct WeakDriver(std::sync::Weak<Shared>);

impl WeakDriver {
    /// None once nobody drives pipelines any more.
    pub fn upgrade(&self) -> Option<Driver> {
        self.0.upgrade().map(Driver)
    }
}

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    actions: Arc<dyn Actions>,
    actors: Mutex<HashMap<Aggregate, mpsc::Sender<Message>>>,
    wakeups: Arc<Wakeups>,
    accounts: Accounts,
    counts: Counts,
    /// Calls that run.
    running: watch::Sender<usize>,
    /// Set once, when the host goes down: nothing begins to run any more.
    stopping: AtomicBool,
    /// Pipelines that stopped because of an error of their own.
    quarantine: Quarantine,
    /// Set once, when the host failed: no pipeline can go on.
    failed: watch::Sender<Option<StoreError>>,
}

impl Driver {
    pub fn new(store: Arc<dyn Store>, actions: Arc<dyn Actions>, clock: Arc<dyn Clock>) -> Self {
        let shared = Arc::new(Shared {
            store,
            clock,
            actions,
            actors: Mutex::default(),
            wakeups: Arc::default(),
            accounts: Accounts::default(),
            counts: Counts::default(),
            running: watch::Sender::new(0),
            stopping: AtomicBool::new(false),
            quarantine: Quarantine::default(),
            failed: watch::Sender::new(None),
        });
        wakeups::spawn(Arc::clone(&shared.clock), Arc::clone(&shared.wakeups), Arc::downgrade(&shared));
        Self(shared)
    }

    pub fn downgrade(&self) -> WeakDriver {
        WeakDriver(Arc::downgrade(&self.0))
    }

    /// By which everything that the host does has its time.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.0.clock
    }

    /// Hands one input to a pipeline. Its success is durable before this returns.
    pub async fn submit(&self, pipeline: Aggregate, what: InputKind, cause: &Cause) -> Result<Reply, DriverError> {
        self.submit_with(pipeline, what, SubmitOptions::default(), cause).await
    }

    async fn submit_with(
        &self,
        pipeline: Aggregate,
        what: InputKind,
        with: SubmitOptions,
        cause: &Cause,
    ) -> Result<Reply, DriverError> {
        let cause = cause.clone();
        self.ask(pipeline, |reply| Message::Input(Box::new(Submission { what, with, cause, reply }))).await
    }

    /// Makes a pipeline with its notes and its first start, all or nothing.
    pub async fn create(
        &self,
        account: u64,
        declaration: Arc<PipelineDeclaration>,
        first: StartRequest,
        notes: Vec<Note>,
        cause: &Cause,
    ) -> Result<Aggregate, DriverError> {
        let name = declaration.name.clone();
        // A name may have been left behind by a host that died, with a deleted pipeline or nothing behind it.
        if let Some(found) = self.find(account, &name).await? {
            if self.state(found).await?.head.is_some() {
                return Err(Refusal::PipelineNameInUse(name).into());
            }
            self.rename(account, &name, Some(found), Some(random()?), cause).await?;
        }
        let pipeline = self.named(account, &name, cause).await?;
        let with = SubmitOptions { then: Some(InputKind::Start(first)), notes, ..SubmitOptions::default() };
        self.submit_with(pipeline, InputKind::Create { declaration }, with, cause).await?;
        Ok(pipeline)
    }

    /// Deletes a pipeline, and lets go of its name; also one that is quarantined.
    pub async fn delete(&self, pipeline: Aggregate, name: &str, cause: &Cause) -> Result<(), DriverError> {
        match self.submit(pipeline, InputKind::Delete, cause).await {
            Ok(_) => self.rename(pipeline.account, name, Some(pipeline), None, cause).await,
            Err(DriverError::Quarantined(_)) => self.delete_quarantined(pipeline, name, cause).await,
            Err(error) => Err(error),
        }
    }

    /// Starts an execution, or answers with the one that the token started, and keeps notes with it.
    pub async fn start(
        &self,
        pipeline: Aggregate,
        request: StartRequest,
        token: Option<StartToken>,
        notes: Vec<Note>,
        cause: &Cause,
    ) -> Result<ExecutionId, DriverError> {
        self.start_with(pipeline, request, SubmitOptions { token, notes, ..SubmitOptions::default() }, cause).await
    }

    /// The same with these parts in the place of those of the account's record.
    pub async fn start_with_parts(
        &self,
        pipeline: Aggregate,
        request: StartRequest,
        token: Option<StartToken>,
        parts: BTreeMap<String, Bytes>,
        cause: &Cause,
    ) -> Result<ExecutionId, DriverError> {
        self.start_with(pipeline, request, SubmitOptions { token, parts, ..SubmitOptions::default() }, cause).await
    }

    async fn start_with(
        &self,
        pipeline: Aggregate,
        request: StartRequest,
        with: SubmitOptions,
        cause: &Cause,
    ) -> Result<ExecutionId, DriverError> {
        match self.submit_with(pipeline, InputKind::Start(request), with, cause).await? {
            Reply::Execution(execution) => Ok(execution),
            other => Err(DriverError::Damaged(format!("a start was answered with {other:?}"))),
        }
    }

    /// The execution that this token stands for now; none where it would start one.
    pub async fn started_by(&self, pipeline: Aggregate, token: &str) -> Result<Option<ExecutionId>, DriverError> {
        let kept = self.0.store.get(pipeline, &record::token(token)).await?;
        kept.map_or(Ok(None), |bytes| record::started(&bytes, self.0.clock.now_ms(), 0))
    }

    /// Keeps something with a pipeline that is no part of its state.
    pub async fn keep(&self, pipeline: Aggregate, notes: Vec<Note>, cause: &Cause) -> Result<(), DriverError> {
        let cause = cause.clone();
        self.ask(pipeline, |reply| Message::Note { notes, cause, reply }).await
    }

    pub async fn kept(&self, pipeline: Aggregate, name: &str) -> Result<Option<Bytes>, DriverError> {
        Ok(self.0.store.get(pipeline, &record::note(name)).await?)
    }

    /// The live state of a pipeline, as of now.
    pub async fn state(&self, pipeline: Aggregate) -> Result<Arc<State>, DriverError> {
        self.ask(pipeline, |reply| Message::Read { reply }).await
    }

    /// An execution that ended, as it ended last.
    pub async fn archived(&self, pipeline: Aggregate, id: ExecutionId) -> Result<Option<Execution>, DriverError> {
        let bytes = self.0.store.get(pipeline, &record::archived(id)).await?;
        bytes.map(|bytes| record::execution(&bytes)).transpose()
    }

    /// The current declaration as the store has it, without loading the pipeline; none where there is no pipeline.
    pub async fn declaration(&self, pipeline: Aggregate) -> Result<Option<Arc<PipelineDeclaration>>, DriverError> {
        let bytes = self.0.store.get(pipeline, &record::declaration()).await?;
        bytes.map(|bytes| record::declaration_of(&bytes)).transpose()
    }

    /// The declaration of one version of a pipeline.
    pub async fn version(&self, pipeline: Aggregate, version: u32) -> Result<Option<PipelineDeclaration>, DriverError> {
        let bytes = self.0.store.get(pipeline, &record::versioned(version)).await?;
        bytes.map(|bytes| record::read("a declaration", &bytes)).transpose()
    }

    /// Lets everything go on that a crash or a stop of the host interrupted: to be called once, at the start. A pipeline that
    /// waits is not loaded before its time. What is stopped by a command before this is not run again. A pipeline that cannot
    /// go on is quarantined, and keeps no other from doing so.
    ///
    /// Where the host died, and did not stop in an orderly way, that counts against what ran then.
    pub async fn resume(&self, account: u64, died: bool) -> Result<(), DriverError> {
        let mut rows = self.walk::<DueRow>(account, Bytes::new(), None);
        while let Some(page) = rows.next().await? {
            for DueRow { uid, at } in page {
                let pipeline = Aggregate { account, uid };
                let resumed = match at {
                    0 => self.ask(pipeline, |reply| Message::Resume { died, reply }).await,
                    at => {
                        self.0.wakeups.set(pipeline, at, Now::read(&*self.0.clock).until(at));
                        Ok(())
                    }
                };
                match resumed {
                    Err(error) if error.scope() == Scope::Host => return Err(error),
                    // It is told where it was quarantined.
                    _ => {}
                }
            }
        }
        Ok(())
    }

    async fn ask<T>(
        &self,
        pipeline: Aggregate,
        message: impl FnOnce(oneshot::Sender<Result<T, DriverError>>) -> Message,
    ) -> Result<T, DriverError> {
        let (reply, answer) = oneshot::channel();
        self.0.send(pipeline, message(reply)).await;
        answer.await.unwrap_or_else(|_| Err(self.0.stopped(pipeline)))
    }

    pub fn counts(&self) -> &Counts {
        &self.0.counts
    }

    /// How many pipelines are in memory.
    pub fn loaded(&self) -> usize {
        self.0.actors.lock().expect("no panic while held").len()
    }

    /// Lets nothing new run, and waits for what runs, but no longer than `patience`. What did not end goes on when the host
    /// starts again.
    pub async fn stop(&self, patience: Duration) {
        self.0.stopping.store(true, Ordering::SeqCst);
        let mut running = self.0.running.subscribe();
        let ended = running.wait_for(|running| *running == 0);
        if tokio::time::timeout(patience, ended).await.is_err() {
            tracing::warn!(
                "{} calls did not end in time; they are run again at the next start",
                *self.0.running.borrow()
            );
        }
    }

    /// Why the host has failed, if it has.
    pub fn has_failed(&self) -> Option<String> {
        self.0.failed.borrow().as_ref().map(StoreError::to_string)
    }

    /// Waits until the host fails, and says why.
    pub async fn failure(&self) -> String {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.as_ref().map(StoreError::to_string).unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }
}

impl Shared {
    fn pen(&self) -> WriterContext {
        WriterContext { store: Arc::clone(&self.store), clock: Arc::clone(&self.clock) }
    }

    /// Delivers to the pipeline's actor, starting one where there is none. What is for a pipeline that stopped is dropped.
    async fn send(self: &Arc<Self>, pipeline: Aggregate, mut message: Message) {
        while self.quarantine.reason(pipeline).is_none() {
            let sender = self.sender(pipeline);
            match sender.send(message).await {
                Ok(()) => return,
                // The actor ended because its host failed; a new one finds out what there is.
                Err(mpsc::error::SendError(back)) => message = back,
            }
            self.forget(pipeline, &sender);
        }
    }

    fn sender(self: &Arc<Self>, pipeline: Aggregate) -> mpsc::Sender<Message> {
        let mut actors = self.actors.lock().expect("no panic while held");
        let entry = actors.entry(pipeline);
        let sender = entry.or_insert_with(|| {
            let (sender, inbox) = mpsc::channel(INBOX_MESSAGES_MAX);
            tokio::spawn(Actor::run(Arc::clone(self), pipeline, inbox));
            sender
        });
        sender.clone()
    }

    /// Takes an idle actor off the list, if nobody holds a sender who could still hand it a message.
    fn retire(&self, pipeline: Aggregate, inbox: &mpsc::Receiver<Message>) -> bool {
        let mut actors = self.actors.lock().expect("no panic while held");
        // The list's own sender is the one; others are made only under this lock.
        let retired = inbox.is_empty() && inbox.sender_strong_count() == 1;
        if retired {
            actors.remove(&pipeline);
        }
        retired
    }

    /// Removes an actor's entry, unless another actor has taken its place.
    fn forget(&self, pipeline: Aggregate, sender: &mpsc::Sender<Message>) {
        let mut actors = self.actors.lock().expect("no panic while held");
        if actors.get(&pipeline).is_some_and(|current| current.same_channel(sender)) {
            actors.remove(&pipeline);
        }
    }

    /// Why a message was dropped.
    fn stopped(&self, pipeline: Aggregate) -> DriverError {
        match (self.quarantine.reason(pipeline), &*self.failed.borrow()) {
            (Some(reason), _) => DriverError::Quarantined(reason),
            (None, Some(failed)) => DriverError::Store(failed.clone()),
            (None, None) => DriverError::Defect("the pipeline's driver ended".to_owned()),
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], DriverError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| DriverError::Full(format!("the system has no randomness now: {error}")))?;
    Ok(bytes)
}
