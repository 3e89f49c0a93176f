//! Bubblewrap's command line for a job, and running it.

use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SeekFrom};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;

use super::surroundings::{MADE, WORK_THERE, seen_there};
use super::tend::{self, OWN_PROCESSES, Tended};
use super::usage::Whose;
use super::{Control, leave_output, tend::signal_of};
use crate::job::{Ended, FILES, Root, WORK};
use crate::level::Step;
use crate::message::{Failing, Failure, Order, Report};
use crate::seccomp;

/// The user and group of every job, as it sees them.
const ID: &str = "1000";

/// Files of the job's `/etc`, where it has no image's. Its user is 1000, for programs that ask who they are.
const ETC: [(&str, &str); 4] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\njob:x:1000:1000:job:/work:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("group", "root:x:0:\njob:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost job\n::1 localhost job\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

pub(super) fn run(order: &Order, control: &Control) -> Result<Report, Failure> {
    let bubblewrap = |error: io::Error| Failure {
        step: Step::Bubblewrap,
        reason: format!("bubblewrap cannot be run ({}): {error}", order.bwrap.display()),
    };
    let filter = given(&seccomp::bytes(&seccomp::filter(order.level))).failing(Step::Other, "the filter")?;
    let (status, to) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).failing(Step::Other, "a pipe")?;
    rustix::io::fcntl_setfd(&to, rustix::io::FdFlags::empty()).failing(Step::Other, "a pipe")?;
    // What bubblewrap is not told to read, the job would have open.
    let etc = if matches!(order.root, Root::Image(_)) { &[][..] } else { &ETC[..] };
    let etc = etc.iter().map(|(_, text)| given(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let etc = etc.failing(Step::Other, "files of /etc")?;
    let files = order.files.iter().map(|(_, text)| given(text.as_bytes())).collect::<Result<Vec<_>, _>>();
    let files = files.failing(Step::Other, "files of its own")?;
    // By way of a file, for a command line is seen by all who are on the machine, and the environment may hold secrets.
    let options = given(&options(order, &filter, &to, &etc, &files)).failing(Step::Other, "bubblewrap's options")?;

    let mut command = Command::new(&order.bwrap);
    command.arg("--args").arg(options.as_raw_fd().to_string()).arg("--").args(&order.argv);
    command.env_clear().stdin(Stdio::null());
    let limits = order.limits.clone();
    // SAFETY: it makes system calls alone.
    unsafe { command.pre_exec(move || tend::set_limits(&limits, limits.processes_max.saturating_add(OWN_PROCESSES))) };
    let child = command.spawn().map_err(bubblewrap)?;
    drop((filter, options, to, etc, files));
    // The end of the output is the end of the job.
    leave_output().failing(Step::Other, "leaving the output to the job")?;

    let main = Pid::from_raw(child.id().cast_signed()).expect("a process has a number");
    let tended = tend::tend(order, control, main, Whose::Namespace)?;
    let code = exit_code(status).failing(Step::Other, "how it ended")?;
    let own = tended.status.and_then(|it| it.exit_status());
    Ok(match (code, own) {
        (Some(status), _) => Report::Ended(ended(order, status, &tended)),
        (None, Some(status)) => Report::Unsaid(ended(order, status, &tended)),
        // It was killed, by the warden or as by the kernel where memory is short.
        (None, None) => Report::Ended(ended(order, 128 + libc::SIGKILL, &tended)),
    })
}

fn ended(order: &Order, status: i32, tended: &Tended) -> Ended {
    Ended {
        level: order.level,
        status,
        signal: signal_of(status),
        ended_by: tended.ended_by,
        cpu_micros: tended.cpu_micros,
        memory_bytes_max: tended.memory_bytes_max,
    }
}

/// A file with this content that the next program has open, too.
fn given(content: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("job", MemfdFlags::empty())?;
    let mut left = content;
    while !left.is_empty() {
        left = &left[rustix::io::write(&file, left)?..];
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

/// What the program ended with, if it was started: bubblewrap says so then alone.
fn exit_code(status: OwnedFd) -> io::Result<Option<i32>> {
    let mut text = String::new();
    std::fs::File::from(status).read_to_string(&mut text)?;
    let ends = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
    Ok(ends.filter_map(|it| i32::try_from(it.get("exit-code")?.as_i64()?).ok()).next_back())
}

fn options(order: &Order, filter: &OwnedFd, status: &OwnedFd, etc: &[OwnedFd], files: &[OwnedFd]) -> Vec<u8> {
    let mut options = Options(Vec::new());
    for namespace in ["user", "pid", "ipc", "uts", "cgroup-try"] {
        options.add([&format!("--unshare-{namespace}")]);
    }
    options.add(["--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    options.add(["--uid", ID, "--gid", ID, "--hostname", "job"]);
    let read_only = match &order.root {
        Root::Image(_) => {
            options.add(["--bind", &format!("{MADE}/root"), "/"]);
            false
        }
        Root::Toolchain(toolchain) => {
            let mut seen = 0;
            for entry in &toolchain.entries {
                let path = text(&entry.path);
                if let Some(link) = &entry.link {
                    options.add(["--symlink", text(link), path]);
                } else {
                    options.add(["--ro-bind", &seen_there(seen), path]);
                    seen += 1;
                }
            }
            for ((name, _), file) in ETC.iter().zip(etc) {
                options.add(["--file", &file.as_raw_fd().to_string(), &format!("/etc/{name}")]);
            }
            true
        }
    };
    // Bubblewrap's /dev and / are memory without a limit: they are closed once all is in its place.
    options.add(["--proc", "/proc", "--dev", "/dev", "--bind", &format!("{MADE}/shm"), "/dev/shm"]);
    options.add(["--bind", &format!("{MADE}/tmp"), "/tmp", "--bind", WORK_THERE, WORK]);
    for bind in &order.binds {
        options.add([if bind.writable { "--bind" } else { "--ro-bind" }, text(&bind.from), text(&bind.to)]);
    }
    for ((name, _), file) in order.files.iter().zip(files) {
        options.add(["--perms", "0400", "--file", &file.as_raw_fd().to_string(), &format!("{FILES}/{name}")]);
    }
    options.add(["--remount-ro", "/dev"]);
    if read_only {
        options.add(["--remount-ro", "/"]);
    }
    // Without the slash that joining nothing leaves: programs see it.
    let directory: PathBuf = Path::new(WORK).join(&order.directory).components().collect();
    options.add(["--chdir", text(&directory)]);
    for (name, value) in &order.environment {
        options.add(["--setenv", name, value]);
    }
    options.add(["--seccomp", &filter.as_raw_fd().to_string()]);
    options.add(["--json-status-fd", &status.as_raw_fd().to_string()]);
    options.0
}

/// As bubblewrap reads them from a file: each with a zero byte after it.
struct Options(Vec<u8>);

impl Options {
    fn add<const N: usize>(&mut self, words: [&str; N]) {
        for word in words {
            self.0.extend_from_slice(word.as_bytes());
            self.0.push(0);
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the order came as text")
}
