//! wasi:filesystem, the language of every standard library, in place of wasmtime-wasi's own: one directory `/`, below
//! which everything lies.
//!
//! A directory's descriptor is its path; a file's is the open file. Nothing here waits: the calls are plain ones.

use std::sync::Arc;

use pipewright_artifacts::files::{
    CHUNK_BYTES, ChildKind, FileError, FileKind, Found, Held, Listing, Open, OpenFile, Opened, Role, Stat, kind_of,
    missing_blob,
};
use rustix::io::Errno;
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTableError};
use wasmtime_wasi::p2::bindings::clocks::wall_clock::Datetime;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

pub(super) use self::bindings::wasi::filesystem::types::ErrorCode;
use self::bindings::wasi::filesystem::{preopens, types as abi};
use super::streams::{Reader, Writer};
use super::{Place, Shared, Want, not_in};
use crate::state::State;
use pipewright_base::memory::Charge;

mod bindings {
    #![allow(unreachable_pub, missing_debug_implementations, dead_code, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package pipewright:files;
            world files {
                import wasi:filesystem/types@0.2.12;
                import wasi:filesystem/preopens@0.2.12;
            }
        ",
        world: "pipewright:files/files",
        imports: { default: trappable },
        trappable_error_type: { "wasi:filesystem/types.error-code" => super::Failure },
        with: {
            "wasi:io": wasmtime_wasi::p2::bindings::io,
            "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
            "wasi:filesystem/types.descriptor": super::Descriptor,
            "wasi:filesystem/types.directory-entry-stream": super::Names,
        },
        require_store_data_send: true,
    });
}

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    preopens::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

pub struct Descriptor {
    /// Without the leading `/`.
    location: String,
    what: What,
    _charge: Charge,
}

enum What {
    /// Counts against `open_files_max`, like a file.
    Directory {
        _held: Held,
    },
    File(Arc<OpenFile>),
}

/// The names in a directory that were not read yet.
pub struct Names {
    ahead: std::vec::IntoIter<abi::DirectoryEntry>,
    /// Gives the host's memory back to the budget.
    _listing: Listing,
}

/// What WASI is told: a code, or the end of the guest.
pub enum Failure {
    Code(ErrorCode),
    Trap(wasmtime::Error),
}

impl From<FileError> for Failure {
    fn from(error: FileError) -> Self {
        match error.ends() {
            Some(limit) => Self::Trap(limit.into()),
            None => Self::Code(code_of(error.errno)),
        }
    }
}

impl From<ErrorCode> for Failure {
    fn from(code: ErrorCode) -> Self {
        Self::Code(code)
    }
}

impl From<ResourceTableError> for Failure {
    fn from(error: ResourceTableError) -> Self {
        Self::Trap(error.into())
    }
}

type Outcome<T> = Result<T, Failure>;
type Fd = Resource<Descriptor>;

impl State {
    /// Where `path` leads, seen from a directory's descriptor.
    fn resolve_at(&self, fd: &Fd, path: &str) -> Outcome<(Arc<Shared>, String)> {
        let descriptor = self.table.get(fd)?;
        let What::Directory { .. } = descriptor.what else { return Err(ErrorCode::NotDirectory.into()) };
        if path.starts_with('/') {
            return Err(ErrorCode::NotPermitted.into());
        }
        if path.is_empty() {
            return Err(ErrorCode::NoEntry.into());
        }
        let shared = Arc::clone(&self.files.shared);
        let location = shared.resolve(&descriptor.location, path)?;
        Ok((shared, location))
    }

    fn open_file_of(&self, fd: &Fd) -> Outcome<&Arc<OpenFile>> {
        match &self.table.get(fd)?.what {
            What::File(file) => Ok(file),
            What::Directory { .. } => Err(ErrorCode::IsDirectory.into()),
        }
    }

