//! Builds whose commands really run, by the fake host of the SDK.

use build_jobs::testing::to_the_end;
use pipewright_sdk::testing::Host;
use pipewright_sdk::{FailureKind, Status as Told};

use super::*;

fn settings() -> Configuration {
    Configuration {
        project_name: "app".to_owned(),
        primary_source: None,
        environment_variables: None,
        buildspec_override: None,
        batch_enabled: false,
        combine_artifacts: false,
        service_role_arn_override: None,
    }
}

fn with(change: impl FnOnce(&mut Configuration)) -> Configuration {
    let mut settings = settings();
    change(&mut settings);
    settings
}

/// The settings are read anew in every call.
fn build(host: Host, settings: impl Fn() -> Configuration) -> (Host, Result<Report<Exported>>) {
    to_the_end(host, |action| codebuild(action, settings()))
}

fn source(buildspec: &str) -> Host {
    Host::new().input("Source", &[("buildspec.yml", buildspec), ("main.txt", "text\n")])
}

const WHOLE: &str = "
version: 0.2
env:
  variables: {GREETING: hello}
  exported-variables: [VERSION, LOUD]
phases:
  install: {commands: [mkdir out, cd out]}
  build:
    commands:
      - VERSION=1.2.3
      - |
        LOUD=\"$(echo $GREETING | tr a-z A-Z)\"
        cat ../main.txt > app.txt
  post_build: {commands: [pwd > where.txt]}
artifacts:
  base-directory: out
  files: ['**/*']
";

