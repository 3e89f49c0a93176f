//! A host without a socket, a disk for its state or plugins: the memory store, actions that follow a script, and a fixed catalogue
//! of action types. Nothing sleeps: who waits for something is woken by the commit that brings it.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use pipewright_artifacts::Artifacts;
use pipewright_artifacts::caches::{CacheLimits, Caches};
use pipewright_artifacts::files::BlobMemory;
use pipewright_base::clock::{self, Clock};
use pipewright_base::home::DataDirectory;
use pipewright_base::{Cause, Principal, Source};
use pipewright_engine::driver::{Actions, Aggregate, Granted};
use pipewright_engine::export::Exported;
use pipewright_engine::retention::{Keeper, Retention};
use pipewright_packages::plugins::Plugins;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{
    Awaited, ExecutionDetails, FailureType, Link, Report, Revision, RunAction, State, Success, Verdict, Wait,
};
use pipewright_pipeline::requests::{self, Request};
use pipewright_runner::actions::Runner;
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::host::{Host, Identity, Kept};
use pipewright_sandbox::{CompilerCommand, Sandbox, SandboxConfig};
use pipewright_store::{MemoryStore, Store};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::catalogue;
use super::notifications::Receiver;
use crate::account_plugins::AccountPlugins;
use crate::config::Quotas;
use crate::notify::{Configured, Notifier, Notify};
use crate::poll::{Changes, Poller};
use crate::service::pipelines::{self, Document};
use crate::service::{Changing, Context, Pages, Service, ServiceError, actions, executions, job_artifacts, state};

/// The account of those who run the host, and two others.
pub const A: u64 = 0;
pub const B: u64 = 111_111_111_111;
pub const C: u64 = 222_222_222_222;

