//! Takes a finished output into the blob store: checked, hashed where it is not hashed yet, and moved, not copied.

use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use rustix::fs::{AtFlags, unlinkat};

use super::archive::unzip;
use super::area::Area;
use super::blobs::{self, Blobs};
use super::copy::{self, Target};
use super::error::{FileError, FileResult};
use super::floor::Floor;
use super::hashed::Hashed;
use super::quota::{Budget, FileQuota};
use super::tree::{Entry, Node, Tree, TreeError};
use super::walk::{self, Item, ItemKind, Origin, Walk};
use super::writeback;
use pipewright_base::Digest;
use pipewright_base::memory::HostMemory;
use rustix::io::Errno;

/// Stops an output of a great many long names, which are held at once: as much as the call itself could list.
const LISTING_BYTES_MAX: usize = 128 << 20;

/// An output artifact that a call made.
#[derive(Debug)]
pub struct MadeOutput {
    pub name: String,
    /// Below the call's working directory.
    pub directory: PathBuf,
    hashed: Arc<Hashed>,
}

/// Why an output cannot be taken in. The output is not usable any more, the blob store is as whole as before.
#[derive(Debug, thiserror::Error)]
pub enum CollectError {
    #[error("output artifact {name}: {error}")]
    File { name: String, error: FileError },
    #[error("output artifact {name}: {error}")]
    Tree { name: String, error: TreeError },
}

impl MadeOutput {
    pub fn new(name: &str, area: &Area) -> Self {
        let hashed = Arc::clone(&area.hashed);
        Self { name: name.to_owned(), directory: area.host_path().clone(), hashed }
    }

    /// What somebody packed as a zip file, unpacked into a folder of its own, which is made.
    pub fn unpacked(name: &str, archive: &File, folder: PathBuf, quota: &FileQuota) -> Result<Self, CollectError> {
        let of_file = |error| CollectError::File { name: name.to_owned(), error };
        let open = |error| of_file(FileError::io(name, &error));
        std::fs::create_dir_all(&folder).map_err(open)?;
        let directory = Dir::open_ambient_dir(&folder, ambient_authority()).map_err(open)?;
        let budget = Budget::new(quota.clone(), HostMemory::alone(LISTING_BYTES_MAX), Floor::of_disks());
        let (hashed, stop) = (Arc::new(Hashed::default()), AtomicBool::new(false));
        let target = Target {
            directory: &directory,
            depth: 0,
            budget: &budget,
            hashed: Some(&hashed),
            stays: true,
            stop: &stop,
        };
        unzip(archive, &target).map_err(of_file)?;
        Ok(Self { name: name.to_owned(), directory: folder, hashed })
    }

    /// What lies in a directory of the host, which nobody else has.
    pub fn of_directory(name: &str, directory: PathBuf) -> Self {
        Self { name: name.to_owned(), directory, hashed: Arc::default() }
    }
}

/// Moves the files of an output into the blob store and gives the artifact's tree.
/// Durable after `Blobs::sync`. Only regular files with one name, directories, and links that stay inside are taken.
pub fn collect(made: &MadeOutput, into: &dyn Blobs, quota: &FileQuota) -> Result<Tree, CollectError> {
    let of_file = |error| CollectError::File { name: made.name.clone(), error };
    let of_tree = |error| CollectError::Tree { name: made.name.clone(), error };
    let open = |error| FileError::io(&made.name, &error);
    let top = Dir::open_ambient_dir(&made.directory, ambient_authority()).map_err(open).map_err(of_file)?;
    let budget = Budget::new(quota.clone(), HostMemory::alone(LISTING_BYTES_MAX), Floor::default());
    let walk = Walk { refuse_others: true, ..Walk::all() };
    let items = walk::directory_items(&top, &mut budget.listing(), &walk).map_err(of_file)?;
    // Checked whole before the first file moves: the digests are not known yet, and any will do.
    let any = Digest::of(b"");
    Tree::new(entries(&items, |_| any)).map_err(of_tree)?;
    check(&items, quota).map_err(of_file)?;
    let digests = take_in(&items, &top, made, into).map_err(of_file)?;
    Tree::new(entries(&items, |index| digests[index])).map_err(of_tree)
}

