//! What an error ends: one pipeline whose store, record or step fails, beside a healthy one that must go on.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipewright_base::Scope;
use pipewright_pipeline::machine::{ExecutionId, ExecutionState, InputKind, Refusal, StartRequest};
use pipewright_store::{
    Aggregate, Commit, CommitError, Holder, Lease, LeaseError, List, Loaded, MemoryStore, PartKey, Record, Snapshot,
    Store, StoreError, Trim, Verified, Watcher,
};

use super::DriverError;
use super::rows::Kind;
use super::tests::{Deed, Host, Script, cause, pipeline};

/// What is wrong with one aggregate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// Its live parts cannot be read.
    Load,
    /// One of them is not what this version writes.
    Part,
    /// The declaration has fewer stages than its executions went through: steps panic.
    Declaration,
    /// What is archived cannot be read.
    Get,
    /// Another writer is ahead.
    Conflict,
    /// Every record is too large.
    TooLarge,
    /// The store as a whole has stopped.
    Stopped,
}

/// A store that fails for one aggregate, while it is told to.
pub(crate) struct Faulty {
    inner: Arc<dyn Store>,
    fault: Mutex<Option<(Aggregate, Fault)>>,
}

impl Default for Faulty {
    fn default() -> Self {
        Self { inner: Arc::new(MemoryStore::default()), fault: Mutex::default() }
    }
}

impl Faulty {
    /// Another store, of which a pipeline cannot be loaded.
    pub(crate) fn load(inner: Arc<dyn Store>, sick: Aggregate) -> Self {
        Self { inner, fault: Mutex::new(Some((sick, Fault::Load))) }
    }

    fn fails(&self, aggregate: Aggregate) -> Option<Fault> {
        self.fault.lock().unwrap().filter(|(sick, _)| *sick == aggregate).map(|(_, fault)| fault)
    }

    fn set(&self, fault: Option<(Aggregate, Fault)>) {
        *self.fault.lock().unwrap() = fault;
    }
}

fn damaged() -> StoreError {
    StoreError::Damaged { place: "a place".to_owned(), problem: "it was altered".to_owned() }
}

