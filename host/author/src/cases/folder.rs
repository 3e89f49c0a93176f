//! What lies beside a case: input artifacts, directories of the host, and what outputs and directories must be.
//!
//! Owns the names of the folders, and the names in them that stand for others. Must not know how anything is compared.

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;

use anyhow::{Context as _, bail};
use pipewright_artifacts::files::{Blobs, Entry, Node, Tree};

use super::CASE_FILE;

pub(crate) const INPUTS: &str = "inputs";
pub(super) const OUTPUTS: &str = "outputs";
pub(crate) const DIRECTORIES: &str = "directories";
pub(super) const DIRECTORIES_AFTER: &str = "directories-after";
pub(crate) const SCRATCH: &str = "scratch";
pub(super) const CACHES: &str = "caches";
pub(super) const KNOWN: &[&str] = &[INPUTS, OUTPUTS, DIRECTORIES, DIRECTORIES_AFTER, SCRATCH, CACHES];

/// A larger file is refused. Stops a case that fills the memory: files are read whole.
const FILE_BYTES_MAX: u64 = 64 << 20;
/// Deeper folders are refused. Stops a walk that uses up the stack.
const DEPTH_MAX: usize = 128;

/// How the names in a folder are meant.
#[derive(Clone, Copy)]
pub(crate) enum Names {
    /// A leading `dot_` stands for `.`.
    Fixture,
    AsTheyAre,
}

impl Names {
    fn meant(self, name: &str) -> String {
        match (self, name.strip_prefix("dot_")) {
            (Self::Fixture, Some(rest)) => format!(".{rest}"),
            _ => name.to_owned(),
        }
    }
}

/// Makes the copy of a case's folder in which its grants' paths start: the directories, and the files beside them, which
/// only their owner can read there because secrets must be so. Where there are none, there is no copy.
pub(super) fn copy_case(from: &Path, to: &Path) -> anyhow::Result<()> {
    let mut files = sorted(from)?;
    files.retain(|entry| entry.file_name() != CASE_FILE && entry.file_type().is_ok_and(|kind| kind.is_file()));
    let directories = from.join(DIRECTORIES);
    if files.is_empty() && !directories.is_dir() {
        return Ok(());
    }
    fs::create_dir(to)?;
    for entry in files {
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy)?;
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
    }
    if directories.is_dir() { copy(&directories, &to.join(DIRECTORIES), 0) } else { Ok(()) }
}

/// What a program left, as the scratch of the next call.
pub(super) fn copy_scratch(case: &Path, name: &str, to: &Path) -> anyhow::Result<()> {
    copy(&case.join(SCRATCH).join(name), to, 0)
}

fn copy(from: &Path, to: &Path, depth: usize) -> anyhow::Result<()> {
    check_depth(from, depth)?;
    fs::create_dir(to)?;
    for entry in sorted(from)? {
        let (path, kind) = (entry.path(), entry.file_type()?);
        let to = to.join(Names::Fixture.meant(&name(&entry)?));
        if kind.is_dir() {
            copy(&path, &to, depth + 1)?;
        } else if kind.is_symlink() {
            symlink(fs::read_link(&path)?, to)?;
        } else if kind.is_file() {
            fs::copy(&path, to)?;
        } else {
            bail!("{} is neither a file, a folder nor a link", path.display());
        }
    }
    Ok(())
}

/// A folder as an artifact, without its empty folders; the contents go into `blobs`.
pub(crate) fn tree(folder: &Path, names: Names, blobs: &dyn Blobs) -> anyhow::Result<Tree> {
    let mut entries = Vec::new();
    take(folder, "", names, blobs, &mut entries, 0)?;
    Tree::new(entries).with_context(|| folder.display().to_string())
}

fn take(
    folder: &Path,
    below: &str,
    names: Names,
    blobs: &dyn Blobs,
    entries: &mut Vec<Entry>,
    depth: usize,
) -> anyhow::Result<()> {
    check_depth(folder, depth)?;
    for entry in sorted(folder)? {
        let (from, metadata) = (entry.path(), entry.metadata()?);
        let path = format!("{below}{}", names.meant(&name(&entry)?));
        let node = if metadata.is_dir() {
            take(&from, &format!("{path}/"), names, blobs, entries, depth + 1)?;
            continue;
        } else if metadata.is_symlink() {
            let target = fs::read_link(&from)?.into_os_string().into_string();
            let Ok(target) = target else { bail!("{}: the link's target is not UTF-8", from.display()) };
            Node::Link { target }
        } else if metadata.is_file() && metadata.len() <= FILE_BYTES_MAX {
            let bytes = fs::read(&from).with_context(|| from.display().to_string())?;
            let executable = metadata.permissions().mode() & 0o100 != 0;
            Node::File { digest: blobs.put(&bytes)?, size: bytes.len() as u64, executable }
        } else {
            bail!("{} is not a file of at most {FILE_BYTES_MAX} bytes, a folder or a link", from.display());
        };
        entries.push(Entry { path, node });
    }
    Ok(())
}

fn check_depth(folder: &Path, depth: usize) -> anyhow::Result<()> {
    if depth > DEPTH_MAX {
        bail!("{} lies deeper than {DEPTH_MAX} folders", folder.display());
    }
    Ok(())
}

fn sorted(folder: &Path) -> anyhow::Result<Vec<fs::DirEntry>> {
    let mut entries = fs::read_dir(folder)
        .and_then(|entries| entries.collect::<io::Result<Vec<_>>>())
        .with_context(|| folder.display().to_string())?;
    entries.sort_by_key(fs::DirEntry::file_name);
    Ok(entries)
}

fn name(entry: &fs::DirEntry) -> anyhow::Result<String> {
    match entry.file_name().into_string() {
        Ok(name) => Ok(name),
        Err(_) => bail!("{}: the name is not UTF-8", entry.path().display()),
    }
}
