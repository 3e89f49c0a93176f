//! Owns the course of a build over calls: what is laid out, which job is started, and what is kept until it has ended.
//!
//! What has happened is a list of exit statuses, from which every call makes the build anew: the order of the commands is
//! decided by `pipewright-buildspec` alone, over a buildspec that is read from the input and not from where commands write.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use pipewright_buildspec::{
    Build, Buildspec, ENVIRONMENT_BYTES_MAX, ENVIRONMENT_FILE, Exit, Next, Run, Session, is_shell_name,
};
use pipewright_sdk::commands::{self, Job};
use pipewright_sdk::prelude::*;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::batch::Batched;
use crate::cache;
use crate::driver::{self, DIRECTORY_FILE, EXITS_FILE, Step, VARIABLES_FILE};
use crate::results::Ended;

/// Directories of the scratch: the primary source, the other inputs by their names, and the files by which we speak with shells.
pub(crate) const SOURCE: &str = "src";
const OTHERS: &str = "inputs";
const SHELL: &str = "shell";
/// Of its own `/tmp` a job leaves nothing to the next one.
const TEMPORARY: &str = "tmp";
const KEPT_FILE: &str = "kept.json";
const PATH_BYTES_MAX: u64 = 64 << 10;
const EXITS_BYTES_MAX: u64 = 64 << 10;
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
pub(crate) struct Course {
    /// Of every command so far, also of earlier attempts.
    exits: Vec<i32>,
    wall_micros: u64,
    /// How many commands the job has that was started.
    started: usize,
    /// Where the build is one of several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) batch: Option<Batched>,
    /// Under which key what the build leaves is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache: Option<String>,
}

pub(crate) fn resumed(action: &Action) -> Result<Option<Course>> {
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

fn go_on(action: &Action, plan: &Plan<'_>, batch: Option<&Batched>, resumed: Option<Course>) -> Result<Progress> {
    let shell = action.scratch().join(SHELL);
    let has_artifacts = action.outputs().next().is_some() || plan.buildspec.artifacts.is_some();
    let mut build = Build::new(plan.buildspec, has_artifacts);
    let (mut course, mut session);
    if let Some(resumed) = resumed {
        course = resumed;
        for exit in &course.exits {
            tell(&mut build, *exit);
        }
        build.began_again();
        // What was said in earlier calls.
        build.take_log();
        session = kept(&shell)?;
        keep(&mut session, &shell, &plan.secrets)?;
        take(&mut build, &mut course, &shell)?;
    } else {
        course = Course::default();
        (session, course.cache) = begun(action, plan)?;
    }
    course.batch = batch.cloned();
    loop {
        say(&mut build);
        match build.next() {
            Next::Run(run) => match remaining(plan, &course) {
                Some(0) => build.timed_out(),
                seconds => return start(&build, &run, &session, plan, &shell, course, seconds).map(Progress::Waiting),
            },
            Next::BeginAgain => {
                (session, course.cache) = begun(action, plan)?;
                build.began_again();
            }
            Next::Upload | Next::Nothing => {
                return Ok(Progress::Ended(Box::new(Ended::new(build, session, action.scratch(), course.cache))));
            }
        }
    }
}

/// Tells the build what became of the commands of the job that has ended.
fn take(build: &mut Build, course: &mut Course, shell: &Path) -> Result<()> {
    let ended = commands::ended()
        .ok_or_else(|| Failure::job("the action was called again, and its job has not ended: run it again"))?;
    course.wall_micros = course.wall_micros.saturating_add(ended.wall_micros);
    let text = String::from_utf8(written(&shell.join(EXITS_FILE), EXITS_BYTES_MAX)?).unwrap_or_default();
    let mut exits: Vec<i32> = text.lines().map_while(|line| line.parse().ok()).take(course.started).collect();
    let is_over = exits.len() == course.started || exits.last().is_some_and(|exit| *exit != 0);
    if !is_over && ended.limit.as_deref() != Some(WALL_LIMIT) {
        if let Some(limit) = &ended.limit {
            error!("The command was ended: it used up {limit}");
        }
        if ended.status == 0 {
            return Err(Failure::job("the job ended with 0 before its last command, and did not say why"));
        }
        exits.push(ended.status);
    }
    for (exit, number) in exits.iter().zip(1..) {
        tell(build, *exit);
        // What is due between two commands of a job it has said itself.
        if number < course.started && *exit == 0 {
            build.take_log();
        }
    }
    course.exits.append(&mut exits);
    if !is_over && ended.limit.as_deref() == Some(WALL_LIMIT) {
        build.timed_out();
    }
    Ok(())
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
            action.scratch().join(OTHERS).join(input.name())
        };
        fs::create_dir_all(&to)?;
        files::copy(&input, &to, &[]).doing(format_args!("laying out the input artifact `{}`", input.name()))?;
    }
    cache::place(action.scratch())?;
    let mut environment = plan.environment.clone();
    environment.entry("TMPDIR".to_owned()).or_insert_with(|| at_work(TEMPORARY));
    Ok((Session::new(&at_work(SHELL), &source_directory(), environment), key))
}

/// Has the commands run from here on, up to the first one that fails.
fn start(
    build: &Build,
    run: &Run,
    session: &Session,
    plan: &Plan<'_>,
    shell: &Path,
    mut course: Course,
    wall_seconds: Option<u64>,
) -> Result<Wait> {
    let kept = Kept { directory: session.directory().to_owned(), environment: session.environment().clone() };
    let kept = serde_json::to_vec(&kept).map_err(|error| Failure::job(format!("what is kept: {error}")))?;
    fs::write(shell.join(KEPT_FILE), kept)?;
    let steps = steps(build, session);
    let secrets: Vec<&str> = plan.secrets.keys().map(String::as_str).filter(|name| is_shell_name(name)).collect();
    driver::write(shell, &at_work(SHELL), &steps, session.directory(), session.environment(), &secrets)?;
    let program = run.shell.program();
    let mut job = Job::new([program, &at_work(&format!("{SHELL}/{}", driver::DRIVER_FILE)), program]).network(true);
    for (name, value) in session.invocation(run).environment {
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
    course.started = steps.len();
    job.start()?.summary(format!("in {}", run.phase.name())).continuation(&course)
}

/// The commands to come, as long as each succeeds.
fn steps(build: &Build, session: &Session) -> Vec<Step> {
    let mut ahead = build.clone();
    let mut steps = Vec::new();
    while let Next::Run(run) = ahead.next() {
        let log = ahead.take_log().iter().map(|line| format!("{line}\n")).collect();
        steps.push(Step { script: session.invocation(&run).script, log });
        ahead.ended(Exit::Code(0));
    }
    steps
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
    // They have the secrets' values.
    for file in [ENVIRONMENT_FILE, VARIABLES_FILE] {
        match fs::remove_file(shell.join(file)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
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
