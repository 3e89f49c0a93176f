//! Bubblewrap's command line, what waits in it for a job, and running the job's program there.
//!
//! It is begun ahead of the order, for it takes most of the time of what is around a short job. So what it starts is no program of the
//! job's, but one that says that all is in its place, waits for the word, and becomes another ([`Program`]); which one that is, is
//! written only then. What the order brings is mounted from outside meanwhile: nothing of a job runs yet.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{CWD, FileType, MemfdFlags, Mode, OFlags, SeekFrom};
use rustix::io::{Errno, FdFlags};
use rustix::pipe::PipeFlags;
use rustix::process::Pid;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::program::Program;
use super::surroundings::{self, MADE};
use super::tend::{self, OWN_PROCESSES};
use super::usage::Whose;
use super::{Control, are_there, bound, leave_output, not_begun, places, system, tend::signal_of};
use crate::job::{Ended, Root, WORK};
use crate::level::{Level, Step};
use crate::message::{Failing, Failure, Ground, Order, Report};
use crate::mounts;
use crate::seccomp;
use crate::tree::open_directory;

/// The user and group of every job, as it sees them.
const ID: &str = "1000";

/// What waits, and what it becomes: two files beside what a job sees, which bubblewrap has open.
const WAITING: &str = "waiting";
const GOING_ON: &str = "going-on";

pub(super) struct Begun {
    main: Pid,
    /// Bubblewrap says who its first process is.
    info: OwnedFd,
    /// What waits says that it does; and what it becomes, why it could not become the job's program.
    said: OwnedFd,
    word: OwnedFd,
    files: Files,
}

/// Of what waits, by their numbers there.
#[derive(Clone, Copy)]
struct Files {
    waiting: u64,
    going_on: u64,
    say: u64,
    hear: u64,
}

pub(super) fn begin(ground: &Ground) -> Result<Begun, Failure> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC).failing(Step::Other, "a pipe");
    let ((info, to), (said, say), (hear, word)) = (pipe()?, pipe()?, pipe()?);
    let (waiting, going_on) = step(WAITING).and_then(|it| Ok((it, step(GOING_ON)?))).failing(Step::Other, WAITING)?;
    let number = |file: &OwnedFd| u64::from(file.as_raw_fd().unsigned_abs());
    let files =
        Files { waiting: number(&waiting), going_on: number(&going_on), say: number(&say), hear: number(&hear) };
    fs::write(made(WAITING), files.waiting().file()).failing(Step::Other, WAITING)?;
    let filter = given(&seccomp::bytes(&seccomp::filter(ground.level))).failing(Step::Other, "the filter")?;
    // By way of a file, for bubblewrap's own command line has no room for as much.
    let options = given(&options(ground, &filter, &to)).failing(Step::Other, "bubblewrap's options")?;
    for file in [&waiting, &going_on, &say, &hear, &filter, &to, &options] {
        rustix::io::fcntl_setfd(file, FdFlags::empty()).failing(Step::Other, "a file for bubblewrap")?;
    }
    let mut command = Command::new(&ground.bwrap);
    command.arg("--args").arg(options.as_raw_fd().to_string());
    command.arg("--").arg(format!("/proc/self/fd/{}", files.waiting)).env_clear().stdin(Stdio::null());
    let child = command.spawn().map_err(|error| Failure {
        step: Step::Bubblewrap,
        reason: format!("bubblewrap cannot be run ({}): {error}", ground.bwrap.display()),
    })?;
    // The end of the output is the end of the job.
    leave_output().failing(Step::Other, "leaving the output to the job")?;
    let main = Pid::from_raw(child.id().cast_signed()).expect("a process has a number");
    Ok(Begun { main, info, said, word, files })
}

/// A file that can be run and is not written yet, to be read.
fn step(name: &str) -> io::Result<OwnedFd> {
    File::create_new(made(name))?.set_permissions(Permissions::from_mode(0o700))?;
    File::open(made(name)).map(OwnedFd::from)
}

