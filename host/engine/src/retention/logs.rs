//! The log files of executions that are no longer kept, and those that are old.
//!
//! Knows that the logs of an execution lie in a folder of its own (written by the runner), and with them what it pinned while it ran. Says how many files went, and their bytes.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// What an execution holds on to for as long as it can be retried.
const PINS: &str = "pins";

/// Removes what an execution said.
pub(super) fn remove_of(folder: &Path, execution: &str) -> io::Result<(u64, u64)> {
    remove_in(&folder.join(execution), |_, _| true)
}

/// Removes what was last written before a time, in milliseconds since 1970.
pub(super) fn remove_before(folder: &Path, before: u64) -> io::Result<(u64, u64)> {
    let before = UNIX_EPOCH + Duration::from_millis(before);
    let (mut files, mut bytes) = (0, 0);
    for execution in absent_is_empty(fs::read_dir(folder))? {
        let is_old = |file: &fs::Metadata| file.modified().is_ok_and(|modified| modified < before);
        let is_log = |path: &Path| path.extension().is_none_or(|extension| extension != PINS);
        let removed = remove_in(&execution?.path(), |path, file| is_log(path) && is_old(file))?;
        files += removed.0;
        bytes += removed.1;
    }
    Ok((files, bytes))
}

fn remove_in(folder: &Path, is_to_go: impl Fn(&Path, &fs::Metadata) -> bool) -> io::Result<(u64, u64)> {
    let (mut files, mut bytes, mut kept) = (0, 0, false);
    for file in absent_is_empty(fs::read_dir(folder))? {
        let file = file?;
        let metadata = file.metadata()?;
        if is_to_go(&file.path(), &metadata) {
            fs::remove_file(file.path())?;
            files += 1;
            bytes += metadata.len();
        } else {
            kept = true;
        }
    }
    if !kept {
        // It may be gone, or an action may have begun to write in it.
        let _ = fs::remove_dir(folder);
    }
    Ok((files, bytes))
}

fn absent_is_empty(folder: io::Result<fs::ReadDir>) -> io::Result<impl Iterator<Item = io::Result<fs::DirEntry>>> {
    match folder {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Ok(None.into_iter().flatten())
        }
        Err(error) => Err(error),
    }
}
