//! What every backend promises, checked on each of them, and what only the one on disk can break.

use super::layout::{self, CHUNK_BYTES};
use super::*;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

const PIPELINE: Aggregate = Aggregate { account: 111_111_111_111, uid: [7; 16] };
/// The same account, and the same uid in another: neighbours that must never be mixed up with it.
const NEIGHBOURS: [Aggregate; 3] = [
    Aggregate { account: 111_111_111_111, uid: [8; 16] },
    Aggregate { account: 111_111_111_111, uid: [0; 16] },
    Aggregate { account: 111_111_111_112, uid: [7; 16] },
];

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

fn open(dir: &Path) -> SledStore {
    SledStore::open(dir, CACHE_BYTES_DEFAULT).expect("the store opens")
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

fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn commit(aggregate: Aggregate, expected: u64, script: &str) -> Commit {
    let events = vec![bytes(&format!("event of {}", expected + 1))];
    Commit { aggregate, expected, puts: puts(script), events, index: Vec::new() }
}

fn row(name: &str, value: Option<&str>) -> (IndexKey, Option<Bytes>) {
    (IndexKey { kind: 3, name: bytes(name) }, value.map(bytes))
}

/// The live parts, as `puts` takes them.
async fn shown(store: &dyn Store, aggregate: Aggregate) -> String {
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
            let commit = Commit { aggregate: PIPELINE, expected, puts: Vec::new(), events, index: Vec::new() };
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
        for (fill, size) in (b'a'..).zip(sizes) {
            let value = Bytes::from(vec![fill; size]);
            let puts = vec![(PartKey::Live(name.clone()), Some(value.clone()))];
            let commit =
                Commit { aggregate: PIPELINE, expected: before, puts, events: vec![value.clone()], index: vec![] };
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
    let rows_after = |before, value: Option<usize>| {
        let puts = vec![(PartKey::Live(bytes("big")), value.map(|size| Bytes::from(vec![0; size])))];
        let commit = Commit { aggregate: PIPELINE, expected: before, puts, events: vec![], index: vec![] };
        runtime().block_on(store.commit(commit)).expect("it commits");
        // Apart from the records and the head.
        store.rows().len() - before as usize - 2
    };
    assert_eq!(rows_after(0, Some(10 * CHUNK_BYTES)), 11);
    assert_eq!(rows_after(1, Some(2 * CHUNK_BYTES)), 3);
    assert_eq!(rows_after(2, None), 0);
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
        (events(5, VALUE_BYTES_MAX), "a commit of"),
        (events(COMMIT_ENTRIES_MAX + 1, 1), "the number of entries in a commit of"),
    ];
    let allowed = [
        one(PART_NAME_BYTES_MAX, VALUE_BYTES_MAX),
        index(INDEX_NAME_BYTES_MAX, INDEX_VALUE_BYTES_MAX),
        events(4, VALUE_BYTES_MAX),
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
        store.commit(commit(PIPELINE, 5, "")).await.expect("it commits");
        drop(store);
        assert_eq!(one.changed().await, Some((PIPELINE, 6)), "what was told before the end is still heard");
        assert_eq!(one.changed().await, None);
    });
}

/// One row changed behind the store's back: what `load` and `verify` say of it.
#[test]
fn what_was_altered_is_noticed() {
    let prefix = layout::prefix(PIPELINE);
    let record = |sequence: u64| layout::row_key(&prefix, layout::RECORD, &sequence.to_be_bytes());
    let part = |name: &str| layout::row_key(&prefix, layout::LIVE, name.as_bytes());
    let head = layout::row_key(&prefix, layout::HEAD, &[]);
    type Alter = fn(&mut Vec<u8>) -> bool;
    let flip: Alter = |row| {
        let at = row.len() / 2;
        row[at] ^= 1;
        true
    };
    let flip_end: Alter = |row| row.last_mut().map(|byte| *byte ^= 1).is_some();
    let shorten: Alter = |row| row.pop().is_some();
    let remove: Alter = |_| false;
    let cases: [(&str, Vec<u8>, Alter, bool); 12] = [
        ("the last record's header", record(3), flip, true),
        ("the last record's body", record(3), flip_end, true),
        ("the last record's end", record(3), shorten, true),
        ("the last record", record(3), remove, true),
        ("an earlier record", record(1), flip_end, false),
        ("a missing earlier record", record(1), remove, false),
        (
            "the head's sequence",
            head.clone(),
            |row| {
                row[7] -= 1;
                true
            },
            true,
        ),
        ("the head's digest", head.clone(), flip_end, true),
        ("the head", head, remove, true),
        ("a part", part("a"), flip_end, true),
        ("a part's further chunk", layout::chunk_key(&part("long"), 1), flip, true),
        ("a missing part", part("a"), remove, false),
    ];
    for (what, key, alter, load_notices) in cases {
        let dir = TempDir::new().expect("a directory");
        runtime().block_on(async {
            let store = open(dir.path());
            store.commit(commit(PIPELINE, 0, "a=1 b=2")).await.expect("it commits");
            let long = vec![(PartKey::Live(bytes("long")), Some(Bytes::from(vec![1; 10_000])))];
            store.commit(Commit { puts: long, ..commit(PIPELINE, 1, "") }).await.expect("it commits");
            store.commit(commit(PIPELINE, 2, "b=3")).await.expect("it commits");
            store.verify().await.expect("it is whole");
        });
        sled_row(dir.path(), &key, alter);
        runtime().block_on(async {
            let store = open(dir.path());
            let loaded = store.load(PIPELINE).await;
            assert_eq!(loaded.is_err(), load_notices, "{what}: {loaded:?}");
            // With its head a whole aggregate is gone but for what load finds; verify walks what there is.
            let verified = store.verify().await;
            assert!(matches!(verified, Err(StoreError::Damaged { .. })), "{what}: {verified:?}");
        });
    }
}

