//! The actor of one account: the only writer of its aggregate, which has the names of its pipelines and what else is the
//! account's own.
//!
//! Owns what an account's record says, and its history. Must not know what a part means, nor what is in a pipeline.
//!
//! Readers take the snapshot that is there and wait for nobody: it is replaced once a change is durable. A record's header is
//! as that of a pipeline's (`entry`), its events are [`AccountEvent`]s; records of the first versions have neither.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use pipewright_base::{Cause, Digest, hex};
use pipewright_pipeline::machine::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{OnceCell, mpsc, oneshot};

use super::DriverError;
use super::entry::{self, HeadedRecord};
use super::rows::RowChange;
use super::writer::{Writer, WriterContext};
use pipewright_base::clock::Clock;
use pipewright_store::{Aggregate, PartKey, Record};

/// The parts that name pipelines, each with the pipeline's uid.
pub(super) const PIPELINE: &str = "pipeline/";
/// Changes that wait for one account's actor; more senders wait.
const INBOX_CHANGES_MAX: usize = 256;

pub(super) type Parts = BTreeMap<String, Bytes>;

/// The parts whose keys start with a prefix, by what follows it.
pub(super) fn of_prefix<'a>(parts: &'a Parts, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a Bytes)> {
    parts.range(prefix.to_owned()..).map_while(move |(key, value)| Some((key.strip_prefix(prefix)?, value)))
}

/// The accounts that were asked for. Their parts stay in memory, so that finding a pipeline needs no read of the store.
#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<u64, Arc<OnceCell<Account>>>>);

/// One account as readers see it.
pub(super) struct Account {
    parts: Arc<RwLock<Arc<Parts>>>,
    changes: mpsc::Sender<Message>,
}

/// What is to change. Each is judged by the actor, which alone knows what is there.
pub(super) enum Change {
    /// Gives a name to another uid, or to none, if it still has the one it is thought to have.
    Name { name: String, from: Option<[u8; 16]>, to: Option<[u8; 16]> },
    /// Keeps a part where there is none yet.
    Keep { key: String, value: Bytes },
    /// Puts parts in the place of what was there, or takes them away.
    Put(Vec<(String, Option<Bytes>)>),
    /// Takes the parts of a prefix away that are not needed, and were last kept before a time, in milliseconds since 1970.
    Forget { prefix: String, needed: HashSet<String>, before: u64 },
    /// Puts rows that a first version did not write.
    Index { rows: Vec<RowChange> },
}

struct Message {
    change: Change,
    cause: Cause,
    reply: oneshot::Sender<Result<Option<Bytes>, DriverError>>,
}

/// What happened to an account: names and digests, never what a part says, for it may be secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AccountEvent {
    PipelineNamed { name: String, uid: String },
    PipelineReleased { name: String, uid: String },
    PartPut { part: String, sha256: String },
    PartRemoved { part: String },
}

/// What one commit of an account told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountEntry {
    pub sequence: u64,
    pub at: Timestamp,
    pub cause: Cause,
    pub events: Vec<AccountEvent>,
}

impl AccountEntry {
    /// `None` for a record of the first versions, which told nothing.
    pub(super) fn read(record: &Record) -> Result<Option<Self>, DriverError> {
        let told = entry::told(record)?;
        Ok(told.map(|HeadedRecord { at, cause, events, .. }| Self { sequence: record.sequence, at, cause, events }))
    }
}

