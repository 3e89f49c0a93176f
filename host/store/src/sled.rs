//! The store in a directory of its own, on sled 0.34: opening and locking it, reading from it. Writing is `committer.rs`.
//!
//! Reads run on the blocking pool and see a commit a moment before it is durable; watchers and whoever committed are
//! told only afterwards.

use super::committer::{self, Committer, Desk, FreeBytes, Request, Work};
use super::layout::{META_KEY, STORE_FORMAT};
use super::lease::Leases;
use super::prepared::Prepared;
use super::recent::Recent;
use super::rows::{self, Rows};
use super::trim::{self, Step};
use super::watch::{Watcher, Watchers};
use super::{
    Aggregate, Commit, CommitError, Holder, Lease, LeaseError, List, Loaded, PartKey, READ_ROWS_MAX, Record, Snapshot,
    Store, StoreError, Trim, Verified,
};
use async_trait::async_trait;
use bytes::Bytes;
use pipewright_base::clock::{self, Clock};
use std::collections::HashMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// Commits that wait for the committer; further ones wait before they are queued.
const QUEUED_COMMITS_MAX: usize = 1024;
/// sled lets go of its file a moment after it was dropped.
const LOCK_ATTEMPTS_MAX: u32 = 500;
const LOCK_RETRY: Duration = Duration::from_millis(10);

/// Bytes of rows written since the store was opened, from which on it is opened once more when it is closed (see
/// [`SledStore`]'s `drop`). Opening reads about ten times that, which takes a fifth of a second.
const REOPEN_BYTES_MIN: u64 = 16 * 1024 * 1024;

const LOCK_FILE: &str = "lock";
const DATA_FILE: &str = "db";
const ACKNOWLEDGED_FILE: &str = "acknowledged";

/// Why a store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another process ({holder}); end it, or name another directory", dir.display())]
    InUse { dir: PathBuf, holder: String },
    #[error("{} cannot be used: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("the store in {} has format {found}, this program knows {STORE_FORMAT}; use the program that wrote it", dir.display())]
    Format { dir: PathBuf, found: u8 },
    #[error("the store in {} is damaged: {problem}; restore it from a backup", dir.display())]
    Damaged { dir: PathBuf, problem: String },
    #[error(
        "the store in {} was truncated: its last group of commits is {found}, but {acknowledged} were acknowledged; \
         restore it from a backup, or remove {ACKNOWLEDGED_FILE:?} in it to go on without what is lost", dir.display()
    )]
    Truncated { dir: PathBuf, found: u64, acknowledged: u64 },
}

/// Fields are dropped in order: the lock goes last.
pub struct SledStore {
    /// `None` only while it is being dropped, as `db`.
    queue: Option<mpsc::Sender<Request>>,
    desk: Option<Arc<Desk>>,
    committer: Option<JoinHandle<()>>,
    recent: Arc<Recent>,
    watchers: Arc<Watchers>,
    stopped: Arc<OnceLock<String>>,
    written_bytes: Arc<AtomicU64>,
    leases: Arc<Leases>,
    db: Option<sled::Db>,
    dir: PathBuf,
    cache_bytes: u64,
    _lock: File,
}

/// What commits need of the system; tests put in what fails.
pub(super) struct System {
    /// The file that is synced to make commits durable.
    pub(super) synced: PathBuf,
    pub(super) free_bytes: FreeBytes,
    /// By whose time leases expire.
    pub(super) clock: Arc<dyn Clock>,
}

impl System {
    pub(super) fn of(dir: &Path) -> Self {
        let folder = dir.to_owned();
        let free_bytes = move || {
            let system = rustix::fs::statvfs(&folder)?;
            Ok(system.f_bavail.saturating_mul(system.f_frsize))
        };
        Self { synced: dir.join(DATA_FILE), free_bytes: Box::new(free_bytes), clock: clock::system() }
    }
}

