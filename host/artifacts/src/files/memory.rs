//! Blobs in memory, for tests of what stands on them.
//!
//! Files are still files: each opening makes one that has no name.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_std::fs::Dir;
use pipewright_base::Digest;
use pipewright_base::clock::now_ms;
use rustix::fs::{MemfdFlags, memfd_create};

use super::blobs::Blobs;

/// Clones are of the same blobs.
#[derive(Clone, Default)]
pub struct BlobMemory(Arc<Mutex<BTreeMap<Digest, Blob>>>);

struct Blob {
    bytes: Vec<u8>,
    stored_at: u64,
}

impl BlobMemory {
    /// Lets the grace period pass for a blob.
    #[cfg(test)]
    pub fn age(&self, digest: &Digest) {
        if let Some(blob) = self.blobs().get_mut(digest) {
            blob.stored_at = 0;
        }
    }

    fn blobs(&self) -> MutexGuard<'_, BTreeMap<Digest, Blob>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for BlobMemory {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_set().entries(self.blobs().keys()).finish()
    }
}

impl Blobs for BlobMemory {
    fn open(&self, digest: &Digest) -> io::Result<File> {
        let blobs = self.blobs();
        let blob = blobs.get(digest).ok_or(io::ErrorKind::NotFound)?;
        let mut file = File::from(memfd_create("blob", MemfdFlags::CLOEXEC)?);
        file.write_all(&blob.bytes)?;
        file.rewind()?;
        Ok(file)
    }

    fn put(&self, bytes: &[u8]) -> io::Result<Digest> {
        let digest = Digest::of(bytes);
        let stored_at = now_ms();
        self.blobs().entry(digest).or_insert_with(|| Blob { bytes: bytes.to_vec(), stored_at }).stored_at = stored_at;
        Ok(digest)
    }

    fn renew(&self, digest: &Digest, size: u64) -> bool {
        match self.blobs().get_mut(digest) {
            Some(blob) if blob.bytes.len() as u64 == size => {
                blob.stored_at = now_ms();
                true
            }
            _ => false,
        }
    }

    fn adopt(&self, digest: &Digest, top: &Dir, path: &str) -> io::Result<()> {
        let mut bytes = Vec::new();
        top.open(path)?.read_to_end(&mut bytes)?;
        self.blobs().insert(*digest, Blob { bytes, stored_at: now_ms() });
        top.remove_file(path)
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn digests(&self) -> io::Result<Vec<Digest>> {
        Ok(self.blobs().keys().copied().collect())
    }

    fn stored_before(&self, before: u64) -> io::Result<Vec<Digest>> {
        Ok(self.blobs().iter().filter(|(_, blob)| blob.stored_at < before).map(|(digest, _)| *digest).collect())
    }

    fn remove_unused(&self, candidates: &[Digest], before: u64) -> io::Result<(u64, u64)> {
        let mut blobs = self.blobs();
        let (mut removed, mut bytes) = (0, 0);
        for digest in candidates {
            if blobs.get(digest).is_some_and(|blob| blob.stored_at < before)
                && let Some(blob) = blobs.remove(digest)
            {
                removed += 1;
                bytes += blob.bytes.len() as u64;
            }
        }
        Ok((removed, bytes))
    }

    fn contains(&self, digest: &Digest) -> bool {
        self.blobs().contains_key(digest)
    }
}
