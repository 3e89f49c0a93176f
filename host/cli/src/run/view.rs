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
        let mut lines = Vec::new();
        for stage in &self.board.stages {
            lines.push(format!("{} {}", mark(stage.status), stage.name));
            lines.extend(stage.actions.iter().map(|action| row(action, now, width)));
        }
        // Up over the last drawing, then each line anew.
        let mut text = if self.drawn == 0 { String::new() } else { format!("\x1b[{}A", self.drawn) };
        for line in &lines {
            let _ = write!(text, "\x1b[2K{line}\r\n");
        }
        self.drawn = lines.len();
        let mut out = std::io::stdout().lock();
        // A terminal that went away is no reason to stop the run.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

fn row(action: &ActionRow, now: Duration, width: usize) -> String {
    let duration = action.duration(now).map(seconds).unwrap_or_default();
    let summary = action.summary.as_deref().unwrap_or_default().lines().next().unwrap_or_default();
    let plain = format!("{:<24} {duration:>8}  {}", action.name, printable(summary));
    let room = width.saturating_sub(5);
    let mut plain = plain.trim_end().to_owned();
    cut_chars(&mut plain, room);
    format!("  {} {plain}", mark(action.status))
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
