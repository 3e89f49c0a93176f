//! Directories that builds keep for later builds, each under a key.
//!
//! Owns where they lie, which one is found, and which go where there is no more room. Must not know what a space stands for: whoever
//! asks says whose caches are meant, and no key leads from one space into another.
//!
//! A cache is an artifact of a store of its own, and an entry names it: a small file that is replaced in one step once all that it
//! names is durable, so that a host that dies leaves the old cache or the new one. The file's time of modification is when the cache
//! was last used. What no entry names any more is collected alone: not while a cache is being kept, and not what a call still has.
//! Whoever finds a cache waits for neither.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::slice;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, RwLock, TryLockError, Weak};
use std::time::{SystemTime, UNIX_EPOCH};

use pipewright_base::Digest;
use pipewright_base::home::sync;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};
use serde::{Deserialize, Serialize};

use crate::files::{Blobs, FileQuota, MadeOutput, Tree};
use crate::{ArtifactError, Artifacts};

/// Of an account and a space a folder each, in which a file for each key is an entry.
const ENTRIES: &str = "entries";
/// What a file is called that is no entry yet.
const ASIDE: &str = "new";
/// A file that is there once entries were removed beside the host, and until what they named is collected.
const UNCOLLECTED: &str = "uncollected";
/// Whatever was stored at any time may be collected: who stores and who reads is known.
const ALWAYS: u64 = u64::MAX;
/// How often collecting is left to whoever is keeping a cache just then. Stops builds that take turns with it for ever.
const UNCOLLECTED_MAX: u32 = 16;

/// What caches may come to.
#[derive(Clone, Copy, Debug)]
pub struct CacheLimits {
    /// Of one. Stops a build that keeps all that it finds.
    pub bytes_max: u64,
    /// Files, directories and links of one.
    pub entries_max: u64,
    /// Of all of an account: beyond it those go that were not used for the longest time. Stops a disk that fills with a key for each
    /// build.
    pub account_bytes_max: u64,
    /// The same as a number. Stops a great many empty ones.
    pub account_count_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self { bytes_max: 2 << 30, entries_max: 200_000, account_bytes_max: 10 << 30, account_count_max: 500 }
    }
}

/// Whose caches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Space {
    pub account: u64,
    /// Of one account, what shares caches.
    pub name: String,
    /// What a person knows it by.
    pub shown: String,
}

/// A cache, which stays whole as long as this is held.
#[derive(Debug)]
pub struct Found {
    /// It may be another one than was asked for.
    pub key: String,
    pub digest: Digest,
    pub tree: Arc<Tree>,
    pub blobs: Arc<dyn Blobs>,
    _held: Arc<Digest>,
}

/// What a file of an entry says.
#[derive(Serialize, Deserialize)]
struct Entry {
    key: String,
    digest: Digest,
    bytes: u64,
    /// Of the space. Versions before did not write it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    shown: String,
}

/// A cache as it is listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptCache {
    pub account: u64,
    /// What its space is known by; empty of one that an earlier version kept.
    pub of: String,
    pub key: String,
    pub digest: Digest,
    pub bytes: u64,
    /// In milliseconds since 1970.
    pub used_ms: u64,
}

/// What the folder of a host's caches has, that used last first. Blocks; a host may have the folder meanwhile.
pub fn list(folder: &Path) -> io::Result<Vec<KeptCache>> {
    let mut all = listed(folder)?;
    all.sort_by(|(_, one), (_, other)| (other.used_ms, &one.of, &one.key).cmp(&(one.used_ms, &other.of, &other.key)));
    Ok(all.into_iter().map(|(_, cache)| cache).collect())
}

/// Removes caches, so that no build finds them from now on; says which. A host may have the folder meanwhile: the room of their files
/// is free once whoever has it collects ([`Caches::collect`]), which it does when it keeps a cache.
pub fn remove(folder: &Path, is_to_go: impl Fn(&KeptCache) -> bool) -> io::Result<Vec<KeptCache>> {
    let mut removed = Vec::new();
    for (path, cache) in listed(folder)?.into_iter().filter(|(_, cache)| is_to_go(cache)) {
        if is_there(fs::remove_file(&path))?.is_some() {
            sync(path.parent().unwrap_or(folder))?;
            removed.push(cache);
        }
    }
    if !removed.is_empty() {
        fs::write(folder.join(UNCOLLECTED), "")?;
    }
    Ok(removed)
}

