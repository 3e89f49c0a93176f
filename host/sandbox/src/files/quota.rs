//! What one call may use of files, and how much of that is left. One budget for everything that a call writes: its
//! outputs, its scratch and the granted directories together.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use serde::{Deserialize, Serialize};

use super::error::{FileError, FileResult};

/// The limits of one call on files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileQuota {
    /// Bytes written, counted as they are written and not given back; a file made longer counts as written, holes and
    /// all. Stops a guest that fills the disk, or wears it out.
    pub bytes_max: u64,
    /// Files, directories and links made, not given back. Also the most that one listing may hold. Stops ten million
    /// tiny files.
    pub entries_max: u64,
    /// Longest path. Stops paths that cost more than what they name.
    pub path_bytes_max: usize,
    /// Stops trees on which everything that walks them breaks.
    pub directory_depth_max: usize,
    /// Open at the same time. Stops a guest that takes the host's descriptors.
    pub open_files_max: u64,
    /// Names that open listings hold together, in bytes. Stops a guest that fills the host's memory with listings.
    pub listing_bytes_max: u64,
}

impl Default for FileQuota {
    fn default() -> Self {
        Self {
            bytes_max: 8 << 30,
            entries_max: 500_000,
            path_bytes_max: 4_096,
            directory_depth_max: 128,
            open_files_max: 256,
            listing_bytes_max: 128 << 20,
        }
    }
}

/// What is left.
pub(super) struct Budget {
    quota: FileQuota,
    bytes_left: AtomicU64,
    entries_left: AtomicU64,
    open_left: AtomicU64,
    listing_left: AtomicU64,
    /// The first limit that was used up, in words.
    used_up: OnceLock<String>,
}

/// A part of a budget that is given back when dropped.
pub(super) struct Held {
    budget: Arc<Budget>,
    of: fn(&Budget) -> &AtomicU64,
    amount: u64,
}

impl Drop for Held {
    fn drop(&mut self) {
        (self.of)(&self.budget).fetch_add(self.amount, Relaxed);
    }
}

impl Budget {
    pub(super) fn new(quota: FileQuota) -> Arc<Self> {
        Arc::new(Self {
            bytes_left: quota.bytes_max.into(),
            entries_left: quota.entries_max.into(),
            open_left: quota.open_files_max.into(),
            listing_left: quota.listing_bytes_max.into(),
            used_up: OnceLock::new(),
            quota,
        })
    }

    /// For what the host itself writes.
    pub(super) fn unlimited() -> Arc<Self> {
        let path_bytes_max = super::paths::PATH_BYTES_MAX;
        Self::new(FileQuota {
            bytes_max: u64::MAX,
            entries_max: u64::MAX,
            path_bytes_max,
            directory_depth_max: path_bytes_max,
            open_files_max: u64::MAX,
            listing_bytes_max: u64::MAX,
        })
    }

    /// The first limit that was used up, in words.
    pub(super) fn used_up(&self) -> Option<&str> {
        self.used_up.get().map(String::as_str)
    }

    fn refuse(&self, limit: &str, value: u64) -> FileError {
        let error = FileError::quota(limit, value);
        self.used_up.get_or_init(|| error.message.clone());
        error
    }

    /// To be asked before the bytes are written.
    pub(super) fn write(&self, bytes: u64) -> FileResult<()> {
        take(&self.bytes_left, bytes).ok_or_else(|| self.refuse("bytes_max", self.quota.bytes_max))
    }

    /// To be asked before an entry is made.
    pub(super) fn make(&self) -> FileResult<()> {
        take(&self.entries_left, 1).ok_or_else(|| self.refuse("entries_max", self.quota.entries_max))
    }

    /// The entry that was asked for was not made after all.
    pub(super) fn not_made(&self) {
        self.entries_left.fetch_add(1, Relaxed);
    }

    pub(super) fn open(self: &Arc<Self>) -> FileResult<Held> {
        take(&self.open_left, 1).ok_or_else(|| self.refuse("open_files_max", self.quota.open_files_max))?;
        Ok(Held { budget: Arc::clone(self), of: |budget| &budget.open_left, amount: 1 })
    }

    /// A listing that holds no names yet.
    pub(super) fn listing(self: &Arc<Self>) -> Listing {
        let held = Held { budget: Arc::clone(self), of: |budget| &budget.listing_left, amount: 0 };
        Listing { held, entries: 0 }
    }

    pub(super) fn check_path(&self, path: &str) -> FileResult<()> {
        use super::wasi::ErrorCode;
        if path.len() > self.quota.path_bytes_max {
            let message = format!("a path is longer than path_bytes_max ({})", self.quota.path_bytes_max);
            return Err(FileError::invalid(ErrorCode::NameTooLong, message));
        }
        if super::paths::depth(path) > self.quota.directory_depth_max {
            let message = format!("{path} is deeper than directory_depth_max ({})", self.quota.directory_depth_max);
            return Err(FileError::invalid(ErrorCode::NameTooLong, message));
        }
        Ok(())
    }
}

/// Counts the names that a listing holds; they are given back when it is dropped.
pub(super) struct Listing {
    held: Held,
    entries: u64,
}

impl Listing {
    pub(super) fn add(&mut self, name: &str) -> FileResult<()> {
        // What a name costs besides its text.
        const ENTRY_BYTES: u64 = 64;
        let budget = &self.held.budget;
        let quota = &budget.quota;
        self.entries += 1;
        if self.entries > quota.entries_max {
            return Err(budget.refuse("entries_max", quota.entries_max));
        }
        let bytes = name.len() as u64 + ENTRY_BYTES;
        take(&budget.listing_left, bytes).ok_or_else(|| budget.refuse("listing_bytes_max", quota.listing_bytes_max))?;
        self.held.amount += bytes;
        Ok(())
    }
}

fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount)).ok().map(|_| ())
}
