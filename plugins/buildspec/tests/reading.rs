//! Buildspecs of the shapes that projects have (`specs/*.yml`) are read without an error, what batches make of their files,
//! and texts that are broken in every way are refused and never panic.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pipewright_buildspec::{
    Batch, Build, Buildspec, COMMANDS_MAX, Context, Course, Due, End, Entry, Left, Listing, Next, PhaseName, Section,
    Session, Status, Where, matches, select,
};
use proptest::prelude::*;

fn specs() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/specs");
    let mut specs: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
        .collect();
    specs.sort();
    specs
}

fn spec(name: &str) -> Buildspec {
    let (_, text) = specs().into_iter().find(|(other, _)| other == name).unwrap();
    Buildspec::parse(&text).unwrap().buildspec
}

#[test]
fn shapes_of_projects() {
    let specs = specs();
    assert!(specs.len() >= 20, "{} buildspecs", specs.len());
    for (name, text) in specs {
        let parsed = Buildspec::parse(&text).unwrap_or_else(|problems| panic!("{name}:\n{problems}"));
        assert_eq!(parsed.warnings, [], "{name}");
        // The same with the ends of lines of Windows.
        let again =
            Buildspec::parse(&text.replace('\n', "\r\n")).unwrap_or_else(|problems| panic!("{name}:\n{problems}"));
        assert_eq!(again.buildspec, parsed.buildspec, "{name}");
    }
}

#[test]
fn commands_are_bounded() {
    let phases = |install: usize, build: usize, finally: usize| {
        let list = |count: usize| "\n      - a".repeat(count);
        let (install, build, finally) = (list(install), list(build), list(finally));
        let install = format!("  install:\n    commands:{install}\n");
        Buildspec::parse(&format!(
            "version: 0.2\nphases:\n{install}  build:\n    commands:{build}\n    finally:{finally}\n"
        ))
    };
    assert!(phases(COMMANDS_MAX - 2, 1, 1).is_ok());
    let problems = phases(COMMANDS_MAX - 2, 1, 2).unwrap_err().to_string();
    assert!(
        problems.contains("phases: there are 1001 commands; 1000 is the most: put some into a script"),
        "{problems}"
    );
}

#[test]
fn values_are_what_is_written() {
    let terraform = spec("terraform");
    assert_eq!(terraform.env.variables[1], ("TF_VERSION".to_owned(), "1.9.5".to_owned()));
    assert!(terraform.env.git_credential_helper);
    assert_eq!(spec("dotnet").phases.install.runtime_versions, [("dotnet".to_owned(), "8.0".to_owned())]);
    let helm = spec("helm");
    assert_eq!(helm.env.secrets_manager[1].1.json_key.as_deref(), Some("password"));
    assert_eq!(
        helm.phases.build.commands[0].text,
        "helm upgrade --install app charts/app --set image.tag=$TAG --wait --timeout 5m"
    );
    let scan = spec("security-scan");
    assert_eq!(scan.phases.install.run_as.as_deref(), Some("root"));
    assert_eq!(scan.phases.build.run_as.as_deref(), Some("scanner"));
}

fn run(batch: &Batch, failing: &[&str]) -> (Vec<String>, bool) {
    let mut ended = BTreeMap::new();
    let mut order = Vec::new();
    while let Some(next) = batch.next(&ended) {
        order.push(next.identifier.clone());
        ended.insert(next.identifier.clone(), !failing.contains(&next.identifier.as_str()));
    }
    (order, batch.succeeded(&ended))
}

#[test]
fn batches() {
    let check = |name: &str, failing: &[&str], order: &[&str], succeeded: bool| {
        let batch = spec(name).batch.unwrap();
        assert_eq!(
            run(&batch, failing),
            (order.iter().map(|it| (*it).to_owned()).collect(), succeeded),
            "{name} {failing:?}"
        );
    };
    check("batch-list", &[], &["linux_x86", "linux_arm"], true);
    check("batch-list", &["linux_x86"], &["linux_x86", "linux_arm"], false);
    check("batch-list", &["linux_arm"], &["linux_x86", "linux_arm"], true);
    check("batch-graph", &[], &["build", "unit", "deploy"], true);
    check("batch-graph", &["build"], &["build"], false);
    check("batch-graph", &["unit"], &["build", "unit"], false);
    check("batch-matrix", &["build_2"], &["build_1", "build_2", "build_3", "build_4"], false);
    let graph = "version: 0.2\nbatch: {build-graph: [{identifier: a}, {identifier: b, depend-on: [a]}, {identifier: c}]}\nphases: {}\n";
    let graph = Buildspec::parse(graph).unwrap().buildspec.batch.unwrap();
    assert_eq!(run(&graph, &["a"]), (vec!["a".to_owned(), "c".to_owned()], false));
}

#[test]
fn a_matrix_is_every_combination() {
    let batch = spec("batch-matrix").batch.unwrap();
    let shown: Vec<_> = batch
        .builds
        .iter()
        .map(|build| {
            format!("{} {} {}", build.identifier, build.env.image.as_deref().unwrap(), build.env.variables[0].1)
        })
        .collect();
    let expected = [
        "build_1 aws/codebuild/standard:6.0 postgres",
        "build_2 aws/codebuild/standard:6.0 mysql",
        "build_3 aws/codebuild/standard:7.0 postgres",
        "build_4 aws/codebuild/standard:7.0 mysql",
    ];
    assert_eq!(shown, expected);
    assert!(batch.builds.iter().all(|build| build.env.privileged_mode));
}

