//! The filter of system calls that every job runs under, and the one of a process that only computes, as programs for the
//! kernel's classic BPF.
//!
//! It refuses what widens the kernel's attack surface or goes around the namespaces and limits; what needs a capability is
//! refused by the kernel already, and mostly here again. System calls of the machine's other ABIs (i386, x32, 32-bit ARM) are
//! refused as a whole, for their numbers mean other calls.

use libc::{BPF_ABS, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W};
use libc::{EACCES, EAFNOSUPPORT, EINVAL, ENOSYS, EPERM, EPROTONOSUPPORT};
use libc::{c_long, sock_filter};

use crate::level::Level;

/// When a call is refused, by its arguments. Those that the kernel reads as 32 bits are compared as such.
#[derive(Clone, Copy)]
enum When {
    Always,
    /// The argument has any of these bits.
    Bits(u32, u32),
    /// The argument has none of these bits.
    NoBits(u32, u32),
    In(u32, &'static [u32]),
    NotIn(u32, &'static [u32]),
    /// The argument, of 64 bits, is more than this.
    Over(u32, u32),
}
use When::{Always, Bits, In, NoBits, NotIn, Over};

/// A call's number, and each reason to refuse it with the error that it gets.
type Rule = (c_long, &'static [(When, i32)]);

const NEW_NAMESPACES: u32 = (libc::CLONE_NEWNS
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUSER
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET) as u32;

/// Randomised addresses can be switched off, as debuggers and sanitizers do, and the present state be asked for.
const PERSONALITIES: &[u32] = &[0, 0x0004_0000, 0xffff_ffff];
/// Commands that type into a terminal: TIOCSTI and TIOCLINUX.
const TERMINAL_INPUT: &[u32] = &[0x5412, 0x541c];
const FAMILIES: &[u32] = &[libc::AF_UNIX as u32, libc::AF_INET as u32, libc::AF_INET6 as u32, libc::AF_NETLINK as u32];
/// The usual one of the family, TCP and UDP. Of netlink that is the family of routes, which lists addresses.
const PROTOCOLS: &[u32] = &[0, libc::IPPROTO_TCP as u32, libc::IPPROTO_UDP as u32];
/// The sizes of SysV segments and semaphore sets that are let through: no process's memory counts them, and there can be thousands.
const SEGMENT_BYTES_MAX: u32 = 64 << 10;
const SEMAPHORES_MAX: u32 = 32;

const EVERYWHERE: &[Rule] = &[
    // Programs fall back on what came before: clone, whose flags can be read here, and files in /tmp.
    (libc::SYS_clone3, &[(Always, ENOSYS)]),
    (libc::SYS_memfd_create, &[(Always, ENOSYS)]),
    (libc::SYS_memfd_secret, &[(Always, ENOSYS)]),
    (libc::SYS_clone, &[(Bits(0, NEW_NAMESPACES), EPERM)]),
    (libc::SYS_unshare, &[(Always, EPERM)]),
    (libc::SYS_setns, &[(Always, EPERM)]),
    (libc::SYS_mount, &[(Always, EPERM)]),
    (libc::SYS_umount2, &[(Always, EPERM)]),
    (libc::SYS_pivot_root, &[(Always, EPERM)]),
    (libc::SYS_chroot, &[(Always, EPERM)]),
    (libc::SYS_fsopen, &[(Always, EPERM)]),
    (libc::SYS_fsconfig, &[(Always, EPERM)]),
    (libc::SYS_fsmount, &[(Always, EPERM)]),
    (libc::SYS_fspick, &[(Always, EPERM)]),
    (libc::SYS_move_mount, &[(Always, EPERM)]),
    (libc::SYS_open_tree, &[(Always, EPERM)]),
    // open_tree_attr, of Linux 6.15, by one number everywhere.
    (467, &[(Always, EPERM)]),
    (libc::SYS_mount_setattr, &[(Always, EPERM)]),
    (libc::SYS_ptrace, &[(Always, EPERM)]),
    (libc::SYS_process_vm_readv, &[(Always, EPERM)]),
    (libc::SYS_process_vm_writev, &[(Always, EPERM)]),
    (libc::SYS_process_madvise, &[(Always, EPERM)]),
    (libc::SYS_pidfd_getfd, &[(Always, EPERM)]),
    (libc::SYS_kcmp, &[(Always, EPERM)]),
    (libc::SYS_bpf, &[(Always, EPERM)]),
    (libc::SYS_perf_event_open, &[(Always, EPERM)]),
    (libc::SYS_userfaultfd, &[(Always, EPERM)]),
    (libc::SYS_io_uring_setup, &[(Always, ENOSYS)]),
    (libc::SYS_io_uring_enter, &[(Always, ENOSYS)]),
    (libc::SYS_io_uring_register, &[(Always, ENOSYS)]),
    (libc::SYS_fanotify_init, &[(Always, EPERM)]),
    (libc::SYS_keyctl, &[(Always, EPERM)]),
    (libc::SYS_add_key, &[(Always, EPERM)]),
    (libc::SYS_request_key, &[(Always, EPERM)]),
    (libc::SYS_kexec_load, &[(Always, EPERM)]),
    (libc::SYS_kexec_file_load, &[(Always, EPERM)]),
    (libc::SYS_init_module, &[(Always, EPERM)]),
    (libc::SYS_finit_module, &[(Always, EPERM)]),
    (libc::SYS_delete_module, &[(Always, EPERM)]),
    (libc::SYS_open_by_handle_at, &[(Always, EPERM)]),
    (libc::SYS_swapon, &[(Always, EPERM)]),
    (libc::SYS_swapoff, &[(Always, EPERM)]),
    (libc::SYS_reboot, &[(Always, EPERM)]),
    (libc::SYS_acct, &[(Always, EPERM)]),
    (libc::SYS_quotactl, &[(Always, EPERM)]),
    (libc::SYS_quotactl_fd, &[(Always, EPERM)]),
    (libc::SYS_syslog, &[(Always, EPERM)]),
    (libc::SYS_vhangup, &[(Always, EPERM)]),
    (libc::SYS_sethostname, &[(Always, EPERM)]),
    (libc::SYS_setdomainname, &[(Always, EPERM)]),
    (libc::SYS_settimeofday, &[(Always, EPERM)]),
    (libc::SYS_clock_settime, &[(Always, EPERM)]),
    (libc::SYS_lookup_dcookie, &[(Always, EPERM)]),
    (libc::SYS_nfsservctl, &[(Always, EPERM)]),
    (libc::SYS_personality, &[(NotIn(0, PERSONALITIES), EPERM)]),
    (libc::SYS_ioctl, &[(In(1, TERMINAL_INPUT), EPERM)]),
    (libc::SYS_socket, &[(NotIn(0, FAMILIES), EAFNOSUPPORT), (NotIn(2, PROTOCOLS), EPROTONOSUPPORT)]),
    (libc::SYS_socketpair, &[(NotIn(0, &[libc::AF_UNIX as u32]), EAFNOSUPPORT)]),
    (libc::SYS_shmget, &[(Over(1, SEGMENT_BYTES_MAX), EINVAL)]),
    (libc::SYS_semget, &[(Over(1, SEMAPHORES_MAX), EINVAL)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_iopl, &[(Always, EPERM)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_ioperm, &[(Always, EPERM)]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_modify_ldt, &[(Always, EPERM)]),
];

/// Without namespaces the sockets are the machine's: its services', its networks'. Only pairs are left.
const RESTRICTED: &[Rule] = &[
    (libc::SYS_socket, &[(Always, EACCES)]),
    (libc::SYS_connect, &[(Always, EACCES)]),
    (libc::SYS_bind, &[(Always, EACCES)]),
    // Nor do they have an IPC namespace.
    (libc::SYS_shmget, &[(Always, EACCES)]),
    (libc::SYS_semget, &[(Always, EACCES)]),
    (libc::SYS_msgget, &[(Always, EACCES)]),
    (libc::SYS_shmat, &[(Always, EACCES)]),
    (libc::SYS_mq_open, &[(Always, EACCES)]),
];

/// All that a process may do that computes: use the files that it has open, memory that nothing can be run from, and threads.
const COMPUTING: &[Rule] = &[
    (libc::SYS_read, &[]),
    (libc::SYS_write, &[]),
    (libc::SYS_writev, &[]),
    (libc::SYS_close, &[]),
    (libc::SYS_fstat, &[]),
    (libc::SYS_lseek, &[]),
    #[cfg(target_arch = "x86_64")]
    (libc::SYS_poll, &[]),
    (libc::SYS_ppoll, &[]),
    (libc::SYS_mmap, &[(Bits(2, libc::PROT_EXEC as u32), EPERM)]),
    (libc::SYS_mprotect, &[(Bits(2, libc::PROT_EXEC as u32), EPERM)]),
    (libc::SYS_munmap, &[]),
    (libc::SYS_mremap, &[]),
    (libc::SYS_madvise, &[]),
    (libc::SYS_brk, &[]),
    // Its flags cannot be read here; the C library falls back on the older call.
    (libc::SYS_clone3, &[(Always, ENOSYS)]),
    (libc::SYS_clone, &[(NoBits(0, libc::CLONE_THREAD as u32), EPERM)]),
    (libc::SYS_futex, &[]),
    (libc::SYS_set_robust_list, &[]),
    (libc::SYS_rseq, &[]),
    (libc::SYS_gettid, &[]),
    (libc::SYS_getpid, &[]),
    (libc::SYS_sched_yield, &[]),
    (libc::SYS_sched_getaffinity, &[]),
    (libc::SYS_rt_sigaction, &[]),
    (libc::SYS_rt_sigprocmask, &[]),
    (libc::SYS_rt_sigreturn, &[]),
    (libc::SYS_sigaltstack, &[]),
    (libc::SYS_restart_syscall, &[]),
    (libc::SYS_clock_gettime, &[]),
    (libc::SYS_clock_nanosleep, &[]),
    (libc::SYS_nanosleep, &[]),
    (libc::SYS_getrandom, &[]),
    // Its own limits, which it can only lower.
    (libc::SYS_prlimit64, &[(NotIn(0, &[0]), EPERM)]),
    (libc::SYS_exit, &[]),
    (libc::SYS_exit_group, &[]),
];

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// From here on numbers are those of x32, which has the architecture of x86-64; no other architecture has such numbers.
const X32_BIT: u32 = 0x4000_0000;

// Of `struct seccomp_data`.
const NUMBER_AT: u32 = 0;
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;
#[cfg(target_endian = "little")]
const LOW_AT: u32 = 0;
#[cfg(target_endian = "little")]
const HIGH_AT: u32 = 4;

const LOAD: u32 = BPF_LD | BPF_W | BPF_ABS;
const IF_EQUAL: u32 = BPF_JMP | BPF_JEQ | BPF_K;
const IF_OVER: u32 = BPF_JMP | BPF_JGT | BPF_K;
const IF_AT_LEAST: u32 = BPF_JMP | BPF_JGE | BPF_K;
const IF_BITS: u32 = BPF_JMP | BPF_JSET | BPF_K;
const RETURN: u32 = BPF_RET | BPF_K;

/// One instruction: a jump goes on `yes` or `no` instructions after the next one.
fn instruction(code: u32, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: yes, jf: no, k }
}

fn load(at: u32) -> sock_filter {
    instruction(LOAD, at, 0, 0)
}

fn refuse(errno: i32) -> sock_filter {
    instruction(RETURN, libc::SECCOMP_RET_ERRNO | errno as u32, 0, 0)
}

fn allow() -> sock_filter {
    instruction(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0)
}

/// What decides on one reason: it refuses, or goes on after the last instruction.
fn reason(when: When, errno: i32) -> Vec<sock_filter> {
    let argument = |index: u32| ARGUMENTS_AT + 8 * index;
    match when {
        Always => vec![refuse(errno)],
        Bits(index, bits) => {
            vec![load(argument(index) + LOW_AT), instruction(IF_BITS, bits, 0, 1), refuse(errno)]
        }
        NoBits(index, bits) => {
            vec![load(argument(index) + LOW_AT), instruction(IF_BITS, bits, 1, 0), refuse(errno)]
        }
        In(index, values) => {
            let mut code = vec![load(argument(index) + LOW_AT)];
            for value in values {
                code.extend([instruction(IF_EQUAL, *value, 0, 1), refuse(errno)]);
            }
            code
        }
        NotIn(index, values) => {
            let mut code = vec![load(argument(index) + LOW_AT)];
            // Over the tests that are left, and over the refusal.
            let tests = values.iter().zip((1..=values.len() as u8).rev());
            code.extend(tests.map(|(value, left)| instruction(IF_EQUAL, *value, left, 0)));
            code.push(refuse(errno));
            code
        }
        Over(index, max) => vec![
            load(argument(index) + HIGH_AT),
            instruction(IF_EQUAL, 0, 0, 2),
            load(argument(index) + LOW_AT),
            instruction(IF_OVER, max, 0, 1),
            refuse(errno),
        ],
    }
}

pub(crate) fn filter(level: Level) -> Vec<sock_filter> {
    // The first rule of a number is the one that counts.
    let own = if level == Level::Restricted { RESTRICTED } else { &[] };
    program(own.iter().chain(EVERYWHERE), allow())
}

/// For a process that computes, and has all that it needs.
pub(crate) fn computing() -> Vec<sock_filter> {
    program(COMPUTING.iter(), refuse(EPERM))
}

/// What the rules do not refuse is allowed; `otherwise` is for calls without a rule.
fn program<'a>(rules: impl Iterator<Item = &'a Rule>, otherwise: sock_filter) -> Vec<sock_filter> {
    let mut code = vec![
        load(ARCHITECTURE_AT),
        instruction(IF_EQUAL, ARCHITECTURE, 1, 0),
        refuse(ENOSYS),
        load(NUMBER_AT),
        instruction(IF_AT_LEAST, X32_BIT, 0, 1),
        refuse(ENOSYS),
    ];
    for (number, reasons) in rules {
        let mut body: Vec<_> = reasons.iter().flat_map(|(when, errno)| reason(*when, *errno)).collect();
        if !matches!(reasons, [(Always, _)]) {
            body.push(allow());
        }
        let length = u8::try_from(body.len()).expect("a rule is a few instructions");
        code.push(instruction(IF_EQUAL, *number as u32, 0, length));
        code.extend(body);
    }
    code.push(otherwise);
    code
}

/// As bubblewrap reads it from a file.
pub(crate) fn bytes(filter: &[sock_filter]) -> Vec<u8> {
    let one = |it: &sock_filter| {
        let [code, k] = [it.code.to_ne_bytes().to_vec(), it.k.to_ne_bytes().to_vec()];
        [code, vec![it.jt, it.jf], k].concat()
    };
    filter.iter().flat_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the kernel makes of a call, by the few instructions that there are.
    fn run(code: &[sock_filter], architecture: u32, number: c_long, arguments: [u64; 3]) -> u32 {
        let mut data = [number as u32, architecture, 0, 0].map(u32::to_ne_bytes).concat();
        data.extend(arguments.map(u64::to_ne_bytes).concat());
        let (mut at, mut accumulator) = (0, 0);
        loop {
            let it = code[at];
            let holds = match u32::from(it.code) {
                LOAD => {
                    let from = it.k as usize;
                    accumulator = u32::from_ne_bytes(data[from..from + 4].try_into().unwrap());
                    true
                }
                RETURN => return it.k,
                IF_EQUAL => accumulator == it.k,
                IF_OVER => accumulator > it.k,
                IF_AT_LEAST => accumulator >= it.k,
                IF_BITS => accumulator & it.k != 0,
                code => panic!("{code}"),
            };
            at += 1 + usize::from(if holds { it.jt } else { it.jf });
        }
    }

    #[test]
    fn calls_are_refused_by_number_and_arguments() {
        let ok = libc::SECCOMP_RET_ALLOW;
        let no = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
        let (unix, netlink) = (libc::AF_UNIX as u64, libc::AF_NETLINK as u64);
        let inet = libc::AF_INET as u64;
        let table = [
            (libc::SYS_read, [0; 3], ok),
            (libc::SYS_mount, [0; 3], no(EPERM)),
            (libc::SYS_clone3, [0; 3], no(ENOSYS)),
            (libc::SYS_clone, [0x0001_0011, 0, 0], ok),
            (libc::SYS_clone, [0x1000_0011, 0, 0], no(EPERM)),
            // The kernel reads 32 bits of a command.
            (libc::SYS_ioctl, [0, 0x5412, 0], no(EPERM)),
            (libc::SYS_ioctl, [0, 0xffff_ffff_0000_541c, 0], no(EPERM)),
            (libc::SYS_ioctl, [0, 0x5413, 0], ok),
            (libc::SYS_personality, [0, 0, 0], ok),
            (libc::SYS_personality, [0xffff_ffff, 0, 0], ok),
            (libc::SYS_personality, [8, 0, 0], no(EPERM)),
            (libc::SYS_socket, [unix, 1, 0], ok),
            (libc::SYS_socket, [inet, 1, 6], ok),
            (libc::SYS_socket, [inet, 1, 132], no(EPROTONOSUPPORT)),
            (libc::SYS_socket, [netlink, 3, 0], ok),
            (libc::SYS_socket, [netlink, 3, 12], no(EPROTONOSUPPORT)),
            (libc::SYS_socket, [40, 1, 0], no(EAFNOSUPPORT)),
            (libc::SYS_shmget, [0, 64 << 10, 0], ok),
            (libc::SYS_shmget, [0, 1 << 20, 0], no(EINVAL)),
            (libc::SYS_shmget, [0, 1 << 32, 0], no(EINVAL)),
            (libc::SYS_read | 0x4000_0000, [0; 3], no(ENOSYS)),
        ];
        let code = filter(Level::Toolchain);
        for (number, arguments, expected) in table {
            assert_eq!(run(&code, ARCHITECTURE, number, arguments), expected, "{number} {arguments:x?}");
        }
        assert_eq!(run(&code, 0x4000_0003, libc::SYS_read, [0; 3]), no(ENOSYS), "i386");
        assert_eq!(run(&filter(Level::Restricted), ARCHITECTURE, libc::SYS_socket, [unix, 1, 0]), no(EACCES));
    }

    #[test]
    fn who_computes_does_nothing_else() {
        let ok = libc::SECCOMP_RET_ALLOW;
        let no = |errno: i32| libc::SECCOMP_RET_ERRNO | errno as u32;
        let table = [
            (libc::SYS_read, [0; 3], ok),
            (libc::SYS_openat, [0; 3], no(EPERM)),
            (libc::SYS_kill, [0; 3], no(EPERM)),
            (libc::SYS_mmap, [0, 4096, 3], ok),
            (libc::SYS_mmap, [0, 4096, 7], no(EPERM)),
            (libc::SYS_mprotect, [0, 4096, 5], no(EPERM)),
            (libc::SYS_clone, [0x003d_0f00, 0, 0], ok),
            (libc::SYS_clone, [0x0000_0011, 0, 0], no(EPERM)),
            (libc::SYS_clone3, [0; 3], no(ENOSYS)),
            (libc::SYS_prlimit64, [0; 3], ok),
            (libc::SYS_prlimit64, [1, 0, 0], no(EPERM)),
            (libc::SYS_read | 0x4000_0000, [0; 3], no(ENOSYS)),
        ];
        for (number, arguments, expected) in table {
            assert_eq!(run(&computing(), ARCHITECTURE, number, arguments), expected, "{number} {arguments:x?}");
        }
    }

    #[test]
    fn the_kernel_takes_it() {
        for level in Level::ALL {
            let code = filter(level);
            assert!(code.len() <= libc::BPF_MAXINSNS as usize, "{}", code.len());
            assert_eq!(bytes(&code).len(), 8 * code.len());
        }
    }
}