#[async_trait]
impl Store for Faulty {
    async fn load(&self, aggregate: Aggregate) -> Result<Loaded, StoreError> {
        let mut loaded = self.inner.load(aggregate).await?;
        match self.fails(aggregate) {
            Some(Fault::Load) => return Err(damaged()),
            Some(Fault::Part) => loaded.parts[0].1 = Bytes::from_static(b"{}"),
            Some(Fault::Declaration) => {
                let part =
                    loaded.parts.iter_mut().find(|(key, _)| *key == PartKey::Live("declaration".into())).unwrap();
                let mut declaration: serde_json::Value = serde_json::from_slice(&part.1).unwrap();
                declaration["Declaration"]["stages"].as_array_mut().unwrap().truncate(1);
                part.1 = serde_json::to_vec(&declaration).unwrap().into();
            }
            _ => {}
        }
        Ok(loaded)
    }

    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        let aggregate = commit.aggregate;
        match self.fails(aggregate) {
            Some(Fault::Conflict) => Err(CommitError::Conflict { aggregate, expected: commit.expected, actual: 99 }),
            Some(Fault::TooLarge) => Err(CommitError::TooLarge { aggregate, what: "a part", size: 2, size_max: 1 }),
            Some(Fault::Stopped) => Err(StoreError::Stopped { reason: "the sync failed".to_owned() }.into()),
            _ => self.inner.commit(commit).await,
        }
    }

    async fn acquire(&self, aggregate: Aggregate, holder: Holder, term: Duration) -> Result<Lease, LeaseError> {
        self.inner.acquire(aggregate, holder, term).await
    }

    async fn renew(&self, lease: Lease, term: Duration) -> Result<(), LeaseError> {
        self.inner.renew(lease, term).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.inner.release(lease).await
    }

    async fn get(&self, aggregate: Aggregate, key: &PartKey) -> Result<Option<Bytes>, StoreError> {
        match self.fails(aggregate) {
            Some(Fault::Get) => Err(damaged()),
            _ => self.inner.get(aggregate, key).await,
        }
    }

    async fn history(&self, aggregate: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.inner.history(aggregate, from, limit).await
    }

    async fn list(&self, list: List) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.inner.list(list).await
    }

    fn watch(&self, aggregate: Option<Aggregate>) -> Watcher {
        self.inner.watch(aggregate)
    }

    async fn verify(&self) -> Result<Verified, StoreError> {
        self.inner.verify().await
    }

    async fn aggregates(&self, after: Option<Aggregate>, limit: usize) -> Result<Vec<Aggregate>, StoreError> {
        self.inner.aggregates(after, limit).await
    }

    async fn archived(
        &self,
        aggregate: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.inner.archived(aggregate, after, limit).await
    }

    async fn snapshot(&self, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError> {
        self.inner.snapshot(aggregate, since).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64, CommitError> {
        self.inner.trim(trim).await
    }

    async fn erase(&self, aggregate: Aggregate) -> Result<u64, CommitError> {
        self.inner.erase(aggregate).await
    }
}

/// Two pipelines that wait for an approval, one of which will fail.
struct World {
    store: Arc<Faulty>,
    host: Host,
    sick: Aggregate,
    execution: ExecutionId,
    token: String,
}

impl World {
    fn new() -> Self {
        let store = Arc::<Faulty>::default();
        let host = Host::start(&seen(&store), script());
        let sick = host.create("sick");
        let execution = host.begin(sick);
        let token = host.approval_token(sick);
        Self { store, host, sick, execution, token }
    }

    /// The same after the host was stopped and started, with the fault.
    fn again(self, fault: Fault) -> Self {
        self.host.die();
        self.store.set(Some((self.sick, fault)));
        Self { host: Host::start(&seen(&self.store), script()), ..self }
    }

    /// A command that meets the fault, if one must come for it to show.
    fn provoke(&self) {
        let stop = InputKind::Stop { execution: self.execution, abandon: true, reason: None, by: None };
        self.host.submit(self.sick, stop).unwrap_err();
    }

    fn state(&self) -> Result<(), DriverError> {
        self.host.runtime.block_on(self.host.driver.state(self.sick)).map(drop)
    }

    fn reload(&self) -> Result<(), DriverError> {
        self.host.runtime.block_on(self.host.driver.reload(self.sick))
    }

    fn is_quarantined(&self, why: &str, case: &str) {
        for told in [self.state().unwrap_err(), self.host.submit(self.sick, start()).unwrap_err()] {
            assert!(matches!(&told, DriverError::Quarantined(reason) if reason.contains(why)), "{case}: {told}");
        }
        assert!(self.host.driver.quarantined(self.sick).is_some(), "{case}");
        assert_eq!(self.host.driver.has_failed(), None, "{case}");
    }

    /// Another pipeline, made now, comes to its end.
    fn others_go_on(&self, name: &str) {
        let healthy = self.host.create(name);
        self.host.begin(healthy);
        let token = self.host.approval_token(healthy);
        self.host.approve(healthy, &token).unwrap();
        assert_eq!(self.host.end(healthy), ExecutionState::Succeeded);
    }

    fn delete(&self) {
        let driver = &self.host.driver;
        self.host.runtime.block_on(async {
            assert_eq!(driver.find(0, "sick").await.unwrap(), Some(self.sick));
            assert_eq!(driver.0.accounts.name_of(self.sick).as_deref(), Some("sick"), "by which the log names it");
            driver.delete(self.sick, "sick", &cause()).await.unwrap();
            assert_eq!(driver.find(0, "sick").await.unwrap(), None);
            assert_eq!(driver.quarantined(self.sick), None);
            let listed = List { kind: Kind::Pipelines as u8, limit: 10, ..List::default() };
            let names: Vec<_> = self.store.list(listed).await.unwrap().into_iter().map(|(name, _)| name).collect();
            assert!(!names.contains(&Bytes::from_static(b"sick")), "{names:?}");
        });
    }
}

/// As the driver sees it.
fn seen(store: &Arc<Faulty>) -> Arc<dyn Store> {
    Arc::clone(store) as _
}

fn script() -> Script {
    Script::new(&[("Gate", Deed::AwaitApproval)])
}

fn start() -> InputKind {
    InputKind::Start(StartRequest::default())
}

#[test]
fn what_is_wrong_when_a_pipeline_is_loaded_ends_that_pipeline() {
    let check = |fault, why: &str| {
        let case = format!("{fault:?}");
        let world = World::new().again(fault);
        world.provoke();
        world.is_quarantined(why, &case);
        world.others_go_on("healthy");
        world.store.set(None);
        world.is_quarantined(why, &case);
        world.reload().unwrap();
        world.state().unwrap();
        world.host.approve(world.sick, &world.token).unwrap();
        assert_eq!(world.host.end(world.sick), ExecutionState::Succeeded, "{case}");

        let world = World::new().again(fault);
        world.provoke();
        if fault != Fault::Declaration {
            assert!(matches!(world.reload().unwrap_err(), DriverError::Quarantined(_)), "{case}");
        }
        world.delete();
        world.others_go_on("sick");
    };
    check(Fault::Load, "the store is damaged at a place: it was altered");
    check(Fault::Part, "the store holds a part that this version cannot read");
    check(Fault::Declaration, "a defect of the host");
}

#[test]
fn what_cannot_be_committed_ends_the_pipeline_or_the_request() {
    let check = |fault, what: &dyn Fn(&World) -> Result<(), DriverError>, why: Option<&str>| {
        let case = format!("{fault:?}");
        let world = World::new();
        world.store.set(Some((world.sick, fault)));
        let told = what(&world).unwrap_err();
        match why {
            Some(why) => {
                assert!(matches!(&told, DriverError::Quarantined(reason) if reason.contains(why)), "{case}: {told}");
                world.is_quarantined(why, &case);
            }
            None => {
                assert_eq!(told.scope(), Scope::Request, "{case}: {told}");
                world.state().unwrap();
            }
        }
        world.others_go_on("healthy");
        world.store.set(None);
        world.reload().unwrap();
        world.host.approve(world.sick, &world.token).unwrap();
        assert_eq!(world.host.end(world.sick), ExecutionState::Succeeded, "{case}");
    };
    let approve = |world: &World| world.host.approve(world.sick, &world.token).map(drop);
    let note = |world: &World| {
        let notes = vec![("tags".to_owned(), Some(Bytes::from_static(b"{}")))];
        let cause = cause();
        world.host.runtime.block_on(world.host.driver.keep(world.sick, notes, &cause))
    };
    let token = |world: &World| {
        let (driver, cause) = (&world.host.driver, cause());
        let start = driver.start(world.sick, StartRequest::default(), Some("t".to_owned().into()), Vec::new(), &cause);
        world.host.runtime.block_on(start).map(drop)
    };
    check(Fault::Conflict, &approve, Some("two hosts write one store"));
    check(Fault::Conflict, &note, Some("two hosts write one store"));
    check(Fault::Get, &token, Some("it was altered"));
    check(Fault::TooLarge, &approve, None);
    check(Fault::TooLarge, &note, None);
}

/// Nobody would hear the refusal of a report or of a timer.
#[test]
fn what_the_host_itself_cannot_keep_ends_the_pipeline() {
    for deed in [Deed::Sleep(1_000), Deed::Slow(300)] {
        let store = Arc::<Faulty>::default();
        let host = Host::start(&seen(&store), Script::new(&[("Build", deed)]));
        let sick = host.create("sick");
        host.begin(sick);
        host.until_called("Build", 1);
        if matches!(deed, Deed::Sleep(_)) {
            host.waits(sick, "Build");
        }
        store.set(Some((sick, Fault::TooLarge)));
        host.pass(1_000);
        host.until_quarantined(sick);
        let why = host.runtime.block_on(host.driver.state(sick)).unwrap_err();
        assert!(why.to_string().contains("over the limit of 1"), "{why}");
        let healthy = host.create("healthy");
        host.begin(healthy);
        if matches!(deed, Deed::Sleep(_)) {
            host.waits(healthy, "Build");
            host.pass(1_000);
        }
        assert_eq!(host.end(healthy), ExecutionState::Succeeded);
        store.set(None);
        host.runtime.block_on(host.driver.reload(sick)).unwrap();
        assert_eq!(host.end(sick), ExecutionState::Succeeded, "{deed:?}");
    }
}

#[test]
fn a_panic_ends_the_pipeline_that_met_it() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let host = Host::start(&store, Script { panics: Some("sick"), ..Script::default() });
    let (sick, healthy) = (host.create("sick"), host.create("healthy"));
    let told = host.submit(sick, start()).unwrap_err();
    assert!(matches!(&told, DriverError::Quarantined(why) if why.contains("it was scripted to")), "{told}");
    host.begin(healthy);
    assert_eq!(host.end(healthy), ExecutionState::Succeeded);
}

