//! Answers that somebody made up, in the order in which they are to be asked for.
//!
//! Uses are checked against the grants as ever, and of a capability with made-up answers nothing outside is reached. Must
//! not know where answers are written down.

use std::sync::{Arc, Mutex, PoisonError};

use super::Stop;
use super::step::Step;
use crate::capabilities::Exchange;
use crate::capabilities::http::{Answers, Fake};
use crate::seam::HostCallOutcome;

/// For all calls of one test: what one of them did not ask for, the next one may.
pub struct Fakes {
    /// None: requests are not made up.
    pub(crate) http: Option<Answers>,
    /// As a recording would have them, those of one capability in their order.
    steps: Vec<Step>,
    /// Which of them were asked for.
    asked: Mutex<Vec<bool>>,
    pub(crate) stop: Stop,
}

impl Fakes {
    pub fn new(http: Option<Vec<Fake>>, steps: Vec<Step>) -> Arc<Self> {
        let asked = Mutex::new(vec![false; steps.len()]);
        Arc::new(Self { http: http.map(Answers::new), steps, asked, stop: Stop::default() })
    }

    /// What nobody asked for.
    pub fn left(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let steps = self.steps.iter().zip(asked.iter()).filter(|(_, asked)| !**asked).map(|(step, _)| step.shown());
        self.http.iter().flat_map(Answers::left).chain(steps).collect()
    }

    /// The answer to what is asked, if it is what was to be asked. None if those of this capability are not made up.
    pub(crate) fn exchange<C: Exchange>(&self, request: &C::Request) -> Option<Result<C::Response, HostCallOutcome>> {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut made_up = self.steps.iter().enumerate().filter_map(|(at, step)| Some((at, C::kept(step)?))).peekable();
        made_up.peek()?;
        let next = made_up.find(|(at, _)| !asked[*at]);
        if let Some((at, kept)) = next.filter(|(_, kept)| kept.request == *request) {
            asked[at] = true;
            return Some(kept.answer());
        }
        let expected = next.map_or_else(|| "no further use".to_owned(), |(_, kept)| kept.request.to_string());
        self.stop.at(next.map_or(self.steps.len(), |(at, _)| at) + 1, expected, request.to_string());
        Some(Err(HostCallOutcome::Failed("it is not what was to be asked".to_owned())))
    }
}
