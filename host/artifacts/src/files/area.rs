//! A real directory that a guest sees: an output, the scratch, or a granted directory.
//!
//! Owns what may be done in it: nothing but regular files, directories and checked links is opened or made, no path leads
//! out (cap-std: openat2 beneath), everything made or written is charged. Paths here are below the area, names joined by
//! `/`, without `.` or `..`, empty for its top. Must not know how guests name areas, nor who may use which.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use cap_fs_ext::{DirExt as _, FollowSymlinks, OpenOptionsFollowExt as _, SystemTimeSpec};
use cap_std::ambient_authority;
use cap_std::fs::{Dir, Metadata, MetadataExt as _};

use super::error::{FileError, FileResult};
use super::fresh::{create_directory, fresh, make_directory, options, set_mode};
use super::hashed::Hashed;
use super::paths;
use super::quota::{Budget, Held};
use super::stat::{FileKind, Stat, kind_of};
use pipewright_base::Digest;
use rustix::io::Errno;

pub struct Area {
    pub role: Role,
    /// As the guest sees it: `/outputs/Site`.
    pub name: String,
    host_path: PathBuf,
    top: OnceLock<Dir>,
    /// Whether it was made here, or begun to be.
    is_begun: AtomicBool,
    pub budget: Arc<Budget>,
    pub hashed: Arc<Hashed>,
    looked_at: AtomicBool,
    /// A link may lie in it, so that a path may lead deeper than its text says.
    has_links: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Output,
    Scratch,
    /// The scratch as a program of the machine left it: what is in it was made by others.
    Left,
    Granted {
        writable: bool,
    },
}

impl Role {
    /// It is there already, and others make what is in it.
    fn is_found(self) -> bool {
        matches!(self, Self::Left | Self::Granted { .. })
    }
}

/// How to open.
#[derive(Clone, Copy, Debug, Default)]
pub struct Open {
    pub write: bool,
    pub create: bool,
    pub exclusive: bool,
    pub truncate: bool,
    pub follow: bool,
}

pub enum Opened {
    Directory,
    File(OpenFile),
}

/// A regular file that is open for a guest.
pub struct OpenFile {
    pub file: File,
    pub writable: bool,
    inode: u64,
    /// `None` for a file of an input.
    area: Option<Arc<Area>>,
    /// Counts against `open_files_max`.
    _held: Held,
}

impl OpenFile {
    pub fn of_input(file: File, held: Held) -> Self {
        Self { file, writable: false, inode: 0, area: None, _held: held }
    }

    pub fn area(&self) -> Option<&Arc<Area>> {
        self.area.as_ref()
    }

    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Writes all of it, or as much as an error left; charged before it is written.
    pub fn write_at(&self, bytes: &[u8], offset: u64) -> FileResult<()> {
        let area = self.for_writing()?;
        area.budget.write(bytes.len() as u64, &self.file)?;
        // Bytes far behind the end make a hole, which reads as bytes and is collected as bytes.
        let end = self.size()?;
        area.budget.write(offset.saturating_sub(end), &self.file)?;
        self.file.write_all_at(bytes, offset).map_err(|error| FileError::io(&area.name, &error))
    }

    pub fn set_size(&self, size: u64) -> FileResult<()> {
        let area = self.for_writing()?;
        area.budget.write(size.saturating_sub(self.size()?), &self.file)?;
        self.changed();
        self.file.set_len(size).map_err(|error| FileError::io(&area.name, &error))
    }

    pub fn size(&self) -> FileResult<u64> {
        Ok(self.file.metadata().map_err(|error| FileError::io("an open file", &error))?.len())
    }

    /// The guest changes the file: what the host knows of its content is void.
    pub fn changed(&self) {
        if let Some(area) = &self.area {
            area.hashed.forget(self.inode);
        }
    }

    fn for_writing(&self) -> FileResult<&Arc<Area>> {
        let area = self.area.as_ref().filter(|_| self.writable);
        area.ok_or_else(|| FileError::invalid(Errno::BADF, "the file is not open for writing"))
    }
}

impl Area {
    pub fn new(role: Role, name: String, host_path: PathBuf, budget: Arc<Budget>) -> Arc<Self> {
        Arc::new(Self {
            role,
            name,
            host_path,
            top: OnceLock::new(),
            is_begun: AtomicBool::new(false),
            budget,
            hashed: Arc::default(),
            looked_at: AtomicBool::new(false),
            has_links: AtomicBool::new(role.is_found()),
        })
    }

