//! Pipelines that stopped because of an error of their own, each with its reason: kept in memory, and found again by the
//! next start, for whoever loads one meets the same error.
//!
//! Owns what can be done with one: to be told, to be loaded again, to be deleted though its state cannot be read. Must not
//! know why a pipeline stopped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use pipewright_base::{Cause, Scope};
use pipewright_store::{Aggregate, IndexKey, List, READ_ROWS_MAX, Store, Trim};

use super::actor::Message;
use super::rows::{Kind, PipelineRow};
use super::{Driver, DriverError, Shared};

/// Of more, some are forgotten, and found again when somebody asks for them. Stops a damaged disk from filling memory.
const QUARANTINED_COUNT_MAX: usize = 10_000;
/// A longer reason is cut. Stops one that quotes what it could not read from filling memory.
const REASON_CHARS_MAX: usize = 1000;

#[derive(Default)]
pub(super) struct Quarantine(Mutex<HashMap<Aggregate, Arc<str>>>);

impl Quarantine {
    pub(super) fn reason(&self, pipeline: Aggregate) -> Option<Arc<str>> {
        self.0.lock().expect("no panic while held").get(&pipeline).cloned()
    }

    fn put(&self, pipeline: Aggregate, error: &DriverError) -> Arc<str> {
        let mut quarantined = self.0.lock().expect("no panic while held");
        if quarantined.len() >= QUARANTINED_COUNT_MAX
            && let Some(some) = quarantined.keys().next().copied()
        {
            quarantined.remove(&some);
        }
        let reason = || error.to_string().chars().take(REASON_CHARS_MAX).collect::<String>().into();
        Arc::clone(quarantined.entry(pipeline).or_insert_with(reason))
    }

    fn count(&self) -> usize {
        self.0.lock().expect("no panic while held").len()
    }

    fn take(&self, pipeline: Aggregate) -> bool {
        self.0.lock().expect("no panic while held").remove(&pipeline).is_some()
    }
}

impl Shared {
    /// An error ends a pipeline, or the host: its actor does nothing any more, and whoever asks next finds no actor. Gives what
    /// is told from now on.
    pub(super) fn end(&self, pipeline: Aggregate, error: &DriverError) -> DriverError {
        let told = self.told(pipeline, error);
        self.actors.lock().expect("no panic while held").remove(&pipeline);
        told
    }

    fn told(&self, pipeline: Aggregate, error: &DriverError) -> DriverError {
        match error {
            DriverError::Store(store) if store.scope() == Scope::Host => {
                let is_first = self.failed.send_if_modified(|failed| {
                    let is_first = failed.is_none();
                    failed.get_or_insert_with(|| store.clone());
                    is_first
                });
                if is_first {
                    tracing::error!(%pipeline, "the host stops: {store}");
                }
                DriverError::Store(store.clone())
            }
            error => {
                if self.quarantine.reason(pipeline).is_none() {
                    let name = self.accounts.name_of(pipeline).unwrap_or_else(|| "without a name".to_owned());
                    tracing::error!(%pipeline, "the pipeline {name} is quarantined: {error}");
                }
                DriverError::Quarantined(self.quarantine.put(pipeline, error))
            }
        }
    }
}

impl Driver {
    /// Why a pipeline is quarantined, if it is.
    pub fn quarantined(&self, pipeline: Aggregate) -> Option<Arc<str>> {
        self.0.quarantine.reason(pipeline)
    }

    /// How many pipelines are quarantined.
    pub fn quarantined_count(&self) -> usize {
        self.0.quarantine.count()
    }

    /// Loads a quarantined pipeline anew, and lets go on what was interrupted: succeeds once the cause is mended. Of one
    /// that is not quarantined, nothing changes.
    pub async fn reload(&self, pipeline: Aggregate) -> Result<(), DriverError> {
        match self.0.quarantine.take(pipeline) {
            true => self.ask(pipeline, |reply| Message::Resume { died: false, reply }).await,
            false => Ok(()),
        }
    }

    /// Deletes a pipeline whose own actor cannot: all that the store has of it, and its name last, so that what a crash
    /// leaves undone is done by deleting it again. Its logs and artifacts go as those do that nothing refers to.
    pub(super) async fn delete_quarantined(
        &self,
        pipeline: Aggregate,
        name: &str,
        cause: &Cause,
    ) -> Result<(), DriverError> {
        let store = &*self.0.store;
        take(store, pipeline.account, vec![PipelineRow::key_of(name)]).await?;
        erase(store, pipeline).await?;
        self.rename(pipeline.account, name, Some(pipeline), None, cause).await?;
        self.0.quarantine.take(pipeline);
        Ok(())
    }
}

/// Takes out all that the store has of a pipeline but its name and its row in the list of pipelines, without reading what
/// its parts and records say.
pub(crate) async fn erase(store: &dyn Store, pipeline: Aggregate) -> Result<(), DriverError> {
    for kind in OF_ONE {
        while let Some(rows) = rows(store, pipeline, kind, &pipeline.uid, None).await? {
            take(store, pipeline.account, rows).await?;
        }
    }
    for (kind, uid_at) in [(Kind::Artifacts, 32), (Kind::Events, 8)] {
        let mut after = None;
        while let Some(rows) = rows(store, pipeline, kind, &[], after.take()).await? {
            after = rows.last().map(|row| row.name.clone());
            let is_own = |row: &IndexKey| row.name.get(uid_at..).is_some_and(|rest| rest.starts_with(&pipeline.uid));
            take(store, pipeline.account, rows.into_iter().filter(is_own).collect()).await?;
        }
    }
    store.erase(pipeline).await?;
    Ok(())
}

/// The kinds of rows whose names begin with the pipeline's uid.
const OF_ONE: [Kind; 8] = [
    Kind::Executions,
    Kind::Actions,
    Kind::ActionsOf,
    Kind::Rules,
    Kind::RulesOf,
    Kind::Due,
    Kind::Polled,
    Kind::Tokens,
];

/// A page of rows; none where there are no more.
async fn rows(
    store: &dyn Store,
    pipeline: Aggregate,
    kind: Kind,
    prefix: &[u8],
    after: Option<Bytes>,
) -> Result<Option<Vec<IndexKey>>, DriverError> {
    let prefix = Bytes::copy_from_slice(prefix);
    let list = List { account: pipeline.account, kind: kind as u8, prefix, after, limit: READ_ROWS_MAX };
    let rows = store.list(list).await?;
    let keys: Vec<_> = rows.into_iter().map(|(name, _)| IndexKey { kind: kind as u8, name }).collect();
    Ok((!keys.is_empty()).then_some(keys))
}

async fn take(store: &dyn Store, account: u64, index: Vec<IndexKey>) -> Result<(), DriverError> {
    let aggregate = Aggregate::of_account(account);
    store.trim(Trim { aggregate, expected: None, before: 0, parts: Vec::new(), index }).await?;
    Ok(())
}