#[test]
fn a_store_that_has_stopped_ends_the_host() {
    let world = World::new();
    world.store.set(Some((world.sick, Fault::Stopped)));
    let told = world.host.approve(world.sick, &world.token).unwrap_err();
    assert_eq!(told.scope(), Scope::Host, "{told}");
    assert!(world.host.driver.has_failed().is_some_and(|why| why.contains("the sync failed")));
    assert_eq!(world.host.driver.quarantined(world.sick), None);
    let failure = world.host.driver.failure();
    assert!(world.host.runtime.block_on(failure).contains("the sync failed"));
}

#[test]
fn one_pipeline_that_cannot_go_on_keeps_no_other_from_it() {
    let store = Arc::<Faulty>::default();
    let hangs = Script::new(&[("Build", Deed::Hang)]);
    let host = Host::start(&seen(&store), hangs);
    let pipelines: Vec<_> = ["a", "b", "c"].map(|name| host.create(name)).into();
    for pipeline in &pipelines {
        host.begin(*pipeline);
    }
    host.until_called("Build", pipelines.len());
    host.die();
    // They go on in the order of their uids, which is random.
    store.set(Some((pipelines[0], Fault::Load)));
    let host = Host::start(&seen(&store), Script::default());
    for healthy in &pipelines[1..] {
        assert_eq!(host.end(*healthy), ExecutionState::Succeeded);
    }
    assert!(host.driver.quarantined(pipelines[0]).is_some());
    store.set(None);
    host.runtime.block_on(host.driver.reload(pipelines[0])).unwrap();
    assert_eq!(host.end(pipelines[0]), ExecutionState::Succeeded);
}

