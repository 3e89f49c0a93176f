//! Owns the course of a build over calls: what is laid out, which job is started, and what is kept until it has ended.
//!
//! What has happened is a list of exit statuses, from which every call makes the course anew: what runs and what comes of it
//! is decided by `pipewright-buildspec` alone, over a buildspec that is read from the input and not from where commands write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use pipewright_buildspec::{Buildspec, Course, Due, End, Job, Left, Session};
use pipewright_sdk::commands;
use pipewright_sdk::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::batch::Batched;
use crate::cache;
use crate::results::Ended;

/// Directories of the scratch: the primary source, the other inputs by their names, and the files by which we speak with shells.
pub(crate) const SOURCE: &str = "src";
const OTHERS: &str = "inputs";
const SHELL: &str = "shell";
/// Of its own `/tmp` a job leaves nothing to the next one.
const TEMPORARY: &str = "tmp";
const KEPT_FILE: &str = "kept.json";
/// What the host calls the limit of time.
const WALL_LIMIT: &str = "wall-seconds";

/// A build, as far as it is known before its first command.
pub struct Plan<'a> {
    pub buildspec: &'a Buildspec,
    /// The input artifact that is the primary source; without one, the commands begin in an empty directory.
    pub primary: Option<&'a str>,
    /// Of the first command.
    pub environment: BTreeMap<String, String>,
    /// Variables that are secrets, with the names under which they are granted.
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
pub(crate) struct Continuation {
    /// Of every command so far, also of earlier attempts.
    exits: Vec<i32>,
    wall_micros: u64,
    /// How many commands the job has that was started.
    started: usize,
    /// Whether that job leaves nothing, and nobody asks what it found.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_last: bool,
    /// Where the build is one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<Batched>,
    /// Under which key what the build leaves is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
}

pub(crate) fn resumed(action: &Action) -> Result<Option<Continuation>> {
    Ok(action.resumed()?.map(|resumed| resumed.continuation))
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
    go_on(action, plan, None, resumed(action)?)
}

/// The same with a build of a batch. `has_run` where this call was made for the end of a job of this build, and not of one before.
///
/// # Errors
/// As [`advance`].
pub fn advance_in(action: &Action, plan: &Plan<'_>, batch: &Batched, has_run: bool) -> Result<Progress> {
    go_on(action, plan, Some(batch), if has_run { resumed(action)? } else { None })
}

fn go_on(action: &Action, plan: &Plan<'_>, batch: Option<&Batched>, resumed: Option<Continuation>) -> Result<Progress> {
    let shell = action.scratch().join(SHELL);
    let has_artifacts = action.outputs().next().is_some() || plan.buildspec.artifacts.is_some();
    let mut wall_micros = 0;
    let mut cache;
    let mut course = if let Some(mut resumed) = resumed {
        let exits = std::mem::take(&mut resumed.exits);
        cache = resumed.cache.take();
        let session = if resumed.is_last { first(plan) } else { kept(&shell, plan)? };
        let mut course = Course::resumed(plan.buildspec, has_artifacts, session, exits);
        wall_micros = take(&mut course, &resumed, &shell)?;
        course
    } else {
        let session;
        (session, cache) = begun(action, plan)?;
        Course::new(plan.buildspec, has_artifacts, session)
    };
    loop {
        say(&course.take_log());
        match course.due() {
            Due::Job(job) => match remaining(plan, wall_micros) {
                Some(0) => course.timed_out(),
                seconds => {
                    let exits = course.exits().to_vec();
                    let batch = batch.cloned();
                    let (started, is_last) = (job.count, !job.leaves);
                    let continuation = Continuation { exits, wall_micros, started, is_last, batch, cache };
                    return start(&course, &job, plan, &shell, &continuation, seconds).map(Progress::Waiting);
                }
            },
            Due::BeginAgain => {
                let session;
                (session, cache) = begun(action, plan)?;
                course.began_again(session);
            }
            Due::Upload | Due::Nothing => {
                return Ok(Progress::Ended(Box::new(Ended::new(course, action.scratch(), cache))));
            }
        }
    }
}

