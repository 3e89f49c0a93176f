//! What the warden makes around a job in its own mount and network namespaces, before bubblewrap: a `/proc` of the pid
//! namespace to watch it by, memory of a set size for all that the job may write outside of its work directory, the root that the
//! job sees, of what the operator named or of the image's layers below one of that memory, devices, and the network, which is a
//! loopback device. And the layers below one that is unpacked.

use std::ffi::{CString, OsStr};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, mkdirat, openat, statvfs, symlinkat};
use rustix::io::Errno;
use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, mount_change,
    mount_remount, unmount,
};
use rustix::net::{AddressFamily, SocketAddrV4, SocketFlags, SocketType};
use rustix::thread::UnshareFlags;

use super::system;
use crate::job::{FILES, Layers, PROXY_PORT, Root};
use crate::level::Step;
use crate::limits::Limits;
use crate::message::{Failing, Failure, Ground, number};
use crate::mounts;
use crate::toolchain::Toolchain;
use crate::tree::open_in_root;

/// Where it is made: a directory of every machine, of which no job may name a path.
pub(super) const MADE: &str = "/sys";

/// And below it what the job sees as its root, where it may be written to and where not.
pub(super) const ROOT: &str = "/sys/root";

/// And the folder of an image's layers.
const LAYERS: &str = "/sys/layers";

/// Directories of it, with their modes.
const DIRECTORIES: [(&str, u32); 7] = [
    ("root", 0o755),
    ("tmp", 0o1777),
    ("shm", 0o1777),
    ("dev", 0o755),
    ("layers", 0o755),
    ("upper", 0o755),
    ("overlay", 0o755),
];

/// Directories of the root that are the job's own, whatever that is.
const OWN: [&str; 4] = ["proc", "dev", "tmp", "work"];

/// What every program takes for granted.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const DEVICE_LINKS: [(&str, &str); 6] = [
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("fd", "/proc/self/fd"),
    ("core", "/proc/kcore"),
    ("ptmx", "pts/ptmx"),
];

/// Files of the job's `/etc`, where it has no image's. Its user is 1000, for programs that ask who they are.
const ETC: [(&str, &str); 4] = [
    (
        "passwd",
        "root:x:0:0:root:/root:/bin/sh\njob:x:1000:1000:job:/work:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n",
    ),
    ("group", "root:x:0:\njob:x:1000:\nnogroup:x:65534:\n"),
    ("hosts", "127.0.0.1 localhost job\n::1 localhost job\n"),
    ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
];

/// Room for what is made there before a job, and for what its order brings.
const OWN_BYTES_MAX: u64 = 64 << 20;
const OWN_ENTRIES_MAX: u64 = 64 << 10;

/// Before the order is there. Bubblewrap reads the list of all mounts for each of its own; this one, and those below it, no job sees.
/// Where the host may not, the list is longer.
pub(super) fn shorten() {
    if system::unshare(UnshareFlags::NEWNS).is_ok() && downstream().is_ok() {
        let _ = unmount(MADE, UnmountFlags::DETACH);
    }
}

/// The same, in the warden's namespaces.
pub(super) fn prepare() -> Result<(), Failure> {
    downstream().failing(Step::Mounts, "mounts of its own")?;
    let bare = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", bare, None).failing(Step::Mounts, "mounting /proc")?;
    system::loopback_up().failing(Step::Other, "the loopback device")
}

/// What is mounted from now on is this namespace's own. What the host mounts and takes away meanwhile comes and goes here, too: a
/// keeper that waits holds nothing.
pub(super) fn downstream() -> rustix::io::Result<()> {
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

/// Of mounts that the host has handed over, or of what this user finds by its name.
pub(super) fn lay(ground: &Ground, handed: Vec<OwnedFd>) -> Result<(), Failure> {
    // Before the memory is put over where they may lie.
    let find = |path: &Path| mounts::seen(path).failing(Step::Job, &path.display().to_string());
    let found = || ground.root.seen().into_iter().map(find).collect::<Result<Vec<_>, _>>();
    let seen = if handed.is_empty() { found()? } else { handed };
    scratch().failing(Step::Mounts, "memory for what it writes")?;
    devices().failing(Step::Mounts, "devices")?;
    match &ground.root {
        Root::Toolchain(toolchain) => lay_toolchain(toolchain, &seen)?,
        Root::Image(image) => lay_image(image, &seen)?,
    }
    // From now on it is held, so that its number is nothing else's.
    let laid: Vec<_> = match &ground.root {
        Root::Toolchain(_) => seen.iter().map(|mount| fstat(mount).ok().map(|it| (it.st_dev, it.st_ino))).collect(),
        Root::Image(image) => image.names.iter().map(|name| number(&Path::new(LAYERS).join(name))).collect(),
    };
    let is_as_it_was = laid.iter().zip(&ground.found).all(|(laid, found)| found.is_none() || laid == found);
    let replaced = || io::Error::other("it was replaced meanwhile: run it again");
    is_as_it_was.then_some(()).ok_or_else(replaced).failing(Step::Job, "what the job sees")
}

fn lay_toolchain(toolchain: &Toolchain, seen: &[OwnedFd]) -> Result<(), Failure> {
    let mut seen = seen.iter();
    for entry in &toolchain.entries {
        let laid = match (&entry.link, seen.as_slice().first()) {
            (Some(link), _) => place_link(link, &entry.path),
            (None, Some(mount)) => {
                seen.next();
                system::confine(mount, false).and_then(|()| Ok(mounts::attach_over(mount, place(mount, &entry.path)?)?))
            }
            (None, None) => Err(io::Error::other("it was not handed over")),
        };
        laid.failing(Step::Mounts, &entry.path.display().to_string())?;
    }
    let own = OWN.iter().chain(&["etc"]).try_for_each(|name| fs::create_dir_all(Path::new(ROOT).join(name)));
    let etc = |(name, text): &(&str, &str)| {
        File::create_new(Path::new(ROOT).join("etc").join(name))?.write_all(text.as_bytes())
    };
    own.and_then(|()| ETC.iter().try_for_each(etc)).failing(Step::Other, "files of /etc")
}

fn lay_image(image: &Layers, seen: &[OwnedFd]) -> Result<(), Failure> {
    let (layers, upper) = (Path::new(LAYERS), "upperdir=/sys/upper,workdir=/sys/overlay");
    let folder = seen.first().map_or(Err(Errno::NOENT), |mount| mounts::attach(mount, layers));
    folder.failing(Step::Mounts, "the image's layers")?;
    for name in &image.names {
        layers.join(name).metadata().failing(Step::Job, &image.folder.join(name).display().to_string())?;
    }
    overlay(image, layers, upper, Path::new(ROOT)).failing(Step::Overlay, "a layer over those of the image")?;
    for name in OWN {
        own_directory(&Path::new(ROOT).join(name)).failing(Step::Overlay, name)?;
    }
    Ok(())
}

/// A directory, in the place of a link or file that the image has there: it would lead to another place of the job's, or nowhere.
fn own_directory(path: &Path) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => fs::remove_file(path)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    fs::create_dir(path)
}