    fn stat_of(&self, fd: &Fd) -> Outcome<Stat> {
        let descriptor = self.table.get(fd)?;
        if let What::File(file) = &descriptor.what
            && let Some(area) = file.area()
        {
            return Ok(area.stat_open(&file.file)?);
        }
        let shared = &self.files.shared;
        let place = shared.place(&descriptor.location, Want::Read, "stat")?;
        Ok(shared.stat(&place, &descriptor.location, true)?)
    }

    /// Changes something by its path, journaled where the directory is a granted one.
    fn change(
        &self,
        fd: &Fd,
        path: &str,
        operation: &'static str,
        work: impl FnOnce(&Arc<super::Area>, &str) -> Result<(), FileError>,
    ) -> Outcome<()> {
        let (shared, location) = self.resolve_at(fd, path)?;
        let place = shared.place(&location, Want::Write, operation)?;
        let Place::Area(area, path) = place else { return Err(ErrorCode::NotPermitted.into()) };
        Ok(shared.journaled(operation, &[(&place, &location)], |()| 0, || work(area, path))?)
    }

    fn set_times_of(
        &self,
        location: &str,
        follow: bool,
        accessed: abi::NewTimestamp,
        modified: abi::NewTimestamp,
    ) -> Outcome<()> {
        let shared = &self.files.shared;
        let place = shared.place(location, Want::Write, "set-times")?;
        let Place::Area(area, path) = place else { return Err(ErrorCode::NotPermitted.into()) };
        let (accessed, modified) = (time_of(accessed)?, time_of(modified)?);
        let set = || area.set_times(path, follow, accessed, modified);
        Ok(shared.journaled("set-times", &[(&place, location)], |()| 0, set)?)
    }
}

impl Shared {
    fn open_at(self: &Arc<Self>, location: String, how: Open, directory: bool) -> Outcome<Descriptor> {
        let writes = how.write || how.create || how.truncate;
        // The journal tells the two apart: they need different grants.
        let (want, operation) = if writes { (Want::Write, "open-writable") } else { (Want::Read, "open") };
        let place = self.place(&location, want, operation)?;
        let opened = match place {
            Place::Names(_) => Opened::Directory,
            Place::Area(area, path) => {
                self.journaled(operation, &[(&place, &location)], |_| 0, || area.open(path, how))?
            }
            Place::Input(input, path) => match input.tree.find(path, how.follow) {
                Err(missing) => return Err(not_in(input, path, missing).into()),
                Ok(Found::Link(_)) => return Err(ErrorCode::Loop.into()),
                Ok(Found::Directory(_)) => Opened::Directory,
                Ok(Found::File { digest, .. }) => {
                    let held = self.budget.open()?;
                    let file = input.blobs.open(digest);
                    let file = file.map_err(|error| missing_blob(&input.name, path, digest, &error))?;
                    Opened::File(OpenFile::of_input(file, held))
                }
            },
        };
        let what = match opened {
            Opened::File(_) if directory => return Err(ErrorCode::NotDirectory.into()),
            Opened::File(file) => What::File(Arc::new(file)),
            Opened::Directory => What::Directory { _held: self.budget.open()? },
        };
        let _charge = self.budget.charge(location.capacity())?;
        Ok(Descriptor { location, what, _charge })
    }

    /// The names in a directory, in the order of their bytes.
    fn read_directory(&self, location: &str) -> Outcome<Names> {
        let mut listing = self.budget.listing();
        let mut entries = Vec::new();
        let mut add = |name: String, type_| -> Result<(), FileError> {
            listing.add(&name)?;
            entries.push(abi::DirectoryEntry { type_, name });
            Ok(())
        };
        match self.place(location, Want::Read, "list")? {
            Place::Names(names) => {
                for name in self.names(names) {
                    add(name, abi::DescriptorType::Directory)?;
                }
            }
            Place::Input(input, path) => {
                let found = input.tree.find(path, true).map_err(|missing| not_in(input, path, missing))?;
                let Found::Directory(directory) = found else { return Err(ErrorCode::NotDirectory.into()) };
                for (name, kind) in input.tree.children(&directory) {
                    let kind = match kind {
                        ChildKind::File => abi::DescriptorType::RegularFile,
                        ChildKind::Link => abi::DescriptorType::SymbolicLink,
                        ChildKind::Directory => abi::DescriptorType::Directory,
                    };
                    add(name.to_owned(), kind)?;
                }
            }
            Place::Area(area, path) => {
                if path.is_empty() && area.top()?.is_none() {
                    return Ok(Names { ahead: Vec::new().into_iter(), _listing: listing });
                }
                for entry in area.directory(path)?.entries().map_err(area.fail(path))? {
                    let entry = entry.map_err(area.fail(path))?;
                    let name = entry.file_name().into_string().map_err(|_| ErrorCode::IllegalByteSequence)?;
                    let kind = kind_of(&entry.metadata().map_err(area.fail(path))?);
                    add(name, type_of(kind))?;
                }
            }
        }
        entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        Ok(Names { ahead: entries.into_iter(), _listing: listing })
    }
}

