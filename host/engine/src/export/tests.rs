//! Exports of pipelines with history, read into empty directories; the form of today stays readable.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::{Either, select};
use tempfile::TempDir;

use pipewright_artifacts::files::BlobDir;

use super::*;
use crate::driver::Entry;
use crate::driver::faults::Faulty;
use crate::driver::tests::cause;
use crate::retention::Retention;
use crate::retention::tests::World;
use pipewright_base::clock;
use pipewright_base::home::DataDirectory;
use pipewright_store::{Commit, SledStore, Verified};

fn exported(store: Arc<dyn Store>, artifacts: &Path, logs: &Path, components: &Path) -> Exported {
    let artifacts = Arc::new(Artifacts::open(artifacts).unwrap());
    let (of, time) = (Arc::clone(&store), clock::system());
    let keeper = Keeper::new(of, time, Arc::clone(&artifacts), logs.to_owned(), Retention::default());
    let components = Arc::new(BlobDir::new(components).unwrap());
    Exported { store, artifacts, components, logs: logs.to_owned(), keeper: Arc::new(keeper) }
}

fn of_world(world: &World) -> Exported {
    exported(Arc::clone(&world.store), &world.told.folder, &world.logs(), &world.dir.path().join("components"))
}

async fn text(exported: Exported) -> String {
    let pieces: Vec<_> = stream(exported).collect().await;
    let pieces = pieces.into_iter().map(|piece| String::from_utf8(piece.unwrap().to_vec()).unwrap());
    pieces.collect()
}

/// An import into a directory of its own, and everything that is in that afterwards, exported again.
async fn import_and_export(text: &str) -> (Imported, String) {
    let dir = TempDir::new().unwrap();
    let (data, imported) = import_into(&dir, text.to_owned()).await;
    let imported = imported.unwrap();
    let store = Arc::new(SledStore::open(&data.store(), SledStore::CACHE_BYTES_DEFAULT).unwrap());
    (imported, self::text(exported(store, &data.artifacts(), &data.logs(), &data.components())).await)
}

async fn import_into(dir: &TempDir, text: String) -> (DataDirectory, Result<Imported, ImportError>) {
    let data = DataDirectory::open(dir.path()).unwrap();
    let into = data.clone();
    (data, tokio::task::spawn_blocking(move || import(&into, text.as_bytes())).await.unwrap())
}

/// The parts in one order, each once: what is archived while others are written comes after them, and may come twice.
fn whole(text: &str) -> Vec<&str> {
    let is_part = |line: &&str| line.starts_with("{\"part\":");
    let mut lines = inner(text);
    for some in lines.chunk_by_mut(|one, next| is_part(one) && is_part(next)) {
        some.sort_unstable();
    }
    lines.dedup_by(|next, one| is_part(next) && next == one);
    lines
}

/// Without the first line, which has a time, and the last, which has a digest of that.
fn inner(text: &str) -> Vec<&str> {
    let lines: Vec<_> = text.lines().collect();
    lines[1..lines.len() - 1].to_vec()
}

