//! What is kept of a call: each use of what is outside, with its answer, in the order in which the guest made them.
//!
//! Owns the record's shape, which the server writes into recordings. Holds no secret value. Must not know how it is made
//! or used.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::files::Digest;
use crate::seam::HostCallOutcome;

/// Everything that came from outside in one call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recorded {
    /// The time of day at which the call started, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The guest looked at the time of day without the grant, and saw that time.
    #[serde(default)]
    pub looked_at_time: bool,
    pub steps: Vec<Step>,
    /// Further ones that were made when the limit on bytes was reached.
    #[serde(default)]
    pub steps_left_out: u64,
    /// The granted directories that the guest looked at, by name.
    #[serde(default)]
    pub directories: BTreeMap<String, RecordedDirectory>,
    /// What did not fit or may not be kept, each in a sentence.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// The bytes of bodies, of manifests of directories, and of their files.
    #[serde(skip)]
    pub blobs: BTreeMap<Digest, Bytes>,
}

impl Recorded {
    /// Whether nothing that the guest did depends on more than its request and its artifacts.
    pub fn is_empty(&self) -> bool {
        !self.looked_at_time && self.steps.is_empty() && self.steps_left_out == 0 && self.directories.is_empty()
    }
}

impl Recorded {
    /// The digests of the bodies that were kept.
    pub fn bodies(&self) -> Vec<Digest> {
        let requests = self.steps.iter().filter_map(|step| match step {
            Step::Http(step) => Some(step),
            _ => None,
        });
        requests
            .flat_map(|step| [Some(&step.request.body), step.response.as_ref().map(|response| &response.body)])
            .flatten()
            .map(|body| body.sha256)
            .collect()
    }

    /// The words of each refusal, once.
    pub fn denials(&self) -> Vec<String> {
        let mut denials = Vec::new();
        for step in &self.steps {
            let outcome = match step {
                Step::Secrets { outcome, .. } | Step::Directories { outcome, .. } => outcome,
                Step::Http(step) => &step.outcome,
                Step::Clock { .. } | Step::Randomness { .. } => continue,
            };
            if let HostCallOutcome::Denied(text) = outcome
                && !denials.contains(text)
            {
                denials.push(text.clone());
            }
        }
        denials
    }
}

/// A granted directory, before and after the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedDirectory {
    /// The digest of its manifest; none where it is left out.
    pub before: Option<Digest>,
    /// The same after the call; none where it is left out, or could not be written to.
    pub after: Option<Digest>,
}

/// One use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "capability", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum Step {
    Clock {
        /// since 1970-01-01 UTC
        milliseconds: u64,
    },
    Randomness {
        /// The bytes, in hexadecimal.
        bytes: String,
    },
    Secrets {
        operation: String,
        name: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        user: Option<String>,
        /// The stand-in. None for a value that was revealed, and for a refusal.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stand_in: Option<String>,
        outcome: HostCallOutcome,
    },
    /// The answer follows from the directory's content.
    Directories {
        operation: String,
        target: String,
        bytes: u64,
        outcome: HostCallOutcome,
    },
    Http(Box<HttpStep>),
}

/// A request, in the order in which they were started, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpStep {
    pub request: HttpRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpResponse>,
    /// Instead of a response, or after what came of its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<HttpError>,
    /// Whether the guest read the response's body to its end, or to the error.
    pub ended: bool,
    pub outcome: HostCallOutcome,
}

/// As the guest wrote it: secrets as stand-ins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    /// In the order of their names.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// A body; its bytes are a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Body {
    /// How many there were.
    pub bytes: u64,
    /// Of what is kept; of what there was, where it is left out.
    pub sha256: Digest,
    /// A secret's value in it was replaced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub left_out: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// One of wasi:http's error codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpError {
    /// As the WIT names it: `connection-refused`, `HTTP-response-timeout`.
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

impl Step {
    /// In words, for whoever compares two.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Clock { .. } => "a look at the clock".to_owned(),
            Self::Randomness { bytes } => format!("{} bytes of randomness", bytes.len() / 2),
            Self::Secrets { operation, name, user, .. } => {
                let user = user.as_ref().map(|user| format!(" for the user {user:?}")).unwrap_or_default();
                format!("the secret \"{name}\" ({operation}{user})")
            }
            Self::Directories { operation, target, bytes, outcome } => {
                format!("{operation} {target} ({bytes} bytes): {}", shown_outcome(outcome))
            }
            Self::Http(step) => {
                super::shown_request(&step.request.method, &step.request.url, &step.request.headers, None)
            }
        }
    }
}

fn shown_outcome(outcome: &HostCallOutcome) -> String {
    match outcome {
        HostCallOutcome::Done => "done".to_owned(),
        HostCallOutcome::Denied(text) | HostCallOutcome::Limit(text) | HostCallOutcome::Failed(text) => text.clone(),
    }
}