fn made(name: &str) -> PathBuf {
    Path::new(MADE).join(name)
}

/// A file with this content that the next program has open, too.
fn given(content: &[u8]) -> io::Result<OwnedFd> {
    let file = rustix::fs::memfd_create("job", MemfdFlags::CLOEXEC)?;
    let mut left = content;
    while !left.is_empty() {
        left = &left[rustix::io::write(&file, left)?..];
    }
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}

impl Files {
    fn waiting(self) -> Program {
        let mut program = Program::default();
        let (ready, nothing) = (program.bytes(b"."), program.bytes(b""));
        let (arguments, environment) = (program.list([&b"waiting"[..]]), program.list([]));
        let (word, _) = Program::table(0);
        program.call(libc::SYS_close, [self.waiting]);
        program.call(libc::SYS_write, [self.say, ready, 1]);
        program.call_if(libc::SYS_read, [self.hear, word, 1], 1, 1, 2);
        let by_file = libc::AT_EMPTY_PATH as u64;
        program.call(libc::SYS_execveat, [self.going_on, nothing, arguments, environment, by_file]);
        program.call(libc::SYS_exit_group, [1]);
        program
    }

    /// It becomes the job's program, as execvp would, or says why it cannot.
    fn going_on(self, order: &Order) -> Program {
        let mut program = Program::default();
        program.call(libc::SYS_close, [self.going_on]);
        program.call(libc::SYS_close, [self.hear]);
        program.call(libc::SYS_fcntl, [self.say, libc::F_SETFD as u64, libc::FD_CLOEXEC as u64]);
        let limits = tend::limits(&order.limits, order.limits.processes_max.saturating_add(OWN_PROCESSES));
        let places = places(order);
        let end = BEFORE_DIRECTORY + 1 + OF_A_PLACE * places.len();
        let mut left = (1..=end as u64 - 3).rev();
        let mut until_end = || left.next().expect("there are as many calls");
        for (resource, max) in limits {
            let limit = program.words([max, max]);
            program.call_if(libc::SYS_prlimit64, [0, resource as u64, limit, 0], 0, 1, until_end());
        }
        let directory = program.bytes(directory(order).as_bytes());
        program.call_if(libc::SYS_chdir, [directory], 0, 1, until_end());
        let arguments: Vec<u64> = order.argv.iter().map(|it| program.bytes(it.as_bytes())).collect();
        let environment = environment(order);
        let environment = program.list(environment.iter().map(String::as_bytes));
        let list = program.words(arguments.iter().copied().chain([0]));
        let shell = program.bytes(b"/bin/sh");
        for place in &places {
            let place = program.bytes(place.as_bytes());
            let no_format = -i64::from(libc::ENOEXEC);
            program.call_if(libc::SYS_execve, [place, list, environment], no_format, 1, 2);
            let script = [shell, place].into_iter().chain(arguments[1..].iter().copied()).chain([0]);
            let script = program.words(script);
            program.call(libc::SYS_execve, [shell, script, environment]);
            program.call(libc::SYS_faccessat, [libc::AT_FDCWD as u64, place, libc::F_OK as u64]);
        }
        let (table, length) = Program::table(end);
        program.call(libc::SYS_write, [self.say, table, length]);
        program.call(libc::SYS_exit_group, [127]);
        program
    }
}

/// How many calls of what goes on are there before the one that goes to the directory.
const BEFORE_DIRECTORY: usize = 3 + tend::LIMITS;

/// How many calls there are for each place where the program may be: two that run it, and one that tells whether it is there.
const OF_A_PLACE: usize = 3;

/// Without the slash that joining nothing leaves: programs see it.
fn directory(order: &Order) -> String {
    let directory: PathBuf = Path::new(WORK).join(&order.directory).components().collect();
    directory.to_str().expect("the order came as text").to_owned()
}

