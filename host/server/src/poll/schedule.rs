//! When each source is looked at: spread over the interval, never twice at once, less often while it fails, and each account's
//! within its share of what is looked at at once.
//!
//! Owns the times, which are of the clock that nobody can set. Must not know what a source is, nor what is done with what is seen.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinSet;

use super::{Counts, Source};
use pipewright_base::clock::Clock;
use pipewright_base::fair::Permits;
use pipewright_engine::driver::Aggregate;
use pipewright_engine::driver::timers::{Now, Timers};

/// Sources that are looked at at once; more of them wait. Stops a thousand slow servers from taking all connections.
const POLLS_AT_ONCE_MAX: usize = 32;
/// And of one account. Stops an account whose servers never answer from being waited for by every other.
const POLLS_OF_ACCOUNT_MAX: usize = 8;
/// A source that fails is looked at again after twice the time as before, up to this: whoever pushes after an outage waits no
/// longer for the next look.
const BACKOFF_MAX: Duration = Duration::from_secs(10 * 60);

/// One look at a source, to its end.
pub(super) type Look = Arc<dyn Fn(Source) -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

pub(super) struct Schedule {
    clock: Arc<dyn Clock>,
    interval: Duration,
    look: Look,
    permits: Permits,
    plans: HashMap<Source, Plan>,
    due: Timers<Source>,
    running: JoinSet<(Source, Result<(), String>)>,
    counts: Arc<Counts>,
}

struct Plan {
    /// Or waits for its turn.
    is_looked_at: bool,
    failures: u32,
}

impl Schedule {
    pub(super) fn new(clock: Arc<dyn Clock>, interval: Duration, look: Look, counts: Arc<Counts>) -> Self {
        Self {
            clock,
            interval,
            look,
            permits: Permits::new(POLLS_AT_ONCE_MAX, POLLS_OF_ACCOUNT_MAX),
            plans: HashMap::new(),
            due: Timers::default(),
            running: JoinSet::new(),
            counts,
        }
    }

    /// Plans what is to be looked at of one pipeline, and forgets what is not any more.
    pub(super) fn plan(&mut self, pipeline: Aggregate, wanted: Vec<Arc<str>>) {
        let gone = |source: &Source| source.pipeline == pipeline && !wanted.contains(&source.action);
        self.plans.retain(|source, _| !gone(source));
        self.due.retain(|source| !gone(source));
        for action in wanted {
            let source = Source { pipeline, action };
            if !self.plans.contains_key(&source) {
                self.due.set_in(source.clone(), spread(&source, self.interval), Now::read(&*self.clock));
                self.plans.insert(source, Plan { is_looked_at: false, failures: 0 });
            }
        }
        self.counts.sources.store(self.plans.len() as u64, Ordering::Relaxed);
    }

    /// Begins to look at what is due, and waits until a look has ended or more is due. Dropping the future loses nothing.
    pub(super) async fn turn(&mut self) {
        self.begin();
        let next = self.due.wait(Now::read(&*self.clock));
        tokio::select! {
            Some(Ok((source, result))) = self.running.join_next() => self.looked(source, &result),
            () = self.clock.sleep(next.unwrap_or_default()), if next.is_some() => {}
            else => std::future::pending().await,
        }
    }

    fn begin(&mut self) {
        let now = Now::read(&*self.clock);
        while let Some((source, _)) = self.due.take(now) {
            if let Some(plan) = self.plans.get_mut(&source) {
                plan.is_looked_at = true;
            }
            let (look, permits, counts) = (Arc::clone(&self.look), self.permits.clone(), Arc::clone(&self.counts));
            self.running.spawn(async move {
                let _permit = permits.acquire(source.pipeline.account).await;
                counts.polls.fetch_add(1, Ordering::Relaxed);
                // A panic is a defect of the host, but not a reason never to look again.
                let looked = AssertUnwindSafe(look(source.clone())).catch_unwind().await;
                (source, looked.unwrap_or_else(|_| Err("the host failed; its log says how".to_owned())))
            });
        }
    }

    fn looked(&mut self, source: Source, result: &Result<(), String>) {
        // It may be gone, or have gone and come back meanwhile: then it has its turn already.
        let Some(plan) = self.plans.get_mut(&source).filter(|plan| plan.is_looked_at) else { return };
        plan.failures = if result.is_ok() { 0 } else { plan.failures.saturating_add(1) };
        let factor = 1_u32.checked_shl(plan.failures).unwrap_or(u32::MAX);
        let wait = self.interval.saturating_mul(factor).min(self.interval.max(BACKOFF_MAX));
        if let Err(error) = result {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            let (pipeline, action, seconds) = (&source.pipeline, &source.action, wait.as_secs());
            tracing::warn!(%pipeline, %action, "looking for changes failed, and is tried again in {seconds} s: {error}");
        }
        plan.is_looked_at = false;
        self.due.set_in(source, wait, Now::read(&*self.clock));
    }
}

