//! Going over a directory that a job writes to, while it does: no link is followed, and the depth has a limit.

use std::ffi::{CStr, CString};
use std::io;
use std::iter;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Uid, chownat, fchmod, fchown, openat, openat2,
    statat,
};
use rustix::io::Errno;

/// Deeper than any build goes. For each level a directory is open.
pub(crate) const DEPTH_MAX: usize = 256;

pub(crate) fn open_directory(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// A directory as a place: what is in it cannot be listed by this, and need not be open to whoever finds it.
pub(crate) fn find_directory(at: impl AsFd, name: impl rustix::path::Arg) -> rustix::io::Result<OwnedFd> {
    openat(at, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Of one path, one after another. A machine on which each meets a rename or a mount does nothing else.
const LOOKUPS_MAX: usize = 1000;

/// A path below a directory, as if that were the root. The kernel gives a lookup that goes upwards up (`EAGAIN`) where anything
/// was renamed or mounted meanwhile, anywhere on the machine: it is made again then.
pub(crate) fn open_in_root(
    top: impl AsFd,
    path: &Path,
    flags: OFlags,
    resolve: ResolveFlags,
) -> rustix::io::Result<OwnedFd> {
    let open = || openat2(&top, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve | ResolveFlags::IN_ROOT);
    let mut tries = iter::repeat_with(open).take(LOOKUPS_MAX);
    tries.find(|tried| !matches!(tried, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
}

/// What stopped going over it: too deep, or not to be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WalkError {
    #[error("directories are nested deeper than {DEPTH_MAX}")]
    Depth,
    #[error(transparent)]
    Errno(#[from] Errno),
}

/// Calls `each` with whatever is below the directory: the directory that holds it, its name, and what it is.
pub(crate) fn walk(
    top: BorrowedFd<'_>,
    mut each: impl FnMut(BorrowedFd<'_>, &CStr, &Stat) -> rustix::io::Result<ControlFlow<()>>,
) -> Result<(), WalkError> {
    let mut open = vec![(Dir::read_from(top)?, open_directory(top, ".")?)];
    while let Some((entries, directory)) = open.last_mut() {
        let directory = directory.as_fd();
        let Some(entry) = entries.next().transpose()? else {
            open.pop();
            continue;
        };
        let name: CString = entry.file_name().to_owned();
        if [c".", c".."].contains(&name.as_c_str()) {
            continue;
        }
        // What is gone by now is none of it.
        let Some(stat) = gone(statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW))? else { continue };
        if each(directory, &name, &stat)?.is_break() {
            return Ok(());
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            continue;
        }
        let Some(next) = gone(open_directory(directory, &name))? else { continue };
        if open.len() >= DEPTH_MAX {
            return Err(WalkError::Depth);
        }
        open.push((Dir::read_from(&next)?, next));
    }
    Ok(())
}

fn gone<T>(found: rustix::io::Result<T>) -> rustix::io::Result<Option<T>> {
    match found {
        Ok(it) => Ok(Some(it)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Closes a directory to all but its owner.
pub(crate) fn close(path: &Path) -> io::Result<()> {
    Ok(fchmod(open_directory(CWD, path)?, Mode::RWXU)?)
}

/// Makes a directory and what is in it belong to a user and its group, if there are no more than `most` things in it: says whether
/// that was so.
pub(crate) fn give(path: &Path, id: u32, most: usize) -> io::Result<bool> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    let top = open_directory(CWD, path)?;
    let (mut shared, mut met) = (None, 0);
    let walked = walk(top.as_fd(), |directory, name, stat| {
        met += 1;
        if met > most {
            return Ok(ControlFlow::Break(()));
        }
        if stat.st_uid == id {
            return Ok(ControlFlow::Continue(()));
        }
        // Another name of it would be given away as well.
        if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink > 1 {
            shared = Some(name.to_string_lossy().into_owned());
            return Ok(ControlFlow::Break(()));
        }
        match chownat(directory, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(ControlFlow::Continue(())),
            done => done.map(ControlFlow::Continue),
        }
    });
    walked.map_err(io::Error::other)?;
    if let Some(name) = shared {
        return Err(io::Error::other(format!(
            "`{name}` has another name, so that it may be in use elsewhere; copy it"
        )));
    }
    if met <= most {
        fchown(&top, Some(uid), Some(gid))?;
    }
    Ok(met <= most)
}
