//! Copies many files, from an artifact or a real directory into a real directory: executable bits and links kept, hashed
//! while copied where the digest is wanted, and checked where it is known.

use std::fs::File;
use std::io::{self, Read, Write as _};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use cap_fs_ext::{FollowSymlinks, OpenOptionsFollowExt as _};
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt as _};
use rustix::fs::OFlags;

use super::blobs::Blobs;
use super::error::{FileError, FileResult};
use super::fresh;
use super::hashed::Hashed;
use super::paths;
use super::quota::Budget;
use super::walk::{Item, ItemKind, Origin};
use super::writeback;
use pipewright_base::{Digest, Hasher};
use rustix::io::Errno;

/// How much is read and written at once.
pub const CHUNK_BYTES: usize = 256 << 10;
/// What is read into where there is next to nothing to read.
const BUFFER_BYTES_MIN: u64 = 4096;
/// Work with many files is shared by this many threads: one reads while the other hashes.
pub const THREADS: usize = 2;
/// From this many files on.
const FILES_FOR_THREADS_MIN: usize = 16;

/// How much was copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Copied {
    pub files: u64,
    /// Of the files.
    pub bytes: u64,
}

/// Where the files come from.
#[derive(Clone, Copy)]
pub enum Source<'a> {
    /// Of an artifact; `directory` is the one in it that the items are below.
    Blobs {
        blobs: &'a dyn Blobs,
        artifact: &'a str,
        directory: &'a str,
    },
    Directory(&'a Dir),
}

/// Where they go.
pub struct Target<'a> {
    pub directory: &'a Dir,
    /// How deep the directory lies in what its links must not leave.
    pub depth: usize,
    pub budget: &'a Arc<Budget>,
    /// Takes the digests, where they are wanted.
    pub hashed: Option<&'a Hashed>,
    /// Whether what is written is going to be made durable, so that the disk may begin with it at once.
    pub stays: bool,
    /// Set when nobody waits for the result any more.
    pub stop: &'a AtomicBool,
}

impl Target<'_> {
    pub fn check_depth(&self, path: &str) -> FileResult<()> {
        self.budget.check_depth(path, self.depth + paths::depth(path))
    }
}

/// Copies the items, which are in order, from below the source to below the target.
pub fn copy(source: Source<'_>, items: &[Item], target: &Target<'_>) -> FileResult<Copied> {
    for item in items {
        target.budget.check_path(&item.path)?;
        target.check_depth(&item.path)?;
        if let ItemKind::Directory = item.kind {
            fresh::make_directory(target.directory, &item.path, target.budget, FollowSymlinks::No)?;
        } else if let ItemKind::Link { target: to } = &item.kind {
            // Before anything is copied: a link that leads out is the likeliest fault.
            check_link(target, &item.path, to)?;
        }
    }
    let files: Vec<&Item> = items.iter().filter(|item| matches!(item.kind, ItemKind::File { .. })).collect();
    let bytes = in_threads(&files, target.stop, |index, buffer| copy_item(source, files[index], target, buffer))?;
    for item in items {
        if let ItemKind::Link { target: to } = &item.kind {
            make_link(target, &item.path, to)?;
        }
    }
    Ok(Copied { files: files.len() as u64, bytes })
}

/// What a file of so many bytes is read with: a large buffer takes longer to make than a small file to read. One that is larger than
/// it was said to be is read all the same.
fn buffer(bytes: u64) -> Vec<u8> {
    // One more than there are: the end comes with them.
    vec![0; bytes.saturating_add(1).clamp(BUFFER_BYTES_MIN, CHUNK_BYTES as u64) as usize]
}

/// The same for one that is open.
pub fn buffer_for(file: &File) -> Vec<u8> {
    buffer(file.metadata().map_or(u64::MAX, |metadata| metadata.len()))
}

/// Does the work for the index of each file in a few threads, and adds up what it gives. The first error ends it.
pub fn in_threads(
    files: &[&Item],
    stop: &AtomicBool,
    work: impl Fn(usize, &mut [u8]) -> FileResult<u64> + Sync,
) -> FileResult<u64> {
    let size = |item: &&Item| if let ItemKind::File { size, .. } = item.kind { size } else { 0 };
    let (count, largest) = (files.len(), files.iter().map(size).max().unwrap_or(0));
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<FileError>> = Mutex::new(None);
    let run = || {
        let mut buffer = buffer(largest);
        let mut sum = 0;
        loop {
            let index = next.fetch_add(1, Relaxed);
            if index >= count {
                return sum;
            }
            let result = if stop.load(Relaxed) { Err(FileError::stopped()) } else { work(index, &mut buffer) };
            match result {
                Ok(bytes) => sum += bytes,
                Err(error) => {
                    next.store(count, Relaxed);
                    failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                    return sum;
                }
            }
        }
    };
    let sum = if count < FILES_FOR_THREADS_MIN {
        run()
    } else {
        std::thread::scope(|scope| {
            let others: Vec<_> = (1..THREADS).map(|_| scope.spawn(run)).collect();
            let own = run();
            others.into_iter().try_fold(own, |sum, thread| thread.join().ok().map(|more| sum + more))
        })
        .ok_or_else(|| FileError::broken("a thread of the host panicked"))?
    };
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(error) => Err(error),
        None => Ok(sum),
    }
}

/// The digest that a file must have, and how to name it.
type Expected<'a> = Option<(&'a str, Digest)>;

