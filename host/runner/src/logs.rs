//! Logs of action executions: append-only files, one for what the plugin said and one for its host calls.
//!
//! Owns the files and the live copy of what goes into them. Must not know who reads.

pub mod phases;
mod results;

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};

use pipewright_sandbox::seam::{HostCall, HostCallOutcome, Level, Sink};
use serde::Serialize;
use tokio::sync::{broadcast, watch};

use pipewright_base::clock;

pub use self::results::ActionResults;

/// Lines that a slow watcher may lag behind; older ones are lost to it, and are in the file.
const LIVE_LINES_MAX: usize = 4096;

/// How much of a log's end is given at once.
const LAST_LINES_BYTES_MAX: u64 = 256 * 1024;

/// The extensions of the files.
const LOG: &str = "log";
const JOURNAL: &str = "calls";

/// Something an action said while it ran.
#[derive(Clone, Debug)]
pub struct LogMessage {
    /// The action execution.
    pub id: Arc<str>,
    pub stage: Arc<str>,
    pub action: Arc<str>,
    pub what: LogContent,
}

#[derive(Clone, Debug)]
pub enum LogContent {
    Line(Level, String),
    Progress(Option<u8>, String),
}

/// The folder of logs, and the live copy.
pub struct Logs {
    folder: PathBuf,
    live: broadcast::Sender<LogMessage>,
    open: Arc<Open>,
}

/// The logs that are written or listened to, by action execution.
#[derive(Default)]
struct Open(Mutex<HashMap<String, OpenLog>>);

#[derive(Default)]
struct OpenLog {
    /// Gone between two calls, and at the end.
    writer: Weak<ActionLog>,
    said: watch::Sender<()>,
}

impl Open {
    fn logs(&self) -> MutexGuard<'_, HashMap<String, OpenLog>> {
        self.0.lock().expect("no panic while held")
    }

    fn writer(&self, id: &str) -> Option<Arc<ActionLog>> {
        self.logs().get(id).and_then(|log| log.writer.upgrade())
    }

    /// Forgets a log that is neither written nor, but for so many, listened to.
    fn forget(&self, id: &str, listeners: usize) {
        let mut logs = self.logs();
        if logs.get(id).is_some_and(|log| log.writer.strong_count() == 0 && log.said.receiver_count() <= listeners) {
            logs.remove(id);
        }
    }
}

impl Logs {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, live: broadcast::Sender::new(LIVE_LINES_MAX), open: Arc::default() }
    }

    /// What actions say from now on.
    pub fn listen(&self) -> broadcast::Receiver<LogMessage> {
        self.live.subscribe()
    }

    /// The log of one action execution. Files are made when something is written.
    pub fn of(&self, execution: &str, action_execution: &str, stage: &str, action: &str) -> Arc<ActionLog> {
        let mut open = self.open.logs();
        let entry = open.entry(action_execution.to_owned()).or_default();
        let log = Arc::new(ActionLog {
            base: self.base(execution, action_execution),
            id: action_execution.into(),
            open: Arc::clone(&self.open),
            stage: stage.into(),
            action: action.into(),
            live: self.live.clone(),
            said: entry.said.clone(),
            progress: Mutex::default(),
            files: Mutex::default(),
        });
        entry.writer = Arc::downgrade(&log);
        log
    }

    /// What there is of one execution.
    pub fn folder(&self, execution: &str) -> PathBuf {
        self.folder.join(execution)
    }

    fn base(&self, execution: &str, action_execution: &str) -> PathBuf {
        self.folder(execution).join(action_execution)
    }

    pub fn log_path(&self, execution: &str, action_execution: &str) -> PathBuf {
        self.base(execution, action_execution).with_extension(LOG)
    }

    pub fn journal_path(&self, execution: &str, action_execution: &str) -> PathBuf {
        self.base(execution, action_execution).with_extension(JOURNAL)
    }

    /// The end of what an action execution said, without the times.
    pub fn last_lines(&self, execution: &str, action_execution: &str) -> std::io::Result<Vec<String>> {
        self.flush(action_execution);
        let mut file = match File::open(self.log_path(execution, action_execution)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            file => file?,
        };
        let length = file.metadata()?.len();
        let cut = length.saturating_sub(LAST_LINES_BYTES_MAX);
        file.seek(SeekFrom::Start(cut))?;
        let mut text = Vec::new();
        file.take(LAST_LINES_BYTES_MAX).read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        // Where it is cut, the first line is not whole.
        let lines = text.lines().skip(usize::from(cut > 0));
        Ok(lines.map(|line| line.split_once(' ').map_or(line, |(_, said)| said).to_owned()).collect())
    }

    /// Writes out what is buffered of a log that is being written.
    pub fn flush(&self, action_execution: &str) {
        if let Some(writer) = self.open.writer(action_execution) {
            writer.flush();
        }
    }

    /// What an action execution that is being called told last of how far it is.
    pub fn progress(&self, action_execution: &str) -> Option<String> {
        let writer = self.open.writer(action_execution)?;
        writer.progress.lock().expect("no panic while held").clone()
    }

    /// Waits for what one action execution says.
    pub fn listen_to(&self, execution: &str, action_execution: &str) -> Listener {
        let said = self.open.logs().entry(action_execution.to_owned()).or_default().said.subscribe();
        let log = Listened {
            path: self.log_path(execution, action_execution),
            id: action_execution.to_owned(),
            open: Arc::clone(&self.open),
        };
        Listener { log: Arc::new(log), said }
    }
}

