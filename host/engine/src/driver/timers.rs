//! What is due when: each timer follows the clock that never goes back from when it was set, and is set again where the
//! time of day leaps past it. So setting the clock back holds up nothing, and setting it forward misses nothing.
//!
//! Owns when something is due. Must not read a clock, nor know what is done then.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use pipewright_base::clock::Clock;

/// The time of day may differ by as much from what passed before it counts as set.
const LEAP_MILLISECONDS_MIN: u64 = 1000;

/// One moment by both clocks.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Milliseconds since 1970: the time of day.
    pub day: u64,
    pub monotonic: Instant,
}

impl Now {
    pub fn read(clock: &dyn Clock) -> Self {
        Self { day: clock.now_ms(), monotonic: clock.monotonic() }
    }

    /// When a time of day will be.
    pub fn until(self, at: u64) -> Instant {
        let wait = Duration::from_millis(at.saturating_sub(self.day));
        self.monotonic.checked_add(wait).unwrap_or(self.monotonic + FAR)
    }
}

/// Stands for a time that no clock can tell.
const FAR: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Timers by their names; a name has one.
pub struct Timers<K> {
    due: BTreeSet<(Instant, K)>,
    set: HashMap<K, Set>,
    /// When both clocks were last compared.
    compared: Option<Now>,
}

#[derive(Clone, Copy)]
struct Set {
    due: Instant,
    /// The time of day that it is about; none where it is about a duration.
    at: Option<u64>,
}

impl<K> Default for Timers<K> {
    fn default() -> Self {
        Self { due: BTreeSet::new(), set: HashMap::new(), compared: None }
    }
}

impl<K: Clone + Ord + Hash> Timers<K> {
    /// For a time of day.
    pub fn set_at(&mut self, key: K, at: u64, now: Now) {
        self.compare(now);
        self.set_due(key, at, now.until(at));
    }

    /// The same, by somebody who knows since longer ago when it is due. One that is set again for the same time keeps its turn
    /// if that is earlier.
    pub fn set_due(&mut self, key: K, at: u64, due: Instant) {
        let same = self.set.get(&key).filter(|set| set.at == Some(at)).map(|set| set.due);
        self.put(key, Set { due: same.map_or(due, |same| same.min(due)), at: Some(at) });
    }

    /// For when so much time has passed, whatever the time of day.
    pub fn set_in(&mut self, key: K, wait: Duration, now: Now) {
        let due = now.monotonic.checked_add(wait).unwrap_or(now.monotonic + FAR);
        self.put(key, Set { due, at: None });
    }

    pub fn clear(&mut self, key: &K) {
        if let Some(set) = self.set.remove(key) {
            self.due.remove(&(set.due, key.clone()));
        }
    }

    pub fn retain(&mut self, keep: impl Fn(&K) -> bool) {
        let gone: Vec<_> = self.set.keys().filter(|key| !keep(key)).cloned().collect();
        gone.iter().for_each(|key| self.clear(key));
    }

    /// What is about this time of day or an earlier one is due now: somebody's clock says so.
    pub fn reached(&mut self, at: u64, now: Now) {
        self.set_again(|set| set.at.filter(|about| *about <= at).map(|_| now.monotonic));
    }

    /// Takes out the first that is due, with the time of day that it is about.
    pub fn take(&mut self, now: Now) -> Option<(K, Option<u64>)> {
        self.compare(now);
        let (due, key) = self.due.first()?;
        if *due > now.monotonic {
            return None;
        }
        let key = key.clone();
        let at = self.set.get(&key).and_then(|set| set.at);
        self.clear(&key);
        Some((key, at))
    }

    /// How long it is until the first is due. Whoever sleeps looks at both clocks now and then.
    pub fn wait(&self, now: Now) -> Option<Duration> {
        self.due.first().map(|(due, _)| due.saturating_duration_since(now.monotonic))
    }

    /// When the first is due, and the time of day that it is about.
    pub fn first(&self) -> Option<(Instant, Option<u64>)> {
        let (due, key) = self.due.first()?;
        Some((*due, self.set.get(key).and_then(|set| set.at)))
    }

    fn put(&mut self, key: K, set: Set) {
        self.clear(&key);
        self.due.insert((set.due, key.clone()));
        self.set.insert(key, set);
    }

    /// Where the time of day was set forward, what is about a time comes earlier.
    fn compare(&mut self, now: Now) {
        let before = *self.compared.get_or_insert(now);
        let passed = now.monotonic.saturating_duration_since(before.monotonic);
        let expected = before.day.saturating_add(u64::try_from(passed.as_millis()).unwrap_or(u64::MAX));
        if now.day.abs_diff(expected) < LEAP_MILLISECONDS_MIN {
            return;
        }
        self.compared = Some(now);
        if now.day > expected {
            self.set_again(|set| set.at.map(|at| now.until(at)));
        }
    }

