//! What the file capability tells of a file, whether it is real, of an artifact, or only a name.

use cap_std::fs::{Metadata, MetadataExt as _};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    File,
    Directory,
    Link,
    /// A FIFO, socket or device: shown, never opened.
    Other,
}

/// What the file capability tells of a file.
#[derive(Clone, Debug)]
pub struct Stat {
    pub kind: FileKind,
    pub size: u64,
    pub links: u64,
    pub executable: bool,
    /// Accessed, modified, changed, as seconds and nanoseconds since 1970; `None` where times are fixed.
    pub times: Option<[(i64, i64); 3]>,
    /// Names the file among all others that this call sees.
    pub identity: (u64, u64),
}

impl Stat {
    pub fn of(metadata: &Metadata, times: bool) -> Self {
        let kind = kind_of(metadata);
        // A directory's size and link count say how the file system keeps it, which must not reach an artifact.
        let (size, links) = if kind == FileKind::Directory { (0, 1) } else { (metadata.size(), metadata.nlink()) };
        Self {
            kind,
            size,
            links,
            executable: metadata.mode() & 0o100 != 0,
            times: times.then(|| {
                [
                    (metadata.atime(), metadata.atime_nsec()),
                    (metadata.mtime(), metadata.mtime_nsec()),
                    (metadata.ctime(), metadata.ctime_nsec()),
                ]
            }),
            identity: (metadata.dev(), metadata.ino()),
        }
    }

    /// A directory that nobody made yet, or that is only a name.
    pub fn unmade(name: &str) -> Self {
        let kind = FileKind::Directory;
        Self { kind, size: 0, links: 1, executable: false, times: None, identity: identity_of(name) }
    }
}

pub fn kind_of(metadata: &Metadata) -> FileKind {
    let kind = metadata.file_type();
    if kind.is_file() {
        FileKind::File
    } else if kind.is_dir() {
        FileKind::Directory
    } else if kind.is_symlink() {
        FileKind::Link
    } else {
        FileKind::Other
    }
}

/// An identity for what has no inode.
pub fn identity_of(name: &str) -> (u64, u64) {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    // No device has this number.
    (u64::MAX, hasher.finish())
}
