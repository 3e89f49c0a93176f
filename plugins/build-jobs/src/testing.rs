//! For unit tests: jobs that really run, on the machine of the test and not apart from it.

use std::process::{Command, Stdio};

use pipewright_sdk::commands::Ended;
use pipewright_sdk::prelude::*;
use pipewright_sdk::testing::{Host, Job, exited};

/// Calls an action, and runs its jobs, until it has ended.
pub fn to_the_end<T>(mut host: Host, act: impl Fn(&Action) -> Result<Step<T>>) -> (Host, Result<T>) {
    loop {
        match act(&host.action()) {
            Ok(Step::Done(done)) => return (host, Ok(done)),
            Err(failure) => return (host, Err(failure)),
            Ok(Step::Waiting(wait)) => {
                let ended = run(&host, &host.job());
                host = host.ended(wait, ended);
            }
        }
    }
}

/// What it writes goes to the log. A secret that is not granted is none of its variables.
fn run(host: &Host, job: &Job) -> Ended {
    let secrets = job.secrets.iter().filter_map(|secret| Some((&secret.name, secrets::reveal(&secret.value).ok()?)));
    // One pipe for both, as a host has it.
    let [program, arguments @ ..] = job.arguments.as_slice() else { panic!("a job needs a program") };
    let home = host.path("scratch/.home");
    std::fs::create_dir_all(&home).unwrap_or_else(|error| panic!("{}: {error}", home.display()));
    let output = Command::new("/bin/sh")
        .args(["-c", "exec \"$0\" \"$@\" 2>&1", program])
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home)
        .envs(job.environment.iter().map(|variable| (&variable.name, &variable.value)))
        .envs(secrets)
        .current_dir(host.path("scratch").join(&job.directory))
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        info!("{line}");
    }
    exited(output.status.code().unwrap_or(137))
}