    /// Gives timers another turn, if that is earlier.
    fn set_again(&mut self, turn: impl Fn(&Set) -> Option<Instant>) {
        let earlier = |(key, set): (&K, &Set)| {
            let due = turn(set).filter(|due| *due < set.due)?;
            Some((key.clone(), Set { due, ..*set }))
        };
        let again: Vec<_> = self.set.iter().filter_map(earlier).collect();
        again.into_iter().for_each(|(key, set)| self.put(key, set));
    }
}

#[cfg(test)]
mod tests {
    use pipewright_base::clock;

    use super::*;

    const HOUR: u64 = 60 * 60 * 1000;
    const DAY: u64 = 24 * HOUR;
    /// The time of day at which each case begins.
    const NOON: u64 = 20_000 * DAY;

    /// What is due at each moment: so much later by the one clock, and by the other.
    fn check(set: impl Fn(&mut Timers<&'static str>, Now), moments: &[(u64, i64, &[&str])]) {
        let began = clock::monotonic();
        let at = |later: u64, leap: i64| Now {
            day: (NOON + later).saturating_add_signed(leap),
            monotonic: began + Duration::from_millis(later),
        };
        let mut timers = Timers::default();
        set(&mut timers, at(0, 0));
        for (later, leap, expected) in moments {
            let now = at(*later, *leap);
            let mut due = Vec::new();
            while let Some((key, _)) = timers.take(now) {
                due.push(key);
            }
            assert_eq!(due, *expected, "{later} ms later, the clock set by {leap} ms");
        }
    }

    #[test]
    fn timers_go_on_whatever_the_clock_is_set_to() {
        let back = -i64::try_from(DAY).unwrap();
        let both = |timers: &mut Timers<_>, now: Now| {
            timers.set_at("deadline", NOON + HOUR, now);
            timers.set_in("poll", Duration::from_millis(HOUR), now);
        };
        check(both, &[(HOUR - 1, 0, &[]), (HOUR, 0, &["deadline", "poll"])]);
        // Set back by a day, nothing is a day late.
        check(both, &[(10, back, &[]), (HOUR - 1, back, &[]), (HOUR, back, &["deadline", "poll"])]);
        // Set forward, what is about a time is due; what is about a duration is not.
        let day = i64::try_from(DAY).unwrap();
        check(both, &[(10, day, &["deadline"]), (HOUR - 1, day, &[]), (HOUR, day, &["poll"])]);
        // A clock that was wrong for a moment.
        check(both, &[(10, back, &[]), (20, 0, &[]), (HOUR - 1, 0, &[]), (HOUR, 0, &["deadline", "poll"])]);
        // One that a daemon corrects bit by bit.
        let slow: Vec<_> = (1..=60).map(|minute| (minute * 60_000, -(minute as i64) * 100, &[][..])).collect();
        check(|timers, now| timers.set_at("deadline", NOON + 2 * HOUR, now), &slow);
    }

    #[test]
    fn what_is_set_again_for_the_same_time_keeps_its_turn() {
        let began = clock::monotonic();
        let now = Now { day: NOON, monotonic: began };
        let after = Now { day: NOON - DAY, monotonic: began + Duration::from_secs(1) };
        let mut timers = Timers::default();
        timers.set_at("pipeline", NOON + HOUR, now);
        timers.set_at("pipeline", NOON + HOUR, after);
        assert_eq!(timers.wait(after), Some(Duration::from_millis(HOUR - 1000)));
        // Whoever takes a timer over knows when it is due.
        let (due, at) = timers.first().unwrap();
        let mut other = Timers::default();
        other.set_due("pipeline", at.unwrap(), due);
        assert_eq!(other.wait(after), Some(Duration::from_millis(HOUR - 1000)));
        timers.set_at("pipeline", NOON, after);
        assert_eq!(timers.wait(after), Some(Duration::from_millis(DAY)));
        timers.reached(NOON - 1, after);
        assert_eq!(timers.take(after), None);
        timers.reached(NOON, after);
        assert_eq!(timers.take(after), Some(("pipeline", Some(NOON))));
        assert_eq!((timers.take(after), timers.wait(after)), (None, None));
        timers.set_at("never", u64::MAX, now);
        timers.set_in("gone", Duration::MAX, now);
        timers.retain(|key| *key == "never");
        assert!(timers.wait(now).is_some_and(|wait| wait > Duration::from_millis(DAY)));
    }
}
