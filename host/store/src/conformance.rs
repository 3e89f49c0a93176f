//! What every backend promises, checked on each of them.

use super::layout::CHUNK_BYTES;
use super::*;
use pipewright_base::clock::Simulated;
use std::path::Path;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

pub(super) const PIPELINE: Aggregate = Aggregate { account: 111_111_111_111, uid: [7; 16] };
/// The same account, and the same uid in another: neighbours that must never be mixed up with it.
const NEIGHBOURS: [Aggregate; 3] = [
    Aggregate { account: 111_111_111_111, uid: [8; 16] },
    Aggregate { account: 111_111_111_111, uid: [0; 16] },
    Aggregate { account: 111_111_111_112, uid: [7; 16] },
];

pub(super) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

pub(super) fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, SledStore::CACHE_BYTES_DEFAULT).expect("the store opens")
}

/// Runs one check on every backend, with the clock by which its leases expire.
fn on_each_at<F: Future<Output = ()>>(check: impl Fn(Arc<dyn Store>, Simulated) -> F) {
    let clock = Simulated::new(0);
    runtime().block_on(check(Arc::new(MemoryStore::on(Arc::new(clock.clone()))), clock.clone()));
    let dir = TempDir::new().expect("a directory");
    let system = super::sled::System { clock: Arc::new(clock.clone()), ..super::sled::System::of(dir.path()) };
    let store = SledStore::open_on(dir.path(), SledStore::CACHE_BYTES_DEFAULT, system).expect("the store opens");
    runtime().block_on(check(Arc::new(store), clock));
}

/// Runs one check on every backend.
fn on_each<F: Future<Output = ()>>(check: impl Fn(Arc<dyn Store>) -> F) {
    runtime().block_on(check(Arc::new(MemoryStore::default())));
    let dir = TempDir::new().expect("a directory");
    runtime().block_on(check(Arc::new(open(dir.path()))));
}

/// `name=value` puts a live part, `!name=value` an archived one, without a value it is deleted.
fn puts(script: &str) -> Vec<(PartKey, Option<Bytes>)> {
    let put = |word: &str| {
        let (name, value) = word.split_once('=').map_or((word, None), |(name, value)| (name, Some(value)));
        let key = match name.strip_prefix('!') {
            Some(name) => PartKey::Archived(bytes(name)),
            None => PartKey::Live(bytes(name)),
        };
        (key, value.map(bytes))
    };
    script.split_whitespace().map(put).collect()
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

/// Text that does not pack.
pub(super) fn noise(seed: u64, length: usize) -> String {
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut state = seed;
    let mut next = || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        char::from(letters[((mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb) >> 58) as usize])
    };
    (0..length).map(|_| next()).collect()
}

pub(super) fn commit(aggregate: Aggregate, expected: u64, script: &str) -> Commit {
    let events = vec![bytes(&format!("event of {}", expected.wrapping_add(1)))];
    Commit { aggregate, expected, puts: puts(script), events, index: Vec::new(), fence: None }
}

fn row(name: &str, value: Option<&str>) -> (IndexKey, Option<Bytes>) {
    (IndexKey { kind: 3, name: bytes(name) }, value.map(bytes))
}

/// The live parts, as `puts` takes them.
pub(super) async fn shown(store: &dyn Store, aggregate: Aggregate) -> String {
    let Loaded { sequence, parts } = store.load(aggregate).await.expect("it loads");
    let mut shown = format!("{sequence}:");
    for (key, value) in parts {
        let PartKey::Live(name) = key else { panic!("load returns live parts only") };
        shown += &format!(" {}={}", name.escape_ascii(), value.escape_ascii());
    }
    shown
}

