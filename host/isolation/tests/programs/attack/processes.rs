//! Processes that are not the job's, and processes of its own that do not want to end.

use std::fs;
use std::io;
use std::thread::sleep;
use std::time::Duration;

use crate::{Deed, Got, Outcome, Refused, any, result};

pub const DEEDS: &[Deed] = &[
    ("see", see),
    ("signal", signal),
    ("signal-all", signal_all),
    ("daemon", daemon),
    ("deaf", deaf),
    ("sleep", rest),
];

/// Looks for a text in what /proc tells of any process but this one's own tree, whose command line has it, too.
fn see(arguments: &[String]) -> Outcome {
    let canary = arguments[0].as_str();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| ["cmdline", "environ", "mem"].map(|name| entry.path().join(name)));
    let mut looked = 0;
    for file in files {
        if file.starts_with(format!("/proc/{}", std::process::id())) || file.starts_with("/proc/self") {
            continue;
        }
        let Ok(content) = fs::read(&file) else { continue };
        looked += 1;
        let text = String::from_utf8_lossy(&content);
        // Bubblewrap's own processes have the job's command line.
        if text.contains(canary) && !text.contains("see\0") {
            return Got(file.display().to_string());
        }
    }
    Refused(format!("it is in none of {looked} files"))
}

fn signal(pids: &[String]) -> Outcome {
    any(pids.iter().map(|pid| {
        // SAFETY: a plain system call.
        (pid.clone(), result(unsafe { libc::kill(pid.parse().expect("a number"), libc::SIGKILL) }.into()).map(drop))
    }))
}

/// Everybody that can be reached, and those that started the job. Whether anybody was is seen outside.
fn signal_all(_: &[String]) -> Outcome {
    // SAFETY: plain system calls.
    unsafe {
        libc::kill(libc::getppid(), libc::SIGKILL);
        libc::kill(1, libc::SIGKILL);
        libc::kill(-1, libc::SIGKILL);
    }
    Refused("this process goes on".to_owned())
}

fn fork() -> libc::pid_t {
    // SAFETY: this process has one thread.
    unsafe { libc::fork() }
}

fn ignore_signals() {
    for signal in 1..32 {
        // SAFETY: to ignore a signal needs no handler.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
}

/// A process in a session of its own, whose parent has ended, that ignores all signals.
fn daemon(_: &[String]) -> Outcome {
    if fork() == 0 {
        // SAFETY: a plain system call.
        unsafe { libc::setsid() };
        if fork() == 0 {
            ignore_signals();
            sleep(Duration::from_secs(600));
        }
        std::process::exit(0);
    }
    sleep(Duration::from_millis(50));
    Refused("it is seen outside whether it lives on".to_owned())
}

/// Ignores all signals, as do its children, and goes on.
fn deaf(_: &[String]) -> Outcome {
    ignore_signals();
    for _ in 0..3 {
        fork();
    }
    io::Write::write_all(&mut io::stdout(), b"deaf\n").expect("an output");
    sleep(Duration::from_secs(600));
    Got("it was not ended".to_owned())
}

fn rest(_: &[String]) -> Outcome {
    sleep(Duration::from_secs(600));
    Got("it was not ended".to_owned())
}
