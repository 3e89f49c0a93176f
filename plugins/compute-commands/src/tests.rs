//! Commands that really run, by the fake host of the SDK.

use build_jobs::testing::to_the_end;
use pipewright_sdk::testing::Host;

use super::*;

fn run(host: Host) -> (Host, Result<Report<Exported>>) {
    let settings = || Configuration {
        environment_type: EnvironmentType::LINUX_CONTAINER,
        compute_type: None,
        vpc_id: None,
        subnets: None,
        security_group_ids: None,
    };
    to_the_end(host, |action| shell_commands(action, settings()))
}

#[test]
fn commands_make_an_artifact_and_variables() {
    let host = Host::new()
        .input("Source", &[("a.txt", "a")])
        .input("More", &[("b.txt", "b")])
        .commands(&["mkdir d && cd d", "cat ../a.txt $CODEBUILD_SRC_DIR_More/b.txt > c.txt", "COUNT=$(wc -c < c.txt)"])
        .environment("KIND", "test")
        .output_variables(&["COUNT", "KIND"])
        .output_files("Built", &["d/*"]);
    let (host, report) = run(host);
    let expected = [("COUNT", "2"), ("KIND", "test")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(report.unwrap().variables, expected);
    assert_eq!(host.read("outputs/Built/d/c.txt"), "ab");
}

#[test]
fn a_variable_that_is_a_secret_is_a_handle() {
    let host = Host::new()
        .input("Source", &[])
        .commands(&["[ \"$TOKEN\" = correct-horse ]", "SIZE=${#TOKEN}"])
        .secret_environment("TOKEN", "db:password")
        .secret("db:password", "correct-horse")
        .output_variables(&["SIZE", "TOKEN"]);
    let (host, report) = run(host);
    assert_eq!(report.unwrap().variables, [("SIZE".to_owned(), "13".to_owned())]);
    assert!(host.log().contains("TOKEN is not exported"), "{}", host.log());
}

#[test]
fn the_first_failure_ends_them() {
    let (host, report) = run(Host::new().input("Source", &[]).commands(&["echo one", "false", "echo two"]));
    let message = "Action failed with status: FAILED. COMMAND_EXECUTION_ERROR: Error while executing command: false. Reason: exit status 1";
    assert_eq!(report.unwrap_err().message, message);
    assert!(host.log().contains("\none\n") && !host.log().contains("\ntwo\n"), "{}", host.log());
}

#[test]
fn what_the_declaration_leaves_out() {
    let check = |host: Host, text: &str| {
        let message = run(host).1.unwrap_err().message;
        assert!(message.contains(text), "{message}");
    };
    check(Host::new().input("Source", &[]), "the action has no `commands`");
    check(Host::new().input("Source", &[]).commands(&["true"]).output("Built"), "`Built` has no `files`");
}
