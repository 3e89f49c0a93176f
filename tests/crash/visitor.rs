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
        let mut actions = self.actions(execution).await;
        assert!(actions.iter().all(|action| action["status"] != "InProgress"), "{execution}: {actions:#?}");
        actions.retain(|action| !was_given_up(action));
        if ends == "Succeeded" {
            let mut names: Vec<_> = actions.iter().map(|action| action["actionName"].as_str().unwrap()).collect();
            names.sort_unstable();
            assert_eq!(names, ACTIONS, "{execution}: {actions:#?}");
            for action in &actions {
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
            let ends_well = |action: &&Value| matches!(action["status"].as_str(), Some("InProgress" | "Succeeded"));
            let failed = actions.iter().find(|action| !ends_well(action) && !was_given_up(action));
            assert!(failed.is_none(), "{}: {failed:#?}", self.pipeline);
            self.retry_what_was_given_up(execution, &actions).await;
            self.pause(POLL_MILLISECONDS).await;
        }
    }

    async fn abandon(&mut self, execution: &str) -> &'static str {
        self.pause(STOP_MILLISECONDS_MAX).await;
        let input = json!({ "pipelineName": self.pipeline, "pipelineExecutionId": execution, "abandon": true });
        let answer = loop {
            let answer = self.site.insist("StopPipelineExecution", &input).await;
            let has_failed = answer.is_error("PipelineExecutionNotStoppableException");
            let actions = self.actions(execution).await;
            if !has_failed || !self.retry_what_was_given_up(execution, &actions).await {
                break answer;
            }
        };
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
            let actions = if status == "Failed" { self.actions(execution).await } else { Vec::new() };
            if self.retry_what_was_given_up(execution, &actions).await {
                continue;
            }
            if !matches!(status, "InProgress" | "Stopping") {
                assert_eq!(status, ends, "{}: {execution}: {:#?}", self.pipeline, self.actions(execution).await);
                self.site.known(&self.pipeline, execution, |known| known.ended = Some(status.to_owned()));
                return;
            }
            self.pause(POLL_MILLISECONDS).await;
        }
    }

    /// Where the host crashed twice while an action ran, it says to retry the stage.
    async fn retry_what_was_given_up(&self, execution: &str, actions: &[Value]) -> bool {
        // The newest first.
        let latest =
            |action: &&Value| actions.iter().find(|it| it["actionName"] == action["actionName"]) == Some(*action);
        let Some(action) = actions.iter().find(|action| was_given_up(action) && latest(action)) else { return false };
        let input = json!({
            "pipelineName": self.pipeline,
            "stageName": action["stageName"],
            "pipelineExecutionId": execution,
            "retryMode": "FAILED_ACTIONS",
        });
        // A refusal says that it was retried before.
        self.site.insist("RetryStageExecution", &input).await;
        true
    }

    async fn actions(&self, execution: &str) -> Vec<Value> {
        self.site.actions(&self.pipeline, execution).await
    }
}

/// Whether the host crashed twice while the action ran, and did not run it again.
fn was_given_up(action: &Value) -> bool {
    action["output"]["executionResult"]["errorDetails"]["code"] == "SystemUnavailable"
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
