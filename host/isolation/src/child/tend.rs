//! Watching a job until it ends or has to, and ending all of it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use pipewright_base::clock::monotonic;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, WaitOptions, WaitStatus, pidfd_open, setrlimit};
use rustix::time::Timespec;

use super::usage::{Disk, Processes, Whose};
use super::{Control, system};
use crate::job::Limit;
use crate::level::Step;
use crate::limits::Limits;
use crate::message::{Failing, Failure, Order};

/// Between two looks at processes, and at the disk, at least that long, and at least so many times as long as the look took: the
/// watcher takes a twentieth of one core at most.
const PROCESSES_EVERY: Duration = Duration::from_millis(50);
const DISK_EVERY: Duration = Duration::from_millis(500);
const REST: u32 = 20;

/// The warden and bubblewrap's two processes, which the kernel counts with the job's.
pub(super) const OWN_PROCESSES: u64 = 3;

/// What became of a job, of which nothing is left.
pub(super) struct Tended {
    /// Of the first process.
    pub status: Option<WaitStatus>,
    pub ended_by: Option<Limit>,
    pub cpu_micros: u64,
    pub memory_bytes_max: u64,
}

/// How many limits the kernel holds for each process.
pub(super) const LIMITS: usize = 7;

/// The limits that the kernel holds for each process. Where this one has less, it is that.
pub(super) fn limits(limits: &Limits, processes_max: u64) -> [(Resource, u64); LIMITS] {
    let each = [
        // The watcher ends the job before; this is for a watcher that is starved.
        (Resource::Cpu, limits.cpu_seconds_max.saturating_add(2)),
        // Of what a process may write to alone. Address space that is only reserved is free.
        (Resource::Data, limits.memory_bytes_max),
        (Resource::Fsize, limits.file_bytes_max),
        (Resource::Nofile, limits.files_open_max),
        (Resource::Nproc, processes_max),
        (Resource::Core, 0),
        (Resource::Memlock, 8 << 20),
    ];
    each.map(|(resource, max)| (resource, max.min(rustix::process::getrlimit(resource).maximum.unwrap_or(u64::MAX))))
}

/// Sets them in a process that becomes the job's first.
pub(super) fn set_limits(limits: &Limits, processes_max: u64) -> io::Result<()> {
    for (resource, max) in self::limits(limits, processes_max) {
        setrlimit(resource, Rlimit { current: Some(max), maximum: Some(max) })?;
    }
    Ok(())
}

/// Waits for the first process to end, for a limit, or for the host's word, and leaves nothing.
pub(super) fn tend(
    order: &Order,
    control: &Control,
    main: Pid,
    whose: Whose,
    work: OwnedFd,
) -> Result<Tended, Failure> {
    if whose == Whose::Namespace && std::process::id() != 1 {
        // It would kill the machine's processes in the end.
        return Err(Failure { step: Step::Other, reason: "no pid namespace was made".to_owned() });
    }
    let mut watch = Watch::new(order, whose, work);
    let main_file = pidfd_open(main, PidfdFlags::empty()).failing(Step::Other, "a watch on the program")?;
    let mut status = None;
    let ended_by = loop {
        status = status.or(reap(main));
        if status.is_some() {
            break None;
        }
        if let Some(limit) = watch.look() {
            break Some(limit);
        }
        let mut files =
            [PollFd::from_borrowed_fd(control.0.as_fd(), PollFlags::IN), PollFd::new(&main_file, PollFlags::IN)];
        let wait = Timespec::try_from(watch.next()).unwrap_or(Timespec { tv_sec: 1, tv_nsec: 0 });
        // An interrupted wait is an early one.
        let _ = poll(&mut files, Some(&wait));
        // The host has nothing to say after its order: its half is closed.
        if !files[0].revents().is_empty() {
            break Some(Limit::Stopped);
        }
    };
    system::kill_all();
    // Waits for all of them; there are no others in a pid namespace, and none that came to be meanwhile.
    while let Ok(ended) = rustix::io::retry_on_intr(|| rustix::process::wait(WaitOptions::empty())) {
        if let Some((_, ended)) = ended.filter(|(pid, _)| *pid == main) {
            status = Some(ended);
        }
    }
    let (cpu_micros, memory_bytes) = system::children();
    Ok(Tended {
        status,
        ended_by,
        cpu_micros: cpu_micros.max(watch.cpu_micros),
        memory_bytes_max: memory_bytes.max(watch.memory_bytes_max),
    })
}

