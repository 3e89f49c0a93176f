//! The store: durable records of *aggregates* (a pipeline, an account), as keys and bytes.
//!
//! Owns what every backend promises: a commit is one record, atomic, at an expected sequence, and durable before it is
//! answered. It must not know what a pipeline is, nor what any of its bytes mean.
//!
//! A [`Commit`] changes parts of one aggregate, appends its events as one record to the aggregate's history, and puts the
//! index rows that derive from it. A record names the digest of its predecessor and of every part it changed, so a store
//! that was truncated or altered is noticed: by [`Store::load`] at its head, by [`Store::verify`] throughout.

mod committer;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod faults;
mod layout;
mod lease;
mod memory;
mod prepared;
mod recent;
mod restore;
mod rows;
mod sled;
mod trim;
mod watch;

use async_trait::async_trait;
use bytes::Bytes;
use pipewright_base::{Scope, hex};
use std::fmt;
use std::time::Duration;

pub use self::sled::{DirectoryLock, OpenError, SledStore};
pub use memory::MemoryStore;
pub use restore::{Restore, RestoreError};
pub use watch::Watcher;

/// Largest name of a part. Stops keys from crowding values out of a tree node.
pub const PART_NAME_BYTES_MAX: usize = 128;
/// Largest name of an index row.
pub const INDEX_NAME_BYTES_MAX: usize = 256;
/// Largest value of an index row: a row is what a list shows, not what it is about.
pub const INDEX_VALUE_BYTES_MAX: usize = 4096;
/// Largest part and largest event. The contract with callers is 64 KiB; this stops one that breaks it from filling memory.
pub const VALUE_BYTES_MAX: usize = 1024 * 1024;
/// Most bytes in one commit. A commit is never split, so everybody else's waits for it. The largest one ends every
/// execution of a pipeline of 50 stages at once, each with hundreds of actions.
pub const COMMIT_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Most parts, events and index rows in one commit, together; for the same reason. A record counts them in 16 bits.
pub const COMMIT_ENTRIES_MAX: usize = 65_535;
/// Most records or rows that one read returns, whatever limit was asked for.
pub const READ_ROWS_MAX: usize = 1000;
/// A read of history ends after the record that passes this many bytes.
pub const READ_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What a record belongs to: one pipeline, or one account.
///
/// `uid` is drawn at random when the aggregate is created and is never its name: delete and create again must not mix
/// histories. An account itself has the uid zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregate {
    /// The 12-digit account number.
    pub account: u64,
    pub uid: [u8; 16],
}

impl Aggregate {
    pub fn of_account(account: u64) -> Self {
        Self { account, uid: [0; 16] }
    }
}

impl fmt::Display for Aggregate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:012}/{:032x}", self.account, u128::from_be_bytes(self.uid))
    }
}

/// The name of one value of an aggregate, at most [`PART_NAME_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartKey {
    /// Part of the state: [`Store::load`] returns all of these.
    Live(Bytes),
    /// Kept for whoever asks by name with [`Store::get`], such as an execution that ended.
    Archived(Bytes),
}

/// The name of an index row within its account. Rows of one `kind` are listed in the order of their names.
///
/// A later commit of any aggregate of the account overwrites the row; what must be unique is decided by the account's own
/// aggregate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IndexKey {
    pub kind: u8,
    /// At most [`INDEX_NAME_BYTES_MAX`] bytes.
    pub name: Bytes,
}

/// Everything one step changes, to become one record.
#[derive(Clone, Debug)]
pub struct Commit {
    pub aggregate: Aggregate,
    /// The sequence the step was made from; 0 for an aggregate that does not exist yet.
    pub expected: u64,
    /// `None` deletes the part. Of two puts of one key the later counts.
    pub puts: Vec<(PartKey, Option<Bytes>)>,
    pub events: Vec<Bytes>,
    /// `None` deletes the row. Of two puts of one key the later counts.
    pub index: Vec<(IndexKey, Option<Bytes>)>,
    /// Of the lease under which it was decided; `None` for who writes what nobody has a lease on, such as a tool.
    pub fence: Option<u64>,
}

/// Who takes leases.
pub type Holder = [u8; 16];

/// The right to write an aggregate, for a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    pub aggregate: Aggregate,
    /// Later leases of the aggregate have higher ones.
    pub fence: u64,
}

