//! Gives a call what was kept of another, as long as it makes the same host calls.
//!
//! Owns the comparing. Must not know how a capability answers its guest.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Stop;
use super::body::Body;
use super::step::{Exchanged, Kept as _, Observed, Recorded, Step};
use crate::capabilities::{Exchange, Tabled};
use crate::masks::Masks;
use crate::seam::HostCallOutcome;

/// One per call.
pub struct Replay {
    recorded: Recorded,
    /// How many were made.
    made: Mutex<usize>,
    pub(crate) stop: Stop,
}

impl Replay {
    pub fn new(recorded: Recorded) -> Arc<Self> {
        Arc::new(Self { recorded, made: Mutex::default(), stop: Stop::default() })
    }

    /// The next use that was kept, if it is the one that is made; if not, the call ends here.
    pub(crate) fn next<T>(
        &self,
        made: impl FnOnce() -> String,
        same: impl FnOnce(&Step) -> Option<T>,
    ) -> Option<(usize, T)> {
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
                "the recording ends here: what followed was left out of it".to_owned()
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

    /// What came of the request that is made, if it was kept as the next one.
    pub(crate) fn exchange<C: Exchange>(
        &self,
        request: &C::Request,
        masks: &Masks,
    ) -> Option<Result<C::Response, HostCallOutcome>> {
        let made = masked(request, masks);
        let same = |step: &Step| C::kept(step).filter(|kept| kept.request == made).map(Exchanged::answer);
        self.next(|| made.to_string(), same).map(|(_, answer)| answer)
    }

    /// A use that was made already: what it reached decided what came of it.
    pub(crate) fn observed<C: Tabled<Kept = Observed>>(&self, made: &Observed) {
        self.next(|| made.shown(), |step| (C::kept(step)? == made).then_some(()));
    }

    /// The bytes of a body; none if they were left out.
    pub(crate) fn blob(&self, body: &Body) -> Option<Bytes> {
        if body.left_out { None } else { self.recorded.blobs.get(&body.sha256).cloned() }
    }
}

/// As a recording keeps it.
fn masked<T: Clone + Serialize + DeserializeOwned>(request: &T, masks: &Masks) -> T {
    let masked = || serde_json::from_value(masks.texts(&serde_json::to_value(request).ok()?)).ok();
    if masks.is_empty() { None } else { masked() }.unwrap_or_else(|| request.clone())
}
