//! The driver with scripted actions on the in-memory store: what it promises when actions wait, fail, hang and panic, and
//! when the host dies.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    ActionExecutionId, ActionHappening, ApprovalAnswer, ApprovalStatus, Awaited, Event, ExecutionDetails, ExecutionId,
    ExecutionState, FailureType, InputKind, Refusal, Reply, Report, RunAction, StartRequest, Success, Timestamp,
    Verdict, Wait,
};
use serde_json::json;
use tokio::runtime::Runtime;

use super::{Actions, Driver, DriverError, Granted, StartToken};
use pipewright_base::clock::{Clock as _, Simulated};
use pipewright_base::{Cause, Principal, Source};
use pipewright_store::{Aggregate, MemoryStore, Store};

/// How long a test waits for what comes in a moment, also on a machine that has other things to do: only a defect takes so long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// What an action does when it is called.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    Succeed,
    Fail,
    Panic,
    /// Never answers.
    Hang,
    /// Waits for the signal `approval`, and succeeds when called again.
    AwaitApproval,
    /// Waits for the signal `approval`, and fails when called again.
    AwaitRejection,
    /// Waits for the signal `go`, and succeeds when called again.
    AwaitSignal,
    /// Waits for a worker.
    AwaitJob,
    /// Waits for this many milliseconds, and succeeds when called again.
    Sleep(u64),
    /// Takes so many milliseconds, and succeeds.
    Slow(u64),
}

/// One call as the actions saw it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Called {
    action: String,
    key: String,
    call: u32,
    attempt: u32,
}

#[derive(Clone, Default)]
pub(super) struct Script {
    pub(super) deeds: HashMap<&'static str, Deed>,
    pub(super) once_only: bool,
    /// What starts pin.
    pub(super) granted: Arc<Mutex<HashMap<String, Granted>>>,
    /// The parts of the account's record that executions hold on to.
    pub(super) parts: Arc<Mutex<Vec<String>>>,
    /// The pipeline whose start panics.
    pub(super) panics: Option<&'static str>,
    pub(super) called: Arc<Mutex<Vec<Called>>>,
    pub(super) clock: Option<Simulated>,
}

