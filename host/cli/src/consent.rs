//! Consent to a proposed grants file, kept in the user's own configuration under the file's digest and what it means.
//!
//! Owns the record of answers. Must not know how a person is asked (`cli`).

use std::path::PathBuf;

use anyhow::Context as _;

use pipewright_base::hex;
use sha2::{Digest as _, Sha256};

use pipewright_runner::grants::GrantsFile;

/// The answers given on this machine. A changed file is asked about anew, and so is the same file in another folder, where
/// its relative paths mean something else.
pub struct Consents(PathBuf);

impl Consents {
    pub fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    fn path(&self, grants: &GrantsFile) -> PathBuf {
        let meaning = hex::encode(Sha256::digest(grants.in_words()));
        self.0.join(format!("{}-{}", grants.digest, &meaning[..16]))
    }

    /// What was answered about exactly this file, if it was asked before.
    pub fn answer(&self, grants: &GrantsFile) -> Option<bool> {
        match std::fs::read_to_string(self.path(grants)).ok()?.lines().next()? {
            "granted" => Some(true),
            "refused" => Some(false),
            _ => None,
        }
    }

    /// Keeps an answer, with the file's content in words below it for whoever looks.
    pub fn keep(&self, grants: &GrantsFile, granted: bool) -> anyhow::Result<()> {
        std::fs::create_dir_all(&self.0).with_context(|| format!("cannot make {}", self.0.display()))?;
        let path = self.path(grants);
        let answer = if granted { "granted" } else { "refused" };
        std::fs::write(&path, format!("{answer}\n{}", grants.in_words()))
            .with_context(|| format!("cannot keep the answer in {}", path.display()))
    }
}