fn listed(folder: &Path) -> io::Result<Vec<(PathBuf, KeptCache)>> {
    let mut all = Vec::new();
    for account_folder in folders(&folder.join(ENTRIES))? {
        let name = account_folder.file_name().and_then(|name| name.to_str()?.parse().ok());
        let Some(account) = name else { continue };
        for space in folders(&account_folder)? {
            for (path, used) in files(&space)? {
                let Some(Entry { key, digest, bytes, shown }) = read(&path)? else { continue };
                let used = used.duration_since(UNIX_EPOCH).unwrap_or_default();
                let used_ms = u64::try_from(used.as_millis()).unwrap_or(u64::MAX);
                all.push((path, KeptCache { account, of: shown, key, digest, bytes, used_ms }));
            }
        }
    }
    Ok(all)
}

/// The caches of a host.
pub struct Caches {
    artifacts: Artifacts,
    folder: PathBuf,
    limits: CacheLimits,
    /// Shared by those who keep, alone for who collects.
    storing: RwLock<()>,
    /// How many times nobody collected though there was something to.
    uncollected: AtomicU32,
    /// What calls have. Locked while an entry is found, and while what no entry names is: so no cache is lost between the two.
    held: Mutex<Vec<Weak<Digest>>>,
    /// Held while entries change: two builds may keep the same one.
    writing: Mutex<()>,
}

impl Caches {
    /// Makes the folder if it is not there.
    pub fn open(folder: &Path, limits: CacheLimits) -> io::Result<Self> {
        fs::create_dir_all(folder.join(ENTRIES))?;
        Ok(Self {
            artifacts: Artifacts::open(folder)?,
            folder: folder.to_owned(),
            limits,
            storing: RwLock::default(),
            uncollected: AtomicU32::default(),
            held: Mutex::default(),
            writing: Mutex::default(),
        })
    }

    /// The cache of this key; or else, of those whose keys begin with a fallback, in the order of the fallbacks, the one that was
    /// used last.
    pub fn find(&self, space: &Space, key: &str, fallbacks: &[String]) -> Result<Option<Arc<Found>>, ArtifactError> {
        let Some((key, held)) = self.hold(space, key, fallbacks)? else { return Ok(None) };
        let tree = self.artifacts.tree(&held.to_string())?;
        let blobs = Arc::clone(self.artifacts.blobs());
        Ok(Some(Arc::new(Found { key, digest: *held, tree, blobs, _held: held })))
    }

