//! A client with a pipeline of its own: starts one execution after the other, decides its approval or stops it, and sees
//! it through however often the host dies meanwhile. What was not answered it asks again.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::random::Random;
use super::site::{Answer, Site};

/// From the start of an execution to its end, over some deaths.
const EXECUTION_TIME_MAX: Duration = Duration::from_secs(120);
const STOP_MILLISECONDS_MAX: u64 = 500;
const POLL_MILLISECONDS: u64 = 100;

/// The actions of every pipeline, in the order of their names.
const ACTIONS: [&str; 5] = ["Approve", "One", "Source", "Three", "Two"];

pub struct Visitor {
    site: Arc<Site>,
    pipeline: String,
    random: Random,
    starts: u32,
}

/// An execution that waits for its approval.
#[derive(Clone, Debug)]
pub struct Waiting {
    pub pipeline: String,
    pub execution: String,
    pub token: String,
}

impl Visitor {
    pub fn new(site: Arc<Site>, pipeline: String, random: Random) -> Self {
        Self { site, pipeline, random, starts: 0 }
    }

    /// Until the site comes to its end, where the last execution is left waiting.
    pub async fn work(mut self) -> Waiting {
        let mut execution = self.create().await;
        loop {
            self.in_time(&execution.clone(), async |visitor| visitor.see_through(&execution).await).await;
            let is_last = self.site.is_ending();
            execution = self.start().await;
            if is_last {
                let token = self.in_time(&execution.clone(), async |it| it.approval(&execution).await).await;
                return Waiting { pipeline: self.pipeline, execution, token };
            }
        }
    }

    async fn in_time<T>(&mut self, execution: &str, deed: impl AsyncFnOnce(&mut Self) -> T) -> T {
        let done = tokio::time::timeout(EXECUTION_TIME_MAX, deed(self)).await;
        match done {
            Ok(done) => done,
            Err(_) => {
                let actions = self.actions(execution).await;
                panic!("{}: execution {execution} neither ends nor waits: {actions:#?}", self.pipeline)
            }
        }
    }

    async fn pause(&mut self, milliseconds_max: u64) {
        tokio::time::sleep(Duration::from_millis(self.random.below(milliseconds_max))).await;
    }

    /// Its first execution starts with it.
    async fn create(&self) -> String {
        let declaration = self.site.declaration(&self.pipeline);
        let created = self.site.insist("CreatePipeline", &json!({ "pipeline": declaration })).await;
        created.expect_or_doubt(&["PipelineNameInUseException"]);
        let executions = self.site.executions(&self.pipeline).await;
        let [(execution, _)] = &executions[..] else { panic!("{}: {executions:?}", self.pipeline) };
        self.site.known(&self.pipeline, execution, |_| {});
        execution.clone()
    }

    async fn start(&mut self) -> String {
        self.starts += 1;
        let token = format!("{}-{}", self.pipeline, self.starts);
        let start = json!({ "name": self.pipeline, "clientRequestToken": token });
        let started = |answer: Answer| {
            let output = answer.expect();
            output["pipelineExecutionId"].as_str().unwrap().to_owned()
        };
        let execution = started(self.site.insist("StartPipelineExecution", &start).await);
        self.site.known(&self.pipeline, &execution, |_| {});
        if self.random.below(4) == 0 {
            let again = started(self.site.insist("StartPipelineExecution", &start).await);
            assert_eq!(again, execution, "{}: {token} started two executions", self.pipeline);
        }
        execution
    }

    async fn see_through(&mut self, execution: &str) {
        let ends = match self.random.below(10) {
            0..=5 => self.decide(execution, "Approved", "Succeeded").await,
            6 => self.decide(execution, "Rejected", "Failed").await,
            _ => self.abandon(execution).await,
        };
        self.ended(execution, ends).await;
        let actions = self.actions(execution).await;
        assert!(actions.iter().all(|action| action["status"] != "InProgress"), "{execution}: {actions:#?}");
        if ends == "Succeeded" {
            let actions: Vec<_> = actions.iter().filter(|action| !died(action)).collect();
            let mut names: Vec<_> = actions.iter().map(|action| action["actionName"].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, ACTIONS, "{execution}: {actions:#?}");
            for action in actions {
                self.check_attempt(action);
            }
        }
    }

    /// The result that was accepted is the last attempt's.
    fn check_attempt(&self, action: &Value) {
        let key = action["actionExecutionId"].as_str().unwrap();
        assert_eq!(action["status"], "Succeeded", "{action:#}");
        let told = action["output"]["outputVariables"]["Attempt"].as_str().and_then(|attempt| attempt.parse().ok());
        assert_eq!(told, self.site.counter.last_attempt(key), "{action:#}");
    }