#[test]
fn parts_are_what_the_commits_made_them() {
    on_each(async |store| {
        assert_eq!(shown(&*store, PIPELINE).await, "0:");
        let steps = [
            ("head=1 run/a=x", "1: head=1 run/a=x"),
            ("run/b=y head=2", "2: head=2 run/a=x run/b=y"),
            ("run/a !run/a=ended", "3: head=2 run/b=y"),
            ("absent", "4: head=2 run/b=y"),
            ("head=3 head=4", "5: head=4 run/b=y"),
            ("head run/b=", "6: run/b="),
        ];
        for (before, (script, expected)) in (0..).zip(steps) {
            assert_eq!(store.commit(commit(PIPELINE, before, script)).await, Ok(before + 1), "{script}");
            assert_eq!(shown(&*store, PIPELINE).await, expected, "{script}");
            for neighbour in NEIGHBOURS {
                assert_eq!(store.commit(commit(neighbour, before, "head=other run/c=z")).await, Ok(before + 1));
            }
        }
        let archived = store.get(PIPELINE, &PartKey::Archived(bytes("run/a"))).await;
        assert_eq!(archived, Ok(Some(bytes("ended"))));
        assert_eq!(store.get(PIPELINE, &PartKey::Live(bytes("run/a"))).await, Ok(None));
        assert_eq!(store.get(NEIGHBOURS[0], &PartKey::Archived(bytes("run/a"))).await, Ok(None));
        assert_eq!(store.verify().await, Ok(Verified { aggregates: 4, records: 24, parts: 2 + 3 * 2 }));
    });
}

#[test]
fn a_commit_at_another_sequence_changes_nothing() {
    on_each(async |store| {
        store.commit(commit(PIPELINE, 0, "head=1")).await.expect("the first");
        for expected in [0, 2, u64::MAX] {
            let refused = store.commit(commit(PIPELINE, expected, "head=wrong other=1")).await;
            assert_eq!(refused, Err(CommitError::Conflict { aggregate: PIPELINE, expected, actual: 1 }));
        }
        assert_eq!(shown(&*store, PIPELINE).await, "1: head=1");
        assert_eq!(store.history(PIPELINE, 1, 9).await.expect("history").len(), 1);
    });
}

const TERM: Duration = Duration::from_secs(10);
const ONE: Holder = [1; 16];
const OTHER: Holder = [2; 16];

#[test]
fn a_lease_is_held_by_one_until_it_expires() {
    on_each_at(async |store, clock| {
        let held = Err(LeaseError::Held { aggregate: PIPELINE });
        let first = store.acquire(PIPELINE, ONE, TERM).await.expect("nobody has it");
        assert_eq!(store.acquire(PIPELINE, OTHER, TERM).await, held);
        let elsewhere = store.acquire(NEIGHBOURS[0], OTHER, TERM).await.expect("another aggregate");
        clock.advance(TERM - Duration::from_millis(1)).await;
        assert_eq!(store.acquire(PIPELINE, OTHER, TERM).await, held);
        assert_eq!(store.renew(first, TERM).await, Ok(()));
        clock.advance(TERM - Duration::from_millis(1)).await;
        assert_eq!(store.acquire(PIPELINE, OTHER, TERM).await, held, "it was renewed");
        clock.advance(Duration::from_millis(1)).await;
        assert_eq!(store.renew(first, TERM).await, Ok(()), "it has expired, and nobody took it");
        clock.advance(TERM).await;
        let second = store.acquire(PIPELINE, OTHER, TERM).await.expect("it has expired");
        assert!(second.fence > first.fence && elsewhere.aggregate == NEIGHBOURS[0]);
        assert_eq!(store.renew(first, TERM).await, Err(LeaseError::Lost { aggregate: PIPELINE }));
        // What was lost is not given back.
        store.release(first).await.expect("it is asked");
        assert_eq!(store.acquire(PIPELINE, ONE, TERM).await, held);
        store.release(second).await.expect("it is asked");
        let third = store.acquire(PIPELINE, ONE, TERM).await.expect("it was given back");
        // Who has it takes it anew: the part of a host that had it before may not have heard yet.
        let fourth = store.acquire(PIPELINE, ONE, TERM).await.expect("it is one's own");
        assert!(third.fence > second.fence && fourth.fence > third.fence);
        assert_eq!(store.renew(third, TERM).await, Err(LeaseError::Lost { aggregate: PIPELINE }));
    });
}

