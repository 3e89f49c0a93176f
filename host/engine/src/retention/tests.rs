//! Rounds of retention over pipelines whose executions make real artifacts, at times that pass as the tests say.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    Awaited, ExecutionId, FailureType, Reply, Report, RunAction, StartRequest, Success, Wait, What,
};
use pipewright_sandbox::files::{BlobDir, Digest, Entry, Node, Tree};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::driver::faults::Faulty;
use crate::driver::index::Kind;
use crate::driver::{Actions, Driver, Granted, record};
use bytes::Bytes;
use pipewright_base::{Cause, Source};
use pipewright_store::{List, MemoryStore};

/// Source makes an artifact of a file of its own and one that all have in common; Build fails and Gate waits when told to.
#[derive(Clone)]
struct Script(Arc<Told>);

pub(crate) struct Told {
    pub(crate) folder: PathBuf,
    builds_fail: AtomicBool,
    pub(crate) gate_waits: AtomicBool,
    /// What starts pin.
    grants: std::sync::Mutex<Option<Bytes>>,
}

fn store_artifact(folder: &std::path::Path, own: &str) -> Digest {
    let blobs = BlobDir::new(folder.join("blobs")).unwrap();
    let entry = |path: &str, content: &str| Entry {
        path: path.to_owned(),
        node: Node::File {
            digest: blobs.put(content.as_bytes()).unwrap(),
            size: content.len() as u64,
            executable: false,
        },
    };
    let tree = Tree::new(vec![entry("common", "the same"), entry("own", own)]).unwrap();
    BlobDir::new(folder.join("trees")).unwrap().put(&tree.to_bytes()).unwrap()
}

impl Actions for Script {
    fn run(&self, _: Aggregate, run: RunAction) -> BoxFuture<'static, Report> {
        let told = Arc::clone(&self.0);
        async move {
            let mut success = Success::default();
            match run.action().name.as_str() {
                "Source" => {
                    let digest = store_artifact(&told.folder, &run.execution.to_string());
                    success.artifacts.insert("Code".to_owned(), digest.to_string());
                }
                "Build" if told.builds_fail.load(Ordering::SeqCst) => {
                    return Report::failed(FailureType::JobFailed, "told to");
                }
                "Gate" if told.gate_waits.load(Ordering::SeqCst) => {
                    return Report::waiting(Wait { awaits: vec![Awaited::Approval], ..Wait::default() });
                }
                _ => {}
            }
            Report::succeeded(success)
        }
        .boxed()
    }

    fn may_run_again(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, bool> {
        std::future::ready(true).boxed()
    }

    fn grants(&self, _: u64, _: &str) -> BoxFuture<'static, Granted> {
        std::future::ready(Ok(self.0.grants.lock().unwrap().clone())).boxed()
    }
}

fn declaration() -> Arc<PipelineDeclaration> {
    let stage = |name: &str, category: &str, owner: &str| {
        let outputs = if name == "Source" { json!([{ "name": "Code" }]) } else { json!([]) };
        let id = json!({ "category": category, "owner": owner, "provider": "Manual", "version": "1" });
        json!({ "name": name, "actions": [{ "name": name, "actionTypeId": id, "outputArtifacts": outputs }] })
    };
    let declaration = json!({
        "name": "p",
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "stages": [stage("Source", "Source", "Custom"), stage("Build", "Build", "Custom"), stage("Gate", "Approval", "AWS")],
    });
    Arc::new(serde_json::from_value(declaration).unwrap())
}

