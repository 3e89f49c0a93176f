//! Leases for a store that one process has to itself: its directory's lock grants them all, and they are kept in memory.
//!
//! Owns who may write what, and until when. Must not know what is written. Fences grow with every lease that the process grants;
//! one of an earlier process is held by nobody any more, for the directory's lock went with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Aggregate, CommitError, Holder, Lease, LeaseError};
use pipewright_base::clock::Clock;

pub(super) struct Leases {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    fence: u64,
    /// As many as are written at a time, and those whose holders went without giving them back.
    held: HashMap<Aggregate, Held>,
}

struct Held {
    by: Holder,
    fence: u64,
    until: Instant,
}

/// Leases that ended are forgotten once there are more than this.
const HELD_MAX: usize = 65_536;

impl Leases {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Nothing of a change is applied before all of it is known.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn acquire(&self, aggregate: Aggregate, by: Holder, term: Duration) -> Result<Lease, LeaseError> {
        let now = self.clock.monotonic();
        let mut state = self.state();
        if state.held.get(&aggregate).is_some_and(|held| held.by != by && held.until > now) {
            return Err(LeaseError::Held { aggregate });
        }
        if state.held.len() >= HELD_MAX {
            state.held.retain(|_, held| held.until > now);
        }
        state.fence += 1;
        let fence = state.fence;
        state.held.insert(aggregate, Held { by, fence, until: now + term });
        Ok(Lease { aggregate, fence })
    }

    pub(super) fn renew(&self, lease: Lease, term: Duration) -> Result<(), LeaseError> {
        let until = self.clock.monotonic() + term;
        let mut state = self.state();
        let held = state.held.get_mut(&lease.aggregate).filter(|held| held.fence == lease.fence);
        held.ok_or(LeaseError::Lost { aggregate: lease.aggregate })?.until = until;
        Ok(())
    }

    pub(super) fn release(&self, lease: Lease) {
        let mut state = self.state();
        if state.held.get(&lease.aggregate).is_some_and(|held| held.fence == lease.fence) {
            state.held.remove(&lease.aggregate);
        }
    }

    /// That nobody has taken what a commit was made under.
    pub(super) fn check(&self, aggregate: Aggregate, fence: Option<u64>) -> Result<(), CommitError> {
        let Some(fence) = fence else { return Ok(()) };
        match self.state().held.get(&aggregate).is_some_and(|held| held.fence == fence) {
            true => Ok(()),
            false => Err(CommitError::Fenced { aggregate }),
        }
    }
}