/// Changes a row of a closed store: `alter` answers whether it stays.
fn sled_row(dir: &Path, key: &[u8], alter: fn(&mut Vec<u8>) -> bool) {
    let db = super::sled::open_db(dir, CACHE_BYTES_DEFAULT).expect("sled opens");
    let mut row = db.get(key).expect("it reads").expect("the row is there").to_vec();
    match alter(&mut row) {
        true => db.insert(key, row),
        false => db.remove(key),
    }
    .expect("it writes");
    db.flush().expect("it flushes");
}

#[test]
fn a_failed_sync_stops_the_store_for_good() {
    let dir = TempDir::new().expect("a directory");
    runtime().block_on(async {
        // A device that has no data to sync refuses to.
        let store = SledStore::open_syncing(dir.path(), CACHE_BYTES_DEFAULT, Path::new("/dev/null")).expect("it opens");
        let mut watcher = store.watch(None);
        for _ in 0..2 {
            let error = store.commit(commit(PIPELINE, 0, "a=1")).await.expect_err("it cannot be durable");
            let CommitError::Store(StoreError::Stopped { reason }) = &error else { panic!("{error}") };
            assert!(reason.starts_with("the data file cannot be synced"), "{reason}");
        }
        assert!(matches!(store.load(PIPELINE).await, Err(StoreError::Stopped { .. })));
        assert_eq!(watcher.changed().await, None);
    });
}

#[test]
fn a_directory_has_one_user_at_a_time() {
    let dir = TempDir::new().expect("a directory");
    let store = open(dir.path());
    let error = SledStore::open(dir.path(), CACHE_BYTES_DEFAULT).err().expect("it is in use").to_string();
    let expected = format!("{} is in use by another process (process {});", dir.path().display(), std::process::id());
    assert!(error.starts_with(&expected), "{error}");
    drop(store);
    open(dir.path());
}

#[test]
fn a_truncated_data_file_is_noticed() {
    for keep in [0, 1, 2, 3] {
        let dir = TempDir::new().expect("a directory");
        let mut before = 0;
        runtime().block_on(async {
            let store = open(dir.path());
            while before < 200 {
                before = store.commit(commit(PIPELINE, before, "a=1")).await.expect("it commits");
            }
        });
        let data = OpenOptions::new().write(true).open(dir.path().join("db")).expect("the data file");
        let size = data.metadata().expect("its size").len();
        data.set_len(size * keep / 4).expect("it is cut");
        let error = SledStore::open(dir.path(), CACHE_BYTES_DEFAULT).err();
        assert!(matches!(error, Some(OpenError::Truncated { .. } | OpenError::Damaged { .. })), "{keep}/4: {error:?}");
    }
}

/// Names the directory for the child process that commits until it is killed.
const CHILD_DIR: &str = "PIPEWRIGHT_TEST_STORE";
const WRITERS: u8 = 20;