/// A pipeline that is deleted while its actions report: what they say has no effect.
#[test]
fn a_late_report_has_no_effect() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let host = Host::start(&store, Script::default());
    let healthy = host.create("healthy");
    for _ in 0..200 {
        let doomed = host.create("doomed");
        host.begin(doomed);
        host.runtime.block_on(host.driver.delete(doomed, "doomed", &cause())).unwrap();
    }
    host.begin(healthy);
    assert_eq!(host.end(healthy), ExecutionState::Succeeded);
    assert_eq!(host.driver.has_failed(), None);
}

/// What brings the host down is not run for ever.
#[test]
fn what_ran_at_two_deaths_is_not_run_a_third_time() {
    let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
    let hang = || Script::new(&[("Build", Deed::Hang)]);
    let host = Host::start(&store, hang());
    let pipeline = host.create("p");
    host.begin(pipeline);
    host.until_called("Build", 1);
    host.die();
    // An orderly stop in between counts nothing.
    for (died, attempt) in [(false, 2), (true, 3), (false, 4)] {
        let host = Host::start_after(&store, hang(), died);
        host.until_called("Build", 1);
        assert_eq!(host.die().calls(), [format!("Build 1/{attempt}")]);
    }
    let host = Host::start_after(&store, hang(), true);
    assert_eq!(host.end(pipeline), ExecutionState::Failed);
    assert_eq!(host.script.calls(), [""; 0]);
    let told = host.runtime.block_on(async { store.history(pipeline, 1, 1000).await.unwrap() });
    let told = told.iter().flat_map(|record| &record.events).map(|event| String::from_utf8_lossy(event).into_owned());
    assert!(told.into_iter().any(|event| event.contains("The host crashed 2 times while the action ran")));
}

