//! What a host stops keeping: executions that are old or many, deleted pipelines, logs, and artifacts, plugins and grants that
//! nothing refers to. All beside a running server, in steps between other commits.
//!
//! Owns what is kept and for how long, and the order in which things go: whatever is interrupted is found again by the
//! next round. An execution's row in the list of executions goes last; its logs, its other rows and its archived form
//! before that.
//!
//! An ended execution that is the latest of no stage stays ended: it cannot be retried (S37). Nobody writes its
//! parts any more, so that it is dropped without asking the pipeline's driver.

mod logs;
mod pipeline;
mod references;
#[cfg(test)]
pub(crate) mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, MutexGuard};

use crate::driver::{Driver, DriverError, GRANTS};
use pipewright_artifacts::{ArtifactError, Artifacts, COLLECT_GRACE_MILLISECONDS, Removed};
use pipewright_base::clock::Clock;
use pipewright_base::{Digest, Scope};
use pipewright_store::{Aggregate, CommitError, READ_ROWS_MAX, Store, StoreError, Trim};
use references::References;

const DAY_MILLISECONDS: u64 = 24 * 60 * 60 * 1000;
/// The first round waits until a starting host has other things behind it.
const FIRST_AFTER: Duration = Duration::from_secs(10 * 60);
const EVERY: Duration = Duration::from_secs(6 * 60 * 60);
/// Records of an account's own aggregate, which say only what changed: about 200 bytes each.
const ACCOUNT_RECORDS_KEPT: u64 = 10_000;

/// What is kept, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Retention {
    /// Executions that ended longer ago go, with their history, and so do pipelines that were deleted longer ago (S150,
    /// S152). An execution that is the latest of a stage stays, for it may be retried.
    pub executions_age_days: u32,
    /// Executions kept of each pipeline, whatever their age: the oldest go first. Stops a pipeline that is started every
    /// second from filling the disk.
    pub executions_count_max: u32,
    /// Log files that were last written longer ago go.
    pub logs_age_days: u32,
    /// Images in which no program ran for so long go; what runs again pulls them again.
    pub images_age_days: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { executions_age_days: 365, executions_count_max: 10_000, logs_age_days: 365, images_age_days: 30 }
    }
}

/// What one round removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collected {
    pub executions: u64,
    pub pipelines: u64,
    pub log_files: u64,
    pub artifacts: u64,
    pub blobs: u64,
    /// Components of plugins.
    pub pinned: u64,
    pub images: u64,
    /// Of logs, manifests, blobs, components and images.
    pub bytes: u64,
}

/// Why a round ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error("the folder of logs: {0}")]
    Logs(std::io::Error),
    #[error("the plugins that executions pin: {0}")]
    Pinned(std::io::Error),
    #[error("the images of programs: {0}")]
    Images(std::io::Error),
    #[error("a part of the collection ended unexpectedly: {0}")]
    Task(#[from] tokio::task::JoinError),
}

impl RetentionError {
    /// What it ends.
    fn scope(&self) -> Scope {
        match self {
            Self::Store(error) => error.scope(),
            Self::Commit(error) => error.scope(),
            Self::Driver(error) => error.scope(),
            Self::Artifacts(_) | Self::Logs(_) | Self::Pinned(_) | Self::Images(_) | Self::Task(_) => Scope::Request,
        }
    }
}

/// What cannot be collected of one aggregate stays, and keeps nothing else from being collected.
fn go_on(aggregate: Aggregate, done: Result<(), RetentionError>) -> Result<(), RetentionError> {
    match done {
        Err(error) if error.scope() < Scope::Host => {
            tracing::warn!(%aggregate, "retention leaves it as it is: {error}");
            Ok(())
        }
        done => done,
    }
}

/// Keeps a host's data within its retention.
pub struct Keeper {
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    artifacts: Arc<Artifacts>,
    logs: PathBuf,
    retention: Retention,
    pins: Option<Pins>,
    /// One collection or export at a time.
    gate: Mutex<()>,
}

