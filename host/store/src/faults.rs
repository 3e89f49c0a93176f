//! What can go wrong with a store on disk: alteration, truncation, a kill, a sync that fails, a second user.

use super::committer::FREE_BYTES_MIN;
use super::conformance::{PIPELINE, bytes, commit, noise, open, runtime, shown};
use super::prepared::put_long;
use super::sled::System;
use super::*;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tempfile::TempDir;
use tokio::task::JoinSet;

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
            let long = vec![(PartKey::Live(bytes("long")), Some(bytes(&noise(0, 10_000))))];
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
    let db = super::sled::open_db(dir, SledStore::CACHE_BYTES_DEFAULT).expect("sled opens");
    let mut row = db.get(key).expect("it reads").expect("the row is there").to_vec();
    match alter(&mut row) {
        true => db.insert(key, row),
        false => db.remove(key),
    }
    .expect("it writes");
    db.flush().expect("it flushes");
}

/// The first format had nothing packed.
#[test]
fn a_store_of_the_first_format_goes_on() {
    let dir = TempDir::new().expect("a directory");
    let script = |long: &str| format!("head=1 long={long} !kept={}", "a".repeat(3000));
    let before = runtime().block_on(async {
        let store = open(dir.path());
        store.commit(commit(PIPELINE, 0, &script(&"b".repeat(9000)))).await.expect("it commits");
        (store.load(PIPELINE).await, store.history(PIPELINE, 1, 1).await)
    });
    let db = super::sled::open_db(dir.path(), SledStore::CACHE_BYTES_DEFAULT).expect("sled opens");
    let mut packed = 0;
    for (key, row) in db.iter().map(|row| row.expect("it reads")) {
        let from = match key.get(layout::PREFIX_BYTES) {
            Some(&layout::LIVE | &layout::ARCHIVED) => layout::VALUE_AT,
            Some(&layout::RECORD) => layout::BODY_AT,
            _ => continue,
        };
        let content = layout::content(&row, from).expect("a long row of one chunk");
        let mut unpacked = layout::long_row(content.len());
        unpacked.extend_from_slice(&content);
        packed += usize::from(unpacked[2..] != row[2..]);
        put_long(&key, &mut unpacked, &mut |key, row| drop(db.insert(key, row.expect("a row")).expect("it writes")));
    }
    assert_eq!(packed, 2, "the long parts");
    let meta = db.get(layout::META_KEY).expect("it reads").expect("the store's row");
    db.insert(layout::META_KEY, [&[1], &meta[1..]].concat()).expect("it writes");
    db.flush().expect("it flushes");
    drop(db);
    runtime().block_on(async {
        let store = open(dir.path());
        assert_eq!((store.load(PIPELINE).await, store.history(PIPELINE, 1, 1).await), before);
        store.commit(commit(PIPELINE, 1, &script("short"))).await.expect("it goes on");
        let verified = Verified { aggregates: 1, records: 2, parts: 3 };
        assert_eq!(store.verify().await, Ok(verified));
        assert_eq!(store.load(PIPELINE).await.expect("it loads").sequence, 2);
    });
    sled_row(dir.path(), layout::META_KEY, |meta| {
        let is_raised = meta[0] == layout::STORE_FORMAT;
        meta[0] += 1;
        is_raised
    });
    let Err(error) = SledStore::open(dir.path(), SledStore::CACHE_BYTES_DEFAULT) else { panic!("a newer store") };
    let expected = format!("the store in {} has format 3, this program knows 2", dir.path().display());
    assert!(error.to_string().starts_with(&expected), "{error}");
}

