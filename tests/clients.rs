//! Other official clients of CodePipeline, each through the whole life of a pipeline against a real server: what they send and how
//! they read the answers is theirs, and nothing here knows of it. boto3 and the AWS CLI have tests of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::tools;

const CONFIG: &str = "poll_seconds = 86400\n\n[grants]\nreleased = \"grants.toml\"\n";

const GRANTS: &str = r#"
[action."Source/Get"]
directories.source = { path = "source", access = "read" }

[action."Ship/Publish"]
directories.target = { path = "published", access = "write" }
"#;

fn served(run: impl FnOnce(&Server, &Path)) {
    let home = tempfile::tempdir().unwrap();
    for folder in ["source", "published"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    for (file, text) in [("serve.toml", CONFIG), ("grants.toml", GRANTS), ("source/page.md", "# Home")] {
        fs::write(home.path().join(file), text).unwrap();
    }
    run(&Server::start(home.path()), home.path());
}

fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/clients").join(file)
}

#[track_caller]
fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

#[test]
fn the_sdk_for_javascript_drives_a_pipeline_through_its_life() {
    let Some(modules) = tools::node_modules("@aws-sdk/client-codepipeline") else { return };
    served(|server, home| {
        let mut node = Command::new("node");
        node.arg(here("lifecycle.cjs")).arg(server.endpoint()).arg(server.credentials());
        succeeds(node.env("NODE_PATH", modules).env("HOME", home));
        assert!(home.join("published/current/page.md").is_file(), "it was published");
    });
}

/// Terraform itself is to be had from no registry of packages (`terraform.rs` is for machines that have it): what its provider sends, and how
/// it reads the answers, is replayed.
#[test]
fn what_terraform_plans_twice_is_empty() {
    let Some(python) = tools::python("boto3") else { return };
    served(|server, home| {
        for resource in ["terraform.py", "terraform_codebuild.py"] {
            let mut terraform = Command::new(&python);
            terraform.arg("-B").arg(here(resource)).arg(server.endpoint()).arg(server.credentials());
            succeeds(terraform.env("HOME", home));
        }
    });
}

/// In the full suite alone: it compiles the SDK, which takes minutes, in a crate of its own with its own lock file.
#[test]
fn the_sdk_for_rust_drives_a_pipeline_through_its_life() {
    if !tools::is_full() {
        return;
    }
    served(|server, home| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo
            .args(["run", "--quiet", "--locked", "--target-dir"])
            .arg(Path::new(env!("CARGO_TARGET_TMPDIR")).join("rust-sdk"));
        cargo.arg("--manifest-path").arg(here("rust-sdk/Cargo.toml")).arg("--");
        succeeds(cargo.arg(server.endpoint()).arg(server.credentials()));
        assert!(home.join("published/current/page.md").is_file(), "it was published");
    });
}
