//! Whoever of those around a job is killed, at whatever moment, nothing of the job is left.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, child, isolation, processes_with, run};
use pipewright_isolation::{ChildCommand, Isolation, Level, RunError};
use rustix::process::{Pid, Signal, kill_process};

fn kill(process: &str) {
    let pid = process.split(' ').next().unwrap().parse().unwrap();
    let _ = kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL);
}

/// Waits until there are as many processes with a text as expected.
fn wait_for(text: &str, is_enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    for _ in 0..30_000 {
        let found = processes_with(text);
        if is_enough(&found) {
            return found;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    panic!("{text}: {:?}", processes_with(text));
}

const MARKER: &str = "ISOLATION_TEST_MARKER";
/// What a job's file begins with.
const TEXT: &str = "of a job alone ";

/// The files below a folder with a text in them.
fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() && !path.is_symlink() {
            found.extend(files_with(&path, text));
        } else if path.is_file() && String::from_utf8_lossy(&fs::read(&path).unwrap_or_default()).contains(text) {
            found.push(path);
        }
    }
    found
}

/// The child process of the test below: a host that runs a job.
#[tokio::test]
async fn host() {
    let Ok(marker) = std::env::var(MARKER) else { return };
    let isolation = Isolation::probe(child(), Level::Toolchain).await.unwrap();
    let world = World::new();
    let mut job = world.shell(&format!("(setsid sleep {marker} &); sleep {marker}"));
    job.files.push(("file".to_owned(), format!("{TEXT}{marker}")));
    let _ = run(&isolation, &job).await;
}

#[tokio::test]
async fn nothing_is_left_of_a_job_whose_host_is_killed() {
    if isolation().await.is_none() {
        return;
    }
    // At moments of the job's beginning, and once it runs: bubblewrap's processes come one after the other, and then the job's.
    for processes in [1, 1, 2, 2, 3, 4, 5] {
        let marker = format!("37{}.{processes}", std::process::id());
        let temporary = tempfile::tempdir().unwrap();
        common::open(temporary.path());
        let mut host = Command::new(std::env::current_exe().unwrap());
        host.args(["--exact", "host"]).env(MARKER, &marker).env("TMPDIR", temporary.path());
        host.stdout(Stdio::null()).stderr(Stdio::null());
        let mut host = host.spawn().unwrap();
        wait_for(&marker, |found| found.len() >= processes);
        host.kill().unwrap();
        host.wait().unwrap();
        wait_for(&marker, <[String]>::is_empty);
        for folder in [temporary.path(), Path::new("/dev/shm"), Path::new("/dev/files")] {
            assert_eq!(files_with(folder, &format!("{TEXT}{marker}")), Vec::<PathBuf>::new());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_job_whose_keeper_or_warden_is_killed() {
    if isolation().await.is_none() {
        return;
    }
    let world = World::new();
    // The keeper is the first of the two, and the warden its child.
    for which in 0..2 {
        let marker = format!("38{}.{which}", std::process::id());
        let child = ChildCommand { args: vec![format!("keeper-{marker}").into()], ..child() };
        let isolation = Isolation::probe(child, Level::Toolchain).await.unwrap();
        let job = world.shell(&format!("(setsid sleep {marker} &); sleep {marker}"));
        let (sleeping, around) = (format!("sleep {marker}"), format!("keeper-{marker}"));
        let killer = tokio::task::spawn_blocking(move || {
            wait_for(&sleeping, |found| found.iter().filter(|it| !it.contains("bwrap")).count() >= 2);
            kill(&wait_for(&around, |found| found.len() == 2)[which]);
            wait_for(&sleeping, <[String]>::is_empty);
            wait_for(&around, <[String]>::is_empty);
        });
        let (ended, _) = run(&isolation, &job).await;
        assert!(matches!(ended, Err(RunError::Lost(_))), "{which}: {ended:?}");
        killer.await.unwrap();
    }
}
