//! The manifest of an artifact: which files, links and directories it has, and by which blobs.
//!
//! Owns the manifest's text form and the lookup of paths in it. Must not know where blobs lie, nor who looks.
//!
//! # Text form, version 1
//! UTF-8 lines, each ended by one line feed. The first is `pipewright-tree 1`; each other one is an entry as JSON
//! without spaces, in the order of the bytes of the paths:
//! * `{"path":"index.html","sha256":"…","size":12}`, with `"executable":true` at its end where the file is;
//! * `{"path":"latest","link":"releases/7"}`;
//! * `{"path":"empty","directory":true}`: only empty directories have a line.
//!
//! There is exactly one text for a tree; its SHA-256 is the tree's digest.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

use super::paths;
use pipewright_base::{Digest, Hasher};

const HEADER: &str = "pipewright-tree 1";
/// Links that one lookup follows at most, as on Linux: stops a loop of links.
const LINKS_FOLLOWED_MAX: usize = 40;

/// What an artifact consists of.
#[derive(Clone, Debug)]
pub struct Tree {
    /// In the order of the bytes of the paths.
    entries: Vec<Entry>,
    has_links: bool,
    bytes: u64,
    digest: OnceLock<Digest>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Below the top of the artifact, names joined by `/`.
    pub path: String,
    pub node: Node,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File {
        digest: Digest,
        /// In bytes.
        size: u64,
        executable: bool,
    },
    Link {
        target: String,
    },
    /// An empty directory; the others follow from the paths.
    Directory,
}

/// What reading a manifest may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLimits {
    /// Of the text. Stops a manifest that fills the memory.
    pub manifest_bytes_max: u64,
    /// Stops a manifest of a great many tiny lines.
    pub entries_max: u64,
}

