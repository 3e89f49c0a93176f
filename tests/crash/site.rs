//! A server over a data directory, one process after the other, and what its clients know of it.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future;
use pipewright_aws::auth::profile;
use pipewright_aws::client::{Client, ClientError};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::sync::watch;

use super::PIPELINES;
use super::counter::Counter;
use super::visitor;
use crate::server::share_compiled;

/// For a process that is to die by itself, or to end.
const DEATH_TIME_MAX: Duration = Duration::from_secs(60);
const SIGKILL: i32 = 9;

/// When a process of the server dies.
#[derive(Clone, Debug)]
pub enum Death {
    /// So long after it was started.
    Starting(Duration),
    /// So long after it was ready.
    Serving(Duration),
    /// `POINT:NUMBER`: by itself, when it passes the point for that time.
    At(String),
}

pub struct Site {
    home: tempfile::TempDir,
    pub counter: Counter,
    /// None while the server is dead.
    alive: watch::Sender<Option<Alive>>,
    /// What was acknowledged, by pipeline and execution.
    known: Mutex<BTreeMap<String, BTreeMap<String, Known>>>,
    /// In which life of the server an action execution was first seen to have ended.
    over: Mutex<HashMap<String, u32>>,
    is_ending: AtomicBool,
    /// Commands that were not answered and had to be given again.
    pub doubts: AtomicUsize,
}

#[derive(Clone)]
struct Alive {
    client: Client,
    life: u32,
}

/// What a client was told about an execution that it started.
#[derive(Clone, Debug, Default)]
pub struct Known {
    pub is_decided: bool,
    pub is_stopped: bool,
    pub ended: Option<String>,
}

/// What the server said to a request, the last time that it was made.
pub struct Answer {
    operation: String,
    /// The output, or the error's code.
    pub result: Result<Value, String>,
    /// The request was made before, and not answered.
    in_doubt: bool,
    life: u32,
}

impl Answer {
    #[track_caller]
    pub fn expect(self) -> Value {
        self.result.unwrap_or_else(|code| panic!("{}: {code}", self.operation))
    }

    /// Whether this error was answered.
    pub fn is_error(&self, code: &str) -> bool {
        self.result.as_ref().is_err_and(|found| found == code)
    }

    /// That it was done; or, where it may have been done before, these errors that say so.
    #[track_caller]
    pub fn expect_or_doubt(self, codes: &[&str]) {
        match &self.result {
            Err(code) if self.in_doubt && codes.contains(&code.as_str()) => {}
            Err(code) => panic!("{}: {code}, in doubt: {}", self.operation, self.in_doubt),
            Ok(_) => {}
        }
    }
}