#[test]
fn a_failed_sync_stops_the_store_for_good() {
    let dir = TempDir::new().expect("a directory");
    runtime().block_on(async {
        // A device that has no data to sync refuses to.
        let system = System { synced: "/dev/null".into(), ..System::of(dir.path()) };
        let store = SledStore::open_on(dir.path(), SledStore::CACHE_BYTES_DEFAULT, system).expect("it opens");
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
    let error = SledStore::open(dir.path(), SledStore::CACHE_BYTES_DEFAULT).err().expect("it is in use").to_string();
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
        let error = refusal(dir.path());
        assert!(matches!(error, Some(OpenError::Truncated { .. } | OpenError::Damaged { .. })), "{keep}/4: {error:?}");
    }
}

/// Why a directory cannot be opened. sled lets go of its files a moment after the store that was open is gone.
fn refusal(dir: &Path) -> Option<OpenError> {
    const TRIES: u32 = 200;
    let tries = (0..TRIES).map(|_| SledStore::open(dir, SledStore::CACHE_BYTES_DEFAULT).err());
    let mut let_go = tries.skip_while(|error| {
        let is_in_use = matches!(error, Some(OpenError::InUse { .. }));
        if is_in_use {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        is_in_use
    });
    let_go.next().expect("it is let go")
}

/// Whatever stands in sled's own files, opening them ends with words.
#[test]
fn files_that_are_not_what_sled_wrote_are_told() {
    for (every, byte) in [(7, 0xff), (64, 0), (512, 0xfe), (4096, 1)] {
        let dir = TempDir::new().expect("a directory");
        runtime().block_on(async {
            let store = open(dir.path());
            for sequence in 0..50 {
                store.commit(commit(PIPELINE, sequence, "a=1 b=2")).await.expect("it commits");
            }
        });
        let data = dir.path().join("db");
        let mut content = std::fs::read(&data).expect("the data file");
        content.iter_mut().step_by(every).for_each(|at| *at = byte);
        std::fs::write(&data, content).expect("it is altered");
        let error = refusal(dir.path());
        assert!(matches!(error, Some(OpenError::Truncated { .. } | OpenError::Damaged { .. })), "{every}: {error:?}");
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
            .args(["--exact", "faults::what_was_acknowledged_survives_a_kill", "--nocapture"])
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
                let possible = [*sequence, sequence + 1].map(|at| format!("{at}: head={at} long={}", noise(at, 5000)));
                assert!(possible.contains(&loaded), "writer {writer}: {sequence} was acknowledged, not {loaded:.20}");
            }
        });
    }
    // Whatever trims and erasures the kills interrupted, the next ones leave nothing behind.
    runtime().block_on(async {
        let store = open(dir.path());
        for aggregate in store.aggregates(None, usize::from(2 * WRITERS)).await.expect("the aggregates") {
            if aggregate.uid[0] < WRITERS {
                store.trim(trim_to_last(aggregate, u64::MAX)).await.expect("it trims");
            } else {
                store.erase(aggregate).await.expect("it erases");
            }
        }
        let verified = store.verify().await.expect("the chains are whole");
        assert_eq!(verified, Verified { aggregates: 20, records: 20, parts: 40 });
    });
    let db = super::sled::open_db(dir.path(), SledStore::CACHE_BYTES_DEFAULT).expect("sled opens");
    // A head, two parts of which one has a further chunk, a record; and one row of the whole store.
    assert_eq!(db.len(), usize::from(WRITERS) * 5 + 1);
}

/// An aggregate whose head says nothing any more can still be taken out.
#[test]
fn what_lost_its_head_is_erased() {
    let dir = TempDir::new().expect("a directory");
    runtime().block_on(async {
        let store = open(dir.path());
        store.commit(commit(PIPELINE, 0, "a=1 b=2")).await.expect("it commits");
    });
    let head = layout::row_key(&layout::prefix(PIPELINE), layout::HEAD, &[]);
    sled_row(dir.path(), &head, |row| row.pop().is_some());
    runtime().block_on(async {
        let store = open(dir.path());
        assert!(matches!(store.load(PIPELINE).await, Err(StoreError::Damaged { .. })));
        store.erase(PIPELINE).await.expect("it is erased");
        assert_eq!(store.aggregates(None, 10).await, Ok(Vec::new()));
        store.verify().await.expect("it is whole");
        assert_eq!(store.commit(commit(PIPELINE, 0, "a=1")).await, Ok(1));
    });
}

fn trim_to_last(aggregate: Aggregate, before: u64) -> Trim {
    Trim { aggregate, expected: None, before, parts: Vec::new(), index: Vec::new() }
}

fn commit_until_killed(dir: &Path) -> ! {
    runtime().block_on(async {
        let store = Arc::new(open(dir));
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = Arc::clone(&store);
            writers.spawn(async move {
                let aggregate = Aggregate { uid: [writer; 16], ..PIPELINE };
                let mut before = store.load(aggregate).await.expect("it loads").sequence;
                loop {
                    let script = format!("head={} long={}", before + 1, noise(before + 1, 5000));
                    before = store.commit(commit(aggregate, before, &script)).await.expect("it commits");
                    let line = format!("acknowledged {writer} {before}\n");
                    std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
                    if before % 8 == 0 {
                        store.trim(trim_to_last(aggregate, before - 2)).await.expect("it trims");
                    }
                    if before % 16 == 0 {
                        let doomed = Aggregate { uid: [writer + WRITERS; 16], ..PIPELINE };
                        store.erase(doomed).await.expect("it erases");
                        for at in 0..5 {
                            store.commit(commit(doomed, at, &format!("a=1 !{script}"))).await.expect("it commits");
                        }
                    }
                }
            });
        }
        let ended: Option<Result<(), _>> = writers.join_next().await;
        panic!("a writer ended: {ended:?}");
    })
}

