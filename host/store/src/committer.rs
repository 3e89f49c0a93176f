//! What writes to sled: it gathers the commits of many aggregates into a group, applies the group as one batch, makes it
//! durable, and only then answers.
//!
//! A thread of its own does so while there are several; a commit that comes alone is made by whoever asks for it, for to
//! wake that thread and to be woken by it takes longer than all that it would do.
//!
//! sled's own `flush` leaves data in the device's cache (it calls `sync_file_range`), so `sync_data` on an own handle of
//! the same file follows it. After a failed sync nobody knows what the disk holds: the committer stops, and with it the
//! store accepts nothing more. sled's transactions are not used: each pending one makes the next flush slower.

use super::layout::{self, Head, META_KEY, PREFIX_BYTES, STORE_FORMAT};
use super::lease::Leases;
use super::prepared::{Prepared, further_chunks_stored};
use super::recent::Recent;
use super::trim::{STEP_ROWS_MAX, Step};
use super::watch::Watchers;
use super::{Aggregate, CommitError, Record, StoreError, rows};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use tokio::sync::{mpsc, oneshot};

/// A group closes before the commit that would take it past this many rows: sled needs 0.4 ms for a batch of 100 and
/// 29 ms for one of 1,000.
const GROUP_OPERATIONS_MAX: usize = 256;
/// Aggregates of which something is kept in memory, about 150 bytes each; when there are more, all are forgotten and read
/// again when needed.
const KNOWN_MAX: usize = 65_536;

/// Free space on the store's file system below which it takes no more commits: enough for the largest group with all that
/// sled writes anew for it, for a write that fails halfway stops the store.
pub(super) const FREE_BYTES_MIN: u64 = 128 * 1024 * 1024;

/// After so many groups of a single commit the next one is taken to come alone.
const ALONE_GROUPS_MIN: u32 = 16;

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
    pub(super) known: HashMap<Aggregate, Known>,
    pub(super) free_bytes: FreeBytes,
    /// What was written since the store was opened: names and values of rows.
    pub(super) written_bytes: Arc<AtomicU64>,
    pub(super) recent: Arc<Recent>,
    pub(super) leases: Arc<Leases>,
    pub(super) watchers: Arc<Watchers>,
    /// Why the committer ended, if it failed.
    pub(super) stopped: Arc<OnceLock<String>>,
}

/// What is known of an aggregate, so that a commit need not read it.
#[derive(Default)]
pub(super) struct Known {
    head: Head,
    /// The keys of the live parts that have further chunks, and how many; none before the first commit, and after something
    /// was taken out.
    long: Option<HashMap<Vec<u8>, u16>>,
}

impl Known {
    /// How many further chunks the part at this key has now, which is to have `next`. Only archived parts are looked up:
    /// they are many, and seldom written.
    fn replace(&mut self, tree: &sled::Tree, key: &[u8], next: u16) -> Result<u16, StoreError> {
        match &mut self.long {
            Some(long) if key[PREFIX_BYTES] == layout::LIVE => Ok(match next {
                0 => long.remove(key),
                _ => long.insert(key.to_vec(), next),
            }
            .unwrap_or(0)),
            _ => further_chunks_stored(tree, key),
        }
    }
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
    known: Known,
    value: u64,
    /// Of a commit.
    record: Option<Record>,
    answer: oneshot::Sender<Result<u64, CommitError>>,
}

/// The committer, and whether commits come alone.
pub(super) struct Desk {
    committer: Mutex<Committer>,
    /// How many of the last groups had one commit, and nobody waited for the committer.
    alone: AtomicU32,
    /// After how many such groups the next commit is taken to come alone. Never on a single core: whoever commits holds up
    /// its thread until the disk has answered, and there would be no other one to show that more has come.
    alone_min: u32,
}

impl Desk {
    pub(super) fn new(committer: Committer) -> Self {
        let several = thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
        let alone_min = if several { ALONE_GROUPS_MIN } else { u32::MAX };
        Self { committer: Mutex::new(committer), alone: AtomicU32::new(0), alone_min }
    }

