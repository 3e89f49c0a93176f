//! What happens on a server, as it happens: a pipeline's events, and what its actions say.
//!
//! Owns the connections, and connecting anew when a server restarts. Must not know how anything is shown.

use std::time::Duration;

use pipewright_pipeline::machine::{ConditionType, rule_in_stage};
use serde::Deserialize as _;
use serde_json::Value;
use tokio::sync::mpsc;

use super::Server;
use super::show::text;
use pipewright_aws::client::{Client, ClientError, Events};

/// A server that restarts is back within about a minute, or it is given up.
const RECONNECTS_MAX: u32 = 16;
const RECONNECT_DELAY_MIN: Duration = Duration::from_millis(200);
const RECONNECT_DELAY_MAX: Duration = Duration::from_secs(5);
/// Who shows things slower than they come makes the server wait.
const HEARD_MAX: usize = 1_000;

/// The events of a pipeline from now on, in EventBridge's shape (S141). The last one may be why there are no more.
pub async fn events(
    server: &Server,
    pipeline: &str,
) -> Result<mpsc::Receiver<Result<Value, ClientError>>, ClientError> {
    let mut feed = Feed { client: server.client.clone(), path: path(&[pipeline, "events"]), last: None };
    let mut events = feed.open("from=now").await?;
    let (out, heard) = mpsc::channel(HEARD_MAX);
    tokio::spawn(async move {
        loop {
            let message = match events.next().await {
                Ok(Some(message)) => message,
                Ok(None) | Err(_) => match feed.reopen().await {
                    Ok(again) => {
                        events = again;
                        continue;
                    }
                    Err(error) => return drop(out.send(Err(error)).await),
                },
            };
            feed.last = message.id.or(feed.last);
            let Ok(event) = serde_json::from_str(&message.data) else { continue };
            if out.send(Ok(event)).await.is_err() {
                return;
            }
        }
    });
    Ok(heard)
}

struct Feed {
    client: Client,
    path: Vec<String>,
    /// The id of the last event.
    last: Option<String>,
}

impl Feed {
    async fn open(&mut self, query: &str) -> Result<Events, ClientError> {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        self.client.events(&path, query, self.last.as_deref()).await
    }

    async fn reopen(&mut self) -> Result<Events, ClientError> {
        let mut attempt = 0;
        loop {
            tokio::time::sleep(delay(attempt)).await;
            attempt += 1;
            match self.open("").await {
                Err(error) if is_passing(&error) && attempt < RECONNECTS_MAX => {}
                ended => return ended,
            }
        }
    }
}

/// The action execution or rule execution that an event's detail is about.
pub fn run_of(detail: &Value) -> Option<String> {
    let id = detail["action-execution-id"].as_str().or(detail["rule-execution-id"].as_str())?;
    Some(id.to_owned())
}

/// What it is called in its stage.
pub fn name_of(detail: &Value) -> String {
    match (ConditionType::deserialize(&detail["condition"]), detail["rule"].as_str()) {
        (Ok(condition), Some(rule)) => rule_in_stage(condition, rule),
        _ => text(&detail["action"]),
    }
}

/// One action execution or rule execution on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    pub pipeline: String,
    pub execution: String,
    pub id: String,
    pub stage: String,
    pub name: String,
}

impl Action {
    /// Where its log lies.
    pub fn log_path(&self) -> Vec<String> {
        path(&[&self.pipeline, "executions", &self.execution, "actions", &self.id, "log"])
    }
}

/// Something about an action's log.
pub struct LogUpdate {
    pub action: Action,
    pub heard: Heard,
}

pub enum Heard {
    Line(LogLine),
    /// The action has ended, and its log with it.
    End,
    /// The log cannot be followed any more.
    Lost(ClientError),
}

/// One line of an action's log.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogLine {
    /// Milliseconds since 1970.
    pub at: u64,
    pub level: String,
    pub text: String,
}

impl LogLine {
    /// The line that follows: `<ms since 1970> <Level> <text>`. One of another form goes on with what this one said.
    pub fn then(&self, line: &str) -> Self {
        const LEVELS: &[&str] = &["Debug", "Info", "Warn", "Error"];
        let parts = line.split_once(' ').and_then(|(at, rest)| {
            let (level, text) = rest.split_once(' ').unwrap_or((rest, ""));
            let at = at.parse().ok().filter(|_| LEVELS.contains(&level))?;
            Some(Self { at, level: level.to_owned(), text: text.to_owned() })
        });
        parts.unwrap_or_else(|| Self { text: line.to_owned(), ..self.clone() })
    }
}

/// Where followed actions are heard.
pub fn ears() -> (mpsc::Sender<LogUpdate>, mpsc::Receiver<LogUpdate>) {
    mpsc::channel(HEARD_MAX)
}

/// Hears an action from its first line to its end.
pub fn tail(server: &Server, action: Action, out: mpsc::Sender<LogUpdate>) {
    let client = server.client.clone();
    tokio::spawn(async move {
        let heard = match to_the_end(&client, &action, &out).await {
            Ok(()) => Heard::End,
            Err(error) => Heard::Lost(error),
        };
        // Nobody may be there to hear it.
        let _ = out.send(LogUpdate { action, heard }).await;
    });
}

async fn to_the_end(client: &Client, action: &Action, out: &mpsc::Sender<LogUpdate>) -> Result<(), ClientError> {
    let path = action.log_path();
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let (mut lines, mut attempt, mut last) = (0, 0, LogLine::default());
    loop {
        // What was heard before the connection broke is not said again.
        let mut known: u64 = lines;
        let broken = match client.events(&path, "follow=true", None).await {
            Err(error) => error,
            Ok(mut events) => loop {
                match events.next().await {
                    Ok(Some(message)) if message.event == "end" => return Ok(()),
                    Ok(Some(_)) if known > 0 => known -= 1,
                    Ok(Some(message)) => {
                        (lines, attempt) = (lines + 1, 0);
                        last = last.then(&message.data);
                        let heard = Heard::Line(last.clone());
                        if out.send(LogUpdate { action: action.clone(), heard }).await.is_err() {
                            return Ok(());
                        }
                    }
                    Ok(None) => break client.broken("a log broke off"),
                    Err(error) => break error,
                }
            },
        };
        if !is_passing(&broken) || attempt == RECONNECTS_MAX {
            return Err(broken);
        }
        tokio::time::sleep(delay(attempt)).await;
        attempt += 1;
    }
}

/// A path below the pipelines of the plain HTTP interface.
pub fn path(segments: &[&str]) -> Vec<String> {
    ["v1", "pipelines"].iter().chain(segments).map(|segment| (*segment).to_owned()).collect()
}

fn delay(attempt: u32) -> Duration {
    RECONNECT_DELAY_MIN.saturating_mul(1 << attempt.min(8)).min(RECONNECT_DELAY_MAX)
}

/// A server that restarts says such things.
fn is_passing(error: &ClientError) -> bool {
    matches!(error, ClientError::Unreachable { .. } | ClientError::Broken { .. } | ClientError::Failed { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_a_time_goes_on_with_the_one_before() {
        let lines = ["7 Info first", "  second", "8 Warn", "3 apples", "9 Error last"];
        let mut last = LogLine::default();
        let read = lines.map(|line| {
            last = last.then(line);
            format!("{} {} {:?}", last.at, last.level, last.text)
        });
        let expected =
            ["7 Info \"first\"", "7 Info \"  second\"", "8 Warn \"\"", "8 Warn \"3 apples\"", "9 Error \"last\""];
        assert_eq!(read, expected);
    }
}
