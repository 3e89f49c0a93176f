//! The store that keeps everything in memory, for tests and for runs whose state nobody wants afterwards. Durable means
//! here: as long as the value lives.

use super::layout::Head;
use super::lease::Leases;
use super::prepared::{Prepared, further_chunks_stored};
use super::rows::{self, Rows};
use super::trim::{self, Step};
use super::watch::{Watcher, Watchers};
use super::{
    Aggregate, Commit, CommitError, Holder, Lease, LeaseError, List, Loaded, PartKey, Record, Snapshot, Store,
    StoreError, Trim, Verified,
};
use async_trait::async_trait;
use bytes::Bytes;
use pipewright_base::clock::{self, Clock};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

pub struct MemoryStore {
    rows: Mutex<Map>,
    watchers: Arc<Watchers>,
    leases: Leases,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::on(clock::system())
    }
}

impl MemoryStore {
    /// By whose time leases expire.
    pub fn on(clock: Arc<dyn Clock>) -> Self {
        Self { rows: Mutex::default(), watchers: Arc::default(), leases: Leases::new(clock) }
    }

    /// Nothing of a commit is applied before all of it is known, so the map is whole even after a panic.
    pub(super) fn rows(&self) -> MutexGuard<'_, Map> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Applies all that `write` puts, or nothing if it fails.
    fn apply<T>(
        &self,
        aggregate: Aggregate,
        write: impl FnOnce(&Map, Result<Head, StoreError>, &mut dyn FnMut(&[u8], Option<&[u8]>)) -> Result<T, CommitError>,
    ) -> Result<T, CommitError> {
        let mut map = self.rows();
        let head = rows::head(&*map, aggregate);
        let mut batch = Vec::new();
        let written = write(&map, head, &mut |key, value| batch.push((key.to_vec(), value.map(<[u8]>::to_vec))))?;
        for (key, value) in batch {
            match value {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
        Ok(written)
    }

    fn take_out(&self, aggregate: Aggregate, steps: Vec<Step>) -> Result<u64, CommitError> {
        let mut gone = 0;
        for step in steps {
            loop {
                let (_, taken) = self.apply(aggregate, |map, head, put| {
                    let head = step.head(head)?;
                    step.clone().write(map, aggregate, head, put)
                })?;
                gone += taken;
                if taken == 0 || !step.is_repeated() {
                    break;
                }
            }
        }
        Ok(gone)
    }
}

impl Rows for Map {
    type Value = Vec<u8>;

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.get(key).cloned())
    }

    fn scan(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for (key, value) in self.range(from.to_vec()..) {
            if !visit(key, value)? {
                break;
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn load(&self, aggregate: Aggregate) -> Result<Loaded, StoreError> {
        rows::load(&*self.rows(), aggregate)
    }

    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let aggregate = commit.aggregate;
        let fence = commit.fence;
        let prepared = Prepared::new(commit)?;
        let after = self.apply(aggregate, |map, head, put| {
            self.leases.check(aggregate, fence)?;
            prepared.write(head?, |key, _| further_chunks_stored(map, key), put).map(|(head, _)| head)
        })?;
        self.watchers.tell(aggregate, after.sequence);
        Ok(after.sequence)
    }

    async fn acquire(&self, aggregate: Aggregate, holder: Holder, term: Duration) -> Result<Lease, LeaseError> {
        // No commit is half done meanwhile.
        let _rows = self.rows();
        self.leases.acquire(aggregate, holder, term)
    }

    async fn renew(&self, lease: Lease, term: Duration) -> Result<(), LeaseError> {
        self.leases.renew(lease, term)
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.leases.release(lease);
        Ok(())
    }

    async fn get(&self, aggregate: Aggregate, key: &PartKey) -> Result<Option<Bytes>, StoreError> {
        rows::get(&*self.rows(), aggregate, key)
    }

    async fn history(&self, aggregate: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        rows::history(&*self.rows(), aggregate, from, limit)
    }

    async fn list(&self, list: List) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        rows::list(&*self.rows(), &list)
    }

    fn watch(&self, aggregate: Option<Aggregate>) -> Watcher {
        self.watchers.watch(aggregate)
    }

    async fn verify(&self) -> Result<Verified, StoreError> {
        rows::verify(&*self.rows())
    }

    async fn aggregates(&self, after: Option<Aggregate>, limit: usize) -> Result<Vec<Aggregate>, StoreError> {
        rows::aggregates(&*self.rows(), after, limit)
    }

    async fn archived(
        &self,
        aggregate: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        rows::archived(&*self.rows(), aggregate, after.as_ref(), limit)
    }

    async fn snapshot(&self, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError> {
        rows::snapshot(&*self.rows(), aggregate, since)
    }

    async fn trim(&self, trim: Trim) -> Result<u64, CommitError> {
        self.take_out(trim.aggregate, trim::steps(trim))
    }

    async fn erase(&self, aggregate: Aggregate) -> Result<u64, CommitError> {
        self.take_out(aggregate, vec![Step::Erase])
    }
}

impl Drop for MemoryStore {
    fn drop(&mut self) {
        self.watchers.close();
    }
}