/// Pipelines with all that a store can hold of them: ended, waiting, dropped and deleted.
async fn world() -> World {
    let world = World::new().await;
    let key = Bytes::from_static(b"AKIA\nverysecret");
    world.driver.keep_account_part(0, "key/administrator", key, &cause()).await.unwrap();
    world.driver.keep_account_part(0, "page-key", Bytes::from_static(&[0xff; 32]), &cause()).await.unwrap();
    let tags = vec![("tags".to_owned(), Some(Bytes::from_static(b"\xff\xfe")))];
    world.driver.keep(world.pipeline, tags, &cause()).await.unwrap();
    for _ in 0..3 {
        world.execute().await;
    }
    world.collect(Retention { executions_count_max: 2, ..Retention::default() }, Duration::ZERO).await;
    world.told.gate_waits.store(true, std::sync::atomic::Ordering::SeqCst);
    world.execute().await;
    world.told.gate_waits.store(false, std::sync::atomic::Ordering::SeqCst);
    BlobDir::new(world.dir.path().join("components")).unwrap().put(&[7; 300_000]).unwrap();

    world
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_imported_is_what_was_exported() {
    let world = world().await;
    let text = text(of_world(&world)).await;
    assert!(!text.contains("verysecret") && text.contains("page-key"), "secrets stay, their names are noted");
    let (imported, again) = import_and_export(&text).await;
    assert_eq!(inner(&text), inner(&again));
    assert_eq!((imported.lines, imported.store.aggregates), (text.lines().count() as u64, 2));
    assert_eq!(imported.artifacts, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_beside_running_pipelines_is_whole() {
    let world = Arc::new(world().await);
    let running = tokio::spawn({
        let world = Arc::clone(&world);
        async move {
            for _ in 0..30 {
                world.execute().await;
            }
        }
    });
    let mut exports = 0;
    while !running.is_finished() || exports < 2 {
        let text = text(of_world(&world)).await;
        let (_, again) = import_and_export(&text).await;
        assert!(whole(&text) == whole(&again), "{text}\n\nis imported as\n\n{again}");
        exports += 1;
    }
    running.await.unwrap();
}

/// More is left to write than may wait for the reader, so that the export goes on for as long as it is not read. Rounds of a keeper
/// that knows nothing of it say how long one would take.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_removed_while_an_export_is_written() {
    let world = world().await;
    let components = BlobDir::new(world.dir.path().join("components")).unwrap();
    for number in 0..8 {
        components.put(&[number; 300_000]).unwrap();
    }
    let exported = of_world(&world);
    let keeper = |retention| {
        let (store, artifacts) = (Arc::clone(&exported.store), Arc::clone(&exported.artifacts));
        Arc::new(Keeper::new(store, clock::system(), artifacts, exported.logs.clone(), retention))
    };
    let (keeper, other) =
        (keeper(Retention { executions_count_max: 1, ..Retention::default() }), keeper(Retention::default()));
    let mut pieces = Box::pin(stream(Exported { keeper: Arc::clone(&keeper), ..exported.clone() }));
    let mut text = String::from_utf8(pieces.next().await.unwrap().unwrap().to_vec()).unwrap();
    let mut collecting = Box::pin(keeper.collect_once());
    for _ in 0..3 {
        match select(&mut collecting, std::pin::pin!(other.collect_once())).await {
            Either::Left(_) => panic!("it collects while an export is written"),
            Either::Right((done, _)) => assert_eq!(done.unwrap().executions, 0),
        }
    }
    while let Some(piece) = pieces.next().await {
        text += std::str::from_utf8(&piece.unwrap()).unwrap();
    }
    assert!(collecting.await.unwrap().executions > 0, "it goes on then");
    let (imported, again) = import_and_export(&text).await;
    assert_eq!(inner(&text), inner(&again));
    assert_eq!(imported.artifacts, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_whole_is_not_imported() {
    let world = World::new().await;
    world.execute().await;
    let text = text(of_world(&world)).await;
    let check = async |text: &str, expected: &str| {
        let dir = TempDir::new().unwrap();
        let (_, imported) = import_into(&dir, text.to_owned()).await;
        let message = imported.expect_err(expected).to_string();
        assert!(message.contains(expected), "{message}");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "{expected}");
    };
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    for cut in [1, lines.len() / 2, lines.len() - 1] {
        check(&lines[..cut].concat(), "it was cut off").await;
    }
    check(&text[..text.len() - 1], "it was cut off").await;
    check("", "it was cut off").await;
    check("{}\n", "no export of Pipewright").await;
    check(&text.replacen("\"version\":1", "\"version\":2", 1), "has version 2, this program reads version 1").await;
    check(&text.replacen("STARTED", "STOPPED", 1), "does not match its digest").await;
    check(&text.replacen("\"kind\":2", "\"kind\":3", 1), "was altered").await;
    let chunk = text.find("{\"chunk\":\"").unwrap() + "{\"chunk\":\"".len();
    let mut other = text.clone();
    other.replace_range(chunk..chunk + 4, "AAAA");
    check(&other, "does not have its digest").await;
    check(&text.replacen("{\"chunk\":", "{\"chank\":", 1), "unknown variant `chank`").await;
    check(&format!("{text}{}", lines[1]), "there is more after the last line").await;

    let dir = TempDir::new().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(dir.path().join("something"), "").unwrap();
    let (_, imported) = import_into(&dir, text.clone()).await;
    assert!(matches!(imported, Err(ImportError::NotEmpty { .. })));
    // One that was killed before it was done, with some of its folders in their places.
    let dir = TempDir::new().unwrap();
    for folder in ["artifacts/trees", "importing/store"] {
        fs::create_dir_all(dir.path().join(folder)).unwrap();
    }
    let (data, imported) = import_into(&dir, text).await;
    assert!(imported.is_ok() && data.store().exists() && !dir.path().join("importing").exists());
}

/// What the store cannot read is named, and all else is exported; what only this version cannot read is exported as it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_pipeline_is_named_at_the_end() {
    let world = world().await;
    let faulty: Arc<dyn Store> = Arc::new(Faulty::load(Arc::clone(&world.store), world.pipeline));
    let damaged = text(Exported { store: faulty, ..of_world(&world) }).await;
    let dir = TempDir::new().unwrap();
    let (_, imported) = import_into(&dir, damaged.clone()).await;
    let imported = imported.unwrap();
    assert_eq!(imported.store.aggregates, 1, "the account");
    let [UnreadLine::Pipeline(unread)] = &imported.unread[..] else { panic!("{:?}", imported.unread) };
    assert_eq!(unread.name.as_deref(), Some("p"));
    assert!(unread.reason.contains("it was altered"), "{unread:?}");
    assert!(damaged.lines().nth_back(1).unwrap().starts_with("{\"unread\":{\"account\":0,"));

    let head = PartKey::Live(Bytes::from_static(b"head"));
    let commit = Commit {
        aggregate: world.pipeline,
        expected: world.store.load(world.pipeline).await.unwrap().sequence,
        puts: vec![(head, Some(Bytes::from_static(b"{}")))],
        events: Vec::new(),
        index: Vec::new(),
        fence: None,
    };
    world.store.commit(commit).await.unwrap();
    let text = text(of_world(&world)).await;
    let (imported, again) = import_and_export(&text).await;
    assert_eq!(inner(&text), inner(&again));
    assert_eq!((imported.store.aggregates, imported.unread.len()), (2, 0));
}

/// Why each commit was made comes along; what was written before commits told that is read without.
#[tokio::test(flavor = "multi_thread")]
async fn causes_are_read_back_from_an_import() {
    let entries = async |store: &dyn Store, pipeline| {
        let records = store.history(pipeline, 1, 1000).await.unwrap();
        records.iter().map(|record| Entry::read(record).unwrap()).collect::<Vec<_>>()
    };
    let imported = async |text: String| {
        let dir = TempDir::new().unwrap();
        let (data, imported) = import_into(&dir, text).await;
        imported.unwrap();
        let store = SledStore::open(&data.store(), SledStore::CACHE_BYTES_DEFAULT).unwrap();
        let aggregates = store.aggregates(None, 10).await.unwrap();
        let pipeline = *aggregates.iter().find(|aggregate| aggregate.uid != [0; 16]).unwrap();
        entries(&store, pipeline).await
    };
    let world = world().await;
    let before = entries(&*world.store, world.pipeline).await;
    assert!(before.iter().all(|entry| entry.cause.is_some()) && before.len() > 10);
    assert_eq!(imported(text(of_world(&world)).await).await, before);
    let golden = imported(golden()).await;
    assert!(golden.iter().all(|entry| entry.cause.is_none()));
    assert!(golden.iter().any(|entry| entry.at.is_some() && !entry.events.is_empty()));
}

fn golden() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/export-v1.jsonl");
    fs::read_to_string(path).unwrap()
}

/// Version 1 as it was written first.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_version_stays_readable() {
    let text = golden();
    let (imported, again) = import_and_export(&text).await;
    assert_eq!(inner(&text), inner(&again));
    assert_eq!(imported.store, Verified { aggregates: 2, records: 15, parts: 12 });
    assert_eq!(imported.artifacts, 4);
    assert!(text.contains("Gate") && text.contains("SUCCEEDED") && text.contains("c2FpZA=="));
}

