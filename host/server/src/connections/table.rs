//! The connections that are open, in the order in which they came, and which of them has to go.
//!
//! Owns the decision, as of a time that it is told. Must not know sockets or HTTP.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::bounds::Bounds;
use pipewright_base::clock;

/// A stranger has this long to send the headers of its request. Stops connections that are opened and say nothing.
const STRANGER_TIME_MAX: Duration = Duration::from_secs(5);
/// Whoever has a key may leave a connection idle for this long. Stops clients that leak connections.
const IDLE_TIME_MAX: Duration = Duration::from_secs(60);
/// A client that takes no byte of an answer for so long is cut. Stops answers that are asked for and never read.
const WRITE_TIME_MAX: Duration = Duration::from_secs(20);

/// There is no room for one more connection of an account: all that it has are in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crowded {
    pub connections_max: usize,
}

pub(super) struct Table {
    bounds: Bounds,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    /// By their numbers, so the oldest is the first.
    connections: BTreeMap<u64, Connection>,
}

struct Connection {
    address: IpAddr,
    state: Arc<State>,
}

/// What a connection and the table know of each other.
struct State {
    now: Mutex<Now>,
    cut: Notify,
}

#[derive(Clone, Copy)]
struct Now {
    /// The account whose key signed a request; a stranger has none.
    account: Option<u64>,
    /// Requests that are being answered.
    requests: usize,
    idle_since: Instant,
    /// Since when the other end takes nothing of what there is to write.
    blocked_since: Option<Instant>,
    cut_because: &'static str,
}

impl Now {
    fn is_idle(&self) -> bool {
        self.requests == 0
    }

    /// Why its time is up, if it is.
    fn overdue(&self, now: Instant) -> Option<&'static str> {
        let is_over = |since: Instant, max: Duration| now.saturating_duration_since(since) > max;
        match (self.blocked_since, self.account) {
            (Some(since), _) => is_over(since, WRITE_TIME_MAX).then_some("nothing of its answer is taken"),
            (None, _) if !self.is_idle() => None,
            (None, None) => is_over(self.idle_since, STRANGER_TIME_MAX).then_some("no request came in time"),
            (None, Some(_)) => is_over(self.idle_since, IDLE_TIME_MAX).then_some("it was idle for too long"),
        }
    }
}

impl State {
    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn count(&self, is_one: impl Fn(&Connection, &Now) -> bool) -> usize {
        self.connections.values().filter(|connection| is_one(connection, &connection.state.now())).count()
    }

    /// Cuts the oldest connection of a kind; says whether there was one.
    fn cut_oldest(&mut self, reason: &'static str, is_one: impl Fn(&Connection, &Now) -> bool) -> bool {
        let mut connections = self.connections.iter();
        let found = connections.find(|(_, connection)| is_one(connection, &connection.state.now()));
        let Some((&number, _)) = found else { return false };
        self.cut(number, reason);
        true
    }

    fn cut(&mut self, number: u64, reason: &'static str) {
        if let Some(connection) = self.connections.remove(&number) {
            connection.state.now().cut_because = reason;
            connection.state.cut.notify_one();
        }
    }
}

