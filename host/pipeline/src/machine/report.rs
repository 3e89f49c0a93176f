//! What an action tells at the end of a call, as it is kept.
//!
//! Must not know what a report does to the execution (`actions`).

use std::collections::BTreeMap;
use std::sync::Arc;

use pipewright_text::cut_bytes;
use serde::{Deserialize, Serialize};

use super::bounds::MESSAGE_BYTES_MAX;
use super::execution::Decision;
use super::ids::{ExecutionId, Timestamp};

/// What a waiting action may keep; more fail it, for it is stored with every change of the action.
pub const CONTINUATION_BYTES_MAX: usize = 16 * 1024;
/// The kind of a signal; longer ones fail the action that waits for one.
pub const SIGNAL_KIND_BYTES_MAX: usize = 256;
/// A wait of less becomes one of this. Stops an action that waits for a time past, again and again, from being called
/// hundreds of times a second.
pub const WAIT_MILLISECONDS_MIN: u64 = 1000;
/// Calls of one action execution; one that waits after so many fails. Enough for a look each second for a day. Stops an
/// action from filling the history with its waits.
pub const CALLS_COUNT_MAX: u32 = 100_000;
pub type Variables = BTreeMap<String, String>;

/// How one call of an action ended, and what it used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub outcome: Outcome,
    pub usage: Usage,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Succeeded(Box<Success>),
    Failed(Box<Failure>),
    /// Of a rule: it was judged.
    Decided(Box<Verdict>),
    /// Call again when what it waits for has come.
    Waiting(Wait),
}

/// What the calls of an action used of what is limited for an action execution as a whole.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Usage {
    pub cpu_ms: u64,
    pub log_bytes: u64,
    pub host_calls: u64,
}

/// A successful end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    pub variables: Variables,
    /// Name to digest: exactly the declared output artifacts, or the action fails.
    pub artifacts: BTreeMap<String, String>,
    /// Of a source action.
    pub revision: Option<Revision>,
    pub told: ExecutionDetails,
}

/// What a rule found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub passed: bool,
    pub told: ExecutionDetails,
}

/// An end in failure, with what the action told nevertheless (a test's report, for example).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: ActionError,
    pub told: ExecutionDetails,
}

/// What a finished action tells a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExecutionDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Targets of a deploy, counts of a test: small, and opaque to the machine.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub details: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub title: String,
    pub url: String,
}

/// The revision that a source action fetched: CodePipeline's ArtifactRevision.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub id: String,
    /// The change that made it, where that has an id of its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
}

/// Why an action failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActionError {
    pub kind: FailureType,
    pub message: String,
}

/// CodePipeline's FailureType.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureType {
    JobFailed,
    ConfigurationError,
    PermissionError,
    RevisionOutOfSync,
    RevisionUnavailable,
    SystemUnavailable,
}

/// A wait for whichever comes first; an action that waits for nothing fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    #[serde(default, rename = "for")]
    pub awaits: Vec<Awaited>,
    /// Handed back when the action is called again; at most `CONTINUATION_BYTES_MAX`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64")]
    pub continuation: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
}

/// What can end a wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Awaited {
    /// A person's decision.
    Approval,
    /// A worker's report of a job, for which it has so long once it has acknowledged it; else as long as the action.
    Job {
        #[serde(rename = "withinMilliseconds", default, skip_serializing_if = "Option::is_none")]
        within_milliseconds: Option<u64>,
    },
    /// Something from outside, by its kind.
    Signal(String),
    Time(Timestamp),
    /// The end of an execution that the action started.
    Child(ExecutionId),
}

/// What a call is given that goes on after a wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resumption {
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64")]
    pub continuation: Vec<u8>,
    pub wake: Wake,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wake {
    Time,
    Approval(Decision),
    Signal {
        kind: String,
        /// Shared, as it may be large and lies in the state as well as in the effect.
        #[serde(with = "base64")]
        payload: Arc<[u8]>,
    },
}

/// Bytes as text in JSON, a third larger than they are; an array of numbers would be four times as large.
pub(super) mod base64 {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(crate) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, B: From<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<B, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(B::from).map_err(de::Error::custom)
    }
}

impl From<Outcome> for Report {
    /// A report of a call that used nothing that is limited.
    fn from(outcome: Outcome) -> Report {
        Report { outcome, usage: Usage::default() }
    }
}

impl Report {
    pub fn succeeded(success: Success) -> Report {
        Outcome::Succeeded(Box::new(success)).into()
    }

    /// A failure of which nothing more is told.
    pub fn failed(kind: FailureType, message: impl Into<String>) -> Report {
        Outcome::from(ActionError { kind, message: message.into() }).into()
    }

    pub fn decided(verdict: Verdict) -> Report {
        Outcome::Decided(Box::new(verdict)).into()
    }

    pub fn waiting(wait: Wait) -> Report {
        Outcome::Waiting(wait).into()
    }
}

impl Usage {
    pub fn add(&mut self, other: Usage) {
        self.cpu_ms = self.cpu_ms.saturating_add(other.cpu_ms);
        self.log_bytes = self.log_bytes.saturating_add(other.log_bytes);
        self.host_calls = self.host_calls.saturating_add(other.host_calls);
    }
}

impl Wait {
    /// When the wait ends by itself.
    pub fn until(&self) -> Option<Timestamp> {
        let times = self.awaits.iter().filter_map(|awaited| match awaited {
            Awaited::Time(at) => Some(*at),
            _ => None,
        });
        times.min()
    }
}

impl Wake {
    /// The kind of the signal that ended the wait, as a plugin knows it; none where it was the time.
    pub fn signal(&self) -> Option<&str> {
        match self {
            Wake::Time => None,
            Wake::Approval(_) => Some(APPROVAL_SIGNAL),
            Wake::Signal { kind, .. } => Some(kind),
        }
    }
}

/// What a plugin calls the signal of a person's decision.
pub const APPROVAL_SIGNAL: &str = "approval";

impl ActionError {
    pub(super) fn new(kind: FailureType, message: impl Into<String>) -> ActionError {
        let mut message = message.into();
        cut_bytes(&mut message, MESSAGE_BYTES_MAX);
        ActionError { kind, message }
    }
}

impl Failure {
    /// In the place of a success. What that says of itself in a line is not so, and is not shown beside the error.
    pub fn instead_of(told: ExecutionDetails, error: ActionError) -> Failure {
        Failure { error, told: ExecutionDetails { summary: None, ..told } }
    }
}

impl From<ActionError> for Failure {
    /// A failure of which nothing more is told.
    fn from(error: ActionError) -> Failure {
        Failure { error, told: ExecutionDetails::default() }
    }
}

impl From<ActionError> for Outcome {
    fn from(error: ActionError) -> Outcome {
        Outcome::Failed(Box::new(error.into()))
    }
}
