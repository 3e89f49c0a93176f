//! The server as people use it: the AWS CLI and boto3 as they are published, and a real git server. The scenarios are
//! `tests/acceptance/*.py`.
#![expect(clippy::print_stderr, reason = "a test with randomness says how it is repeated")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::crash::check_data;
use crate::git;
use crate::git_server::{GitServer, push};
use crate::server::share_compiled;
use crate::tools;

struct Tools {
    git: GitServer,
    python: PathBuf,
    aws: PathBuf,
}

impl Tools {
    /// None where a program is missing; see [`tools::find`].
    fn find() -> Option<Self> {
        Some(Self { python: tools::python("boto3")?, aws: tools::find("aws")?, git: GitServer::start()? })
    }

    /// Runs the scenarios of one module against a server of their own, which has the plugin that does deeds; its home.
    fn run(&self, scenarios: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        share_compiled(&home.path().join("data"));
        fs::create_dir(home.path().join("plugins")).unwrap();
        fs::write(home.path().join("plugins/deeds.wasm"), pipewright_guests::get("deeds")).unwrap();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/acceptance/main.py");
        let output = Command::new(&self.python)
            .arg("-B")
            .arg(script)
            .args([scenarios, env!("CARGO_BIN_EXE_pipewright")])
            .args([home.path(), &self.aws])
            .arg(self.git.origin())
            .arg(self.git.work_trees())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{said}");
        eprintln!("{said}");
        home
    }
}

#[test]
fn a_release_lives_through_crashes() {
    let Some(tools) = Tools::find() else { return };
    git::fill(&tools.git.create("release"));
    tools.git.create("found");
    tools.run("crashes");
}

#[tokio::test]
async fn everything_goes_on_while_the_host_is_killed() {
    let (Some(tools), Some(_)) = (Tools::find(), tools::find("bwrap")) else { return };
    tools.git.create("everything");
    let home = tools.run("storm");
    check_data(&home.path().join("data")).await;
}

#[test]
fn pipelines_are_pushed_held_retried_rolled_back_stopped_changed_and_listed() {
    let Some(tools) = Tools::find() else { return };
    tools.git.create("polled");
    tools.git.create("reverted");
    let page = tools.git.create("page");
    fs::write(page.join("index.html"), "<!doctype html><title>Page</title>").unwrap();
    push(&page, "A page");
    tools.run("commands");
}

#[test]
fn webhooks_and_git_hosts_start_pipelines() {
    let Some(tools) = Tools::find() else { return };
    tools.git.create("hooked");
    tools.git.create("told");
    tools.run("triggers");
}

#[test]
fn conditions_fail_skip_roll_back_retry_and_are_overridden() {
    let Some(tools) = Tools::find() else { return };
    tools.git.create("page");
    tools.run("rules");
}

#[test]
fn logs_artifacts_and_events_are_read() {
    let Some(tools) = Tools::find() else { return };
    let work = tools.git.create("beside");
    git::odd_files(&work);
    // Not every system unpacks this one, so no zip holds it.
    fs::rename(work.join("a\\b:c*"), work.join("odd:c*")).unwrap();
    push(&work, "Odd files");
    tools.run("beside");
}
