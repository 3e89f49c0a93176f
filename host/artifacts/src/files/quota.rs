//! What one call may use of files, and how much of that is left. One budget for everything that a call writes: its
//! outputs, its scratch and the granted directories together.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use pipewright_base::memory::{Charge, Descriptor, HostMemory};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::error::{FileError, FileErrorKind, FileResult};
use super::floor::Floor;

/// The limits of one call on files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
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
}

impl Default for FileQuota {
    fn default() -> Self {
        Self {
            bytes_max: 8 << 30,
            entries_max: 500_000,
            path_bytes_max: 4_096,
            directory_depth_max: 128,
            open_files_max: 256,
        }
    }
}

/// What is left.
pub struct Budget {
    quota: FileQuota,
    bytes_left: AtomicU64,
    entries_left: AtomicU64,
    open_left: AtomicU64,
    memory: Arc<HostMemory>,
    floor: Floor,
    /// The first limit that was used up, in words.
    used_up: OnceLock<String>,
}

/// An open file's or directory's part of a budget, given back when it is dropped.
pub struct Held {
    budget: Arc<Budget>,
    _shared: Descriptor,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.budget.open_left.fetch_add(1, Relaxed);
    }
}

impl Budget {
    pub fn new(quota: FileQuota, memory: Arc<HostMemory>, floor: Floor) -> Arc<Self> {
        Arc::new(Self {
            bytes_left: quota.bytes_max.into(),
            entries_left: quota.entries_max.into(),
            open_left: quota.open_files_max.into(),
            memory,
            floor,
            used_up: OnceLock::new(),
            quota,
        })
    }

    /// For what the host itself writes.
    pub fn unlimited() -> Arc<Self> {
        let path_bytes_max = super::paths::PATH_BYTES_MAX;
        let quota = FileQuota {
            bytes_max: u64::MAX,
            entries_max: u64::MAX,
            path_bytes_max,
            directory_depth_max: path_bytes_max,
            open_files_max: u64::MAX,
        };
        Self::new(quota, HostMemory::alone(usize::MAX), Floor::default())
    }

    /// The first limit that was used up, in words.
    pub fn used_up(&self) -> Option<&str> {
        self.used_up.get().map(String::as_str)
    }

    fn refuse(&self, limit: &str, value: u64) -> FileError {
        self.refused(FileError::quota(limit, value))
    }

    fn refused(&self, error: FileError) -> FileError {
        self.used_up.get_or_init(|| error.message.clone());
        error
    }

    /// To be asked before the bytes are written to the disk on which `on` is.
    pub fn write(&self, bytes: u64, on: impl AsFd) -> FileResult<()> {
        take(&self.bytes_left, bytes).ok_or_else(|| self.refuse("bytes_max", self.quota.bytes_max))?;
        self.floor.check(bytes, on).map_err(|error| {
            self.bytes_left.fetch_add(bytes, Relaxed);
            self.refused(error)
        })
    }

    /// To be asked before an entry is made on the disk on which `on` is.
    pub fn make(&self, on: impl AsFd) -> FileResult<()> {
        self.make_first()?;
        self.floor.check(0, on).map_err(|error| {
            self.not_made();
            self.refused(error)
        })
    }

    /// The same where there is nothing yet.
    pub fn make_first(&self) -> FileResult<()> {
        take(&self.entries_left, 1).ok_or_else(|| self.refuse("entries_max", self.quota.entries_max))
    }

    /// The entry that was asked for was not made after all.
    pub fn not_made(&self) {
        self.entries_left.fetch_add(1, Relaxed);
    }

    pub fn open(self: &Arc<Self>) -> FileResult<Held> {
        let shared =
            self.memory.budget().open().map_err(|message| {
                self.refused(FileError { kind: FileErrorKind::Quota, errno: Errno::DQUOT, message })
            })?;
        take(&self.open_left, 1).ok_or_else(|| self.refuse("open_files_max", self.quota.open_files_max))?;
        Ok(Held { budget: Arc::clone(self), _shared: shared })
    }

    /// A listing that holds no names yet.
    pub fn listing(self: &Arc<Self>) -> Listing {
        Listing { budget: Arc::clone(self), charge: None, entries: 0 }
    }

    /// Memory of the host that is held until the charge is dropped.
    pub fn charge(&self, bytes: usize) -> FileResult<Charge> {
        Ok(self.memory.charge(bytes)?)
    }

    /// Memory of the host that is held until the call ends.
    pub fn hold(&self, bytes: usize) -> FileResult<()> {
        Ok(self.memory.take(bytes)?)
    }

    pub fn check_path(&self, path: &str) -> FileResult<()> {
        if path.len() > self.quota.path_bytes_max {
            let message = format!("a path is longer than path_bytes_max ({})", self.quota.path_bytes_max);
            return Err(FileError::invalid(Errno::NAMETOOLONG, message));
        }
        self.check_depth(path, super::paths::depth(path))
    }

    /// The same for where the path leads: below so many directories.
    pub fn check_depth(&self, path: &str, depth: usize) -> FileResult<()> {
        if depth > self.quota.directory_depth_max {
            let message = format!("{path} is deeper than directory_depth_max ({})", self.quota.directory_depth_max);
            return Err(FileError::invalid(Errno::NAMETOOLONG, message));
        }
        Ok(())
    }

    pub fn directory_depth_max(&self) -> usize {
        self.quota.directory_depth_max
    }
}

/// Counts the names that a listing holds; their memory is given back when it is dropped.
pub struct Listing {
    budget: Arc<Budget>,
    charge: Option<Charge>,
    entries: u64,
}

impl Listing {
    pub fn add(&mut self, name: &str) -> FileResult<()> {
        // What a name costs besides its text.
        const ENTRY_BYTES: usize = 96;
        let budget = &self.budget;
        let quota = &budget.quota;
        self.entries += 1;
        if self.entries > quota.entries_max {
            return Err(budget.refuse("entries_max", quota.entries_max));
        }
        let bytes = name.len() + ENTRY_BYTES;
        match &mut self.charge {
            Some(charge) => charge.grow(bytes)?,
            None => self.charge = Some(budget.memory.charge(bytes)?),
        }
        Ok(())
    }
}

fn take(left: &AtomicU64, amount: u64) -> Option<()> {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(amount)).ok().map(|_| ())
}
