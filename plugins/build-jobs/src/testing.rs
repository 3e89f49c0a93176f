//! For tests: jobs that really run, on the machine of the test and not apart from it.

use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use pipewright_sdk::commands::Ended;
use pipewright_sdk::prelude::*;
use pipewright_sdk::testing::{Host, Job, exited};

/// Calls an action, and runs its jobs, until it has ended.
pub fn to_the_end<T>(host: Host, act: impl Fn(&Action) -> Result<Step<T>>) -> (Host, Result<T>) {
    to_the_end_or(host, None, act)
}

/// The same. The time of a job is over once there is a file `over`.
pub fn to_the_end_or<T>(
    mut host: Host,
    over: Option<&Path>,
    act: impl Fn(&Action) -> Result<Step<T>>,
) -> (Host, Result<T>) {
    loop {
        match act(&host.action()) {
            Ok(Step::Done(done)) => return (host, Ok(done)),
            Err(failure) => return (host, Err(failure)),
            Ok(Step::Waiting(wait)) => {
                let ended = run(&host, &host.job(), over);
                host = host.ended(wait, ended);
            }
        }
    }
}

/// What it writes goes to the log. A secret that is not granted is none of its variables.
fn run(host: &Host, job: &Job, over: Option<&Path>) -> Ended {
    let secrets = job.secrets.iter().filter_map(|secret| Some((&secret.name, secrets::reveal(&secret.value).ok()?)));
    // One pipe for both, as a host has it.
    let [program, arguments @ ..] = job.arguments.as_slice() else { panic!("a job needs a program") };
    let home = host.path("scratch/.home");
    std::fs::create_dir_all(&home).unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    let mut child = Command::new("/bin/sh")
        .args(["-c", "exec \"$0\" \"$@\" 2>&1", program])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .envs(job.environment.iter().map(|variable| (&variable.name, &variable.value)))
        .envs(secrets)
        .current_dir(host.path("scratch").join(&job.directory))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .process_group(0)
        .spawn()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    let mut limit = None;
    if let Some(over) = over {
        while child.try_wait().expect("a child").is_none() && !over.exists() {
            thread::sleep(Duration::from_millis(1));
        }
        if over.exists() {
            let group = format!("-{}", child.id());
            Command::new("kill").args(["-9", "--", &group]).status().expect("the program kill");
            limit = Some("wall-seconds".to_owned());
        }
    }
    let output = child.wait_with_output().expect("a child");
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        info!("{line}");
    }
    // As a host tells of a signal.
    let status = output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or_default());
    Ended { limit, ..exited(status) }
}
