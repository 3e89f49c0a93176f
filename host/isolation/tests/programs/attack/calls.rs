//! System calls that a job has no use for. Each is made so that it would do nothing but fail in another way where it is let
//! through.

use std::io;

use crate::{Got, Outcome, Refused, result};

/// By name: the number and the arguments.
const CALLS: &[(&str, libc::c_long, [libc::c_long; 5])] = &[
    ("mount", libc::SYS_mount, [0; 5]),
    ("umount", libc::SYS_umount2, [0; 5]),
    ("pivot_root", libc::SYS_pivot_root, [0; 5]),
    ("fsopen", libc::SYS_fsopen, [0; 5]),
    ("move_mount", libc::SYS_move_mount, [-1, 0, -1, 0, 0]),
    ("open_tree", libc::SYS_open_tree, [-1, 0, 0, 0, 0]),
    ("mount_setattr", libc::SYS_mount_setattr, [-1, 0, 0, 0, 0]),
    ("unshare", libc::SYS_unshare, [libc::CLONE_NEWUSER as libc::c_long, 0, 0, 0, 0]),
    ("setns", libc::SYS_setns, [-1, 0, 0, 0, 0]),
    // An address for a new stack without one for the parent's word: it would fail by that, or make a process that ends.
    ("clone", libc::SYS_clone, [(libc::CLONE_NEWUSER | libc::CLONE_FS | libc::SIGCHLD) as libc::c_long, 0, 0, 0, 0]),
    ("clone3", libc::SYS_clone3, [0; 5]),
    ("ptrace", libc::SYS_ptrace, [libc::PTRACE_ATTACH as libc::c_long, 1, 0, 0, 0]),
    ("process_vm_readv", libc::SYS_process_vm_readv, [1, 0, 0, 0, 0]),
    ("process_vm_writev", libc::SYS_process_vm_writev, [1, 0, 0, 0, 0]),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, [-1, 0, 0, 0, 0]),
    ("bpf", libc::SYS_bpf, [-1, 0, 0, 0, 0]),
    ("perf_event_open", libc::SYS_perf_event_open, [0; 5]),
    ("userfaultfd", libc::SYS_userfaultfd, [-1, 0, 0, 0, 0]),
    ("io_uring_setup", libc::SYS_io_uring_setup, [0; 5]),
    ("io_uring_enter", libc::SYS_io_uring_enter, [-1, 0, 0, 0, 0]),
    ("keyctl", libc::SYS_keyctl, [-1, 0, 0, 0, 0]),
    ("add_key", libc::SYS_add_key, [0; 5]),
    ("request_key", libc::SYS_request_key, [0; 5]),
    ("open_by_handle_at", libc::SYS_open_by_handle_at, [-1, 0, 0, 0, 0]),
    ("fanotify_init", libc::SYS_fanotify_init, [-1, 0, 0, 0, 0]),
    ("kexec_load", libc::SYS_kexec_load, [0; 5]),
    ("init_module", libc::SYS_init_module, [0; 5]),
    ("finit_module", libc::SYS_finit_module, [-1, 0, 0, 0, 0]),
    ("swapon", libc::SYS_swapon, [0; 5]),
    ("reboot", libc::SYS_reboot, [0; 5]),
    ("settimeofday", libc::SYS_settimeofday, [0; 5]),
    ("clock_settime", libc::SYS_clock_settime, [0; 5]),
    ("personality", libc::SYS_personality, [0x0000_0008, 0, 0, 0, 0]),
    ("TIOCSTI", libc::SYS_ioctl, [0, 0x5412, 0, 0, 0]),
    ("TIOCLINUX", libc::SYS_ioctl, [0, 0x541c, 0, 0, 0]),
    ("memfd_create", libc::SYS_memfd_create, [0; 5]),
    ("shmget, 1 GiB", libc::SYS_shmget, [libc::IPC_PRIVATE as libc::c_long, 1 << 30, 0o600, 0, 0]),
    ("semget, 32,000", libc::SYS_semget, [libc::IPC_PRIVATE as libc::c_long, 32_000, 0o600, 0, 0]),
    // getpid by the number that x32 has for it.
    #[cfg(target_arch = "x86_64")]
    ("x32", 0x4000_0000 + libc::SYS_getpid, [0; 5]),
];

pub fn call(name: &str) -> Option<Outcome> {
    #[cfg(target_arch = "x86_64")]
    if name == "i386" {
        return Some(outcome(i386_getpid()));
    }
    let (_, number, [a, b, c, d, e]) = CALLS.iter().find(|(it, ..)| *it == name)?;
    // SAFETY: with these arguments no call does anything to this process.
    Some(outcome(result(unsafe { libc::syscall(*number, *a, *b, *c, *d, *e) })))
}

/// Another error than a refusal comes from behind the filter.
fn outcome(called: io::Result<libc::c_long>) -> Outcome {
    match called {
        Ok(value) => Got(value.to_string()),
        Err(error) => match error.raw_os_error() {
            Some(libc::EPERM | libc::ENOSYS | libc::EACCES) => Refused(error.to_string()),
            // What is said of a segment or a set that is too large.
            Some(libc::EINVAL) if std::env::args().nth(1).is_some_and(|it| it.contains("get, ")) => {
                Refused(error.to_string())
            }
            _ => Got(format!("another error: {error}")),
        },
    }
}

/// By the gate of 32-bit programs.
#[cfg(target_arch = "x86_64")]
fn i386_getpid() -> io::Result<libc::c_long> {
    let value: i32;
    // SAFETY: getpid touches no memory; the gate may change these registers.
    unsafe {
        std::arch::asm!("int 0x80", inlateout("eax") 20 => value, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    if value < 0 { Err(io::Error::from_raw_os_error(-value)) } else { Ok(value.into()) }
}
