//! What an operator granted to one action: the only way to anything outside of its own artifacts.
//!
//! Owns what is the same for the grants of all capabilities; each capability's own file says what its grant is, and
//! refuses what is missing.

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

pub use crate::capabilities::directories::{Access, Directory, DirectoryGrant};
pub use crate::capabilities::http::HttpGrant;
pub use crate::capabilities::secrets::SecretGrant;
use crate::capabilities::secrets::stored::Stored;
pub use crate::capabilities::{Grants, Written};

impl Grants {
    /// As recordings keep them: without values and places.
    pub fn recorded(&self) -> Self {
        let kept = serde_json::to_value(self).and_then(serde_json::from_value);
        kept.expect("what is written of grants is read again")
    }
}

/// What is written in a file of grants is read with these.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    /// Relative paths start here.
    pub base: &'a Path,
    /// Those of the account's stored secrets that the file names.
    pub stored: &'a Stored,
}

/// One use of a capability, as a journal has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    pub capability: String,
    pub operation: String,
    pub target: String,
}

/// Where a test case that is made of a recording has its files.
#[derive(Clone, Copy, Debug)]
pub struct CaseFolder<'a> {
    /// The folder with a folder for each directory.
    pub directories: &'a str,
    /// The file with what stands for a secret's value.
    pub secret: &'a str,
}

/// A secret's value, which no Debug output shows.
#[derive(Clone)]
pub struct SecretValue(Arc<str>);

impl SecretValue {
    pub fn new(value: impl Into<Arc<str>>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretValue {
    fn from(value: String) -> Self {
        Self::new(value)
    }
}

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(****)")
    }
}

/// A key of a TOML table, in quotes where it needs them.
pub(crate) fn key(name: &str) -> String {
    let bare = !name.is_empty() && name.bytes().all(|c| c.is_ascii_alphanumeric() || c == b'-' || c == b'_');
    if bare { name.to_owned() } else { format!("{name:?}") }
}

/// Whether a relative path leads to something below `base`: no `..`, and no link on the way.
pub(crate) fn stays_below(base: &Path, path: &Path) -> bool {
    let mut at = base.to_owned();
    path.components().all(|component| match component {
        Component::CurDir => true,
        Component::Normal(name) => {
            at.push(name);
            !at.is_symlink()
        }
        _ => false,
    })
}

/// The path without `.` and `..`, so that a person sees where it leads; links are left alone.
pub fn tidy(path: &Path) -> PathBuf {
    path.components().fold(PathBuf::new(), |mut tidy, component| {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                tidy.pop();
            }
            other => tidy.push(other),
        }
        tidy
    })
}