impl preopens::Host for State {
    fn get_directories(&mut self) -> wasmtime::Result<Vec<(Fd, String)>> {
        let budget = &self.files.shared.budget;
        let what = What::Directory { _held: budget.open()? };
        let root = self.table.push(Descriptor { location: String::new(), what, _charge: budget.charge(0)? })?;
        Ok(vec![(root, "/".to_owned())])
    }
}

impl abi::Host for State {
    fn convert_error_code(&mut self, failure: Failure) -> wasmtime::Result<ErrorCode> {
        match failure {
            Failure::Code(code) => Ok(code),
            Failure::Trap(trap) => Err(trap),
        }
    }

    fn filesystem_error_code(&mut self, error: Resource<wasmtime::Error>) -> wasmtime::Result<Option<ErrorCode>> {
        Ok(code_of_stream_error(self.table.get(&error)?))
    }
}

impl abi::HostDescriptor for State {
    fn read_via_stream(&mut self, fd: Fd, offset: u64) -> Outcome<Resource<DynInputStream>> {
        let reader: DynInputStream = Box::new(Reader::new(Arc::clone(self.open_file_of(&fd)?), offset));
        Ok(self.table.push(reader)?)
    }

    fn write_via_stream(&mut self, fd: Fd, offset: u64) -> Outcome<Resource<DynOutputStream>> {
        let file = Arc::clone(self.open_file_of(&fd)?);
        if !file.writable {
            return Err(ErrorCode::NotPermitted.into());
        }
        let writer: DynOutputStream = Box::new(Writer::at(file, offset));
        Ok(self.table.push(writer)?)
    }

    fn append_via_stream(&mut self, fd: Fd) -> Outcome<Resource<DynOutputStream>> {
        let file = Arc::clone(self.open_file_of(&fd)?);
        if !file.writable {
            return Err(ErrorCode::NotPermitted.into());
        }
        let writer: DynOutputStream = Box::new(Writer::at_end(file));
        Ok(self.table.push(writer)?)
    }

    fn advise(&mut self, fd: Fd, _offset: u64, _length: u64, _advice: abi::Advice) -> Outcome<()> {
        self.open_file_of(&fd).map(|_| ())
    }

    fn sync_data(&mut self, fd: Fd) -> Outcome<()> {
        self.sync(fd)
    }

    fn get_flags(&mut self, fd: Fd) -> Outcome<abi::DescriptorFlags> {
        Ok(match &self.table.get(&fd)?.what {
            What::Directory { .. } => abi::DescriptorFlags::READ | abi::DescriptorFlags::MUTATE_DIRECTORY,
            What::File(file) if file.writable => abi::DescriptorFlags::READ | abi::DescriptorFlags::WRITE,
            What::File(_) => abi::DescriptorFlags::READ,
        })
    }

    fn get_type(&mut self, fd: Fd) -> Outcome<abi::DescriptorType> {
        Ok(match self.table.get(&fd)?.what {
            What::Directory { .. } => abi::DescriptorType::Directory,
            What::File(_) => abi::DescriptorType::RegularFile,
        })
    }