impl Default for TreeLimits {
    /// As many entries as one call may make by default.
    fn default() -> Self {
        Self { manifest_bytes_max: 256 << 20, entries_max: 500_000 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("cannot read the manifest: {0}")]
    Io(#[from] io::Error),
    #[error("not a manifest of this version: the first line must be `{HEADER}`")]
    Header,
    #[error("line {line} of the manifest is not an entry in its canonical form")]
    Line { line: u64 },
    #[error("the manifest is over the limit {0}")]
    Limit(&'static str),
    #[error("`{path}` {fault}")]
    Entry { path: String, fault: &'static str },
}

/// What a lookup found.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<'a> {
    File {
        digest: &'a Digest,
        size: u64,
        executable: bool,
    },
    Link(&'a str),
    /// By its path, with every link followed.
    Directory(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    NotFound,
    NotDirectory,
    Loop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildKind {
    File,
    Link,
    Directory,
}

impl Tree {
    /// Puts the entries in order and checks them.
    pub fn new(mut entries: Vec<Entry>) -> Result<Self, TreeError> {
        entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        let mut tree = Self { has_links: false, bytes: 0, entries: Vec::new(), digest: OnceLock::new() };
        for pair in entries.windows(2) {
            if pair[0].path == pair[1].path {
                return Err(fault(&pair[0], "is there twice"));
            }
        }
        for entry in &entries {
            paths::check_entry(&entry.path).map_err(|wrong| fault(entry, wrong))?;
            match &entry.node {
                Node::File { size, .. } => tree.bytes = tree.bytes.saturating_add(*size),
                Node::Link { target } => {
                    paths::check_target(paths::depth(&entry.path), target).map_err(|wrong| fault(entry, wrong))?;
                    tree.has_links = true;
                }
                Node::Directory => {}
            }
        }
        tree.entries = entries;
        for entry in &tree.entries {
            if !tree.below(&entry.path).is_empty() {
                return Err(fault(entry, "has an entry of its own and others below it"));
            }
        }
        Ok(tree)
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The size of all files together.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The SHA-256 of the text form.
    pub fn digest(&self) -> Digest {
        *self.digest.get_or_init(|| {
            let mut hasher = Hasher::default();
            // A hasher takes everything.
            let _ = self.write(&mut hasher);
            hasher.finish()
        })
    }

    /// Writes the text form. Pass something buffered.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "{HEADER}")?;
        for entry in &self.entries {
            serde_json::to_writer(&mut *out, &Line::from(entry))?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(64 + self.entries.len() * 140);
        // Writing to memory does not fail.
        let _ = self.write(&mut text);
        text
    }

    /// Reads the text form, line by line; refuses every text but the canonical one.
    pub fn read(text: impl BufRead, limits: &TreeLimits) -> Result<Self, TreeError> {
        let mut text = text.take(limits.manifest_bytes_max.saturating_add(1));
        let mut hasher = Hasher::default();
        let mut entries: Vec<Entry> = Vec::new();
        let mut bytes = 0;
        let mut line = String::new();
        for number in 1_u64.. {
            line.clear();
            let read = text.read_line(&mut line)?;
            bytes += read as u64;
            if bytes > limits.manifest_bytes_max {
                return Err(TreeError::Limit("manifest_bytes_max"));
            }
            if read == 0 {
                break;
            }
            hasher.update(line.as_bytes());
            let content = line.strip_suffix('\n').ok_or(TreeError::Line { line: number })?;
            if number == 1 {
                if content != HEADER {
                    return Err(TreeError::Header);
                }
                continue;
            }
            if number - 1 > limits.entries_max {
                return Err(TreeError::Limit("entries_max"));
            }
            let entry = Line::parse(content).ok_or(TreeError::Line { line: number })?;
            if entries.last().is_some_and(|last| last.path >= entry.path) {
                return Err(fault(&entry, "is not in the order of the bytes of the paths"));
            }
            entries.push(entry);
        }
        if bytes == 0 {
            return Err(TreeError::Header);
        }
        let tree = Self::new(entries)?;
        let _ = tree.digest.set(hasher.finish());
        Ok(tree)
    }

    /// Looks a path up, empty for the top, and follows links inside of the tree; the last one only if `follow_last`.
    pub fn find(&self, path: &str, follow_last: bool) -> Result<Found<'_>, Missing> {
        if !self.has_links {
            return self.at(path);
        }
        let mut directory = String::new();
        let mut ahead: Vec<&str> = path.split('/').rev().filter(|name| !name.is_empty()).collect();
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            match name {
                "" | "." => continue,
                ".." => {
                    directory.truncate(directory.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            match self.at(&paths::join(&directory, name))? {
                Found::Link(target) if follow_last || !ahead.is_empty() => {
                    followed += 1;
                    if followed > LINKS_FOLLOWED_MAX {
                        return Err(Missing::Loop);
                    }
                    ahead.extend(target.split('/').rev().filter(|name| !name.is_empty()));
                }
                Found::Directory(path) => directory = path,
                found if ahead.is_empty() => return Ok(found),
                _ => return Err(Missing::NotDirectory),
            }
        }
        Ok(Found::Directory(directory))
    }

    /// The names in a directory, in the order of their bytes. The path is one that `find` gave.
    pub fn children(&self, directory: &str) -> BTreeMap<&str, ChildKind> {
        let skip = if directory.is_empty() { 0 } else { directory.len() + 1 };
        let mut children = BTreeMap::new();
        let mut rest = self.below(directory);
        while let Some(entry) = rest.first() {
            let path = &entry.path[skip..];
            if let Some((name, _)) = path.split_once('/') {
                children.insert(name, ChildKind::Directory);
                let prefix = &entry.path[..=skip + name.len()];
                rest = &rest[rest.partition_point(|entry| entry.path.starts_with(prefix))..];
            } else {
                let kind = match entry.node {
                    Node::File { .. } => ChildKind::File,
                    Node::Link { .. } => ChildKind::Link,
                    Node::Directory => ChildKind::Directory,
                };
                children.insert(path, kind);
                rest = &rest[1..];
            }
        }
        children
    }

    /// Everything below a directory.
    pub fn below(&self, directory: &str) -> &[Entry] {
        if directory.is_empty() {
            return &self.entries;
        }
        let is_before = |entry: &Entry| match entry.path.as_bytes().get(..directory.len()) {
            Some(start) if start == directory.as_bytes() => {
                entry.path.as_bytes().get(directory.len()).is_none_or(|next| *next < b'/')
            }
            _ => entry.path.as_str() < directory,
        };
        let below = &self.entries[self.entries.partition_point(is_before)..];
        let is_below = |entry: &Entry| entry.path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'));
        &below[..below.partition_point(is_below)]
    }

    fn at(&self, path: &str) -> Result<Found<'_>, Missing> {
        if let Ok(index) = self.entries.binary_search_by(|entry| entry.path.as_str().cmp(path)) {
            return Ok(match &self.entries[index].node {
                Node::File { digest, size, executable } => Found::File { digest, size: *size, executable: *executable },
                Node::Link { target } => Found::Link(target),
                Node::Directory => Found::Directory(path.to_owned()),
            });
        }
        if path.is_empty() || !self.below(path).is_empty() {
            return Ok(Found::Directory(path.to_owned()));
        }
        Err(Missing::NotFound)
    }
}

impl PartialEq for Tree {
    fn eq(&self, other: &Self) -> bool {
        self.entries == other.entries
    }
}

fn fault(entry: &Entry, fault: &'static str) -> TreeError {
    TreeError::Entry { path: entry.path.clone(), fault }
}

/// An entry as its line.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    path: std::borrow::Cow<'a, str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sha256: Option<Digest>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(default, skip_serializing_if = "is_false")]
    executable: bool,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none")]
    link: Option<std::borrow::Cow<'a, str>>,
    #[serde(default, skip_serializing_if = "is_false")]
    directory: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl<'a> From<&'a Entry> for Line<'a> {
    fn from(entry: &'a Entry) -> Self {
        let path = entry.path.as_str().into();
        let none = Line { path, sha256: None, size: None, executable: false, link: None, directory: false };
        match &entry.node {
            Node::File { digest, size, executable } => {
                Line { sha256: Some(*digest), size: Some(*size), executable: *executable, ..none }
            }
            Node::Link { target } => Line { link: Some(target.as_str().into()), ..none },
            Node::Directory => Line { directory: true, ..none },
        }
    }
}

impl Line<'_> {
    fn parse(text: &str) -> Option<Entry> {
        let line: Line<'_> = serde_json::from_str(text).ok()?;
        let node = match (line.sha256, line.size, line.link, line.directory) {
            (Some(digest), Some(size), None, false) => Node::File { digest, size, executable: line.executable },
            (None, None, Some(target), false) => Node::Link { target: target.into_owned() },
            (None, None, None, true) => Node::Directory,
            _ => return None,
        };
        let entry = Entry { path: line.path.into_owned(), node };
        // Only the canonical text, so that one tree has one digest.
        (serde_json::to_string(&Line::from(&entry)).ok()? == text).then_some(entry)
    }
}
