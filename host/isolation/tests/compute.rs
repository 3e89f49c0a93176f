//! A process that only computes: what it can still do, and what not.

use std::process::Command;

#[test]
fn who_computes_reaches_nothing() {
    let output = Command::new(env!("CARGO_BIN_EXE_isolation-child")).arg("only-compute").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected = "thread done\nlimit done\nmap done\nmap-code refused\nopen refused\nlist refused\nsocket refused\n\
                    fork refused\nprogram refused\nsignal refused\ntrace refused\nduplicate refused\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
