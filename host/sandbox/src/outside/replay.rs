//! Gives a call what was kept of another, as long as it makes the same host calls.
//!
//! Owns the comparing. Must not know how a capability answers its guest.

use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;

use super::step::{Body, HttpStep, Recorded, Step};
use super::{Stop, recorder, shown_request};
use crate::files::Digest;
use crate::masks::Masks;
use crate::seam::{HostCall, HostCallOutcome};
use pipewright_base::hex;

/// One per call.
pub struct Replay {
    recorded: Recorded,
    /// How many were made.
    made: Mutex<usize>,
    pub(crate) stop: Stop,
}

/// A request that was made as it was kept, up to its body.
pub(crate) struct Matched {
    pub(crate) number: usize,
    pub(crate) step: HttpStep,
}

impl Replay {
    pub fn new(recorded: Recorded) -> Arc<Self> {
        Arc::new(Self { recorded, made: Mutex::default(), stop: Stop::default() })
    }

    /// The next use that was kept, if it is the one that is made; if not, the call ends here.
    fn next<T>(&self, made: impl FnOnce() -> String, same: impl FnOnce(&Step) -> Option<T>) -> Option<(usize, T)> {
        let mut count = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.stop.difference().is_some() {
            return None;
        }
        let number = *count + 1;
        let expected = match self.recorded.steps.get(*count) {
            Some(step) => match same(step) {
                Some(answer) => {
                    *count = number;
                    return Some((number, answer));
                }
                None => step.shown(),
            },
            None if self.recorded.steps_left_out > 0 => {
                "the recording ends here: what followed did not fit into it (recording_bytes_max)".to_owned()
            }
            None => "no further host call".to_owned(),
        };
        self.stop.at(number, expected, made());
        None
    }

    /// To be asked when the guest is gone, with the words in which it failed.
    pub(crate) fn finish(&self, failure: Option<&str>) {
        let made = *self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(step) = self.recorded.steps.get(made) {
            let ended = failure.map(|failure| format!(": the call failed: {failure}")).unwrap_or_default();
            self.stop.at(made + 1, step.shown(), format!("no further host call{ended}"));
        }
    }

    pub(crate) fn clock(&self) -> Option<u64> {
        let made = || "a look at the clock".to_owned();
        let same = |step: &Step| match step {
            Step::Clock { milliseconds } => Some(*milliseconds),
            _ => None,
        };
        self.next(made, same).map(|(_, milliseconds)| milliseconds)
    }

    /// The same bytes, if so many were asked for.
    pub(crate) fn randomness(&self, count: usize) -> Option<Vec<u8>> {
        let made = || format!("{count} bytes of randomness");
        let same = |step: &Step| match step {
            Step::Randomness { bytes } => hex::decode(bytes).filter(|bytes| bytes.len() == count),
            _ => None,
        };
        self.next(made, same).map(|(_, bytes)| bytes)
    }

    /// The stand-in, and what came of asking.
    pub(crate) fn secret(
        &self,
        operation: &str,
        name: &str,
        user: Option<&str>,
    ) -> Option<(Option<String>, HostCallOutcome)> {
        let made = || {
            let user = user.map(|user| format!(" for the user {user:?}")).unwrap_or_default();
            format!("the secret \"{name}\" ({operation}{user})")
        };
        let same = |step: &Step| match step {
            Step::Secrets { operation: kept, name: kept_name, user: kept_user, stand_in, outcome }
                if kept == operation && kept_name == name && kept_user.as_deref() == user =>
            {
                Some((stand_in.clone(), outcome.clone()))
            }
            _ => None,
        };
        self.next(made, same).map(|(_, answer)| answer)
    }

    /// A use of a granted directory, which was made already; its content decides what came of it.
    pub(crate) fn directories(&self, call: &HostCall) {
        let made = Step::of_directories(call);
        self.next(|| made.shown(), |step| (*step == made).then_some(()));
    }

    /// A request that is started.
    pub(crate) fn http(&self, method: &Method, url: &Uri, headers: &HeaderMap, masks: &Masks) -> Option<Matched> {
        let url = masks.text(&url.to_string()).into_owned();
        let headers: Vec<_> = recorder::sorted(headers)
            .into_iter()
            .map(|(name, value)| (name, masks.text(&value).into_owned()))
            .collect();
        let made = || shown_request(method.as_str(), &url, &headers, None);
        let same = |step: &Step| match step {
            Step::Http(step) if is_same_head(step, method.as_str(), &url, &headers) => Some((**step).clone()),
            _ => None,
        };
        // In full where only the headers differ.
        let matched = self.next(made, same);
        matched.map(|(number, step)| Matched { number, step })
    }

    /// Whether a request's body is the one that was kept.
    pub(crate) fn check_body(&self, matched: &Matched, body: &[u8], masks: &Masks) -> bool {
        let request = &matched.step.request;
        let masked = masks.bytes(body);
        let same = if request.body.left_out {
            request.body.bytes == body.len() as u64 && request.body.sha256 == Digest::of(body)
        } else {
            request.body.sha256 == Digest::of(&masked)
        };
        if !same {
            let shown = |body: Option<&[u8]>| shown_request(&request.method, &request.url, &request.headers, body);
            let kept = self.blob(&request.body);
            self.stop.at(matched.number, shown(kept.as_deref()), shown(Some(&masked)));
        }
        same
    }

    /// The bytes of a body; none if they were left out.
    pub(crate) fn blob(&self, body: &Body) -> Option<Bytes> {
        if body.left_out { None } else { self.recorded.blobs.get(&body.sha256).cloned() }
    }
}

/// The length of a body in which a value was masked says nothing.
fn is_same_head(step: &HttpStep, method: &str, url: &str, headers: &[(String, String)]) -> bool {
    let request = &step.request;
    let counts = |(name, _): &&(String, String)| !(request.body.masked && name == "content-length");
    request.method == method
        && request.url == url
        && request.headers.iter().filter(counts).eq(headers.iter().filter(counts))
}

impl Step {
    pub(crate) fn of_directories(call: &HostCall) -> Self {
        Self::Directories {
            operation: call.operation.to_owned(),
            target: call.target.clone(),
            bytes: call.bytes,
            outcome: call.outcome.clone(),
        }
    }
}