/// Where a path is for the job, whatever links lead there: a directory, or a file, as what is to be there is. Made where it is not.
pub(super) fn place(mount: &OwnedFd, path: &Path) -> io::Result<OwnedFd> {
    let is_directory = FileType::from_raw_mode(rustix::fs::fstat(mount)?.st_mode) == FileType::Directory;
    let (above, last) = above(path)?;
    match in_root(path) {
        Err(Errno::NOENT) if is_directory => mkdirat(&above, last, Mode::from_raw_mode(0o755))?,
        Err(Errno::NOENT) => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            drop(openat(&above, last, flags, Mode::from_raw_mode(0o444))?);
        }
        found => return Ok(found?),
    }
    Ok(in_root(path)?)
}

fn place_link(link: &Path, path: &Path) -> io::Result<()> {
    let (above, last) = above(path)?;
    Ok(symlinkat(link, &above, last)?)
}

/// The directory that a path is in, made where it is not, and its name there.
fn above(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let (parent, last) = (path.parent().unwrap_or(path), path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    let mut directory = in_root(Path::new("/"))?;
    for part in parent.ancestors().collect::<Vec<_>>().into_iter().rev().skip(1) {
        directory = match in_root(part) {
            Err(Errno::NOENT) => {
                mkdirat(&directory, part.file_name().unwrap_or_default(), Mode::from_raw_mode(0o755))?;
                in_root(part)?
            }
            found => found?,
        };
    }
    Ok((directory, last))
}

fn in_root(path: &Path) -> rustix::io::Result<OwnedFd> {
    let root = openat(CWD, ROOT, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    open_in_root(root, path, OFlags::PATH, ResolveFlags::empty())
}

fn devices() -> io::Result<()> {
    let there = made("dev");
    for name in DEVICES {
        File::create_new(there.join(name))?;
        mount_bind(Path::new("/dev").join(name), there.join(name))?;
        system::confine_device(&openat(CWD, there.join(name), OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)?;
    }
    for (name, link) in DEVICE_LINKS {
        std::os::unix::fs::symlink(link, there.join(name))?;
    }
    for name in ["pts", "shm"] {
        fs::create_dir(there.join(name))?;
    }
    mount_bind(made("shm"), there.join("shm"))?;
    let options = c"newinstance,ptmxmode=0666,mode=620";
    Ok(mount("devpts", there.join("pts"), "devpts", MountFlags::NOSUID | MountFlags::NOEXEC, options)?)
}

/// The job's files that nobody else is to read.
pub(super) fn files(files: &[(String, String)]) -> io::Result<()> {
    let there = made("dev").join(Path::new(FILES).file_name().unwrap_or_default());
    if !files.is_empty() {
        fs::create_dir(&there)?;
    }
    for (name, text) in files {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o400).open(there.join(name))?;
        file.write_all(text.as_bytes())?;
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

fn scratch() -> io::Result<()> {
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("tmpfs", MADE, "tmpfs", flags, &*sizes(OWN_BYTES_MAX, OWN_ENTRIES_MAX)?)?;
    for (name, mode) in DIRECTORIES {
        fs::create_dir(made(name))?;
        fs::set_permissions(made(name), Permissions::from_mode(mode))?;
    }
    Ok(())
}

/// What a job may write to it, besides what is there.
pub(super) fn bound_scratch(limits: &Limits) -> io::Result<()> {
    let own = statvfs(MADE)?;
    let bytes = limits.scratch_bytes_max.saturating_add((own.f_blocks - own.f_bfree).saturating_mul(own.f_frsize));
    let entries = limits.scratch_entries_max.saturating_add(own.f_files - own.f_ffree);
    Ok(mount_remount(MADE, MountFlags::NOSUID | MountFlags::NODEV, &*sizes(bytes, entries)?)?)
}

fn sizes(bytes: u64, entries: u64) -> io::Result<CString> {
    Ok(CString::new(format!("mode=0755,size={bytes},nr_inodes={entries}"))?)
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
