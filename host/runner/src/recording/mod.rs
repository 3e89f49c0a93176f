//! Recordings: one action execution with all that it needs to be called again elsewhere, without network. `docs/recordings.md`
//! describes the format.
//!
//! Owns what a recording says and leaves out. `bundle` is its file, `keep` how one comes about, `replay` the calling
//! again, `case` the test case that is made of one. Must not know how a host call is recorded (the sandbox), or how anything
//! is shown.

mod bundle;
mod keep;
mod kept;

use std::collections::BTreeMap;
use std::path::Path;

use pipewright_pipeline::machine::FailureType;
use pipewright_sandbox::Usage;
use pipewright_sandbox::abi::{Entry, Outcome, Request};
use pipewright_sandbox::files::Digest;
use pipewright_sandbox::grants::{Access, DirectoryGrant, Grants, HttpGrant, SecretGrant, SecretValue};
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::{REVEALED, Recorded};
use serde::{Deserialize, Serialize};

pub use self::bundle::{BUNDLE_BYTES_MAX, Bundle, RecordingError};
pub use self::keep::{Keeper, Made, complete, did_nothing};
pub use self::kept::Recordings;

/// The version of the format.
const FORMAT: u32 = 1;

/// What comes to one call from outside is kept up to this. Stops a host that holds, for every action that runs, all that it
/// downloads.
pub const RECORDING_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// `recording.json`
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recording {
    pub format: u32,
    pub component: Component,
    /// Of one action execution, in their order: one more after each wait, and after each death of the host.
    pub calls: Vec<RecordedCall>,
    /// What the action said.
    #[serde(default)]
    pub log: Vec<String>,
    /// What is not in the bundle, each in a sentence, besides what the calls themselves name.
    #[serde(default)]
    pub left_out: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Component {
    pub name: String,
    pub version: String,
    pub digest: Digest,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedCall {
    pub entry: Entry,
    pub request: Request,
    pub grants: RecordedGrants,
    pub limits: CallLimits,
    /// The input artifacts and the digests of their manifests.
    pub inputs: Vec<(String, Digest)>,
    pub outside: Recorded,
    pub result: RecordedResult,
    /// The output artifacts that it made, and the digests of their manifests.
    pub outputs: BTreeMap<String, Digest>,
    pub usage: Usage,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum RecordedResult {
    Outcome(Outcome),
    Failure { kind: FailureType, message: String },
}

/// What the call was granted, without any value or place of this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedGrants {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<RecordedOrigin>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub directories: BTreeMap<String, RecordedAccess>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub secrets: BTreeMap<String, RecordedSecret>,
    #[serde(default)]
    pub clock: bool,
    #[serde(default)]
    pub randomness: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedOrigin {
    pub tls: bool,
    pub host: String,
    pub port: u16,
    pub private: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordedAccess {
    Read,
    Write,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedSecret {
    pub hosts: Vec<String>,
    pub reveal: bool,
}

impl RecordedGrants {
    fn of(grants: &Grants) -> Self {
        let origin = |HttpGrant { tls, host, port, private }: &HttpGrant| RecordedOrigin {
            tls: *tls,
            host: host.clone(),
            port: *port,
            private: *private,
        };
        let access = |grant: &DirectoryGrant| match grant.access {
            Access::Read => RecordedAccess::Read,
            Access::Write => RecordedAccess::Write,
        };
        let secret = |grant: &SecretGrant| RecordedSecret { hosts: grant.hosts.clone(), reveal: grant.reveal };
        Self {
            http: grants.http.iter().map(origin).collect(),
            directories: grants.directories.iter().map(|(name, grant)| (name.clone(), access(grant))).collect(),
            secrets: grants.secrets.iter().map(|(name, grant)| (name.clone(), secret(grant))).collect(),
            clock: grants.clock,
            randomness: grants.randomness,
        }
    }

    /// The same for a call that is replayed, whose directories lie in `directories`.
    pub fn to_grants(&self, directories: &Path) -> Grants {
        let origin = |RecordedOrigin { tls, host, port, private }: &RecordedOrigin| HttpGrant {
            tls: *tls,
            host: host.clone(),
            port: *port,
            private: *private,
        };
        let directory = |(name, access): (&String, &RecordedAccess)| {
            let access = match access {
                RecordedAccess::Read => Access::Read,
                RecordedAccess::Write => Access::Write,
            };
            (name.clone(), DirectoryGrant { path: directories.join(name), access })
        };
        let secret = |(name, secret): (&String, &RecordedSecret)| {
            let RecordedSecret { hosts, reveal } = secret.clone();
            (name.clone(), SecretGrant { value: SecretValue::new(REVEALED), hosts, reveal })
        };
        Grants {
            http: self.http.iter().map(origin).collect(),
            directories: self.directories.iter().map(directory).collect(),
            secrets: self.secrets.iter().map(secret).collect(),
            clock: self.clock,
            randomness: self.randomness,
        }
    }
}
