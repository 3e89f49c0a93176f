//! Blobs in a directory of this machine.
//!
//! A blob lies at `ab/cdef…` and is read-only. Its time of modification is the time at which it was last stored.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cap_std::fs::Dir;
use pipewright_base::Digest;
use rustix::fs::{AtFlags, CWD, Mode, Timespec, Timestamps, UTIME_NOW, chmodat, renameat, utimensat};

use super::blobs::Blobs;

/// What a file is called that is not a blob yet starts with this.
const ASIDE: &str = "new-";

/// Clones are of the same directory and share its lock: one process opens a directory once.
#[derive(Clone, Debug)]
pub struct BlobDir {
    root: Arc<Path>,
    /// Shared by those who store, alone for who removes.
    storing: Arc<RwLock<()>>,
    unsynced: Arc<Unsynced>,
}

/// Whether there is anything to sync: a sync waits for the whole file system, and what is stored again is there mostly.
#[derive(Debug)]
struct Unsynced(Mutex<Counts>);

#[derive(Debug)]
struct Counts {
    /// Blobs that were made, or are being made.
    stored: u64,
    being_stored: u64,
    /// How many had been made at the beginning of the last sync that found nothing on its way.
    synced: u64,
}

impl Unsynced {
    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store<T>(&self, store: impl FnOnce() -> T) -> T {
        {
            let mut counts = self.counts();
            counts.stored += 1;
            counts.being_stored += 1;
        }
        let stored = store();
        self.counts().being_stored -= 1;
        stored
    }

    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let (stored, is_all) = {
            let counts = self.counts();
            if counts.synced == counts.stored {
                return Ok(());
            }
            (counts.stored, counts.being_stored == 0)
        };
        sync()?;
        if is_all {
            let mut counts = self.counts();
            counts.synced = counts.synced.max(stored);
        }
        Ok(())
    }
}

impl Default for Unsynced {
    /// What an earlier process stored may not have been synced.
    fn default() -> Self {
        Self(Mutex::new(Counts { stored: 1, being_stored: 0, synced: 0 }))
    }
}

impl BlobDir {
    /// Makes the directory if it is not there.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        Self { root: Path::new("").into(), storing: Arc::default(), unsynced: Arc::default() }.beside(root)
    }

    /// Another directory on the same file system: a sync of either is one of both.
    pub fn beside(&self, root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self { root: root.into(), storing: Arc::default(), unsynced: Arc::clone(&self.unsynced) })
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        self.root.join(&text[..2]).join(&text[2..])
    }

    /// Moves a file in by `rename`, which gets the blob's path.
    fn rename_in(&self, digest: &Digest, rename: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let to = self.path(digest);
        let _storing = self.storing.read().unwrap_or_else(PoisonError::into_inner);
        self.unsynced.store(|| match rename(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent)?;
                }
                rename(&to)
            }
            result => result,
        })?;
        // A plugin may have given the file another time.
        touch(&to)
    }
}

