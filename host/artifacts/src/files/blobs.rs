//! Blobs: contents by their SHA-256, written once and never changed.
//!
//! Owns what every store of blobs promises, and what is done with any of them alike. Must not know where they lie, nor which
//! trees there are. Whether a file is executable is in the tree that names it.
//!
//! # Collection
//! Whoever collects what nothing refers to runs beside calls that store blobs, and a blob that is stored again is only
//! found to be there. What keeps them apart is a blob's time of modification, which is the time at which it was last
//! stored: storing sets it, under a lock that [`Blobs::remove_unused`] takes alone to look at the time and remove.
//!
//! The rule, with a grace period *G*: the collector (1) takes the time *t*, and as candidates the blobs last stored before
//! *t* − *G*; (2) only then reads what is referred to; (3) removes the candidates that nothing refers to and that were
//! still last stored before *t* − *G*. This is safe if whoever stores a blob refers to it, durably, within *G* of the
//! last time that it stored it: say that a blob is removed. It was last stored at *s* < *t* − *G*. So the last one
//! to store it referred to it before *s* + *G* < *t*, and step 2, which came after *t*, saw that; unless the
//! reference was given up since, as had those of everybody who stored it earlier. Storing it after the
//! check in step 3 finds it gone and writes it anew.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;
use std::sync::atomic::AtomicBool;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pipewright_base::{Digest, Hasher};

use super::copy::{self, Copied, Source, Target};
use super::error::FileError;
use super::quota::Budget;
use super::tree::Tree;
use super::walk::{self, Walk};

/// A store of blobs. Times are in milliseconds since 1970.
pub trait Blobs: std::fmt::Debug + Send + Sync {
    /// A blob as a file with a position of its own, to be read.
    fn open(&self, digest: &Digest) -> io::Result<File>;

    /// Stores bytes, in one step for whoever reads. Durable after `sync`.
    fn put(&self, bytes: &[u8]) -> io::Result<Digest>;

    /// Stores the blob anew if it is there, whole as far as its size in bytes tells: a crash can leave one empty.
    fn renew(&self, digest: &Digest, size: u64) -> bool;

    /// Takes in the regular file at `path` below `top`, which has this digest and nobody else has open: it is no longer there
    /// then. Durable after `sync`.
    fn adopt(&self, digest: &Digest, top: &Dir, path: &str) -> io::Result<()>;

    /// Makes everything stored so far durable. To be done once for an artifact, before anybody hears of it.
    fn sync(&self) -> io::Result<()>;

    /// Every blob that is there, in the order of the digests.
    fn digests(&self) -> io::Result<Vec<Digest>>;

    /// The blobs that were last stored before a time, in the order of the digests. Removes what writers that died before that
    /// left behind.
    fn stored_before(&self, before: u64) -> io::Result<Vec<Digest>>;

    /// Removes the candidates that are still last stored before `before`; says how many went and their bytes. Nothing may
    /// refer to them (see the module's documentation).
    fn remove_unused(&self, candidates: &[Digest], before: u64) -> io::Result<(u64, u64)>;

    fn contains(&self, digest: &Digest) -> bool;

    /// The whole blob, checked.
    fn read(&self, digest: &Digest, bytes_max: u64) -> Result<Vec<u8>, BlobError> {
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
    fn verify(&self, digest: &Digest) -> Result<u64, BlobError> {
        let io = |error| BlobError::of(*digest, error);
        let mut file = self.open(digest).map_err(io)?;
        let mut buffer = copy::buffer_for(&file);
        let (found, bytes) = hash(&mut file, &mut buffer).map_err(io)?;
        if found == *digest { Ok(bytes) } else { Err(BlobError::Damaged { expected: *digest, found }) }
    }
}

/// Writes an artifact out into a directory, which is made if it is not there; every digest is checked.
pub fn export(blobs: &dyn Blobs, tree: &Tree, artifact: &str, destination: &Path) -> Result<Copied, FileError> {
    let io = |error: io::Error| FileError::io(&destination.display().to_string(), &error);
    fs::create_dir_all(destination).map_err(io)?;
    let directory = Dir::open_ambient_dir(destination, ambient_authority()).map_err(io)?;
    let budget = Budget::unlimited();
    let items = walk::tree_items(tree, "", &mut budget.listing(), &Walk::all())?;
    let stop = AtomicBool::new(false);
    let target = Target { directory: &directory, depth: 0, budget: &budget, hashed: None, stays: false, stop: &stop };
    copy::copy(Source::Blobs { blobs, artifact, directory: "" }, &items, &target)
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

impl BlobError {
    fn of(digest: Digest, error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Missing(digest),
            _ => Self::Io { digest, error },
        }
    }
}

/// The digest and size of all that is left in a file.
pub fn hash(file: &mut File, buffer: &mut [u8]) -> io::Result<(Digest, u64)> {
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
