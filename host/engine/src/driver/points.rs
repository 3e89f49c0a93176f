//! Named points of the loop at which a test lets the host die, as `kill -9` does: what is promised must hold wherever it
//! happens.
//!
//! Must not know what is done at a point.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// `POINT:NUMBER`: the host kills itself when it passes the point for that time. Only tests set it.
const VARIABLE: &str = "PIPEWRIGHT_DIE_AT";

/// In the order in which the loop passes them.
pub const POINTS: &[&str] = &[
    // An input was decided, and nothing of it is written.
    "decided",
    // It is durable, and nobody knows.
    "committed",
    // Its effects have begun, and it has not been answered.
    "effected",
    // An action has made its outputs, and they are durable.
    "made",
    // An action has answered, and its answer is not decided.
    "answered",
];

static DEATH: LazyLock<Option<(String, AtomicU64)>> = LazyLock::new(|| {
    let text = std::env::var(VARIABLE).ok()?;
    let (point, number) = text.split_once(':')?;
    Some((point.to_owned(), AtomicU64::new(number.parse().ok()?)))
});

/// Passes a point.
pub fn pass(point: &'static str) {
    debug_assert!(POINTS.contains(&point));
    if let Some((wanted, left)) = &*DEATH
        && wanted == point
        && left.fetch_sub(1, Ordering::SeqCst) == 1
    {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}
