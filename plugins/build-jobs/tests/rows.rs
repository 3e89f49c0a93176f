//! Builds as data: `plugins/buildspec/tests/rows`. Each row is a small buildspec, and what comes of it when it is carried out as
//! the plugins do, by jobs whose commands run in the real shells: under `sh` and under `bash`, unless it names its shell.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use build_jobs::testing::to_the_end_or;
use build_jobs::{Ended, Plan, Progress, advance, directory_of, source_directory};
use pipewright_buildspec::{About, Buildspec, KEYS, Origins, Parsed, Shell, Source, Status, environment};
use pipewright_sdk::prelude::{Action, Step};
use pipewright_sdk::testing::Host;

#[derive(Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    row: Vec<Row>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Row {
    name: String,
    buildspec: String,
    /// What the build is started with.
    variables: BTreeMap<String, String>,
    /// The source: a content, `-> TARGET` for a link, `x` before the content's first line for a program.
    files: BTreeMap<String, String>,
    /// Where they are others than the keys of `artifacts`.
    outputs: Option<Vec<String>>,
    /// Once this file is in the source, the build has run out of time.
    timed_out: Option<String>,

    /// The text of every error; then nothing runs.
    errors: Option<Vec<String>>,
    warnings: Vec<String>,
    /// `!` stands behind a phase that failed. Without it, all succeed.
    phases: Option<String>,
    status: Option<String>,
    /// The code and the message of the first phase that failed.
    failure: Option<String>,
    /// What the commands write. `SRC` stands for the source directory.
    output: Option<String>,
    /// The build's whole log, with the output.
    log: Option<String>,
    /// Lines that it has.
    log_has: Vec<String>,
    exported: BTreeMap<String, String>,
    /// What is said of the commands' environment, of the outputs and of the exports.
    notes: Vec<String>,
    /// By output, the names of the files; a link is `NAME -> TARGET`.
    artifacts: BTreeMap<String, Vec<String>>,
    /// What the artifacts' log has, among other lines.
    artifacts_log: Vec<String>,
    /// The primary artifact's name, expanded.
    artifact_name: Option<String>,
}

/// What came of a build.
#[derive(Default)]
struct Outcome {
    phases: String,
    status: String,
    failure: Option<String>,
    output: String,
    log: String,
    exported: BTreeMap<String, String>,
    artifacts: BTreeMap<String, Vec<String>>,
    artifact_name: Option<String>,
}

fn rows() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../buildspec/tests/rows");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: &Path| {
        let rows: Rows = toml::from_str(&fs::read_to_string(file).unwrap())
            .unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        rows.row
    };
    files.iter().flat_map(|file| read(file)).collect()
}

