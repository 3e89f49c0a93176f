//! The process in which the host's own program compiles a component that somebody else made. What such a process can still do is
//! tried in `host/isolation/tests/compute.rs`; here, that this one is such a process before it has read anything.

use std::fs;
use std::process::{Command, Stdio};
use std::time::Duration;

use pipewright_runner::host::COMPILE;

/// Until the kernel has been asked for everything; a machine that others use is slow.
const LOOKS: u32 = 1200;

#[test]
fn a_component_is_compiled_by_who_reaches_nothing() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_pipewright"));
    command.arg(COMPILE).env_clear().stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let read = || fs::read_to_string(&status).unwrap();
    let line = |name: &str| {
        let text = read();
        let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name} in {text}"));
        line.trim().to_owned()
    };
    // Its filter comes last, and its input has not begun.
    for _ in 0..LOOKS {
        if line("Seccomp:") == "2" {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!((line("Seccomp:"), line("NoNewPrivs:")), ("2".to_owned(), "1".to_owned()));
    let user = line("Uid:");
    assert!(user.split_whitespace().all(|id| id != "0"), "{user}");
    assert_eq!(line("CapEff:"), "0000000000000000");
    drop(child.stdin.take());
    child.wait().unwrap();
}
