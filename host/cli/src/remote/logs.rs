//! `pipewright logs`: what the actions of an execution said, and say.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde_json::{Value, json};

use super::find::Run;
use super::follow::{self, Action, Heard, LogLine, LogUpdate};
use super::show::{self, text};
use super::{Connection, Server, find};
use crate::exit::{self, Ended};
use crate::out::{self, say};

/// A longer line is cut into pieces.
const LINE_BYTES_MAX: usize = 1024 * 1024;
/// Stops a log that never ends, of a server that is none.
const LOG_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(clap::Args)]
pub struct Arguments {
    /// The pipeline
    name: String,
    /// Only this stage, action or rule, STAGE/ACTION, or STAGE/beforeEntry/RULE
    action: Option<String>,
    /// The execution [default: the newest]
    #[arg(long, value_name = "ID")]
    execution: Option<String>,
    /// Go on until the action, or the execution, has ended
    #[arg(long)]
    follow: bool,
    #[command(flatten)]
    connection: Connection,
}

pub fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    arguments.connection.run(async |server| {
        let execution = find::execution(server, &arguments.name, arguments.execution.as_deref()).await?;
        let logs = Logs { server, arguments, execution };
        if arguments.follow {
            logs.follow().await?;
        } else {
            let actions = logs.actions().await?;
            if let (true, Some(named)) = (actions.is_empty(), &arguments.action) {
                return Err(logs.not_there(named).await?);
            }
            for action in actions {
                logs.whole(&logs.of(&action)).await?;
            }
        }
        Ok(ExitCode::from(exit::SUCCEEDED))
    })
}

struct Logs<'a> {
    server: &'a Server,
    arguments: &'a Arguments,
    execution: String,
}

impl Logs<'_> {
    /// The actions and rules that were asked for, in the order in which they began.
    async fn actions(&self) -> Result<Vec<Run>, Ended> {
        let mut found = find::runs(self.server, &self.arguments.name, &self.execution).await?;
        found.retain(|run| self.is_meant(&run.stage, &run.name));
        Ok(found)
    }

    /// What ran in place of what was asked for.
    async fn not_there(&self, named: &str) -> Result<Ended, Ended> {
        let runs = find::runs(self.server, &self.arguments.name, &self.execution).await?;
        let names: BTreeSet<_> = runs.iter().map(|run| format!("{}/{}", run.stage, run.name)).collect();
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let what = if names.is_empty() { "nothing has".to_owned() } else { format!("these have: {names}") };
        Ok(Ended::Usage(format!("{named} did not run in execution {}; {what}", self.execution)))
    }

    fn is_meant(&self, stage: &str, action: &str) -> bool {
        self.arguments.action.as_deref().is_none_or(|named| find::is_named(named, stage, action))
    }

    fn of(&self, run: &Run) -> Action {
        Action {
            pipeline: self.arguments.name.clone(),
            execution: self.execution.clone(),
            id: run.id.clone(),
            stage: run.stage.clone(),
            name: run.name.clone(),
        }
    }

    /// Prints what an action said until now.
    async fn whole(&self, action: &Action) -> Result<(), Ended> {
        let path = action.log_path();
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        let mut stream = self.server.client.stream(&path, LOG_BYTES_MAX).await?;
        let (mut rest, mut last) = (Vec::new(), LogLine::default());
        let mut print = |bytes: &[u8]| {
            last = last.then(&String::from_utf8_lossy(bytes));
            self.print(action, &last);
        };
        while let Some(piece) = stream.next().await? {
            rest.extend_from_slice(&piece);
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = rest.drain(..=end).collect();
                print(&line[..end]);
            }
            if rest.len() > LINE_BYTES_MAX {
                print(&std::mem::take(&mut rest));
            }
        }
        if !rest.is_empty() {
            print(&rest);
        }
        Ok(())
    }

    async fn follow(&self) -> Result<(), Ended> {
        // Before the look at what runs, so that nothing is missed.
        let mut events = follow::events(self.server, &self.arguments.name).await?;
        let input = json!({ "pipelineName": self.arguments.name, "pipelineExecutionId": self.execution });
        let execution = self.server.call("GetPipelineExecution", input).await?;
        let status = text(&execution["pipelineExecution"]["status"]);
        let mut runs = matches!(status.as_str(), "InProgress" | "Stopping");
        let (ears, mut said) = follow::ears();
        let mut speaking: Vec<String> = Vec::new();
        let mut heard_of = 0;
        for action in self.actions().await? {
            heard_of += 1;
            if action.is_running {
                speaking.push(action.id.clone());
                follow::tail(self.server, self.of(&action), ears.clone());
            } else {
                self.whole(&self.of(&action)).await?;
            }
        }
        // One action that was named and has ended is all there is to hear.
        while !speaking.is_empty() || runs && (self.arguments.action.is_none() || heard_of == 0) {
            tokio::select! {
                event = events.recv(), if runs => {
                    let event = event.ok_or_else(|| Ended::Host(anyhow::anyhow!("the events ended")))??;
                    if let Some(action) = self.begun(&event)
                        && !speaking.contains(&action.id)
                    {
                        heard_of += 1;
                        speaking.push(action.id.clone());
                        follow::tail(self.server, action, ears.clone());
                    }
                    runs = !self.is_end(&event);
                }
                Some(LogUpdate { action, heard }) = said.recv() => match heard {
                    Heard::Line(line) => self.print(&action, &line),
                    Heard::End => speaking.retain(|speaking| *speaking != action.id),
                    Heard::Lost(error) => return Err(error.into()),
                },
            }
        }
        Ok(())
    }

    /// The action that was asked for and starts with this event.
    fn begun(&self, event: &Value) -> Option<Action> {
        let detail = &event["detail"];
        let action = Action {
            pipeline: self.arguments.name.clone(),
            execution: self.execution.clone(),
            id: follow::run_of(detail)?,
            stage: text(&detail["stage"]),
            name: follow::name_of(detail),
        };
        let is_meant = detail["execution-id"] == *self.execution
            && detail["state"] == "STARTED"
            && self.is_meant(&action.stage, &action.name);
        is_meant.then_some(action)
    }

    fn is_end(&self, event: &Value) -> bool {
        let detail = &event["detail"];
        event["detail-type"] == "CodePipeline Pipeline Execution State Change"
            && detail["execution-id"] == *self.execution
            && !["STARTED", "RESUMED", "STOPPING"].contains(&detail["state"].as_str().unwrap_or_default())
    }

    fn print(&self, action: &Action, line: &LogLine) {
        let LogLine { at, level, text } = line;
        let (stage, name) = (&action.stage, &action.name);
        if self.server.json {
            let line = json!({
                "timestamp": at, "level": level, "stageName": stage, "actionName": name,
                "actionExecutionId": action.id, "message": text,
            });
            return out::json_line(&line);
        }
        say!("{} {level:<5} [{stage}/{name}] {}", show::time_ms(*at), text);
    }
}
