//! Where strangers deliver: how many at once, and how often.
//!
//! Owns the counting. Must not know what is delivered.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::error::ApiError;
use pipewright_base::clock;

/// Deliveries at one address that are read and judged at once. Stops senders that send a byte a minute.
const AT_ONE_DOOR_MAX: usize = 4;
/// And at all of an account, so that no sender of one keeps those of the others out.
const AT_DOORS_OF_ACCOUNT_MAX: usize = 16;
/// And at all there are: each holds a body.
const AT_ALL_DOORS_MAX: usize = 128;
/// So many may come at once after a time of rest, and so many each second for ever. Stops a flood of one address.
const BURST_COUNT_MAX: f64 = 60.0;
const EACH_SECOND_MAX: f64 = 10.0;

/// The addresses at which something was delivered lately.
#[derive(Default)]
pub struct Doors(Mutex<HashMap<String, Door>>);

struct Door {
    account: u64,
    inside: usize,
    /// How many more may come now.
    left: f64,
    since: Instant,
}

/// One delivery that was let in, until it is dropped.
pub struct Inside {
    doors: Arc<Doors>,
    door: String,
}

impl Doors {
    fn doors(&self) -> MutexGuard<'_, HashMap<String, Door>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets one more delivery in. `door` is an address that the account has.
    pub fn enter(self: &Arc<Self>, account: u64, door: &str) -> Result<Inside, ApiError> {
        self.enter_at(account, door, clock::monotonic())
    }

    fn enter_at(self: &Arc<Self>, account: u64, door: &str, now: Instant) -> Result<Inside, ApiError> {
        let mut doors = self.doors();
        doors.retain(|_, door| door.inside > 0 || door.left_at(now) < BURST_COUNT_MAX);
        let inside = |of: Option<u64>| -> usize {
            doors.values().filter(|door| of.is_none_or(|of| door.account == of)).map(|door| door.inside).sum()
        };
        let is_crowded = inside(Some(account)) >= AT_DOORS_OF_ACCOUNT_MAX || inside(None) >= AT_ALL_DOORS_MAX;
        let at = doors.entry(door.to_owned()).or_insert(Door { account, inside: 0, left: BURST_COUNT_MAX, since: now });
        (at.left, at.since) = (at.left_at(now), now);
        if at.left < 1.0 || at.inside >= AT_ONE_DOOR_MAX || is_crowded {
            return Err(ApiError::throttled("More is delivered here than is taken: deliver it again later"));
        }
        at.left -= 1.0;
        at.inside += 1;
        Ok(Inside { doors: Arc::clone(self), door: door.to_owned() })
    }
}

impl Door {
    fn left_at(&self, now: Instant) -> f64 {
        let seconds = now.saturating_duration_since(self.since).as_secs_f64();
        (self.left + seconds * EACH_SECOND_MAX).min(BURST_COUNT_MAX)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(door) = self.doors.doors().get_mut(&self.door) {
            door.inside -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_is_delivered_at_one_door_leaves_the_others_open() {
        let (doors, now) = (Arc::<Doors>::default(), clock::monotonic());
        let enter_of = |account, door: &str, seconds| {
            doors.enter_at(account, &format!("{account}/{door}"), now + Duration::from_secs(seconds)).ok()
        };
        let enter = |door: &str, seconds| enter_of(1, door, seconds);
        let held: Vec<_> = std::iter::from_fn(|| enter("a", 0)).collect();
        assert_eq!(held.len(), AT_ONE_DOOR_MAX);
        let others: Vec<_> = (0..100).map_while(|number| enter(&format!("b{number}"), 0)).collect();
        assert_eq!(held.len() + others.len(), AT_DOORS_OF_ACCOUNT_MAX);
        let neighbours: Vec<_> = (2..1000).map_while(|account| enter_of(account, "a", 0)).collect();
        assert_eq!(held.len() + others.len() + neighbours.len(), AT_ALL_DOORS_MAX);
        drop((held, others, neighbours));
        let again = (0..1000).take_while(|_| enter("a", 0).is_some()).count();
        assert_eq!(again, BURST_COUNT_MAX as usize - AT_ONE_DOOR_MAX);
        let later = (0..1000).take_while(|_| enter("a", 2).is_some()).count();
        assert_eq!(later, 2 * EACH_SECOND_MAX as usize);
        drop(enter("c", 1000));
        assert_eq!(doors.doors().len(), 1, "what has rested is forgotten");
    }
}
