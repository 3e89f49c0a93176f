//! Makes files and directories below a real directory, with the mode that everything has that is made there.
//!
//! Must not know whose directory it is.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::{Mode, OFlags};

use super::error::{FileError, FileResult};
use super::quota::Budget;

pub fn options(write: bool) -> OpenOptions {
    let mut options = OpenOptions::new();
    // Never waits, whatever it is that is opened.
    options.read(true).write(write).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    options
}

/// Makes a directory unless it is there, or, if `follow`, a link to one; whatever else is there is in the way.
pub fn make_directory(top: &Dir, path: &str, budget: &Budget, follow: FollowSymlinks) -> FileResult<()> {
    budget.make(top)?;
    let Err(error) = create_directory(top, path) else { return Ok(()) };
    budget.not_made();
    if error.kind() == io::ErrorKind::AlreadyExists {
        let there = if follow == FollowSymlinks::Yes { top.metadata(path) } else { top.symlink_metadata(path) };
        if there.is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(());
        }
    }
    Err(FileError::io(path, &error))
}

pub fn create_directory(top: &Dir, path: &str) -> io::Result<()> {
    top.create_dir(path)?;
    // Opened like a file: what is opened as a directory only names one.
    set_mode(&top.open_with(path, options(false).follow(FollowSymlinks::No))?, true).map(drop)
}

/// Everybody may read what is made, whatever the umask of the host is: who serves a granted directory is often another user.
/// The bits by which a directory hands its group on stay. Gives the inode's number.
pub fn set_mode(made: impl AsFd, executable: bool) -> io::Result<u64> {
    let stat = rustix::fs::fstat(&made)?;
    let mode = Mode::from_raw_mode(stat.st_mode);
    let wanted =
        mode & (Mode::SUID | Mode::SGID | Mode::SVTX) | Mode::from_raw_mode(if executable { 0o755 } else { 0o644 });
    // With the usual umask it is so already.
    if mode != wanted {
        rustix::fs::fchmod(made, wanted)?;
    }
    Ok(stat.st_ino)
}

/// Makes a new file, in the place of a file or link that was there: a new inode, which nobody else has open, and which
/// has no other name. With the inode's number.
pub fn fresh(top: &Dir, path: &str, executable: bool, budget: &Budget) -> FileResult<(File, u64)> {
    let fail = |error: io::Error| FileError::io(path, &error);
    let mut options = options(true);
    options.create_new(true);
    budget.make(top)?;
    let file = match top.open_with(path, &options) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            top.remove_file(path).map_err(fail)?;
            top.open_with(path, &options)
        }
        opened => opened,
    };
    let file = file.map_err(fail)?;
    let inode = set_mode(&file, executable).map_err(fail)?;
    Ok((file.into_std(), inode))
}
