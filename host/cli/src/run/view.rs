//! How a run is shown: a live tree on a terminal, plain lines when piped, JSON lines for machines.
//!
//! Owns the drawing. Must not know what runs.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

use pipewright_text::{cut_chars, printable};

use super::board::{ActionRow, Board, Status, Update};
use crate::out;
use pipewright_base::clock;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    Tree,
    Lines,
    Json,
}

pub struct View {
    form: Form,
    board: Board,
    began: Instant,
    /// How many lines the tree took when it was last drawn.
    drawn: usize,
    /// Something else is on the terminal; the tree stands still.
    paused: bool,
}

impl View {
    pub fn new(form: Form, board: Board) -> Self {
        Self { form, board, began: clock::monotonic(), drawn: 0, paused: false }
    }

    pub fn pipeline(&self) -> &str {
        &self.board.pipeline
    }

    pub fn update(&mut self, update: &Update) {
        let at = self.began.elapsed();
        self.board.apply(update, at);
        match self.form {
            Form::Tree => self.draw(),
            Form::Lines => {
                if let Some(line) = line(update) {
                    out::line(&line);
                }
            }
            Form::Json => out::json_line(update),
        }
    }

    /// Time went by: durations move on.
    pub fn tick(&mut self) {
        if self.form == Form::Tree {
            self.draw();
        }
    }

    /// Leaves the tree as it stands, so that something else can be printed below it.
    pub fn pause(&mut self) {
        self.paused = true;
    }

    /// Draws the tree anew after a pause, below what was printed.
    pub fn resume(&mut self) {
        if self.paused {
            (self.paused, self.drawn) = (false, 0);
        }
    }

    /// The last words: the failing actions with their last log lines, and where something was published.
    pub fn end(&mut self) {
        if self.form == Form::Json {
            return;
        }
        let mut text = String::new();
        for stage in &self.board.stages {
            for action in &stage.actions {
                if action.status == Status::Failed {
                    // Further lines are not to be taken for ours.
                    let why = action.summary.as_deref().unwrap_or("failed").replace('\n', "\n  ");
                    let _ = writeln!(text, "\n{}/{} failed: {why}", stage.name, action.name);
                    if self.form == Form::Tree {
                        for line in &action.log {
                            let _ = writeln!(text, "  | {line}");
                        }
                    }
                }
                for target in &action.targets {
                    let _ = writeln!(text, "{}/{} published {target}", stage.name, action.name);
                }
            }
        }
        let _ = match (&self.board.status, &self.board.message) {
            (status, Some(message)) => writeln!(text, "{} {}: {message}", self.board.pipeline, word(*status)),
            (status, None) => writeln!(text, "{} {}", self.board.pipeline, word(*status)),
        };
        out::lines(text.trim_end_matches('\n'));
    }

