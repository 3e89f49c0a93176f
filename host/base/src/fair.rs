//! Permits that several accounts share fairly.
//!
//! Owns whose turn it is. Must not know what a permit is for.
//!
//! One account has at most its share of them, however many it asks for; and of the accounts that wait, each is given one before
//! any is given a second. So an account whose work hangs, or that has a great deal of it, keeps no other from its own.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

/// A cheap handle: clones share the same permits.
#[derive(Clone)]
pub struct Permits(Arc<Shared>);

/// One who waits: a number of its own, and the way to it.
type Turn = (u64, oneshot::Sender<Permit>);

struct Shared {
    each_max: usize,
    /// Whenever somebody was served.
    served: watch::Sender<()>,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// How many have ever asked.
    asked: u64,
    /// Of accounts that hold some.
    held: HashMap<u64, usize>,
    /// Accounts that wait, the one whose turn is next first, and theirs in the order in which they came.
    waiting: VecDeque<(u64, VecDeque<Turn>)>,
}

const LISTED: &str = "who waits is in the list until it is served";

/// One permit, until it is dropped.
pub struct Permit {
    of: u64,
    shared: Arc<Shared>,
}

impl Permits {
    /// `total` permits, of which one account holds at most `each_max`.
    pub fn new(total: usize, each_max: usize) -> Self {
        let state = State { free: total, asked: 0, held: HashMap::new(), waiting: VecDeque::new() };
        Self(Arc::new(Shared { each_max, served: watch::Sender::new(()), state: Mutex::new(state) }))
    }

    /// Waits for the account's turn. Who stops waiting is passed over.
    pub async fn acquire(&self, account: u64) -> Permit {
        self.ask(account).1.await.expect(LISTED)
    }

    /// The same. Who has to wait hears how many of its account are before it, at first and with each change.
    pub async fn acquire_telling(&self, account: u64, mut tell: impl FnMut(usize)) -> Permit {
        let mut served = self.0.served.subscribe();
        let (number, mut come) = self.ask(account);
        let mut told = None;
        loop {
            if let Ok(permit) = come.try_recv() {
                return permit;
            }
            let before = self.0.state().before(account, number);
            if told.replace(before) != Some(before) {
                tell(before);
            }
            tokio::select! {
                biased;
                permit = &mut come => return permit.expect(LISTED),
                _ = served.changed() => {}
            }
        }
    }

    fn ask(&self, account: u64) -> (u64, oneshot::Receiver<Permit>) {
        let (turn, come) = oneshot::channel();
        let number = {
            let mut state = self.0.state();
            state.asked += 1;
            let turn = (state.asked, turn);
            match state.waiting.iter_mut().find(|(waiting, _)| *waiting == account) {
                Some((_, theirs)) => theirs.push_back(turn),
                None => state.waiting.push_back((account, VecDeque::from([turn]))),
            }
            state.asked
        };
        Shared::serve(&self.0);
        (number, come)
    }

    /// Whether this is the only handle, and nobody has a permit or waits for one by another.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
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
            self.served.send_replace(());
        }
    }
}

impl State {
    /// How many of an account are before the one with this number, and still wait.
    fn before(&self, account: u64, number: u64) -> usize {
        let theirs = self.waiting.iter().filter(|(waiting, _)| *waiting == account).flat_map(|(_, theirs)| theirs);
        theirs.filter(|(other, turn)| *other < number && !turn.is_closed()).count()
    }

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
            let turn = std::iter::from_fn(|| theirs.pop_front()).find(|(_, turn)| !turn.is_closed());
            if !theirs.is_empty() {
                self.waiting.push_back((account, theirs));
            }
            if let Some((_, turn)) = turn {
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
    async fn who_waits_hears_how_many_are_before_it() {
        let permits = Permits::new(1, 1);
        assert!(permits.is_idle());
        let held = permits.acquire(1).await;
        let told: [Arc<Mutex<Vec<usize>>>; 4] = Default::default();
        let mut asked: Vec<_> = [1, 1, 2, 1]
            .iter()
            .zip(&told)
            .map(|(account, told)| {
                let (permits, told, account) = (permits.clone(), Arc::clone(told), *account);
                tokio::spawn(async move {
                    permits.acquire_telling(account, |before| told.lock().unwrap().push(before)).await
                })
            })
            .collect();
        settle().await;
        // One who gives up is before nobody from then on.
        asked.remove(1).abort();
        settle().await;
        drop(held);
        for asked in asked {
            asked.await.unwrap();
        }
        assert_eq!(told.map(|told| told.lock().unwrap().clone()), [vec![0], vec![1], vec![0], vec![2, 0]]);
        assert!(permits.is_idle());
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
