//! What is kept of a call: each use of what is outside, with its answer, in the order in which the guest made them.
//!
//! Owns the record's shape, which the server writes into recordings, and the two shapes of a use that a capability need not
//! make itself. Holds no secret value. Must not know how it is made or used.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use crate::capabilities::Step;
use crate::masks::Masks;
use crate::seam::HostCallOutcome;
use pipewright_base::Digest;

/// Everything that came from outside in one call.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Recorded {
    /// The time of day at which the call started, in milliseconds since 1970-01-01 UTC.
    pub time: u64,
    /// The guest looked at the time of day without the grant, and saw that time.
    #[serde(default)]
    pub looked_at_time: bool,
    pub steps: Vec<Step>,
    /// Further ones, which did not fit, or from the first one on in which a secret's value cannot be masked.
    #[serde(default)]
    pub steps_left_out: u64,
    /// The granted directories that the guest looked at, by name.
    #[serde(default)]
    pub directories: BTreeMap<String, RecordedDirectory>,
    /// What a program left in the scratch, if the guest looked at it, and what the guest left there for the next one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scratch: Option<RecordedDirectory>,
    /// The tools of packages that were run: the digest of the component, by the package's name and version.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tools: BTreeMap<String, Digest>,
    /// What did not fit or may not be kept, each in a sentence.
    #[serde(default)]
    pub left_out: Vec<String>,
    /// The bytes of bodies, of manifests of directories, and of their files; of the scratch's only those that neither the inputs nor
    /// earlier calls have.
    #[serde(skip)]
    pub blobs: BTreeMap<Digest, Bytes>,
}

impl Recorded {
    /// Whether nothing that the guest did depends on more than its request and its artifacts.
    pub fn is_empty(&self) -> bool {
        !self.looked_at_time
            && self.steps.is_empty()
            && self.steps_left_out == 0
            && self.directories.is_empty()
            && self.scratch.is_none()
            && self.tools.is_empty()
    }

    /// The digests of the bodies that were kept.
    pub fn bodies(&self) -> Vec<Digest> {
        self.steps.iter().flat_map(Step::bodies).collect()
    }

    /// What earlier executions had kept and the call found: the keys, and the digests of the manifests.
    pub fn caches(&self) -> Vec<(String, Digest)> {
        let found = self.steps.iter().filter_map(|step| match step {
            Step::Caches(used) => used.response.as_ref()?.found.clone(),
            _ => None,
        });
        found.map(|found| (found.key, found.digest)).collect()
    }

    /// The words of each refusal, once.
    pub fn denials(&self) -> Vec<String> {
        let mut denials: Vec<String> = Vec::new();
        for denial in self.steps.iter().filter_map(Step::denial) {
            if !denials.iter().any(|known| known == denial) {
                denials.push(denial.to_owned());
            }
        }
        denials
    }
}

/// A granted directory or the scratch, before and after the call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RecordedDirectory {
    /// The digest of its manifest; none where it is left out.
    pub before: Option<Digest>,
    /// The same after the call; none where it is left out, or could not be written to.
    pub after: Option<Digest>,
}

/// What a recording keeps of one use of a capability.
pub trait Kept: Clone + Debug + Serialize + DeserializeOwned {
    /// What was asked for, in words, for whoever compares two.
    fn shown(&self) -> String;

    /// The words of a refusal.
    fn denial(&self) -> Option<&str>;

    /// The digests of what is kept beside it.
    fn bodies(&self) -> Vec<Digest> {
        Vec::new()
    }

    /// Without secret values. None where one is in what cannot be masked.
    fn masked(&self, masks: &Masks) -> Option<Self>;
}

/// A request and its response, whose fields stand side by side.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "Value", bound(deserialize = "Q: DeserializeOwned, A: DeserializeOwned"))]
pub struct Exchanged<Q, A> {
    #[serde(flatten)]
    pub request: Q,
    /// None if it was refused, or failed.
    #[serde(flatten)]
    pub response: Option<A>,
    /// None where all are done.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<HostCallOutcome>,
}