impl Table {
    pub(super) fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self { bounds, open: Mutex::default() })
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in a newcomer, always; older strangers make room for it.
    pub(super) fn admit(table: &Arc<Self>, address: IpAddr, now: Instant) -> Peer {
        let mut open = table.open();
        let is_near = |connection: &Connection, now: &Now| now.account.is_none() && connection.address == address;
        if open.count(is_near) >= table.bounds.strangers_per_address_max {
            let reason = "its address has opened newer ones";
            let _ = open.cut_oldest(reason, |connection, now| is_near(connection, now) && now.is_idle())
                || open.cut_oldest(reason, is_near);
        }
        if open.count(|_, now| now.account.is_none()) >= table.bounds.strangers_max {
            open.cut_a_stranger();
        }
        let number = open.next;
        open.next += 1;
        let now = Now { account: None, requests: 0, idle_since: now, blocked_since: None, cut_because: "" };
        let state = Arc::new(State { now: Mutex::new(now), cut: Notify::new() });
        open.connections.insert(number, Connection { address, state: Arc::clone(&state) });
        Peer { number, address, state, table: Arc::downgrade(table) }
    }

    /// When no connection could be accepted.
    pub(super) fn make_room(&self) {
        self.open().cut_a_stranger();
    }

    /// Cuts those whose time is up.
    pub(super) fn sweep(&self, now: Instant) {
        let mut open = self.open();
        let overdue = open.connections.iter().filter_map(|(number, connection)| {
            let reason = connection.state.now().overdue(now)?;
            Some((*number, reason))
        });
        for (number, reason) in overdue.collect::<Vec<_>>() {
            open.cut(number, reason);
        }
    }

    /// A connection turns out to be an account's.
    fn recognize(&self, number: u64, account: u64) -> Result<(), Crowded> {
        let mut open = self.open();
        let Some(state) = open.connections.get(&number).map(|connection| Arc::clone(&connection.state)) else {
            // It was cut a moment ago.
            return Ok(());
        };
        if state.now().account == Some(account) {
            return Ok(());
        }
        let is_own = |_: &Connection, now: &Now| now.account == Some(account);
        let is_known = |_: &Connection, now: &Now| now.account.is_some();
        let connections_max = self.bounds.connections_per_account_max;
        let reason = "it was idle, and there are newer ones";
        if open.count(is_own) >= connections_max
            && !open.cut_oldest(reason, |connection, now| is_own(connection, now) && now.is_idle())
        {
            return Err(Crowded { connections_max });
        }
        if open.count(is_known) >= self.bounds.known_max
            && !open.cut_oldest(reason, |connection, now| is_known(connection, now) && now.is_idle())
        {
            return Err(Crowded { connections_max });
        }
        state.now().account = Some(account);
        Ok(())
    }
}

impl Open {
    fn cut_a_stranger(&mut self) {
        let reason = "there are newer ones";
        let _ = self.cut_oldest(reason, |_, now| now.account.is_none() && now.is_idle())
            || self.cut_oldest(reason, |_, now| now.account.is_none());
    }
}

/// One connection, as those know it who serve it.
pub struct Peer {
    number: u64,
    address: IpAddr,
    state: Arc<State>,
    table: Weak<Table>,
}

impl Peer {
    /// A request over it was signed with a key of this account.
    ///
    /// # Errors
    /// The account has too many connections, and none of them is idle: this one stays a stranger.
    pub fn recognize(&self, account: u64) -> Result<(), Crowded> {
        self.table.upgrade().map_or(Ok(()), |table| table.recognize(self.number, account))
    }

    /// From where it came.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    pub(super) fn is_stranger(&self) -> bool {
        self.state.now().account.is_none()
    }

    /// A request begins, which ends when the guard is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> InProgress {
        self.state.now().requests += 1;
        InProgress(Arc::clone(self))
    }

    /// Something was written, or could not be because the other end takes nothing.
    pub(super) fn wrote(&self, something: bool) {
        let mut now = self.state.now();
        match something {
            true => now.blocked_since = None,
            false => _ = now.blocked_since.get_or_insert_with(clock::monotonic),
        }
    }

    /// Waits until it has to go; says why.
    pub(super) async fn cut(&self) -> &'static str {
        self.state.cut.notified().await;
        self.state.now().cut_because
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.open().connections.remove(&self.number);
        }
    }
}

pub(super) struct InProgress(Arc<Peer>);

