//! Builds as data: `rows/*.toml`. Each row is a small buildspec, and what comes of it when its commands run in the real
//! shells: under `sh` and under `bash`, unless it names its shell. The rows say nothing of how commands are run, so that
//! whoever runs builds can run them too.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};

use pipewright_buildspec::{
    About, Build, Buildspec, Content, Context, DIRECTORY_FILE, ENVIRONMENT_FILE, Entry, Exit, Invocation, KEYS,
    Listing, Next, Origins, Parsed, SCRIPT_FILE, Session, Shell, Source, Status, VALUE_FILE, Where, assigned,
    checked_name, environment, exports, select,
};

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
    /// Before that command, counted from 1, the build runs out of time, or is stopped.
    timed_out: usize,
    stopped: usize,

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
    /// What is said of the commands' environment and of the exports.
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
    notes: Vec<String>,
    artifacts: BTreeMap<String, Vec<String>>,
    artifacts_log: Vec<String>,
    artifact_name: Option<String>,
}

fn rows() -> Vec<Row> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/rows");
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
        let outcome = Machine::new(row, &buildspec).build();
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
    check("notes", row.notes == outcome.notes, format!("{:#?}", outcome.notes));
    check("artifacts", row.artifacts == outcome.artifacts, format!("{:?}", outcome.artifacts));
    let logged = row.artifacts_log.iter().all(|line| outcome.artifacts_log.contains(line));
    check("artifacts_log", logged, outcome.artifacts_log.join("\n"));
    check("artifact_name", row.artifact_name == outcome.artifact_name, format!("{:?}", outcome.artifact_name));
    all
}

/// Without the blanks at the ends of lines, which no editor of the rows should have to keep.
fn lines(text: &str) -> Vec<&str> {
    text.trim_end().lines().map(str::trim_end).collect()
}

/// A build on this machine.
struct Machine<'a> {
    row: &'a Row,
    buildspec: &'a Buildspec,
    folder: tempfile::TempDir,
    session: Session,
    count: usize,
    outcome: Outcome,
}