impl<Q: DeserializeOwned, A: DeserializeOwned> TryFrom<Value> for Exchanged<Q, A> {
    type Error = serde_json::Error;

    fn try_from(kept: Value) -> Result<Self, Self::Error> {
        let outcome = kept.get("outcome").map(HostCallOutcome::deserialize).transpose()?;
        let is_done = outcome.as_ref().is_none_or(|outcome| *outcome == HostCallOutcome::Done);
        let response = is_done.then(|| A::deserialize(&kept)).transpose()?;
        Ok(Self { request: Q::deserialize(&kept)?, response, outcome })
    }
}

impl<Q: Clone, A: Clone> Exchanged<Q, A> {
    pub(crate) fn of(request: &Q, answer: &Result<A, HostCallOutcome>, is_sure: bool) -> Self {
        let outcome = answer.as_ref().err().cloned().or((!is_sure).then_some(HostCallOutcome::Done));
        Self { request: request.clone(), response: answer.as_ref().ok().cloned(), outcome }
    }

    pub(crate) fn answer(&self) -> Result<A, HostCallOutcome> {
        self.response.clone().ok_or_else(|| self.outcome.clone().unwrap_or(HostCallOutcome::Done))
    }
}

impl<Q, A> Kept for Exchanged<Q, A>
where
    Q: Clone + Debug + Display + Serialize + DeserializeOwned,
    A: Clone + Debug + Serialize + DeserializeOwned,
{
    fn shown(&self) -> String {
        self.request.to_string()
    }

    fn denial(&self) -> Option<&str> {
        self.outcome.as_ref().and_then(shown_denial)
    }

    fn masked(&self, masks: &Masks) -> Option<Self> {
        if masks.is_empty() {
            return Some(self.clone());
        }
        let outcome = self.outcome.as_ref().map(|outcome| masked_outcome(outcome, masks));
        let unsaid = Self { outcome: None, ..self.clone() };
        let mut masked = masks.texts(&serde_json::to_value(unsaid).ok()?);
        if let (Value::Object(fields), Some(outcome)) = (&mut masked, &outcome) {
            fields.insert("outcome".to_owned(), serde_json::to_value(outcome).ok()?);
        }
        Self::try_from(masked).ok()
    }
}

/// A use whose answer follows from what is kept otherwise: a replay does the same again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observed {
    pub operation: String,
    pub target: String,
    pub bytes: u64,
    pub outcome: HostCallOutcome,
}

impl Kept for Observed {
    fn shown(&self) -> String {
        let Self { operation, target, bytes, outcome } = self;
        let outcome = outcome.text().unwrap_or("done");
        format!("{operation} {target} ({bytes} bytes): {outcome}")
    }

    fn denial(&self) -> Option<&str> {
        shown_denial(&self.outcome)
    }

    fn masked(&self, masks: &Masks) -> Option<Self> {
        let (target, outcome) = (masks.text(&self.target).into_owned(), masked_outcome(&self.outcome, masks));
        Some(Self { target, outcome, ..self.clone() })
    }
}

pub(crate) fn shown_denial(outcome: &HostCallOutcome) -> Option<&str> {
    match outcome {
        HostCallOutcome::Denied(text) => Some(text),
        _ => None,
    }
}

pub(crate) fn masked_outcome(outcome: &HostCallOutcome, masks: &Masks) -> HostCallOutcome {
    let text = |text: &str| masks.text(text).into_owned();
    match outcome {
        HostCallOutcome::Done => HostCallOutcome::Done,
        HostCallOutcome::Denied(told) => HostCallOutcome::Denied(text(told)),
        HostCallOutcome::Limit(told) => HostCallOutcome::Limit(text(told)),
        HostCallOutcome::Failed(told) => HostCallOutcome::Failed(text(told)),
    }
}
