//! What the warden makes around a job in its own mount and network namespaces, before bubblewrap: a `/proc` of the pid
//! namespace to watch it by, memory of a set size for all that the job may write outside of its work directory, the image's
//! layers below one of that memory, and the network, which is a loopback device. And the layers below one that is unpacked.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType};
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change, unmount,
};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use crate::job::{LAYERS_MAX, Layers, PROXY_PORT, Root};
use crate::level::Step;
use crate::message::{Failing, Failure, Order};
use crate::mounts;
use crate::tree::open_directory;

/// Where it is made: a directory of every machine, of which no job may name a path.
pub(super) const MADE: &str = "/sys";

/// And below it the work directory.
pub(super) const WORK_THERE: &str = "/sys/work";

/// And what the job sees of the machine or of an image: see [`Root::seen`].
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

/// Where the one with this number is in the job's surroundings.
pub(super) fn seen_there(number: usize) -> String {
    format!("{SEEN_THERE}/{number}")
}

/// Before the order is there. Bubblewrap reads the list of all mounts for each of its own; this one, and those below it, no job sees.
/// Where the host may not, the list is longer.
pub(super) fn shorten() {
    if super::system::unshare(UnshareFlags::NEWNS).is_ok() && downstream().is_ok() {
        let _ = unmount(MADE, UnmountFlags::DETACH);
    }
}

/// The same, in the warden's namespaces.
pub(super) fn prepare() -> Result<(), Failure> {
    downstream().failing(Step::Mounts, "mounts of its own")?;
    let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", bare, None).failing(Step::Mounts, "mounting /proc")?;
    super::system::loopback_up().failing(Step::Other, "the loopback device")
}

/// What is mounted from now on is this namespace's own. What the host mounts and takes away meanwhile comes and goes here, too: a
/// keeper that waits holds nothing.
pub(super) fn downstream() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

/// Of mounts that the host has handed over, or of what this user finds by its name. The work directory is the first of either.
pub(super) fn make(order: &Order, handed: Vec<OwnedFd>) -> Result<(), Failure> {
    let is_handed = !handed.is_empty();
    // Before the memory is put over where they may lie.
    let files = if is_handed { handed } else { find(order)? };
    scratch(order, files.len()).failing(Step::Mounts, "memory for what it writes")?;
    let lay = if is_handed { mounts::attach } else { bind };
    lay_all(&files, lay).failing(Step::Mounts, "the work directory, and what the job sees")?;
    if let Root::Image(image) = &order.root {
        let (layers, upper) = (PathBuf::from(seen_there(0)), "upperdir=/sys/upper,workdir=/sys/overlay");
        for name in &image.names {
            layers.join(name).metadata().failing(Step::Job, &image.folder.join(name).display().to_string())?;
        }
        overlay(image, &layers, upper, &made("root")).failing(Step::Overlay, "a layer over those of the image")?;
    }
    Ok(())
}

fn find(order: &Order) -> Result<Vec<OwnedFd>, Failure> {
    let named = |path: &Path| path.display().to_string();
    let work = open_directory(CWD, &order.work).failing(Step::Job, &named(&order.work));
    let seen = order.root.seen().into_iter().map(|path| mounts::open(path).failing(Step::Job, &named(path)));
    std::iter::once(work).chain(seen).collect()
}

fn lay_all(files: &[OwnedFd], lay: fn(&OwnedFd, &Path) -> rustix::io::Result<()>) -> io::Result<()> {
    lay(&files[0], Path::new(WORK_THERE))?;
    for (number, file) in files[1..].iter().enumerate() {
        let there = seen_there(number);
        if FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::Directory {
            fs::create_dir(&there)?;
        } else {
            fs::write(&there, [])?;
        }
        lay(file, Path::new(&there))?;
    }
    Ok(())
}

/// With what is mounted below, which nobody else may uncover.
pub(super) fn bind(file: &OwnedFd, at: &Path) -> rustix::io::Result<()> {
    mount_bind_recursive(by_file(file), at)
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
pub(super) fn overlay(layers: &Layers, folder: &Path, upper: &str, at: &Path) -> io::Result<()> {
    let mut lower = Vec::new();
    for (number, name) in layers.names.iter().enumerate() {
        let there = made("lower").join(number.to_string());
        fs::create_dir_all(&there)?;
        mount_bind(folder.join(name), &there)?;
        lower.push(format!("{}", there.display()));
    }
    let options = CString::new(format!("lowerdir={},{upper},userxattr", lower.join(":")))?;
    Ok(mount("overlay", at, "overlay", MountFlags::NOSUID | MountFlags::NODEV, &*options)?)
}

fn by_file(directory: &OwnedFd) -> PathBuf {
    Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string())
}

/// In the job's network, whoever holds the socket.
pub(super) fn listen() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::bind(&socket, &SocketAddrV4::new(std::net::Ipv4Addr::LOCALHOST, PROXY_PORT))?;
    rustix::net::listen(&socket, 128)?;
    Ok(socket)
}
