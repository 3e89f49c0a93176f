//! The phases of a build: a file beside the log of its action execution, a line for each that begins or ends. So they are collected and
//! exported with the logs.
//!
//! Owns the form of the lines, and how they are found in what a build says. Must not know what is shown of a build, or what its phases
//! lead to.

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::sync::Arc;

use pipewright_base::clock;
use pipewright_sandbox::seam::{HostCall, Level, Sink};
use pipewright_text::first_bytes;
use serde::{Deserialize, Serialize};

use super::{ActionLog, Logs, open};

const PHASES: &str = "phases";

/// From the beginning of the build until its first program runs.
pub const QUEUED: &str = "QUEUED";
/// Those that a build says of itself, in CodeBuild's words.
const NAMES: &[&str] = &["DOWNLOAD_SOURCE", "INSTALL", "PRE_BUILD", "BUILD", "POST_BUILD", "UPLOAD_ARTIFACTS"];
const STATUSES: &[&str] = &["SUCCEEDED", "FAILED", "TIMED_OUT"];

/// Of one attempt at a build. Stops one that says for ever that it enters a phase.
const FILE_BYTES_MAX: u64 = 64 << 10;
/// Of a message; what is longer is cut.
const MESSAGE_BYTES_MAX: usize = 4 << 10;

/// One that a build has entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    pub name: String,
    /// In milliseconds since 1970.
    pub started: u64,
    /// And how it ended.
    pub ended: Option<(u64, String)>,
    /// Why it failed: a code and a message.
    pub why: Option<(String, String)>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum Line {
    Entered { at: u64, phase: String },
    Left { at: u64, phase: String, status: String },
    Why { code: String, message: String },
}

impl Line {
    fn entered(phase: &str) -> Self {
        Self::Entered { at: clock::now_ms(), phase: phase.to_owned() }
    }

    fn left(phase: &str, status: &str) -> Self {
        Self::Left { at: clock::now_ms(), phase: phase.to_owned(), status: status.to_owned() }
    }

    /// As a build says it. Its commands can say the same, of their own build alone.
    fn said(line: &str) -> Option<Self> {
        if let Some(phase) = line.strip_prefix("Entering phase ") {
            return NAMES.contains(&phase).then(|| Self::entered(phase));
        }
        if let Some(rest) = line.strip_prefix("Phase complete: ") {
            let (phase, status) = rest.split_once(" State: ")?;
            return (NAMES.contains(&phase) && STATUSES.contains(&status)).then(|| Self::left(phase, status));
        }
        let (code, message) = line.strip_prefix("Phase context status code: ")?.split_once(" Message: ")?;
        let message = first_bytes(message, MESSAGE_BYTES_MAX).to_owned();
        (!code.is_empty()).then(|| Self::Why { code: first_bytes(code, MESSAGE_BYTES_MAX).to_owned(), message })
    }
}

/// The log of a build, which keeps the phases that are told in it.
pub struct PhasedLog(pub Arc<ActionLog>);

impl Sink for PhasedLog {
    fn log(&self, level: Level, line: &str) {
        self.0.log(level, line);
        if let Some(said) = Line::said(line) {
            self.0.phase(&said);
        }
    }

    fn progress(&self, percent: Option<u8>, summary: &str) {
        self.0.progress(percent, summary);
    }

    fn host_call(&self, call: HostCall) {
        self.0.host_call(call);
    }
}

impl ActionLog {
    /// A build begins to wait for its first program: an attempt before this one, which was interrupted, is not told of any more.
    pub fn begin_phases(&self) {
        drop(self.files().phases.take());
        match fs::remove_file(self.base.with_extension(PHASES)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!("phases {}: {error}", self.base.display());
            }
            _ => self.phase(&Line::entered(QUEUED)),
        }
    }

    /// Its first program runs.
    pub fn leave_queue(&self) {
        self.phase(&Line::left(QUEUED, "SUCCEEDED"));
    }

    /// What cannot be written must not fail the action.
    fn phase(&self, line: &Line) {
        if let Err(error) = self.append_phase(line) {
            tracing::warn!("phases {}: {error}", self.base.display());
        }
    }

    fn append_phase(&self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let mut files = self.files();
        let file = match &mut files.phases {
            Some(file) => file,
            none => none.insert(open(&self.base.with_extension(PHASES))?),
        };
        let length = file.get_ref().metadata()?.len() + file.buffer().len() as u64;
        if length + text.len() as u64 <= FILE_BYTES_MAX {
            file.write_all(&text)?;
        }
        Ok(())
    }
}

impl Logs {
    /// Those of a build, in their order; none where nothing is kept of them. Blocks.
    pub fn phases(&self, execution: &str, action_execution: &str) -> io::Result<Vec<Phase>> {
        self.flush(action_execution);
        let mut text = String::new();
        match File::open(self.base(execution, action_execution).with_extension(PHASES)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            file => drop(file?.take(FILE_BYTES_MAX).read_to_string(&mut text)?),
        }
        // A host that died may have left half a line.
        Ok(phases(text.lines().filter_map(|line| serde_json::from_str(line).ok())))
    }
}

