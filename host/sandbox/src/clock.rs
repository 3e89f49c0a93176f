//! The only place in this crate that reads a clock.
//!
//! Must not know what a guest may see of it (`capabilities/clock.rs`).
#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::time::{ClockId, clock_gettime};

pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

pub(crate) fn since_epoch() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The CPU time of this thread, in nanoseconds.
fn thread_cpu_nanos() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    now.tv_sec.unsigned_abs() * 1_000_000_000 + now.tv_nsec.unsigned_abs()
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