    fn set_size(&mut self, fd: Fd, size: u64) -> Outcome<()> {
        Ok(self.open_file_of(&fd)?.set_size(size)?)
    }

    /// The times of artifacts are fixed: setting them does nothing, so that programs which always do still work.
    fn set_times(&mut self, fd: Fd, accessed: abi::NewTimestamp, modified: abi::NewTimestamp) -> Outcome<()> {
        self.set_times_of(&self.table.get(&fd)?.location, true, accessed, modified)
    }

    fn read(&mut self, fd: Fd, length: u64, offset: u64) -> Outcome<(Vec<u8>, bool)> {
        use std::os::unix::fs::FileExt as _;
        let length = usize::try_from(length).unwrap_or(usize::MAX).min(CHUNK_BYTES);
        let mut bytes = vec![0; length];
        let read = self.open_file_of(&fd)?.file.read_at(&mut bytes, offset);
        let read = read.map_err(|error| FileError::io("an open file", &error))?;
        bytes.truncate(read);
        Ok((bytes, read == 0 && length > 0))
    }

    fn write(&mut self, fd: Fd, bytes: Vec<u8>, offset: u64) -> Outcome<u64> {
        let file = self.open_file_of(&fd)?;
        file.changed();
        file.write_at(&bytes, offset)?;
        Ok(bytes.len() as u64)
    }

    fn read_directory(&mut self, fd: Fd) -> Outcome<Resource<Names>> {
        let descriptor = self.table.get(&fd)?;
        let What::Directory { .. } = descriptor.what else { return Err(ErrorCode::NotDirectory.into()) };
        let names = self.files.shared.read_directory(&descriptor.location)?;
        Ok(self.table.push(names)?)
    }

    fn sync(&mut self, fd: Fd) -> Outcome<()> {
        let descriptor = self.table.get(&fd)?;
        let What::File(file) = &descriptor.what else { return Ok(()) };
        let Some(area) = file.area() else { return Ok(()) };
        Ok(area.sync_open(file)?)
    }

    fn create_directory_at(&mut self, fd: Fd, path: String) -> Outcome<()> {
        self.change(&fd, &path, "create-directory", |area, path| area.create_directory(path))
    }

    fn stat(&mut self, fd: Fd) -> Outcome<abi::DescriptorStat> {
        Ok(stat_for_guest(&self.stat_of(&fd)?))
    }

    fn stat_at(&mut self, fd: Fd, flags: abi::PathFlags, path: String) -> Outcome<abi::DescriptorStat> {
        let (shared, location) = self.resolve_at(&fd, &path)?;
        let place = shared.place(&location, Want::Read, "stat")?;
        Ok(stat_for_guest(&shared.stat(&place, &location, follows(flags))?))
    }

    fn set_times_at(
        &mut self,
        fd: Fd,
        flags: abi::PathFlags,
        path: String,
        accessed: abi::NewTimestamp,
        modified: abi::NewTimestamp,
    ) -> Outcome<()> {
        let (_, location) = self.resolve_at(&fd, &path)?;
        self.set_times_of(&location, follows(flags), accessed, modified)
    }

    /// There are no hard links: a file with two names would be one that somebody else can still change.
    fn link_at(&mut self, _: Fd, _: abi::PathFlags, _: String, _: Fd, _: String) -> Outcome<()> {
        Err(ErrorCode::NotPermitted.into())
    }

    fn open_at(
        &mut self,
        fd: Fd,
        flags: abi::PathFlags,
        path: String,
        open: abi::OpenFlags,
        access: abi::DescriptorFlags,
    ) -> Outcome<Fd> {
        let (shared, location) = self.resolve_at(&fd, &path)?;
        let how = Open {
            write: access.contains(abi::DescriptorFlags::WRITE),
            create: open.contains(abi::OpenFlags::CREATE),
            exclusive: open.contains(abi::OpenFlags::EXCLUSIVE),
            truncate: open.contains(abi::OpenFlags::TRUNCATE),
            follow: follows(flags),
        };
        let descriptor = shared.open_at(location, how, open.contains(abi::OpenFlags::DIRECTORY))?;
        Ok(self.table.push(descriptor)?)
    }

