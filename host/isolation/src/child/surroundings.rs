//! What the warden makes around a job in its own mount and network namespaces, before bubblewrap: a `/proc` of the pid
//! namespace to watch it by, memory of a set size for all that the job may write outside of its work directory, the image's
//! root file system below a layer of that memory, and the network, which is a loopback device.

use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use crate::job::{PROXY_PORT, Root};
use crate::level::Step;
use crate::message::{Failing, Failure, Order};
use crate::tree::open_directory;

/// Where it is made: a directory of every machine, of which no job may name a path.
pub(super) const MADE: &str = "/sys";

/// And below it the work directory.
pub(super) const WORK_THERE: &str = "/sys/work";

/// Directories of it, with their modes.
const DIRECTORIES: [(&str, u32); 7] = [
    ("work", 0o755),
    ("tmp", 0o1777),
    ("shm", 0o1777),
    ("root", 0o755),
    ("lower", 0o755),
    ("upper", 0o755),
    ("overlay", 0o755),
];

/// Where the work directory can be found by the user that jobs run as, which may not go through the directories above it: a
/// mount that the host's user makes. None where it may not make one; then it is to be found where it is, or not at all.
pub(super) fn reach(work: &Path) -> Option<PathBuf> {
    super::system::unshare(UnshareFlags::NEWNS).ok()?;
    private().and_then(|()| mount_bind(work, MADE)).ok()?;
    Some(PathBuf::from(MADE))
}

fn private() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

pub(super) fn make(order: &Order, work: &Path) -> Result<(), Failure> {
    private().failing(Step::Mounts, "mounts of its own")?;
    // It may lie where the memory is put over it.
    let work = open_directory(CWD, work).failing(Step::Job, "the work directory")?;
    let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", bare, None).failing(Step::Mounts, "mounting /proc")?;
    scratch(order).failing(Step::Mounts, "memory for what it writes")?;
    let by_file = format!("/proc/self/fd/{}", work.as_raw_fd());
    mount_bind(by_file, WORK_THERE).failing(Step::Mounts, "the work directory")?;
    if let Root::Image(image) = &order.root {
        overlay(image).failing(Step::Overlay, &format!("a layer over the image {}", image.display()))?;
    }
    super::system::loopback_up().failing(Step::Other, "the loopback device")
}

fn scratch(order: &Order) -> io::Result<()> {
    let limits = &order.limits;
    let entries = limits.scratch_entries_max.saturating_add(DIRECTORIES.len() as u64);
    let options = format!("mode=0755,size={},nr_inodes={entries}\0", limits.scratch_bytes_max);
    let options = std::ffi::CStr::from_bytes_with_nul(options.as_bytes()).map_err(io::Error::other)?;
    mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, options)?;
    let made = Path::new(MADE);
    for (name, mode) in DIRECTORIES {
        fs::create_dir(made.join(name))?;
        fs::set_permissions(made.join(name), Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// The image's directory is bound first: so its name, whatever it has in it, is in no options.
fn overlay(image: &Path) -> io::Result<()> {
    mount_bind(image, format!("{MADE}/lower"))?;
    let options = c"lowerdir=/sys/lower,upperdir=/sys/upper,workdir=/sys/overlay,userxattr";
    Ok(mount("overlay", format!("{MADE}/root"), "overlay", MountFlags::NOSUID | MountFlags::NODEV, options)?)
}

/// In the job's network, whoever holds the socket.
pub(super) fn listen() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}