    /// True once.
    pub fn is_first_look(&self) -> bool {
        !self.looked_at.swap(true, Relaxed)
    }

    pub fn host_path(&self) -> &PathBuf {
        &self.host_path
    }

    /// Whether the directory was made, or is somebody else's anyway.
    pub fn exists(&self) -> bool {
        self.top.get().is_some() || self.role.is_found()
    }

    /// Whether there may be something at its place, or above it, that somebody has to remove.
    pub fn leaves(&self) -> bool {
        self.is_begun.load(Relaxed) || self.role == Role::Left
    }

    /// Whether times are shown as they are. Those of artifacts are fixed: they are no part of them.
    fn shows_times(&self) -> bool {
        matches!(self.role, Role::Granted { .. })
    }

    /// The directory itself; `None` while an output or the scratch was not yet written to.
    pub fn top(&self) -> FileResult<Option<&Dir>> {
        if let Some(top) = self.top.get() {
            return Ok(Some(top));
        }
        if !self.role.is_found() {
            return Ok(None);
        }
        let top = Dir::open_ambient_dir(&self.host_path, ambient_authority()).map_err(|error| {
            // Where on the host it is, is not for everybody (S124): the grants say it.
            FileError::not_found(format!("{}: cannot open the directory: {error}", self.name))
        })?;
        Ok(Some(self.top.get_or_init(|| top)))
    }

    /// The directory itself, made if need be.
    pub fn made(&self) -> FileResult<&Dir> {
        if let Some(top) = self.top()? {
            return Ok(top);
        }
        self.budget.make_first()?;
        self.is_begun.store(true, Relaxed);
        let fail = |error: io::Error| FileError::broken(format!("{}: cannot make it: {error}", self.name));
        if let Some(parent) = self.host_path.parent() {
            std::fs::create_dir_all(parent).map_err(fail)?;
        }
        // Fails if it is there: what an earlier attempt left must not become part of this one.
        std::fs::create_dir(&self.host_path).map_err(fail)?;
        let top = Dir::open_ambient_dir(&self.host_path, ambient_authority()).map_err(fail)?;
        Ok(self.top.get_or_init(|| top))
    }

    /// The whole path, for people.
    pub fn show(&self, path: &str) -> String {
        paths::join(&self.name, path).trim_end_matches('/').to_owned()
    }

    pub fn fail(&self, path: &str) -> impl FnOnce(io::Error) -> FileError {
        let shown = self.show(path);
        move |error| FileError::io(&shown, &error)
    }

    pub(super) fn existing(&self, path: &str) -> FileResult<&Dir> {
        self.top()?.ok_or_else(|| FileError::not_found(format!("{}: there is nothing yet", self.show(path))))
    }

    pub fn stat(&self, path: &str, follow: bool) -> FileResult<Stat> {
        if path.is_empty() && self.top()?.is_none() {
            return Ok(Stat::unmade(&self.name));
        }
        let top = self.existing(path)?;
        let metadata = if follow { top.metadata(at(path)) } else { top.symlink_metadata(at(path)) };
        Ok(Stat::of(&metadata.map_err(self.fail(path))?, self.shows_times()))
    }

    pub fn stat_open(&self, file: &File) -> FileResult<Stat> {
        let metadata = Metadata::from_file(file).map_err(self.fail(""))?;
        Ok(Stat::of(&metadata, self.shows_times()))
    }

    /// Opens a regular file, or finds that the path is a directory.
    pub fn open(self: &Arc<Self>, path: &str, how: Open) -> FileResult<Opened> {
        let held = self.budget.open()?;
        if path.is_empty() {
            return if how.write { Err(self.is_directory(path)) } else { Ok(Opened::Directory) };
        }
        if how.create {
            self.check_place(path)?;
            let top = self.made()?;
            self.budget.make(top)?;
            let mut options = options(true);
            options.create_new(true);
            match top.open_with(path, &options) {
                Ok(file) => {
                    set_mode(&file, false).map_err(self.fail(path))?;
                    return self.opened(path, file.into_std(), how, held);
                }
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && !how.exclusive => self.budget.not_made(),
                Err(error) => {
                    self.budget.not_made();
                    return Err(self.fail(path)(error));
                }
            }
        }
        let top = self.existing(path)?;
        if self.role.is_found() {
            // Before it is opened: opening alone does something to a FIFO or a device. Guests can make none of those.
            let metadata = if how.follow { top.metadata(path) } else { top.symlink_metadata(path) };
            if kind_of(&metadata.map_err(self.fail(path))?) == FileKind::Other {
                return Err(self.neither(path));
            }
        }
        let mut options = options(how.write || how.truncate);
        options.follow(if how.follow { FollowSymlinks::Yes } else { FollowSymlinks::No });
        let file = top.open_with(path, &options).map_err(self.fail(path))?;
        self.opened(path, file.into_std(), how, held)
    }