fn check(items: &[Item], quota: &FileQuota) -> FileResult<()> {
    let mut bytes: u64 = 0;
    for item in items {
        let ItemKind::File { size, origin, .. } = item.kind else { continue };
        bytes = bytes.saturating_add(size);
        if bytes > quota.bytes_max {
            return Err(FileError::quota("bytes_max", quota.bytes_max));
        }
        if matches!(origin, Origin::Real { links, .. } if links > 1) {
            let text = format!("{} has other names (hard links)", item.path);
            return Err(FileError::invalid(Errno::PERM, text));
        }
    }
    Ok(())
}

/// Files, links and empty directories.
pub fn entries(items: &[Item], digest: impl Fn(usize) -> Digest) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(items.len());
    for (index, item) in items.iter().enumerate() {
        let node = match &item.kind {
            ItemKind::File { size, executable, .. } => {
                Node::File { digest: digest(index), size: *size, executable: *executable }
            }
            ItemKind::Link { target } => Node::Link { target: target.clone() },
            ItemKind::Directory if is_empty(items, index) => Node::Directory,
            ItemKind::Directory => continue,
        };
        entries.push(Entry { path: item.path.clone(), node });
    }
    entries
}

/// Whether nothing lies below a directory. Between it and what is below it only names with a character before `/` can
/// stand: `a`, `a-b`, `a/b`.
fn is_empty(items: &[Item], index: usize) -> bool {
    let below = format!("{}/", items[index].path);
    let rest = &items[index + 1..];
    let first = rest.partition_point(|item| item.path < below);
    !rest.get(first).is_some_and(|item| item.path.starts_with(&below))
}

fn take_in(items: &[Item], top: &Dir, made: &MadeOutput, into: &dyn Blobs) -> FileResult<Vec<Digest>> {
    let indices: Vec<usize> =
        (0..items.len()).filter(|index| matches!(items[*index].kind, ItemKind::File { .. })).collect();
    let files: Vec<&Item> = indices.iter().map(|index| &items[*index]).collect();
    let digests = Mutex::new(vec![Digest::of(b""); items.len()]);
    let never = AtomicBool::new(false);
    copy::in_threads(&files, &never, |nth, buffer| {
        let digest = take_file(files[nth], top, &made.hashed, into, buffer)?;
        digests.lock().unwrap_or_else(PoisonError::into_inner)[indices[nth]] = digest;
        Ok(0)
    })?;
    Ok(digests.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn take_file(item: &Item, top: &Dir, hashed: &Hashed, into: &dyn Blobs, buffer: &mut [u8]) -> FileResult<Digest> {
    let ItemKind::File { size, origin: Origin::Real { inode, .. }, .. } = item.kind else {
        return Err(FileError::broken(format!("{} is not a real file", item.path)));
    };
    let fail = |error: std::io::Error| FileError::io(&item.path, &error);
    let (digest, file) = match hashed.get(inode, size) {
        Some(digest) => (digest, None),
        None => {
            let mut file = copy::open_regular(top, &item.path)?;
            let (digest, read) = blobs::hash(&mut file, buffer).map_err(fail)?;
            if read != size {
                return Err(FileError::broken(format!("{} changed while it was taken in", item.path)));
            }
            (digest, Some(file))
        }
    };
    // The walk checked the path, and only the host has the directory now.
    if into.renew(&digest, size) {
        unlinkat(top, &item.path, AtFlags::empty()).map_err(|error| fail(error.into()))?;
        return Ok(digest);
    }
    if let Some(file) = file {
        writeback::begin(&file);
    }
    into.adopt(&digest, top, &item.path).map_err(fail)?;
    Ok(digest)
}
