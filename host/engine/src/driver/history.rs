//! What happened, and lists of it, for whoever asks: history as events, the rows of the index, and word of what is new.
//!
//! Owns the way from the store to those who read. Must not know what they do with it.

use bytes::Bytes;

use super::rows::{Row, Walk};
use super::{Driver, DriverError, Entry};
use pipewright_store::{Aggregate, READ_ROWS_MAX, Watcher};

impl Driver {
    /// What a pipeline's commits told, from the sequence `from` on, at most `limit` of them. None are left exactly when the
    /// answer is empty. Starts later where retention has been.
    pub async fn history(&self, pipeline: Aggregate, from: u64, limit: usize) -> Result<Vec<Entry>, DriverError> {
        self.0.store.history(pipeline, from, limit).await?.iter().map(Entry::read).collect()
    }

    /// What one commit told; none where it was collected.
    pub async fn entry(&self, pipeline: Aggregate, sequence: u64) -> Result<Option<Entry>, DriverError> {
        let found = self.history(pipeline, sequence, 1).await?.pop();
        Ok(found.filter(|entry| entry.sequence == sequence))
    }

    /// The sequence of a pipeline's last commit; 0 where there is none.
    pub async fn sequence(&self, pipeline: Aggregate) -> Result<u64, DriverError> {
        Ok(self.0.store.load(pipeline).await?.sequence)
    }

    /// Tells of each durable commit, of one pipeline or of all. To miss none: watch first, then read, then wait.
    pub fn watch(&self, pipeline: Option<Aggregate>) -> Watcher {
        self.0.store.watch(pipeline)
    }

    /// The first sequence whose events happened at a time or later, or the one after the last. Times do not go back within a
    /// pipeline, but for a clock that was set.
    pub async fn first_since(&self, pipeline: Aggregate, since: u64) -> Result<u64, DriverError> {
        let (mut low, mut high) = (1, self.sequence(pipeline).await? + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // Records that were collected are older than all that are left.
            let entry = self.entry(pipeline, middle).await?;
            match entry.is_none_or(|entry| entry.at.is_none_or(|at| at.0 < since)) {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// Rows of an account's index, in the order of their names: those of a prefix, after a name.
    pub fn walk<R: Row>(&self, account: u64, prefix: Bytes, after: Option<Bytes>) -> Walk<'_, R> {
        Walk::new(&*self.0.store, account, prefix, after)
    }

    /// Rows of an account's index as [`Driver::walk`] gives them: as many as there are, at most `limit`.
    pub async fn rows<R: Row>(
        &self,
        account: u64,
        prefix: Bytes,
        mut after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<R>, DriverError> {
        let mut found = Vec::<R>::new();
        while found.len() < limit {
            let wanted = READ_ROWS_MAX.min(limit - found.len());
            let page = self.walk::<R>(account, prefix.clone(), after.take()).by(wanted).page().await?;
            let is_last = page.len() < wanted;
            after = page.last().map(R::name);
            found.extend(page);
            if is_last {
                break;
            }
        }
        Ok(found)
    }
}
