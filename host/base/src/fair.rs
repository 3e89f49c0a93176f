//! Permits that several accounts share fairly.
//!
//! Owns whose turn it is. Must not know what a permit is for.
//!
//! One account has at most its share of them, however many it asks for; and of the accounts that wait, each is given one before
//! any is given a second. So an account whose work hangs, or that has a great deal of it, keeps no other from its own. Of one account
//! the claim that is the oldest goes first, whenever it was made.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

/// A cheap handle: clones share the same permits.
#[derive(Clone)]
pub struct Permits(Arc<Shared>);

/// Who asks for a permit.
#[derive(Clone, Copy, Debug)]
pub struct Claim {
    pub account: u64,
    /// Since when, by whatever order the account's claims have; equal ones go in the order in which they were made.
    pub since: (u64, u64),
}

/// Withholds permits of several kinds from an account for a while, so that whoever is to be first may come last. Clones are the same gate.
#[derive(Clone)]
pub struct Gate(watch::Sender<HashMap<u64, usize>>);

/// A gate is shut for an account until all of these are dropped.
pub struct Shut {
    gate: Gate,
    account: u64,
}

impl Default for Gate {
    fn default() -> Self {
        Self(watch::Sender::new(HashMap::new()))
    }
}

impl Gate {
    pub fn shut(&self, account: u64) -> Shut {
        self.0.send_modify(|shut| *shut.entry(account).or_default() += 1);
        Shut { gate: self.clone(), account }
    }
}

impl Drop for Shut {
    fn drop(&mut self) {
        self.gate.0.send_modify(|shut| {
            if let Some(count) = shut.get_mut(&self.account) {
                *count -= 1;
                if *count == 0 {
                    shut.remove(&self.account);
                }
            }
        });
    }
}

/// The claims of one account that wait, each with the way to whoever made it.
type Turns = BTreeMap<Number, oneshot::Sender<Permit>>;

/// The age of a claim, and a number of its own.
type Number = ((u64, u64), u64);

struct Shared {
    each_max: usize,
    gate: Gate,
    /// Whenever others are before some who wait.
    changed: watch::Sender<()>,
    state: Mutex<State>,
}

struct State {
    free: usize,
    /// How many have ever asked.
    asked: u64,
    /// Of accounts that hold some.
    held: HashMap<u64, usize>,
    /// Accounts that wait, the one whose turn is next first.
    waiting: VecDeque<(u64, Turns)>,
}

const LISTED: &str = "who waits is in the list until it is served";

/// One permit, until it is dropped.
pub struct Permit {
    of: u64,
    shared: Arc<Shared>,
}

/// A claim that was made. Whoever drops it is passed over.
pub struct Asked {
    account: u64,
    number: Number,
    come: oneshot::Receiver<Permit>,
    shared: Arc<Shared>,
}

impl Permits {
    /// `total` permits, of which one account holds at most `each_max`.
    pub fn new(total: usize, each_max: usize) -> Self {
        Self::behind(Gate::default(), total, each_max)
    }

    /// The same behind a gate.
    pub fn behind(gate: Gate, total: usize, each_max: usize) -> Self {
        let state = State { free: total, asked: 0, held: HashMap::new(), waiting: VecDeque::new() };
        Self(Arc::new(Shared { each_max, gate, changed: watch::Sender::new(()), state: Mutex::new(state) }))
    }

    /// Waits for the account's turn, among permits without a gate.
    pub async fn acquire(&self, account: u64) -> Permit {
        let mut asked = self.ask(Claim { account, since: (0, 0) });
        (&mut asked.come).await.expect(LISTED)
    }

    pub fn ask(&self, Claim { account, since }: Claim) -> Asked {
        let (turn, come) = oneshot::channel();
        let number = {
            let mut state = self.0.state();
            state.asked += 1;
            let number = (since, state.asked);
            match state.waiting.iter_mut().find(|(waiting, _)| *waiting == account) {
                Some((_, theirs)) => drop(theirs.insert(number, turn)),
                None => state.waiting.push_back((account, Turns::from([(number, turn)]))),
            }
            number
        };
        self.0.changed.send_replace(());
        Shared::serve(&self.0);
        Asked { account, number, come, shared: Arc::clone(&self.0) }
    }

