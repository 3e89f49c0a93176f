//! What guests can make the host hold: a limit ends each of them, and the process does not grow beyond it. Alone in its
//! process, so that what it measures is its own.

#[allow(dead_code, reason = "the other tests look at the log")]
mod common;

use std::fs;
use std::sync::Arc;

use common::Memory;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::{Call, CallFailure, LoadError};

const LIMIT: &str = "host_memory_bytes_max";
/// The limit of a call, and what its instance and the allocator take besides.
const GROWTH_BYTES_MAX: usize = (128 << 20) + (192 << 20);

/// What each does again and again, and with how many bytes. Without a limit each would take gigabytes.
const HOARDS: &[(&str, u64)] = &[
    ("hold authorities", 1 << 20),
    ("hold authorities", 1 << 10),
    ("hold methods", 1 << 20),
    ("hold paths", 32 << 10),
    ("hold fields", 64 << 10),
    ("hold fields of requests", 64 << 10),
    ("hold bodies", 1 << 20),
];

#[tokio::test]
async fn what_guests_make_the_host_hold_is_limited() {
    let sandbox = common::sandbox();
    let plugin = sandbox.load(pipewright_guests::get("deeds").into()).await.unwrap();
    for (deed, amount) in HOARDS {
        let amount = amount.to_string();
        let settings = [("Deed", *deed), ("Amount", amount.as_str())];
        let call = common::call("Deed", &settings, Arc::new(Memory::default()));
        let limits = CallLimits { wall_seconds_max: 120, ..CallLimits::default() };
        let before = begin_to_measure();
        let end = sandbox.call(&plugin, Call { limits, ..call }).await;
        let grown = peak().saturating_sub(before);
        match end.result {
            // Small things are too many before they are too large.
            Err(CallFailure::Limit(reached)) => {
                assert_eq!(reached.limit, if amount == "1024" { "resources_max" } else { LIMIT }, "{deed}: {reached}");
            }
            other => panic!("{deed} {amount}: {other:?}"),
        }
        assert!(grown < GROWTH_BYTES_MAX, "{deed} {amount}: the host grew by {grown} bytes");
    }
    let before = begin_to_measure();
    match sandbox.load(pipewright_guests::get("hoarder").into()).await {
        Err(LoadError::Describe(CallFailure::Limit(reached))) => assert_eq!(reached.limit, LIMIT, "{reached}"),
        other => panic!("{other:?}"),
    }
    // Compiling is a child's, whose answer is read whole.
    let grown = peak().saturating_sub(before);
    assert!(grown < 64 << 20, "the host grew by {grown} bytes");
}

/// What is resident now, from which on the peak is measured.
fn begin_to_measure() -> usize {
    fs::write("/proc/self/clear_refs", "5").unwrap();
    status("VmRSS:")
}

fn peak() -> usize {
    status("VmHWM:")
}

fn status(what: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(what)).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}