/// Every file below a folder.
fn files_below(folder: &Path) -> Vec<std::path::PathBuf> {
    let below = |entry: fs::DirEntry| match entry.file_type().unwrap().is_dir() {
        true => files_below(&entry.path()),
        false => vec![entry.path()],
    };
    fs::read_dir(folder).unwrap().flat_map(|entry| below(entry.unwrap())).collect()
}

/// Files that cannot be read whole are left out and named, whatever they are of, and the rest is imported.
#[tokio::test(flavor = "multi_thread")]
async fn damaged_files_are_named_and_the_rest_is_imported() {
    let check = async |harm: fn(&World), kind: FileKind, reason: &str, lacking: usize, broken: usize| {
        let world = world().await;
        harm(&world);
        let text = text(of_world(&world)).await;
        let (imported, again) = import_and_export(&text).await;
        let [UnreadLine::File(unread)] = &imported.unread[..] else { panic!("{reason}: {:?}", imported.unread) };
        assert!(unread.kind == kind && unread.reason.contains(reason), "{unread:?}");
        assert_eq!(imported.lacking.len(), lacking, "{:?}", imported.lacking);
        let count = |text: &str| inner(text).into_iter().filter(|line| !line.starts_with("{\"unread\":")).count();
        assert_eq!(count(&text), count(&again) + broken, "{reason}: all else is there");
    };
    fn first(folder: std::path::PathBuf) -> std::path::PathBuf {
        files_below(&folder).into_iter().min().unwrap()
    }
    fn alter(path: std::path::PathBuf) {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(path, "other").unwrap();
    }
    check(|world| alter(first(world.told.folder.join("blobs"))), FileKind::Blob, "is damaged", 1, 0).await;
    check(|world| fs::remove_file(first(world.told.folder.join("blobs"))).unwrap(), FileKind::Blob, "is missing", 1, 0)
        .await;
    check(|world| alter(first(world.told.folder.join("trees"))), FileKind::Manifest, "is damaged", 0, 0).await;
    check(|world| alter(first(world.dir.path().join("components"))), FileKind::Component, "is damaged", 0, 0).await;
    // Its line and its first chunk are written by then.
    let at_its_end = |world: &World| {
        let path = first(world.dir.path().join("components"));
        alter(path.clone());
        fs::write(path, [&[7; 299_999][..], &[8]].concat()).unwrap();
    };
    check(at_its_end, FileKind::Component, "is damaged", 0, 2).await;
    let stray = |world: &World| {
        let folder = fs::read_dir(world.logs()).unwrap().next().unwrap().unwrap().path();
        fs::write(folder.join("log~"), "").unwrap();
    };
    check(stray, FileKind::Log, "does not have the name of a log", 0, 0).await;
    // It is opened, and cannot be read.
    let folder = |world: &World| {
        let folder = fs::read_dir(world.logs()).unwrap().next().unwrap().unwrap().path();
        fs::create_dir(folder.join("log")).unwrap();
    };
    check(folder, FileKind::Log, "Is a directory", 0, 0).await;
}