pub(crate) fn cause() -> Cause {
    Cause::host("tests", Source::Start)
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) driver: Driver,
    pub(crate) told: Arc<Told>,
    pub(crate) pipeline: Aggregate,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let folder = dir.path().join("artifacts");
        let told = Arc::new(Told {
            folder,
            builds_fail: AtomicBool::new(false),
            gate_waits: AtomicBool::new(false),
            grants: std::sync::Mutex::default(),
        });
        let driver = Driver::new(Arc::clone(&store), Arc::new(Script(Arc::clone(&told))));
        let pipeline = driver.named(0, "p").await.unwrap();
        driver.submit(pipeline, What::Create { declaration: declaration() }, &cause()).await.unwrap();
        Self { dir, store, driver, told, pipeline }
    }

    /// Starts an execution and waits until it has ended or waits, for its approval or in front of a stage; it gets a log.
    pub(crate) async fn execute(&self) -> ExecutionId {
        let Reply::Execution(id) =
            self.driver.submit(self.pipeline, What::Start(StartRequest::default()), &cause()).await.unwrap()
        else {
            panic!("a start gives an execution")
        };
        let mut watcher = self.store.watch(Some(self.pipeline));
        while !self.rests(id).await {
            tokio::time::timeout(Duration::from_secs(30), watcher.changed()).await.expect("nothing happens any more");
        }
        let log = self.logs().join(id.to_string());
        fs::create_dir_all(&log).unwrap();
        fs::write(log.join("action.log"), "said").unwrap();
        id
    }

    async fn rests(&self, id: ExecutionId) -> bool {
        let state = self.driver.state(self.pipeline).await.unwrap();
        match state.executions.get(&id) {
            Some(live) => live.progress.inbound_since.is_some() || live.runs.values().any(|run| run.wait.is_some()),
            None => true,
        }
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.dir.path().join("logs")
    }

    pub(crate) async fn collect(&self, retention: Retention, now: u64) -> Collected {
        let artifacts = Arc::new(Artifacts::open(&self.told.folder).unwrap());
        let keeper = Keeper::new(Arc::clone(&self.store), Arc::clone(&artifacts), self.logs(), retention);
        let collected = keeper.collect_once(now).await.unwrap();
        self.store.verify().await.unwrap();
        assert_eq!(artifacts.check().unwrap().damage, Vec::<String>::new());
        collected
    }

    /// That these executions are kept, with all they have, and nothing of others.
    async fn check(&self, kept: &[ExecutionId], others: &[ExecutionId]) {
        let rows = |kind: Kind| {
            let list = List { kind: kind as u8, limit: 1000, ..List::default() };
            async move { self.store.list(list).await.unwrap().len() }
        };
        assert_eq!(rows(Kind::Executions).await, kept.len());
        assert_eq!(rows(Kind::Artifacts).await, kept.len());
        let mut actions = 0;
        for id in kept {
            let state = self.driver.state(self.pipeline).await.unwrap();
            let live = state.executions.get(id).cloned();
            let execution = match live {
                Some(live) => live,
                None => Arc::new(self.driver.archived(self.pipeline, *id).await.unwrap().expect("it is kept")),
            };
            actions += execution.runs.len();
        }
        assert_eq!(rows(Kind::ActionsOf).await, actions);
        for (ids, is_kept) in [(kept, true), (others, false)] {
            for id in ids {
                let blob = Digest::of(id.to_string().as_bytes());
                let blobs = BlobDir::new(self.told.folder.join("blobs")).unwrap();
                assert_eq!((blobs.contains(&blob), self.logs().join(id.to_string()).exists()), (is_kept, is_kept));
            }
        }
    }

    async fn first_record(&self) -> u64 {
        self.store.history(self.pipeline, 0, 1).await.unwrap()[0].sequence
    }
}

/// A time between what happened before and what happens next.
async fn now() -> u64 {
    tokio::time::sleep(Duration::from_millis(3)).await;
    let now = clock::now_ms();
    tokio::time::sleep(Duration::from_millis(3)).await;
    now
}

const AGE: Retention = Retention { executions_age_days: 1, executions_count_max: 1000, logs_age_days: 1000 };

