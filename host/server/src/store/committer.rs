//! The one thread that writes to sled: it gathers the commits of many aggregates into a group, applies the group as one
//! batch, makes it durable, and only then answers.
//!
//! sled's own `flush` leaves data in the device's cache (it calls `sync_file_range`), so `sync_data` on an own handle of
//! the same file follows it. After a failed sync nobody knows what the disk holds: the thread ends, and with it the
//! store accepts nothing more. sled's transactions are not used: each pending one makes the next flush slower.

use super::layout::{FORMAT, Head, META_KEY};
use super::prepared::Prepared;
use super::watch::Watchers;
use super::{Aggregate, CommitError, StoreError, rows};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, OnceLock};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// A group closes before the commit that would take it past this many rows: sled needs 0.4 ms for a batch of 100 and
/// 29 ms for one of 1,000.
const GROUP_OPERATIONS_MAX: usize = 256;
/// Heads kept in memory, about 100 bytes each; when there are more, all are forgotten and read again when needed.
const HEADS_MAX: usize = 65_536;

pub(super) struct Request {
    pub(super) prepared: Prepared,
    pub(super) answer: oneshot::Sender<Result<u64, CommitError>>,
}

pub(super) struct Committer {
    pub(super) tree: sled::Db,
    /// sled's data file, to sync it.
    pub(super) data: File,
    /// Holds the number of the last group that was acknowledged (see [`encode_acknowledged`]).
    pub(super) acknowledged: File,
    /// The number of the last group.
    pub(super) group: u64,
    pub(super) heads: HashMap<Aggregate, Head>,
    pub(super) watchers: Arc<Watchers>,
    /// Why the committer ended, if it failed.
    pub(super) stopped: Arc<OnceLock<String>>,
}

/// Commits that become durable together; at most one of each aggregate, so that each was made from a durable state.
#[derive(Default)]
struct Group {
    batch: sled::Batch,
    operations: usize,
    accepted: HashMap<Aggregate, Accepted>,
}

struct Accepted {
    head: Head,
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
                self.make_durable(std::mem::take(&mut group.batch))
            });
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
        let mut next = Some(first);
        while let Some(request) = next.take().or_else(|| queue.try_recv().ok()) {
            let full = group.operations + request.prepared.operations > GROUP_OPERATIONS_MAX;
            let again = group.accepted.contains_key(&request.prepared.aggregate);
            if !group.accepted.is_empty() && (full || again) {
                return Ok(Some(request));
            }
            self.accept(group, request)?;
        }
        Ok(None)
    }

    fn accept(&mut self, group: &mut Group, Request { prepared, answer }: Request) -> Result<(), String> {
        let (aggregate, operations) = (prepared.aggregate, prepared.operations);
        let tree: &sled::Tree = &self.tree;
        let written = match self.heads.get(&aggregate) {
            Some(head) => Ok(*head),
            None => rows::head(tree, aggregate),
        }
        .map_err(CommitError::from)
        .and_then(|head| {
            prepared.write(tree, head, |key, value| match value {
                Some(value) => group.batch.insert(key, value),
                None => group.batch.remove(key),
            })
        });
        match written {
            Ok(head) => {
                group.operations += operations;
                group.accepted.insert(aggregate, Accepted { head, answer });
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
        for (aggregate, Accepted { head, answer }) in group.accepted {
            self.heads.insert(aggregate, head);
            self.watchers.tell(aggregate, head.sequence);
            let _ = answer.send(Ok(head.sequence));
        }
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

fn encode_meta(group: u64) -> [u8; 9] {
    let mut row = [FORMAT; 9];
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
