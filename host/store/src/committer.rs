//! The one thread that writes to sled: it gathers the commits of many aggregates into a group, applies the group as one
//! batch, makes it durable, and only then answers.
//!
//! sled's own `flush` leaves data in the device's cache (it calls `sync_file_range`), so `sync_data` on an own handle of
//! the same file follows it. After a failed sync nobody knows what the disk holds: the thread ends, and with it the
//! store accepts nothing more. sled's transactions are not used: each pending one makes the next flush slower.

use super::layout::{Head, META_KEY, STORE_FORMAT};
use super::lease::Leases;
use super::prepared::Prepared;
use super::trim::{STEP_ROWS_MAX, Step};
use super::watch::Watchers;
use super::{Aggregate, CommitError, StoreError, rows};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// A group closes before the commit that would take it past this many rows: sled needs 0.4 ms for a batch of 100 and
/// 29 ms for one of 1,000.
const GROUP_OPERATIONS_MAX: usize = 256;
/// Heads kept in memory, about 100 bytes each; when there are more, all are forgotten and read again when needed.
const HEADS_MAX: usize = 65_536;

/// Free space on the store's file system below which it takes no more commits: enough for the largest group with all that
/// sled writes anew for it, for a write that fails halfway stops the store.
pub(super) const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;

pub(super) struct Request {
    pub(super) aggregate: Aggregate,
    pub(super) work: Work,
    /// The sequence after a commit, or how many rows a step took out.
    pub(super) answer: oneshot::Sender<Result<u64, CommitError>>,
}

pub(super) enum Work {
    Commit(Prepared),
    Step(Step),
}

impl Work {
    fn operations(&self) -> usize {
        match self {
            Self::Commit(prepared) => prepared.operations,
            Self::Step(_) => STEP_ROWS_MAX,
        }
    }
}

/// How many bytes are free for the store.
pub(super) type FreeBytes = Box<dyn Fn() -> io::Result<u64> + Send>;

pub(super) struct Committer {
    pub(super) tree: sled::Db,
    /// sled's data file, to sync it.
    pub(super) data: File,
    /// Holds the number of the last group that was acknowledged (see [`encode_acknowledged`]).
    pub(super) acknowledged: File,
    /// The number of the last group.
    pub(super) group: u64,
    pub(super) heads: HashMap<Aggregate, Head>,
    pub(super) free_bytes: FreeBytes,
    /// What was written since the store was opened: names and values of rows.
    pub(super) written_bytes: Arc<AtomicU64>,
    pub(super) leases: Arc<Leases>,
    pub(super) watchers: Arc<Watchers>,
    /// Why the committer ended, if it failed.
    pub(super) stopped: Arc<OnceLock<String>>,
}

/// Commits that become durable together; at most one of each aggregate, so that each was made from a durable state.
#[derive(Default)]
struct Group {
    batch: sled::Batch,
    operations: usize,
    bytes: u64,
    accepted: HashMap<Aggregate, Accepted>,
}

struct Accepted {
    head: Head,
    value: u64,
    is_commit: bool,
    answer: oneshot::Sender<Result<u64, CommitError>>,
}

