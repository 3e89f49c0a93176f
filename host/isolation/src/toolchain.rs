//! The operator's named paths of the machine that jobs at the levels `toolchain` and `restricted` see, read-only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::job::{is_own_place, is_plain};

/// What a system of a usual distribution needs to run its own programs. Those that are not there are left out.
const SYSTEM: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl/certs"];

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Toolchain {
    /// In their order, so that what holds another comes before it.
    pub(crate) entries: Vec<Entry>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub path: PathBuf,
    /// What it says, where it is a symbolic link.
    pub link: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    #[error("`{}` is no absolute path without `.` and `..`", .0.display())]
    Path(PathBuf),
    #[error("`{}` cannot be part of a toolchain: every job has its own; name what is needed below it", .0.display())]
    Place(PathBuf),
    #[error("`{}` cannot be part of a toolchain: {}", .0.display(), .1)]
    Io(PathBuf, io::Error),
}

impl Toolchain {
    /// Files and directories of the machine. A symbolic link among them is the same link for the job.
    pub fn new(paths: impl IntoIterator<Item = PathBuf>) -> Result<Self, ToolchainError> {
        let mut entries = paths.into_iter().map(Entry::of).collect::<Result<Vec<_>, _>>()?;
        entries.sort();
        entries.dedup();
        Ok(Self { entries })
    }

    /// `/usr` and what belongs to it, and the paths besides.
    pub fn system(besides: impl IntoIterator<Item = PathBuf>) -> Result<Self, ToolchainError> {
        let system = SYSTEM.iter().map(PathBuf::from).filter(|path| path.symlink_metadata().is_ok());
        Self::new(system.chain(besides))
    }
}

impl Entry {
    fn of(path: PathBuf) -> Result<Self, ToolchainError> {
        if !is_plain(&path) {
            return Err(ToolchainError::Path(path));
        }
        // A job's `/etc` has files of its own, and the machine's has secrets.
        if is_own_place(&path) || path == Path::new("/etc") {
            return Err(ToolchainError::Place(path));
        }
        let found = path.symlink_metadata().and_then(|it| it.is_symlink().then(|| fs::read_link(&path)).transpose());
        match found {
            Ok(link) => Ok(Self { path, link }),
            Err(error) => Err(ToolchainError::Io(path, error)),
        }
    }
}