impl<'a> Machine<'a> {
    fn new(row: &'a Row, buildspec: &'a Buildspec) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let session = Session::new("", "", BTreeMap::new());
        let mut machine = Self { row, buildspec, folder, session, count: 0, outcome: Outcome::default() };
        machine.lay_out();
        machine
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().canonicalize().unwrap().join(name).to_str().unwrap().to_owned()
    }

    fn lay_out(&mut self) {
        let source = self.path("source");
        for folder in [&source, &self.path("state"), &self.path("other")] {
            let _ = fs::remove_dir_all(folder);
            fs::create_dir_all(folder).unwrap();
        }
        for (name, content) in &self.row.files {
            let path = Path::new(&source).join(name);
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
        let about = About {
            home: self.path("other"),
            build_id: "project:1".to_owned(),
            initiator: "codepipeline/p".to_owned(),
            source: Source { directory: source.clone(), ..Source::default() },
            secondary_sources: vec![(
                "second-one".to_owned(),
                Source { directory: self.path("other"), ..Source::default() },
            )],
            ..About::default()
        };
        let image = BTreeMap::from([("PATH".to_owned(), std::env::var("PATH").unwrap())]);
        let none = BTreeMap::new();
        let origins =
            Origins { image: &image, stored: &none, project: &none, started_with: &self.row.variables, about: &about };
        self.session = Session::new(&self.path("state"), &source, environment(self.buildspec, &origins));
    }

    fn build(mut self) -> Outcome {
        let row = self.row;
        let outputs: Vec<&str> = match &row.outputs {
            Some(outputs) => outputs.iter().map(String::as_str).collect(),
            None => row.artifacts.keys().map(String::as_str).collect(),
        };
        let has_artifacts = !outputs.is_empty() || self.buildspec.artifacts.is_some();
        let mut build = Build::new(self.buildspec, has_artifacts);
        loop {
            self.log(build.take_log());
            match build.next() {
                Next::Run(run) => {
                    self.count += 1;
                    if self.count == self.row.timed_out {
                        build.timed_out();
                    } else if self.count == self.row.stopped {
                        build.stopped();
                    } else {
                        let exit = self.run(&self.session.invocation(&run));
                        build.ended(exit);
                    }
                }
                Next::BeginAgain => {
                    self.lay_out();
                    build.began_again();
                }
                Next::Upload => build.uploaded(self.upload(&outputs)),
                Next::Nothing => break,
            }
        }
        self.log(build.take_log());
        self.end(&build)
    }

    fn log(&mut self, lines: Vec<String>) {
        let source = self.path("source");
        for line in lines {
            self.outcome.log += &format!("{}\n", line.replace(&source, "SRC"));
        }
    }

    fn run(&mut self, invocation: &Invocation) -> Exit {
        let state = self.path("state");
        fs::write(format!("{state}/{SCRIPT_FILE}"), &invocation.script).unwrap();
        let output_file = self.path("output");
        let output = fs::File::create(&output_file).unwrap();
        let status = Command::new(&invocation.program[0])
            .args(&invocation.program[1..])
            .env_clear()
            .envs(invocation.environment.iter().cloned())
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .status()
            .unwrap();
        let read = |name: &str| fs::read(format!("{state}/{name}")).unwrap_or_default();
        self.outcome.notes.extend(self.session.keep(&read(ENVIRONMENT_FILE), &read(DIRECTORY_FILE)));
        let output = String::from_utf8_lossy(&fs::read(output_file).unwrap()).replace(&self.path("source"), "SRC");
        self.outcome.output += &output;
        self.outcome.log += &output;
        status.code().map_or_else(|| Exit::Signal(status.signal().unwrap()), Exit::Code)
    }

    fn upload(&mut self, outputs: &[&str]) -> Result<(), Context> {
        let artifacts = self.buildspec.artifacts.clone().unwrap_or_default();
        let assigned = assigned(&artifacts, outputs)?;
        self.outcome.notes.extend(assigned.warnings);
        let source = self.path("source");
        for (output, identifier, section) in assigned.outputs {
            let (directory, variables) = (self.session.directory().to_owned(), self.session.environment().clone());
            let at = Where { source_directory: &source, working_directory: &directory, variables: &variables };
            let mut listing = Listing::new();
            list(Path::new(&at.listed(section)), &mut listing);
            let mut selection = select(section, identifier, &at, &listing)
                .map_err(|context| Context { message: context.message.replace(&source, "SRC"), ..context })?;
            let names = selection.picked.iter().map(|picked| match &picked.content {
                Content::File(path) => {
                    assert!(fs::metadata(path).unwrap().is_file(), "{path}");
                    picked.name.clone()
                }
                Content::Link(target) => format!("{} -> {target}", picked.name),
            });
            self.outcome.artifacts.insert(output.to_owned(), names.collect());
            self.outcome.artifacts_log.append(&mut selection.log);
            if identifier.is_none()
                && let Some(name) = &section.name
            {
                self.run(&self.session.evaluation(self.buildspec.env.shell, name));
                let value = fs::read_to_string(format!("{}/{VALUE_FILE}", self.path("state"))).unwrap();
                self.outcome.artifact_name = Some(checked_name(&value).unwrap_or_else(|problem| problem));
            }
        }
        Ok(())
    }

    fn end(mut self, build: &Build) -> Outcome {
        let shown = build.phases().iter().map(|entered| {
            let mark = if entered.status == Status::Succeeded { "" } else { "!" };
            format!("{}{mark}", entered.phase.name())
        });
        self.outcome.phases = shown.collect::<Vec<_>>().join(" ");
        self.outcome.status = build.status().name().to_owned();
        self.outcome.failure =
            build.failure().map(|failed| format!("{} {}", failed.context.code, failed.context.message));
        let exports = exports(self.buildspec, self.session.environment(), &BTreeSet::new()).unwrap();
        self.outcome.exported = exports.variables.into_iter().collect();
        self.outcome.notes.extend(exports.warnings);
        self.outcome
    }
}

fn list(folder: &Path, listing: &mut Listing) {
    for entry in fs::read_dir(folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.to_str().unwrap().to_owned();
        if meta.is_symlink() {
            listing.insert(name, Entry::Link(fs::read_link(&path).unwrap().to_str().unwrap().to_owned()));
        } else if meta.is_dir() {
            listing.insert(name, Entry::Directory);
            list(&path, listing);
        } else {
            listing.insert(name, Entry::File);
        }
    }
}
