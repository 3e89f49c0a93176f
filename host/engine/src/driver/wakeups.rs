//! When which pipeline that is not loaded has to be loaded again: a record of a few bytes for each.
//!
//! Must not know what the pipeline waits for; its actor finds out.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::Shared;
use super::actor::Message;
use pipewright_base::clock::Clock;
use pipewright_store::Aggregate;

#[derive(Default)]
pub(super) struct Wakeups {
    /// By time, in milliseconds since 1970.
    due: Mutex<BTreeSet<(u64, Aggregate)>>,
    changed: Notify,
}

/// The longest sleep: the time of day may be set while we wait.
const SLEEP_MAX: Duration = Duration::from_secs(60);

impl Wakeups {
    pub(super) fn set(&self, at_ms: u64, pipeline: Aggregate) {
        self.due.lock().expect("no panic while held").insert((at_ms, pipeline));
        self.changed.notify_one();
    }

    /// Takes out what is due, and says how long to sleep for the next.
    fn take(&self, now_ms: u64) -> (Vec<Aggregate>, Duration) {
        let mut due = self.due.lock().expect("no panic while held");
        let mut taken = Vec::new();
        while let Some(&(at, pipeline)) = due.first() {
            if at > now_ms {
                return (taken, SLEEP_MAX.min(Duration::from_millis(at - now_ms)));
            }
            due.pop_first();
            taken.push(pipeline);
        }
        (taken, SLEEP_MAX)
    }
}

/// Runs until the driver is gone.
pub(super) fn spawn(clock: Arc<dyn Clock>, wakeups: Arc<Wakeups>, shared: Weak<Shared>) {
    tokio::spawn(async move {
        loop {
            let (due, sleep) = wakeups.take(clock.now_ms());
            for pipeline in due {
                let Some(driver) = shared.upgrade() else { return };
                driver.send(pipeline, Message::Wake).await;
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
