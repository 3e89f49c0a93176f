//! What a granted directory is at a moment: its manifest and all its files' contents, for a recording.
//!
//! Must not know what becomes of it.

use std::io::Read as _;

use bytes::Bytes;
use cap_std::fs::Dir;

use pipewright_artifacts::files::{
    Area, Budget, FileError, FileQuota, FileResult, Floor, Item, ItemKind, Tree, Walk, directory_items, entries,
    open_regular,
};
use pipewright_base::Digest;
use pipewright_base::memory::HostMemory;

use crate::outside::Snapshot;

/// A directory with more entries is not kept. Stops a walk through a whole disk, before a guest's first look at it.
const ENTRIES_MAX: u64 = 20_000;
/// The same for directories with very long names.
const LISTING_BYTES_MAX: usize = 16 << 20;

/// Everything in a directory, if its files have at most so many bytes; or why not. One that is not there is empty.
pub(super) fn take(area: &Area, bytes_max: u64) -> Result<Snapshot, String> {
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
    if bytes > bytes_max {
        return Err(format!("it has {bytes} bytes, and {bytes_max} of the recording were left (recording_bytes_max)"));
    }
    let mut files = Vec::new();
    let mut digests = Vec::with_capacity(items.len());
    for item in &items {
        let content = match item.kind {
            ItemKind::File { size, .. } => read(&top, item, size).map_err(|error| error.to_string())?,
            ItemKind::Link { .. } | ItemKind::Directory => Bytes::new(),
        };
        digests.push(Digest::of(&content));
        files.push(content);
    }
    let tree = Tree::new(entries(&items, |index| digests[index])).map_err(|error| error.to_string())?;
    Ok(Snapshot { tree, files })
}

fn read(top: &Dir, item: &Item, size: u64) -> FileResult<Bytes> {
    let mut content = Vec::new();
    let file = open_regular(top, &item.path)?;
    file.take(size).read_to_end(&mut content).map_err(|error| FileError::io(&item.path, &error))?;
    Ok(content.into())
}
