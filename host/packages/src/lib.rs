//! Plugin packages: made, published, signed, judged, installed, compared.
//!
//! Owns what is installed on this machine (`installed`, `lock`), the form of a package (`package`), where one comes from
//! (`origin`: a registry, a file, an archive), who may sign what (`policy`) and what an upgrade changes (`diff`); and how container
//! images are read (`images`). Must not know terminals, the server, or what a plugin does.
//!
//! The order in which a package is believed: its manifest and signatures are read, within limits; the policy judges them;
//! only then is the description read, and only after a person consented to it is the code fetched, which then must
//! describe itself in the very same words.

mod candidate;
mod diff;
mod facts;
pub mod images;
mod installed;
mod keys;
mod layout;
mod lock;
mod oci;
mod origin;
mod package;
pub mod plugins;
mod policy;
mod reference;
mod registry;
mod signature;

pub use candidate::{Candidate, Fetched};
pub use diff::{Difference, breaking, diff};
pub use facts::{Asking, Facts, Offer};
pub use installed::{Installed, Listed};
pub use keys::{PublicKey, SigningKey};
pub use layout::{load, save};
pub use lock::{Entry, State, Upgrade};
pub use oci::text as digest_text;
pub use origin::Origin;
pub use package::Package;
pub use policy::{Policy, Trust};
pub use reference::{Reference, tag_of, version_of};
pub use registry::{Limits, Options, Registry};
pub use signature::Signature;

use pipewright_artifacts::files::BlobError;
use pipewright_base::Digest;
use pipewright_sandbox::LoadError;
use semver::Version;

/// Why something of a package was not done, by what the caller may do about it. Nothing was installed.
#[derive(Debug, thiserror::Error)]
pub enum PackageError {
    /// Write it in another way.
    #[error("{0}")]
    Usage(String),
    /// Name something that is there.
    #[error("{0} is not there")]
    Missing(String),
    /// Log in.
    #[error("registry {registry} does not let you in: {reason}; log in with `docker login {registry}`")]
    Credentials { registry: String, reason: String },
    /// Ask again later, or another registry.
    #[error("registry {registry}: {reason}")]
    Registry { registry: String, reason: String },
    /// Do not trust whoever sent it.
    #[error("{what} was changed: it must have the digest {}, and has {}", oci::text(.expected), oci::text(.found))]
    Digest { what: String, expected: Digest, found: Digest },
    /// Do not trust whoever sent it: a registry that gives so much gives something else.
    #[error("{what} is longer than the {bytes} bytes that its manifest says")]
    Longer { what: String, bytes: u64 },
    /// It is no package, or not one for this host.
    #[error("{what} is not a plugin package that this host can read: {reason}")]
    Invalid { what: String, reason: String },
    /// Do not trust whoever published it.
    #[error("{package} is not what it says: {reason}")]
    False { package: String, reason: String },
    /// Ask for a signature, or change the policy.
    #[error("{package} is not trusted: {reason}")]
    Untrusted { package: String, reason: String },
    /// Mend the policy.
    #[error("policy {0}")]
    Policy(String),
    /// Give another key or passphrase.
    #[error("key {0}")]
    Key(String),
    /// Upgrade it instead: another version of the same major is installed.
    #[error("{name} {there} is installed; an upgrade puts {new} in its place")]
    Taken { name: String, there: Box<Version>, new: Box<Version> },
    /// Add it instead: no version of its major is installed.
    #[error("no version {}.x of {name} is installed; to add {new} puts it beside other majors", new.major)]
    Beside { name: String, new: Box<Version> },
    /// What is installed forbids it; the message says what would allow it.
    #[error("{0}")]
    Refused(String),
    #[error("{0:#}")]
    Host(anyhow::Error),
}

impl From<std::io::Error> for PackageError {
    fn from(error: std::io::Error) -> Self {
        Self::Host(error.into())
    }
}

impl PackageError {
    /// Whether it is about what was read, and not about reading.
    fn is_of_content(&self) -> bool {
        matches!(self, Self::Missing(_) | Self::Digest { .. } | Self::Longer { .. } | Self::Invalid { .. })
    }

    fn invalid(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), reason: reason.to_string() }
    }

    fn blob(what: &str, error: BlobError) -> Self {
        match error {
            BlobError::Damaged { expected, found } => Self::Digest { what: what.to_owned(), expected, found },
            BlobError::Missing(digest) => Self::Missing(format!("{what} ({})", oci::text(&digest))),
            BlobError::TooLarge { bytes_max, .. } => Self::invalid(what, format!("it has more than {bytes_max} bytes")),
            BlobError::Io { error, .. } => Self::Host(error.into()),
        }
    }

    fn load(what: &str, error: LoadError) -> Self {
        match error {
            LoadError::Host(error) => Self::Host(error),
            error => Self::invalid(what, error),
        }
    }
}
