//! The file capability without a guest: what guests do through WASI and `artifacts` ends in the calls made here.

mod archive;
mod artifacts;
mod escapes;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use pipewright_artifacts::files::{BlobDir, CollectError, Entry, Node, collect};

use super::*;
use crate::masks::Masks;
use crate::outside::Outside;
use crate::rights::Asks;
use crate::seam::Journal;

/// One call's files, in a directory of its own.
struct World {
    dir: tempfile::TempDir,
    files: Files,
    journal: Arc<Journal>,
}

impl World {
    /// Inputs `in`, outputs `out`, granted directories `read` and `write`, all empty.
    fn new() -> Self {
        Self::with(FileQuota::default(), &[])
    }

    /// The same with an input `in` of these files: a name that ends in `*` is executable, a content `→ x` a link to `x`.
    fn with(quota: FileQuota, input: &[(&str, &str)]) -> Self {
        Self::with_memory(quota, 64 << 20, input)
    }

    /// The same with so much memory of the host.
    fn with_memory(quota: FileQuota, host_memory_bytes_max: usize, input: &[(&str, &str)]) -> Self {
        Self::on(Floor::default(), quota, host_memory_bytes_max, input)
    }

    /// The same on a disk that must not fill up.
    fn on(floor: Floor, quota: FileQuota, host_memory_bytes_max: usize, input: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let blobs = BlobDir::new(dir.path().join("blobs")).unwrap();
        let tree = Arc::new(tree_of(input, &blobs));
        for name in ["read", "write"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let grant = |name, access| (String::from(name), DirectoryGrant { path: dir.path().join(name), access });
        let journal = Arc::new(Journal::default());
        let files = Files::new(FilesConfig {
            inputs: vec![Input { name: "in".to_owned(), tree, blobs: Arc::new(blobs) }],
            outputs: vec!["out".to_owned()],
            directories: BTreeMap::from([grant("read", Access::Read), grant("write", Access::Write)]),
            work_dir: dir.path().join("work"),
            is_scratch_left: false,
            quota,
            memory: HostMemory::alone(host_memory_bytes_max),
            floor,
            seam: Seam::new(
                "test/plugin",
                "Build/Pack",
                journal.clone(),
                Masks::default(),
                Asks::everything(&["read", "write"], &["other", "a b"]),
                Outside::Live,
            ),
        });
        Self { dir, files, journal }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.files.shared
    }

    fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn blobs(&self) -> BlobDir {
        BlobDir::new(self.host("blobs")).unwrap()
    }

    /// Writes a file as the `artifacts` interface does.
    fn write(&self, path: &str, content: &str) -> Result<(), FileError> {
        use wasmtime_wasi::p2::OutputStream as _;
        let file = self.shared().open_to_write(path, false)?;
        let mut stream = streams::Writer::hashed(file);
        match stream.write(content.as_bytes().to_vec().into()) {
            Ok(()) => Ok(()),
            Err(wasmtime_wasi::p2::StreamError::LastOperationFailed(error)) => Err(error.downcast().unwrap()),
            Err(error) => panic!("{error}"),
        }
    }

    fn read(&self, path: &str) -> Result<String, FileError> {
        use std::io::Read as _;
        let mut content = String::new();
        self.shared().open_to_read(path)?.file.read_to_string(&mut content).unwrap();
        Ok(content)
    }

    /// Everything below a path, one line each.
    fn list(&self, path: &str) -> String {
        let entries = self.shared().list(path, Vec::new()).unwrap();
        entries.iter().map(|entry| format!("{}\n", show(entry))).collect()
    }

    /// Takes the output in; gives its tree's text without the digests.
    fn collect(&mut self) -> Result<Tree, CollectError> {
        let made = MadeOutput::new("out", &self.shared().outputs["out"]);
        collect(&made, &self.blobs(), &FileQuota::default())
    }
}

fn show(entry: &crate::bindings::pipewright::plugin::artifacts::Entry) -> String {
    use crate::bindings::pipewright::plugin::artifacts::FileKind;
    match entry.kind {
        FileKind::Directory => format!("{}/", entry.path),
        FileKind::Link => format!("{} → {}", entry.path, entry.target.as_deref().unwrap_or("?")),
        FileKind::File => format!("{}{} {}", entry.path, if entry.executable { "*" } else { "" }, entry.size),
    }
}

fn tree_of(entries: &[(&str, &str)], blobs: &BlobDir) -> Tree {
    let entry = |(name, content): &(&str, &str)| {
        let node = match content.strip_prefix("→ ") {
            Some(target) => Node::Link { target: target.to_owned() },
            None if name.ends_with('/') => Node::Directory,
            None => Node::File {
                digest: blobs.put(content.as_bytes()).unwrap(),
                size: content.len() as u64,
                executable: name.ends_with('*'),
            },
        };
        Entry { path: name.trim_end_matches(['*', '/']).to_owned(), node }
    };
    Tree::new(entries.iter().map(entry).collect()).unwrap()
}

fn show_tree(tree: &Tree) -> String {
    let line = |entry: &Entry| match &entry.node {
        Node::File { size, executable, .. } => format!("{}{} {size}\n", entry.path, if *executable { "*" } else { "" }),
        Node::Link { target } => format!("{} → {target}\n", entry.path),
        Node::Directory => format!("{}/\n", entry.path),
    };
    tree.entries().iter().map(line).collect()
}

/// Every file below a host directory, with its content.
fn contents(path: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut ahead = vec![path.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let kind = entry.file_type().unwrap();
            let name = entry.path().strip_prefix(path).unwrap().to_str().unwrap().to_owned();
            if kind.is_dir() {
                ahead.push(entry.path());
            } else if kind.is_file() {
                found.insert(name, fs::read_to_string(entry.path()).unwrap());
            } else if kind.is_symlink() {
                found.insert(name, format!("→ {}", fs::read_link(entry.path()).unwrap().display()));
            }
        }
    }
    found
}
