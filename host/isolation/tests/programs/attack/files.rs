//! Files that are not the job's.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use crate::{Deed, Got, Outcome, Refused, any, result};

pub const DEEDS: &[Deed] = &[
    ("read", read),
    ("write", write),
    ("devices", devices),
    ("open-devices", open_devices),
    ("left-open", left_open),
    ("privileges", privileges),
    ("set-user-id", set_user_id),
    ("kernel-files", kernel_files),
    ("links-out", links_out),
    ("metadata", metadata),
    ("touch", touch),
];

fn read(paths: &[String]) -> Outcome {
    any(paths.iter().map(|path| {
        (path.clone(), fs::read(path).map(drop).or_else(|error| fs::read_dir(path).map(drop).map_err(|_| error)))
    }))
}

/// Makes a file in each, or writes to it.
fn write(paths: &[String]) -> Outcome {
    any(paths.iter().map(|path| {
        let path = if Path::new(path).is_dir() { format!("{path}/planted") } else { path.clone() };
        (path.clone(), OpenOptions::new().create(true).append(true).open(path).map(drop))
    }))
}

fn node(path: &str, kind: libc::mode_t, device: libc::dev_t) -> io::Result<()> {
    let path = std::ffi::CString::new(path)?;
    // SAFETY: the path is a text that ends.
    result(unsafe { libc::mknod(path.as_ptr(), kind | 0o666, device) }.into()).map(drop)
}

fn devices(_: &[String]) -> Outcome {
    any([
        ("a disk", libc::S_IFBLK, libc::makedev(254, 0)),
        ("memory", libc::S_IFCHR, libc::makedev(1, 1)),
        ("null", libc::S_IFCHR, libc::makedev(1, 3)),
    ]
    .map(|(name, kind, device)| (name.to_owned(), node(name, kind, device))))
}

fn open_devices(_: &[String]) -> Outcome {
    let known = [
        "/dev/mem",
        "/dev/kmem",
        "/dev/port",
        "/dev/kmsg",
        "/dev/vda",
        "/dev/sda",
        "/dev/kvm",
        "/dev/fuse",
        "/dev/loop0",
    ];
    any(known.map(|path| (path.to_owned(), OpenOptions::new().read(true).open(path).map(drop))))
}

/// Files that were left open by whoever started the job.
fn left_open(_: &[String]) -> Outcome {
    let open = (3..1_024).filter(|file| {
        // SAFETY: it asks for a flag.
        unsafe { libc::fcntl(*file, libc::F_GETFD) != -1 }
    });
    match open.collect::<Vec<i32>>() {
        none if none.is_empty() => Refused("no file is open but the standard ones".to_owned()),
        some => Got(format!("{some:?}")),
    }
}

/// Capabilities, and whether programs could give some.
fn privileges(_: &[String]) -> Outcome {
    // SAFETY: plain system calls, with an invalid identifier of a user in the last.
    let (root, no_new, dropped) = unsafe {
        let dropped = (0..41).all(|capability| libc::prctl(libc::PR_CAPBSET_READ, capability, 0, 0, 0) != 1);
        (libc::setuid(0), libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0), dropped)
    };
    // Of this process, by the version of the call with two times 32 bits.
    let (mut header, mut sets) = ([0x2008_0522_u32, 0], [0_u32; 6]);
    // SAFETY: both are as long as this version says.
    let asked = unsafe { libc::syscall(libc::SYS_capget, header.as_mut_ptr(), sets.as_mut_ptr()) };
    if root == 0 || no_new != 1 || asked != 0 || sets != [0; 6] {
        return Got(format!("setuid(0): {root}, no new privileges: {no_new}, capabilities: {sets:x?}"));
    }
    Refused(format!("no new privileges, and the bounding set is empty: {dropped}"))
}

/// A copy of this program that would run as its owner.
fn set_user_id(_: &[String]) -> Outcome {
    let own = fs::metadata(".").map(|it| it.uid());
    let made = fs::copy(std::env::args().next().expect("a name"), "set-user-id")
        .and_then(|_| fs::set_permissions("set-user-id", fs::Permissions::from_mode(0o6755)));
    if let Err(error) = made {
        return Refused(error.to_string());
    }
    // The directory is closed to all others, so that nobody is there to run it.
    let closed = fs::metadata(".").is_ok_and(|it| it.permissions().mode() & 0o077 == 0);
    if closed {
        Refused(format!("nobody else comes into the directory of {own:?}"))
    } else {
        Got("a program for others".to_owned())
    }
}

fn kernel_files(_: &[String]) -> Outcome {
    let files = [
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/modprobe",
        "/proc/sysrq-trigger",
        "/sys/kernel/uevent_helper",
        "/sys/fs/cgroup/cgroup.procs",
        "/sys/fs/cgroup/memory/release_agent",
    ];
    any(files.map(|path| (path.to_owned(), OpenOptions::new().write(true).open(path).map(drop))))
}

/// Links and FIFOs for whoever collects what the job leaves; a hard link to a file of the machine.
fn links_out(paths: &[String]) -> Outcome {
    let tries = paths.iter().map(|path| {
        let name = Path::new(path).file_name().unwrap_or_default();
        let linked = fs::hard_link(path, name).or_else(|_| {
            let at = std::ffi::CString::new(name.as_bytes())?;
            let from = std::ffi::CString::new(path.as_bytes())?;
            let (now, follow) = (libc::AT_FDCWD, libc::AT_SYMLINK_FOLLOW);
            // SAFETY: both are texts that end.
            result(unsafe { libc::linkat(now, from.as_ptr(), now, at.as_ptr(), follow) }.into()).map(drop)
        });
        (path.clone(), linked)
    });
    let outcome = any(tries);
    // Those that only are names of something else may be there.
    for path in paths {
        let _ = symlink(path, format!("link-{}", path.len()));
    }
    let _ = node("fifo", libc::S_IFIFO, 0);
    outcome
}

fn metadata(paths: &[String]) -> Outcome {
    let time = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
    let tries = paths.iter().flat_map(|path| {
        let id = fs::metadata(".").map_or(0, |it| it.uid());
        [
            (format!("mode of {path}"), fs::set_permissions(path, fs::Permissions::from_mode(0o777))),
            (format!("owner of {path}"), std::os::unix::fs::chown(path, Some(id), None)),
            (format!("times of {path}"), OpenOptions::new().read(true).open(path).and_then(|it| it.set_times(time))),
        ]
    });
    any(tries)
}

/// For this it is enough that everybody may write to it.
fn touch(paths: &[String]) -> Outcome {
    any(paths.iter().map(|path| {
        let text = std::ffi::CString::new(path.as_bytes()).expect("a path");
        // SAFETY: the path is a text that ends, and no times mean now.
        let touched = unsafe { libc::utimensat(libc::AT_FDCWD, text.as_ptr(), std::ptr::null(), 0) };
        (path.clone(), result(touched.into()).map(drop))
    }))
}
