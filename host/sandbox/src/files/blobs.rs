//! A directory of blobs: files by the SHA-256 of their bytes, written once and never changed.
//!
//! A blob lies at `ab/cdef…` and is read-only; whether a file is executable is in the tree that names it. Must not know
//! which trees there are.
//!
//! # Collection
//! Whoever collects what nothing refers to runs beside calls that store blobs, and a blob that is stored again is only
//! found to be there. What keeps them apart is a blob's time of modification, which is the time at which it was last
//! stored: storing sets it, under a lock that [`BlobDir::remove_unused`] takes alone to look at the time and remove.
//!
//! The rule, with a grace period *G*: the collector (1) takes the time *t*, and as candidates the blobs last stored before
//! *t* − *G*; (2) only then reads what is referred to; (3) removes the candidates that nothing refers to and that were
//! still last stored before *t* − *G*. This is safe if whoever stores a blob refers to it, durably, within *G* of the
//! last time that it stored it: say that a blob is removed. It was last stored at *s* < *t* − *G*. So the last one
//! to store it referred to it before *s* + *G* < *t*, and step 2, which came after *t*, saw that; unless the
//! reference was given up since, as had those of everybody who stored it earlier. Storing it after the
//! check in step 3 finds it gone and writes it anew.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, PoisonError, RwLock};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_NOW, utimensat};

use super::copy::{self, CHUNK_BYTES, Copied, Source, Target};
use super::error::FileError;
use super::quota::Budget;
use super::tree::Tree;
use super::walk::{self, Walk};
use pipewright_base::{Digest, Hasher};

/// What a file is called that is not a blob yet starts with this.
const ASIDE: &str = "new-";

/// Clones are of the same directory and share its lock: one process opens a directory once.
#[derive(Clone, Debug)]
pub struct BlobDir {
    root: Arc<Path>,
    /// Shared by those who store, alone for who removes.
    storing: Arc<RwLock<()>>,
}

/// What is wrong with a blob.
#[derive(Debug, thiserror::Error)]
pub enum BlobError {
    #[error("blob {0} is missing")]
    Missing(Digest),
    #[error("blob {expected} is damaged: it has the digest {found}")]
    Damaged { expected: Digest, found: Digest },
    #[error("blob {digest} is larger than {bytes_max} bytes")]
    TooLarge { digest: Digest, bytes_max: u64 },
    #[error("blob {digest}: {error}")]
    Io { digest: Digest, error: io::Error },
}

impl BlobDir {
    /// Makes the directory if it is not there.
    pub fn new(root: impl Into<PathBuf>) -> io::Result<Self> {
        let root = root.into();
        fs::create_dir_all(&root)?;
        Ok(Self { root: root.into(), storing: Arc::default() })
    }

    pub fn path(&self, digest: &Digest) -> PathBuf {
        let text = digest.to_string();
        self.root.join(&text[..2]).join(&text[2..])
    }

    pub fn contains(&self, digest: &Digest) -> bool {
        self.path(digest).is_file()
    }

    pub fn open(&self, digest: &Digest) -> io::Result<File> {
        File::open(self.path(digest))
    }

    /// The whole blob, checked.
    pub fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, BlobError> {
        let io = |error| BlobError::of(*digest, error);
        let mut bytes = Vec::new();
        self.open(digest).map_err(io)?.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > bytes_max {
            return Err(BlobError::TooLarge { digest: *digest, bytes_max });
        }
        match Digest::of(&bytes) {
            found if found == *digest => Ok(bytes),
            found => Err(BlobError::Damaged { expected: *digest, found }),
        }
    }

    /// Reads the blob and compares its digest; gives its size in bytes.
    pub fn verify(&self, digest: &Digest) -> Result<u64, BlobError> {
        let io = |error| BlobError::of(*digest, error);
        let (found, bytes) = hash(&mut self.open(digest).map_err(io)?, &mut vec![0; CHUNK_BYTES]).map_err(io)?;
        if found == *digest { Ok(bytes) } else { Err(BlobError::Damaged { expected: *digest, found }) }
    }

    /// Stores bytes, in one step for whoever reads. Durable after `sync`.
    pub fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
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

    /// Removes the candidates that are still last stored before `before`, in milliseconds since 1970; says how many
    /// went and their bytes. Nothing may refer to them (see the module's documentation).
    pub fn remove_unused(&self, candidates: impl IntoIterator<Item = Digest>, before: u64) -> io::Result<(u64, u64)> {
        let (mut blobs, mut bytes) = (0, 0);
        for digest in candidates {
            let path = self.path(&digest);
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

    /// The blobs that were last stored before a time, in milliseconds since 1970, in the order of the digests. Removes what
    /// writers that died before that left behind.
    pub fn stored_before(&self, before: u64) -> io::Result<Vec<Digest>> {
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

    /// Every blob that is there, in the order of the digests. What is not named as a blob is passed over.
    pub fn digests(&self) -> io::Result<Vec<Digest>> {
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

    /// Makes everything stored so far durable, by one system call. To be done once for an artifact, before anybody hears
    /// of it.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(File::open(&self.root)?)?)
    }

    /// Writes an artifact out into a directory, which is made if it is not there; every digest is checked.
    pub fn export(&self, tree: &Tree, artifact: &str, destination: &Path) -> Result<Copied, FileError> {
        let io = |error: io::Error| FileError::io(&destination.display().to_string(), &error);
        fs::create_dir_all(destination).map_err(io)?;
        let directory = Dir::open_ambient_dir(destination, ambient_authority()).map_err(io)?;
        let budget = Budget::unlimited();
        let items = walk::tree_items(tree, "", &mut budget.listing(), &Walk::all())?;
        let stop = AtomicBool::new(false);
        let target = Target { directory: &directory, depth: 0, budget: &budget, hashed: None, stop: &stop };
        copy::copy(Source::Blobs { blobs: self, artifact, directory: "" }, &items, &target)
    }

    /// Stores the blob anew if it is there, whole as far as its size tells: a crash can leave one empty.
    pub(super) fn renew(&self, digest: &Digest, size: u64) -> bool {
        let path = self.path(digest);
        let _storing = self.storing.read().unwrap_or_else(PoisonError::into_inner);
        let is_there = fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size);
        is_there && touch(&path).is_ok()
    }

    /// Moves a file in by `rename`, which gets the blob's path.
    pub(super) fn rename_in(&self, digest: &Digest, rename: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let to = self.path(digest);
        let _storing = self.storing.read().unwrap_or_else(PoisonError::into_inner);
        match rename(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent)?;
                }
                rename(&to)?;
            }
            result => result?,
        }
        // A plugin may have given the file another time.
        touch(&to)
    }
}

impl BlobError {
    fn of(digest: Digest, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(digest),
            _ => Self::Io { digest, error },
        }
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

/// The digest and size of all that is left in a file.
pub(super) fn hash(file: &mut File, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
    let mut hasher = Hasher::default();
    let mut bytes = 0;
    loop {
        match file.read(buffer) {
            Ok(0) => return Ok((hasher.finish(), bytes)),
            Ok(read) => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