    fn opened(self: &Arc<Self>, path: &str, file: File, how: Open, held: Held) -> FileResult<Opened> {
        let metadata = Metadata::from_file(&file).map_err(self.fail(path))?;
        match kind_of(&metadata) {
            FileKind::File => {}
            FileKind::Directory => return Ok(Opened::Directory),
            FileKind::Link | FileKind::Other => return Err(self.neither(path)),
        }
        let inode = metadata.ino();
        if how.write || how.truncate {
            if metadata.nlink() > 1 {
                return Err(self.has_other_names(path));
            }
            self.hashed.forget(inode);
            if how.truncate && metadata.len() > 0 {
                file.set_len(0).map_err(self.fail(path))?;
            }
        }
        Ok(Opened::File(OpenFile { file, writable: how.write, inode, area: Some(Arc::clone(self)), _held: held }))
    }

    /// The digest of a file in an output that the host itself wrote.
    pub fn known(&self, path: &str) -> Option<Digest> {
        let top = self.top.get().filter(|_| self.role == Role::Output && !path.is_empty())?;
        let metadata = top.metadata(path).ok()?;
        self.hashed.get(metadata.ino(), metadata.len())
    }

    /// Opens a regular file for the host to read.
    pub fn open_file(self: &Arc<Self>, path: &str) -> FileResult<OpenFile> {
        match self.open(path, Open { follow: true, ..Open::default() })? {
            Opened::File(file) => Ok(file),
            Opened::Directory => Err(self.is_directory(path)),
        }
    }

    /// Makes a file for the host to write, in the place of what was there; and the directories above it.
    pub fn make_file(self: &Arc<Self>, path: &str, executable: bool) -> FileResult<OpenFile> {
        self.make_directories(paths::split(path).0)?;
        self.check_place(path)?;
        let fresh = fresh(self.made()?, path, executable, &self.budget);
        let (file, inode) = fresh.map_err(|error| error.within(&self.name))?;
        self.hashed.begin(inode, &self.budget)?;
        Ok(OpenFile { file, writable: true, inode, area: Some(Arc::clone(self)), _held: self.budget.open()? })
    }

    /// A directory, for what works on all that is below it.
    pub fn directory(&self, path: &str) -> FileResult<Dir> {
        self.existing(path)?.open_dir(at(path)).map_err(self.fail(path))
    }

    /// A directory and all above it, made if need be.
    pub fn make_directories(&self, path: &str) -> FileResult<()> {
        self.budget.check_path(path)?;
        let top = self.made()?;
        // The usual case is that it is there.
        if path.is_empty() || top.metadata(path).is_ok_and(|metadata| metadata.is_dir()) {
            return Ok(());
        }
        for end in path.match_indices('/').map(|(end, _)| end).chain([path.len()]) {
            self.check_place(&path[..end])?;
            make_directory(top, &path[..end], &self.budget, FollowSymlinks::Yes)
                .map_err(|error| error.within(&self.name))?;
        }
        Ok(())
    }

    pub fn create_directory(&self, path: &str) -> FileResult<()> {
        self.check_place(path)?;
        let top = self.made()?;
        if path.is_empty() {
            let exists = format!("{} is there already", self.name);
            return Err(FileError::invalid(Errno::EXIST, exists));
        }
        self.budget.make(top)?;
        create_directory(top, path).inspect_err(|_| self.budget.not_made()).map_err(self.fail(path))
    }

    pub fn remove_file(&self, path: &str) -> FileResult<()> {
        self.not_the_top(path)?;
        self.existing(path)?.remove_file(path).map_err(self.fail(path))
    }