impl Blobs for BlobDir {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let digest = Digest::of(bytes);
        if self.renew(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        let aside = self.root.join(format!("{ASIDE}{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
        let stored = File::create(&aside).and_then(|mut file| file.write_all(bytes)).and_then(|()| {
            fs::set_permissions(&aside, Permissions::from_mode(0o444))?;
            self.rename_in(&digest, |to| fs::rename(&aside, to))
        });
        if stored.is_err() {
            // Whatever went wrong is told already.
            let _ = fs::remove_file(&aside);
        }
        stored.map(|()| digest)
    }

    fn renew(&self, digest: &Digest, size: u64) -> bool {
        let path = self.path(digest);
        let _storing = self.storing.read().unwrap_or_else(PoisonError::into_inner);
        let is_there = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
        is_there && touch(&path).is_ok()
    }

    /// The file must be on the file system of the directory.
    fn adopt(&self, digest: &Digest, top: &Dir, path: &str) -> io::Result<()> {
        // Plain calls will do: only the host has the directory.
        chmodat(top, path, Mode::RUSR | Mode::RGRP | Mode::ROTH, AtFlags::empty())?;
        self.rename_in(digest, |to| Ok(renameat(top, path, CWD, to)?))
    }

    /// By one system call, if anything was made since the last one.
    fn sync(&self) -> io::Result<()> {
        self.unsynced.sync(|| Ok(rustix::fs::syncfs(File::open(&self.root)?)?))
    }

    /// What is not named as a blob is passed over.
    fn digests(&self) -> io::Result<Vec<Digest>> {
        let mut digests = Vec::new();
        for folder in fs::read_dir(&*self.root)? {
            let folder = folder?;
            if !folder.file_type()?.is_dir() {
                continue;
            }
            for blob in fs::read_dir(folder.path())? {
                let name = [folder.file_name(), blob?.file_name()].map(|name| name.to_string_lossy().into_owned());
                digests.extend(name.concat().parse::<Digest>().ok());
            }
        }
        digests.sort_unstable();
        Ok(digests)
    }

    fn stored_before(&self, before: u64) -> io::Result<Vec<Digest>> {
        for entry in fs::read_dir(&*self.root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(ASIDE)
                && entry.metadata().is_ok_and(|metadata| stored_at(&metadata) < before)
            {
                fs::remove_file(entry.path())?;
            }
        }
        let mut digests = self.digests()?;
        digests.retain(|digest| {
            fs::symlink_metadata(self.path(digest)).is_ok_and(|metadata| stored_at(&metadata) < before)
        });
        Ok(digests)
    }

    fn remove_unused(&self, candidates: &[Digest], before: u64) -> io::Result<(u64, u64)> {
        let (mut blobs, mut bytes) = (0, 0);
        for digest in candidates {
            let path = self.path(digest);
            // For each blob anew: nobody who stores waits for more than one removal.
            let _alone = self.storing.write().unwrap_or_else(PoisonError::into_inner);
            match fs::symlink_metadata(&path) {
                Ok(metadata) if stored_at(&metadata) < before => {
                    fs::remove_file(&path)?;
                    blobs += 1;
                    bytes += metadata.len();
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((blobs, bytes))
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }
}

/// When a blob was last stored, in milliseconds since 1970.
fn stored_at(metadata: &fs::Metadata) -> u64 {
    u64::try_from(metadata.mtime()).unwrap_or(0).saturating_mul(1000) + metadata.mtime_nsec() as u64 / 1_000_000
}

fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    Ok(utimensat(CWD, path, &Timestamps { last_access: now, last_modification: now }, AtFlags::SYMLINK_NOFOLLOW)?)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn a_sync_is_spared_where_all_was_synced() {
        let (unsynced, syncs) = (Unsynced::default(), Cell::new(0));
        let check = |expected: u32| {
            let sync = || {
                syncs.set(syncs.get() + 1);
                Ok(())
            };
            unsynced.sync(sync).unwrap();
            assert_eq!(syncs.take(), expected);
        };
        // What was there before, once.
        check(1);
        check(0);
        unsynced.store(|| ());
        unsynced.sync(|| Err(io::ErrorKind::StorageFull.into())).unwrap_err();
        check(1);
        check(0);
        // Of what is made meanwhile a sync may know nothing.
        unsynced.store(|| [check(1), check(1)]);
        check(1);
        check(0);
        unsynced.store(|| ());
        let while_another_is_stored = || {
            unsynced.store(|| ());
            Ok(())
        };
        unsynced.sync(while_another_is_stored).unwrap();
        check(1);
        check(0);
    }

    #[test]
    fn directories_beside_each_other_are_synced_together() {
        let folder = tempfile::tempdir().unwrap();
        let blobs = BlobDir::new(folder.path().join("blobs")).unwrap();
        let trees = blobs.beside(folder.path().join("trees")).unwrap();
        let is_synced = |of: &BlobDir| {
            let counts = of.unsynced.counts();
            counts.synced == counts.stored
        };
        for (put, sync) in [(&blobs, &trees), (&trees, &blobs)] {
            put.put(b"content").unwrap();
            assert!(!is_synced(sync));
            sync.sync().unwrap();
            assert!(is_synced(put));
            put.put(b"content").unwrap();
            assert!(is_synced(put), "it was there");
        }
    }
}