fn phases(lines: impl Iterator<Item = Line>) -> Vec<Phase> {
    let mut phases: Vec<Phase> = Vec::new();
    for line in lines {
        match line {
            Line::Entered { at, phase } => enter(&mut phases, phase, at),
            Line::Left { at, phase, status } => {
                if phase == QUEUED {
                    // What was entered before the first program ran was entered, to whoever looks on, when it did.
                    for later in phases.iter_mut().skip(1) {
                        later.started = at;
                        later.ended.iter_mut().for_each(|(ended, _)| *ended = at);
                    }
                } else if phases.last().is_none_or(|last| last.name != phase || last.ended.is_some()) {
                    // It did not say that it enters this one.
                    let before =
                        phases.last().map(|last| last.ended.as_ref().map_or(last.started, |(ended, _)| *ended));
                    enter(&mut phases, phase.clone(), before.unwrap_or(at));
                }
                let left = phases.iter_mut().rfind(|entered| entered.name == phase);
                left.into_iter().for_each(|entered| entered.ended = Some((at, status.clone())));
            }
            Line::Why { code, message } => {
                phases.last_mut().into_iter().for_each(|last| last.why = Some((code.clone(), message.clone())));
            }
        }
    }
    queued(&mut phases);
    phases
}

/// A build that is tried again, and the next one of a batch, begin anew.
fn enter(phases: &mut Vec<Phase>, name: String, started: u64) {
    if let Some(before) = phases.iter().position(|phase| phase.name == name) {
        phases.truncate(before);
    }
    phases.push(Phase { name, started, ended: None, why: None });
}

/// Before its first program runs, a build has entered the phase of that program by its own word; it ended without one where the
/// last phase is over.
fn queued(phases: &mut Vec<Phase>) {
    if phases.len() < 2 || phases[0].name != QUEUED || phases[0].ended.is_some() {
        return;
    }
    match phases[phases.len() - 1].ended {
        Some(_) => phases[0].ended = Some((phases[1].started, "SUCCEEDED".to_owned())),
        None => phases.truncate(1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A phase, when it began, and when and how it ended.
    type Expected<'a> = (&'a str, u64, Option<(u64, &'a str)>);

    /// What a build said at which moment; `run` is the beginning of its first program.
    #[track_caller]
    fn check(said: &[(u64, &str)], expected: &[Expected<'_>]) {
        let lines = said.iter().filter_map(|(moment, said)| {
            let mut line = match *said {
                "wait" => Line::entered(QUEUED),
                "run" => Line::left(QUEUED, "SUCCEEDED"),
                said => Line::said(said)?,
            };
            if let Line::Entered { at, .. } | Line::Left { at, .. } = &mut line {
                *at = *moment;
            }
            Some(line)
        });
        let found = phases(lines);
        let shown = found.iter().map(|Phase { name, started, ended, .. }| {
            (name.as_str(), *started, ended.as_ref().map(|(at, status)| (*at, status.as_str())))
        });
        assert_eq!(shown.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_build_says_its_phases() {
        let good = "SUCCEEDED";
        let begun = [
            (1, "wait"),
            (2, "Entering phase INSTALL"),
            (2, "Phase complete: INSTALL State: SUCCEEDED"),
            (2, "Phase context status code:  Message: "),
            (2, "Entering phase BUILD"),
        ];
        check(&begun, &[(QUEUED, 1, None)]);
        let ran = [&begun[..], &[(5, "run"), (6, "a line"), (7, "Phase complete: BUILD State: FAILED")]].concat();
        let expected =
            [(QUEUED, 1, Some((5, good))), ("INSTALL", 5, Some((5, good))), ("BUILD", 5, Some((7, "FAILED")))];
        check(&ran, &expected);
        // Phases that are not said to be entered begin with the end of the one before.
        let uploaded = [&ran[..], &[(9, "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED")]].concat();
        check(&uploaded, &[&expected[..], &[("UPLOAD_ARTIFACTS", 7, Some((9, good)))]].concat());
        // It is tried again.
        let again = [&uploaded[..], &[(10, "Entering phase INSTALL")]].concat();
        check(&again, &[expected[0], ("INSTALL", 10, None)]);
        // Nothing ran.
        let bad = [(1, "wait"), (3, "Phase complete: DOWNLOAD_SOURCE State: FAILED")];
        check(&bad, &[(QUEUED, 1, Some((1, good))), ("DOWNLOAD_SOURCE", 1, Some((3, "FAILED")))]);
        // What is no phase.
        check(
            &[(1, "wait"), (2, "run"), (3, "Entering phase CHAOS"), (4, "Phase complete: BUILD State: GREAT")],
            &[expected[0]].map(|(name, started, _)| (name, started, Some((2, good)))),
        );
    }

    #[test]
    fn what_is_kept_is_read_again_and_bounded() {
        let folder = tempfile::tempdir().unwrap();
        let logs = Logs::new(folder.path().to_owned());
        assert_eq!(logs.phases("execution", "action").unwrap(), []);
        let log = logs.of("execution", "action", "Build", "Build");
        log.begin_phases();
        let phased = PhasedLog(Arc::clone(&log));
        phased.log(Level::Info, "Entering phase BUILD");
        assert_eq!(logs.phases("execution", "action").unwrap().len(), 1, "it waits");
        log.leave_queue();
        for line in ["Phase complete: BUILD State: FAILED", "Phase context status code: BAD Message: it: failed"] {
            phased.log(Level::Info, line);
        }
        let found = logs.phases("execution", "action").unwrap();
        assert_eq!(found.iter().map(|phase| phase.name.as_str()).collect::<Vec<_>>(), [QUEUED, "BUILD"]);
        assert_eq!(found[1].why, Some(("BAD".to_owned(), "it: failed".to_owned())));
        (0..10_000).for_each(|_| phased.log(Level::Info, "Entering phase BUILD"));
        log.flush();
        let file = folder.path().join("execution/action.phases");
        assert!(fs::metadata(&file).unwrap().len() <= FILE_BYTES_MAX);
        File::options().append(true).open(&file).unwrap().write_all(b"{\"left\":{").unwrap();
        assert_eq!(logs.phases("execution", "action").unwrap().len(), 2);
        log.begin_phases();
        assert_eq!(logs.phases("execution", "action").unwrap().len(), 1, "another attempt");
    }
}