/// Tells the course what became of the job that has ended; gives the time that all have taken.
fn take(course: &mut Course, resumed: &Continuation, shell: &Path) -> Result<u64> {
    let ended = commands::ended()
        .ok_or_else(|| Failure::job("the action was called again, and its job has not ended: run it again"))?;
    let is_out_of_time = ended.limit.as_deref() == Some(WALL_LIMIT);
    if let Some(limit) = ended.limit.filter(|_| !is_out_of_time) {
        error!("The command was ended: it used up {limit}");
    }
    let left = if resumed.is_last {
        Left::default()
    } else {
        Left::take(|name, bytes_max| taken(&shell.join(name), bytes_max))?
    };
    let end = End { status: ended.status, is_out_of_time, count: resumed.started };
    for warning in course.ended(end, &left).map_err(Failure::job)? {
        warn!("{warning}");
    }
    Ok(resumed.wall_micros.saturating_add(ended.wall_micros))
}

pub(crate) fn say(lines: &[String]) {
    for line in lines {
        info!("{line}");
    }
}

fn remaining(plan: &Plan<'_>, wall_micros: u64) -> Option<u64> {
    plan.wall_seconds_max.map(|most| most.saturating_sub(wall_micros / 1_000_000))
}

/// Lays out the sources, and gives what the first command finds, and the key of what the build is to keep.
fn begun(action: &Action, plan: &Plan<'_>) -> Result<(Session, Option<String>)> {
    for folder in [SOURCE, OTHERS, SHELL, TEMPORARY, cache::DIRECTORY] {
        match fs::remove_dir_all(action.scratch().join(folder)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).doing(format_args!("emptying {folder}"));
            }
            _ => {}
        }
    }
    for folder in [SOURCE, SHELL, TEMPORARY] {
        fs::create_dir_all(action.scratch().join(folder))?;
    }
    let cache = plan.buildspec.cache.as_ref();
    let key = cache.and_then(|cache| cache::fetch(action, cache, plan.primary, &plan.environment));
    for input in action.inputs() {
        let to = if Some(input.name()) == plan.primary {
            action.scratch().join(SOURCE)
        } else {
            let to = action.scratch().join(OTHERS).join(input.name());
            fs::create_dir_all(&to)?;
            to
        };
        files::copy(&input, &to, &[]).doing(format_args!("laying out the input artifact `{}`", input.name()))?;
    }
    cache::place(action.scratch())?;
    Ok((first(plan), key))
}

/// What the first command finds.
fn first(plan: &Plan<'_>) -> Session {
    let mut environment = plan.environment.clone();
    environment.entry("TMPDIR".to_owned()).or_insert_with(|| at_work(TEMPORARY));
    session(&source_directory(), environment, plan)
}

fn session(directory: &str, environment: BTreeMap<String, String>, plan: &Plan<'_>) -> Session {
    Session::new(&at_work(SHELL), directory, environment, plan.secrets.keys().cloned().collect())
}

fn start(
    course: &Course,
    job: &Job,
    plan: &Plan<'_>,
    shell: &Path,
    continuation: &Continuation,
    wall_seconds: Option<u64>,
) -> Result<Wait> {
    if job.leaves {
        let session = course.session();
        let kept = Kept { directory: session.directory().to_owned(), environment: session.environment().clone() };
        let kept = serde_json::to_vec(&kept).map_err(|error| Failure::job(format!("what is kept: {error}")))?;
        fs::write(shell.join(KEPT_FILE), kept)?;
    }
    for (name, text) in &job.files {
        fs::write(shell.join(name), text)?;
    }
    let mut started = commands::Job::new(&job.arguments).network(true);
    for (name, value) in &job.environment {
        started = started.env(name, value);
    }
    for (variable, secret) in &plan.secrets {
        started = started.secret(variable, secret);
    }
    if let Some(image) = plan.image {
        started = started.image(image);
    }
    if let Some(seconds) = wall_seconds {
        started = started.wall_seconds(u32::try_from(seconds).unwrap_or(u32::MAX));
    }
    let phase = course.build().phases().last().map_or("", |entered| entered.phase.name());
    started.start()?.summary(format!("in {phase}")).continuation(continuation)
}

fn kept(shell: &Path, plan: &Plan<'_>) -> Result<Session> {
    let text = fs::read(shell.join(KEPT_FILE)).doing("reading what the last command left")?;
    let Kept { directory, environment } = serde_json::from_slice(&text)
        .map_err(|error| Failure::job(format!("what the last command left is not understood: {error}")))?;
    Ok(session(&directory, environment, plan))
}

/// The beginning of a file that a command wrote, which is removed; empty where it wrote none.
fn taken(path: &Path, bytes_max: usize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            file.take(bytes_max as u64).read_to_end(&mut bytes)?;
            fs::remove_file(path)?;
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).doing("reading what the last command left"),
    }
    Ok(bytes)
}
