//! What a job uses, as far as the kernel tells those who look: its processes by /proc, its work directory by going over it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use rustix::param::{clock_ticks_per_second, page_size};

use crate::tree::{WalkError, walk};

/// Which processes are the job's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// All of this pid namespace but for this process.
    Namespace,
    /// The descendants of this process.
    Descendants,
}

pub(super) struct Processes {
    whose: Whose,
    pids: Vec<u32>,
    swap: bool,
}

#[derive(Default)]
pub(super) struct Seen {
    pub tasks: u64,
    /// Shared memory is in it once for each process that has it.
    pub memory_bytes: u64,
    /// All that they have addresses for, be it memory or not.
    pub addresses_bytes: u64,
    /// Of those that live, and of those that one which lives has waited for.
    pub cpu_micros: u64,
}

struct Stat {
    parent: u32,
    ticks: u64,
    /// Of processes that it has waited for.
    waited_ticks: u64,
    tasks: u64,
    addresses_bytes: u64,
    pages: u64,
}

impl Processes {
    pub(super) fn new(whose: Whose) -> Self {
        Self { whose, pids: Vec::new(), swap: rustix::system::sysinfo().totalswap > 0 }
    }

    pub(super) fn look(&mut self) -> Seen {
        let own = std::process::id();
        let mut stats: BTreeMap<u32, Stat> = listed().filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
        let own_stat = stats.remove(&own);
        if self.whose == Whose::Descendants {
            let kept = descendants(own, &stats);
            stats.retain(|pid, _| kept.contains(pid));
        }
        self.pids = stats.keys().copied().collect();
        let ticks: u64 = stats.values().map(|it| it.ticks + it.waited_ticks).sum();
        let ticks = ticks + own_stat.map_or(0, |it| it.waited_ticks);
        let swapped: u64 = if self.swap { self.pids.iter().filter_map(|pid| swapped(*pid)).sum() } else { 0 };
        Seen {
            tasks: stats.values().map(|it| it.tasks).sum(),
            addresses_bytes: stats.values().map(|it| it.addresses_bytes).sum(),
            memory_bytes: stats.values().map(|it| it.pages).sum::<u64>() * page_size() as u64 + swapped,
            cpu_micros: ticks * 1_000_000 / clock_ticks_per_second(),
        }
    }

    /// The memory of what was last seen, of which each process has its part of what it shares. Pages of files are not in it: the
    /// kernel takes them back when it needs to. What they share is at least `shared_bytes`.
    pub(super) fn memory_in_parts(&self, shared_bytes: u64) -> u64 {
        let (mut own, mut shared) = (0, 0);
        for pid in &self.pids {
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")) else { continue };
            let part = |name| kibibytes(&text, name).unwrap_or(0);
            own += part("Pss_Anon:") + part("SwapPss:");
            shared += part("Pss_Shmem:");
        }
        own + shared.max(shared_bytes)
    }

    /// Memory that processes share and that is of no file, as large as it is made: it stays while one of them has addresses for
    /// it, also what none of them has in its own memory any more.
    pub(super) fn shared_bytes(&self) -> u64 {
        let mut ends: BTreeMap<u64, u64> = BTreeMap::new();
        for pid in &self.pids {
            let text = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
            for (inode, end) in text.lines().filter_map(shared) {
                let known = ends.entry(inode).or_default();
                *known = end.max(*known);
            }
        }
        ends.values().sum()
    }
}

fn listed() -> impl Iterator<Item = u32> {
    let entries = fs::read_dir("/proc").into_iter().flatten();
    entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

fn descendants(of: u32, stats: &BTreeMap<u32, Stat>) -> BTreeSet<u32> {
    let mut kept = BTreeSet::new();
    let mut new = vec![of];
    while let Some(parent) = new.pop() {
        new.extend(stats.iter().filter(|(pid, it)| it.parent == parent && kept.insert(**pid)).map(|(pid, _)| *pid));
    }
    kept
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name, in brackets, may have anything in it. Fields are numbered as in proc(5): the next one is the third.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            parent: u32::try_from(field(4)?).ok()?,
            ticks: field(14)? + field(15)?,
            waited_ticks: field(16)? + field(17)?,
            tasks: field(20)?,
            addresses_bytes: field(23)?,
            pages: field(24)?,
        })
    }
}

/// Of a line of `/proc/PID/maps`, if it is of such memory: which it is, and up to where it has addresses. A file's name is a path
/// from the job's root, in which nothing has these names: `/dev` cannot be written to, and nothing at the top begins so.
fn shared(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.split_ascii_whitespace();
    let ((from, to), modes, offset) = (fields.next()?.split_once('-')?, fields.next()?, fields.next()?);
    let (inode, name) = (fields.nth(1)?.parse().ok()?, fields.next()?);
    let is_shared = modes.ends_with('s') && (name == "/dev/zero" || name.starts_with("/SYSV"));
    let number = |text| u64::from_str_radix(text, 16).ok();
    let end = number(offset)? + number(to)?.checked_sub(number(from)?)?;
    is_shared.then_some((inode, end))
}

fn swapped(pid: u32) -> Option<u64> {
    kibibytes(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?, "VmSwap:")
}

fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
}

/// The work directory.
pub(super) struct Disk(OwnedFd);

#[derive(Default)]
pub(super) struct Used {
    pub bytes: u64,
    pub entries: u64,
}

impl Disk {
    pub(super) fn new(work: OwnedFd) -> Self {
        Self(work)
    }

    /// What is in it, and what has no name in it any more and is still open. Stops counting once there are too many entries.
    pub(super) fn measure(&self, entries_max: u64, processes: &Processes) -> Result<Used, WalkError> {
        let mut used = Used::default();
        // A file with many names is there once.
        let mut linked = BTreeSet::new();
        walk(self.0.as_fd(), |_, _, stat| {
            used.entries += 1;
            if stat.st_nlink < 2 || stat.st_mode & libc::S_IFMT == libc::S_IFDIR || linked.insert(stat.st_ino) {
                used.bytes += stat.st_blocks.unsigned_abs() * 512;
            }
            let full = used.entries > entries_max;
            Ok(if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        used.bytes += self.nameless(processes)?;
        Ok(used)
    }

    fn nameless(&self, processes: &Processes) -> rustix::io::Result<u64> {
        let device = rustix::fs::fstat(&self.0)?.st_dev;
        let files = processes.pids.iter().filter_map(|pid| fs::read_dir(format!("/proc/{pid}/fd")).ok()).flatten();
        let found = files.filter_map(|file| fs::metadata(file.ok()?.path()).ok());
        let nameless: BTreeMap<u64, u64> = found
            .filter(|it| it.is_file() && it.nlink() == 0 && it.dev() == device)
            .map(|it| (it.ino(), it.blocks() * 512))
            .collect();
        Ok(nameless.values().sum())
    }
}