impl Script {
    pub(super) fn new(deeds: &[(&'static str, Deed)]) -> Self {
        Self { deeds: deeds.iter().copied().collect(), ..Self::default() }
    }

    /// The calls so far, as `Action call/attempt`.
    pub(super) fn calls(&self) -> Vec<String> {
        let called = self.called.lock().unwrap();
        called.iter().map(|called| format!("{} {}/{}", called.action, called.call, called.attempt)).collect()
    }

    fn count(&self, action: &str) -> usize {
        self.called.lock().unwrap().iter().filter(|called| called.action == action).count()
    }

    pub(super) fn keys(&self, action: &str) -> Vec<String> {
        let called = self.called.lock().unwrap();
        called.iter().filter(|called| called.action == action).map(|called| called.key.clone()).collect()
    }
}

impl Actions for Script {
    fn run(&self, _: Aggregate, run: RunAction) -> BoxFuture<'static, Report> {
        let name = run.name().to_owned();
        self.called.lock().unwrap().push(Called {
            action: name.clone(),
            key: run.action_execution.to_string(),
            call: run.call,
            attempt: run.attempt,
        });
        let deed = self.deeds.get(name.as_str()).copied().unwrap_or(Deed::Succeed);
        let now = self.clock.as_ref().map_or(0, |clock| clock.now_ms());
        async move {
            let waiting = |awaited| Report::waiting(Wait { awaits: vec![awaited], ..Wait::default() });
            match deed {
                Deed::Panic => panic!("it was scripted to"),
                Deed::Hang => std::future::pending().await,
                Deed::AwaitApproval | Deed::AwaitRejection if run.call == 1 => waiting(Awaited::Approval),
                Deed::AwaitSignal if run.call == 1 => waiting(Awaited::Signal("go".to_owned())),
                Deed::AwaitJob => waiting(Awaited::Job { within_milliseconds: None }),
                Deed::Sleep(millis) if run.call == 1 => waiting(Awaited::Time(Timestamp(now + millis))),
                Deed::Fail | Deed::AwaitRejection => Report::failed(FailureType::JobFailed, "it was scripted to"),
                Deed::Succeed | Deed::AwaitApproval | Deed::AwaitSignal | Deed::Sleep(_) | Deed::Slow(_) => {
                    if let Deed::Slow(millis) = deed {
                        tokio::time::sleep(Duration::from_millis(millis)).await;
                    }
                    if run.is_rule() {
                        return Report::decided(Verdict { passed: true, told: ExecutionDetails::default() });
                    }
                    let artifacts = run.outputs().map(|name| (name.to_owned(), "0".repeat(64))).collect();
                    Report::succeeded(Success { artifacts, ..Success::default() })
                }
            }
        }
        .boxed()
    }

    fn may_run_again(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, bool> {
        let again = !self.once_only;
        async move { again }.boxed()
    }

    /// Not at once: it is read beside what the pipeline does.
    fn parts(&self, _: &PipelineDeclaration) -> Vec<String> {
        self.parts.lock().unwrap().clone()
    }

    fn grants(&self, _: u64, pipeline: &str) -> BoxFuture<'static, Granted> {
        let granted = self.granted.lock().unwrap().get(pipeline).cloned();
        async move {
            tokio::task::yield_now().await;
            granted.unwrap_or(Ok(None))
        }
        .boxed()
    }

    fn pins(&self, _: u64, declaration: &PipelineDeclaration) -> BTreeMap<String, String> {
        assert_ne!(self.panics, Some(declaration.name.as_str()), "it was scripted to");
        declaration.stages.iter().map(|stage| (format!("plugin/{}", stage.name), "a digest".to_owned())).collect()
    }
}

/// Source, Build and Gate (an approval), each in a stage of its name.
pub(super) fn pipeline(name: &str) -> Arc<PipelineDeclaration> {
    let action = |category: &str, owner: &str, name: &str| {
        json!({
            "name": name,
            "actionTypeId": { "category": category, "owner": owner, "provider": "Manual", "version": "1" },
            "outputArtifacts": if category == "Source" { json!([{ "name": "Code" }]) } else { json!([]) },
        })
    };
    let stage = |name: &str, action| json!({ "name": name, "actions": [action] });
    let declaration = json!({
        "name": name,
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "stages": [
            stage("Source", action("Source", "Custom", "Source")),
            stage("Build", action("Build", "Custom", "Build")),
            stage("Gate", action("Approval", "AWS", "Gate")),
        ],
    });
    Arc::new(serde_json::from_value(declaration).unwrap())
}

/// A host that can die: its own runtime over a store that survives. Its time passes when the test says so.
pub(super) struct Host {
    pub(super) runtime: Runtime,
    clock: Simulated,
    pub(super) driver: Driver,
    pub(super) script: Script,
}

impl Host {
    pub(super) fn start(store: &Arc<dyn Store>, script: Script) -> Self {
        Self::start_after(store, script, false)
    }

    /// Whether the host before it died.
    pub(super) fn start_after(store: &Arc<dyn Store>, script: Script, died: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let clock = Simulated::new(1_700_000_000_000);
        let script = Script { clock: Some(clock.clone()), ..script };
        let (actions, time) = (Arc::new(script.clone()), Arc::new(clock.clone()));
        let driver = runtime.block_on(async { Driver::new(Arc::clone(store), actions, time) });
        runtime.block_on(driver.resume(0, died)).unwrap();
        Self { runtime, clock, driver, script }
    }

    pub(super) fn pass(&self, milliseconds: u64) {
        self.runtime.block_on(self.clock.advance(Duration::from_millis(milliseconds)));
    }

    /// As `kill -9` does: nothing that ran is seen to its end.
    pub(super) fn die(self) -> Script {
        self.runtime.shutdown_timeout(Duration::ZERO);
        self.script
    }

    pub(super) fn create(&self, name: &str) -> Aggregate {
        self.create_of(pipeline(name))
    }

    pub(super) fn create_of(&self, declaration: Arc<PipelineDeclaration>) -> Aggregate {
        self.runtime.block_on(async {
            let pipeline_id = self.driver.named(0, &declaration.name, &cause()).await.unwrap();
            self.driver.submit(pipeline_id, InputKind::Create { declaration }, &cause()).await.unwrap();
            pipeline_id
        })
    }

