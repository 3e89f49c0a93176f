//! The processes around a job, which are this program started again: the zygote, the keeper and the warden.
//!
//! They have one thread, so that they may fork and enter namespaces, and hold nothing of the host's: an empty environment,
//! the order, and the socket on which it came. They must not be reached by the job: it is below them in every namespace.

mod bubblewrap;
mod layer;
mod program;
mod restricted;
mod surroundings;
mod system;
mod tend;
mod usage;

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::process::ExitCode;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{Mode, OFlags};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{DumpableBehavior, Gid, Signal, Uid, WaitOptions};
use rustix::thread::UnshareFlags;

use crate::job;
use crate::level::Step;
use crate::message::{self, Failing, Failure, Ground, Order, Report, Task};
use crate::run::{JOB_ID, job_user};
use crate::zygote::Place;
use crate::{mounts, seccomp, zygote};
use system::Forked;

/// The user that computing processes of a host that is root are: beside that of jobs, for these must not reach them.
const COMPUTING_ID: u32 = JOB_ID + 1;

/// The host's socket.
pub(crate) struct Control(OwnedFd);

/// The whole of a process that [`crate::ChildCommand`] starts, the zygote: a keeper for each time that the host asks. Its standard
/// input is the host's socket, and it ends with the host.
pub fn child_main() -> ExitCode {
    system::close_at_exec_from(3);
    system::as_usual();
    let Ok(host) = take_input() else { return ExitCode::FAILURE };
    system::wait_for_children(false);
    while let Some((place, [control, output])) = zygote::asked(host.as_fd()) {
        // Where there is no keeper, its host sees that its socket is closed.
        if let Ok(Forked::Child) = system::fork() {
            drop(host);
            return keeper(place, &Control(control), output);
        }
    }
    ExitCode::SUCCESS
}

/// The whole of a keeper, and of a warden.
fn keeper(place: Place, control: &Control, output: OwnedFd) -> ExitCode {
    system::wait_for_children(true);
    let kept = take_output(output).failing(Step::Other, "the job's output").map_err(Ending::Failed);
    match kept.and_then(|()| if place == Place::Apart { apart(control) } else { beside(control) }) {
        Ok(report) => control.report(&report),
        Err(Ending::Failed(failure)) => control.report(&Report::Failed(failure)),
        Err(Ending::Told) => {}
        Err(Ending::NoOrder) => return ExitCode::FAILURE,
    }
    ExitCode::SUCCESS
}

/// From now on this process, which must have one thread, uses what it has open, memory and threads, and nothing else of the
/// machine: no file, no program, no socket, no other process. Where it is root it becomes a user of its own.
pub fn only_compute() -> io::Result<()> {
    system::close_at_exec_from(3);
    if rustix::process::geteuid().is_root() {
        become_user(COMPUTING_ID)?;
    }
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    rustix::thread::set_no_new_privs(true)?;
    system::load_filter(&seccomp::computing())
}

/// Why there is no end to report.
enum Ending {
    Failed(Failure),
    /// The warden, a process of its own, reported.
    Told,
    /// There is no host any more, or none that keeps to the form.
    NoOrder,
}

impl From<Failure> for Ending {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

fn take_input() -> io::Result<OwnedFd> {
    let input = rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3)?;
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    Ok(input)
}

fn take_output(output: OwnedFd) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdout(&output)?;
    rustix::stdio::dup2_stderr(&output)
}

/// What a keeper beside the host does.
fn beside(control: &Control) -> Result<Report, Ending> {
    match control.said()? {
        Task::Layer(order) => Ok(Report::Unpacked(layer::unpack(&order, control)?)),
        Task::Job(job) => {
            let (ground, order) = *job;
            become_job_user()?;
            are_there(ground.root.seen())?;
            are_there(bound(&order))?;
            Ok(Report::Ended(restricted::run(&ground, &order, control)?))
        }
    }
}

/// What a keeper apart from the host does, before there is an order. The warden goes on, and reports.
fn apart(control: &Control) -> Result<Report, Ending> {
    surroundings::shorten();
    become_job_user()?;
    enter(UnshareFlags::NEWPID | UnshareFlags::NEWNET)?;
    let (alive, keeper) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).failing(Step::Other, "a pipe")?;
    match system::fork().failing(Step::Other, "the warden")? {
        Forked::Child => {
            drop(keeper);
            warden(control, alive)
        }
        Forked::Parent(warden) => {
            let _ = leave_output();
            let _ = rustix::io::retry_on_intr(|| rustix::process::waitpid(Some(warden), WaitOptions::empty()));
            Err(Ending::Told)
        }
    }
}

/// After this the machine's user is root of namespaces in which nothing is the machine's: of users, of mounts, and of these kinds.
fn enter(more: UnshareFlags) -> Result<(), Failure> {
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let apart = UnshareFlags::NEWUSER | UnshareFlags::NEWNS | more;
    system::unshare(apart).failing(Step::UserNamespace, "user namespaces are refused (unshare)")?;
    map_to_root(uid, gid).failing(Step::UserNamespace, "user namespaces are refused (their map of users)")
}