impl Site {
    pub fn new(counter: Counter) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        fs::create_dir_all(path("plugins")).unwrap();
        fs::write(path("plugins/counter.wasm"), pipewright_guests::get("counter")).unwrap();
        let http = format!("http = [{{ origin = \"http://{}\", private = true }}]\n", counter.address);
        let grants = ["Source/Source", "Work/One", "Work/Two", "Deploy/Three"];
        let grants = grants.map(|action| format!("[action.\"{action}\"]\n{http}"));
        fs::write(path("grants.toml"), grants.concat()).unwrap();
        let pipelines = PIPELINES.map(|number| format!("{} = \"grants.toml\"\n", name(number)));
        let config = format!("plugins = \"plugins\"\n[grants]\n{}", pipelines.collect::<String>());
        fs::write(path("config.toml"), config).unwrap();
        share_compiled(&path("data"));
        Self {
            home,
            counter,
            alive: watch::Sender::new(None),
            known: Mutex::default(),
            over: Mutex::default(),
            is_ending: AtomicBool::new(false),
            doubts: AtomicUsize::new(0),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A source, two actions side by side, an approval, and an action behind it.
    pub fn declaration(&self, pipeline: &str) -> Value {
        let url = format!("http://{}/", self.counter.address);
        let action = |category: &str, owner: &str, provider: &str, name: &str| {
            let id = json!({ "category": category, "owner": owner, "provider": provider, "version": "1" });
            json!({ "name": name, "actionTypeId": id })
        };
        let counting = |category: &str, name: &str, inputs: &[&str], outputs: &[&str]| {
            let mut action = action(category, "Custom", "Counter", name);
            let artifacts = |names: &[&str]| names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>();
            action["configuration"] = json!({ "Url": url });
            action["inputArtifacts"] = json!(artifacts(inputs));
            action["outputArtifacts"] = json!(artifacts(outputs));
            action
        };
        json!({
            "name": pipeline,
            "roleArn": "arn:aws:iam::000000000000:role/test",
            "artifactStore": { "type": "S3", "location": "artifacts" },
            "stages": [
                { "name": "Source", "actions": [counting("Source", "Source", &[], &["Code"])] },
                { "name": "Work", "actions": [
                    counting("Build", "One", &["Code"], &["Made"]),
                    counting("Build", "Two", &["Code"], &[]),
                ] },
                { "name": "Approve", "actions": [action("Approval", "AWS", "Manual", "Approve")] },
                { "name": "Deploy", "actions": [counting("Build", "Three", &["Made"], &[])] },
            ],
        })
    }

    pub fn end(&self) {
        self.is_ending.store(true, Ordering::SeqCst);
    }

    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::SeqCst)
    }

    fn spawn(&self, death: &Death) -> (Child, ChildStdout) {
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
        command
            .args(["serve", "--data", "data", "--config", "config.toml", "--listen", "127.0.0.1:0"])
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true);
        if let Death::At(point) = death {
            command.env("PIPEWRIGHT_DIE_AT", point);
        }
        let mut child = command.spawn().unwrap();
        let out = child.stdout.take().unwrap();
        (child, out)
    }

    /// One process of the server, from its start to its death.
    pub async fn live(&self, death: &Death) {
        let (mut child, out) = self.spawn(death);
        let is_ready = self.ready(out);
        let dies = async {
            match death {
                Death::Starting(after) => tokio::time::sleep(*after).await,
                Death::Serving(after) => {
                    self.alive_after(None).await;
                    tokio::time::sleep(*after).await;
                }
                Death::At(_) => {
                    tokio::time::sleep(DEATH_TIME_MAX).await;
                    panic!("{death:?} was never passed");
                }
            }
        };
        let serves = async {
            if is_ready.await {
                self.check_acknowledged().await;
            }
            future::pending::<()>().await;
        };
        tokio::select! {
            () = dies => child.start_kill().unwrap(),
            () = serves => {}
            _ = child.wait() => {}
        }
        let status = child.wait().await.unwrap();
        self.died(status).await;
    }

    /// The process that is alive, or will be, after this one.
    async fn alive_after(&self, dead: Option<u32>) -> Alive {
        let mut alive = self.alive.subscribe();
        let alive = alive.wait_for(|alive| alive.as_ref().is_some_and(|alive| Some(alive.life) > dead)).await;
        alive.unwrap().clone().unwrap()
    }

    /// A process without an appointed death.
    pub async fn serve(&self) -> Child {
        let (child, out) = self.spawn(&Death::Starting(Duration::MAX));
        assert!(self.ready(out).await, "the server does not start");
        self.check_acknowledged().await;
        child
    }

    /// Whether it came so far.
    async fn ready(&self, out: ChildStdout) -> bool {
        let mut line = String::new();
        BufReader::new(out).read_line(&mut line).await.unwrap();
        if !line.ends_with('\n') {
            return false;
        }
        let endpoint = fs::read_to_string(self.path("data/endpoint")).unwrap();
        let key = profile::read_credentials(&self.path("data/credentials"), "default").unwrap();
        let client = Client::new(endpoint.trim().parse().unwrap(), key, "us-east-1".to_owned());
        self.alive.send_replace(Some(Alive { client, life: self.counter.life() }));
        true
    }

    async fn died(&self, status: ExitStatus) {
        assert_eq!(status.signal(), Some(SIGKILL), "the server ended by itself: {status}");
        self.alive.send_replace(None);
        self.counter.next_life().await;
        self.counter.check(&self.over.lock().unwrap());
    }

    pub async fn kill(&self, mut child: Child) {
        child.start_kill().unwrap();
        let status = child.wait().await.unwrap();
        self.died(status).await;
    }

    /// A clean stop.
    pub async fn stop(&self, mut child: Child) {
        let id = rustix::process::Pid::from_raw(child.id().unwrap().cast_signed()).unwrap();
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let status = tokio::time::timeout(DEATH_TIME_MAX, child.wait()).await.expect("it ends in time").unwrap();
        assert!(status.success(), "{status}");
    }

    /// Makes a request until it is answered.
    pub async fn insist(&self, operation: &str, input: &Value) -> Answer {
        let (mut in_doubt, mut dead) = (false, None);
        loop {
            let Alive { client, life } = self.alive_after(dead).await;
            let result = match client.call(operation, input).await {
                Ok(output) => Ok(output),
                Err(ClientError::Refused { code, .. }) => Err(code),
                Err(ClientError::Unreachable { .. }) => {
                    dead = Some(life);
                    continue;
                }
                Err(ClientError::Broken { .. }) => {
                    (in_doubt, dead) = (true, Some(life));
                    continue;
                }
                Err(error) => panic!("{operation}: {error}"),
            };
            if in_doubt && !operation.starts_with("List") && !operation.starts_with("Get") {
                self.doubts.fetch_add(1, Ordering::SeqCst);
            }
            return Answer { operation: operation.to_owned(), result, in_doubt, life };
        }
    }

    /// Keeps what was acknowledged.
    pub fn known(&self, pipeline: &str, execution: &str, learn: impl FnOnce(&mut Known)) {
        let mut known = self.known.lock().unwrap();
        learn(known.entry(pipeline.to_owned()).or_default().entry(execution.to_owned()).or_default());
    }

    /// The executions of a pipeline and their statuses, newest first.
    pub async fn executions(&self, pipeline: &str) -> Vec<(String, String)> {
        let mut executions = Vec::new();
        let mut input = json!({ "pipelineName": pipeline });
        loop {
            let page = self.insist("ListPipelineExecutions", &input).await.expect();
            let text = |summary: &Value, name: &str| summary[name].as_str().unwrap().to_owned();
            let summaries = page["pipelineExecutionSummaries"].as_array().unwrap();
            executions.extend(summaries.iter().map(|it| (text(it, "pipelineExecutionId"), text(it, "status"))));
            match page.get("nextToken") {
                Some(token) => input["nextToken"] = token.clone(),
                None => return executions,
            }
        }
    }

    /// The action executions of an execution. Those that have ended must not be called any more.
    pub async fn actions(&self, pipeline: &str, execution: &str) -> Vec<Value> {
        let input = json!({ "pipelineName": pipeline, "filter": { "pipelineExecutionId": execution } });
        let answer = self.insist("ListActionExecutions", &input).await;
        let life = answer.life;
        let output = answer.expect();
        let actions = output["actionExecutionDetails"].as_array().unwrap().clone();
        let mut over = self.over.lock().unwrap();
        for action in actions.iter().filter(|action| action["status"] != "InProgress") {
            over.entry(action["actionExecutionId"].as_str().unwrap().to_owned()).or_insert(life);
        }
        actions
    }

    /// Nothing that was acknowledged is lost. Clients may go on meanwhile: what is known only grows.
    pub async fn check_acknowledged(&self) {
        let known = self.known.lock().unwrap().clone();
        let checks = known.iter().map(async |(pipeline, known)| {
            let listed: HashMap<_, _> = self.executions(pipeline).await.into_iter().collect();
            for (execution, known) in known {
                let status = listed.get(execution).map(String::as_str);
                assert!(status.is_some(), "{pipeline}: the start of {execution} is lost");
                if let Some(ended) = &known.ended {
                    assert_eq!(status, Some(&**ended), "{pipeline}: the end of {execution} is lost");
                } else if known.is_stopped {
                    assert!(
                        matches!(status, Some("Stopped" | "Stopping")),
                        "{pipeline}: the stop of {execution} is lost"
                    );
                } else if known.is_decided {
                    let actions = self.actions(pipeline, execution).await;
                    let waits = actions.iter().any(|action| visitor::token(action).is_some());
                    assert!(!waits, "{pipeline}: the approval of {execution} is lost: {actions:#?}");
                }
            }
        });
        future::join_all(checks).await;
    }

    /// Every execution was started by a client, and has ended as the client saw it.
    pub async fn check_whole(&self) {
        let known = self.known.lock().unwrap().clone();
        assert_eq!(known.len(), PIPELINES.count());
        for (pipeline, known) in known {
            let listed: BTreeMap<_, _> = self.executions(&pipeline).await.into_iter().collect();
            let ended = |(id, known): (String, Known)| (id, known.ended.unwrap_or_default());
            assert_eq!(listed, known.into_iter().map(ended).collect(), "{pipeline}");
        }
        self.counter.check(&self.over.lock().unwrap());
    }

    /// While nobody has it.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// The end of what the server logged.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

pub fn name(number: usize) -> String {
    format!("pipeline-{number:02}")
}
