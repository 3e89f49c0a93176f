//! Owns the course of a build over calls: what is laid out, which job is started, and what is kept until it has ended.
//!
//! What has happened is a list of exit statuses, from which every call makes the build anew: the order of the commands is
//! decided by `pipewright-buildspec` alone, over a buildspec that is read from the input and not from where commands write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use pipewright_buildspec::{
    Build, Buildspec, DIRECTORY_FILE, ENVIRONMENT_BYTES_MAX, ENVIRONMENT_FILE, Exit, Next, Run, SCRIPT_FILE, Session,
};
use pipewright_sdk::commands::{self, Job};
use pipewright_sdk::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::results::Ended;

/// Directories of the scratch: the primary source, the other inputs by their names, and the files by which we speak with shells.
const SOURCE: &str = "src";
const OTHERS: &str = "inputs";
const SHELL: &str = "shell";
/// Of its own `/tmp` a job leaves nothing to the next one.
const TEMPORARY: &str = "tmp";
const KEPT_FILE: &str = "kept.json";
const PATH_BYTES_MAX: u64 = 64 << 10;
/// Of a command, in the summary of a wait.
const SUMMARY_CHARS_MAX: usize = 80;
/// What the host calls the limit of time.
const WALL_LIMIT: &str = "wall-seconds";

/// A build, as far as it is known before its first command.
pub struct Plan<'a> {
    pub buildspec: &'a Buildspec,
    /// The input artifact that is the primary source.
    pub primary: &'a str,
    /// Of the first command.
    pub environment: BTreeMap<String, String>,
    /// Variables that are secrets, with the names under which they are granted. No command changes them: each gets the
    /// secret's value.
    pub secrets: BTreeMap<String, String>,
    pub image: Option<&'a str>,
    /// Of all commands together.
    pub wall_seconds_max: Option<u64>,
}

pub enum Progress {
    Waiting(Wait),
    /// Where the artifacts are next, or nothing.
    Ended(Box<Ended>),
}

/// What the next call has to know.
#[derive(Default, Serialize, Deserialize)]
struct Course {
    /// Of every command so far, also of earlier attempts.
    exits: Vec<i32>,
    wall_micros: u64,
}

/// What the next command finds. It may be larger than a continuation.
#[derive(Serialize, Deserialize)]
struct Kept {
    directory: String,
    environment: BTreeMap<String, String>,
}

/// Where commands find the primary source.
pub fn source_directory() -> String {
    at_work(SOURCE)
}

/// Where commands find another input artifact.
pub fn directory_of(input: &str) -> String {
    at_work(&format!("{OTHERS}/{input}"))
}

fn at_work(below: &str) -> String {
    commands::work().join(below).display().to_string()
}

/// Whether the build has not begun.
///
/// # Errors
/// Job, where another version of the plugin began it.
pub fn is_first(action: &Action) -> Result<bool> {
    Ok(action.resumed::<IgnoredAny>()?.is_none())
}

/// Goes on with a build to its next job, or to its end.
///
/// # Errors
/// Where no job can be started, or the scratch cannot be used. A command that fails is none.
pub fn advance(action: &Action, plan: &Plan<'_>) -> Result<Progress> {
    let shell = action.scratch().join(SHELL);
    let has_artifacts = action.outputs().next().is_some() || plan.buildspec.artifacts.is_some();
    let mut build = Build::new(plan.buildspec, has_artifacts);
    let (mut course, mut session);
    if let Some(resumed) = action.resumed::<Course>()? {
        course = resumed.continuation;
        for exit in &course.exits {
            tell(&mut build, *exit);
        }
        // What was said in earlier calls.
        build.take_log();
        session = kept(&shell)?;
        keep(&mut session, &shell, &plan.secrets)?;
        let ended = commands::ended()
            .ok_or_else(|| Failure::job("the action was called again, and its job has not ended: run it again"))?;
        course.wall_micros = course.wall_micros.saturating_add(ended.wall_micros);
        match ended.limit.as_deref() {
            Some(WALL_LIMIT) => build.timed_out(),
            limit => {
                if let Some(limit) = limit {
                    error!("The command was ended: it used up {limit}");
                }
                course.exits.push(ended.status);
                tell(&mut build, ended.status);
            }
        }
    } else {
        (course, session) = (Course::default(), begun(action, plan)?);
    }
    loop {
        say(&mut build);
        match build.next() {
            Next::Run(run) => match remaining(plan, &course) {
                Some(0) => build.timed_out(),
                seconds => return start(&run, &session, plan, &shell, &course, seconds).map(Progress::Waiting),
            },
            Next::BeginAgain => {
                session = begun(action, plan)?;
                build.began_again();
            }
            Next::Upload | Next::Nothing => {
                return Ok(Progress::Ended(Box::new(Ended::new(build, session, action.scratch()))));
            }
        }
    }
}

