//! Rounds of retention over pipelines whose executions make real artifacts, at times that pass as the tests say.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_artifacts::files::{BlobDir, Blobs as _, Entry, Node, Tree};
use pipewright_base::Digest;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    Awaited, ExecutionDetails, ExecutionId, FailureType, InputKind, Reply, Report, RunAction, StartRequest, Success,
    Verdict, Wait,
};
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::driver::faults::Faulty;
use crate::driver::rows::{ActionOfRow, ArtifactRow, EventRow, ExecutionRow, Row, RuleOfRow, Walk};
use crate::driver::tests::{PATIENCE, cause};
use crate::driver::{Actions, Driver, Granted, record};
use bytes::Bytes;
use pipewright_base::clock::{self, Simulated};
use pipewright_store::{List, MemoryStore};

/// Source makes an artifact of a file of its own and one that all have in common; Build fails and Gate waits when told to.
#[derive(Clone)]
struct Script(Arc<Behaviour>);

pub(crate) struct Behaviour {
    pub(crate) folder: PathBuf,
    builds_fail: AtomicBool,
    pub(crate) gate_waits: AtomicBool,
    /// What starts pin.
    grants: std::sync::Mutex<Option<Bytes>>,
    pins: std::sync::Mutex<BTreeMap<String, String>>,
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
            match run.name() {
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
            if run.is_rule() {
                return Report::decided(Verdict { passed: true, told: ExecutionDetails::default() });
            }
            Report::succeeded(success)
        }
        .boxed()
    }

    fn pins(&self, _: u64, _: &PipelineDeclaration) -> BTreeMap<String, String> {
        self.0.pins.lock().unwrap().clone()
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
    let mut build = stage("Build", "Build", "Custom");
    let rule = json!({ "name": "Window", "ruleTypeId": { "category": "Rule", "provider": "DeploymentWindow" } });
    build["beforeEntry"] = json!({ "conditions": [{ "result": "FAIL", "rules": [rule] }] });
    let declaration = json!({
        "name": "p",
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "stages": [stage("Source", "Source", "Custom"), build, stage("Gate", "Approval", "AWS")],
    });
    Arc::new(serde_json::from_value(declaration).unwrap())
}

/// The components of plugins, of which none is bound.
struct Components(BlobDir);

impl Pinned for Components {
    fn candidates(&self, before: u64) -> std::io::Result<Vec<Digest>> {
        self.0.stored_before(before)
    }

    fn remove(&self, unneeded: Vec<Digest>, before: u64) -> std::io::Result<(u64, u64)> {
        self.0.remove_unused(&unneeded, before)
    }

    fn forget(&self, _: u64) -> std::io::Result<(u64, u64)> {
        Ok((0, 0))
    }
}

pub(crate) struct World {
    pub(crate) dir: TempDir,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) clock: Simulated,
    pub(crate) driver: Driver,
    pub(crate) told: Arc<Behaviour>,
    pub(crate) pipeline: Aggregate,
}

impl World {
    pub(crate) async fn new() -> Self {
        let dir = TempDir::new().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let folder = dir.path().join("artifacts");
        let told = Arc::new(Behaviour {
            folder,
            builds_fail: AtomicBool::new(false),
            gate_waits: AtomicBool::new(false),
            grants: std::sync::Mutex::default(),
            pins: std::sync::Mutex::default(),
        });
        // Files have the times of this machine.
        let clock = Simulated::new(clock::now_ms());
        let (actions, time) = (Arc::new(Script(Arc::clone(&told))), Arc::new(clock.clone()));
        let driver = Driver::new(Arc::clone(&store), actions, time);
        let pipeline = driver.named(0, "p", &cause()).await.unwrap();
        driver.submit(pipeline, InputKind::Create { declaration: declaration() }, &cause()).await.unwrap();
        Self { dir, store, clock, driver, told, pipeline }
    }

    /// Starts an execution and waits until it has ended or waits, for its approval or in front of a stage; it gets a log.
    pub(crate) async fn execute(&self) -> ExecutionId {
        self.execute_with(&[]).await
    }

