//! Unpacking the layers of an OCI image (image specification, "Image Layer Filesystem Changeset") into one directory, one layer
//! upon the other.
//!
//! A layer was made by strangers. No name or link in it leads out of the directory; it brings no devices, FIFOs or set-user-id
//! files; everything belongs to whoever unpacks it, who may read it. How much it is, is limited.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use flate2::read::MultiGzDecoder;
use pipewright_artifacts::files::remove_tree;
use pipewright_base::{Digest, Hasher};
use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, fchmod, futimens, linkat, mkdirat,
    openat, statat, symlinkat,
};
use rustix::io::Errno;
use ruzstd::decoding::StreamingDecoder;
use serde::{Deserialize, Serialize};
use tar::{Archive, Entry, EntryType, PaxExtensions};

use crate::tree::{open_directory, open_in_root};

/// The limits of one layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnpackLimits {
    /// Stops a small layer that is huge once it is decompressed.
    pub bytes_max: u64,
    /// Stops a layer of a great many empty files.
    pub entries_max: u64,
}

impl Default for UnpackLimits {
    fn default() -> Self {
        Self { bytes_max: 16 << 30, entries_max: 1_000_000 }
    }
}

/// What was made of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpacked {
    /// Of the decompressed archive: what an image's configuration calls the layer's `diff_id`.
    pub digest: Digest,
    /// Decompressed.
    pub bytes: u64,
    pub entries: u64,
    /// Devices and FIFOs, which were left out.
    pub left_out: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("a layer is more than {0} bytes when it is decompressed")]
    Bytes(u64),
    #[error("a layer has more than {0} entries")]
    Entries(u64),
    #[error("a layer's entry `{0}` {1}")]
    Entry(String, String),
    #[error("a layer cannot be read: {0}")]
    Read(io::Error),
}

/// Names and links longer than any path, and extended headers of which that is all that is used.
const EXTENSION_BYTES_MAX: u64 = 64 << 10;
/// A mark that removes what lower layers had: of one name, or of a directory's whole content.
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// Unpacks a layer, whose compression is seen by how it begins, upon the layers below it. It blocks; what was unpacked before an
/// error stays.
pub fn unpack(layer: impl Read, into: &Path, limits: &UnpackLimits) -> Result<Unpacked, UnpackError> {
    let mut layer = BufReader::new(layer);
    let begin = io::BufRead::fill_buf(&mut layer).map_err(UnpackError::Read)?;
    let tar: Box<dyn Read> = if begin.starts_with(&[0x1f, 0x8b]) {
        Box::new(MultiGzDecoder::new(layer))
    } else if begin.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        Box::new(StreamingDecoder::new(layer).map_err(|error| UnpackError::Read(io::Error::other(error)))?)
    } else {
        Box::new(layer)
    };
    let top = open_directory(rustix::fs::CWD, into).map_err(|error| UnpackError::Read(error.into()))?;
    let mut layer = Layer { top, made: HashSet::new(), entries: 0, left_out: 0 };
    // One more, so that a layer of just so many bytes is told from a longer one.
    let limited = Hashed { read: tar.take(limits.bytes_max.saturating_add(1)), hasher: Hasher::default() };
    let mut archive = Archive::new(limited);
    let done = layer.entries(&mut archive, limits);
    let mut rest = archive.into_inner();
    // What follows the archive's end belongs to the digest.
    let ended = if done.is_ok() { io::copy(&mut rest, &mut io::sink()).map_err(UnpackError::Read) } else { Ok(0) };
    let bytes = limits.bytes_max.saturating_add(1) - rest.read.limit();
    if bytes > limits.bytes_max {
        return Err(UnpackError::Bytes(limits.bytes_max));
    }
    done?;
    ended?;
    Ok(Unpacked { digest: rest.hasher.finish(), bytes, entries: layer.entries, left_out: layer.left_out })
}

struct Hashed<R> {
    read: R,
    hasher: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read.read(buffer)?;
        self.hasher.update(&buffer[..read]);
        Ok(read)
    }
}

