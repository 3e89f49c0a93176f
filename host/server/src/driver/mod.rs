//! The driver: the one place that does what the state machine decides.
//!
//! Owns the loop (input → step → commit, durable → reply → effects), one actor per pipeline, and what goes on after a
//! restart. Must not know how a store keeps records, how an action runs, or who asks.

mod actor;
mod catalog;
mod record;
#[cfg(test)]
mod tests;
mod wakeups;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use pipewright_pipeline::machine::{Refusal, Reply, Report, RunAction, State, What};
use tokio::sync::{mpsc, oneshot, watch};

use crate::store::{Aggregate, CommitError, Store, StoreError};
use actor::{Actor, Message};
use wakeups::Wakeups;

pub use catalog::NamedPipeline;
pub use record::Recorded;

/// Commands and answers that wait for one pipeline's actor; more senders wait. Stops a flood of commands from filling
/// memory.
const INBOX_MESSAGES_MAX: usize = 256;

/// What runs the actions: the sandbox in a host, a script in a simulation.
pub trait Actions: Send + Sync {
    /// One call of one action, to its end. Dropping the future stops the call.
    fn run(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, Report>;

    /// Whether an action that a crash interrupted may run again.
    fn may_run_again(&self, run: &RunAction) -> bool;
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
    /// The host must be mended and started again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the store holds is not what the driver wrote.
    #[error("{0}")]
    Damaged(String),
}

impl From<CommitError> for DriverError {
    fn from(error: CommitError) -> Self {
        match error {
            CommitError::Store(error) => Self::Store(error),
            CommitError::TooLarge { .. } => Self::TooLarge(error.to_string()),
            CommitError::Conflict { .. } => Self::Damaged(format!("two hosts write one store: {error}")),
        }
    }
}

/// A cheap handle: clones drive the same pipelines.
#[derive(Clone)]
pub struct Driver(Arc<Shared>);

pub(crate) struct Shared {
    store: Arc<dyn Store>,
    actions: Arc<dyn Actions>,
    actors: Mutex<HashMap<Aggregate, mpsc::Sender<Message>>>,
    wakeups: Arc<Wakeups>,
    /// Set once, when a pipeline could not go on because the host failed.
    failed: watch::Sender<Option<String>>,
}

impl Driver {
    pub fn new(store: Arc<dyn Store>, actions: Arc<dyn Actions>) -> Self {
        let shared = Arc::new(Shared {
            store,
            actions,
            actors: Mutex::default(),
            wakeups: Arc::default(),
            failed: watch::Sender::new(None),
        });
        wakeups::spawn(Arc::clone(&shared.wakeups), Arc::downgrade(&shared));
        Self(shared)
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    /// Hands one input to a pipeline. Its success is durable before this returns.
    pub async fn submit(&self, pipeline: Aggregate, what: What) -> Result<Reply, DriverError> {
        self.ask(pipeline, |reply| Message::Input { what: Box::new(what), reply }).await
    }

    /// The live state of a pipeline, as of now.
    pub async fn state(&self, pipeline: Aggregate) -> Result<Arc<State>, DriverError> {
        self.ask(pipeline, |reply| Message::Read { reply }).await
    }

    /// Lets every action go on that a crash or a stop of the host interrupted: to be called once, at the start. What is
    /// stopped by a command before that is not run again.
    pub async fn resume(&self, account: u64) -> Result<(), DriverError> {
        for pipeline in self.pipelines(account).await? {
            self.ask(pipeline.aggregate, |reply| Message::Resume { reply }).await?;
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
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Waits until the host fails, and says why.
    pub async fn failure(&self) -> String {
        let mut failed = self.0.failed.subscribe();
        match failed.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    fn stopped(&self) -> DriverError {
        let reason = self.0.failed.borrow().clone();
        DriverError::Damaged(reason.unwrap_or_else(|| "the pipeline's driver ended unexpectedly".to_owned()))
    }
}

impl Shared {
    /// Delivers to the pipeline's actor, starting one where there is none.
    async fn send(self: &Arc<Self>, pipeline: Aggregate, mut message: Message) {
        loop {
            let sender = self.sender(pipeline);
            match sender.send(message).await {
                Ok(()) => return,
                // The actor ended because its host failed, or by a defect; a new one finds out what there is.
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

    fn fail(&self, error: &DriverError) {
        self.failed.send_if_modified(|failed| {
            let first = failed.is_none();
            failed.get_or_insert_with(|| error.to_string());
            first
        });
    }
}

fn random<const N: usize>() -> Result<[u8; N], DriverError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes)
        .map_err(|error| DriverError::Damaged(format!("the system has no randomness: {error}")))?;
    Ok(bytes)
}