#[test]
fn a_commit_under_a_lease_that_was_lost_changes_nothing() {
    on_each_at(async |store, clock| {
        let under = |lease: Lease, before, script: &str| Commit {
            fence: Some(lease.fence),
            ..commit(PIPELINE, before, script)
        };
        let fenced = Err(CommitError::Fenced { aggregate: PIPELINE });
        let first = store.acquire(PIPELINE, ONE, TERM).await.expect("nobody has it");
        assert_eq!(store.commit(under(first, 0, "head=1")).await, Ok(1));
        clock.advance(2 * TERM).await;
        assert_eq!(store.commit(under(first, 1, "head=2")).await, Ok(2), "nobody took it");
        let second = store.acquire(PIPELINE, OTHER, TERM).await.expect("it has expired");
        assert_eq!(store.commit(under(first, 2, "head=wrong")).await, fenced);
        assert_eq!(store.commit(under(second, 2, "head=3")).await, Ok(3));
        store.release(second).await.expect("it is asked");
        assert_eq!(store.commit(under(second, 3, "head=wrong")).await, fenced);
        // The fence of another aggregate is none.
        let elsewhere = store.acquire(NEIGHBOURS[0], OTHER, TERM).await.expect("another aggregate");
        assert_eq!(store.commit(under(elsewhere, 3, "head=wrong")).await, fenced);
        assert_eq!(store.commit(commit(PIPELINE, 3, "head=4")).await, Ok(4), "without one");
        assert_eq!(shown(&*store, PIPELINE).await, "4: head=4");
    });
}

#[test]
fn of_many_at_one_sequence_one_wins() {
    on_each(async |store| {
        let rivals: Vec<_> = (0..50)
            .map(|rival| {
                let store = Arc::clone(&store);
                tokio::spawn(async move { store.commit(commit(PIPELINE, 0, &format!("head={rival}"))).await.is_ok() })
            })
            .collect();
        let mut won = Vec::new();
        for (rival, task) in rivals.into_iter().enumerate() {
            won.extend(task.await.expect("it ends").then_some(rival));
        }
        assert_eq!(won.len(), 1);
        assert_eq!(shown(&*store, PIPELINE).await, format!("1: head={}", won[0]));
    });
}