struct Layer {
    top: OwnedFd,
    /// The inodes of what this layer has, which its own marks do not remove.
    made: HashSet<u64>,
    entries: u64,
    left_out: u64,
}

/// What came before an entry, for its name and link are too long for it.
#[derive(Default)]
struct Long {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
}

impl Layer {
    fn entries(&mut self, archive: &mut Archive<impl Read>, limits: &UnpackLimits) -> Result<(), UnpackError> {
        let mut long = Long::default();
        // Raw: the reader would take names of any length into memory by itself.
        for entry in archive.entries().map_err(UnpackError::Read)?.raw(true) {
            let mut entry = entry.map_err(UnpackError::Read)?;
            self.entries += 1;
            if self.entries > limits.entries_max {
                return Err(UnpackError::Entries(limits.entries_max));
            }
            if long.take(&mut entry).map_err(UnpackError::Read)? {
                continue;
            }
            let Long { path, link } = std::mem::take(&mut long);
            let path = path.unwrap_or_else(|| entry.path_bytes().into_owned());
            let link = link.or_else(|| entry.link_name_bytes().map(|link| link.into_owned()));
            self.entry(&mut entry, &path, link.as_deref())
                .map_err(|error| UnpackError::Entry(String::from_utf8_lossy(&path).into_owned(), error.to_string()))?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: &mut Entry<'_, impl Read>, path: &[u8], link: Option<&[u8]>) -> io::Result<()> {
        let Some((parent, name)) = self.place(path)? else { return Ok(()) };
        let directory = self.directory(&parent)?;
        if let Some(removed) = name.as_bytes().strip_prefix(WHITEOUT.as_bytes()) {
            return self.remove_lower(directory.as_fd(), name == OPAQUE, OsStr::from_bytes(removed));
        }
        let mode = entry.header().mode()? & 0o777;
        let mode_of_file = Mode::from_raw_mode(mode | 0o400);
        match entry.header().entry_type() {
            EntryType::Directory => return self.make_directory(directory.as_fd(), &name, mode | 0o700),
            EntryType::Regular | EntryType::Continuous => {
                clear(directory.as_fd(), &name)?;
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let mut file = File::from(openat(&directory, &name, flags, Mode::RUSR | Mode::WUSR)?);
                let length = io::copy(entry, &mut file)?;
                if length != entry.header().size()? {
                    return Err(io::Error::other("ends before its content does"));
                }
                fchmod(&file, mode_of_file)?;
                let time = Timespec { tv_sec: entry.header().mtime()?.cast_signed(), tv_nsec: 0 };
                futimens(&file, &Timestamps { last_access: time, last_modification: time })?;
            }
            EntryType::Symlink => {
                let link = link.ok_or_else(|| io::Error::other("is a link without a target"))?;
                clear(directory.as_fd(), &name)?;
                symlinkat(OsStr::from_bytes(link), &directory, &name)?;
            }
            EntryType::Link => {
                let target = self.place(link.unwrap_or_default())?;
                let (target, old) = target.ok_or_else(|| io::Error::other("is a link without a target"))?;
                let target = self.directory(&target)?;
                let same = statat(&target, &old, AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
                if statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|it| it.st_ino == same) {
                    return Ok(());
                }
                clear(directory.as_fd(), &name)?;
                linkat(&target, &old, &directory, &name, AtFlags::empty())?;
            }
            EntryType::Char | EntryType::Block | EntryType::Fifo => {
                self.left_out += 1;
                return Ok(());
            }
            other => return Err(io::Error::other(format!("is of a kind that layers do not have ({other:?})"))),
        }
        self.note(directory.as_fd(), &name)
    }

    /// A name's directory and its last part. None for the top itself.
    fn place(&self, path: &[u8]) -> io::Result<Option<(PathBuf, std::ffi::OsString)>> {
        let mut parts = PathBuf::new();
        for part in Path::new(OsStr::from_bytes(path)).components() {
            match part {
                Component::Normal(part) => parts.push(part),
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => return Err(io::Error::other("leads upwards by `..`")),
            }
        }
        let name = parts.file_name().map(OsStr::to_owned);
        parts.pop();
        Ok(name.map(|name| (parts, name)))
    }

    /// A directory by its path, made if it is not there. Links on the way lead as if the top were the root.
    fn directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        match self.open(path) {
            Err(Errno::NOENT) => {}
            opened => return Ok(opened?),
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Ok(self.open(path)?) };
        let parent = self.directory(parent)?;
        self.make_directory(parent.as_fd(), name, 0o755)?;
        Ok(self.open(path)?)
    }