/// What executions pin by its digest, kept outside of the store: the components of plugins, for example.
pub trait Pinned: Send + Sync {
    /// What may go if no execution needs it: nobody else uses it, and it was last kept before a time, in milliseconds since 1970.
    fn candidates(&self, before: u64) -> std::io::Result<Vec<Digest>>;

    /// Removes what no execution needs, unless it was kept again since `before`; says how many went and their bytes.
    fn remove(&self, unneeded: Vec<Digest>, before: u64) -> std::io::Result<(u64, u64)>;

    /// Removes what can be had again, is not in use, and was last used before a time; says how many images went and their bytes.
    fn forget(&self, before: u64) -> std::io::Result<(u64, u64)>;
}

/// Where what executions pin is kept.
struct Pins {
    driver: Driver,
    elsewhere: Arc<dyn Pinned>,
}

/// The times before which things go, in milliseconds since 1970.
#[derive(Clone, Copy)]
struct Cutoffs {
    executions: u64,
    logs: u64,
    images: u64,
    now: u64,
}

impl Keeper {
    pub fn new(
        store: Arc<dyn Store>,
        clock: Arc<dyn Clock>,
        artifacts: Arc<Artifacts>,
        logs: PathBuf,
        retention: Retention,
    ) -> Self {
        Self { store, clock, artifacts, logs, retention, pins: None, gate: Mutex::default() }
    }

    /// Collects what executions pin, too.
    #[must_use]
    pub fn with_pins(self, driver: Driver, elsewhere: Arc<dyn Pinned>) -> Self {
        Self { pins: Some(Pins { driver, elsewhere }), ..self }
    }