impl SledStore {
    /// What sled keeps of its pages in memory unless told otherwise.
    pub const CACHE_BYTES_DEFAULT: u64 = 64 * 1024 * 1024;

    /// Opens the store in `dir`, which is made if it is missing, and holds it until the store is dropped. `cache_bytes`
    /// bounds what sled keeps of its pages in memory. Blocks: opening takes seconds with a million keys after a kill, and
    /// a fraction of one after the store was dropped.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, OpenError> {
        Self::open_on(dir, cache_bytes, System::of(dir))
    }

    pub(super) fn open_on(dir: &Path, cache_bytes: u64, system: System) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        let lock = lock(dir)?;
        let db = open_db(dir, cache_bytes)?;
        let acknowledged_path = dir.join(ACKNOWLEDGED_FILE);
        let mut acknowledged = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&acknowledged_path)
            .map_err(at(&acknowledged_path))?;
        let group = check_groups(dir, &db, &mut acknowledged)?;
        // What a killed process left may be in the page cache alone, and effects follow from what is read here. The names
        // of files are durable only with their directories.
        sync_new(dir)?;
        let recent = Arc::<Recent>::default();
        let watchers = Arc::<Watchers>::default();
        let stopped = Arc::<OnceLock<String>>::default();
        let written_bytes = Arc::<AtomicU64>::default();
        let leases = Arc::new(Leases::new(system.clock));
        let committer = Committer {
            tree: db.clone(),
            data: File::open(&system.synced).map_err(at(&system.synced))?,
            acknowledged,
            group,
            known: HashMap::new(),
            free_bytes: system.free_bytes,
            written_bytes: Arc::clone(&written_bytes),
            recent: Arc::clone(&recent),
            leases: Arc::clone(&leases),
            watchers: Arc::clone(&watchers),
            stopped: Arc::clone(&stopped),
        };
        let (queue, requests) = mpsc::channel(QUEUED_COMMITS_MAX);
        let desk = Arc::new(Desk::new(committer));
        let thread = thread::Builder::new().name("committer".to_owned());
        let at_desk = Arc::clone(&desk);
        let committer = thread.spawn(move || at_desk.run(requests)).map_err(at(dir))?;
        Ok(Self {
            queue: Some(queue),
            desk: Some(desk),
            committer: Some(committer),
            recent,
            watchers,
            stopped,
            written_bytes,
            leases,
            db: Some(db),
            dir: dir.to_owned(),
            cache_bytes,
            _lock: lock,
        })
    }

    fn why_stopped(&self) -> StoreError {
        let reason = self.stopped.get().map_or("its committer ended unexpectedly", String::as_str);
        StoreError::Stopped { reason: reason.to_owned() }
    }

    fn open_db(&self) -> Result<&sled::Db, StoreError> {
        self.db.as_ref().filter(|_| self.stopped.get().is_none()).ok_or_else(|| self.why_stopped())
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&sled::Tree) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let db = self.open_db()?.clone();
        let answer = tokio::task::spawn_blocking(move || read(&db)).await;
        answer.unwrap_or_else(|error| Err(StoreError::Stopped { reason: format!("a read failed: {error}") }))
    }

    fn read_here<T>(&self, read: impl FnOnce(&sled::Tree) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.open_db()?;
        // sled panics at some of what it cannot read.
        let answer = panic::catch_unwind(AssertUnwindSafe(|| read(db)));
        answer.unwrap_or_else(|_| Err(StoreError::Stopped { reason: "a read failed: it panicked".to_owned() }))
    }

    async fn write(&self, aggregate: Aggregate, work: Work) -> Result<u64, CommitError> {
        let (answer, answered) = oneshot::channel();
        let (Some(queue), Some(desk)) = (&self.queue, &self.desk) else { return Err(self.why_stopped().into()) };
        if let Some(request) = desk.take(Request { aggregate, work, answer }) {
            queue.send(request).await.map_err(|_| self.why_stopped())?;
        }
        answered.await.unwrap_or_else(|_| Err(self.why_stopped().into()))
    }

    async fn take_out(&self, aggregate: Aggregate, steps: Vec<Step>) -> Result<u64, CommitError> {
        let mut gone = 0;
        for step in steps {
            loop {
                let taken = self.write(aggregate, Work::Step(step.clone())).await?;
                gone += taken;
                if taken == 0 || !step.is_repeated() {
                    break;
                }
            }
        }
        Ok(gone)
    }
}