#[test]
fn a_full_disk_refuses_commits_until_there_is_space() {
    let dir = TempDir::new().expect("a directory");
    let free = Arc::new(AtomicU64::new(u64::MAX));
    let free_bytes = Box::new({
        let free = Arc::clone(&free);
        move || Ok(free.load(Ordering::SeqCst))
    });
    runtime().block_on(async {
        let system = System { free_bytes, ..System::of(dir.path()) };
        let store = SledStore::open_on(dir.path(), SledStore::CACHE_BYTES_DEFAULT, system).expect("it opens");
        for before in 0..3 {
            store.commit(commit(PIPELINE, before, "a=1")).await.expect("it commits");
        }
        free.store(FREE_BYTES_MIN - 1, Ordering::SeqCst);
        for _ in 0..3 {
            let refused = store.commit(commit(PIPELINE, 3, "a=2")).await.expect_err("it is full");
            assert!(refused.to_string().starts_with("the disk is full: 134217727 bytes are free"), "{refused}");
        }
        assert_eq!(shown(&store, PIPELINE).await, "3: a=1");
        store.trim(trim_to_last(PIPELINE, 2)).await.expect("what makes space is done");
        free.store(0, Ordering::SeqCst);
        let refused = store.trim(trim_to_last(PIPELINE, 3)).await;
        assert!(matches!(refused, Err(CommitError::Store(StoreError::Full { .. }))), "{refused:?}");
        free.store(FREE_BYTES_MIN, Ordering::SeqCst);
        assert_eq!(store.commit(commit(PIPELINE, 3, "a=2")).await, Ok(4));
        assert_eq!(shown(&store, PIPELINE).await, "4: a=2");
    });
}

/// Where the disk fills up all the same, a file that may not grow any more standing in for it.
#[test]
fn a_write_that_fails_stops_the_store_and_loses_nothing() {
    const NAME: &str = "faults::a_write_that_fails_stops_the_store_and_loses_nothing";
    if let Some(dir) = std::env::var_os(CHILD_DIR) {
        return commit_until_full(Path::new(&dir));
    }
    let dir = TempDir::new().expect("a directory");
    let program = std::env::current_exe().expect("this program");
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 9000; exec \"$0\" --exact \"$1\" --nocapture"])
        .arg(program)
        .arg(NAME)
        .env(CHILD_DIR, dir.path())
        .output()
        .expect("the child runs");
    let output = String::from_utf8_lossy(&output.stdout);
    let acknowledged = output.lines().filter_map(|line| line.strip_prefix("acknowledged ")?.parse::<u64>().ok()).max();
    let acknowledged = acknowledged.expect("the child committed");
    assert!(output.contains("stopped: the store has stopped: "), "{output}");
    runtime().block_on(async {
        let store = open(dir.path());
        store.verify().await.expect("the chain is whole");
        let sequence = store.load(PIPELINE).await.expect("it loads").sequence;
        assert!((acknowledged..=acknowledged + 1).contains(&sequence), "{acknowledged} were acknowledged: {sequence}");
        store.commit(commit(PIPELINE, sequence, "head=1")).await.expect("it goes on");
    });
}

fn commit_until_full(dir: &Path) {
    let say = |line: String| std::io::stdout().lock().write_all(line.as_bytes()).expect("somebody listens");
    runtime().block_on(async {
        let store = open(dir);
        for before in 0.. {
            match store.commit(commit(PIPELINE, before, &format!("head=1 !{before}={}", noise(before, 20_000)))).await {
                Ok(sequence) => say(format!("acknowledged {sequence}\n")),
                Err(error) => return say(format!("stopped: {error}\n")),
            }
        }
    });
}