/// Far more than anything here takes: a test that would wait for ever fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// What an action does when it is called.
#[derive(Clone, Debug)]
pub enum Deed {
    Fail(&'static str),
    /// Never answers.
    Hang,
    /// Waits for a person, with these words.
    Ask(&'static str),
    /// What a host does: of a type that workers serve, it waits for one.
    Queue,
    /// Of a rule: it does not pass, for this reason.
    Object(&'static str),
    /// Succeeds with more to tell than its artifacts.
    Tell(Box<Success>),
}

#[derive(Clone, Default)]
pub struct Script {
    deeds: Arc<Mutex<HashMap<String, Deed>>>,
    calls: Arc<Mutex<Vec<String>>>,
}

impl Script {
    /// From now on; without a deed, an action succeeds.
    pub fn does(&self, action: &str, deed: Deed) {
        self.deeds.lock().unwrap().insert(action.to_owned(), deed);
    }

    pub fn succeeds(&self, action: &str) {
        self.deeds.lock().unwrap().remove(action);
    }

    /// The names of the actions that were called, in order.
    pub fn calls(&self) -> Vec<String> {
        self.calls.lock().unwrap().clone()
    }
}

/// What a source fetches that nobody scripted.
pub fn revision(id: &str) -> Revision {
    let (summary, url) = (Some(format!("commit {id}")), Some(format!("https://git.example/{id}")));
    Revision { id: id.to_owned(), change: None, summary, url, created: None }
}

/// What an action tells in a test that looks at what is shown of it.
pub fn told() -> ExecutionDetails {
    ExecutionDetails {
        summary: Some("all is well".to_owned()),
        external_id: Some("job-7".to_owned()),
        links: vec![Link { title: "log".to_owned(), url: "https://ci.example/7".to_owned() }],
        ..ExecutionDetails::default()
    }
}

/// Follows the script, and pins what a host pins.
struct Scripted(Script, Runner);

impl Actions for Scripted {
    fn run(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, Report> {
        let name = run.name().to_owned();
        self.0.calls.lock().unwrap().push(name.clone());
        let deed = self.0.deeds.lock().unwrap().get(&name).cloned();
        if let Some(Deed::Queue) = deed {
            return self.1.run(pipeline, run);
        }
        async move {
            let artifacts = run.outputs().map(|name| (name.to_owned(), "0".repeat(64))).collect();
            let success = match deed {
                Some(Deed::Fail(message)) => return Report::failed(FailureType::JobFailed, message),
                Some(Deed::Hang) => std::future::pending().await,
                Some(Deed::Ask(words)) if run.call == 1 => {
                    let (awaits, summary) = (vec![Awaited::Approval], Some(words.to_owned()));
                    return Report::waiting(Wait { awaits, summary, ..Wait::default() });
                }
                Some(Deed::Tell(success)) => *success,
                Some(Deed::Object(reason)) => {
                    let told = ExecutionDetails { summary: Some(reason.to_owned()), ..ExecutionDetails::default() };
                    return Report::decided(Verdict { passed: false, told });
                }
                _ if run.is_rule() => {
                    return Report::decided(Verdict { passed: true, told: ExecutionDetails::default() });
                }
                Some(Deed::Ask(_) | Deed::Queue) | None => {
                    let revision = name.starts_with("Source").then(|| revision("r1"));
                    Success { revision, ..Success::default() }
                }
            };
            Report::succeeded(Success { artifacts, ..success })
        }
        .boxed()
    }

    fn may_run_again(&self, _: Aggregate, _: RunAction) -> BoxFuture<'static, bool> {
        async { true }.boxed()
    }

    fn grants(&self, account: u64, pipeline: &str) -> BoxFuture<'static, Granted> {
        self.1.grants(account, pipeline)
    }

    fn parts(&self, declaration: &PipelineDeclaration) -> Vec<String> {
        self.1.parts(declaration)
    }

    fn pins(&self, account: u64, declaration: &PipelineDeclaration) -> BTreeMap<String, String> {
        self.1.pins(account, declaration)
    }
}

/// A pipeline of this name in accounts A and B has a grants file that is not there.
pub const UNREADABLE: &str = "unreadable";

pub struct World {
    runtime: Runtime,
    pub service: Arc<Service>,
    pub script: Script,
    /// Who is told, once a test lets the notifier run.
    pub receiver: Receiver,
    pub notifier: Option<Notifier>,
    /// Who looks at sources, once a test lets it.
    poller: Option<Poller>,
    folder: tempfile::TempDir,
}

/// An input as an operation reads it.
pub trait Given: Sized {
    fn given(document: Value) -> Self;
}

impl<T: Request> Given for T {
    #[track_caller]
    fn given(document: Value) -> Self {
        requests::read(&document).unwrap_or_else(|problems| panic!("{document}: {problems:?}"))
    }
}

impl Given for Document {
    fn given(document: Value) -> Self {
        Self(document)
    }
}

pub fn context(account: u64) -> Context {
    let principal = Principal::user(account, "ada");
    Context {
        account,
        cause: Cause { principal, request: "request-1".to_owned(), source: Source::Api },
        signature: None,
    }
}

/// An error in one line: its class, or its kind, and its words.
pub fn words(error: &ServiceError) -> String {
    match error {
        ServiceError::Refused { class, message, .. } => format!("{class}: {message}"),
        ServiceError::Limit(message) => format!("limit: {message}"),
        ServiceError::Full(message) => format!("full: {message}"),
        ServiceError::Host(message) => format!("host: {message}"),
    }
}

impl World {
    pub fn new() -> Self {
        Self::with(Quotas::default())
    }

    pub fn with(quotas: Quotas) -> Self {
        Self::on(quotas, clock::system())
    }

    pub fn on(quotas: Quotas, clock: Arc<dyn Clock>) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(folder.path()).unwrap();
        let script = Script::default();
        let entered = runtime.enter();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::on(Arc::clone(&clock)));
        // It never calls anything: the actions follow the script.
        let compiler = CompilerCommand { program: "none".into(), args: Vec::new() };
        let sandbox = SandboxConfig { pooled_calls_max: 1, ..SandboxConfig::new(data.compiled(), compiler) };
        let plugins = Plugins::described(catalogue::host()).unwrap();
        plugins.know_installed(B, catalogue::installed()).unwrap();
        let identity = Identity { accounts: vec![A, B, C], clock, has_projects: true, ..Identity::default() };
        let unreadable = |account| ((account, UNREADABLE.to_owned()), "/of/the/host/grants.toml".into());
        let grants = GrantBook::many([unreadable(A), unreadable(B)].into());
        let sandbox = Sandbox::new(sandbox).unwrap();
        let follow = |actions| Arc::new(Scripted(script.clone(), Runner(actions))) as _;
        let artifacts = Arc::new(Artifacts::in_memory());
        let caches = Arc::new(Caches::open(&data.caches(), CacheLimits::default()).unwrap());
        let kept = Kept { store: Arc::clone(&store), artifacts: Arc::clone(&artifacts), caches };
        let host = Host::with_runner(&data, kept, identity, sandbox, plugins, grants, follow);
        let clock = Arc::clone(host.driver.clock());
        let keeper = Keeper::new(Arc::clone(&store), clock, Arc::clone(&artifacts), data.logs(), Retention::default());
        let components = Arc::new(BlobMemory::default());
        let exported = Exported { store, artifacts, components, logs: data.logs(), keeper: Arc::new(keeper) };
        let account_plugins =
            Arc::new(runtime.block_on(AccountPlugins::load(&host, &data, A)).unwrap_or_else(|e| panic!("{e}")));
        // Loading put what is installed on the disk, which is nothing, in its place.
        host.actions.plugins.know_installed(B, catalogue::installed()).unwrap();
        let (changes, poller) = Changes::channel(Duration::from_secs(60));
        let (pages, public_address) = (Pages([7; 32]), "https://ci.example".to_owned());
        let receiver = Receiver::default();
        let (notify, notifier) = Notify::channel(Configured::default(), receiver.post());
        let endpoint = "http://pipewright.example".to_owned();
        let service = Service {
            host,
            operator: A,
            quotas,
            pages,
            account_plugins,
            exported,
            changes,
            jobs: job_artifacts::Jobs::new(data.jobs()),
            changing: Changing::default(),
            public_address,
            endpoint,
            notify,
            functions: Default::default(),
            polls: Default::default(),
        };
        drop(entered);
        let (service, notifier, poller) = (Arc::new(service), Some(notifier), Some(poller));
        Self { runtime, service, script, receiver, notifier, poller, folder }
    }

