//! Writes the tree of a commit out as files.

use std::fs;
use std::io::Write;

use pipewright_sdk::{Doing, Failure, Output, Result, files};

use gix_hash::ObjectId;

use crate::pack::{Kind, Pack};
use crate::tree::{self, Entry, What};

/// Stops a folder of millions of files, and a small repository whose folders each hold the next one many times over.
const ENTRIES_MAX: usize = 500_000;
/// Stops a tree that takes the memory; one of these has a million files.
const TREE_BYTES_MAX: u64 = 64 << 20;
/// No host takes a longer target.
const LINK_BYTES_MAX: u64 = 4_096;

#[derive(Debug, Default)]
pub(crate) struct Written {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Folders come with what is in them: like git, an artifact has no empty ones.
pub(crate) fn write(pack: &mut Pack, top: ObjectId, output: &Output) -> Result<Written> {
    let mut written = Written::default();
    let mut entries = 0;
    let mut folders = vec![(String::new(), top)];
    while let Some((folder, id)) = folders.pop() {
        let tree = pack.content(&id, Kind::Tree, TREE_BYTES_MAX)?;
        for Entry { path, what, id } in tree::read(&folder, &tree)? {
            entries += 1;
            if entries > ENTRIES_MAX {
                let text = format!("the commit has more than {ENTRIES_MAX} files and folders (entries_max)");
                return Err(Failure::job(text));
            }
            match what {
                What::Folder => folders.push((path, id)),
                What::Link => {
                    link(pack, &path, id, output)?;
                    written.files += 1;
                }
                What::File { executable } => {
                    written.bytes +=
                        file(pack, &path, id, executable, output).doing(format_args!("writing `{path}`"))?;
                    written.files += 1;
                }
            }
        }
    }
    Ok(written)
}

fn file(pack: &mut Pack, path: &str, id: ObjectId, executable: bool, output: &Output) -> Result<u64> {
    if pack.kind(&id)? != Kind::Blob {
        return Err(Failure::job(format!("its object {id} is not a blob")));
    }
    let mut file = files::create(output.join(path), executable)?;
    let mut bytes = 0;
    pack.read(&id, |piece| {
        bytes += piece.len() as u64;
        Ok(file.write_all(piece)?)
    })?;
    file.finish()?;
    Ok(bytes)
}

fn link(pack: &mut Pack, path: &str, id: ObjectId, output: &Output) -> Result<()> {
    let target =
        pack.content(&id, Kind::Blob, LINK_BYTES_MAX).doing(format_args!("the target of the link `{path}`"))?;
    let target = String::from_utf8(target)
        .map_err(|_| Failure::job(format!("the target of the symbolic link `{path}` is not UTF-8")))?;
    let path_there = output.join(path);
    // Unlike for a file, the host does not make the folder for a link.
    if let Some(folder) = path_there.parent() {
        fs::create_dir_all(folder).doing(format_args!("the folder of `{path}`"))?;
    }
    files::link(path_there, &target).doing(format_args!(
        "the repository's symbolic link `{path}`, which points at `{}`, cannot be in an artifact",
        target.escape_debug()
    ))
}