#[test]
fn a_build_without_its_source() {
    let mut build = Build::without_source(Context::new("YAML_FILE_ERROR", "no such file"));
    assert_eq!((build.next(), build.status()), (Next::Nothing, Status::Failed));
    assert_eq!(build.failure().unwrap().phase, PhaseName::DownloadSource);
    let log = [
        "Phase complete: DOWNLOAD_SOURCE State: FAILED",
        "Phase context status code: YAML_FILE_ERROR Message: no such file",
    ];
    assert_eq!(build.take_log(), log);
}

#[test]
fn commands_of_an_action() {
    let check = |failing: usize, count: usize, uploads: bool, status: Status| {
        let list = |items: &[&str]| items.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        let buildspec = Buildspec::of_commands(&list(&["a", "b", "c"]), &list(&["X"]), &list(&["**/"]));
        let mut build = Build::new(&buildspec, true);
        let mut ran = 0;
        while let Next::Run(run) = build.next() {
            ran += 1;
            assert_eq!((run.command.text.as_str(), run.command.line as usize), (["a", "b", "c"][ran - 1], ran));
            build.ended(i32::from(ran == failing));
        }
        assert_eq!((ran, build.next() == Next::Upload, build.status()), (count, uploads, status));
    };
    check(0, 3, true, Status::InProgress);
    check(2, 2, false, Status::Failed);
    check(3, 3, false, Status::Failed);
}

/// Each directory has two links to the next one: as many ways as a number of 30 bits.
#[test]
fn links_that_multiply() {
    let mut listing = Listing::new();
    for number in 0..30 {
        for name in ["a", "b"] {
            listing.insert(format!("/source/{number}/{name}"), Entry::Link(format!("../{}", number + 1)));
        }
    }
    listing.insert("/source/30/file".to_owned(), Entry::File);
    let section = Section { files: vec!["**/*".to_owned()], ..Section::default() };
    let at = Where { source_directory: "/source", working_directory: "/source", variables: &BTreeMap::new() };
    let context = select(&section, None, &at, &listing).unwrap_err();
    assert!(context.message.starts_with("more than 500000 files below /source"), "{}", context.message);
}

/// Reads it, and where that works goes through the whole build, with every third command failing.
fn survive(text: &str) {
    let Ok(parsed) = Buildspec::parse(text) else { return };
    [true, false].iter().for_each(|has_artifacts| go_through(&parsed.buildspec, *has_artifacts));
}

fn go_through(buildspec: &Buildspec, has_artifacts: bool) {
    let session = || Session::new("/state", "/source", BTreeMap::new(), BTreeSet::new());
    let mut course = Course::new(buildspec, has_artifacts, session());
    let mut leaves = true;
    for number in 0..1_000 {
        let due = course.due();
        assert!(
            leaves || matches!(due, Due::BeginAgain | Due::Nothing),
            "what a job left is wanted, and it left nothing"
        );
        match due {
            Due::Job(job) => {
                leaves = job.leaves;
                // Every third command fails.
                let exits: String =
                    (0..job.count).map(|at| if (number + at) % 3 == 2 { "1\n" } else { "0\n" }).collect();
                let left = |name: &str, _| Ok::<_, ()>(if name == "exits" { exits.clone().into() } else { Vec::new() });
                let end = End { status: 1, is_out_of_time: false, count: job.count };
                assert!(course.ended(end, &Left::take(left).unwrap()).is_ok());
            }
            Due::BeginAgain => {
                leaves = true;
                course.began_again(session());
            }
            Due::Upload => course.uploaded(Ok(())),
            Due::Nothing => return,
        }
    }
}

#[test]
fn every_end_of_a_text() {
    for (_, text) in specs() {
        for (end, _) in text.char_indices() {
            survive(&text[..end]);
        }
    }
}

#[test]
fn every_line_left_out_or_moved() {
    for (_, text) in specs() {
        let lines: Vec<_> = text.lines().collect();
        for number in 0..lines.len() {
            let mut without = lines.clone();
            let line = without.remove(number);
            survive(&without.join("\n"));
            let moved = format!("  {line}");
            without.insert(number, &moved);
            survive(&without.join("\n"));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn changed_texts(which in 0_usize..1_000, changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\x00-\\x7fä\u{feff}]{0,4}"), 1..6)) {
        let specs = specs();
        let mut text: Vec<char> = specs[which % specs.len()].1.chars().collect();
        for (at, new) in &changes {
            let at = at.index(text.len());
            text.splice(at..=at, new.chars());
            if text.is_empty() {
                text.push('\n');
            }
        }
        survive(&text.into_iter().collect::<String>());
    }

    #[test]
    fn texts_of_yaml_characters(text in "[-a-c:{}\\[\\],&*!|>'\"%@`#? \n\t~<]{0,200}") {
        survive(&text);
    }

    #[test]
    fn patterns_and_paths(pattern in "[ab*?\\[\\]!^\\\\/.-]{0,40}", path in "[ab/.-]{0,40}") {
        matches(&pattern, &path);
    }
}