/// What sled notes about where its pages are, which the next opening starts from.
#[test]
fn a_clean_stop_leaves_little_to_read_for_the_next_start() {
    let notes = |dir: &Path| {
        let names = std::fs::read_dir(dir).expect("the directory").map(|entry| entry.expect("an entry").file_name());
        names.filter(|name| name.to_string_lossy().starts_with("snap.")).collect::<Vec<_>>()
    };
    let check = |commits: u64, is_noted: bool| {
        let dir = TempDir::new().expect("a directory");
        let store = open(dir.path());
        let before = notes(dir.path());
        runtime().block_on(async {
            for at in 0..commits {
                let puts = vec![(PartKey::Live(bytes("big")), Some(noise(at, VALUE_BYTES_MAX).into()))];
                store.commit(Commit { puts, ..commit(PIPELINE, at, "") }).await.expect("it commits");
            }
        });
        drop(store);
        assert_eq!(notes(dir.path()) != before, is_noted, "{commits} MiB");
        runtime().block_on(async { open(dir.path()).verify().await.expect("it is whole") });
    };
    check(4, false);
    check(17, true);
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
                let puts = vec![(part, Some(noise(before, 3000).into()))];
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
        let verified = SledStore::open(copy.path(), SledStore::CACHE_BYTES_DEFAULT)
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
            let puts = vec![(PartKey::Live(name.into()), Some(noise(before, 200_000).into()))];
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

#[test]
fn a_part_that_gets_shorter_leaves_nothing_behind() {
    let long = format!("part={} !part={}", noise(1, 9000), noise(2, 9000));
    // Whether what is stored was written by this process or before it, and whether a part was taken out in between.
    for (reopened, taken) in [(false, false), (true, false), (false, true), (true, true)] {
        let dir = TempDir::new().expect("a directory");
        runtime().block_on(async {
            let mut store = open(dir.path());
            store.commit(commit(PIPELINE, 0, &long)).await.expect("it commits");
            if reopened {
                drop(store);
                store = open(dir.path());
            }
            if taken {
                let parts = vec![PartKey::Live(bytes("part"))];
                let trim = Trim { aggregate: PIPELINE, expected: None, before: 0, parts, index: Vec::new() };
                store.trim(trim).await.expect("it is taken out");
            }
            for (before, script) in [(1, long.as_str()), (2, "part=short !part=short"), (3, "part !part")] {
                store.commit(commit(PIPELINE, before, script)).await.expect("it commits");
            }
            store.trim(trim_to_last(PIPELINE, 4)).await.expect("it trims");
            store.verify().await.expect("it verifies");
        });
        let db = super::sled::open_db(dir.path(), SledStore::CACHE_BYTES_DEFAULT).expect("sled opens");
        assert_eq!(db.len(), 3, "a head, a record, and one row of the whole store: {reopened} {taken}");
    }
}

#[test]
fn who_follows_reads_what_is_kept() {
    let dir = TempDir::new().expect("a directory");
    let pages = async |store: &SledStore| {
        let mut pages = Vec::new();
        for (from, limit) in [(0, 9), (1, 9), (3, 2), (5, 1), (6, 9), (7, 9)] {
            // A page may end early, but not at nothing.
            let mut page = store.history(PIPELINE, from, limit).await.expect("the history");
            while page.len() < limit
                && let Some(last) = page.last()
            {
                let more = store.history(PIPELINE, last.sequence + 1, limit - page.len()).await.expect("the rest");
                if more.is_empty() {
                    break;
                }
                page.extend(more);
            }
            pages.push(page);
        }
        pages
    };
    let commits = async |store: &SledStore, from| {
        for (before, script) in (0..).zip(["a=1", "a=2 !b=1", "a", "", "c=1 a=2", "c"]).skip(from) {
            store.commit(commit(PIPELINE, before, script)).await.expect("it commits");
        }
    };
    runtime().block_on(async {
        let store = open(dir.path());
        store.commit(commit(PIPELINE, 0, "a=1")).await.expect("before anybody asks");
        pages(&store).await;
        commits(&store, 1).await;
        let followed = pages(&store).await;
        store.trim(trim_to_last(PIPELINE, 4)).await.expect("it trims");
        let trimmed = pages(&store).await;
        assert_eq!(trimmed[1].first().map(|record| record.sequence), Some(4), "what was trimmed is gone");
        drop(store);
        assert_eq!(pages(&open(dir.path())).await, trimmed);
        let other = TempDir::new().expect("a directory");
        let store = open(other.path());
        commits(&store, 0).await;
        assert_eq!(pages(&store).await, followed, "nobody asked before");
    });
}
