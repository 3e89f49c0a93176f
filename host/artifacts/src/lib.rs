//! The artifacts of a host: trees of files by digest, each file kept once.
//!
//! Owns where trees and blobs lie and when they are durable, and removes those that nothing refers to. Must not know which
//! execution made or uses an artifact.
//!
//! A blob is referred to by a tree, and a tree by executions: the rule by which blobs are collected beside running actions
//! ([`Blobs`]) is followed twice, first for trees and then for blobs. It needs that an action's
//! outputs are taken in, and its success is committed, within [`COLLECT_GRACE_MILLISECONDS`] of the first file.

pub mod caches;
pub mod files;

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use pipewright_base::Digest;

use crate::files::{
    BlobDir, BlobError, BlobMemory, Blobs, CollectError, FileQuota, MadeOutput, Node, Tree, TreeError, TreeLimits,
    collect,
};

/// What was stored less than an hour ago is not collected, whether or not something refers to it: see `Blobs`. Taking in
/// the largest outputs takes minutes.
pub const COLLECT_GRACE_MILLISECONDS: u64 = 60 * 60 * 1000;
/// Trees kept in memory, so that the stages of a pipeline do not read a manifest again and again.
const TREES_KEPT_MAX: usize = 32;
/// A larger manifest is refused; one of the largest number of entries has less.
const MANIFEST_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// The plugin made something that is no artifact; the store is as it was.
    #[error(transparent)]
    Refused(#[from] CollectError),
    #[error("artifact {digest}: {error}")]
    Blob { digest: String, error: BlobError },
    #[error("artifact {digest}: its manifest is damaged: {error}")]
    Tree { digest: String, error: TreeError },
    #[error("artifact {digest}: not the name of an artifact")]
    Name { digest: String },
    #[error("the artifact store: {0}")]
    Io(#[from] io::Error),
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Checked {
    pub artifacts: u64,
    pub blobs: u64,
    pub bytes: u64,
    pub damage: Vec<Damage>,
}

/// Something that is not there as it should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub of: Damaged,
    /// A sentence that names the artifact and the file.
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damaged {
    Manifest(Digest),
    Blob(Digest),
}

/// What a collection removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Removed {
    pub artifacts: u64,
    pub blobs: u64,
    /// Of the blobs and manifests.
    pub bytes: u64,
}

pub struct Artifacts {
    /// Manifests, by the digest of the artifact.
    trees: Arc<dyn Blobs>,
    /// Contents of files.
    blobs: Arc<dyn Blobs>,
    recent: Mutex<VecDeque<(Digest, Arc<Tree>)>>,
}

impl Artifacts {
    pub fn open(folder: &Path) -> io::Result<Self> {
        let blobs = BlobDir::new(folder.join("blobs"))?;
        let trees = blobs.beside(folder.join("trees"))?;
        Ok(Self::on(Arc::new(trees), Arc::new(blobs)))
    }

    pub fn in_memory() -> Self {
        Self::on(Arc::new(BlobMemory::default()), Arc::new(BlobMemory::default()))
    }

    fn on(trees: Arc<dyn Blobs>, blobs: Arc<dyn Blobs>) -> Self {
        Self { trees, blobs, recent: Mutex::default() }
    }

    pub fn blobs(&self) -> &Arc<dyn Blobs> {
        &self.blobs
    }

    /// The manifests of the artifacts, by the digests of the artifacts.
    pub fn manifests(&self) -> &Arc<dyn Blobs> {
        &self.trees
    }

    /// Takes in what a call made: all outputs, then one sync for all of them. Gives each artifact's digest.
    pub fn take_in(&self, made: &[MadeOutput], quota: &FileQuota) -> Result<Vec<(String, String)>, ArtifactError> {
        let mut digests = Vec::with_capacity(made.len());
        for output in made {
            let tree = collect(output, &*self.blobs, quota)?;
            let digest = self.trees.put(&tree.to_bytes())?;
            self.remember(digest, Arc::new(tree));
            digests.push((output.name.clone(), digest.to_string()));
        }
        if !digests.is_empty() {
            self.blobs.sync()?;
        }
        Ok(digests)
    }

    pub fn tree(&self, digest: &str) -> Result<Arc<Tree>, ArtifactError> {
        let name: Digest = digest.parse().map_err(|_| ArtifactError::Name { digest: digest.to_owned() })?;
        if let Some((_, tree)) = self.recent.lock().expect("no panic while held").iter().find(|(kept, _)| *kept == name)
        {
            return Ok(Arc::clone(tree));
        }
        let tree = Arc::new(self.read(&name)?);
        self.remember(name, Arc::clone(&tree));
        Ok(tree)
    }

    fn read(&self, digest: &Digest) -> Result<Tree, ArtifactError> {
        let of_blob = |error| ArtifactError::Blob { digest: digest.to_string(), error };
        let bytes = self.trees.read(digest, MANIFEST_BYTES_MAX).map_err(of_blob)?;
        Tree::read(&bytes[..], &TreeLimits::default())
            .map_err(|error| ArtifactError::Tree { digest: digest.to_string(), error })
    }

    fn remember(&self, digest: Digest, tree: Arc<Tree>) {
        let mut recent = self.recent.lock().expect("no panic while held");
        if recent.iter().any(|(kept, _)| *kept == digest) {
            return;
        }
        if recent.len() == TREES_KEPT_MAX {
            recent.pop_front();
        }
        recent.push_back((digest, tree));
    }

    /// The artifacts that may be collected if nothing refers to them: those that were last stored before a time, in
    /// milliseconds since 1970. References are to be read after this.
    pub fn stored_before(&self, before: u64) -> Result<Vec<Digest>, ArtifactError> {
        Ok(self.trees.stored_before(before)?)
    }

    /// Removes artifacts that nothing refers to, unless they were stored again since `before`.
    pub fn remove(&self, unused: &[Digest], before: u64) -> Result<Removed, ArtifactError> {
        let (artifacts, bytes) = self.trees.remove_unused(unused, before)?;
        let mut recent = self.recent.lock().expect("no panic while held");
        recent.retain(|(digest, _)| !unused.contains(digest));
        Ok(Removed { artifacts, blobs: 0, bytes })
    }

    /// Removes the blobs that no artifact names and that were last stored before a time. Reads every manifest.
    pub fn remove_blobs(&self, before: u64) -> Result<Removed, ArtifactError> {
        let mut unused = self.blobs.stored_before(before)?;
        if unused.is_empty() {
            return Ok(Removed::default());
        }
        let mut used = vec![false; unused.len()];
        for digest in self.trees.digests()? {
            for entry in self.read(&digest)?.entries() {
                if let Node::File { digest, .. } = &entry.node
                    && let Ok(at) = unused.binary_search(digest)
                {
                    used[at] = true;
                }
            }
        }
        let mut used = used.into_iter();
        unused.retain(|_| used.next() == Some(false));
        let (blobs, bytes) = self.blobs.remove_unused(&unused, before)?;
        Ok(Removed { artifacts: 0, blobs, bytes })
    }

    /// Reads everything: every manifest and every blob must have the digest that names it, and every blob that a manifest
    /// names must be there.
    pub fn check(&self) -> Result<Checked, ArtifactError> {
        let mut checked = self.check_trees()?;
        for digest in self.blobs.digests()? {
            checked.blobs += 1;
            match self.blobs.verify(&digest) {
                Ok(bytes) => checked.bytes += bytes,
                Err(error) => checked.found(Damaged::Blob(digest), error.to_string()),
            }
        }
        Ok(checked)
    }

    /// Reads every manifest, and finds out whether the files that they name are there; whether those are what they are said to be is
    /// not read.
    pub fn check_trees(&self) -> Result<Checked, ArtifactError> {
        let mut checked = Checked::default();
        for digest in self.trees.digests()? {
            checked.artifacts += 1;
            match self.read(&digest) {
                Ok(tree) => self.check_files(&digest, &tree, &mut checked),
                Err(error) => checked.found(Damaged::Manifest(digest), error.to_string()),
            }
        }
        Ok(checked)
    }

    fn check_files(&self, artifact: &Digest, tree: &Tree, checked: &mut Checked) {
        for entry in tree.entries() {
            if let Node::File { digest, .. } = &entry.node
                && !self.blobs.contains(digest)
            {
                let what = format!("artifact {artifact}: {}: blob {digest} is missing", entry.path);
                checked.found(Damaged::Blob(*digest), what);
            }
        }
    }
}

impl Checked {
    fn found(&mut self, of: Damaged, what: String) {
        self.damage.push(Damage { of, what });
    }
}
