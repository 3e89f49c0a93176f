//! What comes to a call from outside and is not determined by a digest: kept while the call runs, or given to it again.
//!
//! Owns the four ways in which a call may face its outside, and where one that is given again ends the call. The seam asks
//! here before a capability reaches out. Must not know how a capability works.
//!
//! # What is kept
//! Requests with their answers; the clock and randomness, where they are granted; stand-ins; uses of granted directories,
//! and what was in those before and after; what programs of the machine left in the scratch, and what was left there for
//! them; denials. No secret value: what is found of one, in any form that [`masks`](crate::masks) knows, is masked.
//! Artifacts, and what else is in the scratch, are determined by digest and are not kept.
//!
//! # In what order
//! A guest makes its host calls one after the other, so what is kept has one order, and that of a request is the place at
//! which it was started. When the call is made again, each use must be the next one that was kept, and its answer is there
//! at once: of two requests under way, the one that was started first is answered first. A request is answered when its
//! body has ended. The monotonic clock is everybody's and is not kept: a guest that sleeps, sleeps again.

mod body;
mod fake;
mod recorder;
mod replay;
mod step;
#[cfg(test)]
mod tests;

use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;

pub use self::body::Body;
pub(crate) use self::body::Reel;
pub use self::fake::Fakes;
pub(crate) use self::recorder::{Cleaner, Open, Snapshot};
pub use self::recorder::{LEFT_IN_SCRATCH, Recorder, Room};
pub use self::replay::Replay;
pub use self::step::{Exchanged, Kept, Observed, Recorded, RecordedDirectory, Step};
pub(crate) use self::step::{masked_outcome, shown_denial};

/// How a call faces what is outside of it.
#[derive(Clone, Default)]
pub enum Outside {
    /// It reaches what it was granted.
    #[default]
    Live,
    /// The same, and what comes of it is kept.
    Recorded(Arc<Recorder>),
    /// It reaches nothing, and is given what was kept.
    Replayed(Arc<Replay>),
    /// The uses of some capabilities get answers that somebody made up; all else is live.
    Faked(Arc<Fakes>),
}

impl Outside {
    pub(crate) fn stop(&self) -> Option<&Stop> {
        match self {
            Self::Live | Self::Recorded(_) => None,
            Self::Replayed(replay) => Some(&replay.stop),
            Self::Faked(fakes) => Some(&fakes.stop),
        }
    }
}

/// What stands for the value of a secret that was revealed when the call was recorded. Masked like the value itself.
pub const REVEALED: &str = "pipewright-revealed-secret";

/// The first use that is not the one that was kept. Ends the call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("host call {number} differs\n  expected: {expected}\n  made:     {made}")]
pub struct Difference {
    /// Which host call, from 1.
    pub number: usize,
    pub expected: String,
    pub made: String,
}

/// Where a call ends that is not as it was.
#[derive(Default)]
pub(crate) struct Stop {
    difference: OnceLock<Difference>,
    set: Notify,
}

impl Stop {
    pub(crate) fn at(&self, number: usize, expected: impl Into<String>, made: impl Into<String>) {
        // What comes after the first follows from it.
        let _ = self.difference.set(Difference { number, expected: expected.into(), made: made.into() });
        self.set.notify_waiters();
    }

    pub(crate) fn difference(&self) -> Option<&Difference> {
        self.difference.get()
    }

    /// Ends when there is a difference.
    pub(crate) async fn reached(&self) {
        let mut set = std::pin::pin!(self.set.notified());
        // From here on it is notified.
        set.as_mut().enable();
        if self.difference.get().is_none() {
            set.await;
        }
    }
}
