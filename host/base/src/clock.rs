//! The only place in this crate that reads a clock.
#![expect(clippy::disallowed_methods, reason = "this is that place")]

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A point on a clock that never goes back, to measure durations from.
pub fn monotonic() -> Instant {
    Instant::now()
}