/// Why there is no lease.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// Try again when it may have expired.
    #[error("another host writes {aggregate}")]
    Held { aggregate: Aggregate },
    /// Whoever took it has decided since: load again.
    #[error("the lease of {aggregate} has expired, and another host took it")]
    Lost { aggregate: Aggregate },
    #[error(transparent)]
    Store(#[from] StoreError),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// 0 where nothing was ever committed.
    pub sequence: u64,
    /// The live parts, in the order of their names.
    pub parts: Vec<(PartKey, Bytes)>,
}

/// SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// The checksum of a part: 16 bytes of a SHA-256 that covers its name too.
pub type PartDigest = [u8; 16];

/// One entry of an aggregate's history: what one commit appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// 1 for the first.
    pub sequence: u64,
    /// The digest of the record before; all zero for the first.
    pub previous: Digest,
    pub digest: Digest,
    /// The parts that the commit put, each with its checksum, or deleted.
    pub changes: Vec<(PartKey, Option<PartDigest>)>,
    pub events: Vec<Bytes>,
}

/// What is to be taken out of an aggregate for good.
#[derive(Clone, Debug)]
pub struct Trim {
    pub aggregate: Aggregate,
    /// Parts and rows go only while the aggregate is at this sequence, where one is given.
    pub expected: Option<u64>,
    /// Records before this sequence go; none where it is 0. The last record always stays.
    pub before: u64,
    pub parts: Vec<PartKey>,
    /// Rows of the aggregate's account.
    pub index: Vec<IndexKey>,
}

/// An aggregate as it is at one sequence, apart from what does not change: its records, and the archived parts that were
/// put before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// The last sequence and the digest of its record.
    pub sequence: u64,
    pub digest: Digest,
    /// The last sequence whose record is no longer kept, and its digest; 0 where all are.
    pub trimmed: u64,
    pub trimmed_digest: Digest,
    pub live: Vec<(PartKey, Bytes)>,
    /// The archived parts that changed since the sequence that was asked for; `None` for one that is gone.
    pub archived: Vec<(PartKey, Option<Bytes>)>,
    /// Parts that were taken out by a [`Trim`], and at which sequence, where a kept record may still name them.
    pub taken: Vec<(u64, PartKey)>,
}

/// Which index rows to list: those of `kind` whose names start with `prefix`, after the name `after`.
#[derive(Clone, Debug, Default)]
pub struct List {
    pub account: u64,
    pub kind: u8,
    pub prefix: Bytes,
    pub after: Option<Bytes>,
    /// At most [`READ_ROWS_MAX`] rows are returned, whatever this says.
    pub limit: usize,
}

/// What [`Store::verify`] walked without finding fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    pub aggregates: u64,
    pub records: u64,
    pub parts: u64,
}

/// Why a read gave no answer, or nothing could be written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store does not hold what was committed to it. Nothing that is still there can be trusted to go on from.
    #[error("the store is damaged at {place}: {problem}; restore its directory from a backup")]
    Damaged { place: String, problem: String },
    /// Writing or reading failed and the store no longer accepts anything: what the disk holds is known again only after
    /// it was opened anew.
    #[error("the store has stopped: {reason}; mend the cause and start again")]
    Stopped { reason: String },
    /// Nothing was written. The same commit succeeds once there is space again.
    #[error(
        "the disk is full: {free_bytes} bytes are free for the store, which stops at {free_bytes_min} so that it can go on; \
         make space, and try again"
    )]
    Full { free_bytes: u64, free_bytes_min: u64 },
}

/// Why nothing was committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    /// Somebody else committed first: load again and decide again.
    #[error("{aggregate} is at sequence {actual}, not at {expected}")]
    Conflict { aggregate: Aggregate, expected: u64, actual: u64 },
    /// Somebody else may write it now, whatever was written since.
    #[error("the lease under which {aggregate} was to be written is no longer held")]
    Fenced { aggregate: Aggregate },
    #[error("{what} of {aggregate} is {size}, over the limit of {size_max}")]
    TooLarge { aggregate: Aggregate, what: &'static str, size: usize, size_max: usize },
    /// After `Stopped` alone it is open whether the commit is on disk: opening the store again tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl StoreError {
    /// What it ends.
    pub fn scope(&self) -> Scope {
        match self {
            // What is read belongs to one aggregate; a store that as a whole lacks what it acknowledged does not open.
            Self::Damaged { .. } => Scope::Pipeline,
            Self::Stopped { .. } => Scope::Host,
            Self::Full { .. } => Scope::Request,
        }
    }
}