/// Each variant, and what it ends.
#[test]
fn every_error_says_what_it_ends() {
    let aggregate = Aggregate::of_account(0);
    let store = |error: &StoreError| match error {
        StoreError::Damaged { .. } => 0,
        StoreError::Stopped { .. } => 1,
        StoreError::Full { .. } => 2,
    };
    let stores = || {
        let stopped = StoreError::Stopped { reason: "x".to_owned() };
        let full = StoreError::Full { free_bytes: 0, free_bytes_min: 1 };
        [(damaged(), Scope::Pipeline), (stopped, Scope::Host), (full, Scope::Request)]
    };
    let walked: BTreeSet<_> = stores().iter().map(|(error, _)| store(error)).collect();
    assert_eq!(walked.len(), 3);
    for (error, scope) in stores() {
        assert_eq!(error.scope(), scope, "{error}");
        assert_eq!(CommitError::from(error.clone()).scope(), scope, "{error}");
        assert_eq!(DriverError::from(error.clone()).scope(), scope, "{error}");
        assert_eq!(DriverError::from(CommitError::from(error.clone())).scope(), scope, "{error}");
    }

    let commit = |error: &CommitError| match error {
        CommitError::Conflict { .. } => 0,
        CommitError::TooLarge { .. } => 1,
        CommitError::Store(_) => 2,
        CommitError::Fenced { .. } => 3,
    };
    let commits = [
        (CommitError::Conflict { aggregate, expected: 1, actual: 2 }, Scope::Pipeline),
        (CommitError::TooLarge { aggregate, what: "a part", size: 2, size_max: 1 }, Scope::Request),
        (CommitError::Store(damaged()), Scope::Pipeline),
        (CommitError::Fenced { aggregate }, Scope::Pipeline),
    ];
    let walked: BTreeSet<_> = commits.iter().map(|(error, _)| commit(error)).collect();
    assert_eq!(walked.len(), 4);
    for (error, scope) in commits {
        assert_eq!(error.scope(), scope, "{error}");
        assert_eq!(DriverError::from(error.clone()).scope(), scope, "{error}");
    }

    let driver = |error: &DriverError| match error {
        DriverError::Refused(_) => 0,
        DriverError::TooLarge(_) => 1,
        DriverError::Full(_) => 2,
        DriverError::Unpinned(_) => 3,
        DriverError::Quarantined(_) => 4,
        DriverError::Store(_) => 5,
        DriverError::Damaged(_) => 6,
        DriverError::Defect(_) => 7,
    };
    let text = || "x".to_owned();
    let errors = [
        (DriverError::Refused(Refusal::Stale), Scope::Request),
        (DriverError::TooLarge(text()), Scope::Request),
        (DriverError::Full(text()), Scope::Request),
        (DriverError::Unpinned(text()), Scope::Request),
        (DriverError::Quarantined("x".into()), Scope::Request),
        (DriverError::Store(damaged()), Scope::Pipeline),
        (DriverError::Damaged(text()), Scope::Pipeline),
        (DriverError::Defect(text()), Scope::Pipeline),
    ];
    let walked: BTreeSet<_> = errors.iter().map(|(error, _)| driver(error)).collect();
    assert_eq!(walked.len(), 8);
    for (error, scope) in errors {
        assert_eq!(error.scope(), scope, "{error}");
    }
}

#[test]
fn an_unreadable_name_is_created_again_only_once_it_is_deleted() {
    let world = World::new().again(Fault::Load);
    let create = || {
        let first = StartRequest::default();
        let cause = cause();
        world.host.runtime.block_on(world.host.driver.create(0, pipeline("sick"), first, Vec::new(), &cause))
    };
    assert!(matches!(create().unwrap_err(), DriverError::Quarantined(_)));
    world.delete();
    create().unwrap();
}
