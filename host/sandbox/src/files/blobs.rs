//! A directory of blobs: files by the SHA-256 of their bytes, written once and never changed.
//!
//! A blob lies at `ab/cdef…` and is read-only; whether a file is executable is in the tree that names it. Must not know
//! which trees there are.

use std::fs::{self, File, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use cap_std::ambient_authority;
use cap_std::fs::Dir;

use super::copy::{self, CHUNK_BYTES, Copied, Source, Target};
use super::digest::{Digest, Hasher};
use super::error::FileError;
use super::quota::Budget;
use super::tree::Tree;
use super::walk::{self, Walk};

#[derive(Clone, Debug)]
pub struct BlobDir {
    root: Arc<Path>,
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
        Ok(Self { root: root.into() })
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
        if self.has(&digest, bytes.len() as u64) {
            return Ok(digest);
        }
        let aside = self.root.join(format!("new-{}-{}", std::process::id(), NEXT.fetch_add(1, Relaxed)));
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

    /// Whether the blob is there, whole as far as its size tells: a crash can leave one empty.
    pub(super) fn has(&self, digest: &Digest, size: u64) -> bool {
        fs::symlink_metadata(self.path(digest)).is_ok_and(|metadata| metadata.is_file() && metadata.len() == size)
    }

    /// Moves a file in by `rename`, which gets the blob's path.
    pub(super) fn rename_in(&self, digest: &Digest, rename: impl Fn(&Path) -> io::Result<()>) -> io::Result<()> {
        let to = self.path(digest);
        match rename(&to) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if let Some(parent) = to.parent() {
                    fs::create_dir_all(parent)?;
                }
                rename(&to)
            }
            result => result,
        }
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