impl CommitError {
    /// What it ends.
    pub fn scope(&self) -> Scope {
        match self {
            // Another writer has the aggregate: what is decided here counts for nothing.
            Self::Conflict { .. } | Self::Fenced { .. } => Scope::Pipeline,
            Self::TooLarge { .. } => Scope::Request,
            Self::Store(error) => error.scope(),
        }
    }
}

/// What every backend keeps. One conformance suite (`conformance.rs`) runs on all of them.
#[async_trait]
pub trait Store: Send + Sync {
    /// The live parts of an aggregate, all of one sequence. Checks the head of its chain and the digest of each part.
    async fn load(&self, aggregate: Aggregate) -> Result<Loaded, StoreError>;

    /// Commits one record and returns its sequence, `expected + 1`, once it is durable. Refused where it names a fence that is not
    /// the one of the aggregate's lease.
    ///
    /// Dropping the future takes nothing back: the commit may still happen. Waits while too many commits are queued.
    async fn commit(&self, commit: Commit) -> Result<u64, CommitError>;

    /// Takes the right to write an aggregate for `term`: at once where nobody has it, where the one who had it let it expire, or
    /// where `holder` has it already and takes it anew. From then on no commit under an earlier lease of it is accepted.
    async fn acquire(&self, aggregate: Aggregate, holder: Holder, term: Duration) -> Result<Lease, LeaseError>;

    /// Holds a lease for `term` from now on; also one that has expired, if nobody took it.
    async fn renew(&self, lease: Lease, term: Duration) -> Result<(), LeaseError>;

    /// Gives a lease back. One that was lost is not given back again.
    async fn release(&self, lease: Lease) -> Result<(), StoreError>;

    /// One part, live or archived.
    async fn get(&self, aggregate: Aggregate, key: &PartKey) -> Result<Option<Bytes>, StoreError>;

    /// The records from sequence `from` on, in order and each checked, at most `limit`, [`READ_ROWS_MAX`] and about
    /// [`READ_BYTES_MAX`]. None are left exactly when the answer is empty. Starts later where records were trimmed.
    async fn history(&self, aggregate: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, StoreError>;

    /// Index rows in the order of their names, each with its value. None are left exactly when the answer is empty.
    async fn list(&self, list: List) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// Tells of each durable commit: of one aggregate, of an account's own and all others of the account, or of all. To miss
    /// none: watch first, then read, then wait.
    fn watch(&self, aggregate: Option<Aggregate>) -> Watcher;

    /// Walks every record and every part of every aggregate. Index rows derive from records and are not walked.
    async fn verify(&self) -> Result<Verified, StoreError>;

    /// The aggregates after one, of all accounts, in the order of accounts and uids, at most `limit` and
    /// [`READ_ROWS_MAX`]. None are left exactly when the answer is empty.
    async fn aggregates(&self, after: Option<Aggregate>, limit: usize) -> Result<Vec<Aggregate>, StoreError>;

    /// The archived parts after the name `after`, in the order of their names, at most `limit`, [`READ_ROWS_MAX`] and
    /// about [`READ_BYTES_MAX`]. None are left exactly when the answer is empty.
    async fn archived(
        &self,
        aggregate: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError>;

    /// All of one sequence, with the archived parts that changed since another.
    async fn snapshot(&self, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError>;

    /// Takes records, parts and rows out, in steps between other commits (`trim.rs`). Returns how many rows of the
    /// backend went. What a crash leaves undone the next trim of the aggregate does.
    ///
    /// A part that is put again meanwhile may be taken out: name the sequence that the decision was made from, unless
    /// nobody will put it. Its record and everything before it stay verifiable.
    async fn trim(&self, trim: Trim) -> Result<u64, CommitError>;

    /// Takes out a whole aggregate, as if nothing had ever been committed to it, in steps as [`Store::trim`] does. Its
    /// index rows stay. Nobody may commit to it any more; what a crash leaves undone is done by calling it again, and
    /// until then the aggregate is still found by [`Store::aggregates`].
    async fn erase(&self, aggregate: Aggregate) -> Result<u64, CommitError>;
}