impl Drop for SledStore {
    /// Waits for what is queued: whoever opens the directory next must find it complete.
    ///
    /// sled notes where its pages are only when it opens, by reading all that was written since the last time; a later
    /// opening starts from there. So that a clean stop pays for this and not the next start, a store that much was
    /// written to is opened once more.
    fn drop(&mut self) {
        self.queue = None;
        if let Some(committer) = self.committer.take() {
            // A committer that panicked has said so to everybody it left without an answer.
            let _ = committer.join();
        }
        self.desk = None;
        self.db = None;
        if self.written_bytes.load(Ordering::Relaxed) >= REOPEN_BYTES_MIN
            && self.stopped.get().is_none()
            && let Err(error) = open_db(&self.dir, self.cache_bytes)
        {
            tracing::warn!("the next start will take longer: {error}");
        }
    }
}

#[async_trait]
impl Store for SledStore {
    async fn load(&self, aggregate: Aggregate) -> Result<Loaded, StoreError> {
        self.read(move |tree| rows::load(tree, aggregate)).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let aggregate = commit.aggregate;
        self.write(aggregate, Work::Commit(Prepared::new(commit)?)).await
    }

    async fn acquire(&self, aggregate: Aggregate, holder: Holder, term: Duration) -> Result<Lease, LeaseError> {
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
        // Here, and not on another thread: to wake that one and to be woken by it takes longer than to look up one part, which
        // seldom is of a page that is not in memory.
        self.read_here(|tree| rows::get(tree, aggregate, key))
    }

    async fn history(&self, aggregate: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        let recent = self.recent.from(aggregate, from, limit.min(READ_ROWS_MAX));
        if !recent.is_empty() && self.stopped.get().is_none() {
            return Ok(recent);
        }
        self.read(move |tree| rows::history(tree, aggregate, from, limit)).await
    }

    async fn list(&self, list: List) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.read(move |tree| rows::list(tree, &list)).await
    }

    fn watch(&self, aggregate: Option<Aggregate>) -> Watcher {
        self.watchers.watch(aggregate)
    }

    async fn verify(&self) -> Result<Verified, StoreError> {
        self.read(rows::verify).await
    }

    async fn aggregates(&self, after: Option<Aggregate>, limit: usize) -> Result<Vec<Aggregate>, StoreError> {
        self.read(move |tree| rows::aggregates(tree, after, limit)).await
    }

    async fn archived(
        &self,
        aggregate: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.read(move |tree| rows::archived(tree, aggregate, after.as_ref(), limit)).await
    }

    async fn snapshot(&self, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError> {
        self.read(move |tree| rows::snapshot(tree, aggregate, since)).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64, CommitError> {
        self.take_out(trim.aggregate, trim::steps(trim)).await
    }

    async fn erase(&self, aggregate: Aggregate) -> Result<u64, CommitError> {
        self.take_out(aggregate, vec![Step::Erase]).await
    }
}

impl Rows for sled::Tree {
    type Value = sled::IVec;

    fn get(&self, key: &[u8]) -> Result<Option<sled::IVec>, StoreError> {
        self.get(key).map_err(unreadable)
    }

    fn scan(
        &self,
        from: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<bool, StoreError>,
    ) -> Result<(), StoreError> {
        for row in self.range(from..) {
            let (key, value) = row.map_err(unreadable)?;
            if !visit(&key, &value)? {
                break;
            }
        }
        Ok(())
    }
}

fn unreadable(error: sled::Error) -> StoreError {
    StoreError::Stopped { reason: format!("sled cannot read: {error}") }
}

fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::Io { path: path.clone(), source }
}

