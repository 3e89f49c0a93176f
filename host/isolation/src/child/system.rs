//! The system calls that no safe interface offers.

use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

pub(super) enum Forked {
    Child,
    Parent(Pid),
}

pub(super) fn fork() -> io::Result<Forked> {
    // SAFETY: this process has one thread (unshare has refused it otherwise), so that no lock is held in the child.
    match unsafe { libc::fork() } {
        0 => Ok(Forked::Child),
        pid => Pid::from_raw(pid).filter(|_| pid > 0).map(Forked::Parent).ok_or_else(io::Error::last_os_error),
    }
}

/// However the host was started: new files may be read by everybody, and a signal does what it does by default.
pub(super) fn as_usual() {
    rustix::process::umask(rustix::fs::Mode::WGRP | rustix::fs::Mode::WOTH);
    for signal in 1..=libc::SIGRTMAX() {
        // SAFETY: no function of this process is called. Those for which it cannot be set are refused.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}

/// Whether children of this process stay until they are waited for.
pub(super) fn wait_for_children(is_waited: bool) {
    // SAFETY: no function of this process is called.
    unsafe { libc::signal(libc::SIGCHLD, if is_waited { libc::SIG_DFL } else { libc::SIG_IGN }) };
}

pub(super) fn unshare(flags: UnshareFlags) -> io::Result<()> {
    // SAFETY: no flag is among them that unshares open files.
    Ok(unsafe { rustix::thread::unshare_unsafe(flags) }?)
}

/// What is mounted here and below gives no rights, has no devices, and may be read only where it is not writable; nothing that is mounted
/// below it later is passed on to where it was made.
pub(super) fn confine(mount: &OwnedFd, is_writable: bool) -> io::Result<()> {
    let read_only = if is_writable { 0 } else { libc::MOUNT_ATTR_RDONLY };
    set_attributes(mount, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | read_only)
}

/// A device stays one: it may be written to, and what it is called and when it was, not.
pub(super) fn confine_device(mount: &OwnedFd) -> io::Result<()> {
    set_attributes(mount, libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC | libc::MOUNT_ATTR_RDONLY)
}

fn set_attributes(mount: &OwnedFd, attr_set: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set, attr_clr: 0, propagation: libc::MS_SLAVE, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the kernel reads a structure of this size, and a name of its own.
    let done = unsafe {
        let attributes = &raw const attributes;
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            attributes,
            size_of_val(&*attributes),
        )
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Files that this process was left by mistake end here.
pub(super) fn close_at_exec_from(first: u32) {
    // SAFETY: it changes flags of files alone. Where the call is not there, nothing is left by mistake either.
    let _ = unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Kills every process that this one may signal, but for itself, at once: none of them can start another meanwhile.
pub(super) fn kill_all() {
    // SAFETY: a plain system call.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}

/// The CPU time of all children that were waited for, in microseconds, and the memory of the largest, in bytes.
pub(super) fn children() -> (u64, u64) {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the kernel fills the structure in, and zeros are one, too.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let micros = |time: libc::timeval| time.tv_sec.unsigned_abs() * 1_000_000 + time.tv_usec.unsigned_abs();
    (micros(usage.ru_utime) + micros(usage.ru_stime), usage.ru_maxrss.unsigned_abs() << 10)
}

/// Puts this thread, and what it becomes, under a filter. Without new privileges, which has to be so before.
pub(super) fn load_filter(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, whose length is that of the slice.
    match unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Sets up the loopback device, without which a program cannot even reach itself.
pub(super) fn loopback_up() -> io::Result<()> {
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)?;
    // SAFETY: zeros are such a structure.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(c"lo".to_bytes()) {
        *to = *from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    use std::os::fd::AsRawFd;
    // SAFETY: the structure is the one that the command reads.
    match unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