#[test]
fn what_was_acknowledged_survives_a_kill() {
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        commit_until_killed(Path::new(&dir));
    }
    let dir = TempDir::new().expect("a directory");
    let mut acknowledged: BTreeMap<u8, u64> = BTreeMap::new();
    for lines in [1, 50, 300, 1000] {
        let mut child = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "store::conformance::what_was_acknowledged_survives_a_kill", "--nocapture"])
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the child starts");
        let mut output = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let mut note = |line: String| {
            let mut words = line.split(' ');
            let (Some("acknowledged"), Some(writer), Some(sequence)) = (words.next(), words.next(), words.next())
            else {
                return false;
            };
            acknowledged.insert(writer.parse().expect("a writer"), sequence.parse().expect("a sequence"));
            true
        };
        let noted = output.by_ref().filter_map(|line| note(line).then_some(())).take(lines).count();
        assert_eq!(noted, lines, "the child committed");
        child.kill().expect("it is killed");
        child.wait().expect("it ends");
        output.for_each(|line| {
            note(line);
        });
        runtime().block_on(async {
            let store = open(dir.path());
            store.verify().await.expect("the chains are whole");
            for (writer, sequence) in &acknowledged {
                let aggregate = Aggregate { uid: [*writer; 16], ..PIPELINE };
                let loaded = shown(&store, aggregate).await;
                let possible = [*sequence, sequence + 1].map(|at| format!("{at}: head={at} long={}", "x".repeat(5000)));
                assert!(possible.contains(&loaded), "writer {writer}: {sequence} was acknowledged, not {loaded:.20}");
            }
        });
    }
}

fn commit_until_killed(dir: &Path) -> ! {
    runtime().block_on(async {
        let store = Arc::new(open(dir));
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let store = Arc::clone(&store);
                tokio::spawn(async move {
                    let aggregate = Aggregate { uid: [writer; 16], ..PIPELINE };
                    let mut before = store.load(aggregate).await.expect("it loads").sequence;
                    loop {
                        let script = format!("head={} long={}", before + 1, "x".repeat(5000));
                        before = store.commit(commit(aggregate, before, &script)).await.expect("it commits");
                        let line = format!("acknowledged {writer} {before}\n");
                        std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.expect("it never ends");
        }
    });
    unreachable!("the writers never end")
}

/// Whatever byte of the data file is flipped, the store is either whole or says that it is not. sled by itself goes on
/// from the last batch before the flipped byte and says nothing.
#[test]
fn a_flipped_byte_is_noticed_or_means_nothing() {
    let dir = TempDir::new().expect("a directory");
    // Opened anew now and then, so that there are snapshots of sled's too.
    for opened in 0..5 {
        runtime().block_on(async {
            let store = open(dir.path());
            for before in opened * 20..(opened + 1) * 20 {
                let part = PartKey::Archived(bytes(&before.to_string()));
                let puts = vec![(part, Some(vec![before as u8; 3000].into()))];
                store.commit(Commit { puts, ..commit(PIPELINE, before, "") }).await.expect("it commits");
            }
        });
    }
    let whole = std::fs::read(dir.path().join("db")).expect("the data file");
    let used = whole.iter().rposition(|byte| *byte != 0).expect("it holds something");
    let mut noticed = 0;
    for at in (0..used).step_by(used / 100) {
        let copy = TempDir::new().expect("a directory");
        for entry in std::fs::read_dir(dir.path()).expect("the directory").map(|entry| entry.expect("an entry")) {
            if entry.file_type().expect("its type").is_file() {
                std::fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("it is copied");
            }
        }
        let mut altered = whole.clone();
        altered[at] ^= 0x10;
        std::fs::write(copy.path().join("db"), altered).expect("it is written");
        let verified = SledStore::open(copy.path(), CACHE_BYTES_DEFAULT)
            .map(|store| runtime().block_on(async { store.verify().await }));
        match verified {
            Ok(Ok(verified)) => {
                assert_eq!(verified, Verified { aggregates: 1, records: 100, parts: 100 }, "byte {at} of {used}");
            }
            Ok(Err(_)) | Err(_) => noticed += 1,
        }
    }
    assert!(noticed > 0, "no flipped byte was noticed");
}

/// sled puts large tree nodes into files of their own that it never syncs. Rows are small so that this cannot happen.
#[test]
fn everything_is_in_the_file_that_is_synced() {
    let dir = TempDir::new().expect("a directory");
    runtime().block_on(async {
        let store = open(dir.path());
        for before in 0..60 {
            let name = vec![before as u8 / 2; PART_NAME_BYTES_MAX];
            let puts = vec![(PartKey::Live(name.into()), Some(vec![1; 200_000].into()))];
            let index = (0..20)
                .map(|row| {
                    let name = vec![row; INDEX_NAME_BYTES_MAX].into();
                    (IndexKey { kind: 0, name }, Some(vec![before as u8; INDEX_VALUE_BYTES_MAX].into()))
                })
                .collect();
            store.commit(Commit { puts, index, ..commit(PIPELINE, before, "") }).await.expect("it commits");
        }
    });
    assert_eq!(std::fs::read_dir(dir.path().join("blobs")).expect("sled's folder for them").count(), 0);
}
