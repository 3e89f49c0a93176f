//! Whoever of those around a job is killed, at whatever moment, nothing of the job is left.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{World, child, isolation, processes_with, run};
use pipewright_isolation::{ChildCommand, Isolation, Level, RunError};
use rustix::process::{Pid, Signal, kill_process};

fn pid(process: &str) -> i32 {
    process.split(' ').next().unwrap().parse().unwrap()
}

/// None that it could be, where the process is gone.
fn parent(process: &str) -> i32 {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid(process))).unwrap_or_default();
    stat.rsplit_once(')').map_or(0, |(_, fields)| fields.split_whitespace().nth(1).unwrap().parse().unwrap())
}

fn kill(process: &str) {
    let _ = kill_process(Pid::from_raw(pid(process)).unwrap(), Signal::KILL);
}

/// A process that has ended has its files open for a moment longer than it has a command line.
fn wait_until_gone(process: &str) {
    let path = Path::new("/proc").join(pid(process).to_string());
    while path.exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Those of them that are around a process, the outermost first.
fn around_it(process: &str, found: &[String]) -> Vec<String> {
    let mut around = Vec::new();
    let mut next = pid(process);
    while next > 0 {
        around.extend(found.iter().filter(|it| pid(it) == next).cloned());
        next = parent(&next.to_string());
    }
    around.reverse();
    around
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
    // At moments of the job's beginning, and once it runs.
    for processes in [1, 1, 2, 2] {
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

/// What is started for jobs alone has a name that it is found by.
async fn named(marker: &str) -> (Isolation, String) {
    let around = format!("around-{marker}");
    let child = ChildCommand { args: vec![around.clone().into()], ..child() };
    (Isolation::probe(child, Level::Toolchain).await.unwrap(), around)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_of_a_job_whose_keeper_or_warden_is_killed() {
    if isolation().await.is_none() {
        return;
    }
    let world = World::new();
    // The zygote is the first, the keeper its child, and the warden the keeper's; eight others are of the next jobs.
    for which in 1..3 {
        let marker = format!("38{}.{which}", std::process::id());
        let (isolation, around) = named(&marker).await;
        let job = world.shell(&format!("(setsid sleep {marker} &); sleep {marker}"));
        let sleeping = format!("sleep {marker}");
        let killer = tokio::task::spawn_blocking(move || {
            let job = wait_for(&sleeping, |found| found.len() >= 2);
            kill(&around_it(&job[0], &wait_for(&around, |found| found.len() == 11))[which]);
            wait_for(&sleeping, <[String]>::is_empty);
            wait_for(&around, |found| found.len() == 9);
        });
        let (ended, _) = run(&isolation, &job).await;
        assert!(matches!(ended, Err(RunError::Lost(_))), "{which}: {ended:?}");
        killer.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_goes_on_without_the_zygote_and_the_next_one_has_another() {
    if isolation().await.is_none() {
        return;
    }
    let world = World::new();
    let marker = format!("39{}", std::process::id());
    let (isolation, around) = named(&marker).await;
    let (begun, go_on) = (world.folder("work").join("begun"), world.folder("work").join("go-on"));
    let job = world.shell("touch begun; until [ -e go-on ]; do sleep 0.01; done");
    let killer = tokio::task::spawn_blocking(move || {
        while !begun.exists() {
            std::thread::sleep(Duration::from_millis(2));
        }
        let all = wait_for(&around, |found| found.len() == 11);
        kill(&all[0]);
        wait_for(&around, |found| found == &all[1..]);
        fs::write(go_on, []).unwrap();
        wait_for(&around, |found| found.len() == 8 && found.iter().all(|it| all.contains(it)));
    });
    assert!(run(&isolation, &job).await.0.unwrap().is_success());
    killer.await.unwrap();
    for _ in 0..2 {
        assert!(run(&isolation, &world.shell("true")).await.0.unwrap().is_success());
    }
    drop(isolation);
    wait_for(&format!("around-{marker}"), <[String]>::is_empty);
}

/// Keepers wait for the next jobs, with all that is around one.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_killed_while_it_waited_is_replaced() {
    if isolation().await.is_none() {
        return;
    }
    let world = World::new();
    for which in 0..3 {
        let (isolation, around) = named(&format!("40{}.{which}", std::process::id())).await;
        assert!(run(&isolation, &world.shell("true")).await.0.unwrap().is_success());
        // Four keepers wait, and as many wardens.
        let zygote = wait_for(&around, |found| found.len() == 9).remove(0);
        let waiting = |found: &[String]| {
            let child_of = |it: &String| found.iter().find(|other| parent(other) == pid(it)).cloned();
            let keeper = child_of(&zygote)?;
            let warden = child_of(&keeper)?;
            Some([child_of(&warden)?, warden, keeper])
        };
        let waiting = waiting(&wait_for("", |found| waiting(found).is_some())).unwrap();
        kill(&waiting[which]);
        waiting.iter().for_each(|it| wait_until_gone(it));
        for _ in 0..3 {
            assert!(run(&isolation, &world.shell("true")).await.0.unwrap().is_success());
        }
        drop(isolation);
        wait_for(&around, <[String]>::is_empty);
    }
}