    /// Collects now and then, for as long as it is polled.
    pub async fn run(&self) {
        let mut wait = FIRST_AFTER;
        loop {
            self.clock.sleep(wait).await;
            wait = EVERY;
            match self.collect_once().await {
                Ok(collected) => tracing::info!(?collected, "retention"),
                Err(error) => tracing::warn!("retention: {error}"),
            }
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Nothing is collected while this is held: an export finds all that what it has read refers to.
    pub async fn hold(&self) -> MutexGuard<'_, ()> {
        self.gate.lock().await
    }

    /// One round.
    pub async fn collect_once(&self) -> Result<Collected, RetentionError> {
        let _alone = self.gate.lock().await;
        let now = self.clock.now_ms();
        let days = |days: u32| now.saturating_sub(u64::from(days) * DAY_MILLISECONDS);
        let cutoffs = Cutoffs {
            executions: days(self.retention.executions_age_days),
            logs: days(self.retention.logs_age_days),
            images: days(self.retention.images_age_days),
            now,
        };
        let mut collected = Collected::default();
        let mut after = None;
        let mut account = None;
        loop {
            let aggregates = self.store.aggregates(after, READ_ROWS_MAX).await?;
            for aggregate in &aggregates {
                if account != Some(aggregate.account) {
                    account = Some(aggregate.account);
                    go_on(*aggregate, self.collect_deleted(aggregate.account, &cutoffs, &mut collected).await)?;
                }
                let done = match *aggregate == Aggregate::of_account(aggregate.account) {
                    true => self.trim_account(*aggregate).await,
                    false => self.collect_pipeline(*aggregate, &cutoffs, &mut collected).await,
                };
                go_on(*aggregate, done)?;
            }
            match aggregates.last() {
                Some(last) => after = Some(*last),
                None => break,
            }
        }
        let folder = self.logs.clone();
        let logs = tokio::task::spawn_blocking(move || logs::remove_before(&folder, cutoffs.logs)).await?;
        collected.add_logs(logs.map_err(RetentionError::Logs)?);
        self.collect_referred(&cutoffs, &mut collected).await?;
        if let Some(pins) = &self.pins {
            let (elsewhere, before) = (Arc::clone(&pins.elsewhere), cutoffs.images);
            let forgotten = tokio::task::spawn_blocking(move || elsewhere.forget(before)).await?;
            let (images, bytes) = forgotten.map_err(RetentionError::Images)?;
            collected.images += images;
            collected.bytes += bytes;
        }
        Ok(collected)
    }

    async fn trim_account(&self, aggregate: Aggregate) -> Result<(), RetentionError> {
        let first = self.store.history(aggregate, 0, 1).await?.first().map_or(0, |record| record.sequence);
        let before = self.store.load(aggregate).await?.sequence.saturating_sub(ACCOUNT_RECORDS_KEPT);
        self.trim_history(aggregate, first, before).await
    }

    async fn trim_history(&self, aggregate: Aggregate, first: u64, before: u64) -> Result<(), RetentionError> {
        if before > first {
            if aggregate != Aggregate::of_account(aggregate.account) {
                self.forget_events(aggregate, before).await?;
            }
            let trim = Trim { aggregate, expected: None, before, parts: Vec::new(), index: Vec::new() };
            self.store.trim(trim).await?;
        }
        Ok(())
    }

    /// By the rule of `BlobDir`: first the candidates, then what refers to them, then those that nothing refers to.
    async fn collect_referred(&self, cutoffs: &Cutoffs, collected: &mut Collected) -> Result<(), RetentionError> {
        let before = cutoffs.now.saturating_sub(COLLECT_GRACE_MILLISECONDS);
        let artifacts = Arc::clone(&self.artifacts);
        let mut candidates = tokio::task::spawn_blocking(move || artifacts.stored_before(before)).await??;
        let pinned = match &self.pins {
            Some(pins) => pins.candidates(before).await?,
            None => Vec::new(),
        };
        if !candidates.is_empty() || self.pins.is_some() {
            let referred = references::all(&*self.store).await?;
            candidates.retain(|digest| !referred.artifacts.contains(digest.as_bytes()));
            if let Some(pins) = self.pins.as_ref().filter(|_| !referred.unread) {
                pins.remove(pinned, referred, before, collected).await?;
            }
            let artifacts = Arc::clone(&self.artifacts);
            let removed = tokio::task::spawn_blocking(move || artifacts.remove(&candidates, before)).await??;
            collected.add_removed(removed);
        }
        let artifacts = Arc::clone(&self.artifacts);
        let removed = tokio::task::spawn_blocking(move || artifacts.remove_blobs(before)).await??;
        collected.add_removed(removed);
        Ok(())
    }
}

impl Pins {
    async fn candidates(&self, before: u64) -> Result<Vec<Digest>, RetentionError> {
        let elsewhere = Arc::clone(&self.elsewhere);
        let candidates = tokio::task::spawn_blocking(move || elsewhere.candidates(before)).await?;
        candidates.map_err(RetentionError::Pinned)
    }

    async fn remove(
        &self,
        mut candidates: Vec<Digest>,
        referred: References,
        before: u64,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        candidates.retain(|digest| !referred.pins.contains(&digest.to_string()));
        let elsewhere = Arc::clone(&self.elsewhere);
        let removed = tokio::task::spawn_blocking(move || elsewhere.remove(candidates, before)).await?;
        let (pinned, bytes) = removed.map_err(RetentionError::Pinned)?;
        collected.pinned += pinned;
        collected.bytes += bytes;
        for account in referred.accounts {
            self.driver.forget_account_parts(account, GRANTS, referred.pins.clone(), before).await?;
        }
        Ok(())
    }
}

impl Collected {
    fn add_removed(&mut self, removed: Removed) {
        self.artifacts += removed.artifacts;
        self.blobs += removed.blobs;
        self.bytes += removed.bytes;
    }

    fn add_logs(&mut self, (files, bytes): (u64, u64)) {
        self.log_files += files;
        self.bytes += bytes;
    }
}
