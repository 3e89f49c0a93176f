//! What a granted directory or the scratch is at a moment: its manifest and its files' contents, for a recording.
//!
//! Must not know what becomes of it.

use std::io::Read as _;

use bytes::Bytes;
use cap_std::fs::Dir;

use pipewright_artifacts::files::{
    Area, Budget, FileError, FileQuota, FileResult, Floor, Item, ItemKind, Tree, Walk, buffer_for, directory_items,
    entries, hash, open_regular,
};
use pipewright_base::Digest;
use pipewright_base::memory::HostMemory;

use crate::outside::Snapshot;

/// A directory with more entries is not kept. Stops a walk through a whole disk, before a guest's first look at it.
const ENTRIES_MAX: u64 = 20_000;
/// The same for directories with very long names.
const LISTING_BYTES_MAX: usize = 16 << 20;

/// A scratch with more is not kept, whatever of it is known: no recording could hold it. Stops the hashing of a whole build
/// before and after each program.
const KNOWN_BYTES_MAX: u64 = 96 << 20;

/// Everything in a directory, if its files have at most so many bytes; or why not. One that is not there is empty.
pub(super) fn take(area: &Area, bytes_max: u64) -> Result<Snapshot, String> {
    take_unknown(area, bytes_max, bytes_max, |_| false)
}

/// The same of the scratch, of whose files many are kept elsewhere: the contents of those are not taken, and count for nothing.
pub(super) fn take_scratch(
    area: &Area,
    bytes_max: u64,
    is_known: impl Fn(&Digest) -> bool,
) -> Result<Snapshot, String> {
    take_unknown(area, KNOWN_BYTES_MAX, bytes_max, is_known)
}

fn take_unknown(
    area: &Area,
    bytes_max: u64,
    mut left: u64,
    is_known: impl Fn(&Digest) -> bool,
) -> Result<Snapshot, String> {
    let top = match Dir::open_ambient_dir(area.host_path(), cap_std::ambient_authority()) {
        Ok(top) => top,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Ok(Snapshot { tree: Tree::new(Vec::new()).map_err(|error| error.to_string())?, files: Vec::new() });
        }
        Err(error) => return Err(error.to_string()),
    };
    let quota = FileQuota { entries_max: ENTRIES_MAX, ..FileQuota::default() };
    let budget = Budget::new(quota, HostMemory::alone(LISTING_BYTES_MAX), Floor::default());
    let items = directory_items(&top, &mut budget.listing(), &Walk::all()).map_err(|error| error.to_string())?;
    let size = |item: &Item| if let ItemKind::File { size, .. } = item.kind { size } else { 0 };
    let bytes: u64 = items.iter().map(size).sum();
    let too_much = || format!("it has {bytes} bytes, and {left} of the recording were left (recording_bytes_max)");
    if bytes > bytes_max {
        return Err(too_much());
    }
    let too_much = too_much();
    let mut files = Vec::new();
    let mut digests = Vec::with_capacity(items.len());
    for item in &items {
        let digest = match item.kind {
            ItemKind::File { size, .. } if size > left => {
                let digest = hashed(&top, item).map_err(|error| error.to_string())?;
                if !is_known(&digest) {
                    return Err(too_much);
                }
                digest
            }
            ItemKind::File { size, .. } => {
                let content = read(&top, item, size).map_err(|error| error.to_string())?;
                let digest = Digest::of(&content);
                if !is_known(&digest) {
                    left -= size;
                    files.push(content);
                }
                digest
            }
            ItemKind::Link { .. } | ItemKind::Directory => Digest::of(b""),
        };
        digests.push(digest);
    }
    let tree = Tree::new(entries(&items, |index| digests[index])).map_err(|error| error.to_string())?;
    Ok(Snapshot { tree, files })
}

/// Of a file that is too large to be held.
fn hashed(top: &Dir, item: &Item) -> FileResult<Digest> {
    let mut file = open_regular(top, &item.path)?;
    let mut buffer = buffer_for(&file);
    let hashed = hash(&mut file, &mut buffer);
    hashed.map(|(digest, _)| digest).map_err(|error| FileError::io(&item.path, &error))
}

fn read(top: &Dir, item: &Item, size: u64) -> FileResult<Bytes> {
    let mut content = Vec::new();
    let file = open_regular(top, &item.path)?;
    file.take(size).read_to_end(&mut content).map_err(|error| FileError::io(&item.path, &error))?;
    Ok(content.into())
}