    /// Whether this is the only handle, and nobody has a permit or waits for one by another.
    pub fn is_idle(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

impl Asked {
    /// Waits for its turn. Who has to wait hears how many of its account are before it, at first and with each change.
    pub async fn come(mut self, mut tell: impl FnMut(usize)) -> Permit {
        let (mut changed, mut gate) = (self.shared.changed.subscribe(), self.shared.gate.0.subscribe());
        // The gate may have opened since it was asked for; from here on each opening is heard.
        Shared::serve(&self.shared);
        let mut told = None;
        loop {
            if let Ok(permit) = self.come.try_recv() {
                return permit;
            }
            let before = self.shared.state().before(self.account, self.number);
            if told.replace(before) != Some(before) {
                tell(before);
            }
            tokio::select! {
                biased;
                permit = &mut self.come => return permit.expect(LISTED),
                _ = changed.changed() => {}
                // The senders are held here.
                _ = gate.changed() => Shared::serve(&self.shared),
            }
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.come.close();
        self.shared.changed.send_replace(());
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
            let next = self.state().next(self.each_max, &self.gate);
            let Some((of, turn)) = next else { return };
            drop(turn.send(Permit { of, shared: Arc::clone(self) }));
            self.changed.send_replace(());
        }
    }
}

impl State {
    /// How many of an account are before the one with this number, and still wait.
    fn before(&self, account: u64, number: Number) -> usize {
        let theirs = self.waiting.iter().filter(|(waiting, _)| *waiting == account).flat_map(|(_, theirs)| theirs);
        theirs.filter(|(other, turn)| **other < number && !turn.is_closed()).count()
    }

    /// Takes a permit for the one whose turn it is.
    fn next(&mut self, each_max: usize, gate: &Gate) -> Option<(u64, oneshot::Sender<Permit>)> {
        if self.free == 0 {
            return None;
        }
        let (held, shut) = (&self.held, gate.0.borrow());
        let may_have =
            |account: &u64| !shut.contains_key(account) && held.get(account).is_none_or(|held| *held < each_max);
        loop {
            let at = self.waiting.iter().position(|(account, _)| may_have(account))?;
            let (account, mut theirs) = self.waiting.remove(at)?;
            let turn = std::iter::from_fn(|| theirs.pop_first()).find(|(_, turn)| !turn.is_closed());
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

    fn claim(account: u64, since: u64) -> Claim {
        Claim { account, since: (since, 0) }
    }

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
                    permits.ask(claim(account, 0)).come(|before| told.lock().unwrap().push(before)).await
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
        assert_eq!(told.map(|told| told.lock().unwrap().clone()), [vec![0], vec![1], vec![0], vec![2, 1, 0]]);
        assert!(permits.is_idle());
    }

    /// Who asks first and then lets the gate go, as an interrupted build does that is the only one, waits for nobody.
    #[tokio::test]
    async fn a_gate_that_opens_before_a_claim_is_waited_for_is_open() {
        let gate = Gate::default();
        let permits = Permits::behind(gate.clone(), 1, 1);
        let shut = gate.shut(1);
        let asked = permits.ask(claim(1, 5));
        drop(shut);
        tokio::select! {
            biased;
            permit = asked.come(|_| ()) => drop(permit),
            () = tokio::task::yield_now() => panic!("it waits for a turn that has come"),
        }
    }

    #[tokio::test]
    async fn the_oldest_claim_of_an_account_goes_first_also_where_it_comes_last() {
        let gate = Gate::default();
        let permits = Permits::behind(gate.clone(), 1, 1);
        let shut = [gate.shut(1), gate.shut(1)];
        let served = Arc::<Mutex<Vec<u64>>>::default();
        let ask = |account: u64, since: u64| {
            let (asked, served) = (permits.ask(claim(account, since)), Arc::clone(&served));
            tokio::spawn(async move {
                let permit = asked.come(|_| ()).await;
                served.lock().unwrap().push(since);
                drop(permit);
            });
        };
        ask(1, 5);
        ask(1, 7);
        settle().await;
        // The gate is shut for one account alone.
        ask(2, 9);
        settle().await;
        assert_eq!(*served.lock().unwrap(), [9]);
        let [first, second] = shut;
        drop(first);
        ask(1, 3);
        settle().await;
        assert_eq!(*served.lock().unwrap(), [9], "one holds it shut still");
        drop(second);
        settle().await;
        assert_eq!(*served.lock().unwrap(), [9, 3, 5, 7]);
        ask(1, 1);
        settle().await;
        assert_eq!(served.lock().unwrap().last(), Some(&1));
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
