//! The level without namespaces: a user of its own, Landlock for files, signals and what can be traced, seccomp for sockets and the rest, limits.
//!
//! Two domains of Landlock lie in each other. The outer one has the keeper and the job in it, and lets no signal out: so the
//! keeper ends all of the job at once, wherever its processes went, by a signal to everybody. The inner one has the job alone,
//! which reaches neither the keeper nor anything else.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

use landlock::{
    ABI, Access, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, Scope,
};
use rustix::fs::CWD;
use rustix::process::{Pid, Signal, Uid, set_child_subreaper};
use rustix::thread::set_no_new_privs;

use super::usage::Whose;
use super::{Control, leave_output, not_begun, places, system, tend};
use crate::job::{Ended, Root};
use crate::level::Step;
use crate::message::{Failing, Failure, Ground, Order};
use crate::run::JOB_ID;
use crate::seccomp;
use crate::tree::open_directory;

/// With this one signals stay within a domain.
const ABI_MIN: ABI = ABI::V6;

/// Devices that programs take for granted.
const DEVICES: [&str; 5] = ["/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom"];

pub(super) fn run(ground: &Ground, order: &Order, control: &Control) -> Result<Ended, Failure> {
    if rustix::process::geteuid() != Uid::from_raw(JOB_ID) {
        // Landlock does not guard modes, owners and times: those of the host's own files would be the job's to change.
        let reason = "the host is an ordinary user, and jobs would be the same".to_owned();
        return Err(Failure { step: Step::OwnUser, reason });
    }
    let landlock = "Landlock without ABI 6";
    set_child_subreaper(Some(rustix::process::getpid())).failing(Step::Other, "adopting what it leaves")?;
    set_no_new_privs(true).failing(Step::Other, "no new privileges")?;
    let outer = ruleset().and_then(|it| it.scope(Scope::Signal)?.create()).failing(Step::Landlock, landlock)?;
    outer.restrict_self().failing(Step::Landlock, landlock)?;

    let mut inner = Some(job_rules(ground, order)?);
    let filter = seccomp::filter(ground.level);
    let limits = order.limits.clone();
    // Processes of the same user count, whosever they are.
    let processes_max = limits.processes_max.saturating_add(tasks_of_user());
    let mut command = Command::new(&order.argv[0]);
    command.args(&order.argv[1..]).env_clear().envs(order.environment.iter().map(|(name, value)| (name, value)));
    command.current_dir(order.work.join(&order.directory)).stdin(Stdio::null());
    let set_up = move || {
        rustix::process::setsid()?;
        // A keeper that is killed takes the first process along; those that it started live on.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
        tend::set_limits(&limits, processes_max)?;
        inner.take().ok_or(io::ErrorKind::Other)?.restrict_self().map_err(io::Error::other)?;
        system::load_filter(&filter)
    };
    // SAFETY: this process has one thread.
    unsafe { command.pre_exec(set_up) };
    let child = command.spawn().map_err(|error| {
        let directory = order.work.join(&order.directory);
        not_begun(order, error, places(order).iter().any(|place| directory.join(place).exists()))
    })?;
    leave_output().failing(Step::Other, "leaving the output to the job")?;

    let main = Pid::from_raw(child.id().cast_signed()).expect("a process has a number");
    let work = open_directory(CWD, &order.work).failing(Step::Job, "the work directory")?;
    let tended = tend::tend(order, control, main, Whose::Descendants, work)?;
    let ended = tended.status.and_then(|it| it.exit_status().or(it.terminating_signal().map(|signal| 128 + signal)));
    Ok(Ended {
        level: ground.level,
        status: ended.unwrap_or(128 + libc::SIGKILL),
        signal: tended.status.and_then(|it| it.terminating_signal()),
        ended_by: tended.ended_by,
        cpu_micros: tended.cpu_micros,
        memory_bytes_max: tended.memory_bytes_max,
    })
}

fn ruleset() -> Result<Ruleset, landlock::RulesetError> {
    Ok(Ruleset::default().set_compatibility(CompatLevel::HardRequirement))
}

/// The toolchain, to read and to run; the work directory; devices. Nothing below /proc: it tells of all who are on the machine.
fn job_rules(ground: &Ground, order: &Order) -> Result<RulesetCreated, Failure> {
    let all = AccessFs::from_all(ABI_MIN);
    let read = AccessFs::from_read(ABI_MIN);
    let rules = ruleset()
        .and_then(|it| it.handle_access(all)?.scope(Scope::Signal | Scope::AbstractUnixSocket)?.create())
        .failing(Step::Landlock, "rules for files")?;
    let Root::Toolchain(toolchain) = &ground.root else {
        return Err(Failure { step: Step::Job, reason: "an image needs namespaces".to_owned() });
    };
    let entries = toolchain.entries.iter().filter(|it| it.link.is_none()).map(|it| (it.path.as_path(), read));
    let binds = order.binds.iter().map(|it| (it.from.as_path(), if it.writable { all } else { read }));
    let devices = DEVICES.map(|device| (Path::new(device), AccessFs::ReadFile | AccessFs::WriteFile));
    // No device, no FIFO and no socket of its own.
    let files = all
        & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::MakeSock | AccessFs::IoctlDev);
    let work = [(order.work.as_path(), files)];
    entries.chain(binds).chain(devices).chain(work).try_fold(rules, |rules, (path, access)| {
        let file = PathFd::new(path).failing(Step::Job, &path.display().to_string())?;
        let is_directory = path.is_dir();
        let access = if is_directory { access } else { access & AccessFs::from_file(ABI_MIN) };
        rules.add_rule(PathBeneath::new(file, access)).failing(Step::Landlock, &path.display().to_string())
    })
}

fn tasks_of_user() -> u64 {
    use std::os::unix::fs::MetadataExt;
    let uid = rustix::process::getuid().as_raw();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let own = entries.filter(|entry| entry.metadata().is_ok_and(|it| it.uid() == uid));
    own.filter_map(|entry| std::fs::read_dir(entry.path().join("task")).ok()).map(|tasks| tasks.count() as u64).sum()
}