#[test]
fn each_row() {
    let rows = rows();
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows have one name");
    assert!(rows.len() >= 150, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for row in &rows {
        match Buildspec::parse(&row.buildspec) {
            Err(problems) => {
                let told: Vec<_> = problems.0.iter().map(ToString::to_string).collect();
                if row.errors.as_ref() != Some(&told) {
                    wrong.push(format!("{}\n  errors {told:#?}", row.name));
                }
            }
            Ok(_) if row.errors.is_some() => wrong.push(format!("{}\n  is read without an error", row.name)),
            Ok(parsed) => wrong.extend(run_row(row, &parsed)),
        }
    }
    assert!(wrong.is_empty(), "{} rows of {}:\n{}", wrong.len(), rows.len(), wrong.join("\n"));
}

/// Every key of the language stands in a row.
#[test]
fn each_key_has_a_row() {
    let rows = rows();
    let is_used = |key: &str| rows.iter().any(|row| row.buildspec.contains(&format!("{key}:")));
    let unused: Vec<_> = KEYS.iter().flat_map(|(_, keys)| *keys).filter(|key| !is_used(key)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

fn run_row(row: &Row, parsed: &Parsed) -> Vec<String> {
    let shells =
        if row.buildspec.contains("shell:") { vec![parsed.buildspec.env.shell] } else { vec![Shell::Sh, Shell::Bash] };
    let mut wrong = Vec::new();
    for shell in shells {
        let mut buildspec = parsed.buildspec.clone();
        buildspec.env.shell = shell;
        let outcome = build(row, &buildspec);
        let differences = differences(row, parsed, &outcome);
        if !differences.is_empty() {
            wrong.push(format!("{} ({}):\n  {}", row.name, shell.program(), differences.join("\n  ")));
        }
    }
    wrong
}

fn differences(row: &Row, parsed: &Parsed, outcome: &Outcome) -> Vec<String> {
    let mut all = Vec::new();
    let mut check = |what: &str, is_right: bool, found: String| {
        if !is_right {
            all.push(format!("{what}: {found}"));
        }
    };
    let warnings: Vec<_> = parsed.warnings.iter().map(ToString::to_string).collect();
    check("warnings", row.warnings == warnings, format!("{warnings:#?}"));
    let phases = row.phases.as_deref().unwrap_or("INSTALL PRE_BUILD BUILD POST_BUILD UPLOAD_ARTIFACTS FINALIZING");
    check("phases", phases == outcome.phases, outcome.phases.clone());
    let status = row.status.as_deref().unwrap_or(if phases.contains('!') { "FAILED" } else { "SUCCEEDED" });
    check("status", status == outcome.status, outcome.status.clone());
    let failure = outcome.failure.clone().unwrap_or_default();
    check("failure", row.failure.as_ref().is_none_or(|it| *it == failure), failure);
    check("output", row.output.as_ref().is_none_or(|it| lines(it) == lines(&outcome.output)), outcome.output.clone());
    check("log", row.log.as_ref().is_none_or(|it| lines(it) == lines(&outcome.log)), outcome.log.clone());
    let has = row.log_has.iter().all(|line| lines(&outcome.log).contains(&line.as_str()));
    check("log_has", has, outcome.log.clone());
    check("exported", row.exported == outcome.exported, format!("{:?}", outcome.exported));
    let noted = row.notes.iter().all(|note| outcome.log.lines().any(|line| line == note));
    check("notes", noted, outcome.log.clone());
    check("artifacts", row.artifacts == outcome.artifacts, format!("{:?}", outcome.artifacts));
    let logged = row.artifacts_log.iter().all(|note| outcome.log.lines().any(|line| line == note));
    check("artifacts_log", logged, outcome.log.clone());
    check("artifact_name", row.artifact_name == outcome.artifact_name, format!("{:?}", outcome.artifact_name));
    all
}

/// Without the blanks at the ends of lines, which no editor of the rows should have to keep.
fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

fn build(row: &Row, buildspec: &Buildspec) -> Outcome {
    let mut host = Host::new().input("source", &[]).input("second-one", &[]);
    let outputs = row.outputs.clone().unwrap_or_else(|| row.artifacts.keys().cloned().collect());
    for output in &outputs {
        host = host.output(output);
    }
    lay_out(&host.path("inputs/source"), &row.files);
    let act = |action: &Action| {
        let plan = Plan {
            buildspec,
            primary: Some("source"),
            environment: first_environment(row, buildspec, action),
            secrets: BTreeMap::new(),
            image: None,
            wall_seconds_max: Some(600),
        };
        Ok(match advance(action, &plan)? {
            Progress::Waiting(wait) => Step::Waiting(wait),
            Progress::Ended(mut ended) => {
                ended.upload(action, buildspec);
                let exported = ended.exported(buildspec, &BTreeSet::new())?;
                Step::Done((ended, exported))
            }
        })
    };
    let over = row.timed_out.as_ref().map(|file| host.path("scratch/src").join(file));
    let source = host.path("scratch/src").to_str().unwrap().to_owned();
    let (host, done) = to_the_end_or(host, over.as_deref(), act);
    let (ended, exported) = done.unwrap_or_else(|failure| panic!("{}: {}", row.name, failure.message));
    let log = host.log().replace(&source, "SRC");
    let mut outcome = shown(&ended, &source);
    outcome.output = output(buildspec, &row.notes, &log);
    outcome.log = log;
    outcome.exported = exported.into_iter().collect();
    for name in outputs {
        let mut files = Vec::new();
        list(&host.path(&format!("outputs/{name}")), "", &mut files);
        files.sort();
        if !files.is_empty() {
            outcome.artifacts.insert(name, files);
        }
    }
    outcome
}

fn lay_out(source: &Path, files: &BTreeMap<String, String>) {
    for (name, content) in files {
        let path = source.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if let Some(target) = content.strip_prefix("-> ") {
            symlink(target, path).unwrap();
        } else if let Some(program) = content.strip_prefix('x') {
            fs::write(&path, program).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
        } else {
            fs::write(path, content).unwrap();
        }
    }
}

fn first_environment(row: &Row, buildspec: &Buildspec, action: &Action) -> BTreeMap<String, String> {
    let source = |directory| Source { directory, ..Source::default() };
    let about = About {
        home: action.scratch().to_str().unwrap().to_owned(),
        build_id: "project:1".to_owned(),
        initiator: "codepipeline/p".to_owned(),
        source: source(source_directory()),
        secondary_sources: vec![("second-one".to_owned(), source(directory_of("second-one")))],
        ..About::default()
    };
    let image = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
    let none = BTreeMap::new();
    let origins = Origins { image: &image, stored: &none, project: &none, started_with: &row.variables, about: &about };
    environment(buildspec, &origins)
}

fn shown(ended: &Ended, source: &str) -> Outcome {
    let build = ended.build();
    let phases = build.phases().iter().map(|entered| {
        let mark = if entered.status == Status::Succeeded { "" } else { "!" };
        format!("{}{mark}", entered.phase.name())
    });
    let failure = build.failure().map(|failed| {
        let message = failed.context.message.replace(source, "SRC");
        format!("{} {message}", failed.context.code)
    });
    Outcome {
        phases: phases.collect::<Vec<_>>().join(" "),
        status: build.status().name().to_owned(),
        failure,
        artifact_name: build.artifact_name().map(str::to_owned),
        ..Outcome::default()
    }
}

/// How lines begin that no command writes.
const OURS: &[&str] = &[
    "Phases found in YAML: ",
    " INSTALL: ",
    " PRE_BUILD: ",
    " BUILD: ",
    " POST_BUILD: ",
    "Entering phase ",
    "Phase complete: ",
    "Phase context status code: ",
    "Command did not exit successfully ",
    "The shell is sh, and this command",
    "Skipping install of runtimes.",
    "Retrying the build, ",
    "Expanding ",
    "Assembling file list",
    "Found ",
    "The artifact's name is ",
];

/// What the commands wrote: the log without what else is in it.
fn output(buildspec: &Buildspec, notes: &[String], log: &str) -> String {
    let phases = &buildspec.phases;
    let mut text = log.to_owned();
    for phase in [&phases.install, &phases.pre_build, &phases.build, &phases.post_build] {
        for command in phase.commands.iter().chain(&phase.finally) {
            let command = command.text.trim_end();
            text = text.replace(&format!("Running command {command}\n"), "");
            text = text.replace(&format!("successfully {command} exit"), "successfully exit");
            text = text.replace(&format!("command: {command}. Reason"), "command. Reason");
        }
    }
    let is_ours = |line: &&str| OURS.iter().any(|ours| line.starts_with(ours)) || notes.iter().any(|note| note == line);
    text.lines().filter(|line| !is_ours(line)).map(|line| format!("{line}\n")).collect()
}

/// A link is `NAME -> TARGET`.
fn list(folder: &Path, below: &str, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = format!("{below}{}", path.file_name().unwrap().to_str().unwrap());
        let meta = fs::symlink_metadata(&path).unwrap();
        if meta.is_symlink() {
            files.push(format!("{name} -> {}", fs::read_link(&path).unwrap().display()));
        } else if meta.is_dir() {
            list(&path, &format!("{name}/"), files);
        } else {
            files.push(name);
        }
    }
}
