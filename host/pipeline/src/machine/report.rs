//! What an action tells at the end of a call, as it is kept.
//!
//! Must not know what a report does to the execution (`actions`).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::ids::Timestamp;
use super::kept::{MESSAGE_BYTES_MAX, truncate};

/// What a waiting action may keep; more fail it, for it is stored with every change of the action.
pub const CONTINUATION_BYTES_MAX: usize = 16 * 1024;
pub type Variables = BTreeMap<String, String>;

/// A successful end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Success {
    pub variables: Variables,
    /// Name to digest: exactly the declared output artifacts, or the action fails.
    pub artifacts: BTreeMap<String, String>,
    /// Of a source action.
    pub revision: Option<Revision>,
    pub told: Told,
}

/// An end in failure, with what the action told nevertheless (a test's report, for example).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub error: ActionError,
    pub told: Told,
}

/// What a finished action tells a person.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
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

/// The revision that a source action fetched (contract: ArtifactRevision).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    pub id: String,
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

/// What a waiting action waits for. At least one of `until` and `signal` is given, or the action fails.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wait {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signal: Option<String>,
    /// Handed back when the action is called again; at most `CONTINUATION_BYTES_MAX`.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "base64")]
    pub continuation: Vec<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub summary: Option<String>,
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
    Signal {
        kind: String,
        /// Shared, as it may be large and lies in the state as well as in the effect.
        #[serde(with = "base64")]
        payload: Arc<[u8]>,
    },
}

/// Bytes as text in JSON, a third larger than they are; an array of numbers would be four times as large.
mod base64 {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::{Deserialize, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(bytes: impl AsRef<[u8]>, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, B: From<Vec<u8>>, D: Deserializer<'de>>(deserializer: D) -> Result<B, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map(B::from).map_err(de::Error::custom)
    }
}

impl ActionError {
    pub(super) fn new(kind: FailureType, message: impl Into<String>) -> ActionError {
        let mut message = message.into();
        truncate(&mut message, MESSAGE_BYTES_MAX);
        ActionError { kind, message }
    }
}