    fn draw(&mut self) {
        if self.paused {
            return;
        }
        let now = self.began.elapsed();
        let width =
            rustix::termios::tcgetwinsize(std::io::stdout()).map_or(80, |size| usize::from(size.ws_col.max(20)));
        let lines = tree(&self.board, now, width);
        // Up over the last drawing, then each line anew; the drawing before may have been longer.
        let mut text = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A", self.drawn) };
        for line in &lines {
            let _ = write!(text, "\x1b[2K{line}\r\n");
        }
        text.push_str("\x1b[J");
        self.drawn = lines.iter().map(|line| shown_chars(line).div_ceil(width).max(1)).sum();
        let mut out = std::io::stdout().lock();
        // A terminal that went away is no reason to stop the run.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// A line for each stage and action.
fn tree(board: &Board, now: Duration, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    for stage in &board.stages {
        lines.push(format!("{} {}", mark(stage.status), stage.name));
        stage.actions.iter().for_each(|action| lines.extend(rows(action, now, width)));
    }
    lines
}

/// What does not fit is cut; only what an action waits for, which somebody is to act on, gets a line of its own.
fn rows(action: &ActionRow, now: Duration, width: usize) -> Vec<String> {
    let duration = action.duration(now).map(seconds).unwrap_or_default();
    let summary = action.summary.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    let summary = printable(summary);
    let mut plain = format!("{:<24} {duration:>8}  {summary}", action.name).trim_end().to_owned();
    let room = width.saturating_sub(5);
    let is_whole = plain.chars().count() <= room;
    cut_chars(&mut plain, room);
    let mut lines = vec![format!("  {} {plain}", mark(action.status))];
    if action.status == Status::Waiting && !is_whole {
        lines.push(format!("      {summary}"));
    }
    lines
}

/// Without the escapes of marks, each of which ends with its `m`.
fn shown_chars(line: &str) -> usize {
    let marked = |part: &str| part.split_once('m').map_or(0, |(_, rest)| rest.chars().count());
    let mut parts = line.split('\x1b');
    parts.next().map_or(0, |first| first.chars().count()) + parts.map(marked).sum::<usize>()
}

fn seconds(duration: Duration) -> String {
    let whole = duration.as_secs();
    if whole < 60 {
        format!("{:.1} s", duration.as_secs_f64())
    } else {
        format!("{}:{:02}:{:02}", whole / 3600, whole / 60 % 60, whole % 60)
    }
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Pending => "\x1b[2m·\x1b[0m",
        Status::Running => "\x1b[34m▸\x1b[0m",
        Status::Waiting => "\x1b[33m?\x1b[0m",
        Status::Succeeded => "\x1b[32m✓\x1b[0m",
        Status::Failed => "\x1b[31m✗\x1b[0m",
        Status::Stopped => "\x1b[31m■\x1b[0m",
    }
}

fn word(status: Status) -> &'static str {
    match status {
        Status::Pending => "not started",
        Status::Running => "in progress",
        Status::Waiting => "waiting",
        Status::Succeeded => "succeeded",
        Status::Failed => "failed",
        Status::Stopped => "stopped",
    }
}

fn line(update: &Update) -> Option<String> {
    let action_line = |stage: &str, action: &str, text: &str| Some(format!("[{stage}/{action}] {text}"));
    match update {
        Update::Execution { pipeline, execution_id, status: Status::Running, .. } => {
            Some(format!("{pipeline} execution {execution_id}"))
        }
        Update::Execution { .. } | Update::Progress { .. } => None,
        Update::Stage { stage, status } => Some(format!("{stage}: {}", word(*status))),
        Update::Action { stage, action, status, summary, .. } => match summary {
            Some(summary) => action_line(stage, action, &format!("{}: {summary}", word(*status))),
            None => action_line(stage, action, word(*status)),
        },
        Update::Log { stage, action, line, .. } => action_line(stage, action, line),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_waited_for_is_shown_whole() {
        let id = json!({ "category": "Approval", "owner": "AWS", "provider": "Manual", "version": "1" });
        let declaration = serde_json::from_value(json!({
            "name": "shop", "roleArn": "arn:aws:iam::000000000000:role/test",
            "stages": [{ "name": "Gate", "actions": [{ "name": "Ask", "actionTypeId": id }] }],
        }))
        .unwrap();
        let mut board = Board::new(&declaration);
        let check = |board: &Board, width: usize, expected: &[usize]| {
            let lines = tree(board, Duration::ZERO, width);
            assert_eq!(lines.iter().map(|line| shown_chars(line)).collect::<Vec<_>>(), expected, "{lines:?}");
        };
        check(&board, 80, &[6, 7]);
        let answer = "waits for: pipewright approve shop Gate/Ask --data data";
        let (stage, action) = ("Gate".to_owned(), "Ask".to_owned());
        let (status, summary) = (Status::Waiting, Some(answer.to_owned()));
        board.apply(&Update::Action { stage, action, status, summary, targets: Vec::new() }, Duration::ZERO);
        check(&board, 120, &[6, 39 + answer.len()]);
        check(&board, 80, &[6, 79, 6 + answer.len()]);
    }
}
