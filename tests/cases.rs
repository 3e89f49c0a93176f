//! The cases of the first-party plugins, in the real sandbox; and the runner of cases itself.

use std::fs;
use std::path::{Path, PathBuf};

use expect_test::{Expect, expect};
use pipewright_author::cases::{self, CaseResult, CasesError, Options};
use pipewright_sandbox::capabilities::{CAPABILITIES, Row};
use pipewright_sandbox::{CompilerCommand, Sandbox, SandboxConfig};

use crate::server::cache_home;

pub(crate) fn sandbox() -> Sandbox {
    sandbox_that_trusts(Vec::new())
}

/// One that believes these certificate authorities, too. Compiled components are kept from run to run.
pub(crate) fn sandbox_that_trusts(certificate_authorities: Vec<PathBuf>) -> Sandbox {
    let cache = cache_home().join("pipewright/compiled");
    let compiler = CompilerCommand {
        program: env!("CARGO_BIN_EXE_pipewright").into(),
        args: vec![pipewright_runner::host::COMPILE.into()],
    };
    Sandbox::new(SandboxConfig { certificate_authorities, ..SandboxConfig::new(cache, compiler) }).unwrap()
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn approval() -> &'static [u8] {
    pipewright_bundle::get("approval-manual").unwrap()
}

