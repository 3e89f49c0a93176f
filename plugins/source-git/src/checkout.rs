//! Writes the tree of a commit out as files.

use std::collections::HashSet;
use std::fs;
use std::io::Write;

use gix_hash::ObjectId;
use pipewright_sdk::{Doing, Failure, Output, Result, files, info, warn};
use source_files::{LFS_POINTER_BYTES_MAX, LfsPointer, listed};

use crate::pack::{Kind, Pack};
use crate::tree::{self, Entry, What};

/// Stops a folder of millions of files, and a small repository whose folders each hold the next one many times over.
const ENTRIES_MAX: usize = 500_000;
/// Stops a tree that takes the memory; one of these has a million files.
const TREE_BYTES_MAX: u64 = 64 << 20;
/// No host takes a longer target.
const LINK_BYTES_MAX: u64 = 4_096;

/// A file that Git LFS keeps elsewhere.
#[derive(Debug)]
pub(crate) struct Pointer {
    pub(crate) path: String,
    pub(crate) executable: bool,
    pub(crate) to: LfsPointer,
}

#[derive(Debug, Default)]
pub(crate) struct Written {
    files: u64,
    bytes: u64,
    /// Paths of what is not as somebody may expect it.
    submodules: Vec<String>,
    pointers: Vec<Pointer>,
    /// Links that are left out, each with its target and the reason.
    left_out: Vec<String>,
}

impl Written {
    /// Takes the pointers out, for whoever fetches what they point at.
    pub(crate) fn take_pointers(&mut self) -> Vec<Pointer> {
        std::mem::take(&mut self.pointers)
    }

    pub(crate) fn tell(&self) {
        info!("wrote {} files, {} bytes", self.files, self.bytes);
        let tell = |names: &[String], what: &str| {
            if !names.is_empty() {
                warn!("{what}: {}", listed(names));
            }
        };
        tell(
            &self.submodules,
            "submodules are empty folders, as after `git clone`; a source action for each of their repositories fetches them",
        );
        tell(&self.left_out, "symbolic links that cannot be in an artifact are left out");
    }
}

/// Folders come with what is in them: like git, an artifact has no empty ones, but for submodules.
pub(crate) fn write(pack: &mut Pack, top: ObjectId, output: &Output) -> Result<Written> {
    let mut written = Written::default();
    let mut entries = 0;
    let mut folders = vec![(String::new(), top)];
    let (mut links, mut seen) = (Vec::new(), HashSet::new());
    while let Some((folder, id)) = folders.pop() {
        let tree = pack.content(&id, Kind::Tree, TREE_BYTES_MAX)?;
        for Entry { path, what, id } in tree::read(&folder, &tree)? {
            entries += 1;
            if entries > ENTRIES_MAX {
                let text = format!("the commit has more than {ENTRIES_MAX} files and folders (entries_max)");
                return Err(Failure::job(text));
            }
            match what {
                What::Folder => {
                    seen.insert(path.clone());
                    folders.push((path, id));
                }
                What::Submodule => {
                    fs::create_dir_all(output.join(&path)).doing(format_args!("the folder `{path}`"))?;
                    written.submodules.push(format!("`{path}`"));
                }
                What::Link => links.push((path, id)),
                What::File { executable } => {
                    file(pack, &path, id, executable, output, &mut written).doing(format_args!("writing `{path}`"))?;
                }
            }
        }
    }
    // Last, when it is known what is a folder.
    for (path, id) in links {
        link(pack, &path, id, output, &seen, &mut written)?;
    }
    Ok(written)
}

fn file(
    pack: &mut Pack,
    path: &str,
    id: ObjectId,
    executable: bool,
    output: &Output,
    written: &mut Written,
) -> Result<()> {
    if pack.kind(&id)? != Kind::Blob {
        return Err(Failure::job(format!("its object {id} is not a blob")));
    }
    if pack.size(&id)? < LFS_POINTER_BYTES_MAX
        && let Some(to) = LfsPointer::parse(&pack.content(&id, Kind::Blob, LFS_POINTER_BYTES_MAX)?)
    {
        written.pointers.push(Pointer { path: path.to_owned(), executable, to });
    }
    let mut file = files::create(output.join(path), executable)?;
    pack.read(&id, |piece| {
        written.bytes += piece.len() as u64;
        Ok(file.write_all(piece)?)
    })?;
    file.finish()?;
    written.files += 1;
    Ok(())
}

fn link(
    pack: &mut Pack,
    path: &str,
    id: ObjectId,
    output: &Output,
    folders: &HashSet<String>,
    written: &mut Written,
) -> Result<()> {
    if pack.size(&id)? > LINK_BYTES_MAX {
        written.left_out.push(format!("`{path}` (whose target is longer than {LINK_BYTES_MAX} bytes)"));
        return Ok(());
    }
    let target =
        pack.content(&id, Kind::Blob, LINK_BYTES_MAX).doing(format_args!("the target of the link `{path}`"))?;
    let target = String::from_utf8_lossy(&target);
    // What is not UTF-8 is no path here.
    let meant = if target.contains('\u{fffd}') { "\0" } else { &*target };
    match source_files::target(path, meant, |folder| folders.contains(folder)) {
        Err(why) => written.left_out.push(format!("`{path}` (to `{}`, {why})", target.escape_debug())),
        Ok(target) => {
            let path_there = output.join(path);
            // Unlike for a file, the host does not make the folder for a link.
            if let Some(folder) = path_there.parent() {
                fs::create_dir_all(folder).doing(format_args!("the folder of `{path}`"))?;
            }
            files::link(path_there, &target).doing(format_args!("the link `{path}`"))?;
            written.files += 1;
        }
    }
    Ok(())
}
