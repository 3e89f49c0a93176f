//! The process around a job, as the hidden subcommand of `pipewright` is. With the argument `no-namespaces` it runs as in a
//! container, whose filter refuses to unshare namespaces.

fn main() -> std::process::ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("no-namespaces") => refuse_unshare(),
        Some("only-compute") => return compute(),
        _ => {}
    }
    pipewright_isolation::child_main()
}

fn refuse_unshare() {
    let step = |code: u32, k: u32, yes: u8, no: u8| libc::sock_filter { code: code as u16, jt: yes, jf: no, k };
    let refuse = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    let mut filter = [
        step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, libc::SYS_unshare as u32, 0, 1),
        step(libc::BPF_RET | libc::BPF_K, refuse, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW, 0, 0),
    ];
    let program = libc::sock_fprog { len: 4, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel copies the program, whose length is right.
    unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program), 0);
    }
}

/// Says of each deed whether it was done, by a process that only computes.
fn compute() -> std::process::ExitCode {
    pipewright_isolation::only_compute().unwrap();
    let parent = std::os::unix::process::parent_id().cast_signed();
    let anonymous = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: nobody uses the memory that is mapped, and no process is left behind.
    let deeds: [(&str, bool); 12] = unsafe {
        [
            ("thread", std::thread::spawn(|| vec![1_u8; 64 << 20].len()).join().is_ok()),
            ("limit", rustix::process::getrlimit(rustix::process::Resource::Cpu).maximum.is_none()),
            ("map", libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_WRITE, anonymous, -1, 0) != libc::MAP_FAILED),
            ("map-code", libc::mmap(std::ptr::null_mut(), 4096, libc::PROT_EXEC, anonymous, -1, 0) != libc::MAP_FAILED),
            ("open", std::fs::File::open("/etc/passwd").is_ok()),
            ("list", std::fs::read_dir("/").is_ok()),
            ("socket", std::net::UdpSocket::bind("127.0.0.1:0").is_ok()),
            ("fork", libc::fork() >= 0),
            ("program", std::process::Command::new("/bin/true").status().is_ok()),
            ("signal", libc::kill(parent, 0) == 0),
            ("trace", libc::ptrace(libc::PTRACE_ATTACH, parent, 0, 0) == 0),
            ("duplicate", libc::dup(1) >= 0),
        ]
    };
    let said = deeds.map(|(deed, is_done)| format!("{deed} {}\n", if is_done { "done" } else { "refused" })).concat();
    // SAFETY: the bytes are those of the text.
    let written = unsafe { libc::write(1, said.as_ptr().cast(), said.len()) };
    std::process::ExitCode::from(u8::from(written != said.len().cast_signed()))
}
