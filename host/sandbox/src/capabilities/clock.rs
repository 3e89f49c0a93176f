//! The clock: the time of day. The monotonic clock is everybody's; it tells nothing but how long the call runs.
//!
//! Without the grant the time of day stands still at the start of the call, so that what a plugin makes does not depend
//! on it.

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use wasmtime_wasi::HostWallClock;

use super::{Capability, Exchange, Row, Setup};
use crate::abi;
use crate::clock::{monotonic, since_epoch};
use crate::grants::{CaseFolder, Place, Use};
use crate::outside::{Exchanged, Outside};
use crate::rights::{Asked, Asks};
use crate::seam::{HostCallOutcome, Seam};

const CLOCK: &str = "clock";

/// Runs on from the start of the call, whatever is done to the host's clock meanwhile.
#[derive(Clone, Copy)]
pub struct Clock {
    start: Duration,
    started: Instant,
    is_granted: bool,
}

impl Capability for Clock {
    const ROW: Row = Row {
        name: CLOCK,
        asks: &[CLOCK],
        grant: Some("clock = true"),
        without: "the time of day stands still at the start of the call",
        can_be_made_up: true,
    };
    type Written = bool;
    type Grant = bool;
    type Kept = Exchanged<Look, Time>;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        matches!(ask, abi::Capability::Clock).then(|| Asked::of_all(CLOCK, "the time of day"))
    }

    fn narrow(granted: &mut bool, asks: &Asks) {
        *granted &= asks.any(CLOCK);
    }

    fn resolve(written: &bool, _: Place<'_>) -> Result<bool, String> {
        Ok(*written)
    }

    fn in_words(written: &bool, _: &Path) -> Vec<String> {
        written.then(|| "read the time of day".to_owned()).into_iter().collect()
    }

    fn least(written: &mut bool, uses: &BTreeSet<Use>) {
        *written &= uses.iter().any(|used| used.capability == CLOCK);
    }

    fn in_case(granted: &bool, _: &CaseFolder<'_>) -> bool {
        *granted
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        let start = setup.time.map_or_else(since_epoch, Duration::from_millis);
        let (seam, clock) =
            (Arc::clone(setup.seam), Self { start, started: monotonic(), is_granted: setup.grants.clock });
        if let Outside::Recorded(recorder) = seam.outside() {
            recorder.start(millis(start));
        }
        if setup.grants.clock {
            setup.wasi.wall_clock(Running { clock, seam });
        } else {
            setup.wasi.wall_clock(StandingStill { start, seam });
        }
        clock
    }
}

impl Clock {
    /// The time of day at which a tool of the call starts: it goes on where it is granted, and else it stands still.
    pub(crate) fn of_tool(&self) -> u64 {
        millis(if self.is_granted { self.start + self.started.elapsed() } else { self.start })
    }
}

impl Exchange for Clock {
    type Request = Look;
    type Response = Time;
    const IS_SURE: bool = true;

    fn operation(_: &Look) -> &'static str {
        "now"
    }

    fn journaled(_: &Look, time: Option<&Time>) -> (String, u64) {
        (time.map(|time| time.milliseconds.to_string()).unwrap_or_default(), 0)
    }

    fn exchange(&self, _: &Look) -> Result<Time, HostCallOutcome> {
        Ok(Time { milliseconds: millis(self.start + self.started.elapsed()) })
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Look {}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a look at the clock")
    }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Time {
    /// since 1970-01-01 UTC
    pub milliseconds: u64,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// With the grant.
struct Running {
    clock: Clock,
    seam: Arc<Seam>,
}

impl HostWallClock for Running {
    fn resolution(&self) -> Duration {
        Duration::from_millis(1)
    }

    fn now(&self) -> Duration {
        // What the guest is told is what is kept, to the millisecond. Where a replay differs, the call ends at once.
        let told = self.seam.exchange(&self.clock, Look {});
        Duration::from_millis(told.map_or(0, |time| time.milliseconds))
    }
}

/// Without it.
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