#[test]
fn commits_of_many_aggregates_at_once_all_happen() {
    on_each(async |store| {
        let writers: Vec<_> = (0..100_u8)
            .map(|writer| {
                let store = Arc::clone(&store);
                let aggregate = Aggregate { uid: [writer; 16], ..PIPELINE };
                tokio::spawn(async move {
                    for before in 0..20 {
                        store.commit(commit(aggregate, before, &format!("head={before}"))).await.expect("it commits");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("it ends");
        }
        assert_eq!(store.verify().await, Ok(Verified { aggregates: 100, records: 2000, parts: 100 }));
    });
}

#[test]
fn history_is_a_chain_read_in_pages() {
    on_each(async |store| {
        for before in 0..10 {
            store.commit(commit(PIPELINE, before, "head=1")).await.expect("it commits");
        }
        for (from, limit, expected) in [(0, 3, 1..=3), (4, 2, 4..=5), (9, 100, 9..=10)] {
            let page = store.history(PIPELINE, from, limit).await.expect("history");
            assert_eq!(page.iter().map(|record| record.sequence).collect::<Vec<_>>(), expected.collect::<Vec<_>>());
            assert!(page.windows(2).all(|pair| pair[1].previous == pair[0].digest));
            assert_eq!(page[0].events, [bytes(&format!("event of {}", page[0].sequence))]);
        }
        assert_eq!(store.history(PIPELINE, 11, 100).await, Ok(Vec::new()));
        assert_eq!(store.history(NEIGHBOURS[0], 0, 100).await, Ok(Vec::new()));
    });
}

#[test]
fn a_page_of_history_is_bounded_in_bytes() {
    on_each(async |store| {
        let event = Bytes::from(vec![1; VALUE_BYTES_MAX]);
        for expected in 0..4 {
            let events = vec![event.clone(); 3];
            let commit = Commit { puts: Vec::new(), events, ..commit(PIPELINE, expected, "") };
            store.commit(commit).await.expect("it commits");
        }
        let page = store.history(PIPELINE, 1, 100).await.expect("history");
        assert_eq!(page.len(), 3, "the third record of 3 MiB passes 8 MiB");
        assert!(page.iter().all(|record| record.events == vec![event.clone(); 3]));
    });
}

#[test]
fn values_of_every_size_come_back_whole() {
    on_each(async |store| {
        let edge = CHUNK_BYTES - 18;
        let sizes = [0, 1, edge - 1, edge, edge + 1, 65_536, 3, edge + CHUNK_BYTES, VALUE_BYTES_MAX, edge + 1, 0];
        let name = bytes("big");
        let mut before = 0;
        let values = (0..).zip(sizes).map(|(seed, size)| bytes(&noise(seed, size)));
        for value in values.chain(sizes.map(|size| Bytes::from(vec![b'a'; size]))) {
            let size = value.len();
            let puts = vec![(PartKey::Live(name.clone()), Some(value.clone()))];
            let commit = Commit { puts, events: vec![value.clone()], ..commit(PIPELINE, before, "") };
            before = store.commit(commit).await.expect("it commits");
            assert_eq!(store.get(PIPELINE, &PartKey::Live(name.clone())).await, Ok(Some(value.clone())), "{size}");
            assert_eq!(store.load(PIPELINE).await.expect("it loads").parts[0].1, value, "{size}");
            assert_eq!(store.history(PIPELINE, before, 1).await.expect("history")[0].events, [value], "{size}");
        }
        store.commit(commit(PIPELINE, before, "big")).await.expect("it commits");
        assert_eq!(store.load(PIPELINE).await.expect("it loads").parts, []);
    });
}

#[test]
fn a_part_that_shrinks_or_goes_leaves_no_chunks() {
    let store = MemoryStore::default();
    let rows_after = |before, value: Option<String>| {
        let puts = vec![(PartKey::Live(bytes("big")), value.map(Bytes::from))];
        let commit = Commit { puts, events: vec![], ..commit(PIPELINE, before, "") };
        runtime().block_on(store.commit(commit)).expect("it commits");
        // Apart from the records and the head.
        store.rows().len() - before as usize - 2
    };
    assert_eq!(rows_after(0, Some(noise(0, 10 * CHUNK_BYTES))), 11);
    assert_eq!(rows_after(1, Some(noise(1, 2 * CHUNK_BYTES))), 3);
    assert_eq!(rows_after(2, Some("a".repeat(10 * CHUNK_BYTES))), 1, "it is packed");
    assert_eq!(rows_after(3, None), 0);
}

#[test]
fn limits_are_kept_and_named() {
    let one = |name: usize, value: usize| Commit {
        puts: vec![(PartKey::Live(vec![1; name].into()), Some(vec![1; value].into()))],
        ..commit(PIPELINE, 0, "")
    };
    let index = |name: usize, value: usize| Commit {
        index: vec![(IndexKey { kind: 0, name: vec![1; name].into() }, Some(vec![1; value].into()))],
        ..commit(PIPELINE, 0, "")
    };
    let events =
        |count: usize, size: usize| Commit { events: vec![vec![1; size].into(); count], ..commit(PIPELINE, 0, "") };
    let cases = [
        (
            one(PART_NAME_BYTES_MAX + 1, 0),
            "a part's name of 111111111111/07070707070707070707070707070707 is 129, over the limit of 128",
        ),
        (one(1, VALUE_BYTES_MAX + 1), "a part's value of"),
        (index(INDEX_NAME_BYTES_MAX + 1, 0), "an index row's name of"),
        (index(1, INDEX_VALUE_BYTES_MAX + 1), "an index row's value of"),
        (events(1, VALUE_BYTES_MAX + 1), "an event of"),
        (events(33, VALUE_BYTES_MAX), "a commit of"),
        (events(COMMIT_ENTRIES_MAX + 1, 1), "the number of entries in a commit of"),
    ];
    let allowed = [
        one(PART_NAME_BYTES_MAX, VALUE_BYTES_MAX),
        index(INDEX_NAME_BYTES_MAX, INDEX_VALUE_BYTES_MAX),
        events(32, VALUE_BYTES_MAX),
        events(COMMIT_ENTRIES_MAX, 1),
    ];
    on_each(async |store| {
        for (commit, expected) in cases.clone() {
            let message = store.commit(commit).await.expect_err(expected).to_string();
            assert!(message.starts_with(expected), "{message}");
        }
        for (expected, commit) in (0..).zip(allowed.clone()) {
            assert_eq!(store.commit(Commit { expected, ..commit }).await, Ok(expected + 1));
        }
        store.verify().await.expect("it is whole");
    });
}

#[test]
fn lists_are_ordered_bounded_and_of_one_account() {
    on_each(async |store| {
        let index = ["site/2", "site/1", "app", "site/3", "zoo"].map(|name| row(name, Some(name))).to_vec();
        store.commit(Commit { index, ..commit(PIPELINE, 0, "") }).await.expect("it commits");
        for neighbour in NEIGHBOURS {
            let kind = IndexKey { kind: 4, name: bytes("another kind") };
            let mut index = vec![(kind, Some(bytes("1")))];
            if neighbour.account != PIPELINE.account {
                index.push(row("site/of another account", Some("1")));
            }
            store.commit(Commit { index, ..commit(neighbour, 0, "") }).await.expect("it commits");
        }
        let index = vec![row("site/2", None), row("zoo", Some("later"))];
        store.commit(Commit { index, ..commit(PIPELINE, 1, "") }).await.expect("it commits");
        let cases = [
            ("", None, 10, "app=app site/1=site/1 site/3=site/3 zoo=later"),
            ("", None, 2, "app=app site/1=site/1"),
            ("", Some("site/1"), 10, "site/3=site/3 zoo=later"),
            ("", Some("site/2"), 1, "site/3=site/3"),
            ("site/", None, 10, "site/1=site/1 site/3=site/3"),
            ("site/", Some("app"), 10, "site/1=site/1 site/3=site/3"),
            ("site/", Some("site/1"), 10, "site/3=site/3"),
            ("site/", Some("zoo"), 10, ""),
            ("none", None, 10, ""),
        ];
        for (prefix, after, limit, expected) in cases {
            let list =
                List { account: PIPELINE.account, kind: 3, prefix: bytes(prefix), after: after.map(bytes), limit };
            let rows = store.list(list).await.expect("it lists");
            let rows: Vec<_> =
                rows.iter().map(|(name, value)| format!("{}={}", name.escape_ascii(), value.escape_ascii())).collect();
            assert_eq!(rows.join(" "), expected, "{prefix} {after:?} {limit}");
        }
    });
}

#[test]
fn watchers_miss_nothing_and_coalesce() {
    on_each(async |store| {
        store.commit(commit(PIPELINE, 0, "")).await.expect("before anybody watches");
        let mut one = store.watch(Some(PIPELINE));
        let mut all = store.watch(None);
        let mut of_account = store.watch(Some(Aggregate::of_account(PIPELINE.account)));
        let mut waiting = store.watch(Some(PIPELINE));
        let waiting = tokio::spawn(async move { waiting.changed().await });
        for before in 1..5 {
            store.commit(commit(PIPELINE, before, "")).await.expect("it commits");
        }
        store.commit(commit(NEIGHBOURS[0], 0, "")).await.expect("it commits");
        assert!(matches!(waiting.await.expect("it ends"), Some((PIPELINE, 2..=5))));
        assert_eq!(one.changed().await, Some((PIPELINE, 5)));
        assert_eq!(all.changed().await, Some((PIPELINE, 5)));
        assert_eq!(all.changed().await, Some((NEIGHBOURS[0], 1)));
        assert_eq!(of_account.changed().await, Some((PIPELINE, 5)));
        store.commit(commit(PIPELINE, 5, "")).await.expect("it commits");
        drop(store);
        assert_eq!(one.changed().await, Some((PIPELINE, 6)), "what was told before the end is still heard");
        assert_eq!(one.changed().await, None);
    });
}

/// Everything that an aggregate keeps: live and archived parts, the sequences of its records, what was taken out.
async fn kept(store: &dyn Store, aggregate: Aggregate) -> String {
    let Snapshot { live, archived, taken, .. } = store.snapshot(aggregate, 0).await.expect("a snapshot");
    assert!(archived.iter().all(|(key, _)| matches!(key, PartKey::Archived(_))));
    let all = store.archived(aggregate, None, 1000).await.expect("the archived parts");
    let live = live.into_iter().map(|(key, _)| format!("{}", layout::letter_and_name(&key).1.escape_ascii()));
    let archived = all.into_iter().map(|(name, _)| format!("!{}", name.escape_ascii()));
    let records = store.history(aggregate, 0, 1000).await.expect("history");
    let records = records.iter().map(|record| record.sequence.to_string());
    let taken = taken.iter().map(|(at, key)| format!("-{}@{at}", layout::letter_and_name(key).1.escape_ascii()));
    live.chain(archived).chain(records).chain(taken).collect::<Vec<_>>().join(" ")
}

fn trim(before: u64, archived: &[&str]) -> Trim {
    let parts = archived.iter().map(|name| PartKey::Archived(bytes(name))).collect();
    Trim { aggregate: PIPELINE, expected: None, before, parts, index: Vec::new() }
}

#[test]
fn what_is_trimmed_is_gone_and_the_rest_verifies() {
    on_each(async |store| {
        let scripts =
            ["head=1 run/a=x", "run/a !a=ended", "run/b=y", "head=2 !b=ended run/b", "!c=ended", "!b=again", "head=3"];
        for (before, script) in (0..).zip(scripts) {
            store.commit(commit(PIPELINE, before, script)).await.expect("it commits");
            store.commit(commit(NEIGHBOURS[0], before, script)).await.expect("it commits");
        }
        let steps = [
            (trim(0, &[]), "head !a !b !c 1 2 3 4 5 6 7"),
            (trim(1, &["absent"]), "head !a !b !c 1 2 3 4 5 6 7"),
            (trim(3, &[]), "head !a !b !c 3 4 5 6 7"),
            // The record of this part's last change is gone, and that of the next ones is kept.
            (trim(3, &["a"]), "head !b !c 3 4 5 6 7 -a@7"),
            (trim(3, &["b", "c"]), "head 3 4 5 6 7 -a@7 -b@7 -c@7"),
            (trim(2, &[]), "head 3 4 5 6 7 -a@7 -b@7 -c@7"),
            (trim(u64::MAX, &[]), "head 7 -a@7 -b@7 -c@7"),
        ];
        for (trim, expected) in steps {
            let before = trim.before;
            store.trim(trim).await.expect("it trims");
            assert_eq!(kept(&*store, PIPELINE).await, expected, "before {before}");
            let verified = store.verify().await.expect("it verifies");
            assert_eq!((verified.aggregates, verified.parts >= 4), (2, true));
        }
        assert_eq!(shown(&*store, PIPELINE).await, "7: head=3");
        assert_eq!(kept(&*store, NEIGHBOURS[0]).await, "head !a !b !c 1 2 3 4 5 6 7");
        store.commit(commit(PIPELINE, 7, "!b=put again")).await.expect("it goes on");
        assert_eq!(store.trim(trim(8, &[])).await, Ok(1 + 3), "a record, and the notes of what was taken out before");
        assert_eq!(kept(&*store, PIPELINE).await, "head !b 8");
        store.verify().await.expect("it verifies");
    });
}

#[test]
fn a_trim_that_was_decided_too_early_takes_nothing() {
    on_each(async |store| {
        let index = vec![row("token", Some(""))];
        store.commit(Commit { index, ..commit(PIPELINE, 0, "!token=1") }).await.expect("it commits");
        store.commit(commit(PIPELINE, 1, "!token=2")).await.expect("it commits");
        let index = vec![row("token", None).0];
        let late = Trim { expected: Some(1), index, ..trim(2, &["token"]) };
        let refused = store.trim(late.clone()).await;
        assert_eq!(refused, Err(CommitError::Conflict { aggregate: PIPELINE, expected: 1, actual: 2 }));
        assert_eq!(kept(&*store, PIPELINE).await, "!token 1 2");
        assert_eq!(store.trim(Trim { expected: Some(2), ..late }).await, Ok(3));
        assert_eq!(kept(&*store, PIPELINE).await, "2 -token@2");
        let list = List { account: PIPELINE.account, kind: 3, limit: 9, ..List::default() };
        assert_eq!(store.list(list).await, Ok(Vec::new()));
        store.verify().await.expect("it verifies");
    });
}

#[test]
fn what_is_erased_was_never_there() {
    on_each(async |store| {
        for before in 0..300 {
            store
                .commit(commit(PIPELINE, before, &format!("head=1 !{before}={}", noise(before, 9000))))
                .await
                .expect("it");
        }
        store.commit(commit(NEIGHBOURS[0], 0, "head=1")).await.expect("it commits");
        store.commit(commit(NEIGHBOURS[2], 0, "head=1")).await.expect("it commits");
        let [other, _, third] = NEIGHBOURS;
        assert_eq!(store.aggregates(None, 9).await, Ok(vec![PIPELINE, other, third]));
        assert_eq!(store.aggregates(Some(PIPELINE), 1).await, Ok(vec![other]));
        store.erase(PIPELINE).await.expect("it is erased");
        assert_eq!(store.aggregates(None, 9).await, Ok(vec![other, third]));
        assert_eq!(kept(&*store, PIPELINE).await, "");
        assert_eq!(store.verify().await, Ok(Verified { aggregates: 2, records: 2, parts: 2 }));
        assert_eq!(store.commit(commit(PIPELINE, 0, "head=anew")).await, Ok(1));
        assert_eq!(store.erase(NEIGHBOURS[1]).await, Ok(0), "it is not there");
    });
}

#[test]
fn trims_and_commits_and_reads_do_not_disturb_each_other() {
    on_each(async |store| {
        let writer = tokio::spawn({
            let store = Arc::clone(&store);
            async move {
                for before in 0..400 {
                    let script = format!("head={before} !{before}={}", noise(before, 5000));
                    store.commit(commit(PIPELINE, before, &script)).await.expect("it commits");
                }
            }
        });
        let mut done = 0;
        while !writer.is_finished() {
            let page = store.history(PIPELINE, 0, 100).await.expect("a page of history");
            assert!(page.windows(2).all(|pair| pair[1].previous == pair[0].digest));
            let Some(last) = page.last().map(|record| record.sequence) else { continue };
            let parts: Vec<_> = (done..last).map(|at| at.to_string()).collect();
            let names: Vec<_> = parts.iter().map(String::as_str).collect();
            let (read, taken, whole) = tokio::join!(
                store.archived(PIPELINE, None, 50),
                store.trim(trim(last, &names)),
                store.snapshot(PIPELINE, last)
            );
            let (read, whole) = (read.expect("archived parts"), whole.expect("a snapshot"));
            assert!(taken.is_ok() && read.len() <= 50 && whole.sequence >= last && whole.live.len() == 1);
            store.verify().await.expect("it verifies");
            done = last;
        }
        writer.await.expect("it ends");
        assert_eq!(shown(&*store, PIPELINE).await, "400: head=399");
    });
}

/// An update of a pipeline with many large executions ends them all in one commit.
#[test]
fn a_commit_may_be_large() {
    on_each(async |store| {
        let name = |part: usize| PartKey::Live(bytes(&format!("execution/of/a/long/name/action/{part}")));
        let of = |expected, value: Option<&str>| {
            let puts = (0..30_000).map(|part| (name(part), value.map(bytes))).collect();
            Commit { puts, ..commit(PIPELINE, expected, "") }
        };
        assert_eq!(store.commit(of(0, Some("in progress"))).await, Ok(1));
        assert_eq!(store.commit(of(1, None)).await, Ok(2));
        assert_eq!(shown(&*store, PIPELINE).await, "2:");
        store.verify().await.expect("it verifies");
    });
}
