//! Removes a tree that a guest may have made: the one place that does (a test of the house holds it).
//!
//! However deep and wide the tree is, it takes two open directories, no recursion and no path longer than one name: what
//! a directory has below it is moved up to the top of the tree, one level at a time, and the directory itself is removed.
//! Blocks; must not be called on a thread that others wait for.

use std::ffi::CStr;
use std::io;
use std::path::Path;

use rustix::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, chmod, fstat, openat, renameat, unlinkat};
use rustix::io::Errno;
use rustix::path::Arg;

/// Removes a file, a link (never what it points to) or a directory with all that is in it. It is no error that it is not
/// there, or that somebody else removes it at the same time.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    let top = match open_directory(CWD, path) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::NOTDIR | Errno::LOOP) => return Ok(gone(unlinkat(CWD, path, AtFlags::empty()))?),
        top => top?,
    };
    let mut removal = Removal { top: top.as_fd(), moved: 0 };
    // What is moved up while the top is read may come with this reading, or only with the next one.
    while removal.each_entry(removal.top, Removal::remove_entry)? {}
    Ok(gone(unlinkat(CWD, path, AtFlags::REMOVEDIR))?)
}

struct Removal<'a> {
    top: BorrowedFd<'a>,
    /// Names that were tried for what is moved up.
    moved: u64,
}

impl Removal<'_> {
    /// Whether there was one.
    fn each_entry(
        &mut self,
        directory: BorrowedFd<'_>,
        work: fn(&mut Self, BorrowedFd<'_>, &CStr, FileType) -> rustix::io::Result<()>,
    ) -> rustix::io::Result<bool> {
        let mut any = false;
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            if ![c".", c".."].contains(&entry.file_name()) {
                any = true;
                work(self, directory, entry.file_name(), entry.file_type())?;
            }
        }
        Ok(any)
    }

    /// Of the top: it is gone then, and what was below it is in the top.
    fn remove_entry(&mut self, top: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<()> {
        if removed(top, name, kind)? {
            return Ok(());
        }
        open_up(top, name)?;
        let directory = open_directory(top, name)?;
        self.each_entry(directory.as_fd(), Self::move_up)?;
        gone(unlinkat(top, name, AtFlags::REMOVEDIR))
    }

    fn move_up(&mut self, directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<()> {
        if removed(directory, name, kind)? {
            return Ok(());
        }
        open_up(directory, name)?;
        loop {
            self.moved += 1;
            match renameat(directory, name, self.top, format!(".{}", self.moved)) {
                // The name is taken. Each is tried once, so that all of this is linear.
                Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR) => {}
                moved => return gone(moved),
            }
        }
    }
}

/// Lets the owner into a directory: a program may have closed it to everybody.
fn open_up(parent: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<()> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(()),
        directory => directory?,
    };
    let mode = Mode::from_raw_mode(fstat(&directory)?.st_mode);
    if mode.contains(Mode::RWXU) {
        return Ok(());
    }
    // A file that only names a directory is changed by this way alone.
    chmod(format!("/proc/self/fd/{}", directory.as_raw_fd()), mode | Mode::RWXU)
}

/// Whether it is gone: it is not if it is a directory with something in it.
fn removed(directory: BorrowedFd<'_>, name: &CStr, kind: FileType) -> rustix::io::Result<bool> {
    if kind != FileType::Directory {
        match unlinkat(directory, name, AtFlags::empty()) {
            Err(Errno::ISDIR) => {}
            removed => return gone(removed).map(|()| true),
        }
    }
    match unlinkat(directory, name, AtFlags::REMOVEDIR) {
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        removed => gone(removed).map(|()| true),
    }
}

fn open_directory(parent: impl AsFd, name: impl Arg) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(parent, name, flags, Mode::empty())
}

fn gone(removed: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match removed {
        Err(Errno::NOENT) => Ok(()),
        removed => removed,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use rustix::fs::{mkdirat, renameat};

    use super::*;

    #[test]
    fn a_tree_goes_and_what_its_links_point_to_stays() {
        let place = tempfile::tempdir().unwrap();
        let at = |name: &str| place.path().join(name);
        fs::create_dir_all(at("kept/sub")).unwrap();
        fs::create_dir_all(at("tree/.1/a/b/c")).unwrap();
        for file in ["kept/sub/file", "tree/.2", "tree/.1/a/.1", "tree/.1/a/b/c/file"] {
            fs::write(at(file), file).unwrap();
        }
        for closed in ["tree/.1/a/b", "tree/.1"] {
            fs::set_permissions(at(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        for link in ["tree/link", "kept/link"] {
            symlink(at("kept"), at(link)).unwrap();
        }
        symlink(at("kept"), at("alone")).unwrap();
        for path in ["tree", "alone", "nothing"] {
            remove_tree(&at(path)).unwrap();
            assert!(fs::symlink_metadata(at(path)).is_err(), "{path}");
        }
        assert!(at("kept/sub/file").exists());
    }

    /// Deeper than a path can say, than a stack can recurse, and than a process may open files.
    #[test]
    fn depth_does_not_matter() {
        let place = tempfile::tempdir().unwrap();
        let top = open_directory(CWD, place.path()).unwrap();
        mkdirat(&top, "tree", Mode::RWXU).unwrap();
        for _ in 0..30_000 {
            mkdirat(&top, "above", Mode::RWXU).unwrap();
            renameat(&top, "tree", &top, "above/below").unwrap();
            renameat(&top, "above", &top, "tree").unwrap();
        }
        remove_tree(&place.path().join("tree")).unwrap();
        assert!(!place.path().join("tree").exists());
    }
}