pub(crate) fn say(build: &mut Build) {
    for line in build.take_log() {
        info!("{line}");
    }
}

fn tell(build: &mut Build, exit: i32) {
    build.began_again();
    build.ended(Exit::Code(exit));
}

fn remaining(plan: &Plan<'_>, course: &Course) -> Option<u64> {
    plan.wall_seconds_max.map(|most| most.saturating_sub(course.wall_micros / 1_000_000))
}

/// Lays out the sources, and gives what the first command finds.
fn begun(action: &Action, plan: &Plan<'_>) -> Result<Session> {
    for folder in [SOURCE, OTHERS, SHELL, TEMPORARY] {
        match fs::remove_dir_all(action.scratch().join(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).doing(format_args!("emptying {folder}"));
            }
            _ => {}
        }
    }
    for folder in [SHELL, TEMPORARY] {
        fs::create_dir_all(action.scratch().join(folder))?;
    }
    for input in action.inputs() {
        let to = if input.name() == plan.primary {
            action.scratch().join(SOURCE)
        } else {
            action.scratch().join(OTHERS).join(input.name())
        };
        fs::create_dir_all(&to)?;
        files::copy(&input, &to, &[]).doing(format_args!("laying out the input artifact `{}`", input.name()))?;
    }
    let mut environment = plan.environment.clone();
    environment.entry("TMPDIR".to_owned()).or_insert_with(|| at_work(TEMPORARY));
    Ok(Session::new(&at_work(SHELL), &source_directory(), environment))
}

fn start(
    run: &Run,
    session: &Session,
    plan: &Plan<'_>,
    shell: &Path,
    course: &Course,
    wall_seconds: Option<u64>,
) -> Result<Wait> {
    let kept = Kept { directory: session.directory().to_owned(), environment: session.environment().clone() };
    let kept = serde_json::to_vec(&kept).map_err(|error| Failure::job(format!("what is kept: {error}")))?;
    fs::write(shell.join(KEPT_FILE), kept)?;
    let invocation = session.invocation(run);
    fs::write(shell.join(SCRIPT_FILE), invocation.script)?;
    let mut job = Job::new(invocation.program).network(true);
    for (name, value) in invocation.environment {
        if !plan.secrets.contains_key(&name) {
            job = job.env(name, value);
        }
    }
    for (variable, secret) in &plan.secrets {
        job = job.secret(variable, secret);
    }
    if let Some(image) = plan.image {
        job = job.image(image);
    }
    if let Some(seconds) = wall_seconds {
        job = job.wall_seconds(u32::try_from(seconds).unwrap_or(u32::MAX));
    }
    let line: String = run.command.text.lines().next().unwrap_or_default().chars().take(SUMMARY_CHARS_MAX).collect();
    job.start()?.summary(format!("{}: {line}", run.phase.name())).continuation(course)
}

fn kept(shell: &Path) -> Result<Session> {
    let text = fs::read(shell.join(KEPT_FILE)).doing("reading what the last command left")?;
    let Kept { directory, environment } = serde_json::from_slice(&text)
        .map_err(|error| Failure::job(format!("what the last command left is not understood: {error}")))?;
    Ok(Session::new(&at_work(SHELL), &directory, environment))
}

/// Takes over what a command left, but for secrets.
fn keep(session: &mut Session, shell: &Path, secrets: &BTreeMap<String, String>) -> Result<()> {
    let environment = written(&shell.join(ENVIRONMENT_FILE), ENVIRONMENT_BYTES_MAX as u64)?;
    let directory = written(&shell.join(DIRECTORY_FILE), PATH_BYTES_MAX)?;
    let is_secret = |pair: &[u8]| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        std::str::from_utf8(name).is_ok_and(|name| secrets.contains_key(name))
    };
    let pairs: Vec<&[u8]> = environment.split(|byte| *byte == 0).filter(|pair| !is_secret(pair)).collect();
    for warning in session.keep(&pairs.join(&0), &directory) {
        warn!("{warning}");
    }
    match fs::remove_file(shell.join(ENVIRONMENT_FILE)) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The beginning of a file that a command wrote, with a byte more than there may be; empty where it wrote none.
fn written(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(bytes_max + 1).read_to_end(&mut bytes)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).doing("reading what the last command left"),
    }
    Ok(bytes)
}