fn environment(order: &Order) -> Vec<String> {
    // What comes later holds.
    let mut variables: BTreeMap<&str, &str> =
        order.environment.iter().map(|(name, value)| (&**name, &**value)).collect();
    let directory = directory(order);
    variables.insert("PWD", &directory);
    variables.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
}

/// Why the job's program was not begun, if it was not.
fn refused(order: &Order, table: &[u8]) -> Option<Failure> {
    let error_of = |result: i64| io::Error::from_raw_os_error(i32::try_from(-result).unwrap_or(libc::EIO));
    let failure = |step, what: String, result| Some(Failure { step, reason: format!("{what}: {}", error_of(result)) });
    let results: Vec<i64> = Program::results(table).collect();
    let (limits, tried) = results.split_at_checked(BEFORE_DIRECTORY)?;
    if let Some(result) = limits.iter().find(|result| **result < 0) {
        return failure(Step::Other, "limits of a program".to_owned(), *result);
    }
    let (directory_result, tried) = tried.split_first()?;
    if *directory_result < 0 {
        return failure(Step::Job, format!("directory {}", directory(order)), *directory_result);
    }
    // Calls that were not made have their numbers.
    let places = || tried.chunks_exact(OF_A_PLACE).map(|place| (place[1].min(place[0]), place[2] == 0));
    let failed = || places().filter(|(result, _)| *result < 0);
    let is_missing = |result: i64| [libc::ENOENT, libc::ENOTDIR].map(|it| -i64::from(it)).contains(&result);
    let told = failed().find(|(result, is_there)| *is_there || !is_missing(*result)).or(failed().next());
    told.map(|(result, is_there)| not_begun(order, error_of(result), is_there))
}

impl Begun {
    /// Whether what waits does, and the host has said something; not where bubblewrap has ended.
    pub(super) fn wait_for_order(&self, control: &Control) -> bool {
        let mut is_waiting = false;
        loop {
            let word = if is_waiting { PollFlags::IN } else { PollFlags::empty() };
            let mut files = [PollFd::new(&self.said, PollFlags::IN), PollFd::new(&control.0, word)];
            if poll(&mut files, None).is_err() {
                continue;
            }
            if !files[0].revents().is_empty() {
                if is_waiting || rustix::io::read(&self.said, &mut [0]) != Ok(1) {
                    return false;
                }
                is_waiting = true;
            } else if !files[1].revents().is_empty() {
                return true;
            }
        }
    }

    pub(super) fn go_on(
        self,
        level: Level,
        order: &Order,
        work: Option<OwnedFd>,
        control: &Control,
    ) -> Result<Report, Failure> {
        let Self { main, info, said, word, files } = self;
        are_there(bound(order))?;
        let work = match work {
            Some(work) => work,
            None => {
                let found = open_directory(CWD, &order.work).and_then(|it| mounts::whole(it.as_fd()));
                found.failing(Step::Job, &order.work.display().to_string())?
            }
        };
        let measured = open_directory(&work, ".").failing(Step::Job, "the work directory")?;
        surroundings::files(&order.files).failing(Step::Other, "files of its own")?;
        fs::write(made(GOING_ON), files.going_on(order).file()).failing(Step::Other, GOING_ON)?;
        mount_in(&first_process(info).failing(Step::Other, "bubblewrap's first process")?, order, work)?;
        surroundings::bound_scratch(&order.limits).failing(Step::Mounts, "memory for what it writes")?;
        rustix::io::write(&word, b".").failing(Step::Other, "the word to go on")?;
        drop(word);
        let tended = tend::tend(order, control, main, Whose::Namespace, measured)?;
        // Nobody has the other end any more.
        let mut table = Vec::new();
        File::from(said).read_to_end(&mut table).failing(Step::Other, "what became of the program")?;
        if let Some(failure) = refused(order, &table) {
            return Err(failure);
        }
        // Where bubblewrap itself was killed, it was by the warden, or as by the kernel where memory is short.
        let status = tended.status.and_then(|it| it.exit_status()).unwrap_or(128 + libc::SIGKILL);
        Ok(Report::Ended(Ended {
            level,
            status,
            signal: signal_of(status),
            ended_by: tended.ended_by,
            cpu_micros: tended.cpu_micros,
            memory_bytes_max: tended.memory_bytes_max,
        }))
    }
}

