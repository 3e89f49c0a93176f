//! The layer for Python, read by Python itself.

use std::process::Command;

use super::root;
use crate::tools;

pub(super) fn page() -> Option<String> {
    let python = tools::find("python3")?;
    let output = Command::new(python)
        .arg(root().join("tests/reference/python.py"))
        .arg(root().join("sdk/python/pipewright"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(String::from_utf8(output.stdout).unwrap())
}