impl Drop for InProgress {
    fn drop(&mut self) {
        let mut now = self.0.state.now();
        now.requests -= 1;
        now.idle_since = clock::monotonic();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds {
        strangers_max: 4,
        strangers_per_address_max: 2,
        known_max: 3,
        connections_per_account_max: 2,
        requests_per_account_max: 1,
        streams_per_account_max: 1,
        answers_bytes_per_account_max: 0,
        made_at_once_per_account_max: 1,
    };

    /// A table, and connections from addresses 10.0.0.N.
    fn connected(addresses: &[u8]) -> (Arc<Table>, Vec<Arc<Peer>>) {
        let table = Table::new(BOUNDS);
        let peers = addresses.iter().map(|address| from(&table, *address)).collect();
        (table, peers)
    }

    fn from(table: &Arc<Table>, address: u8) -> Arc<Peer> {
        Arc::new(Table::admit(table, IpAddr::from([10, 0, 0, address]), clock::monotonic()))
    }

    #[track_caller]
    fn check(table: &Table, expected: &[u64]) {
        assert_eq!(table.open().connections.keys().copied().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn strangers_push_out_the_oldest_of_their_address_and_then_of_all() {
        let (table, peers) = connected(&[1, 1, 2]);
        let _newer = from(&table, 1);
        check(&table, &[1, 2, 3]);
        // One that sends a request goes after those that are silent.
        let busy = peers[1].begin();
        let _newest = from(&table, 1);
        check(&table, &[1, 2, 4]);
        let others: Vec<_> = [3, 4].map(|address| from(&table, address)).into();
        check(&table, &[1, 4, 5, 6]);
        drop((busy, others));
        check(&table, &[1, 4]);
        drop(peers);
        check(&table, &[4]);
    }

    #[test]
    fn whoever_has_a_key_is_not_pushed_out_by_strangers() {
        let (table, peers) = connected(&[1, 1, 1]);
        for number in [1, 2] {
            peers[number].recognize(7).unwrap();
        }
        let _flood: Vec<_> = (0..50).map(|number| from(&table, number % 3)).collect();
        let known: Vec<u64> = table.open().connections.keys().copied().take(2).collect();
        assert_eq!(known, [1, 2]);
        assert_eq!(table.open().connections.len(), 2 + BOUNDS.strangers_max);
    }

    #[test]
    fn an_accounts_idle_connections_make_room_for_its_new_ones() {
        let (table, peers) = connected(&[1, 2, 3, 4]);
        peers[0].recognize(7).unwrap();
        peers[1].recognize(7).unwrap();
        peers[2].recognize(7).unwrap();
        check(&table, &[1, 2, 3]);
        let busy = [peers[1].begin(), peers[2].begin()];
        assert_eq!(peers[3].recognize(7), Err(Crowded { connections_max: 2 }));
        assert!(peers[3].is_stranger());
        // Another account has a share of its own.
        peers[3].recognize(8).unwrap();
        drop(busy);
        let last = from(&table, 5);
        last.recognize(8).unwrap();
        check(&table, &[2, 3, 4]);
    }

    #[test]
    fn time_is_up_for_who_says_nothing_and_for_who_takes_nothing() {
        let (table, peers) = connected(&[1, 2, 3, 4]);
        let now = clock::monotonic();
        peers[1].recognize(7).unwrap();
        let _busy = peers[2].begin();
        let _read = peers[3].begin();
        peers[3].wrote(false);
        let after = |seconds| table.sweep(now + Duration::from_secs(seconds));
        after(4);
        check(&table, &[0, 1, 2, 3]);
        after(8);
        check(&table, &[1, 2, 3]);
        after(25);
        check(&table, &[1, 2]);
        after(70);
        check(&table, &[2]);
    }

    #[test]
    fn a_client_that_takes_a_byte_now_and_then_is_slow_and_stays() {
        let (table, peers) = connected(&[1]);
        let _answer = peers[0].begin();
        peers[0].wrote(false);
        peers[0].wrote(true);
        table.sweep(clock::monotonic() + Duration::from_secs(100));
        check(&table, &[0]);
    }
}