/// Follows one log, and no other: its file, and when there is more in it.
pub struct Listener {
    log: Arc<Listened>,
    said: watch::Receiver<()>,
}

/// The log that is followed.
pub struct Listened {
    path: PathBuf,
    id: String,
    open: Arc<Open>,
}

impl Listened {
    pub fn path(&self) -> &Path {
        &self.path
    }

    pub fn flush(&self) {
        if let Some(writer) = self.open.writer(&self.id) {
            writer.flush();
        }
    }
}

impl Listener {
    pub fn log(&self) -> Arc<Listened> {
        Arc::clone(&self.log)
    }

    /// Whether the action execution is being called: it then says when the call has ended.
    pub fn is_called(&self) -> bool {
        self.log.open.writer(&self.log.id).is_some()
    }

    /// Waits until the action execution has said something, or a call of it has ended.
    pub async fn something(&mut self) {
        if self.said.changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.log.open.forget(&self.log.id, 1);
    }
}

pub struct ActionLog {
    base: PathBuf,
    id: Arc<str>,
    open: Arc<Open>,
    stage: Arc<str>,
    action: Arc<str>,
    live: broadcast::Sender<LogMessage>,
    /// Those who listen to this one.
    said: watch::Sender<()>,
    progress: Mutex<Option<String>>,
    files: Mutex<Files>,
}

#[derive(Default)]
struct Files {
    lines: Option<BufWriter<File>>,
    calls: Option<BufWriter<File>>,
    phases: Option<BufWriter<File>>,
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
    /// Whether an earlier call of the action execution wrote to it.
    pub fn was_written(&self) -> bool {
        [LOG, JOURNAL].iter().any(|extension| self.base.with_extension(extension).exists())
    }

    /// The bytes of the log and the host calls of the journal that earlier calls wrote. Blocks.
    pub fn written(&self) -> (u64, u64) {
        let bytes = fs::metadata(self.base.with_extension(LOG)).map_or(0, |metadata| metadata.len());
        let journal = File::open(self.base.with_extension(JOURNAL));
        let calls = journal.map_or(0, |journal| BufReader::new(journal).split(b'\n').take_while(Result::is_ok).count());
        (bytes, calls as u64)
    }

    fn say(&self, what: LogContent) {
        // Nobody listening is the usual case.
        let _ = self.live.send(LogMessage {
            id: Arc::clone(&self.id),
            stage: Arc::clone(&self.stage),
            action: Arc::clone(&self.action),
            what,
        });
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().expect("no panic while held")
    }

    /// Writes a line. A log that cannot be written must not fail the action.
    fn append(&self, pick: impl Fn(&mut Files) -> &mut Option<BufWriter<File>>, extension: &str, line: &str) {
        let mut files = self.files();
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
        let mut files = self.files();
        let Files { lines, calls, phases } = &mut *files;
        for file in [lines, calls, phases].into_iter().flatten() {
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

impl Drop for ActionLog {
    fn drop(&mut self) {
        self.flush();
        self.said.send_replace(());
        // A later call of the same action execution may have opened it again.
        self.open.forget(&self.id, 0);
    }
}

impl Sink for ActionLog {
    fn log(&self, level: Level, line: &str) {
        // Each line by itself says when and how bad: whoever reads one needs no other.
        let now = clock::now_ms();
        for piece in line.split('\n') {
            self.append(|files| &mut files.lines, LOG, &format!("{now} {level:?} {piece}"));
        }
        self.said.send_replace(());
        self.say(LogContent::Line(level, line.to_owned()));
    }

    fn progress(&self, percent: Option<u8>, summary: &str) {
        *self.progress.lock().expect("no panic while held") = Some(summary.to_owned());
        self.say(LogContent::Progress(percent, summary.to_owned()));
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
        // Told when it is over: the span has its duration as a field.
        let JournalLine { capability, operation, target, bytes, micros, .. } = line;
        tracing::info_span!("host_call", capability, operation, target, outcome, bytes, micros).in_scope(|| ());
        match serde_json::to_string(&line) {
            Ok(line) => self.append(|files| &mut files.calls, JOURNAL, &line),
            Err(error) => tracing::warn!("journal {}: {error}", self.base.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn who_listens_is_woken_by_that_action_execution_alone() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned());
        // Before it is called for the first time.
        let mut listener = logs.listen_to("execution", "mine");
        assert!(!listener.is_called());
        let (mine, other) =
            (logs.of("execution", "mine", "Stage", "Mine"), logs.of("execution", "other", "Stage", "Other"));
        other.log(Level::Info, "not for me");
        assert!(listener.is_called() && listener.something().now_or_never().is_none());
        mine.log(Level::Info, "for me");
        assert!(listener.something().now_or_never().is_some());
        assert!(listener.something().now_or_never().is_none());
        mine.progress(None, "half of it");
        assert_eq!(logs.progress("mine").as_deref(), Some("half of it"));
        drop((mine, other));
        assert_eq!(logs.progress("mine"), None);
        assert!(listener.something().now_or_never().is_some() && !listener.is_called(), "it is told of the end");
        // It may be called again.
        drop(logs.of("execution", "mine", "Stage", "Mine"));
        assert!(listener.something().now_or_never().is_some());
        drop(listener);
        assert!(logs.open.logs().is_empty());
    }
}