#[tokio::test(flavor = "multi_thread")]
async fn old_executions_go_unless_they_are_needed() {
    let world = World::new().await;
    let one = world.execute().await;
    world.told.builds_fail.store(true, Ordering::SeqCst);
    let two = world.execute().await;
    let after_two = now().await;
    let (three, four) = (world.execute().await, world.execute().await);
    assert_eq!(world.collect(AGE, after_two).await, Collected::default(), "they are younger than a day");
    let collected = world.collect(AGE, after_two + DAY_MILLISECONDS).await;
    let bytes = collected.bytes;
    // The first is the latest of the stage Gate.
    let gone = Collected { executions: 1, log_files: 1, artifacts: 1, blobs: 1, bytes, ..Collected::default() };
    assert_eq!(collected, gone);
    world.check(&[one, three, four], &[two]).await;
    assert_eq!(world.first_record().await, 2, "the history of the first is kept, from its start on");
    world.told.builds_fail.store(false, Ordering::SeqCst);
    let five = world.execute().await;
    assert_eq!(world.collect(AGE, now().await + DAY_MILLISECONDS).await.executions, 3);
    world.check(&[five], &[one, two, three, four]).await;
    let first = world.store.history(world.pipeline, 0, 1).await.unwrap().remove(0);
    let event = String::from_utf8(first.events[1].to_vec()).unwrap();
    assert!(event.contains("STARTED") && event.contains(&five.to_string()), "{event}");
    assert_eq!(world.collect(AGE, now().await + DAY_MILLISECONDS).await, Collected::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_executions_the_newest_stay() {
    let world = World::new().await;
    let mut all = Vec::new();
    for _ in 0..6 {
        all.push(world.execute().await);
    }
    // As if an earlier round had been interrupted.
    let taken = Trim {
        aggregate: world.pipeline,
        expected: None,
        before: 0,
        parts: vec![crate::driver::record::archived(all[1])],
        index: Vec::new(),
    };
    world.store.trim(taken).await.unwrap();
    let two = Retention { executions_count_max: 2, ..Retention::default() };
    // Artifacts that were stored less than an hour ago stay for now.
    let collected = world.collect(two, now().await).await;
    assert_eq!((collected.executions, collected.artifacts), (4, 0));
    let collected = world.collect(two, now().await + 2 * COLLECT_GRACE_MILLISECONDS).await;
    assert_eq!((collected.executions, collected.artifacts, collected.blobs), (0, 4, 4));
    world.check(&all[4..], &all[..4]).await;
    assert!(world.first_record().await > 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_never_collected() {
    let world = World::new().await;
    world.told.gate_waits.store(true, Ordering::SeqCst);
    let waiting = world.execute().await;
    let none = Retention { executions_age_days: 0, executions_count_max: 0, logs_age_days: 1000 };
    assert_eq!(world.collect(none, now().await + 400 * DAY_MILLISECONDS).await, Collected::default());
    world.check(&[waiting], &[]).await;
    assert_eq!(world.first_record().await, 2, "its start");
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_pipelines_and_old_tokens_go() {
    let world = World::new().await;
    let token = Some("token".to_owned());
    let why = cause();
    let start = || world.driver.start(world.pipeline, StartRequest::default(), token.clone(), Vec::new(), &why);
    let first = start().await.unwrap();
    while !world.rests(first).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(start().await.unwrap(), first);
    let archived = async || world.store.archived(world.pipeline, None, 100).await.unwrap();
    let tokens = async || archived().await.iter().filter(|(name, _)| name.starts_with(b"token/")).count();
    world.collect(AGE, now().await).await;
    assert_eq!(tokens().await, 1);
    world.collect(AGE, now().await + DAY_MILLISECONDS).await;
    assert_eq!(tokens().await, 0);

    let other = world.execute().await;
    world.driver.delete(world.pipeline, "p", &cause()).await.unwrap();
    assert_eq!(world.collect(AGE, now().await).await, Collected::default());
    let collected = world.collect(AGE, now().await + DAY_MILLISECONDS).await;
    assert_eq!((collected.pipelines, collected.executions, collected.artifacts), (1, 2, 2));
    world.check(&[], &[first, other]).await;
    assert_eq!(world.store.aggregates(None, 10).await.unwrap(), [Aggregate::of_account(0)]);
    for kind in 0..=u8::MAX {
        let left = world.store.list(List { kind, limit: 10, ..List::default() }).await.unwrap();
        assert_eq!(left, [], "kind {kind}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn grants_go_with_the_last_execution_that_pinned_them() {
    let world = World::new().await;
    for grants in ["one", "two", "one", "three", "three"] {
        *world.told.grants.lock().unwrap() = Some(Bytes::from_static(grants.as_bytes()));
        world.execute().await;
    }
    let kept = async || {
        let mut kept = Vec::new();
        for grants in ["one", "two", "three"] {
            let part = record::grants(&Digest::of(grants.as_bytes()).to_string());
            if world.store.get(world.pipeline, &part).await.unwrap().is_some() {
                kept.push(grants);
            }
        }
        kept
    };
    for (executions_count_max, expected) in
        [(5, &["one", "two", "three"][..]), (3, &["one", "three"]), (2, &["three"]), (1, &["three"])]
    {
        world.collect(Retention { executions_count_max, ..Retention::default() }, now().await).await;
        assert_eq!(kept().await, expected, "{executions_count_max}");
    }
}

/// One pipeline that cannot be read keeps nothing else from being collected.
#[tokio::test(flavor = "multi_thread")]
async fn retention_goes_on_past_a_damaged_pipeline() {
    let world = World::new().await;
    for _ in 0..3 {
        world.execute().await;
    }
    let sick = world.driver.named(0, "sick").await.unwrap();
    let store: Arc<dyn Store> = Arc::new(Faulty::load(Arc::clone(&world.store), sick));
    world.driver.keep(sick, vec![("tags".to_owned(), None)], &cause()).await.unwrap();
    let artifacts = Arc::new(Artifacts::open(&world.told.folder).unwrap());
    let one = Retention { executions_count_max: 1, ..Retention::default() };
    let keeper = Keeper::new(store, artifacts, world.logs(), one);
    let collected = keeper.collect_once(now().await + 2 * COLLECT_GRACE_MILLISECONDS).await.unwrap();
    assert_eq!((collected.executions, collected.artifacts), (2, 2));
}

#[tokio::test(flavor = "multi_thread")]
async fn old_logs_go_by_themselves() {
    let world = World::new().await;
    world.execute().await;
    let logs = Retention { logs_age_days: 1, ..Retention::default() };
    assert_eq!(world.collect(logs, now().await).await, Collected::default());
    let collected = world.collect(logs, now().await + DAY_MILLISECONDS).await;
    assert_eq!(collected, Collected { log_files: 1, bytes: 4, ..Collected::default() });
    assert_eq!(fs::read_dir(world.logs()).unwrap().count(), 0);
}
