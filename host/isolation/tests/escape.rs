//! Attacks on every level: the table of docs/isolation.md, of which each cell is tried.
//!
//! *Prevented*: the attack gets nothing. *Contained*: it gets what is the job's, up to a limit, and nobody else is the worse for
//! it. *Not prevented*: it succeeds.

mod common;

use std::fmt::Write;
use std::fs;
use std::future::ready;
use std::net::{TcpListener, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use common::{World, attack, child, child_without_namespaces, is_root, isolation, processes_with, run, small};
use futures::{StreamExt as _, stream};
use pipewright_artifacts::files::remove_tree;
use pipewright_isolation::{Ended, Isolation, Job, Layers, Level, Limit, Limits, Root};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Prevented,
    Contained,
    NotPrevented,
}
use Verdict::{Contained as C, NotPrevented as N, Prevented as P};

struct Row {
    attack: &'static str,
    /// Each is a deed of tests/programs/attack and its arguments, in which `{NAME}` is something of the ground.
    deeds: &'static [&'static str],
    /// At `restricted`, `toolchain` and `image`, as in `Level::ALL`.
    verdicts: [Verdict; 3],
    /// What ends it, where it is contained by being ended.
    by: Option<Limit>,
}

const fn row(attack: &'static str, deeds: &'static [&'static str], verdicts: [Verdict; 3]) -> Row {
    Row { attack, deeds, verdicts, by: None }
}

const fn ended_by(limit: Limit, attack: &'static str, deeds: &'static [&'static str]) -> Row {
    Row { attack, deeds, verdicts: [C, C, C], by: Some(limit) }
}

const ROWS: &[Row] = &[
    row("read the host's data directory", &["read {data}/secret {data} /proc/1/root{data}/secret"], [P, P, P]),
    row("read another job's work directory", &["read {other}/secret {other} ../other/secret"], [P, P, P]),
    row(
        "read accounts and keys of the machine",
        &["read /etc/shadow /root /etc/machine-id /boot /sys/kernel"],
        [P, P, P],
    ),
    row("write to the host's data, to other jobs' work", &["write {data} {other} {data}/secret"], [P, P, P]),
    row("write to the machine's file system", &["write / /usr /usr/bin /lib /etc /etc/passwd /dev"], [P, P, C]),
    row(
        "hard links to the machine's files in the work directory",
        &["links-out {data}/secret /usr/bin/env"],
        [P, P, P],
    ),
    row("change modes, owners and times of the machine's files", &["metadata {data}/secret /usr/bin/env"], [P, P, P]),
    row(
        "set the times of the machine's files that everybody may write to now",
        &["touch {data}/secret", "touch /dev/full"],
        [N, P, P],
    ),
    row("see other processes, their environment, their memory", &["see {canary}"], [P, P, P]),
    row("signal other processes, and those that run the job", &["signal {pid}", "signal-all"], [P, P, P]),
    row("files that the host has open", &["left-open"], [P, P, P]),
    row("connect to the machine's services", &["connect 127.0.0.1:{tcp}", "send 127.0.0.1:{udp}"], [P, P, P]),
    row(
        "connect to Unix sockets of the machine, by path and by name",
        &["connect-path {data}/socket", "connect-abstract {name}"],
        [P, P, P],
    ),
    row(
        "reach addresses of other machines",
        &["connect 192.0.2.1:80 [2001:db8::1]:80", "send 192.0.2.1:53"],
        [P, P, P],
    ),
    row("sockets of any other family, and raw ones", &["families"], [P, P, P]),
    row("become root; capabilities", &["privileges"], [P, P, P]),
    row("leave a set-user-id program for others", &["set-user-id"], [P, P, P]),
    row("make device nodes", &["devices"], [P, P, P]),
    row("open devices of the machine", &["open-devices"], [P, P, P]),
    row("files of the kernel: /proc/sys, /sys", &["kernel-files"], [P, P, P]),
    row(
        "mount, umount, pivot_root and the newer calls for mounts",
        &["mount", "umount", "pivot_root", "fsopen", "move_mount", "open_tree", "mount_setattr"],
        [P, P, P],
    ),
    row("namespaces of its own", &["unshare", "setns", "clone", "clone3"], [P, P, P]),
    row(
        "ptrace, memory and files of processes",
        &["ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd"],
        [P, P, P],
    ),
    row("bpf, perf_event_open, userfaultfd", &["bpf", "perf_event_open", "userfaultfd"], [P, P, P]),
    row("io_uring", &["io_uring_setup", "io_uring_enter"], [P, P, P]),
    row("keys of the kernel", &["keyctl", "add_key", "request_key"], [P, P, P]),
    row("files by handle, fanotify", &["open_by_handle_at", "fanotify_init"], [P, P, P]),
    row(
        "modules, kexec, swap, reboot, clocks",
        &["kexec_load", "init_module", "finit_module", "swapon", "reboot", "settimeofday", "clock_settime"],
        [P, P, P],
    ),
    row("other personalities, typing into a terminal", &["personality", "TIOCSTI", "TIOCLINUX"], [P, P, P]),
    #[cfg(target_arch = "x86_64")]
    row("system calls by the machine's other ABIs", &["i386", "x32"], [P, P, P]),
    row("memory that no process has: memfd, SysV", &["memfd_create", "shmget, 1 GiB", "semget, 32,000"], [P, P, P]),
    row("a daemon that outlives the job", &["daemon"], [P, P, P]),
    ended_by(Limit::WallSeconds, "wait for ever, and ignore signals", &["sleep", "deaf"]),
    ended_by(Limit::CpuSeconds, "compute for ever, in many processes", &["compute"]),
    row("fork without end", &["fork-bomb"], [C, C, C]),
    row("threads, files without end", &["threads", "open-files"], [C, C, C]),
    row("memory in one process", &["memory 400"], [C, C, C]),
    ended_by(
        Limit::MemoryBytes,
        "memory in many processes, shared memory",
        &["memory-of-many 40 40 40 40", "shared-memory 200", "hidden-memory 200"],
    ),
    row("one huge file", &["large-file"], [C, C, C]),
    ended_by(Limit::DiskBytes, "fill the disk, in files with and without names", &["fill .", "fill-nameless"]),
    ended_by(Limit::DiskEntries, "fill the disk with empty files, nest without end", &["entries .", "depth"]),
    row("fill /tmp and /dev/shm", &["fill /tmp /dev/shm", "entries /tmp"], [P, C, C]),
    row("fill /dev", &["fill /dev"], [P, P, P]),
    row("fill the root file system", &["fill /"], [P, P, C]),
    ended_by(Limit::OutputBytes, "output without end", &["output"]),
];

/// Jobs in namespaces of their own do not count with each other.
const AT_ONCE: usize = 6;

/// What is there to be attacked.
struct Ground {
    world: World,
    data: PathBuf,
    canary: Child,
    tcp: TcpListener,
    udp: UdpSocket,
    name: String,
    image: PathBuf,
    unique: String,
    tried: AtomicUsize,
    _listeners: [UnixListener; 2],
}

/// As in the room itself: whom jobs run as where the host is root.
const JOB_ID: u32 = 1_900_000_000;

impl Ground {
    fn new() -> Self {
        let world = World::new();
        let (data, other) = (world.folder("data"), world.folder("other"));
        for folder in [&data, &other] {
            // Open to everybody: it must not be rights of files that hold a job off.
            fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
            fs::write(folder.join("secret"), "secret").unwrap();
            fs::set_permissions(folder.join("secret"), fs::Permissions::from_mode(0o666)).unwrap();
        }
        let unique = world.folder.path().file_name().unwrap().to_str().unwrap().trim_start_matches('.').to_owned();
        let name = format!("socket-{unique}");
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        let by_path = UnixListener::bind(data.join("socket")).unwrap();
        fs::set_permissions(data.join("socket"), fs::Permissions::from_mode(0o777)).unwrap();
        let mut canary = Command::new("sleep");
        canary.arg("3600").env("CANARY", format!("canary-{unique}")).stdout(Stdio::null());
        if is_root() {
            canary.uid(JOB_ID).gid(JOB_ID);
        }
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        udp.set_nonblocking(true).unwrap();
        let image = world.image(&[&attack()]);
        Self {
            canary: canary.spawn().unwrap(),
            tcp: TcpListener::bind("127.0.0.1:0").unwrap(),
            udp,
            name,
            image,
            unique,
            tried: AtomicUsize::new(0),
            _listeners: [by_name, by_path],
            data,
            world,
        }
    }

    /// The program of a job has a name of its own: by it the job's processes are found.
    fn job(&self, level: Level, deed: &str, program: &str) -> Job {
        let places = [
            ("{data}", self.data.display().to_string()),
            ("{other}", self.world.folder("other").display().to_string()),
            ("{canary}", format!("canary-{}", self.unique)),
            ("{pid}", self.canary.id().to_string()),
            ("{tcp}", self.tcp.local_addr().unwrap().port().to_string()),
            ("{udp}", self.udp.local_addr().unwrap().port().to_string()),
            ("{name}", self.name.clone()),
        ];
        // The names of some calls have spaces.
        let words: Vec<&str> = if deed.contains("get, ") { vec![deed] } else { deed.split(' ').collect() };
        let put = |word: &str| places.iter().fold(word.to_owned(), |word, (name, value)| word.replace(name, value));
        let mut job = self.world.job(&[&format!("./{program}")]);
        job.argv.extend(words.into_iter().map(put));
        job.work = self.world.folder(&format!("work-of-{program}"));
        if level == Level::Image {
            job.root = Root::Image(Layers::of_directory(&self.image));
        }
        job.limits = Limits { wall_seconds_max: 60, cpu_seconds_max: 30, memory_bytes_max: 64 << 20, ..small() };
        match deed {
            "sleep" | "deaf" | "fork-bomb" => job.limits.wall_seconds_max = 1,
            "compute" => job.limits = Limits { cpu_seconds_max: 1, wall_seconds_max: 60, ..job.limits },
            _ => {}
        }
        fs::copy(attack(), job.work.join(program)).unwrap();
        job
    }

    /// Nothing of the machine has changed, and nothing of the job is left.
    fn check(&self, program: &str, what: &str) {
        assert_eq!(processes_with(program), Vec::<String>::new(), "{what}: survivors");
        let canary = fs::read_to_string(format!("/proc/{}/stat", self.canary.id())).unwrap();
        assert!(!canary.contains(") Z "), "{what}: the canary is dead");
        for folder in ["data", "other"] {
            let folder = self.world.folder(folder);
            assert_eq!(fs::read(folder.join("secret")).unwrap(), b"secret", "{what}");
            assert!(!folder.join("planted").exists(), "{what}");
        }
        for folder in ["/", "/usr", "/lib"] {
            assert!(!Path::new(folder).join("planted").exists() && !Path::new(folder).join("0").exists(), "{what}");
        }
        assert!(self.udp.recv(&mut [0; 8]).is_err(), "{what}: a datagram came");
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        let _ = self.canary.kill();
        let _ = self.canary.wait();
    }
}

fn verdict(row: &Row, level: Level, ended: &Ended) -> Verdict {
    if let Some(limit) = ended.ended_by {
        assert!(row.by.is_none_or(|by| by == limit), "{} at {level}: ended by {limit:?}", row.attack);
        return C;
    }
    assert!(row.by.is_none(), "{} at {level}: not ended, {ended:?}", row.attack);
    // In an image what is got is the layer of the job's own.
    let own = row.attack.starts_with("write to the machine") && level == Level::Image;
    match ended.status {
        0 => P,
        6 => C,
        7 if own => C,
        7 => N,
        // It ended by its own doing, as by memory that it was refused.
        _ => C,
    }
}

/// What a deed came to, where that is not as the table says.
async fn try_one(ground: &Ground, isolation: &Isolation, level: Level, row: &Row, deed: &str) -> Option<String> {
    let program = format!("attack-{}-{level}-{:03}", ground.unique, ground.tried.fetch_add(1, Ordering::Relaxed));
    let job = ground.job(level, deed, &program);
    let (ended, output) = run(isolation, &job).await;
    let what = format!("{}: {deed} at {level}", row.attack);
    let ended = ended.unwrap_or_else(|error| panic!("{what}: {error}"));
    assert_eq!(ended.level, level, "{what}");
    ground.check(&program, &what);
    remove_tree(&job.work).unwrap();
    let expected = row.verdicts[Level::ALL.iter().position(|it| *it == level).unwrap()];
    let found = verdict(row, level, &ended);
    let output: String = output.chars().take(300).collect();
    (found != expected).then(|| format!("{what}: {found:?}, not {expected:?}: {ended:?} {output}"))
}

/// Every deed at these levels, so many at once: most of the time a job waits to be ended.
async fn try_all(ground: &Ground, isolation: &Isolation, levels: &[Level], at_once: usize) {
    let deeds = ROWS.iter().flat_map(|row| row.deeds.iter().map(move |deed| (row, *deed)));
    let tried =
        deeds.flat_map(|(row, deed)| levels.iter().map(move |level| try_one(ground, isolation, *level, row, deed)));
    let wrong: Vec<_> = stream::iter(tried).buffer_unordered(at_once).filter_map(ready).collect().await;
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn attacks_come_to_what_the_table_says() {
    let Some(namespaces) = isolation().await else { return };
    let again = is_root().then(again_as_an_ordinary_user);
    let ground = Ground::new();
    if let Some((_world, again)) = again {
        // Of the same user of the machine each, so that the processes of one count with the other's.
        let none = Isolation::probe(child_without_namespaces(), Level::Restricted).await.unwrap();
        try_all(&ground, &none, &[Level::Restricted], 1).await;
        let output = again.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}{complaints}");
    }
    try_all(&ground, &namespaces, &[Level::Toolchain, Level::Image], AT_ONCE).await;
}

/// The same test as it runs meanwhile in a process of its own, and the folder of its programs.
fn again_as_an_ordinary_user() -> (World, Child) {
    let world = World::new();
    let programs = world.folder("programs");
    let own = std::env::current_exe().unwrap();
    for (name, from) in [("isolation-child", child().program), ("isolation-attack", attack()), ("tests", own)] {
        fs::copy(from, programs.join(name)).unwrap();
    }
    let temporary = world.folder("temporary");
    for folder in [&programs, &temporary] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    let mut again = Command::new(programs.join("tests"));
    again.args(["--exact", "attacks_come_to_what_the_table_says"]).uid(65_534).gid(65_534).current_dir(&temporary);
    again.env(common::PROGRAMS, &programs).env("TMPDIR", &temporary);
    (world, again.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
}

/// The table in the documentation is this one.
#[test]
fn the_documentation_has_the_table() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/isolation.md");
    let page = fs::read_to_string(page).unwrap();
    let mut table = String::from("| attack | `image` | `toolchain` | `restricted` |\n|---|---|---|---|\n");
    for row in ROWS {
        let [restricted, toolchain, image] = row.verdicts.map(|verdict| match verdict {
            P => "prevented",
            C => "contained",
            N => "not prevented",
        });
        writeln!(table, "| {} | {image} | {toolchain} | {restricted} |", row.attack).unwrap();
    }
    assert!(page.contains(&table), "docs/isolation.md does not have this table:\n{table}");
}
