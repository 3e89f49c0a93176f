//! `pipewright start`: starts an execution, and follows it to its end if asked.
//!
//! Owns how events become what `pipewright run` shows too.

use std::io::IsTerminal as _;
use std::process::ExitCode;
use std::time::Duration;

use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::ActionStatus;
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::follow::{self, Action, Heard, LogUpdate};
use super::show::{self, text};
use super::{Connection, Server, find, notices, status};
use crate::exit::{self, Ended};
use crate::out::{self, say};
use crate::run::board::{Board, Status, Update};
use crate::run::prepare::{check_variables, pair};
use crate::run::view::{Form, View};
use pipewright_aws::client::ClientError;

/// How often durations on the terminal move on.
const TICK: Duration = Duration::from_millis(100);
/// How long the end of an action waits for its last words.
const LAST_WORDS_TIME_MAX: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// Give a pipeline variable a value
    #[arg(long = "var", value_name = "NAME=VALUE")]
    variables: Vec<String>,
    /// Run with this commit of a source action
    #[arg(long = "revision", value_name = "ACTION=COMMIT")]
    revisions: Vec<String>,
    /// Show what happens until the execution has ended
    #[arg(long)]
    follow: bool,
    /// Follow no longer than this many seconds; the execution goes on
    #[arg(long, value_name = "SECONDS", requires = "follow")]
    timeout: Option<u64>,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let variables =
        arguments.variables.iter().map(|v| pair(v, "--var", "NAME=VALUE")).collect::<Result<Vec<_>, _>>()?;
    let input = input(arguments, &variables)?;
    arguments.connection.run(async |server| {
        let declared = match declared(server, &arguments.name).await {
            // What is wrong, the start says.
            Err(_) if variables.is_empty() && !arguments.follow => Value::Null,
            declared => declared?,
        };
        if !variables.is_empty() {
            check_variables(&find::read(declared.clone())?, &variables)?;
        }
        notices::tell(server, &declared).await;
        if arguments.follow {
            status::tell_closed(server, &arguments.name).await?;
            return follow(server, arguments, &find::read(declared)?, input).await;
        }
        let output = server.call("StartPipelineExecution", input).await?;
        if server.json {
            out::json(&output);
        } else {
            out::line(&text(&output["pipelineExecutionId"]));
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

fn input(arguments: &Arguments, variables: &[(String, String)]) -> Result<Value, Ended> {
    let mut input = json!({ "name": arguments.name });
    if !variables.is_empty() {
        let variables = variables.iter().map(|(name, value)| json!({ "name": name, "value": value }));
        input["variables"] = variables.collect();
    }
    let mut revisions = Vec::new();
    for revision in &arguments.revisions {
        let (action, commit) = pair(revision, "--revision", "ACTION=COMMIT")?;
        revisions.push(json!({ "actionName": action, "revisionType": "COMMIT_ID", "revisionValue": commit }));
    }
    if !revisions.is_empty() {
        input["sourceRevisions"] = json!(revisions);
    }
    Ok(input)
}

async fn declared(server: &Server, pipeline: &str) -> Result<Value, Ended> {
    Ok(server.call("GetPipeline", json!({ "name": pipeline })).await?["pipeline"].take())
}

async fn follow(
    server: &Server,
    Arguments { name: pipeline, timeout, .. }: &Arguments,
    declaration: &PipelineDeclaration,
    input: Value,
) -> Result<ExitCode, Ended> {
    // Before the start, so that nothing is missed.
    let events = follow::events(server, pipeline).await?;
    let output = server.call("StartPipelineExecution", input).await?;
    let form = match (server.json, std::io::stdout().is_terminal()) {
        (true, _) => Form::Json,
        (false, true) => Form::Tree,
        (false, false) => Form::Lines,
    };
    if form == Form::Json {
        out::json_line(&output);
    }
    let (ears, said) = follow::ears();
    let follower = Follower {
        server,
        pipeline: pipeline.clone(),
        execution: text(&output["pipelineExecutionId"]),
        form,
        view: View::new(form, Board::new(declaration)),
        ears,
        said,
        speaking: Vec::new(),
    };
    match timeout {
        None => follower.follow(events, std::future::pending()).await,
        Some(seconds) => follower.follow(events, tokio::time::sleep(Duration::from_secs(*seconds))).await,
    }
}

struct Follower<'a> {
    server: &'a Server,
    pipeline: String,
    execution: String,
    form: Form,
    view: View,
    ears: mpsc::Sender<LogUpdate>,
    said: mpsc::Receiver<LogUpdate>,
    /// The action executions whose logs are being followed.
    speaking: Vec<String>,
}

impl Follower<'_> {
    async fn follow(
        mut self,
        mut events: mpsc::Receiver<Result<Value, ClientError>>,
        timeout: impl Future<Output = ()>,
    ) -> Result<ExitCode, Ended> {
        let mut timeout = std::pin::pin!(timeout);
        let mut tick = tokio::time::interval(TICK);
        let mut interrupts = signal(SignalKind::interrupt()).map_err(|error| Ended::Host(error.into()))?;
        loop {
            tokio::select! {
                event = events.recv() => {
                    let event = event.ok_or_else(|| Ended::Host(anyhow::anyhow!("the events ended")))??;
                    if let Some(end) = self.event(&event).await? {
                        return Ok(self.end(end));
                    }
                }
                Some(said) = self.said.recv() => self.hear(said),
                _ = tick.tick() => self.view.tick(),
                _ = interrupts.recv() => return self.leave(exit::INTERRUPTED).await,
                () = &mut timeout => return self.leave(exit::TIMED_OUT).await,
            }
        }
    }

    /// What goes on without anybody who follows it is told, and what it waits for.
    async fn leave(mut self, code: u8) -> Result<ExitCode, Ended> {
        self.view.pause();
        status::tell_waiting(self.server, &self.pipeline).await?;
        let stop = format!("stop {} {}", self.pipeline, self.execution);
        say!("The execution goes on. To stop it: {}", self.server.command(&stop));
        Ok(ExitCode::from(code))
    }

    /// Shows an event of the execution; gives how it ended if it did.
    async fn event(&mut self, event: &Value) -> Result<Option<Status>, Ended> {
        if event["detail"]["execution-id"] != *self.execution {
            return Ok(None);
        }
        let Some(mut update) = update(event) else { return Ok(None) };
        if let Update::Action { stage, action, status, summary, .. } = &mut update {
            let id = follow::run_of(&event["detail"]).unwrap_or_default();
            match status {
                Status::Waiting => {
                    let approve = format!("approve {} {stage}/{action}", self.pipeline);
                    *summary = Some(format!("waits for: {}", self.server.command(&approve)));
                }
                Status::Running => self.listen(stage, action, id),
                _ => self.last_words(&id).await,
            }
        }
        let mut end = None;
        if let Update::Execution { status, .. } = &update
            && *status != Status::Running
        {
            end = Some(*status);
        }
        match self.form {
            Form::Json => out::json_line(&event),
            Form::Tree | Form::Lines => self.view.update(&update),
        }
        Ok(end)
    }

    fn listen(&mut self, stage: &str, action: &str, id: String) {
        if self.form == Form::Json || self.speaking.contains(&id) {
            return;
        }
        self.speaking.push(id.clone());
        let action = Action {
            pipeline: self.pipeline.clone(),
            execution: self.execution.clone(),
            id,
            stage: stage.to_owned(),
            name: action.to_owned(),
        };
        follow::tail(self.server, action, self.ears.clone());
    }

    /// Shows what an action said before it ended.
    async fn last_words(&mut self, id: &str) {
        let heard = async {
            while self.speaking.iter().any(|speaking| speaking == id) {
                let Some(said) = self.said.recv().await else { return };
                self.hear(said);
            }
        };
        // A log that does not end must not hold up the rest.
        let _ = tokio::time::timeout(LAST_WORDS_TIME_MAX, heard).await;
    }

    fn hear(&mut self, LogUpdate { action, heard }: LogUpdate) {
        let line = match heard {
            Heard::Line(line) => line,
            Heard::End => return self.speaking.retain(|speaking| *speaking != action.id),
            Heard::Lost(error) => {
                // The execution matters more than its log, which stays on the server.
                tracing::warn!("the log of {}/{}: {error}", action.stage, action.name);
                return self.speaking.retain(|speaking| *speaking != action.id);
            }
        };
        let level = match line.level.as_str() {
            "Debug" => "debug",
            "Warn" => "warn",
            "Error" => "error",
            _ => "info",
        };
        self.view.update(&Update::Log { stage: action.stage, action: action.name, level, line: line.text });
    }

    fn end(mut self, status: Status) -> ExitCode {
        self.view.end();
        ExitCode::from(if status == Status::Succeeded { exit::SUCCEEDED } else { exit::FAILED })
    }
}

/// What an event in EventBridge's shape (S141) changes in the picture.
fn update(event: &Value) -> Option<Update> {
    let detail = &event["detail"];
    let status = match detail["state"].as_str()? {
        "STARTED" | "RESUMED" | "STOPPING" => Status::Running,
        "SUCCEEDED" | "APPROVED" => Status::Succeeded,
        "FAILED" | "REJECTED" => Status::Failed,
        "STOPPED" | "CANCELED" | "ABANDONED" | "SUPERSEDED" => Status::Stopped,
        _ => return None,
    };
    let (stage, action) = (text(&detail["stage"]), follow::name_of(detail));
    Some(match event["detail-type"].as_str()? {
        "CodePipeline Pipeline Execution State Change" => Update::Execution {
            pipeline: text(&detail["pipeline"]),
            execution_id: text(&detail["execution-id"]),
            status,
            message: detail["status-summary"].as_str().map(str::to_owned),
        },
        "Pipewright Approval Execution State Change" => {
            let answer = if status == Status::Failed { ActionStatus::Failed } else { ActionStatus::Succeeded };
            let line = show::summary(answer, detail["by"].as_str(), &text(&detail["summary"]));
            Update::Log { stage, action, level: "info", line }
        }
        "CodePipeline Stage Execution State Change" => Update::Stage { stage, status },
        "CodePipeline Action Execution State Change" | "Pipewright Rule Execution State Change" => {
            let is_approval = detail["type"]["category"] == "Approval" && status == Status::Running;
            let summary = detail["execution-result"]["external-execution-summary"].as_str().map(str::to_owned);
            let status = if is_approval { Status::Waiting } else { status };
            Update::Action { stage, action, status, summary, targets: Vec::new() }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::*;

    #[track_caller]
    fn check(kind: &str, detail: Value, expected: Expect) {
        let event = json!({ "detail-type": format!("{kind} State Change"), "detail": detail });
        let shown = update(&event).map_or("nothing".to_owned(), |update| serde_json::to_string(&update).unwrap());
        expected.assert_eq(&shown);
    }

    #[test]
    fn events_become_updates() {
        check(
            "CodePipeline Pipeline Execution",
            json!({ "pipeline": "site", "execution-id": "1", "state": "SUPERSEDED", "status-summary": "by 2" }),
            expect![[
                r#"{"type":"execution","pipeline":"site","executionId":"1","status":"Stopped","message":"by 2"}"#
            ]],
        );
        check(
            "CodePipeline Stage Execution",
            json!({ "stage": "Build", "state": "RESUMED" }),
            expect![[r#"{"type":"stage","stage":"Build","status":"Running"}"#]],
        );
        check(
            "CodePipeline Action Execution",
            json!({
                "stage": "Build", "action": "Make", "state": "FAILED", "type": { "category": "Build" },
                "execution-result": { "external-execution-summary": "no such file", "error-code": "JobFailed" },
            }),
            expect![[
                r#"{"type":"action","stage":"Build","action":"Make","status":"Failed","summary":"no such file"}"#
            ]],
        );
        check(
            "CodePipeline Action Execution",
            json!({ "stage": "Go", "action": "Ask", "state": "STARTED", "type": { "category": "Approval" } }),
            expect![[r#"{"type":"action","stage":"Go","action":"Ask","status":"Waiting"}"#]],
        );
        check("CodePipeline Action Execution", json!({ "state": "UNHEARD OF" }), expect!["nothing"]);
        check(
            "Pipewright Approval Execution",
            json!({ "stage": "Go", "action": "Ask", "state": "REJECTED", "by": "user/maria", "summary": "too late" }),
            expect![[
                r#"{"type":"log","stage":"Go","action":"Ask","level":"info","line":"rejected by maria: too late"}"#
            ]],
        );
        check("Weather", json!({ "state": "STARTED" }), expect!["nothing"]);
    }
}