fn open_item<'a>(source: Source<'a>, item: &Item) -> FileResult<(File, Expected<'a>)> {
    match (source, &item.kind) {
        (Source::Blobs { blobs, artifact, directory }, ItemKind::File { origin: Origin::Blob(digest), .. }) => {
            let path = paths::join(directory, &item.path);
            let file = blobs.open(digest).map_err(|error| missing_blob(artifact, &path, digest, &error))?;
            Ok((file, Some((artifact, *digest))))
        }
        (Source::Directory(directory), _) => Ok((open_regular(directory, &item.path)?, None)),
        (Source::Blobs { .. }, _) => Err(FileError::broken(format!("{} has no blob", item.path))),
    }
}

fn copy_item(source: Source<'_>, item: &Item, target: &Target<'_>, buffer: &mut [u8]) -> FileResult<u64> {
    let ItemKind::File { executable, .. } = item.kind else { return Ok(0) };
    let (mut file, expected) = open_item(source, item)?;
    write_file(&mut file, expected, executable, &item.path, target, buffer)
}

/// Passes the bytes of a file on, checked where the digest is known; gives how many there were.
pub fn read_item(
    source: Source<'_>,
    item: &Item,
    stop: &AtomicBool,
    buffer: &mut [u8],
    mut pass: impl FnMut(&[u8]) -> FileResult<()>,
) -> FileResult<u64> {
    let (mut file, expected) = open_item(source, item)?;
    let mut hasher = expected.is_some().then(Hasher::default);
    let bytes = each_chunk(&mut file, &item.path, stop, buffer, |chunk| {
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
        pass(chunk)
    })?;
    check_digest(hasher.map(Hasher::finish), expected, &item.path)?;
    Ok(bytes)
}

/// Writes a new file, in the place of a file or link that was there, and checks the digest where it is known.
pub fn write_file(
    from: &mut impl Read,
    expected: Expected<'_>,
    executable: bool,
    path: &str,
    target: &Target<'_>,
    buffer: &mut [u8],
) -> FileResult<u64> {
    let fail = |error: io::Error| FileError::io(path, &error);
    let (mut to, inode) = fresh::fresh(target.directory, path, executable, target.budget)?;
    if let Some(hashed) = target.hashed {
        hashed.begin(inode, target.budget)?;
    }
    let mut hasher = (target.hashed.is_some() || expected.is_some()).then(Hasher::default);
    let bytes = each_chunk(from, path, target.stop, buffer, |chunk| {
        target.budget.write(chunk.len() as u64, target.directory)?;
        if let Some(hasher) = &mut hasher {
            hasher.update(chunk);
        }
        to.write_all(chunk).map_err(fail)
    })?;
    let digest = hasher.map(Hasher::finish);
    if let Err(error) = check_digest(digest, expected, path) {
        // What is not what it was must not be used.
        target.directory.remove_file(path).map_err(fail)?;
        return Err(error);
    }
    if let (Some(hashed), Some(digest)) = (target.hashed, digest) {
        hashed.finish(inode, digest, bytes);
    }
    if target.stays {
        writeback::begin(&to);
    }
    Ok(bytes)
}

pub fn each_chunk(
    from: &mut impl Read,
    path: &str,
    stop: &AtomicBool,
    buffer: &mut [u8],
    mut pass: impl FnMut(&[u8]) -> FileResult<()>,
) -> FileResult<u64> {
    let mut bytes = 0;
    loop {
        if stop.load(Relaxed) {
            return Err(FileError::stopped());
        }
        match from.read(buffer) {
            Ok(0) => return Ok(bytes),
            Ok(read) => {
                pass(&buffer[..read])?;
                bytes += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(FileError::io(path, &error)),
        }
    }
}

fn check_digest(found: Option<Digest>, expected: Expected<'_>, path: &str) -> FileResult<()> {
    match (found, expected) {
        (Some(found), Some((artifact, expected))) if found != expected => Err(FileError::broken(format!(
            "the file {path} of the artifact {artifact} is damaged: its blob {expected} has the digest {found}"
        ))),
        _ => Ok(()),
    }
}

pub fn missing_blob(artifact: &str, path: &str, digest: &Digest, error: &io::Error) -> FileError {
    FileError::broken(format!("the file {path} of the artifact {artifact} cannot be read: blob {digest}: {error}"))
}

/// Opens a file of a walk again, if it still is one.
pub fn open_regular(directory: &Dir, path: &str) -> FileResult<File> {
    let mut options = OpenOptions::new();
    options.read(true).follow(FollowSymlinks::No).custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    let file = directory.open_with(path, &options).map_err(|error| FileError::io(path, &error))?.into_std();
    if !file.metadata().map_err(|error| FileError::io(path, &error))?.is_file() {
        return Err(FileError::invalid(Errno::PERM, format!("{path} is no longer a file")));
    }
    Ok(file)
}

pub fn check_link(target: &Target<'_>, path: &str, to: &str) -> FileResult<()> {
    paths::check_target(target.depth + paths::depth(path), to)
        .map_err(|fault| FileError::invalid(Errno::PERM, format!("the link {path} {fault}")))
}

/// Makes a link of a copy, in the place of a file or link that was there.
pub fn make_link(target: &Target<'_>, path: &str, to: &str) -> FileResult<()> {
    check_link(target, path, to)?;
    let fail = |error: io::Error| FileError::io(path, &error);
    target.budget.make(target.directory)?;
    match target.directory.symlink(to, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            target.directory.remove_file(path).map_err(fail)?;
            target.directory.symlink(to, path).map_err(fail)
        }
        result => result.map_err(fail),
    }
}
