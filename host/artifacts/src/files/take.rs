//! Files that go from one area into another, as `mv` takes them: what a program of the machine made becomes part of an output
//! without being written once more.

use std::io;

use rustix::fs::{Mode, fchmod, flistxattr, fstat};
use rustix::io::Errno;
use rustix::process::geteuid;

use super::area::Area;
use super::copy::open_regular;
use super::error::{FileError, FileResult};
use super::stat::{FileKind, kind_of};

impl Area {
    /// Moves a file here, in the place of a file or link that was there.
    ///
    /// # Errors
    /// `EXDEV` where it can only be copied: it is no file, is known by other names as well, is somebody else's, or has attributes.
    pub fn take(&self, from: &Self, old: &str, new: &str) -> FileResult<()> {
        self.not_the_top(new)?;
        let source = from.existing(old)?;
        let to = self.made()?;
        self.check_place(new)?;
        if kind_of(&source.symlink_metadata(old).map_err(from.fail(old))?) != FileKind::File {
            return Err(from.only_copied(old));
        }
        let file = open_regular(source, old).map_err(|error| error.within(&from.name))?;
        let failing = |error: Errno| from.fail(old)(io::Error::from(error));
        let stat = fstat(&file).map_err(failing)?;
        let is_ours = stat.st_nlink == 1 && stat.st_uid == geteuid().as_raw();
        let is_plain = matches!(flistxattr(&file, &mut [0_u8; 1]), Ok(0) | Err(Errno::NOTSUP));
        if !is_ours || !is_plain {
            return Err(from.only_copied(old));
        }
        self.budget.make(to)?;
        self.budget.write(stat.st_size.cast_unsigned(), to)?;
        let mode = if stat.st_mode & 0o100 == 0 { 0o644 } else { 0o755 };
        fchmod(&file, Mode::from_raw_mode(mode)).map_err(failing)?;
        // Its number may have been that of a file that was known.
        self.hashed.forget(stat.st_ino);
        source.rename(old, to, new).map_err(self.fail(new))
    }

    fn only_copied(&self, path: &str) -> FileError {
        FileError::invalid(Errno::XDEV, format!("{} can be copied, and not moved", self.show(path)))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt, chown, symlink};
    use std::path::Path;
    use std::sync::Arc;

    use pipewright_base::Digest;
    use pipewright_base::memory::HostMemory;

    use super::super::{Budget, FileQuota, Floor, Role};
    use super::*;

    /// Prepares `there` below the scratch, takes `a/file` of it as `taken`; with what the output knows of the file, and why not.
    fn check(prepare: impl FnOnce(&Path), budget: &Arc<Budget>, expected: Result<(u32, &str), Errno>) {
        let world = tempfile::tempdir().unwrap();
        let at = |name: &str| world.path().join(name);
        fs::create_dir_all(at("scratch/a")).unwrap();
        fs::write(at("scratch/a/file"), "made").unwrap();
        prepare(world.path());
        let scratch = Area::new(Role::Left, "/scratch".to_owned(), at("scratch"), Arc::clone(budget));
        let output = Area::new(Role::Output, "/outputs/out".to_owned(), at("out"), Arc::clone(budget));
        // As of a file that is gone, whose number it has now.
        let known = fs::symlink_metadata(at("scratch/a/file")).map_or(0, |found| found.ino());
        output.hashed.begin(known, budget).unwrap();
        output.hashed.finish(known, Digest::of(b"gone"), 4);
        let taken = output.take(&scratch, "a/file", "taken").map_err(|error| error.errno);
        let seen = taken.map(|()| {
            assert!(!at("scratch/a/file").exists());
            assert_eq!(output.known("taken"), None);
            let mode = fs::symlink_metadata(at("out/taken")).unwrap().mode() & 0o7777;
            (mode, fs::read_to_string(at("out/taken")).unwrap())
        });
        assert_eq!(seen, expected.map(|(mode, content)| (mode, content.to_owned())));
        assert_eq!(at("out/taken").exists(), expected.is_ok());
    }

    #[test]
    fn only_what_is_nobody_elses_moves() {
        let plenty = Budget::unlimited();
        let file = |world: &Path| world.join("scratch/a/file");
        let with_mode =
            |mode| move |world: &Path| fs::set_permissions(file(world), PermissionsExt::from_mode(mode)).unwrap();
        check(|_| (), &plenty, Ok((0o644, "made")));
        check(with_mode(0o600), &plenty, Ok((0o644, "made")));
        check(with_mode(0o6777), &plenty, Ok((0o755, "made")));
        check(|world| fs::hard_link(file(world), world.join("scratch/other")).unwrap(), &plenty, Err(Errno::XDEV));
        let replaced = |by: fn(&Path)| {
            move |world: &Path| {
                fs::remove_file(file(world)).unwrap();
                by(&file(world));
            }
        };
        check(replaced(|path| fs::create_dir(path).unwrap()), &plenty, Err(Errno::XDEV));
        check(replaced(|path| symlink("../../secret", path).unwrap()), &plenty, Err(Errno::XDEV));
        check(replaced(|_| ()), &plenty, Err(Errno::NOENT));
        let fifo = |path: &Path| rustix::fs::mkfifoat(rustix::fs::CWD, path, Mode::RWXU).unwrap();
        check(replaced(fifo), &plenty, Err(Errno::XDEV));
        let set = |path: &Path| rustix::fs::setxattr(path, "user.more", b"1", rustix::fs::XattrFlags::empty());
        // Not every file system has them.
        if set(tempfile::NamedTempFile::new().unwrap().path()).is_ok() {
            check(|world| set(&file(world)).unwrap(), &plenty, Err(Errno::XDEV));
        }
        if geteuid().is_root() {
            check(|world| chown(file(world), Some(1234), None).unwrap(), &plenty, Err(Errno::XDEV));
        }
        // Through a link that leads out.
        let out = |world: &Path| {
            fs::rename(world.join("scratch/a"), world.join("away")).unwrap();
            symlink("../away", world.join("scratch/a")).unwrap();
        };
        check(out, &plenty, Err(Errno::PERM));
        let quota = FileQuota { bytes_max: 3, ..FileQuota::default() };
        let little = Budget::new(quota, HostMemory::alone(1 << 20), Floor::default());
        check(|_| (), &little, Err(Errno::DQUOT));
    }
}