impl Accounts {
    fn cell(&self, account: u64) -> Arc<OnceCell<Account>> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(accounts.entry(account).or_default())
    }

    /// What is there now.
    pub(super) async fn parts(&self, pen: &WriterContext, account: u64) -> Result<Arc<Parts>, DriverError> {
        let cell = self.cell(account);
        let loaded = cell.get_or_try_init(|| Account::load(pen, account)).await?;
        Ok(Arc::clone(&loaded.parts.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// What the account calls a pipeline, as far as the account is in memory.
    pub(super) fn name_of(&self, pipeline: Aggregate) -> Option<String> {
        let cell = self.cell(pipeline.account);
        let parts = cell.get()?.parts.read().unwrap_or_else(PoisonError::into_inner);
        let mut names = of_prefix(&parts, PIPELINE).filter(|(_, uid)| uid[..] == pipeline.uid);
        names.next().map(|(name, _)| name.to_owned())
    }

    /// Makes a change, durable before this returns, and gives what a name or a part that is kept is afterwards.
    pub(super) async fn change(
        &self,
        pen: &WriterContext,
        account: u64,
        change: Change,
        cause: Cause,
    ) -> Result<Option<Bytes>, DriverError> {
        let (reply, answer) = oneshot::channel();
        let mut message = Message { change, cause, reply };
        loop {
            let cell = self.cell(account);
            let loaded = cell.get_or_try_init(|| Account::load(pen, account)).await?;
            match loaded.changes.send(message).await {
                Ok(()) => break,
                // Its actor ended by an error: what is durable is known again only after it was read again.
                Err(mpsc::error::SendError(back)) => message = back,
            }
            let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if accounts.get(&account).is_some_and(|current| Arc::ptr_eq(current, &cell)) {
                accounts.remove(&account);
            }
        }
        let ended = || Err(DriverError::Damaged(format!("the actor of account {account:012} ended unexpectedly")));
        answer.await.unwrap_or_else(|_| ended())
    }
}

impl Account {
    async fn load(pen: &WriterContext, account: u64) -> Result<Self, DriverError> {
        let (writer, loaded) = Writer::load(pen.clone(), Aggregate::of_account(account)).await?;
        let text = |(key, value)| match key {
            PartKey::Live(key) => String::from_utf8(key.into()).ok().map(|key| (key, value)),
            PartKey::Archived(_) => None,
        };
        let parts: Parts = loaded.parts.into_iter().filter_map(text).collect();
        let parts = Arc::new(RwLock::new(Arc::new(parts)));
        let (changes, inbox) = mpsc::channel(INBOX_CHANGES_MAX);
        let actor = Actor {
            account,
            writer,
            clock: Arc::clone(&pen.clock),
            parts: Arc::clone(&parts),
            kept: HashMap::new(),
            began: pen.clock.now_ms(),
        };
        tokio::spawn(actor.run(inbox));
        Ok(Self { parts, changes })
    }
}

/// What a change comes to, before it is durable.
#[derive(Default)]
struct Decided {
    puts: Vec<(String, Option<Bytes>)>,
    events: Vec<AccountEvent>,
    rows: Vec<RowChange>,
    /// What a name or a part that is kept is afterwards.
    answer: Option<Bytes>,
}

struct Actor {
    account: u64,
    writer: Writer,
    clock: Arc<dyn Clock>,
    parts: Arc<RwLock<Arc<Parts>>>,
    /// When a part was last kept, of those that were since this began: whoever keeps a part is about to refer to it.
    kept: HashMap<String, u64>,
    began: u64,
}

impl Actor {
    /// Until nobody can send a change any more, or what is durable is not known.
    async fn run(mut self, mut inbox: mpsc::Receiver<Message>) {
        while let Some(Message { change, cause, reply }) = self.next(&mut inbox).await {
            let decided = self.decide(change);
            let answer = decided.answer.clone();
            let done = self.commit(decided, cause).await;
            let goes_on = matches!(done, Ok(()) | Err(DriverError::TooLarge(_) | DriverError::Full(_)));
            if let Err(error) = &done {
                tracing::error!(account = self.account, "a change was not kept: {error}");
            }
            if !goes_on {
                // Before the answer: whoever asks again finds the account as the store has it.
                inbox.close();
            }
            // Who asked may have gone.
            let _ = reply.send(done.map(|()| answer));
            if !goes_on {
                return;
            }
        }
        self.writer.release().await;
    }

    /// The next change; meanwhile the account stays this host's to write. One that was lost is found out by the next commit.
    async fn next(&mut self, inbox: &mut mpsc::Receiver<Message>) -> Option<Message> {
        loop {
            tokio::select! {
                message = inbox.recv() => return message,
                () = self.clock.sleep_until(self.writer.renew_at()) => {
                    if let Err(error) = self.writer.renew().await {
                        tracing::warn!(account = self.account, "{error}");
                    }
                }
            }
        }
    }

    fn snapshot(&self) -> Arc<Parts> {
        Arc::clone(&self.parts.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn decide(&mut self, change: Change) -> Decided {
        let parts = self.snapshot();
        match change {
            Change::Name { name, from, to } => name_pipeline(&parts, &name, from, to),
            Change::Keep { key, value } => {
                self.kept.insert(key.clone(), self.clock.now_ms());
                match parts.get(&key) {
                    Some(there) => Decided { answer: Some(there.clone()), ..Decided::default() },
                    None => Decided { answer: Some(value.clone()), ..Decided::put(vec![(key, Some(value))]) },
                }
            }
            Change::Put(mut puts) => {
                puts.retain(|(key, value)| parts.get(key) != value.as_ref());
                Decided::put(puts)
            }
            Change::Forget { prefix, needed, before } => {
                let kept = |key: &String| self.kept.get(key).copied().unwrap_or(self.began);
                let unneeded = of_prefix(&parts, &prefix).filter(|(name, _)| !needed.contains(*name));
                let keys = unneeded.map(|(name, _)| format!("{prefix}{name}")).filter(|key| kept(key) < before);
                let forgotten: Vec<_> = keys.map(|key| (key, None)).collect();
                self.kept.retain(|key, at| !key.starts_with(&prefix) || *at >= before);
                Decided::put(forgotten)
            }
            Change::Index { rows } => Decided { rows, ..Decided::default() },
        }
    }

    async fn commit(&mut self, decided: Decided, cause: Cause) -> Result<(), DriverError> {
        let Decided { puts, events, rows, answer: _ } = decided;
        if puts.is_empty() && rows.is_empty() {
            return Ok(());
        }
        let told = entry::write(&cause, Timestamp(self.clock.now_ms()), &events, &[])?;
        let live = |(key, value): &(String, Option<Bytes>)| (PartKey::Live(Bytes::from(key.clone())), value.clone());
        self.writer.commit(puts.iter().map(live).collect(), told, rows).await?;
        let mut parts = self.parts.write().unwrap_or_else(PoisonError::into_inner);
        // In place, unless somebody reads what was there.
        let parts = Arc::make_mut(&mut parts);
        for (key, value) in puts {
            match value {
                Some(value) => drop(parts.insert(key, value)),
                None => drop(parts.remove(&key)),
            }
        }
        Ok(())
    }
}

fn name_pipeline(parts: &Parts, name: &str, from: Option<[u8; 16]>, to: Option<[u8; 16]>) -> Decided {
    let key = format!("{PIPELINE}{name}");
    let there = parts.get(&key);
    let from = from.map(|uid| Bytes::copy_from_slice(&uid));
    if there != from.as_ref() {
        return Decided { answer: there.cloned(), ..Decided::default() };
    }
    let uid = |uid: &[u8]| hex::encode(uid);
    let released = from.iter().map(|from| AccountEvent::PipelineReleased { name: name.to_owned(), uid: uid(from) });
    let named = to.iter().map(|to| AccountEvent::PipelineNamed { name: name.to_owned(), uid: uid(to) });
    let events = released.chain(named).collect();
    let to = to.map(|uid| Bytes::copy_from_slice(&uid));
    Decided { puts: vec![(key, to.clone())], events, answer: to, ..Decided::default() }
}

impl Decided {
    fn put(puts: Vec<(String, Option<Bytes>)>) -> Self {
        let event = |(key, value): &(String, Option<Bytes>)| match value {
            Some(value) => AccountEvent::PartPut { part: key.clone(), sha256: Digest::of(value).to_string() },
            None => AccountEvent::PartRemoved { part: key.clone() },
        };
        Self { events: puts.iter().map(event).collect(), puts, ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::tests::cause;
    use super::*;
    use pipewright_base::clock::Simulated;
    use pipewright_store::{Commit, MemoryStore, Store};

    const NOW: u64 = 1_700_000_000_000;

    struct World {
        store: Arc<dyn Store>,
        clock: Simulated,
        accounts: Accounts,
    }

    impl World {
        fn new() -> Self {
            let clock = Simulated::new(NOW);
            let store = Arc::new(MemoryStore::on(Arc::new(clock.clone())));
            Self { store, clock, accounts: Accounts::default() }
        }

        fn pen(&self) -> WriterContext {
            WriterContext { store: Arc::clone(&self.store), clock: Arc::new(self.clock.clone()) }
        }

        async fn change(&self, change: Change) -> Result<Option<Bytes>, DriverError> {
            self.accounts.change(&self.pen(), 7, change, cause()).await
        }

        /// The names of the parts, as readers see them and as a host that starts now would.
        async fn parts(&self) -> Vec<String> {
            let names = |parts: &Parts| parts.keys().cloned().collect::<Vec<_>>();
            let read = names(&self.accounts.parts(&self.pen(), 7).await.unwrap());
            let loaded = self.store.load(Aggregate::of_account(7)).await.unwrap();
            let stored = loaded.parts.iter().map(|(key, _)| match key {
                PartKey::Live(key) => String::from_utf8(key.to_vec()).unwrap(),
                PartKey::Archived(_) => panic!("an account archives nothing"),
            });
            assert_eq!(read, stored.collect::<Vec<_>>());
            read
        }

        async fn entries(&self) -> Vec<AccountEntry> {
            let records = self.store.history(Aggregate::of_account(7), 0, 100).await.unwrap();
            records.iter().filter_map(|record| AccountEntry::read(record).unwrap()).collect()
        }
    }

    fn bytes(text: &str) -> Bytes {
        Bytes::copy_from_slice(text.as_bytes())
    }

    fn put(key: &str, value: Option<&str>) -> Change {
        Change::Put(vec![(key.to_owned(), value.map(bytes))])
    }

    fn keep(key: &str, value: &str) -> Change {
        Change::Keep { key: key.to_owned(), value: bytes(value) }
    }

    fn name(name: &str, from: Option<u8>, to: Option<u8>) -> Change {
        Change::Name { name: name.to_owned(), from: from.map(|uid| [uid; 16]), to: to.map(|uid| [uid; 16]) }
    }

    #[tokio::test]
    async fn a_change_is_made_if_it_still_fits_and_is_told() {
        let world = World::new();
        let (one, two) = (hex::encode([1; 16]), hex::encode([2; 16]));
        let named = |uid: &str| AccountEvent::PipelineNamed { name: "p".to_owned(), uid: uid.to_owned() };
        let released = |uid: &str| AccountEvent::PipelineReleased { name: "p".to_owned(), uid: uid.to_owned() };
        let kept = |value: &str| {
            let sha256 = Digest::of(value.as_bytes()).to_string();
            AccountEvent::PartPut { part: "key/administrator".to_owned(), sha256 }
        };
        let removed = AccountEvent::PartRemoved { part: "key/administrator".to_owned() };
        // The change, its answer, and what it tells: nothing where it changes nothing.
        let cases = [
            (name("p", None, Some(1)), Some(&[1_u8; 16][..]), vec![named(&one)]),
            (name("p", None, Some(2)), Some(&[1; 16]), vec![]),
            (name("p", Some(2), None), Some(&[1; 16]), vec![]),
            (name("p", Some(1), Some(2)), Some(&[2; 16]), vec![released(&one), named(&two)]),
            (name("p", Some(2), None), None, vec![released(&two)]),
            (keep("key/administrator", "very secret"), Some(b"very secret"), vec![kept("very secret")]),
            (keep("key/administrator", "another"), Some(b"very secret"), vec![]),
            (put("key/administrator", Some("another")), None, vec![kept("another")]),
            (put("key/administrator", Some("another")), None, vec![]),
            (put("key/administrator", None), None, vec![removed]),
        ];
        for (number, (change, after, told)) in cases.into_iter().enumerate() {
            let before = world.entries().await.len();
            world.clock.advance(Duration::from_millis(1)).await;
            let changed = world.change(change).await.unwrap();
            assert_eq!(changed.as_deref(), after, "case {number}");
            let entries = world.entries().await.split_off(before);
            let at = Timestamp(NOW + number as u64 + 1);
            let entry = AccountEntry { sequence: before as u64 + 1, at, cause: cause(), events: told };
            assert_eq!(entries, if entry.events.is_empty() { vec![] } else { vec![entry] }, "case {number}");
        }
        assert_eq!(world.parts().await, [""; 0]);
        let records = world.store.history(Aggregate::of_account(7), 0, 100).await.unwrap();
        let said = records.iter().flat_map(|record| &record.events);
        assert!(said.clone().count() > 10 && !said.into_iter().any(|event| event.windows(6).any(|it| it == b"secret")));
    }

    #[tokio::test]
    async fn what_is_kept_anew_is_not_forgotten() {
        let world = World::new();
        for digest in ["one", "two", "three"] {
            world.change(keep(&format!("grants/{digest}"), digest)).await.unwrap();
        }
        world.change(put("offer/x", Some("y"))).await.unwrap();
        world.clock.advance(Duration::from_secs(60)).await;
        let before = world.clock.now_ms();
        world.change(keep("grants/two", "two")).await.unwrap();
        let forget = |before| {
            let needed = HashSet::from(["one".to_owned()]);
            Change::Forget { prefix: "grants/".to_owned(), needed, before }
        };
        world.change(forget(before)).await.unwrap();
        assert_eq!(world.parts().await, ["grants/one", "grants/two", "offer/x"]);
        world.change(forget(before + 1)).await.unwrap();
        assert_eq!(world.parts().await, ["grants/one", "offer/x"]);
    }

    #[tokio::test]
    async fn an_account_whose_record_somebody_else_wrote_is_read_again() {
        let world = World::new();
        world.change(put("a", Some("1"))).await.unwrap();
        let (aggregate, fence) = (Aggregate::of_account(7), None);
        let puts = vec![(PartKey::Live(bytes("b")), Some(bytes("2")))];
        let other = Commit { aggregate, expected: 1, puts, events: Vec::new(), index: Vec::new(), fence };
        world.store.commit(other).await.unwrap();
        let lost = world.change(put("c", Some("3"))).await.unwrap_err().to_string();
        assert!(lost.contains("is at sequence 2, not at 1"), "{lost}");
        world.change(put("c", Some("3"))).await.unwrap();
        assert_eq!(world.parts().await, ["a", "b", "c"]);
        assert_eq!(world.entries().await.len(), 2, "what was written without a word is passed over");
    }

    #[tokio::test]
    async fn who_reads_does_not_wait_for_who_writes() {
        let world = World::new();
        world.change(put("a", Some("1"))).await.unwrap();
        let before = world.accounts.parts(&world.pen(), 7).await.unwrap();
        let pen = world.pen();
        let mut changing = Box::pin(world.accounts.change(&pen, 7, put("a", Some("2")), cause()));
        assert!(futures::poll!(&mut changing).is_pending(), "its actor has not run yet");
        let meanwhile = world.accounts.parts(&pen, 7);
        let meanwhile = futures::FutureExt::now_or_never(meanwhile).expect("nothing to wait for").unwrap();
        assert_eq!(meanwhile["a"], "1");
        changing.await.unwrap();
        assert_eq!((&before["a"][..], &world.accounts.parts(&pen, 7).await.unwrap()["a"][..]), (&b"1"[..], &b"2"[..]));
    }
}