/// Where in the interval a source has its turn: the same at every start of the host, and evenly for many.
fn spread(source: &Source, interval: Duration) -> Duration {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
    Duration::from_millis(hasher.finish() % interval.max(1))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;
    use pipewright_base::clock::{Simulated, settle};

    const INTERVAL: Duration = Duration::from_secs(60);

    fn source(account: u64, uid: u128) -> Source {
        Source { pipeline: Aggregate { account, uid: uid.to_be_bytes() }, action: "Source".into() }
    }

    #[test]
    fn sources_are_spread_over_the_interval() {
        let mut seconds = [0; 60];
        for uid in 0..6000 {
            let turn = spread(&source(0, uid), INTERVAL);
            assert_eq!(turn, spread(&source(0, uid), INTERVAL), "the same at every start");
            seconds[usize::try_from(turn.as_secs()).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|count| (50..200).contains(count)), "{seconds:?}");
    }

    /// Looks at the sources of some pipelines, on a clock of its own. Those of account 1 never answer, those of 2 fail.
    struct World {
        clock: Simulated,
        schedule: Schedule,
        looked: Arc<Mutex<Vec<(u64, u64)>>>,
    }

    impl World {
        fn new(accounts: &[(u64, u128)]) -> Self {
            Self::every(INTERVAL, accounts)
        }

        fn every(interval: Duration, accounts: &[(u64, u128)]) -> Self {
            let clock = Simulated::new(1_700_000_000_000);
            let looked = Arc::<Mutex<Vec<(u64, u64)>>>::default();
            let began = clock.monotonic();
            let (times, seen) = (clock.clone(), Arc::clone(&looked));
            let look: Look = Arc::new(move |source: Source| {
                let account = source.pipeline.account;
                seen.lock().unwrap().push((account, times.monotonic().duration_since(began).as_secs()));
                async move {
                    match account {
                        1 => std::future::pending().await,
                        2 => Err("it was scripted to".to_owned()),
                        _ => Ok(()),
                    }
                }
                .boxed()
            });
            let mut schedule = Schedule::new(Arc::new(clock.clone()), interval, look, Arc::default());
            for (account, pipelines) in accounts {
                for uid in 0..*pipelines {
                    let source = source(*account, uid);
                    schedule.plan(source.pipeline, vec![source.action]);
                }
            }
            Self { clock, schedule, looked }
        }

        async fn pass(&mut self, time: Duration) {
            tokio::select! {
                () = async { loop { self.schedule.turn().await } } => {}
                () = async { self.clock.advance(time).await; settle().await } => {}
            }
        }

        fn looks(&self, account: u64) -> Vec<u64> {
            self.looked.lock().unwrap().iter().filter(|(of, _)| *of == account).map(|(_, at)| *at).collect()
        }
    }

    #[tokio::test]
    async fn an_account_whose_sources_hang_does_not_stop_anothers() {
        let mut world = World::new(&[(1, 32), (3, 20)]);
        world.pass(INTERVAL).await;
        assert_eq!(world.looks(1).len(), POLLS_OF_ACCOUNT_MAX, "the others wait for their turn");
        assert_eq!(world.looks(3).len(), 20);
        world.pass(9 * INTERVAL).await;
        assert_eq!(world.looks(3).len(), 10 * 20);
    }

    #[tokio::test]
    async fn what_fails_is_looked_at_less_often() {
        let check = async |interval: Duration, expected: &[u64]| {
            let mut world = World::every(interval, &[(2, 1)]);
            world.pass(Duration::from_secs(2 * 60 * 60)).await;
            let looks = world.looks(2);
            let waits: Vec<_> = looks.windows(2).map(|pair| (pair[1] - pair[0]) / 60).collect();
            assert_eq!(waits[..expected.len()], *expected);
            // Each is told by the host's numbers.
            let count = |number: &std::sync::atomic::AtomicU64| number.load(Ordering::Relaxed) as usize;
            let counts = &world.schedule.counts;
            assert_eq!((count(&counts.failures), count(&counts.polls)), (looks.len(), looks.len()));
        };
        check(INTERVAL, &[2, 4, 8, 10, 10]).await;
        check(20 * INTERVAL, &[20, 20, 20]).await;
    }

    #[tokio::test]
    async fn what_hangs_is_not_looked_at_again() {
        let mut world = World::new(&[(1, 1)]);
        world.pass(60 * INTERVAL).await;
        assert_eq!(world.looks(1).len(), 1);
    }

    #[tokio::test]
    async fn a_clock_that_is_set_stops_nothing() {
        let mut world = World::new(&[(3, 1)]);
        world.pass(INTERVAL).await;
        world.clock.set(0);
        world.pass(INTERVAL).await;
        world.clock.set(u64::MAX / 2);
        world.pass(INTERVAL).await;
        assert_eq!(world.looks(3).len(), 3);
    }

    #[tokio::test]
    async fn a_source_that_is_gone_is_looked_at_no_more() {
        let mut world = World::new(&[(3, 2)]);
        world.pass(INTERVAL).await;
        world.schedule.plan(source(3, 0).pipeline, Vec::new());
        world.pass(INTERVAL).await;
        assert_eq!(world.looks(3).len(), 3);
    }
}