    pub fn remove_directory(&self, path: &str) -> FileResult<()> {
        self.not_the_top(path)?;
        self.existing(path)?.remove_dir(path).map_err(self.fail(path))
    }

    pub fn read_link(&self, path: &str) -> FileResult<String> {
        let target = self.existing(path)?.read_link_contents(at(path)).map_err(self.fail(path))?;
        target
            .into_os_string()
            .into_string()
            .map_err(|_| FileError::invalid(Errno::ILSEQ, format!("{}: not UTF-8", self.show(path))))
    }

    /// Makes a link whose target was checked here; with `replace` in the place of another link, atomically.
    pub fn make_link(&self, path: &str, target: &str, replace: bool) -> FileResult<()> {
        self.not_the_top(path)?;
        let top = self.made()?;
        self.check_place(path)?;
        self.check_link(path, target)?;
        self.budget.make(top)?;
        self.may_have_links();
        match top.symlink(target, path) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && replace => {}
            Err(error) => {
                self.budget.not_made();
                return Err(self.fail(path)(error));
            }
        }
        if !top.symlink_metadata(path).map_err(self.fail(path))?.is_symlink() {
            let text = format!("{} is there and is not a link", self.show(path));
            return Err(FileError::invalid(Errno::EXIST, text));
        }
        let (parent, name) = paths::split(path);
        let mut attempt = 0_u32;
        loop {
            let aside = paths::join(parent, &format!(".{:.200}.{attempt}.link", name));
            match top.symlink(target, &aside) {
                Ok(()) => return top.rename(&aside, top, path).map_err(self.fail(path)),
                // Left there by a crash, or somebody else's.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && attempt < 100 => attempt += 1,
                Err(error) => return Err(self.fail(path)(error)),
            }
        }
    }

    /// From now on paths are not taken at their word.
    pub fn may_have_links(&self) {
        self.has_links.store(true, Relaxed);
    }

    /// Whether something may be made here: links on the way count with where they lead.
    pub(super) fn check_place(&self, path: &str) -> FileResult<()> {
        self.budget.check_path(path)?;
        if self.has_links.load(Relaxed) && path.contains('/') {
            self.budget.check_depth(path, self.depth_of_parent(path)?)?;
        }
        Ok(())
    }

    /// How deep the directory of this path really lies, links followed.
    fn depth_of_parent(&self, path: &str) -> FileResult<usize> {
        self.depth_of(paths::split(path).0)
    }

    /// How deep a directory really lies, links followed: 0 for the top, 1 for those in it.
    pub fn depth_of(&self, directory: &str) -> FileResult<usize> {
        if directory.is_empty() {
            return Ok(0);
        }
        let real = self.existing(directory)?.canonicalize(directory).map_err(self.fail(directory))?;
        Ok(real.components().filter(|name| matches!(name, std::path::Component::Normal(_))).count())
    }

    fn check_link(&self, path: &str, target: &str) -> FileResult<()> {
        paths::check_target(self.depth_of_parent(path)?, target)
            .map_err(|fault| FileError::invalid(Errno::PERM, format!("the link {} {fault}", self.show(path))))
    }

    pub fn rename(&self, from: &str, to: &str) -> FileResult<()> {
        self.not_the_top(from)?;
        self.not_the_top(to)?;
        let top = self.existing(from)?;
        self.check_place(to)?;
        let metadata = top.symlink_metadata(from).map_err(self.fail(from))?;
        match kind_of(&metadata) {
            FileKind::Link => self.check_link(to, &self.read_link(from)?)?,
            FileKind::Directory => {
                let (old, new) = (self.depth_of_parent(from)?, self.depth_of_parent(to)?);
                if new < old {
                    self.check_links_below(from, new)?;
                }
                if new > old {
                    self.check_levels_below(from, to, new)?;
                }
            }
            FileKind::File | FileKind::Other => {}
        }
        top.rename(from, top, to).map_err(self.fail(from))
    }

    /// What moves takes all that is below it along.
    fn check_levels_below(&self, from: &str, to: &str, new_depth: usize) -> FileResult<()> {
        let levels_max = self.budget.directory_depth_max().saturating_sub(new_depth);
        let levels = super::walk::levels_below(&self.directory(from)?, levels_max).map_err(self.fail(from))?;
        self.budget.check_depth(to, new_depth + levels)
    }

    /// Links that stayed inside where they lie may lead out from less deep.
    fn check_links_below(&self, path: &str, new_depth: usize) -> FileResult<()> {
        let mut listing = self.budget.listing();
        let items = super::walk::directory_items(&self.directory(path)?, &mut listing, &super::walk::Walk::all())
            .map_err(|error| error.within(&self.show(path)))?;
        for item in items {
            if let super::walk::ItemKind::Link { target } = &item.kind {
                paths::check_target(new_depth + 1 + paths::depth(&item.path), target).map_err(|fault| {
                    let text = format!("{}: after the move, the link {} {fault}", self.show(path), item.path);
                    FileError::invalid(Errno::PERM, text)
                })?;
            }
        }
        Ok(())
    }

    pub fn set_executable(self: &Arc<Self>, path: &str, executable: bool) -> FileResult<()> {
        use std::os::unix::fs::PermissionsExt as _;
        let file = self.open_file(path)?.file;
        let metadata = file.metadata().map_err(self.fail(path))?;
        if std::os::unix::fs::MetadataExt::nlink(&metadata) > 1 {
            return Err(self.has_other_names(path));
        }
        let old = metadata.permissions().mode() & 0o7777;
        // Whoever may read it may run it.
        let new = if executable { old | (old & 0o444) >> 2 } else { old & !0o111 };
        if new == old {
            return Ok(());
        }
        file.set_permissions(std::fs::Permissions::from_mode(new)).map_err(self.fail(path))
    }

    /// Makes what was written below a path durable. Outputs and scratch need it not: the host syncs an output when it
    /// takes it in, and the rest does not outlive the call.
    pub fn sync(self: &Arc<Self>, path: &str) -> FileResult<()> {
        if !matches!(self.role, Role::Granted { .. }) {
            return Ok(());
        }
        let parent = self.directory(paths::split(path).0)?;
        if !path.is_empty() && self.stat(path, true)?.kind != FileKind::Directory {
            self.open_file(path)?.file.sync_all().map_err(self.fail(path))?;
            let parent = parent.open(".").map_err(self.fail(path))?;
            return parent.sync_all().map_err(self.fail(path));
        }
        // One call for a whole tree, and the only one that reaches the directories above, too.
        let directory = parent.open(".").map_err(self.fail(path))?;
        rustix::fs::syncfs(&directory).map_err(|error| self.fail(path)(error.into()))
    }

    /// Of an open file, as `sync`.
    pub fn sync_open(&self, file: &OpenFile) -> FileResult<()> {
        if matches!(self.role, Role::Granted { .. }) { file.file.sync_all().map_err(self.fail("")) } else { Ok(()) }
    }

    /// Sets the times where they are shown; elsewhere it does nothing.
    pub fn set_times(
        &self,
        path: &str,
        follow: bool,
        accessed: Option<SystemTimeSpec>,
        modified: Option<SystemTimeSpec>,
    ) -> FileResult<()> {
        if !self.shows_times() {
            return Ok(());
        }
        let top = self.existing(path)?;
        let stat = self.stat(path, follow)?;
        if stat.kind != FileKind::Directory && stat.links > 1 {
            return Err(self.has_other_names(path));
        }
        let set = if follow { Dir::set_times } else { Dir::set_symlink_times };
        set(top, at(path), accessed, modified).map_err(self.fail(path))
    }

    pub(super) fn not_the_top(&self, path: &str) -> FileResult<()> {
        if path.is_empty() {
            return Err(FileError::invalid(Errno::BUSY, format!("{} itself cannot be changed", self.name)));
        }
        Ok(())
    }

    pub fn is_directory(&self, path: &str) -> FileError {
        FileError::invalid(Errno::ISDIR, format!("{} is a directory", self.show(path)))
    }

    fn neither(&self, path: &str) -> FileError {
        let text = format!("{} is neither a file nor a directory: it is not opened", self.show(path));
        FileError::invalid(Errno::PERM, text)
    }

    fn has_other_names(&self, path: &str) -> FileError {
        let text = format!("{} has other names (hard links), and is not changed: copy it first", self.show(path));
        FileError::invalid(Errno::PERM, text)
    }
}

/// The path as the system wants it.
pub fn at(path: &str) -> &str {
    if path.is_empty() { "." } else { path }
}
