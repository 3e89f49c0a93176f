//! Permits that several accounts share fairly.
//!
//! Owns whose turn it is. Must not know what a permit is for.
//!
//! One account has at most its share of them, however many it asks for; and of the accounts that wait, each is given one before
//! any is given a second. So an account whose work hangs, or that has a great deal of it, keeps no other from its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// A cheap handle: clones share the same permits.
#[derive(Clone)]
pub struct Permits(Arc<Shared>);

struct Shared {
    each_max: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// Of accounts that hold some.
    held: HashMap<u64, usize>,
    /// Accounts that wait, the one whose turn is next first, and theirs in the order in which they came.
    waiting: VecDeque<(u64, VecDeque<oneshot::Sender<Permit>>)>,
}

/// One permit, until it is dropped.
pub struct Permit {
    of: u64,
    shared: Arc<Shared>,
}

impl Permits {
    /// `total` permits, of which one account holds at most `each_max`.
    pub fn new(total: usize, each_max: usize) -> Self {
        let state = State { free: total, held: HashMap::new(), waiting: VecDeque::new() };
        Self(Arc::new(Shared { each_max, state: Mutex::new(state) }))
    }

    /// Waits for the account's turn. Who stops waiting is passed over.
    pub async fn acquire(&self, account: u64) -> Permit {
        let (turn, come) = oneshot::channel();
        {
            let mut state = self.0.state();
            match state.waiting.iter_mut().find(|(waiting, _)| *waiting == account) {
                Some((_, theirs)) => theirs.push_back(turn),
                None => state.waiting.push_back((account, VecDeque::from([turn]))),
            }
        }
        Shared::serve(&self.0);
        come.await.expect("who waits is in the list until it is served")
    }
}

impl Shared {
    /// Counters and lists, whole after a panic elsewhere.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives out what is free. A permit whose receiver is gone comes back here as it is dropped, outside of the lock.
    fn serve(self: &Arc<Self>) {
        loop {
            let next = self.state().next(self.each_max);
            let Some((of, turn)) = next else { return };
            drop(turn.send(Permit { of, shared: Arc::clone(self) }));
        }
    }
}

impl State {
    /// Takes a permit for the one whose turn it is.
    fn next(&mut self, each_max: usize) -> Option<(u64, oneshot::Sender<Permit>)> {
        if self.free == 0 {
            return None;
        }
        let held = &self.held;
        let may_have = |account: &u64| held.get(account).is_none_or(|held| *held < each_max);
        loop {
            let at = self.waiting.iter().position(|(account, _)| may_have(account))?;
            let (account, mut theirs) = self.waiting.remove(at)?;
            let turn = std::iter::from_fn(|| theirs.pop_front()).find(|turn| !turn.is_closed());
            if !theirs.is_empty() {
                self.waiting.push_back((account, theirs));
            }
            if let Some(turn) = turn {
                self.free -= 1;
                *self.held.entry(account).or_default() += 1;
                return Some((account, turn));
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        {
            let mut state = self.shared.state();
            state.free += 1;
            if let Some(held) = state.held.get_mut(&self.of) {
                *held -= 1;
                if *held == 0 {
                    state.held.remove(&self.of);
                }
            }
        }
        Shared::serve(&self.shared);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::settle;

    /// Who was served, in this order.
    #[derive(Clone, Default)]
    struct Served(Arc<Mutex<Vec<u64>>>);

    impl Served {
        /// Keeps its permit until the sender is dropped.
        fn ask(&self, permits: &Permits, account: u64) -> oneshot::Sender<()> {
            let (permits, served) = (permits.clone(), Arc::clone(&self.0));
            let (end, ended) = oneshot::channel();
            tokio::spawn(async move {
                let _permit = permits.acquire(account).await;
                served.lock().unwrap().push(account);
                let _ = ended.await;
            });
            end
        }

        async fn check(&self, expected: &[u64]) {
            settle().await;
            assert_eq!(*self.0.lock().unwrap(), expected);
        }
    }

    #[tokio::test]
    async fn an_account_has_its_share_and_no_more() {
        let (permits, served) = (Permits::new(3, 2), Served::default());
        let mut of_one: Vec<_> = (0..4).map(|_| served.ask(&permits, 1)).collect();
        served.check(&[1, 1]).await;
        let of_two = served.ask(&permits, 2);
        served.check(&[1, 1, 2]).await;
        of_one.remove(0);
        served.check(&[1, 1, 2, 1]).await;
        drop((of_one, of_two));
        served.check(&[1, 1, 2, 1, 1]).await;
    }

    #[tokio::test]
    async fn accounts_that_wait_are_served_in_turn() {
        let (permits, served) = (Permits::new(1, 1), Served::default());
        let held = permits.acquire(9).await;
        let asked = [1, 1, 1, 2, 3, 2].map(|account| served.ask(&permits, account));
        served.check(&[]).await;
        drop(held);
        drop(asked);
        served.check(&[1, 2, 3, 1, 2, 1]).await;
    }

    #[tokio::test]
    async fn who_stops_waiting_takes_nothing_along() {
        let permits = Permits::new(1, 1);
        let held = permits.acquire(1).await;
        tokio::select! {
            _ = permits.acquire(2) => panic!("there is none left"),
            () = settle() => {}
        }
        drop(held);
        drop(permits.acquire(3).await);
        drop(permits.acquire(2).await);
    }
}
