//! Terraform itself, with AWS's own provider, where both are on the machine: nothing is said of the host but its endpoints. What it applied
//! it plans no more, it sees and mends what others changed, and it takes away what it made, also where that is gone already.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::tools;

/// What `plan` answers with.
const EMPTY: i32 = 0;
const CHANGES: i32 = 2;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// A server, and a folder with a configuration for it.
struct Terraform {
    program: PathBuf,
    mirror: PathBuf,
    server: Server,
    home: tempfile::TempDir,
}

impl Terraform {
    fn new(configuration: &str) -> Option<Self> {
        let (program, mirror) = tools::terraform()?;
        let home = tempfile::tempdir().unwrap();
        fs::write(home.path().join("serve.toml"), "poll_seconds = 86400\n").unwrap();
        let server = Server::start(home.path());
        let it = Self { program, mirror, server, home };
        it.folder("it", &configuration.replace("http://127.0.0.1:7720", &it.server.endpoint()));
        Some(it)
    }

    fn folder(&self, folder: &str, configuration: &str) {
        fs::create_dir(self.home.path().join(folder)).unwrap();
        fs::write(self.home.path().join(folder).join("main.tf"), configuration).unwrap();
        let mirror = format!("-plugin-dir={}", self.mirror.display());
        self.succeeds_in(folder, &["init", &mirror]);
    }

    fn run(&self, program: &Path, folder: &str, arguments: &[&str]) -> (Option<i32>, String) {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.home.path().join(folder))
            .env("HOME", self.home.path())
            .env("AWS_SHARED_CREDENTIALS_FILE", self.server.credentials())
            .envs([("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_PAGER", ""), ("AWS_EC2_METADATA_DISABLED", "true")])
            .envs([("CHECKPOINT_DISABLE", "1"), ("TF_CLI_ARGS", "-no-color"), ("TF_INPUT", "0")])
            // The provider collects garbage in a third of its time, which is most of what a command takes.
            .env("GOGC", "400")
            .env("TF_VAR_endpoint", self.server.endpoint())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said)
    }

    #[track_caller]
    fn succeeds_in(&self, folder: &str, arguments: &[&str]) -> String {
        let (code, said) = self.run(&self.program, folder, arguments);
        assert_eq!(code, Some(0), "{arguments:?}: {said}");
        said
    }

    #[track_caller]
    fn apply(&self, options: &[&str]) -> String {
        self.succeeds_in("it", &[&["apply", "-auto-approve"], options].concat())
    }

    #[track_caller]
    fn plans(&self, folder: &str, options: &[&str], expected: i32) -> String {
        let (code, said) = self.run(&self.program, folder, &[&["plan", "-detailed-exitcode"], options].concat());
        assert_eq!(code, Some(expected), "{options:?}: {said}");
        said
    }

    #[track_caller]
    fn aws(&self, aws: &Path, line: &str) {
        let endpoint = self.server.endpoint();
        let line: Vec<&str> = ["--endpoint-url", &endpoint].into_iter().chain(line.split(' ')).collect();
        let (code, said) = self.run(aws, "it", &line);
        assert_eq!(code, Some(0), "{line:?}: {said}");
    }
}

#[test]
fn what_terraform_applied_it_plans_no_more() {
    let configuration = fs::read_to_string(repository().join("tests/clients/terraform/main.tf")).unwrap();
    let (Some(aws), Some(it)) = (tools::find("aws"), Terraform::new(&configuration)) else { return };
    let said = it.apply(&[]);
    assert!(said.contains("who = \"arn:aws:iam::000000000000:user/administrator\""), "{said}");
    it.plans("it", &[], EMPTY);

    // Somebody else changes it, and takes away what Terraform then makes again.
    for line in [
        "codebuild update-project --name every --description Drifted --tags key=z,value=z",
        "codepipeline untag-resource --resource-arn arn:aws:codepipeline:us-east-1:000000000000:least --tag-keys team",
        "codepipeline delete-webhook --name pushed",
        "codepipeline delete-pipeline --name every",
    ] {
        it.aws(&aws, line);
    }
    let said = it.plans("it", &[], CHANGES);
    assert!(said.contains("Plan: 2 to add, 2 to change, 0 to destroy."), "{said}");
    it.apply(&[]);
    it.plans("it", &[], EMPTY);

    // Each argument is changed, and what is called otherwise is made anew.
    let said = it.apply(&["-var=changed=true"]);
    assert!(said.contains("Resources: 3 added, 3 changed, 3 destroyed."), "{said}");
    it.plans("it", &["-var=changed=true"], EMPTY);

    // Another configuration takes over what is there: each is read by its id, and compared.
    let taken = [
        ("aws_codebuild_project.every", "every"),
        ("aws_codebuild_project.least", "arn:aws:codebuild:us-east-1:000000000000:project/other"),
        ("aws_codepipeline_custom_action_type.rollout", "Deploy/Rollout/1"),
        ("aws_codepipeline.least", "another"),
        ("aws_codepipeline.every", "every"),
        ("aws_codepipeline_webhook.pushed", "arn:aws:codepipeline:us-east-1:000000000000:webhook:pushed"),
    ]
    .map(|(resource, id)| format!("import {{\n  to = {resource}\n  id = \"{id}\"\n}}\n"));
    it.folder("other", &(configuration + &taken.concat()));
    // Of a pipeline the provider imports no triggers.
    let said = it.plans("other", &["-var=changed=true"], CHANGES);
    let planned = "Plan: 6 to import, 0 to add, 1 to change, 0 to destroy.";
    assert!(said.contains(planned) && said.contains("+ trigger {"), "{said}");

    for line in [
        "codebuild delete-project --name every",
        "codepipeline delete-webhook --name pushed",
        "codepipeline delete-pipeline --name every",
    ] {
        it.aws(&aws, line);
    }
    let said = it.apply(&["-destroy", "-refresh=false"]);
    assert!(said.contains("6 destroyed."), "{said}");
}

/// What docs/from-codepipeline.md shows under "## Terraform".
#[test]
fn the_documented_configuration_works() {
    let document = fs::read_to_string(repository().join("docs/from-codepipeline.md")).unwrap();
    let block = document.split("```hcl\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let Some(it) = Terraform::new(block) else { return };
    it.apply(&[]);
    it.plans("it", &[], EMPTY);
    // Each workspace has a pipeline of its own.
    it.succeeds_in("it", &["workspace", "new", "staging"]);
    it.apply(&[]);
    it.plans("it", &[], EMPTY);
    // What is not served says so.
    let group = "resource \"aws_codebuild_report_group\" \"tests\" {\n  name = \"tests\"\n  type = \"TEST\"\n  export_config {\n    \
                 type = \"NO_EXPORT\"\n  }\n}\n";
    fs::write(it.home.path().join("it/group.tf"), group).unwrap();
    let (code, said) = it.run(&it.program, "it", &["apply", "-auto-approve"]);
    let told = said.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(code == Some(1) && told.contains("This host does not offer the operation \"CreateReportGroup\""), "{said}");
}
