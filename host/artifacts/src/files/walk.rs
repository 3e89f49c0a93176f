//! Lists everything below a directory, of an artifact by its tree or of a real one, in the order of the bytes of the paths.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use cap_fs_ext::DirExt as _;
use cap_std::fs::{Dir, MetadataExt as _};

use super::error::{FileError, FileResult};
use super::paths;
use super::quota::Listing;
use super::stat::{FileKind, kind_of};
use super::tree::{Node, Tree};
use pipewright_base::Digest;
use rustix::io::Errno;

/// Something below the listed directory.
pub struct Item {
    /// Below the listed directory.
    pub path: String,
    pub kind: ItemKind,
}

pub enum ItemKind {
    File { size: u64, executable: bool, origin: Origin },
    Link { target: String },
    Directory,
}

/// Where a file's bytes are.
#[derive(Clone, Copy)]
pub enum Origin {
    Blob(Digest),
    Real { inode: u64, links: u64 },
}

/// How to walk.
pub struct Walk<'a> {
    /// Paths below the listed directory, left out with all that is below them.
    pub except: &'a HashSet<String>,
    /// What is neither file, directory nor link is an error; otherwise it is left out, as git does.
    pub refuse_others: bool,
    /// Set when nobody waits for the result any more.
    pub stop: Option<&'a AtomicBool>,
}

static NOTHING: std::sync::LazyLock<HashSet<String>> = std::sync::LazyLock::new(HashSet::new);

impl Walk<'static> {
    pub fn all() -> Self {
        Self { except: &NOTHING, refuse_others: false, stop: None }
    }
}

impl Walk<'_> {
    fn check_running(&self) -> FileResult<()> {
        match self.stop {
            Some(stop) if stop.load(Relaxed) => Err(FileError::stopped()),
            _ => Ok(()),
        }
    }
}

/// Below a directory of an artifact; `directory` is one that `Tree::find` gave.
pub fn tree_items(tree: &Tree, directory: &str, listing: &mut Listing, walk: &Walk<'_>) -> FileResult<Vec<Item>> {
    let skip = if directory.is_empty() { 0 } else { directory.len() + 1 };
    let mut items: Vec<Item> = Vec::new();
    // The directories of the entry before: those that an entry shares with it are listed already.
    let mut before = "";
    for entry in tree.below(directory) {
        let path = &entry.path[skip..];
        if is_left_out(path, walk.except) {
            continue;
        }
        for (slash, _) in path.match_indices('/') {
            let parent = &path[..slash];
            if !(before.starts_with(parent) && before.as_bytes().get(slash) == Some(&b'/')) {
                listing.add(parent)?;
                items.push(Item { path: parent.to_owned(), kind: ItemKind::Directory });
            }
        }
        before = path;
        listing.add(path)?;
        let kind = match &entry.node {
            Node::File { digest, size, executable } => {
                ItemKind::File { size: *size, executable: *executable, origin: Origin::Blob(*digest) }
            }
            Node::Link { target } => ItemKind::Link { target: target.clone() },
            Node::Directory => ItemKind::Directory,
        };
        items.push(Item { path: path.to_owned(), kind });
    }
    items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}

/// How many levels of directories lie below a directory; one more than `levels_max` where there are more.
pub fn levels_below(top: &Dir, levels_max: usize) -> io::Result<usize> {
    let mut deepest = 0;
    let mut open = vec![(top.try_clone()?, top.entries()?)];
    while let Some((_, entries)) = open.last_mut() {
        let Some(entry) = entries.next() else {
            open.pop();
            continue;
        };
        let entry = entry?;
        if !entry.file_type()?.is_dir() {
            continue;
        }
        deepest = deepest.max(open.len());
        if deepest > levels_max {
            break;
        }
        let (directory, _) = &open[open.len() - 1];
        let below = directory.open_dir_nofollow(entry.file_name())?;
        let entries = below.entries()?;
        open.push((below, entries));
    }
    Ok(deepest)
}

fn is_left_out(path: &str, except: &HashSet<String>) -> bool {
    !except.is_empty()
        && (except.contains(path) || path.match_indices('/').any(|(slash, _)| except.contains(&path[..slash])))
}

/// Below a real directory. Follows no link.
pub fn directory_items(top: &Dir, listing: &mut Listing, walk: &Walk<'_>) -> FileResult<Vec<Item>> {
    let mut items = Vec::new();
    let io = |path: &str| {
        let path = path.to_owned();
        move |error| FileError::io(&path, &error)
    };
    let top = Arc::new(top.try_clone().map_err(io("."))?);
    let mut ahead: Vec<(Arc<Dir>, String)> = vec![(top, String::new())];
    while let Some((parent, path)) = ahead.pop() {
        walk.check_running()?;
        let directory = if path.is_empty() {
            parent
        } else {
            Arc::new(parent.open_dir_nofollow(paths::split(&path).1).map_err(io(&path))?)
        };
        for entry in directory.entries().map_err(io(&path))? {
            let entry = entry.map_err(io(&path))?;
            let name = entry.file_name().into_string().map_err(|name| {
                let text = format!("{path}/{}: a name is not UTF-8: rename it", name.display());
                FileError::invalid(Errno::ILSEQ, text)
            })?;
            let below = paths::join(&path, &name);
            if walk.except.contains(&below) {
                continue;
            }
            paths::check_entry(&below)
                .and_then(|()| paths::check_shown(&below))
                .map_err(|fault| FileError::invalid(Errno::NAMETOOLONG, format!("{below} {fault}")))?;
            let metadata = entry.metadata().map_err(io(&below))?;
            let kind = match kind_of(&metadata) {
                FileKind::File => ItemKind::File {
                    size: metadata.size(),
                    executable: metadata.mode() & 0o100 != 0,
                    origin: Origin::Real { inode: metadata.ino(), links: metadata.nlink() },
                },
                FileKind::Directory => {
                    ahead.push((Arc::clone(&directory), below.clone()));
                    ItemKind::Directory
                }
                FileKind::Link => {
                    let target = directory.read_link_contents(&name).map_err(io(&below))?;
                    let target = target.into_os_string().into_string().map_err(|_| {
                        let text = format!("{below}: the link's target is not UTF-8");
                        FileError::invalid(Errno::ILSEQ, text)
                    })?;
                    ItemKind::Link { target }
                }
                FileKind::Other if walk.refuse_others => {
                    let text = format!("{below} is neither a file, a directory nor a link");
                    return Err(FileError::invalid(Errno::PERM, text));
                }
                FileKind::Other => continue,
            };
            listing.add(&below)?;
            items.push(Item { path: below, kind });
        }
    }
    items.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(items)
}
