//! When which pipeline that is not loaded has to be loaded again: a record of a few bytes for each.
//!
//! Must not know what the pipeline waits for; its actor finds out.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::Shared;
use super::actor::Message;
use super::timers::{Now, Timers};
use pipewright_base::clock::Clock;
use pipewright_store::Aggregate;

#[derive(Default)]
pub(super) struct Wakeups {
    due: Mutex<Timers<Aggregate>>,
    changed: Notify,
}

/// The longest sleep: the time of day may be set while we wait.
const SLEEP_MAX: Duration = Duration::from_secs(60);

impl Wakeups {
    /// For a time in milliseconds since 1970, and when that will be by the clock that never goes back.
    pub(super) fn set(&self, pipeline: Aggregate, at: u64, due: Instant) {
        self.due.lock().expect("no panic while held").set_due(pipeline, at, due);
        self.changed.notify_one();
    }

    /// Takes out what is due, each with the time that it was set for, and says how long to sleep for the next.
    fn take(&self, now: Now) -> (Vec<(Aggregate, u64)>, Duration) {
        let mut due = self.due.lock().expect("no panic while held");
        let taken = std::iter::from_fn(|| due.take(now)).map(|(pipeline, at)| (pipeline, at.unwrap_or_default()));
        (taken.collect(), due.wait(now).map_or(SLEEP_MAX, |wait| wait.min(SLEEP_MAX)))
    }
}

/// Runs until the driver is gone.
pub(super) fn spawn(clock: Arc<dyn Clock>, wakeups: Arc<Wakeups>, shared: Weak<Shared>) {
    tokio::spawn(async move {
        loop {
            let (due, sleep) = wakeups.take(Now::read(&*clock));
            for (pipeline, at) in due {
                let Some(driver) = shared.upgrade() else { return };
                driver.send(pipeline, Message::Wake { at }).await;
            }
            if shared.strong_count() == 0 {
                return;
            }
            tokio::select! {
                () = wakeups.changed.notified() => {}
                () = clock.sleep(sleep) => {}
            }
        }
    });
}