/// Takes leave of processes that have ended, and says how the first one did.
fn reap(main: Pid) -> Option<WaitStatus> {
    let mut status = None;
    while let Ok(Some((pid, ended))) = rustix::process::wait(WaitOptions::NOHANG) {
        if pid == main {
            status = Some(ended);
        }
    }
    status
}

/// The signal of a status as shells tell it.
pub(super) fn signal_of(status: i32) -> Option<i32> {
    (129..=192).contains(&status).then(|| status - 128)
}

struct Watch<'a> {
    limits: &'a Limits,
    processes: Processes,
    disk: Disk,
    ends: Instant,
    next_processes: Instant,
    next_disk: Instant,
    cpu_micros: u64,
    memory_bytes_max: u64,
}

impl<'a> Watch<'a> {
    fn new(order: &'a Order, whose: Whose, work: OwnedFd) -> Self {
        let now = monotonic();
        let far = Duration::from_secs(u64::from(u32::MAX));
        Self {
            limits: &order.limits,
            processes: Processes::new(whose),
            disk: Disk::new(work),
            ends: now + Duration::from_secs(order.limits.wall_seconds_max).min(far),
            next_processes: now + PROCESSES_EVERY,
            next_disk: now + DISK_EVERY,
            cpu_micros: 0,
            memory_bytes_max: 0,
        }
    }

    /// Until when nothing has to be looked at.
    fn next(&self) -> Duration {
        self.ends.min(self.next_processes).min(self.next_disk).saturating_duration_since(monotonic())
    }

    fn look(&mut self) -> Option<Limit> {
        let now = monotonic();
        if now >= self.ends {
            return Some(Limit::WallSeconds);
        }
        if now >= self.next_processes {
            let over = self.look_at_processes();
            self.next_processes = monotonic() + (monotonic() - now).saturating_mul(REST).max(PROCESSES_EVERY);
            if over.is_some() {
                return over;
            }
        }
        let now = monotonic();
        if now < self.next_disk {
            return None;
        }
        let over = self.look_at_disk();
        self.next_disk = monotonic() + (monotonic() - now).saturating_mul(REST).max(DISK_EVERY);
        over
    }

    fn look_at_processes(&mut self) -> Option<Limit> {
        let limits = self.limits;
        let seen = self.processes.look();
        self.cpu_micros = self.cpu_micros.max(seen.cpu_micros);
        // Where there are no more addresses, there is no more that is hidden.
        let has_more = seen.addresses_bytes > limits.memory_bytes_max;
        let shared = if has_more { self.processes.shared_bytes() } else { 0 };
        let mut memory = seen.memory_bytes + shared;
        if memory > limits.memory_bytes_max {
            // What processes share was counted for each: now in parts.
            memory = self.processes.memory_in_parts(shared).min(memory);
        }
        self.memory_bytes_max = self.memory_bytes_max.max(memory);
        let over = |seen: u64, max: u64, limit: Limit| (seen > max).then_some(limit);
        over(memory, limits.memory_bytes_max, Limit::MemoryBytes)
            .or(over(seen.cpu_micros, limits.cpu_seconds_max.saturating_mul(1_000_000), Limit::CpuSeconds))
            .or(over(seen.tasks, limits.processes_max.saturating_add(OWN_PROCESSES), Limit::Processes))
    }

    fn look_at_disk(&mut self) -> Option<Limit> {
        let limits = self.limits;
        let Ok(used) = self.disk.measure(limits.disk_entries_max, &self.processes) else {
            // Too deep, or closed to whoever measures: it is not to be bounded.
            return Some(Limit::DiskEntries);
        };
        if used.entries > limits.disk_entries_max {
            return Some(Limit::DiskEntries);
        }
        (used.bytes > limits.disk_bytes_max).then_some(Limit::DiskBytes)
    }
}