    fn open(&self, path: &Path) -> rustix::io::Result<OwnedFd> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let within = ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        open_in_root(&self.top, path, OFlags::RDONLY | OFlags::DIRECTORY, within)
    }

    fn make_directory(&mut self, parent: BorrowedFd<'_>, name: &OsStr, mode: u32) -> io::Result<()> {
        let is_there = |at: &rustix::fs::Stat| FileType::from_raw_mode(at.st_mode) == FileType::Directory;
        if !statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|it| is_there(&it)) {
            clear(parent, name)?;
            mkdirat(parent, name, Mode::RWXU)?;
        }
        let made = open_directory(parent, name)?;
        fchmod(&made, Mode::from_raw_mode(mode))?;
        self.note(parent, name)
    }

    fn note(&mut self, parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
        self.made.insert(statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?.st_ino);
        Ok(())
    }

    /// Removes what lower layers had: a name, or all that is in the directory.
    fn remove_lower(&self, directory: BorrowedFd<'_>, all: bool, name: &OsStr) -> io::Result<()> {
        let names = if all { names(directory)? } else { vec![name.to_owned()] };
        for name in names {
            let found = match statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                found => found?,
            };
            if !self.made.contains(&found.st_ino) {
                clear(directory, &name)?;
            } else if FileType::from_raw_mode(found.st_mode) == FileType::Directory {
                // What this layer has of a directory stays; the recursion is as deep as its own names.
                self.remove_lower(open_directory(directory, &name)?.as_fd(), true, OsStr::new(""))?;
            }
        }
        Ok(())
    }
}

fn names(directory: BorrowedFd<'_>) -> io::Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if ![c".", c".."].contains(&entry.file_name()) {
            names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        }
    }
    Ok(names)
}

/// Removes what has the name, so that something else can have it.
fn clear(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    remove_tree(&Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name))
}

impl Long {
    /// Whether the entry says something of the next one.
    fn take(&mut self, entry: &mut Entry<'_, impl Read>) -> io::Result<bool> {
        let kind = entry.header().entry_type();
        let (is_path, is_link) = (kind.is_gnu_longname(), kind.is_gnu_longlink());
        if !(is_path || is_link || kind.is_pax_local_extensions() || kind.is_pax_global_extensions()) {
            return Ok(false);
        }
        let mut text = Vec::new();
        entry.by_ref().take(EXTENSION_BYTES_MAX + 1).read_to_end(&mut text)?;
        if text.len() as u64 > EXTENSION_BYTES_MAX {
            return Err(io::Error::other(format!("a header is longer than {EXTENSION_BYTES_MAX} bytes")));
        }
        if is_path || is_link {
            text.truncate(text.iter().position(|byte| *byte == 0).unwrap_or(text.len()));
            *(if is_path { &mut self.path } else { &mut self.link }) = Some(text);
        } else if kind.is_pax_local_extensions() {
            for extension in PaxExtensions::new(&text) {
                let extension = extension?;
                match extension.key_bytes() {
                    b"path" => self.path = Some(extension.value_bytes().to_vec()),
                    b"linkpath" => self.link = Some(extension.value_bytes().to_vec()),
                    b"size" => return Err(io::Error::other("a file is larger than 8 GiB")),
                    _ => {}
                }
            }
        }
        Ok(true)
    }
}