impl Committer {
    /// Runs until every sender of the queue is gone, or writing fails.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| queue.blocking_recv()) {
            let mut group = Group::default();
            let outcome = self.gather(&mut group, first, &mut queue).and_then(|carried| {
                next = carried;
                match group.accepted.is_empty() {
                    true => Ok(()),
                    false => self.make_durable(std::mem::take(&mut group.batch)),
                }
            });
            self.written_bytes.fetch_add(group.bytes, Ordering::Relaxed);
            if let Err(reason) = outcome {
                // Set before the answers: who is told that the store stopped must find it stopped.
                let _ = self.stopped.set(reason.clone());
                for accepted in group.accepted.into_values() {
                    let _ = accepted.answer.send(Err(StoreError::Stopped { reason: reason.clone() }.into()));
                }
                return;
            }
            self.answer(group);
        }
    }

    /// Fills the group from the queue for as long as there is something to take, and returns what did not fit. The error
    /// is why nothing can be written any more.
    fn gather(
        &mut self,
        group: &mut Group,
        first: Request,
        queue: &mut mpsc::Receiver<Request>,
    ) -> Result<Option<Request>, String> {
        let full = self.full()?;
        let mut next = Some(first);
        while let Some(request) = next.take().or_else(|| queue.try_recv().ok()) {
            if let Some(full) = full.as_ref().filter(|full| full.refuses(&request.work)) {
                // Whoever dropped the receiver does not want to know.
                let _ = request.answer.send(Err(full.error()));
                // For the next one it is asked again.
                return Ok(None);
            }
            let is_full = group.operations + request.work.operations() > GROUP_OPERATIONS_MAX;
            let again = group.accepted.contains_key(&request.aggregate);
            if !group.accepted.is_empty() && (is_full || again) {
                return Ok(Some(request));
            }
            self.accept(group, request)?;
        }
        Ok(None)
    }

    /// Asked once for each group: a group is far smaller than the space that is kept free.
    fn full(&self) -> Result<Option<Full>, String> {
        let free_bytes = (self.free_bytes)().map_err(|error| format!("its free space cannot be read: {error}"))?;
        Ok((free_bytes < FREE_BYTES_MIN).then_some(Full { free_bytes }))
    }

    fn accept(&mut self, group: &mut Group, Request { aggregate, work, answer }: Request) -> Result<(), String> {
        let tree: &sled::Tree = &self.tree;
        let Group { batch, operations, bytes, accepted } = group;
        let head = match self.heads.get(&aggregate) {
            Some(head) => Ok(*head),
            None => rows::head(tree, aggregate),
        };
        *operations += work.operations();
        let is_commit = matches!(work, Work::Commit(_));
        let put = |key: &[u8], value: Option<&[u8]>| {
            *bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        };
        let written = head.map_err(CommitError::from).and_then(|head| match work {
            Work::Commit(prepared) => {
                self.leases.check(aggregate, prepared.fence)?;
                prepared.write(tree, head, put).map(|head| (head, head.sequence))
            }
            Work::Step(step) => step.write(tree, aggregate, head, put),
        });
        match written {
            Ok((head, value)) => {
                accepted.insert(aggregate, Accepted { head, value, is_commit, answer });
                Ok(())
            }
            Err(error) => {
                let reason = match &error {
                    CommitError::Store(StoreError::Stopped { reason }) => Err(reason.clone()),
                    _ => Ok(()),
                };
                // Whoever dropped the receiver does not want to know.
                let _ = answer.send(Err(error));
                reason
            }
        }
    }

    fn make_durable(&mut self, mut batch: sled::Batch) -> Result<(), String> {
        self.group += 1;
        batch.insert(META_KEY, &encode_meta(self.group));
        self.tree.apply_batch(batch).map_err(|error| format!("sled cannot write: {error}"))?;
        self.tree.flush().map_err(|error| format!("sled cannot flush: {error}"))?;
        self.data.sync_data().map_err(|error| format!("the data file cannot be synced: {error}"))?;
        self.acknowledged
            .write_all_at(&encode_acknowledged(self.group), 0)
            .map_err(|error| format!("the acknowledged group cannot be noted: {error}"))
    }

    fn answer(&mut self, group: Group) {
        if self.heads.len() + group.accepted.len() > HEADS_MAX {
            self.heads.clear();
        }
        for (aggregate, Accepted { head, value, is_commit, answer }) in group.accepted {
            self.heads.insert(aggregate, head);
            if is_commit {
                self.watchers.tell(aggregate, head.sequence);
            }
            let _ = answer.send(Ok(value));
        }
    }
}

/// The disk has too little space left.
struct Full {
    free_bytes: u64,
}

impl Full {
    /// Taking something out makes space in the end, but first it is written too.
    fn refuses(&self, work: &Work) -> bool {
        match work {
            Work::Commit(_) => true,
            Work::Step(_) => self.free_bytes < FREE_BYTES_MIN / 2,
        }
    }

    fn error(&self) -> CommitError {
        StoreError::Full { free_bytes: self.free_bytes, free_bytes_min: FREE_BYTES_MIN }.into()
    }
}

impl Drop for Committer {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.stopped.set("its committer panicked".to_owned());
        }
        self.watchers.close();
    }
}

pub(super) fn encode_meta(group: u64) -> [u8; 9] {
    let mut row = [STORE_FORMAT; 9];
    row[1..].copy_from_slice(&group.to_be_bytes());
    row
}

/// The format version and the number of the last group.
pub(super) fn decode_meta(row: &[u8]) -> Option<(u8, u64)> {
    let (format, group) = row.split_first()?;
    Some((*format, u64::from_be_bytes(group.try_into().ok()?)))
}

/// The number and its complement. Written after each sync and itself never synced, so it can lag behind the data (after
/// a power loss) but never lead it: data that is behind it was truncated.
fn encode_acknowledged(group: u64) -> [u8; 16] {
    let mut row = [0; 16];
    row[..8].copy_from_slice(&group.to_be_bytes());
    row[8..].copy_from_slice(&(!group).to_be_bytes());
    row
}

/// An empty file, as a new one is, acknowledges nothing.
pub(super) fn decode_acknowledged(row: &[u8]) -> Option<u64> {
    if row.is_empty() {
        return Some(0);
    }
    let (group, complement) = row.split_first_chunk()?;
    let group = u64::from_be_bytes(*group);
    (*complement == (!group).to_be_bytes()).then_some(group)
}