    /// From now on sources are looked at.
    pub fn start_poller(&mut self) {
        let poller = self.poller.take().expect("it runs once");
        let service = Arc::clone(&self.service);
        self.run(async { drop(tokio::spawn(poller.run(service))) });
    }

    pub fn secret_keys(&self) -> PathBuf {
        DataDirectory::open(self.folder.path()).unwrap().secret_keys()
    }

    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(async { tokio::time::timeout(PATIENCE, future).await.expect("nothing happens any more") })
    }

    /// Calls a command or query for an account.
    #[track_caller]
    pub fn ask<I: Given, O: Serialize>(
        &self,
        account: u64,
        call: impl AsyncFnOnce(&Service, &Context, I) -> Result<O, ServiceError>,
        input: Value,
    ) -> Result<Value, ServiceError> {
        let input = I::given(input);
        let output = self.run(call(&self.service, &context(account), input))?;
        Ok(serde_json::to_value(output).unwrap())
    }

    #[track_caller]
    pub fn ok<I: Given, O: Serialize>(
        &self,
        account: u64,
        call: impl AsyncFnOnce(&Service, &Context, I) -> Result<O, ServiceError>,
        input: Value,
    ) -> Value {
        self.ask(account, call, input).unwrap_or_else(|error| panic!("{}", words(&error)))
    }

    /// By a request of account A with this signature: one that somebody captured and sends again has the one that it had.
    #[track_caller]
    pub fn signed<I: Given, O: Serialize>(
        &self,
        signature: &str,
        call: impl AsyncFnOnce(&Service, &Context, I) -> Result<O, ServiceError>,
        input: Value,
    ) -> Value {
        let context = Context { signature: Some(signature.to_owned()), ..context(A) };
        let output = self.run(call(&self.service, &context, I::given(input)));
        serde_json::to_value(output.unwrap_or_else(|error| panic!("{}", words(&error)))).unwrap()
    }

    #[track_caller]
    pub fn refused<I: Given, O: Serialize + Debug>(
        &self,
        account: u64,
        call: impl AsyncFnOnce(&Service, &Context, I) -> Result<O, ServiceError>,
        input: Value,
        expected: &str,
    ) {
        let shown = input.to_string();
        let answer = self.ask(account, call, input);
        let error = answer.expect_err(&format!("{shown} is to be refused: {expected}"));
        assert_eq!(words(&error), expected, "{shown}");
    }

    /// Makes a pipeline of two stages, [`pipeline`], and waits for the end of its first execution.
    pub fn create(&self, account: u64, name: &str) -> String {
        let first = self.create_running(account, name);
        self.ended(account, name, &first);
        first
    }

    /// The same without waiting; gives its first execution.
    pub fn create_running(&self, account: u64, name: &str) -> String {
        self.ok(account, pipelines::create, json!({ "pipeline": pipeline(name) }));
        self.newest(account, name)
    }

    pub fn newest(&self, account: u64, name: &str) -> String {
        let listed = self.ok(account, executions::list, json!({ "pipelineName": name, "maxResults": 1 }));
        text(&listed["pipelineExecutionSummaries"][0]["pipelineExecutionId"])
    }

    /// Starts one that begins later than those before: what begins in the same millisecond is listed in any order.
    pub fn start(&self, account: u64, name: &str) -> String {
        std::thread::sleep(Duration::from_millis(2));
        text(&self.ok(account, executions::start, json!({ "name": name }))["pipelineExecutionId"])
    }

    /// Starts an execution and waits for its end.
    pub fn whole(&self, account: u64, name: &str) -> String {
        let execution = self.start(account, name);
        self.ended(account, name, &execution);
        execution
    }

    pub fn aggregate(&self, account: u64, name: &str) -> Aggregate {
        self.run(self.service.host.driver.find(account, name)).unwrap().expect("there is such a pipeline")
    }

    /// Waits until the state of a pipeline is as it is wanted.
    #[track_caller]
    pub fn until(&self, account: u64, name: &str, wanted: impl Fn(&State) -> bool) {
        let (driver, pipeline) = (&self.service.host.driver, self.aggregate(account, name));
        self.run(async {
            let mut watcher = driver.watch(Some(pipeline));
            while !wanted(&driver.state(pipeline).await.unwrap()) {
                watcher.changed().await;
            }
        });
    }

    pub fn ended(&self, account: u64, name: &str, execution: &str) {
        let id = execution.parse().unwrap();
        self.until(account, name, |state| !state.executions.contains_key(&id));
    }

    /// Makes the account A serve what comes with the host by plugins of its own, which starts pin from then on.
    pub fn install_others(&self) {
        let others = catalogue::host().into_iter().map(|(plugin, digest)| (plugin, digest.replace(['a', 'b'], "d")));
        self.service.host.actions.plugins.know_installed(A, others).unwrap();
    }

    /// What an execution of A's that has ended held on to.
    pub fn pins(&self, name: &str, execution: &str) -> BTreeMap<String, String> {
        let (pipeline, id) = (self.aggregate(A, name), execution.parse().unwrap());
        let archived = self.run(self.service.driver().archived(pipeline, id)).unwrap();
        archived.expect("it has ended").start.pins.clone()
    }

    /// Waits until an action of an execution waits for a person; gives the token.
    pub fn token(&self, account: u64, name: &str, execution: &str) -> String {
        let id = execution.parse().unwrap();
        let token = Mutex::new(String::new());
        self.until(account, name, |state| {
            let runs = state.executions.get(&id).into_iter().flat_map(|execution| execution.runs.values());
            let found = runs.filter_map(|run| run.approval_token()).next();
            *token.lock().unwrap() = found.map(|token| token.to_string()).unwrap_or_default();
            found.is_some()
        });
        token.into_inner().unwrap()
    }

    pub fn status(&self, account: u64, name: &str, execution: &str) -> String {
        let input = json!({ "pipelineName": name, "pipelineExecutionId": execution });
        text(&self.ok(account, executions::get, input)["pipelineExecution"]["status"])
    }

    pub fn state(&self, account: u64, name: &str) -> Value {
        self.ok(account, state::get, json!({ "name": name }))
    }

    /// The newest action execution of an action.
    pub fn action(&self, account: u64, name: &str, action: &str) -> Value {
        let found = self.actions(account, name).into_iter().find(|it| it["actionName"] == action);
        found.unwrap_or_else(|| panic!("{action} did not run"))
    }

    /// The action executions of a pipeline, the newest first; those of one millisecond in any order.
    pub fn actions(&self, account: u64, name: &str) -> Vec<Value> {
        let listed = self.ok(account, actions::list, json!({ "pipelineName": name }));
        listed["actionExecutionDetails"].as_array().unwrap().clone()
    }
}

pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

/// `Source` with a source action of that name, then `Build` with an action `Make` that takes what it fetched.
pub fn pipeline(name: &str) -> Value {
    json!({
        "name": name,
        "roleArn": "arn:aws:iam::000000000000:role/test",
        "artifactStore": { "type": "S3", "location": "bucket" },
        "stages": [
            { "name": "Source", "actions": [source()] },
            { "name": "Build", "actions": [{
                "name": "Make",
                "actionTypeId": { "category": "Build", "owner": "Custom", "provider": "Make", "version": "1" },
                "inputArtifacts": [{ "name": "Code" }],
                "outputArtifacts": [{ "name": "Site" }],
                "configuration": { "Target": "all", "Password": "hunter22" },
            }] },
        ],
        "version": 1,
    })
}

fn source() -> Value {
    json!({
        "name": "Source",
        "actionTypeId": { "category": "Source", "owner": "Custom", "provider": "Repo", "version": "1" },
        "outputArtifacts": [{ "name": "Code" }],
        "configuration": { "Url": "https://git.example/site" },
    })
}

/// The same with a stage `Gate` behind, where `Ask` waits for a person.
pub fn gated(name: &str) -> Value {
    let mut pipeline = pipeline(name);
    pipeline["stages"].as_array_mut().unwrap().push(json!({ "name": "Gate", "actions": [{
        "name": "Ask",
        "actionTypeId": { "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1" },
    }] }));
    pipeline
}
