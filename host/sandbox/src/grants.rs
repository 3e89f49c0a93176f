//! What an operator granted to one action: the only way to anything outside of its own artifacts.
//!
//! Owns the types. Each capability's own file holds its check; what is missing here is refused there.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// The grants of one action. The default is none.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    pub http: Vec<HttpGrant>,
    /// By the name under which the plugin sees the directory: `/directories/NAME`.
    pub directories: BTreeMap<String, DirectoryGrant>,
    pub secrets: BTreeMap<String, SecretGrant>,
    /// The time of day. Without it, it stands still at the start of the call.
    pub clock: bool,
    /// Randomness. Without it, what looks random derives from the idempotency key.
    pub randomness: bool,
}

/// One origin that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpGrant {
    pub tls: bool,
    /// Lower case, without a trailing dot; an address in its usual text form, without brackets.
    pub host: String,
    pub port: u16,
    /// The host may resolve to a loopback, link-local or private address.
    pub private: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryGrant {
    pub path: PathBuf,
    pub access: Access,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    Read,
    Write,
}

#[derive(Clone, Debug)]
pub struct SecretGrant {
    pub value: SecretValue,
    /// Where the value may be sent, out of what `Grants::http` allows: host names.
    pub hosts: Vec<String>,
    /// The plugin may read the value itself.
    pub reveal: bool,
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

impl fmt::Debug for SecretValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretValue(****)")
    }
}
