//! What stays free of a disk whatever guests write to it.
//!
//! Owns the question. The answer is asked of the disk itself before each write: many guests write at once, and others than
//! guests do, too.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

use super::error::{FileError, FileResult};

/// Of each disk that guests write to. Stops guests that together, each within its own limits, fill the disk on which
/// everybody's state, artifacts and logs lie: guests stop while there is still twice what the store keeps for itself.
pub const FREE_DISK_BYTES_MIN: u64 = 256 << 20;

type FreeBytes = dyn Fn(BorrowedFd<'_>) -> io::Result<u64> + Send + Sync;

/// The default keeps nothing free: for what the host itself writes.
#[derive(Clone, Default)]
pub struct Floor(Option<Arc<FreeBytes>>);

impl Floor {
    /// On each disk that is written to.
    pub fn of_disks() -> Self {
        Self::new(|on| {
            let there = rustix::fs::fstatvfs(on)?;
            Ok(there.f_bavail.saturating_mul(there.f_frsize))
        })
    }

    pub fn new(free_bytes: impl Fn(BorrowedFd<'_>) -> io::Result<u64> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(free_bytes)))
    }

    /// Whether so many bytes may be written to the disk on which `on` is.
    pub fn check(&self, bytes: u64, on: impl AsFd) -> FileResult<()> {
        let Some(free_bytes) = &self.0 else { return Ok(()) };
        let free = free_bytes(on.as_fd()).map_err(|error| FileError::io("the free space of the disk", &error))?;
        if free < FREE_DISK_BYTES_MIN.saturating_add(bytes) { Err(FileError::disk_full()) } else { Ok(()) }
    }
}
