//! What the warden makes around a job in its own mount and network namespaces, before bubblewrap: a `/proc` of the pid
//! namespace to watch it by, memory of a set size for all that the job may write outside of its work directory, the image's
//! layers below one of that memory, and the network, which is a loopback device. And the layers below one that is unpacked.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_bind, mount_change};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use crate::job::{LAYERS_MAX, Layers, PROXY_PORT, Root};
use crate::level::Step;
use crate::message::{Failing, Failure, Order};
use crate::tree::{find_directory, open_directory};

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

/// Where the user that jobs run as finds directories, who may not go through those above them: mounts that the host's user makes.
/// Where that one may not make any, they are to be found where they are, or not at all.
pub(super) fn reach<const N: usize>(directories: [&Path; N]) -> [PathBuf; N] {
    let there: [PathBuf; N] = std::array::from_fn(|at| Path::new(MADE).join(at.to_string()));
    let mounted = || {
        super::system::unshare(UnshareFlags::NEWNS)?;
        private()?;
        mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=4k,nr_inodes=8")?;
        for (directory, there) in directories.iter().zip(&there) {
            fs::create_dir(there)?;
            fs::set_permissions(there, Permissions::from_mode(0o755))?;
            mount_bind(*directory, there)?;
        }
        io::Result::Ok(())
    };
    if mounted().is_ok() { there } else { directories.map(Path::to_owned) }
}

pub(super) fn private() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
}

/// `work` and `layers` are where the order's directories are to be found.
pub(super) fn make(order: &Order, work: &Path, layers: &Path) -> Result<(), Failure> {
    private().failing(Step::Mounts, "mounts of its own")?;
    // They may lie where the memory is put over them.
    let work = open_directory(CWD, work).failing(Step::Job, "the work directory")?;
    let image = match &order.root {
        Root::Image(image) => Some((image, find_directory(CWD, layers).failing(Step::Job, "the image's layers")?)),
        Root::Toolchain(_) => None,
    };
    let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", bare, None).failing(Step::Mounts, "mounting /proc")?;
    scratch(order).failing(Step::Mounts, "memory for what it writes")?;
    mount_bind(by_file(&work), WORK_THERE).failing(Step::Mounts, "the work directory")?;
    if let Some((image, folder)) = image {
        let upper = "upperdir=/sys/upper,workdir=/sys/overlay";
        overlay(image, &folder, upper, &made("root")).failing(Step::Overlay, "a layer over those of the image")?;
    }
    super::system::loopback_up().failing(Step::Other, "the loopback device")
}

fn made(name: &str) -> PathBuf {
    Path::new(MADE).join(name)
}

fn scratch(order: &Order) -> io::Result<()> {
    let limits = &order.limits;
    let entries = limits.scratch_entries_max.saturating_add((DIRECTORIES.len() + LAYERS_MAX) as u64);
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