    async fn execute_with(&self, pins: &[(&str, Digest)]) -> ExecutionId {
        let pins = pins.iter().map(|(name, digest)| ((*name).to_owned(), digest.to_string())).collect();
        *self.told.pins.lock().unwrap() = pins;
        let start = InputKind::Start(StartRequest::default());
        let Reply::Execution(id) = self.driver.submit(self.pipeline, start, &cause()).await.unwrap() else {
            panic!("a start gives an execution")
        };
        let mut watcher = self.store.watch(Some(self.pipeline));
        while !self.rests(id).await {
            tokio::time::timeout(PATIENCE, watcher.changed()).await.expect("nothing happens any more");
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

    /// A round of retention, once so much time has passed.
    pub(crate) async fn collect(&self, retention: Retention, later: Duration) -> Collected {
        self.clock.advance(later).await;
        let artifacts = Arc::new(Artifacts::open(&self.told.folder).unwrap());
        let (store, clock) = (Arc::clone(&self.store), Arc::new(self.clock.clone()));
        let keeper = Keeper::new(store, clock, Arc::clone(&artifacts), self.logs(), retention);
        let keeper = keeper.with_pins(self.driver.clone(), Arc::new(Components(self.components())));
        let collected = keeper.collect_once().await.unwrap();
        self.store.verify().await.unwrap();
        assert_eq!(artifacts.check().unwrap().damage, []);
        collected
    }

    fn components(&self) -> BlobDir {
        BlobDir::new(self.dir.path().join("components")).unwrap()
    }

    /// That these executions are kept, with all they have, and nothing of others.
    async fn check(&self, kept: &[ExecutionId], others: &[ExecutionId]) {
        assert_eq!(self.rows::<ExecutionRow>().await.len(), kept.len());
        assert_eq!(self.rows::<ArtifactRow>().await.len(), kept.len());
        let mut runs = 0;
        for id in kept {
            let state = self.driver.state(self.pipeline).await.unwrap();
            let live = state.executions.get(id).cloned();
            let execution = match live {
                Some(live) => live,
                None => Arc::new(self.driver.archived(self.pipeline, *id).await.unwrap().expect("it is kept")),
            };
            runs += execution.runs.len();
        }
        let (actions, rules) = (self.rows::<ActionOfRow>().await, self.rows::<RuleOfRow>().await);
        assert_eq!((actions.len() + rules.len(), rules.is_empty()), (runs, kept.is_empty()));
        // Each record that is left is in the account's events, and nothing else.
        let events: Vec<_> = self.rows::<EventRow>().await.iter().map(|row| row.sequence).collect();
        let told = self.driver.history(self.pipeline, 0, 1000).await.unwrap();
        let told: Vec<_> = told.iter().filter(|entry| !entry.events.is_empty()).map(|entry| entry.sequence).collect();
        assert_eq!(events, told);
        for (ids, is_kept) in [(kept, true), (others, false)] {
            for id in ids {
                let blob = Digest::of(id.to_string().as_bytes());
                let blobs = BlobDir::new(self.told.folder.join("blobs")).unwrap();
                assert_eq!((blobs.contains(&blob), self.logs().join(id.to_string()).exists()), (is_kept, is_kept));
            }
        }
    }

    async fn rows<R: Row>(&self) -> Vec<R> {
        Walk::new(&*self.store, 0, Bytes::new(), None).all().await.unwrap()
    }

    async fn first_record(&self) -> u64 {
        self.store.history(self.pipeline, 0, 1).await.unwrap()[0].sequence
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_millis(DAY_MILLISECONDS);
const AGE: Retention =
    Retention { executions_age_days: 1, executions_count_max: 1000, logs_age_days: 1000, images_age_days: 1000 };

#[tokio::test]
async fn old_executions_go_unless_they_are_needed() {
    let world = World::new().await;
    let one = world.execute().await;
    world.told.builds_fail.store(true, Ordering::SeqCst);
    let two = world.execute().await;
    world.clock.advance(2 * MINUTE).await;
    let (three, four) = (world.execute().await, world.execute().await);
    assert_eq!(world.collect(AGE, MINUTE).await, Collected::default(), "they are younger than a day");
    let collected = world.collect(AGE, DAY - 2 * MINUTE).await;
    let bytes = collected.bytes;
    assert_eq!(Retention::default().executions_age_days, 365, "unless something else is configured");
    // The first is the latest of the stage Gate.
    let gone = Collected { executions: 1, log_files: 1, artifacts: 1, blobs: 1, bytes, ..Collected::default() };
    assert_eq!(collected, gone);
    world.check(&[one, three, four], &[two]).await;
    assert_eq!(world.first_record().await, 2, "the history of the first is kept, from its start on");
    world.told.builds_fail.store(false, Ordering::SeqCst);
    let five = world.execute().await;
    assert_eq!(world.collect(AGE, DAY + MINUTE).await.executions, 3);
    world.check(&[five], &[one, two, three, four]).await;
    let first = world.store.history(world.pipeline, 0, 1).await.unwrap().remove(0);
    let event = String::from_utf8(first.events[1].to_vec()).unwrap();
    assert!(event.contains("STARTED") && event.contains(&five.to_string()), "{event}");
    assert_eq!(world.collect(AGE, DAY + MINUTE).await, Collected::default());
}

#[tokio::test]
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
    let collected = world.collect(two, MINUTE).await;
    assert_eq!((collected.executions, collected.artifacts), (4, 0));
    let collected = world.collect(two, 2 * Duration::from_millis(COLLECT_GRACE_MILLISECONDS)).await;
    assert_eq!((collected.executions, collected.artifacts, collected.blobs), (0, 4, 4));
    world.check(&all[4..], &all[..4]).await;
    assert!(world.first_record().await > 4);
}

#[tokio::test]
async fn what_waits_is_never_collected() {
    let world = World::new().await;
    world.told.gate_waits.store(true, Ordering::SeqCst);
    let waiting = world.execute().await;
    let none =
        Retention { executions_age_days: 0, executions_count_max: 0, logs_age_days: 1000, images_age_days: 1000 };
    assert_eq!(world.collect(none, 2 * DAY).await, Collected::default());
    world.check(&[waiting], &[]).await;
    assert_eq!(world.first_record().await, 2, "its start");
}

#[tokio::test]
async fn deleted_pipelines_and_old_tokens_go() {
    let world = World::new().await;
    let token = Some("token".to_owned());
    let why = cause();
    let start =
        || world.driver.start(world.pipeline, StartRequest::default(), token.clone().map(Into::into), Vec::new(), &why);
    let first = start().await.unwrap();
    while !world.rests(first).await {
        tokio::task::yield_now().await;
    }
    assert_eq!(start().await.unwrap(), first);
    let archived = async || world.store.archived(world.pipeline, None, 100).await.unwrap();
    let tokens = async || archived().await.iter().filter(|(name, _)| name.starts_with(b"token/")).count();
    world.collect(AGE, MINUTE).await;
    assert_eq!(tokens().await, 1);
    world.collect(AGE, DAY + MINUTE).await;
    assert_eq!(tokens().await, 0);

    let other = world.execute().await;
    world.driver.delete(world.pipeline, "p", &cause()).await.unwrap();
    assert_eq!(world.collect(AGE, MINUTE).await, Collected::default());
    let collected = world.collect(AGE, DAY + MINUTE).await;
    assert_eq!((collected.pipelines, collected.executions, collected.artifacts), (1, 2, 2));
    world.check(&[], &[first, other]).await;
    assert_eq!(world.store.aggregates(None, 10).await.unwrap(), [Aggregate::of_account(0)]);
    for kind in 0..=u8::MAX {
        let left = world.store.list(List { kind, limit: 10, ..List::default() }).await.unwrap();
        assert_eq!(left, [], "kind {kind}");
    }
}

#[tokio::test]
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
        world.collect(Retention { executions_count_max, ..Retention::default() }, Duration::ZERO).await;
        assert_eq!(kept().await, expected, "{executions_count_max}");
    }
}

/// One pipeline that cannot be read keeps nothing else from being collected.
#[tokio::test]
async fn retention_goes_on_past_a_damaged_pipeline() {
    let world = World::new().await;
    for _ in 0..3 {
        world.execute().await;
    }
    let sick = world.driver.named(0, "sick", &cause()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(Faulty::load(Arc::clone(&world.store), sick));
    world.driver.keep(sick, vec![("tags".to_owned(), None)], &cause()).await.unwrap();
    let artifacts = Arc::new(Artifacts::open(&world.told.folder).unwrap());
    let one = Retention { executions_count_max: 1, ..Retention::default() };
    world.clock.advance(Duration::from_millis(2 * COLLECT_GRACE_MILLISECONDS)).await;
    let keeper = Keeper::new(store, Arc::new(world.clock.clone()), artifacts, world.logs(), one);
    let collected = keeper.collect_once().await.unwrap();
    assert_eq!((collected.executions, collected.artifacts), (2, 2));
}

#[tokio::test]
async fn old_logs_go_by_themselves() {
    let world = World::new().await;
    let id = world.execute().await;
    fs::write(world.logs().join(id.to_string()).join("action.results"), "{}").unwrap();
    let logs = Retention { logs_age_days: 1, ..Retention::default() };
    assert_eq!(world.collect(logs, MINUTE).await, Collected::default());
    let collected = world.collect(logs, DAY + MINUTE).await;
    assert_eq!(collected, Collected { log_files: 2, bytes: 6, ..Collected::default() }, "with what was reported");
    assert_eq!(fs::read_dir(world.logs()).unwrap().count(), 0);
}

#[tokio::test]
async fn plugins_and_grants_go_that_no_execution_pins() {
    let world = World::new().await;
    let keep = async |what: &str| {
        let digest = world.components().put(what.as_bytes()).unwrap();
        let key = format!("{GRANTS}{digest}");
        world.driver.keep_account_part(0, &key, Bytes::from_static(b"{}"), &cause()).await.unwrap();
        digest
    };
    let there = async || {
        let parts = world.driver.account_parts(0, GRANTS).await.unwrap();
        let grants: Vec<_> = parts.into_iter().map(|(digest, _)| digest.parse::<Digest>().unwrap()).collect();
        assert_eq!(grants, world.components().digests().unwrap());
        grants
    };
    let [old, live, none] = [keep("old").await, keep("live").await, keep("none").await];
    let sorted = |mut digests: Vec<Digest>| {
        digests.sort_unstable();
        digests
    };
    world.execute_with(&[("grants", old), ("plugin/Source/Source", old)]).await;
    world.collect(AGE, MINUTE).await;
    assert_eq!(there().await, sorted(vec![old, live, none]), "an execution that is about to start may have pinned it");
    world.told.gate_waits.store(true, Ordering::SeqCst);
    let waiting = world.execute_with(&[("grants", live), ("plugin/Build/Build", live)]).await;
    assert_eq!(world.collect(AGE, 2 * Duration::from_millis(COLLECT_GRACE_MILLISECONDS)).await.pinned, 1);
    assert_eq!(there().await, sorted(vec![old, live]));
    world.collect(AGE, 2 * DAY).await;
    let needed = sorted(vec![old, live]);
    assert_eq!(there().await, needed, "however long one waits, and while a stage would be rolled back to the other");
    let stop = InputKind::Stop { execution: waiting, abandon: true, reason: None, by: None };
    world.driver.submit(world.pipeline, stop, &cause()).await.unwrap();
    world.told.gate_waits.store(false, Ordering::SeqCst);
    world.execute().await;
    world.collect(AGE, 2 * DAY).await;
    assert_eq!(there().await, []);
}

#[tokio::test]
async fn declarations_go_that_no_execution_runs() {
    let world = World::new().await;
    let update = async |role: &str| {
        let declaration = PipelineDeclaration { role_arn: role.to_owned(), ..(*declaration()).clone() };
        let what = InputKind::Update { declaration: Arc::new(declaration) };
        world.driver.submit(world.pipeline, what, &cause()).await.unwrap();
    };
    let versions = async || {
        let mut there = Vec::new();
        for version in 1..=5 {
            there.extend(world.driver.version(world.pipeline, version).await.unwrap().map(|_| version));
        }
        there
    };
    update("arn:aws:iam::000000000000:role/two").await;
    world.execute().await;
    update("arn:aws:iam::000000000000:role/three").await;
    update("arn:aws:iam::000000000000:role/four").await;
    world.execute().await;
    update("arn:aws:iam::000000000000:role/five").await;
    world.collect(Retention::default(), MINUTE).await;
    assert_eq!(versions().await, [1, 2, 3, 4, 5], "nothing was dropped yet");
    let one = Retention { executions_count_max: 1, ..Retention::default() };
    world.collect(one, MINUTE).await;
    assert_eq!(versions().await, [4, 5]);
    world.execute().await;
    world.collect(one, MINUTE).await;
    assert_eq!(versions().await, [5]);
}

/// As a store is that a first version wrote.
#[tokio::test]
async fn events_that_have_no_rows_get_them_once() {
    let world = World::new().await;
    let one = world.execute().await;
    let written = world.rows::<EventRow>().await;
    let index = written.iter().map(Row::key).collect();
    let taken = Trim { aggregate: world.pipeline, expected: None, before: 0, parts: Vec::new(), index };
    world.store.trim(taken.clone()).await.unwrap();
    assert_eq!(world.rows::<EventRow>().await, []);
    world.driver.index_events(0).await.unwrap();
    assert_eq!(world.rows::<EventRow>().await, written);
    world.check(&[one], &[]).await;
    // It is not done again at every start.
    world.store.trim(taken).await.unwrap();
    world.driver.index_events(0).await.unwrap();
    assert_eq!(world.rows::<EventRow>().await, []);
}
