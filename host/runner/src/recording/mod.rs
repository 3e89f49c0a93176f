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

use pipewright_base::Digest;
use pipewright_pipeline::machine::FailureType;
use pipewright_sandbox::Usage;
use pipewright_sandbox::abi::{Entry, NamedValue, Outcome, Request};
use pipewright_sandbox::capabilities::commands::Ended;
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::Recorded;
use pipewright_sandbox::results::Results;
use serde::{Deserialize, Serialize};

pub use self::bundle::{BUNDLE_BYTES_MAX, Bundle, RecordingError};
pub use self::keep::{CallParameters, Keeper, complete, did_nothing};
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
    /// Of a rule: what its grants are kept under.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub granted_as: Option<String>,
    /// Without any value or place of the machine.
    pub grants: Grants,
    pub limits: CallLimits,
    /// The input artifacts and the digests of their manifests.
    pub inputs: Vec<(String, Digest)>,
    /// The declaration's variables that are secrets, each with what names its secret.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secret_environment: Vec<NamedValue>,
    /// How the program ended for which the call was made. What it left in the scratch is in `outside`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
    pub outside: Recorded,
    pub result: RecordedResult,
    /// What it reported of tests and coverage.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub results: Vec<Results>,
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

impl RecordedCall {
    /// What it was granted, for a call that is replayed and whose directories lie in `directories`.
    pub fn grants_in(&self, directories: &Path) -> Grants {
        let mut grants = self.grants.clone();
        for (name, grant) in &mut grants.directories {
            grant.path = directories.join(name);
        }
        grants
    }
}
