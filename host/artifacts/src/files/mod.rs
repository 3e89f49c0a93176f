//! Trees of files and the contents they name: what an artifact is, and the directories that actions fill.
//!
//! Owns what may be in a tree, where blobs are kept, and what may be done in a directory that a plugin writes to: nothing
//! leads out of it, everything made or written is charged. Must not know what an action is, nor in which language a guest
//! asks.

mod archive;
mod area;
mod blobs;
mod collect;
#[cfg(test)]
mod conformance;
mod copy;
mod error;
mod floor;
mod folder;
mod fresh;
mod hashed;
mod memory;
pub mod paths;
mod quota;
mod remove;
mod stat;
mod take;
#[cfg(test)]
mod tests;
mod tree;
mod walk;
mod writeback;

pub use self::archive::{ZipOfTree, unzip, zip};
pub use self::area::{Area, Open, OpenFile, Opened, Role};
pub use self::blobs::{BlobError, Blobs, export, hash};
pub use self::collect::{CollectError, MadeOutput, collect, entries};
pub use self::copy::{
    CHUNK_BYTES, Copied, Source, Target, buffer_for, copy, each_chunk, missing_blob, open_regular, write_file,
};
pub use self::error::{FileError, FileErrorKind, FileResult};
pub use self::floor::{FREE_DISK_BYTES_MIN, Floor};
pub use self::folder::BlobDir;
pub use self::memory::BlobMemory;
pub use self::quota::{Budget, FileQuota, Held, Listing};
pub use self::remove::remove_tree;
pub use self::stat::{FileKind, Stat, identity_of, kind_of};
pub use self::tree::{ChildKind, Entry, Found, Missing, Node, Tree, TreeError, TreeLimits};
pub use self::walk::{Item, ItemKind, Origin, Walk, directory_items, tree_items};
