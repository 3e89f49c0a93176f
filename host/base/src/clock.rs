//! The only place in this crate that reads a clock, and the seam through which time reaches whatever it has a meaning for.
//!
//! What waits, polls, expires or keeps is given a [`Clock`]: the system's in a host, a [`Simulated`] one in a test, whose time
//! passes only when the test says so. The free functions are for measurements, log lines and signatures.
#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A point on a clock that never goes back, to measure durations from.
pub fn monotonic() -> Instant {
    Instant::now()
}

/// Done once it is time.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What time it is, and waiting.
pub trait Clock: Send + Sync {
    /// The time of day, in milliseconds since 1970-01-01 UTC. It may jump, for it can be set.
    fn now_ms(&self) -> u64;

    /// A point on a clock that never goes back and cannot be set.
    fn monotonic(&self) -> Instant;

    /// Waits for a point on the clock that never goes back.
    fn sleep_until(&self, at: Instant) -> Sleep;

    fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.monotonic() + duration)
    }
}

/// The clock of this machine.
pub fn system() -> Arc<dyn Clock> {
    Arc::new(System)
}

struct System;

impl Clock for System {
    fn now_ms(&self) -> u64 {
        now_ms()
    }

    fn monotonic(&self) -> Instant {
        monotonic()
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        Box::pin(tokio::time::sleep_until(at.into()))
    }
}

/// A clock for tests. Its time passes only in [`Simulated::advance`].
#[derive(Clone)]
pub struct Simulated(Arc<Mutex<Times>>);

struct Times {
    now_ms: u64,
    monotonic: Instant,
    /// By the time at which each wakes, and then in the order in which they went to sleep.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    slept: u64,
}

/// How often a test gives way after it woke somebody: enough for a woken task of the same thread to do all that it can do
/// without waiting for time again.
const TURNS: usize = 64;

impl Simulated {
    pub fn new(now_ms: u64) -> Self {
        Self(Arc::new(Mutex::new(Times { now_ms, monotonic: monotonic(), sleepers: BTreeMap::new(), slept: 0 })))
    }

    /// Lets time pass. Whoever sleeps until then wakes, one after the other in the order of their times, each at its own time
    /// and, where all run on one thread, with time standing still until it has done what it woke for.
    pub async fn advance(&self, by: Duration) {
        let end = self.monotonic() + by;
        loop {
            settle().await;
            let mut times = self.times();
            let next = times.sleepers.first_key_value().map(|((at, _), _)| *at).filter(|at| *at <= end);
            times.pass_to(next.unwrap_or(end));
            if next.is_none() {
                return;
            }
            if let Some((_, sleeper)) = times.sleepers.pop_first() {
                sleeper.wake();
            }
        }
    }

    /// Sets the time of day, as an operator does: nobody wakes by it.
    pub fn set(&self, now_ms: u64) {
        self.times().now_ms = now_ms;
    }

    /// How many sleep now.
    pub fn sleepers(&self) -> usize {
        self.times().sleepers.len()
    }

    fn times(&self) -> MutexGuard<'_, Times> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the other tasks of this thread run.
pub async fn settle() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

impl Times {
    fn pass_to(&mut self, at: Instant) {
        let passed = at.saturating_duration_since(self.monotonic);
        self.monotonic += passed;
        self.now_ms += u64::try_from(passed.as_millis()).unwrap_or(u64::MAX);
    }
}

impl Clock for Simulated {
    fn now_ms(&self) -> u64 {
        self.times().now_ms
    }

    fn monotonic(&self) -> Instant {
        self.times().monotonic
    }

    fn sleep_until(&self, at: Instant) -> Sleep {
        let mut times = self.times();
        times.slept += 1;
        Box::pin(Sleeper { clock: self.clone(), key: (at, times.slept) })
    }
}

struct Sleeper {
    clock: Simulated,
    key: (Instant, u64),
}

impl Future for Sleeper {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut times = self.clock.times();
        if times.monotonic >= self.key.0 {
            return Poll::Ready(());
        }
        times.sleepers.insert(self.key, context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.clock.times().sleepers.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sleepers_wake_in_the_order_of_their_times_and_only_when_time_passes() {
        let clock = Simulated::new(1_000);
        let woken = Arc::<Mutex<Vec<(u64, u64)>>>::default();
        for after in [30, 10, 20, 10, 50] {
            let (clock, woken) = (clock.clone(), Arc::clone(&woken));
            tokio::spawn(async move {
                clock.sleep(Duration::from_millis(after)).await;
                woken.lock().unwrap().push((after, clock.now_ms()));
                // What a sleeper begins counts from when it woke.
                clock.sleep(Duration::from_millis(5)).await;
                woken.lock().unwrap().push((after + 5, clock.now_ms()));
            });
        }
        settle().await;
        let check = |expected: &[(u64, u64)], sleepers| {
            assert_eq!(*woken.lock().unwrap(), expected);
            assert_eq!(clock.sleepers(), sleepers);
        };
        check(&[], 5);
        clock.advance(Duration::from_millis(9)).await;
        check(&[], 5);
        clock.advance(Duration::from_millis(21)).await;
        let first = [(10, 1_010), (10, 1_010), (15, 1_015), (15, 1_015), (20, 1_020), (25, 1_025), (30, 1_030)];
        check(&first, 2);
        clock.set(7);
        settle().await;
        check(&first, 2);
        clock.advance(Duration::from_millis(30)).await;
        check(&[&first[..], &[(35, 12), (50, 27), (55, 32)]].concat(), 0);
    }

    #[tokio::test]
    async fn who_sleeps_no_more_is_not_woken() {
        let clock = Simulated::new(0);
        drop(clock.sleep(Duration::from_millis(1)));
        tokio::select! {
            () = clock.sleep(Duration::from_millis(2)) => panic!("no time has passed"),
            () = settle() => {}
        }
        assert_eq!(clock.sleepers(), 0);
        clock.sleep(Duration::ZERO).await;
    }
}