/// As this process numbers it.
fn first_process(info: OwnedFd) -> io::Result<String> {
    let mut text = String::new();
    File::from(info).read_to_string(&mut text)?;
    let info: serde_json::Value = serde_json::from_str(&text)?;
    info.get("child-pid").map(ToString::to_string).ok_or_else(|| io::Error::other("bubblewrap does not say who it is"))
}

/// The work directory, and what is bound, in the mount namespace of a process.
fn mount_in(process: &str, order: &Order, work: OwnedFd) -> Result<(), Failure> {
    let named = |path: &Path| path.display().to_string();
    let mut wanted = vec![(work, Path::new(WORK), true)];
    for bind in &order.binds {
        let mount = mounts::seen(&bind.from).failing(Step::Job, &named(&bind.from))?;
        surroundings::place(&mount, &bind.to).failing(Step::Job, &named(&bind.to))?;
        wanted.push((mount, &bind.to, bind.writable));
    }
    for (mount, at, is_writable) in &wanted {
        system::confine(mount, *is_writable).failing(Step::Mounts, &named(at))?;
    }
    let entering = "bubblewrap's mounts";
    let [own, theirs] = ["self", process].map(|it| File::open(format!("/proc/{it}/ns/mnt")));
    let (own, theirs) = (own.failing(Step::Mounts, entering)?, theirs.failing(Step::Mounts, entering)?);
    let enter = |into: &File| move_into_link_name_space(into.as_fd(), Some(LinkNameSpaceType::Mount));
    enter(&theirs).failing(Step::Mounts, entering)?;
    let done = wanted.iter().try_for_each(|(mount, at, _)| lay(mount, at).failing(Step::Mounts, &named(at)));
    enter(&own).failing(Step::Mounts, entering)?;
    done
}

fn lay(mount: &OwnedFd, at: &Path) -> io::Result<()> {
    let open = || rustix::fs::open(at, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let place = match open() {
        // Below something else that is bound.
        Err(Errno::NOENT) => {
            if FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode) == FileType::Directory {
                fs::create_dir_all(at)?;
            } else {
                File::create_new(at)?;
            }
            open()?
        }
        place => place?,
    };
    Ok(mounts::attach_over(mount, place)?)
}

fn options(ground: &Ground, filter: &OwnedFd, info: &OwnedFd) -> Vec<u8> {
    let mut options = Options(Vec::new());
    for namespace in ["user", "pid", "ipc", "uts", "cgroup-try"] {
        options.add([&format!("--unshare-{namespace}")]);
    }
    options.add(["--die-with-parent", "--new-session", "--cap-drop", "ALL"]);
    options.add(["--uid", ID, "--gid", ID, "--hostname", "job"]);
    let root = surroundings::ROOT;
    // Bubblewrap reads the list of all mounts for each of its own: so these are few, and what they hold is laid out before.
    match &ground.root {
        Root::Image(_) => options.add(["--bind", root, "/"]),
        Root::Toolchain(_) => options.add(["--ro-bind", root, "/"]),
    }
    options.add(["--bind", &format!("{MADE}/tmp"), "/tmp", "--dir", WORK]);
    options.add(["--dev-bind", &format!("{MADE}/dev"), "/dev", "--remount-ro", "/dev", "--proc", "/proc"]);
    options.add(["--seccomp", &filter.as_raw_fd().to_string(), "--info-fd", &info.as_raw_fd().to_string()]);
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