    pub(super) fn begin(&self, pipeline: Aggregate) -> ExecutionId {
        match self.submit(pipeline, InputKind::Start(StartRequest::default())).unwrap() {
            Reply::Execution(execution) => execution,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn submit(&self, pipeline: Aggregate, what: InputKind) -> Result<Reply, DriverError> {
        self.runtime.block_on(self.driver.submit(pipeline, what, &cause()))
    }

    /// Waits until an event is found, and gives what was found of it.
    pub(super) fn until<T>(&self, pipeline: Aggregate, find: impl Fn(&Event) -> Option<T>) -> T {
        self.runtime.block_on(async {
            let mut watcher = self.driver.watch(Some(pipeline));
            loop {
                let entries = self.driver.history(pipeline, 1, 1000).await.unwrap();
                if let Some(found) = entries.iter().flat_map(|entry| &entry.events).find_map(&find) {
                    return found;
                }
                tokio::time::timeout(PATIENCE, watcher.changed()).await.expect("nothing happens any more");
            }
        })
    }

    /// Waits until an action was called so often.
    pub(super) fn until_called(&self, action: &str, times: usize) {
        self.wait(|| self.script.count(action) >= times);
    }

    pub(super) fn until_quarantined(&self, pipeline: Aggregate) {
        self.wait(|| self.driver.quarantined(pipeline).is_some());
    }

    fn wait(&self, done: impl Fn() -> bool) {
        let waits = async {
            while !done() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        let in_time = async { tokio::time::timeout(PATIENCE, waits).await };
        self.runtime.block_on(in_time).expect("it does not happen");
    }

    pub(super) fn end(&self, pipeline: Aggregate) -> ExecutionState {
        self.until(pipeline, |event| match event {
            Event::Execution(event) => {
                let goes_on = matches!(event.state, ExecutionState::Started | ExecutionState::Stopping);
                (!goes_on).then_some(event.state)
            }
            _ => None,
        })
    }

    /// Waits until an action waits.
    pub(super) fn waits(&self, pipeline: Aggregate, name: &str) -> (ExecutionId, ActionExecutionId) {
        self.until(pipeline, |event| match event {
            Event::Action(action)
                if action.action == name && matches!(action.what, ActionHappening::Waiting { .. }) =>
            {
                Some((action.execution, action.action_execution))
            }
            _ => None,
        })
    }

    pub(super) fn approval_token(&self, pipeline: Aggregate) -> String {
        self.until(pipeline, |event| match event {
            Event::Action(action) if matches!(action.what, ActionHappening::Waiting { .. }) => {
                Some(action.action_execution.to_string())
            }
            _ => None,
        })
    }

    pub(super) fn approve(&self, pipeline: Aggregate, token: &str) -> Result<Reply, DriverError> {
        let answer = ApprovalAnswer {
            stage: "Gate".to_owned(),
            action: "Gate".to_owned(),
            token: token.to_owned(),
            status: ApprovalStatus::Approved,
            summary: String::new(),
            by: None,
        };
        self.submit(pipeline, InputKind::PutApprovalResult(answer))
    }
}

pub(crate) fn cause() -> Cause {
    Cause { principal: Principal::user(7, "tester"), request: "request-1".to_owned(), source: Source::Api }
}

pub(super) fn store() -> Arc<dyn Store> {
    Arc::new(MemoryStore::default())
}

#[test]
fn an_execution_ends_as_its_actions_do() {
    let check = |deeds: &[(&'static str, Deed)], end, calls: &[&str]| {
        let host = Host::start(&store(), Script::new(deeds));
        let pipeline = host.create("p");
        host.begin(pipeline);
        assert_eq!(host.end(pipeline), end, "{deeds:?}");
        assert_eq!(host.script.calls(), calls, "{deeds:?}");
    };
    check(&[], ExecutionState::Succeeded, &["Source 1/1", "Build 1/1", "Gate 1/1"]);
    check(&[("Build", Deed::Fail)], ExecutionState::Failed, &["Source 1/1", "Build 1/1"]);
    check(&[("Build", Deed::Panic)], ExecutionState::Failed, &["Source 1/1", "Build 1/1"]);
}

#[test]
fn an_action_that_waits_for_a_time_goes_on_then() {
    let check = |wait: u64, is_loaded_meanwhile: bool| {
        let host = Host::start(&store(), Script::new(&[("Build", Deed::Sleep(wait))]));
        let pipeline = host.create("p");
        host.begin(pipeline);
        host.until(pipeline, |event| match event {
            Event::Action(action) => matches!(action.what, ActionHappening::Waiting { .. }).then_some(()),
            _ => None,
        });
        host.pass(wait - 1);
        assert_eq!(host.script.calls(), ["Source 1/1", "Build 1/1"], "{wait}");
        assert_eq!(host.driver.loaded() == 1, is_loaded_meanwhile, "{wait}");
        host.pass(1);
        assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
        assert_eq!(host.script.calls(), ["Source 1/1", "Build 1/1", "Build 2/1", "Gate 1/1"], "{wait}");
    };
    // No wait is shorter than this.
    check(1_000, true);
    // Longer than an idle actor stays loaded: the wake-up loads it again. Nobody minds twenty minutes.
    check(1_500, false);
    check(20 * 60 * 1000, false);
}

/// Which the same client would otherwise be told of as a new execution.
#[test]
fn a_request_token_is_good_for_a_day() {
    let host = Host::start(&store(), Script::default());
    let pipeline = host.create("p");
    let cause = cause();
    let start = |name: &str, meant_within| {
        let token = Some(StartToken { name: name.to_owned(), meant_within });
        let started = host.driver.start(pipeline, StartRequest::default(), token, Vec::new(), &cause);
        host.runtime.block_on(started).unwrap()
    };
    let first = start("token", 0);
    assert_eq!(start("token", 0), first);
    host.pass(super::TOKEN_MILLISECONDS_MAX - 1);
    assert_eq!(start("token", 0), first);
    host.pass(1);
    assert_ne!(start("token", 0), first);
    // One that is given twice on purpose, and then again.
    let (first, second) = (start("meant", 2_000), start("meant", 2_000));
    assert_ne!(first, second);
    host.pass(2_000);
    assert_eq!(start("meant", 2_000), second);
    // By a clock that was set back.
    host.clock.set(1_600_000_000_000);
    assert_eq!(start("meant", 2_000), second);
}

#[test]
fn what_ran_when_the_host_died_runs_again() {
    let store = store();
    let host = Host::start(&store, Script::new(&[("Build", Deed::Hang)]));
    let pipeline = host.create("p");
    host.begin(pipeline);
    host.until(pipeline, |event| match event {
        Event::Action(action) if action.action == "Build" => Some(()),
        _ => None,
    });
    let before = host.die();

    let host = Host::start(&store, Script::default());
    assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
    // The source's result was accepted and is not asked for again; the build has its key and the next attempt.
    assert_eq!(host.script.calls(), ["Build 1/2", "Gate 1/1"]);
    assert_eq!(host.script.keys("Build"), before.keys("Build"));
}

#[test]
fn what_may_not_run_again_fails() {
    let store = store();
    let host = Host::start(&store, Script::new(&[("Build", Deed::Hang)]));
    let pipeline = host.create("p");
    host.begin(pipeline);
    host.until(pipeline, |event| matches!(event, Event::Action(action) if action.action == "Build").then_some(()));
    host.die();

    let host = Host::start(&store, Script { once_only: true, ..Script::default() });
    assert_eq!(host.end(pipeline), ExecutionState::Failed);
    assert_eq!(host.script.calls(), [""; 0]);
}

#[test]
fn an_approval_outlives_the_host() {
    let store = store();
    let gate = [("Gate", Deed::AwaitApproval)];
    let host = Host::start(&store, Script::new(&gate));
    let pipeline = host.create("p");
    host.begin(pipeline);
    let token = host.approval_token(pipeline);
    host.die();

    let host = Host::start(&store, Script::new(&gate));
    host.approve(pipeline, &token).unwrap();
    assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
    assert_eq!(host.script.calls(), ["Gate 2/1"]);
    let again = host.approve(pipeline, &token).unwrap_err();
    assert!(matches!(again, DriverError::Refused(_)), "{again}");
}

#[test]
fn an_abandoned_action_is_stopped_and_not_run_again() {
    let store = store();
    let host = Host::start(&store, Script::new(&[("Build", Deed::Hang)]));
    let pipeline = host.create("p");
    let execution = host.begin(pipeline);
    host.until(pipeline, |event| matches!(event, Event::Action(action) if action.action == "Build").then_some(()));
    let stop = |abandon| InputKind::Stop { execution, abandon, reason: None, by: None };
    host.submit(pipeline, stop(true)).unwrap();
    assert_eq!(host.end(pipeline), ExecutionState::Stopped);
    let again = host.submit(pipeline, stop(true)).unwrap_err();
    assert!(matches!(again, DriverError::Refused(Refusal::NotStoppable { .. })), "{again}");
    host.die();
    let host = Host::start(&store, Script::default());
    assert_eq!(host.script.calls(), [""; 0]);
}

#[test]
fn many_pipelines_run_at_once() {
    let host = Host::start(&store(), Script::default());
    let pipelines: Vec<_> = (0..200).map(|number| host.create(&format!("p{number}"))).collect();
    for pipeline in &pipelines {
        host.begin(*pipeline);
    }
    for pipeline in pipelines {
        assert_eq!(host.end(pipeline), ExecutionState::Succeeded);
    }
    assert_eq!(host.script.calls().len(), 600);
}