pub(crate) fn told(results: &[CaseResult]) -> String {
    let told = |result: &CaseResult| {
        let differences = result.differences.iter().map(ToString::to_string);
        let wrong: Vec<String> = result.problems.iter().cloned().chain(differences).collect();
        format!("{}: {}\n", result.name, if result.passed() { "ok".to_owned() } else { wrong.join("\n") })
    };
    results.iter().map(told).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn first_party_plugins_pass_their_cases() {
    let sandbox = sandbox();
    assert!(!pipewright_bundle::PLUGINS.is_empty(), "the plugins are not in this build: BUNDLE_PLUGINS=skip");
    let mut failed = String::new();
    for (name, component) in pipewright_bundle::PLUGINS {
        let plugin = sandbox.load((*component).into()).await.unwrap();
        let folder = workspace().join("plugins").join(name).join(cases::FOLDER);
        let results = cases::run(&sandbox, &plugin, &folder, &Options::default(), |_| ())
            .await
            .unwrap_or_else(|error| panic!("{error}"));
        let bad: Vec<CaseResult> = results.into_iter().filter(|result| !result.passed()).collect();
        if !bad.is_empty() {
            failed += &format!("plugins/{name}\n{}", told(&bad));
        }
    }
    assert!(failed.is_empty(), "{failed}");
}

/// Of what has to be granted: `without-NAME` is its denial case, `made-up-NAME` the one in which its answers are made up, if
/// they can be, and the documentation has its row.
#[tokio::test(flavor = "multi_thread")]
async fn every_capability_is_whole() {
    let folder = workspace().join("tests/guests/reach").join(cases::FOLDER);
    let documentation = fs::read_to_string(workspace().join("docs/plugins.md")).unwrap();
    for Row { name, asks, grant, without, can_be_made_up } in CAPABILITIES {
        let Some(grant) = grant else { continue };
        let case = |kind: &str| {
            let case = folder.join(format!("{kind}-{name}")).join("case.toml");
            let text = fs::read_to_string(&case).unwrap_or_else(|error| panic!("{}: {error}", case.display()));
            assert!(text.contains(&format!("Capability = \"{name}\"")), "{}", case.display());
            text
        };
        assert!(!case("without").contains("grants"), "without-{name} grants something");
        if *can_be_made_up {
            let made_up = format!("[[host-calls]]\ncapability = \"{name}\"");
            let has = case("made-up");
            assert!(has.contains(&made_up) || has.contains(&format!("[[{name}]]")), "made-up-{name} makes nothing up");
        }
        let asks: Vec<String> = asks.iter().map(|ask| format!("`{ask}`")).collect();
        let row = format!("| {name} | {} | `{grant}` | {without} |", asks.join(", "));
        assert!(documentation.contains(&row), "docs/plugins.md has no {row}");
    }
    let sandbox = sandbox();
    let plugin = sandbox.load(pipewright_guests::get("reach").into()).await.unwrap();
    let results = cases::run(&sandbox, &plugin, &folder, &Options::default(), |_| ())
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(results.iter().all(CaseResult::passed), "{}", told(&results));
}

/// An outcome alone does not pass where something was refused.
#[tokio::test(flavor = "multi_thread")]
async fn a_denial_that_was_not_expected_fails_the_case() {
    let case = r#"
        action = "Invoke/Custom/Reach/1"
        settings = { Capability = "secrets" }
        expected = { outcome = "failed" }
    "#;
    let results = run(pipewright_guests::get("reach"), &[("case/case.toml", case)]).await.unwrap();
    expect![[r#"
        case: expected.denials
          expected: nothing is refused
          got:      guest/reach (action case/case) tried to read the secret "token", which it was not granted. To allow it, grant the action "case/case": secrets.token = { env = "…", reveal = true }
    "#]].assert_eq(&told(&results));
}

/// What an action reports beside its outcome is compared by name, in both directions.
#[tokio::test(flavor = "multi_thread")]
async fn reports_are_expected_by_name() {
    let check = async |expected: &str, differs: Expect| {
        let case = format!(
            "action = 'Test/Custom/JUnit/1'\ninputs = ['Reports']\n[expected]\noutcome = 'succeeded'\nresults = {expected}\n"
        );
        let report = "<testsuite name='one'><testcase name='a'/><testcase name='b'><skipped/></testcase></testsuite>";
        let files = [("case/case.toml", case.as_str()), ("case/inputs/Reports/one.xml", report)];
        let component = pipewright_bundle::get("test-junit").unwrap();
        differs.assert_eq(&told(&run(component, &files).await.unwrap()));
    };
    check(
        "{ case = { succeeded = 1, skipped = 1, failed = 0, cases = ['a', 'b'] } }",
        expect![[r#"
        case: ok
    "#]],
    )
    .await;
    check(
        "{ case = { succeeded = 2 }, other = { lines = [1, 2] } }",
        expect![[r#"
        case: expected.results.case
          expected: {"succeeded":2}
          got:      {"cases":["a","b"],"error":0,"failed":0,"skipped":1,"succeeded":1,"unknown":0}
        expected.results.other
          expected: {"lines":[1,2]}
          got:      none
    "#]],
    )
    .await;
    check(
        "{}",
        expect![[r#"
        case: expected.results.case
          expected: no such report
          got:      {"cases":["a","b"],"error":0,"failed":0,"skipped":1,"succeeded":1,"unknown":0}
    "#]],
    )
    .await;
}

/// A server's clock is never before the time that was waited for: what polls until a deadline comes to its end.
#[tokio::test(flavor = "multi_thread")]
async fn a_wake_up_moves_the_clock_to_the_time_that_was_waited_for() {
    let folder = workspace().join("plugins/rule-http-check/cases/waits-no-longer");
    let text = fs::read_to_string(folder.join("case.toml")).unwrap();
    assert!(text.contains("wake = \"time\""), "{text}");
    let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("time = ")).collect();
    let component = pipewright_bundle::get("rule-http-check").unwrap();
    let results = run(component, &[("case/case.toml", &lines.join("\n"))]).await.unwrap();
    assert_eq!(told(&results), "case: ok\n");
}

/// Runs the cases that these files are: pairs of a path and a text.
async fn run(component: &[u8], files: &[(&str, &str)]) -> Result<Vec<CaseResult>, CasesError> {
    run_in(&sandbox(), component, files).await
}

pub(crate) async fn run_in(
    sandbox: &Sandbox,
    component: &[u8],
    files: &[(&str, &str)],
) -> Result<Vec<CaseResult>, CasesError> {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let plugin = sandbox.load(component.into()).await.unwrap();
    let mut results = cases::run(sandbox, &plugin, folder.path(), &Options::default(), |_| ()).await?;
    let here = format!("{}/", folder.path().display());
    for problem in results.iter_mut().flat_map(|result| &mut result.problems) {
        *problem = problem.replace(&here, "");
    }
    Ok(results)
}

async fn check_differences(case: &str, expected: Expect) {
    expected.assert_eq(&told(&run(approval(), &[("case/case.toml", case)]).await.unwrap()));
}

async fn check_problems(files: &[(&str, &str)], expected: Expect) {
    let results = run(approval(), files).await.unwrap();
    expected.assert_eq(&results.into_iter().flat_map(|result| result.problems).collect::<Vec<_>>().join("\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_difference_is_told() {
    let case = r#"
        action = "Approval/AWS/Manual/1"
        settings = { CustomData = "look" }
        [expected]
        outcome = "succeeded"
        summary = ["look", "closely"]
        log = ["no such line"]
        denials = ["/directories/target"]
        variables = { Answer = "42" }
        targets = [{ id = "production" }]
        waiting = { signal = "time to go" }
        outputs.Site.files = ["index.html"]
    "#;
    check_differences(
        case,
        expect![[r#"
            case: expected.outcome
              expected: succeeded
              got:      waiting
            expected.summary
              expected: a text with "closely"
              got:      look
            expected.log
              expected: a text with "no such line"
              got:      nothing
            expected.denials
              expected: a host call refused with "/directories/target"
              got:      nothing was refused
            expected.variables.Answer
              expected: "42"
              got:      none
            expected.targets
              expected: {"id":"production"}
              got:      none
            expected.waiting
              expected: {"signal":"time to go"}
              got:      {"signal":"approval"}
            expected.outputs.Site
              expected: it is made
              got:      it was not made
        "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_cannot_be_woken_ends_the_case() {
    let case = r#"
        action = "Approval/AWS/Manual/1"
        [expected]
        outcome = "waiting"
        [[then]]
        signal = { kind = "rain" }
        expected = { outcome = "succeeded" }
        [[then]]
        expected = { outcome = "waiting" }
    "#;
    check_differences(
        case,
        expect![[r#"
        case: then.1.expected.outcome
          expected: succeeded
          got:      not called: it waits for the signal approval, not for rain
    "#]],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_cases_are_told_with_their_place() {
    let unknown = "action = \"Approval/AWS/Manual/1\"\nexpected = { outcome = \"succeeded\", sumary = [\"x\"] }\n";
    let contradictory = r#"
        action = "Approval/AWS/Manual/1"
        call = "latest"
        inputs = ["Source"]
        grants.directories = { a = { path = "../..", access = "read" } }
        expected = { outcome = "succeeded", revision = true }
        [[then]]
        wake = "time"
        signal = { kind = "approval" }
        expected = { outcome = "succeeded" }
    "#;
    let other = "action = \"Deploy/Custom/Directory/1\"\nexpected.outcome = \"succeeded\"\n";
    let misspelled =
        "action = \"Approval/AWS/Manual/1\"\nsettings = { CustomDate = \"x\" }\nexpected.outcome = \"waiting\"\n";
    let files = [
        ("unknown/case.toml", unknown),
        ("contradictory/case.toml", contradictory),
        ("misspelled/case.toml", misspelled),
        ("other/case.toml", other),
    ];
    check_problems(&files, expect![[r#"
        contradictory/case.toml:3: call: only a source has more than one
        contradictory/case.toml:7: then.1: a call is woken by a signal or by time, not by both
        contradictory/case.toml:7: then.1: nothing waits: the call before is expected to end succeeded
        contradictory/case.toml:6: expected.revision: must be false, or some of { id, summary, url, created }
        contradictory/case.toml:4: inputs: there is no folder inputs/Source
        contradictory/case.toml:4: inputs: Approval/AWS/Manual/1 has no input artifact, and there is 1 here: a pipeline that declares so many is refused; `inputs` names those of the folder inputs/ that it has
        misspelled/case.toml:2: settings.CustomDate: Approval/AWS/Manual/1 has no such setting; it has NotificationArn, ExternalEntityLink, CustomData
        other/case.toml:1: action: the plugin offers Approval/AWS/Manual/1, not Deploy/Custom/Directory/1
        unknown/case.toml: TOML parse error at line 2, column 37
          |
        2 | expected = { outcome = "succeeded", sumary = ["x"] }
          |                                     ^^^^^^
        unknown field `sumary`, expected one of `outcome`, `failure`, `summary`, `external-id`, `variables`, `links`, `revision`, `targets`, `cases`, `counts`, `results`, `waiting`, `log`, `denials`, `outputs`, `directories`"#]]).await;
    check_problems(
        &[("empty/input/Source/a.txt", "a")],
        expect!["empty/case.toml: cannot be read: No such file or directory (os error 2)"],
    )
    .await;
    let plain = "action = \"Approval/AWS/Manual/1\"\nexpected.outcome = \"waiting\"\n";
    check_problems(
        &[("x/case.toml", plain), ("x/input/Source/a.txt", "a")],
        expect![
            "x/case.toml: the folder input/ means nothing; there may be inputs, outputs, directories, directories-after, scratch, caches"
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_case_takes_nothing_from_outside_of_its_folder() {
    let case = r#"
        action = "Approval/AWS/Manual/1"
        expected = { outcome = "waiting" }
        [grants]
        directories.a = { path = "/", access = "read" }
        directories.b = { path = "directories/../..", access = "write" }
        directories.c = { path = "directories/missing", access = "read" }
        secrets.d = { env = "HOME" }
        secrets.e = { file = "/etc/passwd" }
    "#;
    check_problems(
        &[("case/case.toml", case)],
        expect![[r#"
            case/case.toml:5: grants.directories.a: / leads out of the case's folder
            case/case.toml:6: grants.directories.b: directories/../.. leads out of the case's folder
            case/case.toml:8: grants.secrets.d: give file = "PATH", not an environment variable or a secret of a store
            case/case.toml:9: grants.secrets.e: /etc/passwd leads out of the case's folder"#]],
    )
    .await;
}

/// A case is run in a copy of its folder, of which its author knows nothing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_missing_beside_a_case_is_told_by_its_own_path() {
    let case = "action = \"Approval/AWS/Manual/1\"\nexpected.outcome = \"waiting\"\n[grants]\nsecrets.a = { file = \"a.txt\" }\n";
    let results = run(approval(), &[("case/case.toml", case)]).await.unwrap();
    let problems: Vec<String> = results.into_iter().flat_map(|result| result.problems).collect();
    assert!(
        matches!(&problems[..], [it] if it.starts_with("case/case.toml:4: grants.secrets.a: case/a.txt")),
        "{problems:?}"
    );
}

/// A call that runs out of time says what it waited for, and which key of the case is to be changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_waited_for_in_vain_is_told() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", silent.local_addr().unwrap());
    let case = format!(
        "action = 'Invoke/Custom/Steps/1'\nnetwork = true\nlimits.wall-seconds = 2\nsettings.Script = 'get {origin}/x'\n\
         grants.http = [{{ origin = '{origin}', private = true }}]\n[expected]\noutcome = 'failed'\n\
         failure.contains = ['(wall_seconds_max); it waited for GET {origin}/x', '`limits.wall-seconds` of the case sets it']\n"
    );
    let results = run(pipewright_guests::get("steps"), &[("case/case.toml", &case)]).await.unwrap();
    assert_eq!(told(&results), "case: ok\n");
}

/// What a plugin sets and does not declare is told, and fails nothing: a pipeline has it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_variable_that_is_not_declared_is_noted() {
    let sandbox = sandbox();
    let notes = async |name: &str, case: &str| {
        let plugin = sandbox.load(pipewright_bundle::get(name).unwrap().into()).await.unwrap();
        let folder = workspace().join("plugins").join(name).join(cases::FOLDER);
        let options = Options { names: vec![case.to_owned()], ..Options::default() };
        let results = cases::run(&sandbox, &plugin, &folder, &options, |_| ()).await.unwrap();
        assert!(results.iter().all(CaseResult::passed), "{}", told(&results));
        results.into_iter().flat_map(|result| result.notes).collect::<Vec<_>>().join("\n")
    };
    expect![[r#"
        the plugin sets the output variable KIND, and Build/AWS/CodeBuild/1 declares none: a pipeline can use it, and no page, no list and no comparison of versions shows it; declare it, or correct its name"#]]
    .assert_eq(&notes("build-codebuild", "a-build-without-commands").await);
    assert_eq!(notes("build-site", "documents").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_without_cases_says_so() {
    let sandbox = sandbox();
    let plugin = sandbox.load(approval().into()).await.unwrap();
    let error = cases::run(&sandbox, &plugin, Path::new("no/cases"), &Options::default(), |_| ()).await.unwrap_err();
    assert!(matches!(&error, CasesError::Missing(folder) if folder == Path::new("no/cases")), "{error}");
}