#[test]
fn a_build_makes_its_artifact_and_exports_variables() {
    let (host, report) = build(source(WHOLE).output("Built"), settings);
    let report = report.unwrap();
    let exported = [("VERSION", "1.2.3"), ("LOUD", "HELLO")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(report.variables, exported);
    assert_eq!((report.summary, report.external_id.as_deref()), (None, Some("app:case")));
    assert_eq!(host.read("outputs/Built/app.txt"), "text\n");
    assert!(host.read("outputs/Built/where.txt").trim_end().ends_with("/src/out"));
    let log = host.log();
    for line in [
        "No directory `projects` is granted",
        "Phase complete: DOWNLOAD_SOURCE State: SUCCEEDED",
        "Running command VERSION=1.2.3",
        "Phase complete: UPLOAD_ARTIFACTS State: SUCCEEDED",
    ] {
        assert_eq!(log.matches(line).count(), 1, "{line}\n{log}");
    }
}

#[test]
fn failures_are_told_in_the_words_of_codebuild() {
    let check = |buildspec: &str, phase: &str, message: &str| {
        let (host, report) = build(source(buildspec).output("Built"), settings);
        let failure = report.unwrap_err();
        assert_eq!(failure.kind, FailureKind::JobFailed);
        let begins = format!("Build terminated with state: FAILED. Phase: {phase}, Code: {message}");
        assert!(failure.message.starts_with(&begins), "{}", failure.message);
        host.log()
    };
    let log = check(
        "version: 0.2\nphases: {build: {commands: [echo one, exit 7, echo two], finally: [echo last]}}",
        "BUILD",
        "COMMAND_EXECUTION_ERROR, Message: Error while executing command: exit 7. Reason: exit status 7",
    );
    assert!(log.contains("\none\n") && log.contains("\nlast\n") && !log.contains("\ntwo\n"), "{log}");
    check(
        "version: 0.2\nphases: {}\nartifacts: {files: [none]}",
        "UPLOAD_ARTIFACTS",
        "CLIENT_ERROR, Message: no matching artifact paths",
    );
    check("version: 0.3\nphases: {}", "DOWNLOAD_SOURCE", "YAML_FILE_ERROR, Message: line 1, column 10: version");
    let (_host, report) = build(Host::new().input("Source", &[]), settings);
    assert!(report.unwrap_err().message.ends_with("/src/buildspec.yml: no such file or directory"));
}

/// Of a file in the granted directory: image, variables, time, and the buildspec itself.
#[test]
fn a_project_says_what_its_builds_begin_with() {
    let project = r#"{"name": "app", "timeoutInMinutes": 5, "serviceRole": "unused",
        "source": {"type": "CODEPIPELINE", "buildspec": "ci/build.yml"},
        "environment": {"image": "registry.example/rust:1", "environmentVariables": [
            {"name": "KIND", "value": "project"}, {"name": "MODE", "value": "project"},
            {"name": "TOKEN", "value": "deploy-token", "type": "PARAMETER_STORE"}]}}"#;
    let spec = "version: 0.2\nenv: {exported-variables: [KIND, MODE, TOKEN]}\n\
        phases: {build: {commands: ['test ${#TOKEN} = 6', 'test ${#TOKEN} = 6']}}";
    let host = Host::new()
        .input("Source", &[("ci/build.yml", spec)])
        .directory("projects", &[("app.json", project)])
        .secret("deploy-token", "s3cret");
    let settings = || {
        with(|it| it.environment_variables = Some(r#"[{"name":"MODE","value":"action","type":"PLAINTEXT"}]"#.into()))
    };
    let Ok(Step::Waiting(wait)) = codebuild(&host.action(), settings()) else { panic!("it does not wait") };
    let job = host.job();
    assert_eq!(
        (job.image.as_deref(), job.wall_seconds, job.network),
        (Some("registry.example/rust:1"), Some(300), true)
    );
    let secrets: Vec<_> = job.secrets.iter().map(|it| (it.name.as_str(), it.value.as_str())).collect();
    assert_eq!(secrets, [("TOKEN", "deploy-token")]);
    assert!(job.environment.iter().all(|variable| variable.name != "TOKEN"));
    drop((wait, host));

    let host = Host::new()
        .input("Source", &[("ci/build.yml", spec)])
        .directory("projects", &[("app.json", project)])
        .secret("deploy-token", "s3cret");
    let (host, report) = build(host, settings);
    let exported = [("KIND", "project"), ("MODE", "action")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(report.unwrap().variables, exported);
    for file in fs::read_dir(host.path("scratch/shell")).unwrap() {
        let file = file.unwrap().path();
        assert!(!fs::read_to_string(&file).unwrap().contains("s3cret"), "{}", file.display());
    }
}

/// Each command has the secret, and none finds it in a file of the commands before it.
#[test]
fn a_secret_lies_in_no_file_between_two_commands() {
    let value = "it's \"quoted\" $HOME \\ `x`\n  and long ";
    let spec = format!(
        "version: 0.2
env: {{secrets-manager: {{TOKEN: token}}}}
phases:
  build:
    commands:
      - test \"${{#TOKEN}}\" = {length} && printf %s \"$TOKEN\" | cksum > first && KEPT=yes
      - printf %s \"$TOKEN\" | cksum | cmp first - && test \"$KEPT\" = yes
      - '! grep -rq \"an[d] long\" ../shell && TOKEN=changed'
      - 'test \"${{#TOKEN}}\" = {length} && cat > read && test ! -s read'
    finally: ['test \"${{#TOKEN}}\" = {length}']
",
        length = value.len(),
    );
    let (host, report) = build(source(&spec).secret("token", value), settings);
    assert!(report.is_ok(), "{}", host.log());
}

#[test]
fn several_inputs_and_outputs() {
    let spec = "version: 0.2\nphases: {build: {commands: ['cp \"$CODEBUILD_SRC_DIR_my_lib/lib.txt\" .']}}\n\
        artifacts:\n  files: [none]\n  secondary-artifacts:\n    App: {files: [main.txt]}\n    Lib: {files: [lib.txt]}\n";
    let host = || source(spec).input("my-lib", &[("lib.txt", "lib")]).output("App").output("Lib");
    let (host_after, report) = build(host(), || with(|it| it.primary_source = Some("Source".to_owned())));
    report.unwrap();
    assert_eq!(host_after.read("outputs/App/main.txt"), "text\n");
    assert_eq!(host_after.read("outputs/Lib/lib.txt"), "lib");
    drop(host_after);
    let (_host, report) = build(host(), settings);
    assert!(report.unwrap_err().message.contains("set `PrimarySource` to one of `Source`, `my-lib`"));
}

#[test]
fn a_file_is_there_for_all_that_want_it() {
    let check = |commands: &str, files: &[&str]| {
        let spec = format!(
            "version: 0.2\nphases: {{build: {{commands: ['{commands}']}}}}\nartifacts: {{files: ['*.txt', 'deep/**/*']}}\n\
             reports: {{unit: {{files: [deep/unit.xml]}}}}\n"
        );
        for spec in [spec.as_str(), spec.split_once("reports").unwrap().0] {
            let (host, report) = build(source(spec).output("Built"), settings);
            report.unwrap();
            for file in files {
                assert_eq!(host.read(&format!("outputs/Built/{file}")), "text\n", "{file}");
            }
            let is_report = spec.contains("reports") && files.contains(&"deep/unit.xml");
            assert_eq!(host.log().contains("Report unit: deep/unit.xml: "), is_report, "{}", host.log());
        }
    };
    check(
        "mkdir deep && cp main.txt deep/unit.xml && cp main.txt deep/more",
        &["main.txt", "deep/unit.xml", "deep/more"],
    );
    check("ln -s main.txt again.txt && ln -s . deep", &["main.txt", "again.txt"]);
    check("ln main.txt again.txt && mkdir deep && ln main.txt deep/third", &["main.txt", "again.txt", "deep/third"]);
}

#[test]
fn what_the_settings_may_not_say() {
    let check = |settings: &dyn Fn() -> Configuration, text: &str| {
        let (_host, report) = build(source(WHOLE), settings);
        let failure = report.unwrap_err();
        assert_eq!(failure.kind, FailureKind::ConfigurationError);
        assert!(failure.message.contains(text), "{}", failure.message);
    };
    check(&|| with(|it| it.combine_artifacts = true), "`CombineArtifacts` is of a batch");
    check(&|| with(|it| it.batch_enabled = true), "the buildspec has no `batch`");
    check(&|| with(|it| it.project_name = "../app".to_owned()), "is no name of a project");
    check(&|| with(|it| it.primary_source = Some("Other".to_owned())), "the input artifacts are `Source`");
    check(
        &|| with(|it| it.environment_variables = Some("[{\"name\":\"A\",\"value\":\"x\ny\"}]".to_owned())),
        "line break",
    );
    check(&|| with(|it| it.buildspec_override = Some("arn:aws:s3:::b/x.yml".to_owned())), "is not to be had");
}

#[test]
fn an_override_is_the_buildspec() {
    let text = "version: 0.2\nphases: {build: {commands: [echo inline]}}\n";
    let (host, report) = build(source(WHOLE), || with(|it| it.buildspec_override = Some(text.to_owned())));
    report.unwrap();
    assert!(host.log().contains("\ninline\n"), "{}", host.log());
}

#[test]
fn a_build_whose_time_is_over_runs_nothing_more() {
    let host = source("version: 0.2\nphases: {build: {commands: [sleep 100], finally: [echo never]}}");
    let Ok(Step::Waiting(wait)) = codebuild(&host.action(), settings()) else { panic!("it does not wait") };
    host.job();
    let ended = commands::Ended { limit: Some("wall-seconds".to_owned()), ..pipewright_sdk::testing::exited(137) };
    let host = host.ended(wait, ended);
    let failure = codebuild(&host.action(), settings()).err().unwrap();
    assert!(failure.message.contains("Phase: BUILD, Code: BUILD_TIMED_OUT"), "{}", failure.message);
}

const REPORTED: &str = "
version: 0.2
phases: {build: {commands: ['exit STATUS']}}
reports: {unit: {files: ['*.xml'], base-directory: results}}
";

#[test]
fn the_cases_of_reports() {
    let junit = r#"<testsuite name="s"><testcase name="a"/><testcase name="b"><failure message="1 is not 2"/></testcase></testsuite>"#;
    let check = |status: &str, expected: &[(&str, Told)], summary: &str| {
        let host = Host::new()
            .input("Source", &[("buildspec.yml", &REPORTED.replace("STATUS", status)), ("results/unit.xml", junit)]);
        let (host, tested) = to_the_end(host, |action| codebuild_test(action, settings()));
        let tested = tested.unwrap();
        let cases: Vec<_> = tested.cases.iter().map(|case| (case.name.as_str(), case.status)).collect();
        assert_eq!(cases, expected);
        assert!(tested.report.summary.unwrap().starts_with(summary));
        assert!(host.log().contains("Report unit: 2 cases: 1 succeeded, 1 failed"), "{}", host.log());
    };
    check("0", &[("s a", Told::Passed), ("s b", Told::Skipped)], "2 cases: 1 succeeded, 1 failed");
    check("1", &[("s a", Told::Passed), ("s b", Told::Failed)], "Build terminated with state: FAILED. Phase: BUILD");
}

#[test]
fn what_is_no_report_fails_nothing() {
    let check = |reports: &[(&str, &str)], said: &str| {
        let buildspec = REPORTED.replace("STATUS", "0");
        let files = [&[("buildspec.yml", buildspec.as_str())], reports].concat();
        let (host, report) = build(Host::new().input("Source", &files), settings);
        assert!(report.is_ok() && host.log().contains(said), "{report:?}\n{}", host.log());
    };
    check(&[("results/unit.xml", "<testsuite")], "Report unit: unit.xml: ");
    check(&[("results/other.txt", "")], "Report unit: no matching");
}

/// In one job, and in the next one after a failure.
#[test]
fn what_a_command_finds_of_the_one_before() {
    let check = |shell: &str, jobs: usize, commands: &[&str], finally: &[&str]| {
        let commands: Vec<_> = commands.iter().map(|command| format!("      - |\n        {command}\n")).collect();
        let finally: Vec<_> = finally.iter().map(|command| format!("      - |\n        {command}\n")).collect();
        let spec = format!(
            "version: 0.2\nenv: {{shell: {shell}}}\nphases:\n  build:\n    commands:\n{}    finally:\n{}",
            commands.concat(),
            finally.concat()
        );
        let (host, report) = build(source(&spec), settings);
        let log = host.log();
        assert_eq!(report.is_ok(), jobs == 1, "{shell}: {report:?}\n{log}");
        assert!(log.lines().all(|line| line != "not so"), "{shell}: {log}");
    };
    for shell in ["/bin/sh", "bash"] {
        let kept = [
            "mkdir d; cd d; A=\"x  y'z\"; export B=1; f() { :; }; IFS=,; set -e",
            "test \"$A$B\" = \"x  y'z1\" && test \"$(pwd)\" = \"$CODEBUILD_SRC_DIR/d\" || echo not so",
            "! f 2>/dev/null || echo not so; set -- $A; test $# = 2 || echo not so; unset B; C=2; exit 0",
            "test \"${B-none}$C\" = none2 || echo not so; trap 'echo trapped' EXIT; D=3",
            "test $D = 3 || echo not so; env | grep -q '^CODEBUILD_SRC_DIR_a-b=' && test $# = 0 || true",
            "(while [ ! -e stop ]; do sleep 0.01; done; echo >stopped) >/dev/null 2>&1 &",
            "echo >stop; until [ -e stopped ]; do sleep 0.01; done",
        ];
        check(shell, 1, &kept, &["test $CODEBUILD_LAST_EXIT = 0 || echo not so"]);
        let failing = ["cd ..; E=4; (exit 5)", "echo not so"];
        let after = [
            "test $E$CODEBUILD_LAST_EXIT$CODEBUILD_BUILD_SUCCEEDING = 450 || echo not so",
            "F=6",
            "test $E$F = 46 || echo not so",
        ];
        check(shell, 2, &failing, &after);
        check(
            shell,
            2,
            &["E=4", "F=5; kill -9 $$"],
            &["test $E${F-none}$CODEBUILD_LAST_EXIT = 4none137 || echo not so"],
        );
    }
}

/// The build again, from the sources as they were.
#[test]
fn a_retry_begins_anew() {
    let spec = "version: 0.2\nphases:\n  build:\n    on-failure: RETRY-1\n    commands: ['test ! -e made', touch made, exit 3]\n";
    let (host, report) = build(source(spec), settings);
    assert!(report.unwrap_err().message.contains("exit 3. Reason: exit status 3"));
    assert_eq!(host.log().matches("Running command touch made").count(), 2, "{}", host.log());
}

/// As an action of a host that knows of projects: without a source, and with what only the host knows.
#[test]
fn a_build_is_told_of_itself_by_its_host() {
    let buildspec = "
version: 0.2
env: {exported-variables: [SAID]}
phases: {build: {commands: ['SAID=\"$CODEBUILD_BUILD_NUMBER $CODEBUILD_INITIATOR $CODEBUILD_SOURCE_VERSION$(ls -A)\"']}}
";
    let told = [("ID", "app:1"), ("NUMBER", "7")].map(|(name, value)| (format!("CODEBUILD_BUILD_{name}"), value));
    let host = told.iter().fold(Host::new(), |host, (name, value)| host.environment(name, value));
    let host = host.environment("CODEBUILD_INITIATOR", "ada").environment("CODEBUILD_SOURCE_VERSION", "main");
    let (_, report) = build(host, || with(|settings| settings.buildspec_override = Some(buildspec.to_owned())));
    let report = report.unwrap();
    assert_eq!(report.external_id.as_deref(), Some("app:1"));
    assert_eq!(report.variables, [("SAID".to_owned(), "7 ada main".to_owned())]);
}

const CACHED: &str = "
version: 0.2
phases: {build: {commands: ['cat lib/*/* ~/.m2/* || true', 'mkdir -p lib/a ~/.m2', 'echo made >lib/a/new', 'echo home >~/.m2/jar', 'ln -s new lib/a/link', 'exit ${STATUS:-0}']}}
cache: {paths: ['lib/**/*', '/root/.m2/**/*'], key: 'v$KIND-$(codebuild-hash-files *.txt)', fallback-keys: [v1-]}
";

/// A build with a cache of the project, which an earlier one kept under each of these keys.
fn cached(kind: &str, status: &str, kept: &[&str]) -> (Host, Result<Report<Exported>>) {
    let variables = format!(r#"[{{"name": "KIND", "value": "1"}}, {{"name": "STATUS", "value": "{status}"}}]"#);
    let project = format!(
        r#"{{"cache": {{"type": "{kind}", "modes": ["LOCAL_CUSTOM_CACHE"]}}, "environment": {{"environmentVariables": {variables}}}}}"#
    );
    let host = Host::new()
        .input("Source", &[("buildspec.yml", CACHED), ("a.txt", "a"), ("lib/a/own", "of the source\n")])
        .directory("projects", &[("app.json", &project)]);
    let files = [
        ("src/lib/a/own", "of the cache\n"),
        ("src/lib/b/kept", "kept\n"),
        (".home/.m2/jar", "at home\n"),
        ("x/y", "z"),
    ];
    build(kept.iter().fold(host, |host, key| host.cache(key, &files)), settings)
}

#[test]
fn a_build_begins_with_its_cache_and_keeps_it_if_it_succeeded() {
    let (host, report) = cached("S3", "0", &[]);
    report.unwrap();
    let saved = host.saved_caches();
    let [(key, directory)] = saved.as_slice() else { panic!("{saved:?}") };
    assert!(host.log().contains(&format!("There is no cache `{key}` yet")), "{}", host.log());
    let of_paths = key.split_once(":v1-").unwrap().0;
    for (path, text) in [("src/lib/a/new", "made\n"), ("src/lib/a/own", "of the source\n"), (".home/.m2/jar", "home\n")]
    {
        assert_eq!(host.read(&format!("scratch/{directory}/{path}")), text);
    }
    assert_eq!(fs::read_link(host.path(&format!("scratch/{directory}/src/lib/a/link"))).unwrap().to_str(), Some("new"));
    drop(host);

    // The very key stays as it is; what begins with a fallback is used, and its own is made.
    let other = format!("{of_paths}:v1-other");
    for (kept, saves) in [(key.as_str(), 0), (&other, 1)] {
        let (host, report) = cached("LOCAL", "0", &[kept]);
        report.unwrap();
        assert_eq!(host.saved_caches().len(), saves, "{kept}");
        assert!(host.log().contains("of the source\nkept\nat home\n"), "{}", host.log());
        assert!(!host.path("scratch/x").exists());
    }
}

#[test]
fn what_keeps_a_build_from_a_cache() {
    let check = |kind: &str, status: &str, said: &str| {
        let (host, report) = cached(kind, status, &["other:v1-x"]);
        assert_eq!(report.is_ok(), status == "0");
        assert!(host.saved_caches().is_empty(), "{kind} {status}");
        assert!(host.log().contains(said), "{}", host.log());
        assert!(!host.log().contains("kept\n"), "{}", host.log());
    };
    check("NO_CACHE", "0", "Passed over: cache: the project keeps none");
    check("S3", "3", "There is no cache");
}

#[test]
fn a_rule_passes_where_its_build_succeeds() {
    let judged = |command: &str, batch: bool| {
        let spec = format!(
            "version: 0.2\nbatch: {{build-list: [{{identifier: one}}]}}\nphases: {{build: {{commands: ['{command}']}}}}\n\
             artifacts: {{files: [main.txt]}}\n"
        );
        let settings = || RuleConfiguration {
            project_name: "app".to_owned(),
            primary_source: None,
            environment_variables: None,
            batch_enabled: batch,
            combine_artifacts: Some("true".to_owned()),
        };
        let (_host, verdict) = to_the_end(source(&spec), |action| codebuild_rule(action, settings()));
        let Verdict { passed, reason } = verdict.unwrap();
        (passed, reason.unwrap_or_default())
    };
    for batch in [false, true] {
        assert_eq!(judged("true", batch), (true, String::new()));
        let (passed, reason) = judged("exit 3", batch);
        assert!(!passed && reason.contains("terminated with state: FAILED."), "{reason}");
    }
}
