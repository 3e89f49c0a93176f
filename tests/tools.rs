//! Programs and folders that some tests need and that are not on every machine.
#![expect(clippy::print_stderr, reason = "a test that is skipped says so loudly")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

/// Held by a test that runs what the README says, which publishes into this repository's own `target/site`.
pub static SITE: Mutex<()> = Mutex::new(());

/// Whether tests are to run in their large form, which takes long.
pub fn is_full() -> bool {
    std::env::var_os("PIPEWRIGHT_TESTS_FULL").is_some_and(|value| value == "1")
}

/// The program of this name on the PATH. Where it is missing the test is to return at once, which is told loudly; in the
/// checks that decide (`PIPEWRIGHT_TESTS_REQUIRE` names it) that is a failure.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        missing(name);
    }
    found
}

/// The Python on the PATH, if it has this package.
pub fn python(package: &str) -> Option<PathBuf> {
    let python = find("python3")?;
    let has_it =
        Command::new(&python).args(["-c", &format!("import {package}")]).output().is_ok_and(|it| it.status.success());
    if !has_it {
        missing(package);
    }
    has_it.then_some(python)
}

/// The folder with this package of npm, if there are both it and Node.js: `.ci/run` makes it.
pub fn node_modules(package: &str) -> Option<PathBuf> {
    find("node")?;
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/ci/node/node_modules");
    let has_it = modules.join(package).is_dir();
    if !has_it {
        missing(package);
    }
    has_it.then_some(modules)
}

/// Terraform, and a folder of its providers that has AWS's: a registry is never asked for it.
pub fn terraform() -> Option<(PathBuf, PathBuf)> {
    let program = find("terraform")?;
    let configuration = std::env::var_os("TF_CLI_CONFIG_FILE").and_then(|file| std::fs::read_to_string(file).ok());
    let configuration = configuration.unwrap_or_default();
    let (_, of_mirror) = configuration.split_once("filesystem_mirror").unwrap_or_default();
    let named = of_mirror.split_once("path").and_then(|(_, rest)| rest.split('"').nth(1)).map(PathBuf::from);
    let home = PathBuf::from(std::env::var_os("HOME").unwrap_or_default());
    // Where Terraform itself looks.
    let implied = ["/usr/local/share/terraform/plugins", "/usr/share/terraform/plugins"].map(PathBuf::from);
    let mut mirrors = named.into_iter().chain([home.join(".terraform.d/plugins")]).chain(implied);
    let found = mirrors.find(|mirror| mirror.join("registry.terraform.io/hashicorp/aws").is_dir());
    if found.is_none() {
        missing("Terraform's provider hashicorp/aws");
    }
    Some((program, found?))
}

pub fn missing(name: &str) {
    let required = std::env::var("PIPEWRIGHT_TESTS_REQUIRE").unwrap_or_default();
    assert!(!required.split_whitespace().any(|required| required == name), "{name} is required and missing");
    eprintln!("SKIPPED: {name} is not on this machine, and what this test checks was NOT checked");
}