    fn readlink_at(&mut self, fd: Fd, path: String) -> Outcome<String> {
        let (shared, location) = self.resolve_at(&fd, &path)?;
        match shared.place(&location, Want::Read, "read-link")? {
            Place::Names(_) => Err(ErrorCode::Invalid.into()),
            Place::Area(area, path) => Ok(area.read_link(path)?),
            Place::Input(input, path) => match input.tree.find(path, false) {
                Ok(Found::Link(target)) => Ok(target.to_owned()),
                Ok(_) => Err(ErrorCode::Invalid.into()),
                Err(missing) => Err(not_in(input, path, missing).into()),
            },
        }
    }

    fn remove_directory_at(&mut self, fd: Fd, path: String) -> Outcome<()> {
        self.change(&fd, &path, "remove-directory", |area, path| area.remove_directory(path))
    }

    fn rename_at(&mut self, fd: Fd, path: String, new_fd: Fd, new_path: String) -> Outcome<()> {
        let (shared, from) = self.resolve_at(&fd, &path)?;
        let (_, to) = self.resolve_at(&new_fd, &new_path)?;
        let (from_place, to_place) =
            (shared.place(&from, Want::Write, "rename")?, shared.place(&to, Want::Write, "rename")?);
        let (Place::Area(area, old), Place::Area(other, new)) = (from_place, to_place) else {
            return Err(ErrorCode::NotPermitted.into());
        };
        let takes = matches!((area.role, other.role), (Role::Scratch | Role::Left, Role::Output));
        if !takes && !Arc::ptr_eq(area, other) {
            return Err(ErrorCode::CrossDevice.into());
        }
        let work = || if takes { other.take(area, old, new) } else { area.rename(old, new) };
        let places = [(&from_place, from.as_str()), (&to_place, to.as_str())];
        match shared.journaled("rename", &places, |()| 0, work) {
            // Whoever moves files falls back to copying by this code alone.
            Err(error) if takes && error.errno == Errno::XDEV => Err(ErrorCode::CrossDevice.into()),
            done => Ok(done?),
        }
    }

    fn symlink_at(&mut self, fd: Fd, target: String, path: String) -> Outcome<()> {
        self.change(&fd, &path, "link", |area, path| area.make_link(path, &target, false))
    }

    fn unlink_file_at(&mut self, fd: Fd, path: String) -> Outcome<()> {
        self.change(&fd, &path, "remove", |area, path| area.remove_file(path))
    }

    fn is_same_object(&mut self, fd: Fd, other: Fd) -> wasmtime::Result<bool> {
        match (self.stat_of(&fd), self.stat_of(&other)) {
            (Ok(one), Ok(other)) => Ok(one.identity == other.identity),
            (Err(Failure::Trap(trap)), _) | (_, Err(Failure::Trap(trap))) => Err(trap),
            _ => Ok(false),
        }
    }

    fn metadata_hash(&mut self, fd: Fd) -> Outcome<abi::MetadataHashValue> {
        let (upper, lower) = self.stat_of(&fd)?.identity;
        Ok(abi::MetadataHashValue { lower, upper })
    }

    fn metadata_hash_at(&mut self, fd: Fd, flags: abi::PathFlags, path: String) -> Outcome<abi::MetadataHashValue> {
        let (shared, location) = self.resolve_at(&fd, &path)?;
        let place = shared.place(&location, Want::Read, "stat")?;
        let (upper, lower) = shared.stat(&place, &location, follows(flags))?.identity;
        Ok(abi::MetadataHashValue { lower, upper })
    }

    fn drop(&mut self, fd: Fd) -> wasmtime::Result<()> {
        self.table.delete(fd)?;
        Ok(())
    }
}

impl abi::HostDirectoryEntryStream for State {
    fn read_directory_entry(&mut self, names: Resource<Names>) -> Outcome<Option<abi::DirectoryEntry>> {
        Ok(self.table.get_mut(&names)?.ahead.next())
    }

