//! Every operation of the API in both protocols, judged by botocore's own model of CodePipeline: `tests/contract/main.py`
//! sends the requests and judges the answers. And STS's, which has a protocol of its own, by its model: `tests/contract/sts.py`.

use std::fs;
use std::path::Path;
use std::process::Command;

use pipewright_server::api::OPERATIONS;

use crate::packages::offering;
use crate::server::{Server, share_compiled};
use crate::tools;

/// Both protocols have a pipeline whose actions may do what they do; the scenario reaches the quota.
const CONFIG: &str = r#"
poll_seconds = 86400

[quotas]
pipelines = 3

[grants]
released-json = "grants.toml"
released-cbor = "grants.toml"
jobs-json = "grants.toml"
jobs-cbor = "grants.toml"
"#;

const GRANTS: &str = r#"
[action."Source/Get"]
directories.source = { path = "source", access = "read" }

[action."Ask/Publish"]
directories.target = { path = "published", access = "write" }
"#;

#[test]
fn every_answer_is_one_of_botocores_model() {
    let Some(python) = tools::python("botocore").and(tools::python("cbor2")) else { return };
    let home = tempfile::tempdir().unwrap();
    for folder in ["source", "published"] {
        fs::create_dir(home.path().join(folder)).unwrap();
    }
    for (file, text) in [("serve.toml", CONFIG), ("grants.toml", GRANTS), ("source/page.md", "# Home")] {
        fs::write(home.path().join(file), text).unwrap();
    }
    // A type whose permissions can be changed is one of a package that is installed.
    share_compiled(&home.path().join("data"));
    fs::create_dir_all(home.path().join("data/plugins")).unwrap();
    fs::write(home.path().join("data/plugins/policy.toml"), "unsigned_files = [\"team/*\"]\n").unwrap();
    fs::write(home.path().join("typed.wasm"), offering("ThirdParty/Typed", "team/typed", "1.0.0", "1", &[])).unwrap();
    let added = Command::new(env!("CARGO_BIN_EXE_pipewright"))
        .args(["plugin", "add", "typed.wasm", "--yes", "--data", "data"])
        .current_dir(home.path())
        .env("HOME", home.path())
        .status();
    assert!(added.unwrap().success());
    let server = Server::start(home.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/main.py");
    let output = Command::new(python)
        .arg("-B")
        .arg(script)
        .arg(server.endpoint())
        .arg(server.credentials())
        .args(["us-east-1", "000000000000"])
        .args(OPERATIONS.iter().filter(|operation| operation.of.name == "codepipeline").map(|operation| operation.name))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

/// S8.
#[test]
fn who_asks_is_told_to_boto3_and_the_aws_cli() {
    let (Some(python), Some(aws)) = (tools::python("boto3"), tools::find("aws")) else { return };
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("serve.toml"), "").unwrap();
    let server = Server::start(home.path());
    let said_by = |command: &mut Command| {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), said)
    };
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/contract/sts.py");
    let mut boto3 = Command::new(python);
    boto3.arg("-B").arg(script).arg(server.endpoint()).arg(server.credentials()).args(["us-east-1", "000000000000"]);
    boto3.args(OPERATIONS.iter().filter(|operation| operation.of.name == "sts").map(|operation| operation.name));
    let (succeeded, said) = said_by(&mut boto3);
    assert!(succeeded, "{said}");
    let check = |action: &str, expected: &str| {
        let mut cli = Command::new(&aws);
        cli.args(["--endpoint-url", &server.endpoint(), "--output", "text", "sts", action])
            .env("AWS_SHARED_CREDENTIALS_FILE", server.credentials())
            .env("HOME", home.path())
            .envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_PAGER", ""), ("AWS_EC2_METADATA_DISABLED", "true")]);
        let (_, said) = said_by(&mut cli);
        assert!(said.contains(expected), "{said}");
    };
    check("get-caller-identity", "000000000000\tarn:aws:iam::000000000000:user/administrator\tAIDA");
    check("get-session-token", "(InvalidAction)");
}