/// As is written where a disk fails in the middle of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_breaks_off_is_left_out() {
    let world = world().await;
    let folder = fs::read_dir(world.logs()).unwrap().next().unwrap().unwrap().path();
    fs::write(folder.join("long"), vec![b'x'; CHUNK_BYTES + 1]).unwrap();
    let whole = text(of_world(&world)).await;
    let execution = folder.file_name().unwrap().to_str().unwrap();
    let named =
        |file: &str| format!("{{\"unread\":{{\"kind\":\"log\",\"file\":\"{file}\",\"reason\":\"it is gone\"}}}}\n");
    let last = format!("{{\"chunk\":\"{}\"}}\n", lines::to_chunk(b"x"));
    let imported = async |line: &str| {
        let dir = TempDir::new().unwrap();
        let (data, imported) = import_into(&dir, ended(&whole.replacen(&last, line, 1))).await;
        (imported, data.logs().join(execution).join("long").exists(), dir)
    };
    let (done, exists, _dir) = imported(&named(&format!("{execution}/long"))).await;
    assert!(matches!(&done.unwrap().unread[..], [UnreadLine::File(_)]) && !exists);
    // Only what is named is let go.
    for wrong in [named("other/long"), String::new()] {
        let (done, exists, _dir) = imported(&wrong).await;
        assert!(!exists && done.unwrap_err().to_string().contains("the file before it has not ended"));
    }
}

/// The lines with another last line, which is right for them.
fn ended(text: &str) -> String {
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    let before = lines[..lines.len() - 1].concat();
    let (lines, sha256) = (lines.len() as u64 - 1, Digest::of(before.as_bytes()).to_string());
    format!("{before}{}\n", serde_json::to_string(&Line::End(lines::EndLine { lines, sha256 })).unwrap())
}