    fn drop(&mut self, names: Resource<Names>) -> wasmtime::Result<()> {
        self.table.delete(names)?;
        Ok(())
    }
}

fn follows(flags: abi::PathFlags) -> bool {
    flags.contains(abi::PathFlags::SYMLINK_FOLLOW)
}

fn type_of(kind: FileKind) -> abi::DescriptorType {
    match kind {
        FileKind::File => abi::DescriptorType::RegularFile,
        FileKind::Directory => abi::DescriptorType::Directory,
        FileKind::Link => abi::DescriptorType::SymbolicLink,
        FileKind::Other => abi::DescriptorType::Unknown,
    }
}

fn stat_for_guest(stat: &Stat) -> abi::DescriptorStat {
    let times = stat.times.unwrap_or_default().map(|(seconds, nanoseconds)| {
        Some(Datetime {
            seconds: u64::try_from(seconds).unwrap_or(0),
            nanoseconds: u32::try_from(nanoseconds).unwrap_or(0),
        })
    });
    let [data_access_timestamp, data_modification_timestamp, status_change_timestamp] = times;
    abi::DescriptorStat {
        type_: type_of(stat.kind),
        link_count: stat.links,
        size: stat.size,
        data_access_timestamp,
        data_modification_timestamp,
        status_change_timestamp,
    }
}

fn time_of(time: abi::NewTimestamp) -> Outcome<Option<cap_fs_ext::SystemTimeSpec>> {
    use cap_fs_ext::SystemTimeSpec;
    Ok(match time {
        abi::NewTimestamp::NoChange => None,
        abi::NewTimestamp::Now => Some(SystemTimeSpec::SymbolicNow),
        abi::NewTimestamp::Timestamp(time) => {
            let since = std::time::Duration::new(time.seconds, time.nanoseconds);
            let time = std::time::SystemTime::UNIX_EPOCH.checked_add(since).ok_or(ErrorCode::Overflow)?;
            Some(SystemTimeSpec::Absolute(cap_std::time::SystemTime::from_std(time)))
        }
    })
}

/// WASI's code for an error that a stream carried.
fn code_of_stream_error(error: &wasmtime::Error) -> Option<ErrorCode> {
    if let Some(error) = error.downcast_ref::<FileError>() {
        return Some(code_of(error.errno));
    }
    error.downcast_ref::<std::io::Error>().and_then(Errno::from_io_error).map(code_of)
}

fn code_of(errno: Errno) -> ErrorCode {
    match errno {
        Errno::ACCESS => ErrorCode::Access,
        Errno::PERM | Errno::XDEV => ErrorCode::NotPermitted,
        Errno::NOENT => ErrorCode::NoEntry,
        Errno::EXIST => ErrorCode::Exist,
        Errno::ISDIR => ErrorCode::IsDirectory,
        Errno::NOTDIR => ErrorCode::NotDirectory,
        Errno::NOTEMPTY => ErrorCode::NotEmpty,
        Errno::LOOP => ErrorCode::Loop,
        Errno::ILSEQ => ErrorCode::IllegalByteSequence,
        Errno::NAMETOOLONG => ErrorCode::NameTooLong,
        Errno::INVAL => ErrorCode::Invalid,
        Errno::BADF => ErrorCode::BadDescriptor,
        Errno::BUSY => ErrorCode::Busy,
        Errno::FBIG => ErrorCode::FileTooLarge,
        Errno::NOSPC => ErrorCode::InsufficientSpace,
        Errno::DQUOT => ErrorCode::Quota,
        Errno::ROFS => ErrorCode::ReadOnly,
        Errno::TXTBSY => ErrorCode::TextFileBusy,
        Errno::MLINK => ErrorCode::TooManyLinks,
        Errno::NXIO => ErrorCode::NoSuchDevice,
        Errno::INTR => ErrorCode::Interrupted,
        Errno::NOMEM => ErrorCode::InsufficientMemory,
        _ => ErrorCode::Io,
    }
}
