//! Logs of action executions: append-only files, one for what the plugin said and one for its host calls.
//!
//! Owns the files and the live copy of what goes into them. Must not know who reads.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use pipewright_sandbox::seam::{HostCall, HostCallOutcome, Level, Sink};
use serde::Serialize;
use tokio::sync::broadcast;

use crate::clock;

/// Lines that a slow watcher may lag behind; older ones are lost to it, and are in the file.
const LIVE_LINES_MAX: usize = 4096;

/// Something an action said while it ran.
#[derive(Clone, Debug)]
pub struct Said {
    pub stage: Arc<str>,
    pub action: Arc<str>,
    pub what: Speech,
}

#[derive(Clone, Debug)]
pub enum Speech {
    Line(Level, String),
    Progress(Option<u8>, String),
}

/// The folder of logs, and the live copy.
pub struct Logs {
    folder: PathBuf,
    live: broadcast::Sender<Said>,
}

impl Logs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, live: broadcast::Sender::new(LIVE_LINES_MAX) }
    }

    /// What actions say from now on.
    pub fn listen(&self) -> broadcast::Receiver<Said> {
        self.live.subscribe()
    }

    /// The log of one action execution. Files are made when something is written.
    pub fn of(&self, execution: &str, action_execution: &str, stage: &str, action: &str) -> Arc<ActionLog> {
        Arc::new(ActionLog {
            base: self.folder.join(execution).join(action_execution),
            stage: stage.into(),
            action: action.into(),
            live: self.live.clone(),
            files: Mutex::default(),
        })
    }
}

pub struct ActionLog {
    base: PathBuf,
    stage: Arc<str>,
    action: Arc<str>,
    live: broadcast::Sender<Said>,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    lines: Option<BufWriter<File>>,
    calls: Option<BufWriter<File>>,
}

/// A host call as a line of the journal.
#[derive(Serialize)]
struct JournalLine<'a> {
    at: u64,
    capability: &'a str,
    operation: &'a str,
    target: &'a str,
    outcome: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    bytes: u64,
    micros: u64,
}

impl ActionLog {
    fn say(&self, what: Speech) {
        // Nobody listening is the usual case.
        let _ = self.live.send(Said { stage: Arc::clone(&self.stage), action: Arc::clone(&self.action), what });
    }

    /// Writes a line. A log that cannot be written must not fail the action.
    fn append(&self, pick: impl Fn(&mut Files) -> &mut Option<BufWriter<File>>, extension: &str, line: &str) {
        let mut files = self.files.lock().expect("no panic while held");
        let file = pick(&mut files);
        let written = match file {
            Some(file) => writeln!(file, "{line}"),
            None => {
                open(&self.base.with_extension(extension)).and_then(|opened| writeln!(file.insert(opened), "{line}"))
            }
        };
        if let Err(error) = written {
            tracing::warn!("log {}: {error}", self.base.display());
        }
    }

    /// Writes out what is buffered, at the end of a call.
    pub fn flush(&self) {
        let mut files = self.files.lock().expect("no panic while held");
        let Files { lines, calls } = &mut *files;
        for file in [lines, calls].into_iter().flatten() {
            if let Err(error) = file.flush() {
                tracing::warn!("log {}: {error}", self.base.display());
            }
        }
    }
}

fn open(path: &Path) -> std::io::Result<BufWriter<File>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(BufWriter::new(File::options().create(true).append(true).open(path)?))
}

impl Sink for ActionLog {
    fn log(&self, level: Level, line: &str) {
        self.append(|files| &mut files.lines, "log", &format!("{} {level:?} {line}", clock::now_ms()));
        self.say(Speech::Line(level, line.to_owned()));
    }

    fn progress(&self, percent: Option<u8>, summary: &str) {
        self.say(Speech::Progress(percent, summary.to_owned()));
    }

    fn host_call(&self, call: HostCall) {
        let (outcome, why) = match &call.outcome {
            HostCallOutcome::Done => ("done", None),
            HostCallOutcome::Denied(why) => ("denied", Some(why.as_str())),
            HostCallOutcome::Limit(why) => ("limit", Some(why.as_str())),
            HostCallOutcome::Failed(why) => ("failed", Some(why.as_str())),
        };
        let line = JournalLine {
            at: clock::now_ms(),
            capability: call.capability,
            operation: call.operation,
            target: &call.target,
            outcome,
            why,
            bytes: call.bytes,
            micros: call.micros,
        };
        match serde_json::to_string(&line) {
            Ok(line) => self.append(|files| &mut files.calls, "calls", &line),
            Err(error) => tracing::warn!("journal {}: {error}", self.base.display()),
        }
    }
}
