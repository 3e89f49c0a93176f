//! The clock capability, and the only place in this crate that reads a clock.
//!
//! The monotonic clock is everybody's; it tells nothing but how long the call runs. The time of day needs the grant:
//! without it, it stands still at the start of the call, so that what a plugin makes does not depend on it.
#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};
use wasmtime_wasi::{HostWallClock, WasiCtxBuilder};

use crate::grants::Grants;
use crate::outside::{Outside, Step};
use crate::seam::{HostCallOutcome, Seam};

pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The CPU time of this thread, in nanoseconds.
fn thread_cpu_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
}

/// `time` is the time of day at which the call starts, in milliseconds since 1970-01-01 UTC; none: now.
pub(crate) fn configure(wasi: &mut WasiCtxBuilder, grants: &Grants, time: Option<u64>, seam: &Arc<Seam>) {
    let start = time.map_or_else(since_epoch, Duration::from_millis);
    if let Outside::Recorded(recorder) = seam.outside() {
        recorder.start(millis(start));
    }
    if grants.clock {
        wasi.wall_clock(Granted { start, started: monotonic(), seam: Arc::clone(seam) });
    } else {
        wasi.wall_clock(StandingStill { start, seam: Arc::clone(seam) });
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

struct StandingStill {
    start: Duration,
    seam: Arc<Seam>,
}

impl HostWallClock for StandingStill {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        if let Outside::Recorded(recorder) = self.seam.outside() {
            recorder.looked_at_time();
        }
        self.start
    }
}

/// Runs on from the start of the call, whatever is done to the host's clock meanwhile.
struct Granted {
    start: Duration,
    started: Instant,
    seam: Arc<Seam>,
}

impl HostWallClock for Granted {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        let timer = self.seam.begin("clock", "now");
        // What the guest was told is what the journal says, to the millisecond.
        let running = || millis(self.start + self.started.elapsed());
        let milliseconds = match self.seam.outside() {
            // Where it differs, the call ends at once, whatever this says.
            Outside::Replayed(replay) => replay.clock().unwrap_or_default(),
            Outside::Recorded(recorder) => {
                let milliseconds = running();
                recorder.step(0, || Step::Clock { milliseconds });
                milliseconds
            }
            Outside::Live | Outside::Faked(_) => running(),
        };
        timer.end(milliseconds.to_string(), HostCallOutcome::Done, 0);
        Duration::from_millis(milliseconds)
    }
}

/// How much CPU time a call took, over all the threads that it ran on.
pub(crate) struct CpuMeter {
    spent_nanos: AtomicU64,
    /// The thread's CPU time when it took the call up.
    resumed_nanos: AtomicU64,
}

impl CpuMeter {
    /// That begins with what was spent before.
    pub(crate) fn new(spent_micros: u64) -> Self {
        Self { spent_nanos: spent_micros.saturating_mul(1_000).into(), resumed_nanos: AtomicU64::new(0) }
    }

    /// Called by the thread that takes the call up, before it does.
    pub(crate) fn resume(&self) {
        self.resumed_nanos.store(thread_cpu_nanos(), Ordering::Relaxed);
    }

    /// Called by the same thread when it lays the call down.
    pub(crate) fn pause(&self) {
        self.spent_nanos.store(self.running_nanos(), Ordering::Relaxed);
    }

    /// The same while the call is taken up, called by its thread.
    pub(crate) fn running_nanos(&self) -> u64 {
        let resumed = self.resumed_nanos.load(Ordering::Relaxed);
        self.spent_nanos.load(Ordering::Relaxed) + thread_cpu_nanos().saturating_sub(resumed)
    }

    /// While the call is laid down, or after it.
    pub(crate) fn spent_micros(&self) -> u64 {
        self.spent_nanos.load(Ordering::Relaxed) / 1_000
    }
}
