//! What the warden makes around a job in its own mount and network namespaces, before bubblewrap: a `/proc` of the pid
//! namespace to watch it by, memory of a set size for all that the job may write outside of its work directory, the image's
//! layers below one of that memory, and the network, which is a loopback device. And the layers below one that is unpacked.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use crate::job::{LAYERS_MAX, Layers, PROXY_PORT, Root};
use crate::level::Step;
use crate::message::{Failing, Failure, Order};
use crate::tree::open_directory;

/// Where it is made: a directory of every machine, of which no job may name a path.
pub(super) const MADE: &str = "/sys";

/// And below it the work directory.
pub(super) const WORK_THERE: &str = "/sys/work";

/// And what the job sees of the machine or of an image: see [`seen`].
const SEEN_THERE: &str = "/sys/seen";

/// Directories of it, with their modes.
const DIRECTORIES: [(&str, u32); 7] = [
    ("work", 0o755),
    ("seen", 0o755),
    ("tmp", 0o1777),
    ("shm", 0o1777),
    ("root", 0o755),
    ("upper", 0o755),
    ("overlay", 0o755),
];

/// What the job sees besides its work directory and what is bound: the toolchain's paths, or the folder of the image's
/// layers.
pub(super) fn seen(order: &Order) -> Vec<&Path> {
    match &order.root {
        Root::Image(image) => vec![&image.folder],
        Root::Toolchain(toolchain) => {
            toolchain.entries.iter().filter(|it| it.link.is_none()).map(|it| it.path.as_path()).collect()
        }
    }
}

/// Where the one with this number is in the job's surroundings.
pub(super) fn seen_there(number: usize) -> String {
    format!("{SEEN_THERE}/{number}")
}

/// Where all that is to be found for the user that jobs run as.
pub(super) struct Sources {
    /// Of a layer that is unpacked, the folder of it and those below.
    pub work: PathBuf,
    pub seen: Vec<PathBuf>,
}

impl Sources {
    /// Where it is on the machine.
    pub(super) fn own(order: &Order) -> Self {
        Self { work: order.work.clone(), seen: seen(order).into_iter().map(Path::to_owned).collect() }
    }

    /// In mounts that the host's user makes, because the one that jobs run as may not go through the directories above: those
    /// of a data directory, or of a home with a toolchain. None where mounts cannot be made, or something is not there.
    pub(super) fn reached(&self) -> Option<Self> {
        super::system::unshare(UnshareFlags::NEWNS).ok()?;
        private().ok()?;
        let files = open_all(self).ok()?;
        // It and the mounts below it are not to be seen in any case, and bubblewrap reads the list of all mounts for each of its own.
        let _ = unmount(MADE, UnmountFlags::DETACH);
        mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755").ok()?;
        for directory in [WORK_THERE, SEEN_THERE] {
            fs::create_dir(directory).ok()?;
            // Whatever the host's mask of modes is.
            fs::set_permissions(directory, Permissions::from_mode(0o755)).ok()?;
        }
        bind_all(&files).ok()?;
        let seen = (0..self.seen.len()).map(|number| PathBuf::from(seen_there(number))).collect();
        Some(Self { work: PathBuf::from(WORK_THERE), seen })
    }
}

/// The work directory first. Before the memory is put over where they may lie.
fn open_all(sources: &Sources) -> io::Result<Vec<OwnedFd>> {
    let work = open_directory(CWD, &sources.work)?;
    let open = |path: &PathBuf| rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let seen = sources.seen.iter().map(|path| open(path).map_err(io::Error::from));
    std::iter::once(Ok(work)).chain(seen).collect()
}

fn bind_all(files: &[OwnedFd]) -> io::Result<()> {
    mount_bind(by_file(&files[0]), WORK_THERE)?;
    for (number, file) in files[1..].iter().enumerate() {
        let there = seen_there(number);
        if FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory {
            fs::create_dir(&there)?;
        } else {
            fs::write(&there, [])?;
        }
        // With what is mounted below, which nobody else may uncover.
        mount_bind_recursive(by_file(file), there)?;
    }
    Ok(())
}

pub(super) fn private() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

pub(super) fn make(order: &Order, sources: &Sources) -> Result<(), Failure> {
    private().failing(Step::Mounts, "mounts of its own")?;
    let files = open_all(sources).failing(Step::Job, "the work directory, and what the job sees")?;
    let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", bare, None).failing(Step::Mounts, "mounting /proc")?;
    scratch(order, files.len()).failing(Step::Mounts, "memory for what it writes")?;
    bind_all(&files).failing(Step::Mounts, "the work directory, and what the job sees")?;
    if let Root::Image(image) = &order.root {
        let upper = "upperdir=/sys/upper,workdir=/sys/overlay";
        overlay(image, &files[1], upper, &made("root")).failing(Step::Overlay, "a layer over those of the image")?;
    }
    super::system::loopback_up().failing(Step::Other, "the loopback device")
}

fn made(name: &str) -> PathBuf {
    Path::new(MADE).join(name)
}

fn scratch(order: &Order, sources: usize) -> io::Result<()> {
    let limits = &order.limits;
    let own = DIRECTORIES.len() + LAYERS_MAX + sources;
    let entries = limits.scratch_entries_max.saturating_add(own as u64);
    let options = format!("mode=0755,size={},nr_inodes={entries}\0", limits.scratch_bytes_max);
    let options = CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
    mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)?;
    for (name, mode) in DIRECTORIES {
        fs::create_dir(made(name))?;
        fs::set_permissions(made(name), Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// Layers of a folder below one more, whose place the options say. Each is bound to a number first: so its name, whatever it has
/// in it, is in no options.
pub(super) fn overlay(layers: &Layers, folder: &OwnedFd, upper: &str, at: &Path) -> io::Result<()> {
    let mut lower = Vec::new();
    for (number, name) in layers.names.iter().enumerate() {
        let there = made("lower").join(number.to_string());
        fs::create_dir_all(&there)?;
        mount_bind(by_file(folder).join(name), &there)?;
        lower.push(format!("{}", there.display()));
    }
    let options = CString::new(format!("lowerdir={},{upper},userxattr", lower.join(":")))?;
    Ok(mount("overlay", at, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options)?)
}

pub(super) fn by_file(directory: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string())
}

/// In the job's network, whoever holds the socket.
pub(super) fn listen() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}
