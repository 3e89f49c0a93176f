//! Telling who watches of durable commits. Nothing is lost: what a watcher has not taken yet waits for it, the latest
//! sequence of each aggregate once, so a slow watcher holds at most one entry per aggregate and catches up by history.

use super::Aggregate;
use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Default)]
pub(super) struct Watchers {
    /// Spares commits the lock while nobody watches.
    count: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    inboxes: HashMap<Option<Aggregate>, Vec<Arc<Inbox>>>,
    closed: bool,
}

#[derive(Default)]
struct Inbox {
    pending: Mutex<Pending>,
    wake: Notify,
}

#[derive(Default)]
struct Pending {
    sequences: BTreeMap<Aggregate, u64>,
    closed: bool,
}

impl Watchers {
    pub(super) fn watch(self: &Arc<Self>, aggregate: Option<Aggregate>) -> Watcher {
        let inbox = Arc::new(Inbox::default());
        let mut state = lock(&self.state);
        lock(&inbox.pending).closed = state.closed;
        state.inboxes.entry(aggregate).or_default().push(Arc::clone(&inbox));
        self.count.fetch_add(1, Ordering::SeqCst);
        Watcher { aggregate, inbox, watchers: Arc::clone(self) }
    }

    pub(super) fn tell(&self, aggregate: Aggregate, sequence: u64) {
        if self.count.load(Ordering::SeqCst) == 0 {
            return;
        }
        let state = lock(&self.state);
        for inbox in [None, Some(aggregate)].iter().filter_map(|watched| state.inboxes.get(watched)).flatten() {
            lock(&inbox.pending).sequences.insert(aggregate, sequence);
            inbox.wake.notify_one();
        }
    }

    pub(super) fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        for inbox in state.inboxes.values().flatten() {
            lock(&inbox.pending).closed = true;
            inbox.wake.notify_one();
        }
    }
}

/// Learns of new sequences from [`Store::watch`](super::Store::watch) on.
pub struct Watcher {
    aggregate: Option<Aggregate>,
    inbox: Arc<Inbox>,
    watchers: Arc<Watchers>,
}

impl Watcher {
    /// Waits for a commit this watcher was not told of yet: the aggregate and its latest sequence, which may be several
    /// on from the one told before. `None` once the store is closed or stopped.
    pub async fn changed(&mut self) -> Option<(Aggregate, u64)> {
        loop {
            let woken = {
                let mut pending = lock(&self.inbox.pending);
                match pending.sequences.pop_first() {
                    Some(change) => return Some(change),
                    None if pending.closed => return None,
                    None => self.inbox.wake.notified(),
                }
            };
            woken.await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let inboxes = &mut lock(&self.watchers.state).inboxes;
        if let Some(watching) = inboxes.get_mut(&self.aggregate) {
            watching.retain(|inbox| !Arc::ptr_eq(inbox, &self.inbox));
            if watching.is_empty() {
                inboxes.remove(&self.aggregate);
            }
        }
        self.watchers.count.fetch_sub(1, Ordering::SeqCst);
    }
}

/// These locks guard plain maps, which a panic elsewhere leaves whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