/// The first process of the pid namespace: all others end when it does. It ends with the keeper.
fn warden(control: &Control, alive: OwnedFd) -> Result<Report, Ending> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).failing(Step::Other, "a tie to the keeper")?;
    // The keeper may have ended before the tie was there.
    let mut hung_up = [PollFd::new(&alive, PollFlags::empty())];
    if poll(&mut hung_up, Some(&rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ended| ended > 0) {
        std::process::exit(1);
    }
    surroundings::prepare()?;
    let ground: Ground = control.said()?;
    let handed = control.mounts(ground.mounts)?;
    surroundings::lay(&ground, handed)?;
    let begun = bubblewrap::begin(&ground)?;
    if !begun.wait_for_order(control) {
        return Ok(Report::NotBegun);
    }
    let order: Order = control.said()?;
    let work = control.mounts(usize::from(order.handed))?.pop();
    if order.network {
        let socket = surroundings::listen().failing(Step::Other, "the job's way to the network")?;
        control.send_socket(socket.as_fd()).failing(Step::Other, "the job's way to the network")?;
    }
    Ok(begun.go_on(ground.level, &order, work, control)?)
}

/// The job alone has its output open, so that it ends with it.
fn leave_output() -> rustix::io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdout(&null)?;
    rustix::stdio::dup2_stderr(&null)
}

/// Where the host is root.
fn become_job_user() -> Result<(), Failure> {
    job_user().map_or(Ok(()), become_user).failing(Step::Other, "becoming the user that jobs run as")
}

fn become_user(id: u32) -> rustix::io::Result<()> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    rustix::thread::set_thread_groups(&[])?;
    rustix::thread::set_thread_res_gid(gid, gid, gid)?;
    rustix::thread::set_thread_res_uid(uid, uid, uid)?;
    // It was taken away with the change, and with it the files of this process below /proc.
    rustix::process::set_dumpable_behavior(DumpableBehavior::Dumpable)
}

/// Where the program may be.
fn places(order: &Order) -> Vec<String> {
    let name = &order.argv[0];
    if name.contains('/') {
        return vec![name.clone()];
    }
    let place = |directory: &str| if directory.is_empty() { name.clone() } else { format!("{directory}/{name}") };
    job::path(&order.environment).split(':').map(place).collect()
}

/// Why the program was not begun. Of a program that is there the kernel says that it is not, where what is to run it is missing.
fn not_begun(order: &Order, error: io::Error, is_there: bool) -> Failure {
    let why = match is_there && error.kind() == io::ErrorKind::NotFound {
        true => {
            "what is to run it is not there: the interpreter that its first line names, or the loader of its libraries"
                .to_owned()
        }
        false => error.to_string(),
    };
    Failure { step: Step::Job, reason: format!("program `{}`: {why}", order.argv[0]) }
}

/// What the job names besides its work directory has to be there for the user that it is.
fn are_there<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Result<(), Failure> {
    paths.into_iter().try_for_each(|path| path.metadata().map(drop).failing(Step::Job, &path.display().to_string()))
}

fn bound(order: &Order) -> impl Iterator<Item = &Path> {
    order.binds.iter().map(|bind| bind.from.as_path())
}

fn map_to_root(uid: Uid, gid: Gid) -> io::Result<()> {
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {} 1", uid.as_raw()))?;
    std::fs::write("/proc/self/gid_map", format!("0 {} 1", gid.as_raw()))
}

impl Control {
    fn said<T: serde::de::DeserializeOwned>(&self) -> Result<T, Ending> {
        message::read(&std::fs::File::from(self.0.try_clone().map_err(|_| Ending::NoOrder)?))
            .map_err(|_| Ending::NoOrder)
    }

    fn mounts(&self, count: usize) -> Result<Vec<OwnedFd>, Ending> {
        mounts::receive(self.0.as_fd(), count).map_err(|_| Ending::NoOrder)
    }

    /// Whether the host has taken back its order, or is gone.
    fn is_closed(&self) -> bool {
        let mut closed = [PollFd::new(&self.0, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut closed, Some(&now)).is_ok_and(|ready| ready > 0)
    }

    fn report(&self, report: &Report) {
        let mut line = serde_json::to_vec(report).unwrap_or_default();
        line.push(b'\n');
        // A host that is gone needs no report.
        let _ = std::fs::File::from(self.0.try_clone().expect("a file of this process")).write_all(&line);
    }

    fn send_socket(&self, socket: BorrowedFd<'_>) -> io::Result<()> {
        let line = [serde_json::to_vec(&Report::Network)?, b"\n".to_vec()].concat();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        let sockets = [socket];
        ancillary.push(SendAncillaryMessage::ScmRights(&sockets));
        rustix::net::sendmsg(&self.0, &[io::IoSlice::new(&line)], &mut ancillary, SendFlags::empty())?;
        Ok(())
    }
}