    /// What is found, not to be collected for as long as it is held.
    fn hold(&self, space: &Space, key: &str, fallbacks: &[String]) -> io::Result<Option<(String, Arc<Digest>)>> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let exact = self.place(space, key);
        let path = match fallbacks {
            _ if exact.is_file() => exact,
            [] => return Ok(None),
            _ => match self.fallback(space, fallbacks)? {
                Some(path) => path,
                None => return Ok(None),
            },
        };
        let Some(Entry { key, digest, .. }) = read(&path)? else { return Ok(None) };
        if is_there(touch(&path))?.is_none() {
            return Ok(None);
        }
        let found = Arc::new(digest);
        held.retain(|held| held.strong_count() > 0);
        held.push(Arc::downgrade(&found));
        Ok(Some((key, found)))
    }

    /// The tree of a cache that is still there.
    pub fn tree(&self, digest: &Digest) -> Option<(Arc<Tree>, Arc<dyn Blobs>)> {
        let tree = self.artifacts.tree(&digest.to_string()).ok()?;
        Some((tree, Arc::clone(self.artifacts.blobs())))
    }

    /// Keeps what was made, whose files are moved, in the place of what was kept under the key. Then those caches of the account go
    /// for which there is no more room.
    pub fn keep(&self, space: &Space, key: &str, made: &MadeOutput) -> Result<Digest, ArtifactError> {
        let (digest, is_new) = {
            let _storing = self.storing.read().unwrap_or_else(PoisonError::into_inner);
            let CacheLimits { bytes_max, entries_max, .. } = self.limits;
            let quota = FileQuota { bytes_max, entries_max, ..FileQuota::default() };
            let taken = self.artifacts.take_in(slice::from_ref(made), &quota)?;
            let [(_, digest)] = taken.as_slice() else { return Err(io::Error::other("nothing was taken in").into()) };
            let (bytes, digest) = (self.artifacts.tree(digest)?.bytes(), parsed(digest)?);
            let place = self.place(space, key);
            let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
            let is_new = !place.exists();
            write(&place, &Entry { key: key.to_owned(), digest, bytes, shown: space.shown.clone() })?;
            (digest, is_new)
        };
        let is_left = || self.uncollected.load(Relaxed) > 0 || self.folder.join(UNCOLLECTED).exists();
        if self.make_room(space.account)? || !is_new || is_left() {
            self.collect()?;
        }
        Ok(digest)
    }

    fn of_account(&self, account: u64) -> PathBuf {
        self.folder.join(ENTRIES).join(format!("{account:012}"))
    }

    fn of_space(&self, space: &Space) -> PathBuf {
        self.of_account(space.account).join(Digest::of(space.name.as_bytes()).to_string())
    }

    fn place(&self, space: &Space, key: &str) -> PathBuf {
        self.of_space(space).join(Digest::of(key.as_bytes()).to_string())
    }

    fn fallback(&self, space: &Space, fallbacks: &[String]) -> io::Result<Option<PathBuf>> {
        let mut kept = Vec::new();
        for (path, used) in files(&self.of_space(space))? {
            kept.extend(read(&path)?.map(|entry| (used, path, entry.key)));
        }
        let last = |prefix: &String| kept.iter().filter(|(_, _, key)| key.starts_with(prefix.as_str())).max();
        Ok(fallbacks.iter().find_map(last).map(|(_, path, _)| path.clone()))
    }

    /// Removes entries beyond the limits of an account; says whether there were any.
    fn make_room(&self, account: u64) -> io::Result<bool> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut kept = Vec::new();
        for space in folders(&self.of_account(account))? {
            kept.extend(files(&space)?.into_iter().map(|(path, used)| (used, path)));
        }
        kept.sort();
        let (mut bytes, mut count, mut is_full) = (0, 0, false);
        for (_, path) in kept.into_iter().rev() {
            count += 1;
            bytes += read(&path)?.map_or(0, |entry| entry.bytes);
            if bytes > self.limits.account_bytes_max || count > self.limits.account_count_max {
                is_there(fs::remove_file(&path))?;
                is_full = true;
            }
        }
        Ok(is_full)
    }

    /// Removes what no entry names and no call has; or leaves that to whoever keeps a cache now.
    pub fn collect(&self) -> Result<(), ArtifactError> {
        let is_left = self.uncollected.fetch_add(1, Relaxed) < UNCOLLECTED_MAX;
        let _alone = match self.storing.try_write() {
            Err(TryLockError::WouldBlock) if is_left => return Ok(()),
            Err(TryLockError::WouldBlock) => self.storing.write().unwrap_or_else(PoisonError::into_inner),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Ok(alone) => alone,
        };
        // First: entries that go from now on are for the next time.
        is_there(fs::remove_file(self.folder.join(UNCOLLECTED)))?;
        let named = self.named()?;
        let mut unused = self.artifacts.stored_before(ALWAYS)?;
        unused.retain(|digest| !named.contains(digest));
        self.artifacts.remove(&unused, ALWAYS)?;
        self.artifacts.remove_blobs(ALWAYS)?;
        self.uncollected.store(0, Relaxed);
        Ok(())
    }

    /// What entries name and calls have. Nobody keeps anything meanwhile, so that nothing else can be found afterwards.
    fn named(&self) -> io::Result<BTreeSet<Digest>> {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let mut named: BTreeSet<Digest> = held.iter().filter_map(|held| held.upgrade().map(|it| *it)).collect();
        named.extend(listed(&self.folder)?.into_iter().map(|(_, cache)| cache.digest));
        Ok(named)
    }
}

fn parsed(digest: &str) -> Result<Digest, ArtifactError> {
    digest.parse().map_err(|_| ArtifactError::Name { digest: digest.to_owned() })
}

fn folders(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = is_there(fs::read_dir(folder))?;
    entries.into_iter().flatten().map(|entry| Ok(entry?.path())).collect()
}

/// None where it went meanwhile: somebody may remove entries beside the host.
fn is_there<T>(done: io::Result<T>) -> io::Result<Option<T>> {
    match done {
        Ok(done) => Ok(Some(done)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// The entries of a space, each with the time at which it was last used.
fn files(space: &Path) -> io::Result<Vec<(PathBuf, SystemTime)>> {
    let paths = folders(space)?.into_iter().filter(|path| path.extension().is_none_or(|it| it != ASIDE));
    let used = |path: PathBuf| match is_there(fs::metadata(&path)) {
        Ok(metadata) => Some(metadata?.modified().map(|used| (path, used))),
        Err(error) => Some(Err(error)),
    };
    paths.filter_map(used).collect()
}

/// None where the entry went meanwhile, or is not one.
fn read(path: &Path) -> io::Result<Option<Entry>> {
    Ok(is_there(fs::read(path))?.and_then(|text| serde_json::from_slice(&text).ok()))
}

fn write(path: &Path, entry: &Entry) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    fs::create_dir_all(folder)?;
    let aside = path.with_extension(ASIDE);
    fs::write(&aside, serde_json::to_vec(entry)?)?;
    File::open(&aside)?.sync_all()?;
    fs::rename(&aside, path)?;
    sync(folder)
}

fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(utimensat(CWD, path, &Timestamps { last_access: now, last_modification: now }, AtFlags::empty())?)
}

#[cfg(test)]
mod tests;