    async fn decide<'a>(&mut self, execution: &str, status: &str, ends: &'a str) -> &'a str {
        let token = self.approval(execution).await;
        let input = json!({
            "pipelineName": self.pipeline,
            "stageName": "Approve",
            "actionName": "Approve",
            "token": token,
            "result": { "status": status, "summary": "decided" },
        });
        let answer = self.site.insist("PutApprovalResult", &input).await;
        answer.expect_or_doubt(&["ApprovalAlreadyCompletedException", "InvalidApprovalTokenException"]);
        self.site.known(&self.pipeline, execution, |known| known.is_decided = true);
        ends
    }

    /// Waits until the execution waits for its approval, and gives the approval's token.
    async fn approval(&mut self, execution: &str) -> String {
        loop {
            let actions = self.actions(execution).await;
            if let Some(token) = actions.iter().find_map(token) {
                return token.to_owned();
            }
            if self.retry(execution, &actions).await.is_none() {
                let is_well =
                    |action: &&Value| died(action) || matches!(action["status"].as_str(), Some("InProgress" | "Succeeded"));
                let failed = actions.iter().find(|action| !is_well(action));
                assert!(failed.is_none(), "{}: {failed:#?}", self.pipeline);
            }
            self.pause(POLL_MILLISECONDS).await;
        }
    }

    async fn abandon(&mut self, execution: &str) -> &'static str {
        self.pause(STOP_MILLISECONDS_MAX).await;
        let input = json!({ "pipelineName": self.pipeline, "pipelineExecutionId": execution, "abandon": true });
        let answer = self.site.insist("StopPipelineExecution", &input).await;
        if answer.result.is_err() && self.actions(execution).await.iter().any(died) {
            return "Failed";
        }
        answer.expect_or_doubt(&["DuplicatedStopRequestException", "PipelineExecutionNotStoppableException"]);
        self.site.known(&self.pipeline, execution, |known| known.is_stopped = true);
        "Stopped"
    }

    /// Waits until the execution has ended, and checks how.
    async fn ended(&mut self, execution: &str, ends: &str) {
        let input = json!({ "pipelineName": self.pipeline, "pipelineExecutionId": execution });
        loop {
            let got = self.site.insist("GetPipelineExecution", &input).await.expect();
            let status = got["pipelineExecution"]["status"].as_str().unwrap();
            let is_over = !matches!(status, "InProgress" | "Stopping");
            if is_over && status != ends && ends == "Succeeded" {
                let actions = self.actions(execution).await;
                if self.retry(execution, &actions).await.as_deref() == Some("Approve") {
                    self.decide(execution, "Approved", "Succeeded").await;
                }
                let is_excused = actions.iter().any(died);
                assert!(is_excused, "{}: {execution}: {status}: {actions:#?}", self.pipeline);
            } else if is_over {
                assert_eq!(status, ends, "{}: {execution}: {:#?}", self.pipeline, self.actions(execution).await);
                self.site.known(&self.pipeline, execution, |known| known.ended = Some(status.to_owned()));
                return;
            }
            self.pause(POLL_MILLISECONDS).await;
        }
    }

    /// What ran at two deaths of the host is not run again by itself: then it is asked for. Gives the action's name.
    async fn retry(&self, execution: &str, actions: &[Value]) -> Option<String> {
        // The newest come first.
        let is_latest = |action: &&Value| {
            let latest = actions.iter().find(|other| other["actionName"] == action["actionName"]);
            latest.is_some_and(|latest| latest["actionExecutionId"] == action["actionExecutionId"])
        };
        let action = actions.iter().filter(is_latest).find(|action| died(action))?;
        let input = json!({
            "pipelineName": self.pipeline,
            "stageName": action["stageName"],
            "pipelineExecutionId": execution,
            "retryMode": "FAILED_ACTIONS",
        });
        // Refused while another action of the stage still runs, or where it was done and not answered.
        let _ = self.site.insist("RetryStageExecution", &input).await;
        action["actionName"].as_str().map(str::to_owned)
    }

    async fn actions(&self, execution: &str) -> Vec<Value> {
        self.site.actions(&self.pipeline, execution).await
    }
}

/// Whether an action execution failed because it ran at two deaths of the host.
fn died(action: &Value) -> bool {
    let told = action["output"]["executionResult"]["errorDetails"]["message"].as_str();
    told.is_some_and(|told| told.starts_with("the host died "))
}

/// The token of an action that waits for an approval.
pub fn token(action: &Value) -> Option<&str> {
    (action["actionName"] == "Approve" && action["status"] == "InProgress")
        .then(|| action["output"]["executionResult"]["externalExecutionId"].as_str())
        .flatten()
}

impl Waiting {
    /// It waits for the same approval as before.
    pub async fn check(&self, site: &Site) {
        let actions = site.actions(&self.pipeline, &self.execution).await;
        assert_eq!(actions.iter().find_map(token), Some(&*self.token), "{self:?}: {actions:#?}");
    }

    /// And goes on from there.
    pub async fn approve(self, site: Arc<Site>) {
        let mut visitor = Visitor::new(site, self.pipeline, Random::default());
        visitor
            .in_time(&self.execution.clone(), async |visitor| {
                let ends = visitor.decide(&self.execution, "Approved", "Succeeded").await;
                visitor.ended(&self.execution, ends).await;
            })
            .await;
    }
}