/// A store's directory, held against every other process without opening the store.
pub struct DirectoryLock(#[expect(dead_code, reason = "the lock goes with the file")] File);

impl DirectoryLock {
    pub fn take(dir: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        lock(dir).map(Self)
    }
}

/// The directory's lock, which goes with the process that holds it. sled has one too, but does not say whether somebody
/// else holds it or its own last user has not quite let go.
fn lock(dir: &Path) -> Result<File, OpenError> {
    let path = dir.join(LOCK_FILE);
    let mut file =
        OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path).map_err(at(&path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // It is only there to help: a holder that has not written its number yet is still a holder.
            let _ = file.read_to_string(&mut holder);
            return Err(OpenError::InUse { dir: dir.to_owned(), holder });
        }
        Err(TryLockError::Error(source)) => return Err(OpenError::Io { path, source }),
    }
    file.set_len(0).and_then(|()| write!(file, "process {}", std::process::id())).map_err(at(&path))?;
    Ok(file)
}

pub(super) fn open_db(dir: &Path, cache_bytes: u64) -> Result<sled::Db, OpenError> {
    // The committer decides when to flush.
    let config = sled::Config::new().path(dir).cache_capacity(cache_bytes).flush_every_ms(None);
    let mut attempts = 1;
    loop {
        // sled panics at some of what it cannot read.
        let opened = panic::catch_unwind(AssertUnwindSafe(|| config.open()));
        let damaged = |problem: String| OpenError::Damaged { dir: dir.to_owned(), problem };
        match opened.map_err(|_| damaged("its files are not what sled wrote".to_owned()))? {
            Ok(db) => return Ok(db),
            Err(sled::Error::Io(error))
                if attempts < LOCK_ATTEMPTS_MAX && error.to_string().starts_with("could not acquire lock") =>
            {
                attempts += 1;
                thread::sleep(LOCK_RETRY);
            }
            Err(sled::Error::Io(source)) => return Err(OpenError::Io { path: dir.to_owned(), source }),
            Err(other) => return Err(damaged(other.to_string())),
        }
    }
}

/// Makes the data file and its name durable.
pub(super) fn sync_new(dir: &Path) -> Result<(), OpenError> {
    let data = dir.join(DATA_FILE);
    for path in [Some(&*data), Some(dir), dir.parent()].into_iter().flatten() {
        if !path.as_os_str().is_empty() {
            File::open(path).and_then(|file| file.sync_all()).map_err(at(path))?;
        }
    }
    Ok(())
}

/// The number of the last group, if it is not behind what was acknowledged.
fn check_groups(dir: &Path, db: &sled::Db, acknowledged: &mut File) -> Result<u64, OpenError> {
    let damaged = |problem: &str| OpenError::Damaged { dir: dir.to_owned(), problem: problem.to_owned() };
    let meta = db.get(META_KEY).map_err(|error| damaged(&error.to_string()))?;
    let group = match meta.as_deref().map(committer::decode_meta) {
        None => 0,
        Some(None) => return Err(damaged("its head is malformed")),
        // The next commit raises it, so that no older program reads what it does not know.
        Some(Some((1..=STORE_FORMAT, group))) => group,
        Some(Some((found, _))) => return Err(OpenError::Format { dir: dir.to_owned(), found }),
    };
    let mut row = Vec::new();
    acknowledged.read_to_end(&mut row).map_err(at(&dir.join(ACKNOWLEDGED_FILE)))?;
    match committer::decode_acknowledged(&row) {
        None => Err(damaged("its note of what was acknowledged is malformed")),
        Some(acknowledged) if acknowledged > group => {
            Err(OpenError::Truncated { dir: dir.to_owned(), found: group, acknowledged })
        }
        Some(_) => Ok(group),
    }
}