    /// Runs until every sender of the queue is gone, or writing fails.
    pub(super) fn run(&self, mut queue: mpsc::Receiver<Request>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| queue.blocking_recv()) {
            let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner);
            match self.group(committer, first, || queue.try_recv().ok()) {
                Some(carried) => next = carried,
                None => return,
            }
        }
    }

    /// Commits what comes alone, before it returns; gives back what is for the thread.
    pub(super) fn take(&self, request: Request) -> Option<Request> {
        if self.alone.load(Ordering::Relaxed) < self.alone_min {
            return Some(request);
        }
        let Ok(committer) = self.committer.try_lock() else {
            // Whoever comes next must not be before those that wait.
            self.alone.store(0, Ordering::Relaxed);
            return Some(request);
        };
        self.group(committer, request, || None);
        None
    }

    /// Makes a group durable and answers it. Gives what is for the next one, or nothing where the store stopped.
    fn group(
        &self,
        mut committer: MutexGuard<Committer>,
        first: Request,
        more: impl FnMut() -> Option<Request>,
    ) -> Option<Option<Request>> {
        if committer.stopped.get().is_some() {
            return None;
        }
        let done = panic::catch_unwind(AssertUnwindSafe(|| committer.group(first, more)));
        match done.unwrap_or_else(|_| Err("its committer panicked".to_owned())) {
            Ok((commits, carried)) => {
                match commits {
                    0..=1 => self.alone.fetch_add(1, Ordering::Relaxed),
                    _ => self.alone.swap(0, Ordering::Relaxed),
                };
                Some(carried)
            }
            Err(reason) => {
                // It is set already unless it panicked.
                let _ = committer.stopped.set(reason);
                committer.watchers.close();
                None
            }
        }
    }
}

impl Committer {
    /// How many commits it had, and what did not fit. The error is why nothing can be written any more.
    fn group(
        &mut self,
        first: Request,
        more: impl FnMut() -> Option<Request>,
    ) -> Result<(usize, Option<Request>), String> {
        let mut group = Group::default();
        let gathered = self.gather(&mut group, first, more);
        let outcome = gathered.and_then(|carried| {
            if !group.accepted.is_empty() {
                self.make_durable(std::mem::take(&mut group.batch))?;
            }
            Ok((group.accepted.len(), carried))
        });
        self.written_bytes.fetch_add(group.bytes, Ordering::Relaxed);
        match &outcome {
            Ok(_) => self.answer(group),
            Err(reason) => {
                // Set before the answers: who is told that the store stopped must find it stopped.
                let _ = self.stopped.set(reason.clone());
                for accepted in group.accepted.into_values() {
                    let _ = accepted.answer.send(Err(StoreError::Stopped { reason: reason.clone() }.into()));
                }
            }
        }
        outcome
    }

    /// Fills the group for as long as there is something to take, and returns what did not fit.
    fn gather(
        &mut self,
        group: &mut Group,
        first: Request,
        mut more: impl FnMut() -> Option<Request>,
    ) -> Result<Option<Request>, String> {
        let full = self.full()?;
        let mut next = Some(first);
        while let Some(request) = next.take().or_else(&mut more) {
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
        *operations += work.operations();
        let put = |key: &[u8], value: Option<&[u8]>| {
            *bytes += (key.len() + value.map_or(0, <[u8]>::len)) as u64;
            match value {
                Some(value) => batch.insert(key, value),
                None => batch.remove(key),
            }
        };
        let known = match self.known.remove(&aggregate) {
            Some(known) => Ok(known),
            None => rows::head(tree, aggregate).map(|head| Known { head, long: None }),
        };
        let written = match work {
            Work::Commit(prepared) => known.map_err(CommitError::from).and_then(|known| {
                self.leases.check(aggregate, prepared.fence)?;
                commit(tree, aggregate, known, prepared, put)
            }),
            Work::Step(step) => {
                let head = step.head(known.map(|known| known.head));
                head.map_err(CommitError::from).and_then(|head| {
                    let (head, value) = step.write(tree, aggregate, head, put)?;
                    Ok((Known { head, long: None }, value, None))
                })
            }
        };
        match written {
            Ok((known, value, record)) => {
                accepted.insert(aggregate, Accepted { known, value, record, answer });
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
        if self.known.len() + group.accepted.len() > KNOWN_MAX {
            self.known.clear();
        }
        for (aggregate, Accepted { known, value, record, answer }) in group.accepted {
            match record {
                None => self.recent.forget(aggregate),
                Some(record) => {
                    self.recent.keep(aggregate, record);
                    self.watchers.tell(aggregate, known.head.sequence);
                }
            }
            self.known.insert(aggregate, known);
            let _ = answer.send(Ok(value));
        }
    }
}

fn commit(
    tree: &sled::Tree,
    aggregate: Aggregate,
    mut known: Known,
    prepared: Prepared,
    put: impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(Known, u64, Option<Record>), CommitError> {
    if known.long.is_none() {
        known.long = Some(rows::long_parts(tree, aggregate)?);
    }
    let (head, record) = prepared.write(known.head, |key, next| known.replace(tree, key, next), put)?;
    Ok((Known { head, ..known }, head.sequence, Some(record)))
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
