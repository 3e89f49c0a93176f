//! Owns the keys of a buildspec: what each may hold, and what is said of one that is wrong. Knows nothing of what is then
//! done with it.
//!
//! CodeBuild's version 0.2. Strict where CodeBuild is: an unknown key, a key that is there twice and a command that YAML
//! turned into something else are errors. What CodeBuild knows and a host without AWS has no use for is read and kept.

use pipewright_reports::Format;

use crate::model::{
    Artifacts, Buildspec, Cache, Command, Env, OnFailure, Phase, Phases, Proxy, ReportGroup, Section, Shell,
};
use crate::problem::{At, Problem, Problems};
use crate::read::{Reader, Table, Value};
use crate::yaml::{self, Kind};
use crate::{batch, texts};

/// CodeBuild makes no more report groups for one project's builds.
pub const REPORT_GROUPS_MAX: usize = 5;
pub const FALLBACK_KEYS_MAX: usize = 5;
/// Of all phases together: each is a file and a shell. Against a build of nothing else.
pub const COMMANDS_MAX: usize = 1_000;

/// The keys of each place. `*` stands for a name that the file chooses; a place in two lists has those of both.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", TOP),
    ("env", ENV),
    ("proxy", PROXY),
    ("phases", PHASES),
    ("phases.install", INSTALL),
    ("phases.*", PHASE),
    ("reports.*", REPORT),
    ("artifacts", ARTIFACTS),
    ("artifacts.secondary-artifacts.*", SECTION),
    ("cache", CACHE),
    ("batch", batch::KEYS),
    ("batch.build-list[]", batch::LIST_BUILD),
    ("batch.build-graph[]", batch::GRAPH_BUILD),
    ("batch.*.env", batch::ENV),
    ("batch.build-matrix", batch::MATRIX),
    ("batch.build-matrix.static", batch::STATIC),
    ("batch.build-matrix.static.env", batch::STATIC_ENV),
    ("batch.build-matrix.dynamic", batch::DYNAMIC),
    ("batch.build-matrix.dynamic.env", batch::DYNAMIC_ENV),
];
const TOP: &[&str] = &["version", "run-as", "env", "proxy", "batch", "phases", "reports", "artifacts", "cache"];
const ENV: &[&str] =
    &["shell", "variables", "parameter-store", "secrets-manager", "exported-variables", "git-credential-helper"];
const PROXY: &[&str] = &["upload-artifacts", "logs"];
const PHASES: &[&str] = &["install", "pre_build", "build", "post_build"];
const PHASE: &[&str] = &["run-as", "on-failure", "commands", "finally"];
const INSTALL: &[&str] = &["run-as", "on-failure", "runtime-versions", "commands", "finally"];
const REPORT: &[&str] = &["files", "file-format", "base-directory", "discard-paths"];
const ARTIFACTS: &[&str] = &[
    "files",
    "name",
    "discard-paths",
    "base-directory",
    "exclude-paths",
    "enable-symlinks",
    "s3-prefix",
    "secondary-artifacts",
];
const SECTION: &[&str] =
    &["files", "name", "discard-paths", "base-directory", "exclude-paths", "enable-symlinks", "s3-prefix"];
const CACHE: &[&str] = &["paths", "key", "fallback-keys", "action"];

/// Without one, a report is JUnit's.
const FORMATS: &[(&str, Format)] = &[
    ("CUCUMBERJSON", Format::CucumberJson),
    ("JUNITXML", Format::JunitXml),
    ("NUNITXML", Format::NunitXml),
    ("NUNIT3XML", Format::Nunit3Xml),
    ("TESTNGXML", Format::TestngXml),
    ("VISUALSTUDIOTRX", Format::VisualStudioTrx),
    ("CLOVERXML", Format::CloverXml),
    ("COBERTURAXML", Format::CoberturaXml),
    ("JACOCOXML", Format::JacocoXml),
    ("SIMPLECOV", Format::SimpleCov),
];

/// The runtimes of CodeBuild's own images.
const RUNTIMES: &[&str] = &["java", "golang", "rust", "python", "php", "ruby", "nodejs", "dotnet"];

/// A buildspec, and what about it is allowed and probably not meant.
#[derive(Clone, Debug)]
pub struct Parsed {
    pub buildspec: Buildspec,
    pub warnings: Vec<Problem>,
}

impl Buildspec {
    /// Every mistake is told, not only the first; YAML that cannot be read is one.
    pub fn parse(text: &str) -> Result<Parsed, Problems> {
        let root = yaml::read(text).map_err(|problem| Problems(vec![problem]))?;
        let mut reader = Reader::default();
        let buildspec = whole(&mut reader, &Value { node: &root, place: String::new() });
        if reader.problems.is_empty() {
            Ok(Parsed { buildspec, warnings: reader.warnings })
        } else {
            reader.problems.sort_by_key(|problem| (problem.at.line, problem.at.column));
            Err(Problems(reader.problems))
        }
    }
}

fn whole(reader: &mut Reader, root: &Value<'_>) -> Buildspec {
    let Some(top) = reader.table(root, TOP) else { return Buildspec::default() };
    version(reader, &top);
    let run_as = user(reader, &top);
    let phases = phases(reader, &top, run_as.as_deref());
    Buildspec {
        env: top.get("env").map(|value| env(reader, &value)).unwrap_or_default(),
        proxy: top.get("proxy").map(|value| proxy(reader, &value)).unwrap_or_default(),
        batch: top.get("batch").and_then(|value| batch::read(reader, &value)),
        reports: top.get("reports").map(|value| reports(reader, &value)).unwrap_or_default(),
        artifacts: top.get("artifacts").and_then(|value| artifacts(reader, &value)),
        cache: top.get("cache").and_then(|value| cache(reader, &value)),
        run_as,
        phases,
    }
}

fn version(reader: &mut Reader, top: &Table<'_>) {
    let Some(value) = top.get("version") else {
        return reader.error(top.at, "version", "is missing", "begin the file with `version: 0.2`");
    };
    match reader.text(&value).as_deref() {
        Some("0.2") | None => {}
        Some("0.1") => {
            let mend = "write `version: 0.2`: `env: variables` for `environment_variables: plaintext`, and one \
                        environment that all commands share";
            reader.error(value.node.at, "version", "version 0.1 is not read here", mend);
        }
        Some(other) => {
            reader.error(value.node.at, "version", format!("there is no version `{other}`"), "write `version: 0.2`");
        }
    }
}

/// A user's name ends up in an argument of a program.
fn user(reader: &mut Reader, table: &Table<'_>) -> Option<String> {
    let value = table.get("run-as")?;
    let name = reader.text(&value)?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if !name.is_empty() && name.chars().all(fits) && !name.starts_with('-') {
        return Some(name);
    }
    reader.error(
        value.node.at,
        &value.place,
        format!("`{name}` is no user's name"),
        "write a Linux user, such as `builder`",
    );
    None
}

fn env(reader: &mut Reader, value: &Value<'_>) -> Env {
    let Some(table) = reader.table(value, ENV) else { return Env::default() };
    let variables = named(reader, &table, "variables");
    let parameter_store = named(reader, &table, "parameter-store");
    for (name, at, _) in parameter_store.iter().filter(|(_, _, parameter)| parameter.is_empty()) {
        let place = format!("env.parameter-store.{name}");
        reader.error(*at, &place, "no parameter is named", "write the parameter's name after the `:`");
    }
    let secrets = named(reader, &table, "secrets-manager");
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (map, values) in
        [("variables", &variables), ("parameter-store", &parameter_store), ("secrets-manager", &secrets)]
    {
        for (name, at, _) in values {
            if let Some((_, first)) = seen.iter().find(|(seen, _)| seen == name) {
                let place = format!("env.{map}.{name}");
                reader.error(
                    *at,
                    &place,
                    format!("`{name}` is in `{first}` too"),
                    "a variable has one value: remove one",
                );
            }
            seen.push((name, map));
        }
    }
    let secrets = secrets.iter().filter_map(|(name, at, text)| match texts::secret_reference(text) {
        Ok(reference) => Some((name.clone(), reference)),
        Err(message) => {
            let mend =
                "write `secret-id:json-key:version-stage:version-id`, of which all but the first may be left out";
            reader.error(*at, &format!("env.secrets-manager.{name}"), message, mend);
            None
        }
    });
    let secrets_manager = secrets.collect();
    let bare = |values: Vec<(String, At, String)>| values.into_iter().map(|(name, _, text)| (name, text)).collect();
    Env {
        shell: table.get("shell").map(|value| shell(reader, &value)).unwrap_or_default(),
        variables: bare(variables),
        parameter_store: bare(parameter_store),
        secrets_manager,
        exported_variables: exported(reader, &table),
        git_credential_helper: reader.flag(&table, "git-credential-helper"),
    }
}

/// Variables and their texts. What the file gives no value is empty.
fn named(reader: &mut Reader, env: &Table<'_>, key: &str) -> Vec<(String, At, String)> {
    let Some(value) = env.get(key) else { return Vec::new() };
    let mut all = Vec::new();
    for (name, at, value) in reader.entries(&value) {
        if name.is_empty() || name.contains('=') {
            reader.error(at, &value.place, format!("`{name}` is no variable's name"), "use letters, digits and `_`");
        } else if !texts::is_shell_name(name) {
            reader.warn(at, &value.place, "a shell cannot use this name", "use letters, digits and `_`");
        }
        if name.starts_with("CODEBUILD_") {
            reader.warn(
                at,
                &value.place,
                "names that begin with CODEBUILD_ are CodeBuild's own",
                "choose another name",
            );
        }
        let text = if value.node.is_null() { Some(String::new()) } else { reader.text(&value) };
        all.extend(text.map(|text| (name.to_owned(), at, text)));
    }
    all
}

fn shell(reader: &mut Reader, value: &Value<'_>) -> Shell {
    match reader.text(value).as_deref() {
        Some("/bin/sh") | None => Shell::Sh,
        Some("bash") => Shell::Bash,
        Some(spelled @ ("sh" | "/bin/bash")) => {
            let (shell, documented) = if spelled == "sh" { (Shell::Sh, "/bin/sh") } else { (Shell::Bash, "bash") };
            reader.warn(
                value.node.at,
                &value.place,
                format!("`{spelled}` is not CodeBuild's word"),
                format!("write `{documented}`"),
            );
            shell
        }
        Some(windows @ ("powershell.exe" | "cmd.exe")) => {
            reader.error(
                value.node.at,
                &value.place,
                format!("`{windows}` runs on Windows"),
                "write `bash` or `/bin/sh`",
            );
            Shell::Sh
        }
        Some(other) => {
            reader.error(
                value.node.at,
                &value.place,
                format!("`{other}` is no shell of CodeBuild"),
                "write `bash` or `/bin/sh`",
            );
            Shell::Sh
        }
    }
}

fn exported(reader: &mut Reader, env: &Table<'_>) -> Vec<String> {
    let names = reader.texts(env, "exported-variables");
    for name in &names {
        let value = env.get("exported-variables").map_or(env.at, |value| value.node.at);
        if !texts::is_shell_name(name) {
            let mend = "name variables that commands set, without `$`";
            reader.error(value, "env.exported-variables", format!("`{name}` is no variable's name"), mend);
        } else if name.starts_with("AWS_") {
            let mend = "copy it into a variable with another name";
            reader.warn(
                value,
                "env.exported-variables",
                format!("`{name}` is not exported, as no AWS_ variable is"),
                mend,
            );
        }
    }
    names
}

fn proxy(reader: &mut Reader, value: &Value<'_>) -> Proxy {
    let Some(table) = reader.table(value, PROXY) else { return Proxy::default() };
    Proxy { upload_artifacts: reader.flag(&table, "upload-artifacts"), logs: reader.flag(&table, "logs") }
}

fn phases(reader: &mut Reader, top: &Table<'_>, run_as: Option<&str>) -> Phases {
    let Some(value) = top.get("phases") else {
        reader.error(top.at, "phases", "is missing", "name at least one of install, pre_build, build and post_build");
        return Phases::default();
    };
    let Some(table) = reader.table(&value, PHASES) else { return Phases::default() };
    let mut one = |name: &str, keys| {
        let phase = table.get(name).and_then(|value| phase(reader, &value, keys)).unwrap_or_default();
        let own = phase.run_as.clone();
        Phase { run_as: own.or_else(|| run_as.map(str::to_owned)), ..phase }
    };
    let phases = Phases {
        install: one("install", INSTALL),
        pre_build: one("pre_build", PHASE),
        build: one("build", PHASE),
        post_build: one("post_build", PHASE),
    };
    let all = [&phases.install, &phases.pre_build, &phases.build, &phases.post_build];
    let count: usize = all.iter().map(|phase| phase.commands.len() + phase.finally.len()).sum();
    if count > COMMANDS_MAX {
        let message = format!("there are {count} commands; {COMMANDS_MAX} is the most");
        reader.error(value.node.at, "phases", message, "put some into a script, and call that");
    }
    phases
}

fn phase(reader: &mut Reader, value: &Value<'_>, keys: &[&str]) -> Option<Phase> {
    let table = reader.table(value, keys)?;
    if !table.has("commands") && keys == PHASE {
        reader.error(value.node.at, &format!("{}.commands", value.place), "is missing", "list the phase's commands");
    }
    Some(Phase {
        written: true,
        run_as: user(reader, &table),
        on_failure: table.get("on-failure").and_then(|value| on_failure(reader, &value)),
        runtime_versions: table.get("runtime-versions").map(|value| runtimes(reader, &value)).unwrap_or_default(),
        commands: commands(reader, &table, "commands"),
        finally: commands(reader, &table, "finally"),
    })
}

fn on_failure(reader: &mut Reader, value: &Value<'_>) -> Option<OnFailure> {
    let text = reader.text(value)?;
    texts::on_failure(&text)
        .map_err(|message| {
            let mend = "write ABORT, CONTINUE, RETRY, RETRY-count, RETRY-regex or RETRY-count-regex";
            reader.error(value.node.at, &value.place, message, mend);
        })
        .ok()
}

fn runtimes(reader: &mut Reader, value: &Value<'_>) -> Vec<(String, String)> {
    let mut all = Vec::new();
    for (name, at, value) in reader.entries(value) {
        if !RUNTIMES.contains(&name) {
            let known = format!("CodeBuild's images have {}", RUNTIMES.join(", "));
            reader.warn(at, &value.place, format!("no image has a runtime `{name}`"), known);
        }
        all.extend(reader.text(&value).map(|version| (name.to_owned(), version)));
    }
    all
}

fn commands(reader: &mut Reader, phase: &Table<'_>, key: &str) -> Vec<Command> {
    let Some(value) = phase.get(key) else { return Vec::new() };
    // CodeBuild's messages write the key so.
    let name = if key == "finally" { "Finally" } else { "Commands" };
    let mut all = Vec::new();
    for (number, item) in reader.list(&value).into_iter().enumerate() {
        let mend = match &item.node.kind {
            Kind::Scalar { text, .. } if !item.node.is_null() => {
                all.push(Command { text: text.clone(), line: item.node.at.line });
                continue;
            }
            Kind::Scalar { .. } => "write a command after the `- `",
            Kind::Map(_) => "YAML reads `: ` and `{` as keys: quote the command, or write it below a `|`",
            Kind::List(_) => "YAML reads `[` and `- ` as a list: quote the command, or write it below a `|`",
        };
        let message = format!("expected {name}[{number}] to be of string type: found {} instead", item.node.what());
        reader.error(item.node.at, &item.place, message, mend);
    }
    all
}

fn reports(reader: &mut Reader, value: &Value<'_>) -> Vec<ReportGroup> {
    let mut groups = Vec::new();
    for (name, at, value) in reader.entries(value) {
        if groups.len() == REPORT_GROUPS_MAX {
            let message = format!("more than {REPORT_GROUPS_MAX} report groups");
            reader.error(at, &value.place, message, "give one group several `files`");
            break;
        }
        let Some(table) = reader.table(&value, REPORT) else { continue };
        let format = table.get("file-format").and_then(|value| reader.word(&value, FORMATS));
        groups.push(ReportGroup {
            name: name.to_owned(),
            files: files(reader, &table),
            base_directory: reader.optional_text(&table, "base-directory"),
            discard_paths: reader.flag(&table, "discard-paths"),
            format: format.unwrap_or(Format::JunitXml),
        });
    }
    groups
}

fn files(reader: &mut Reader, table: &Table<'_>) -> Vec<String> {
    let files = reader.texts(table, "files");
    if files.is_empty() {
        reader.error(table.at, &format!("{}.files", table.place), "is missing", "list paths, such as `- '**/*'`");
    }
    files
}

fn artifacts(reader: &mut Reader, value: &Value<'_>) -> Option<Artifacts> {
    let table = reader.table(value, ARTIFACTS)?;
    let mut secondary = Vec::new();
    if let Some(value) = table.get("secondary-artifacts") {
        for (identifier, at, value) in reader.entries(&value) {
            if identifier.is_empty() {
                reader.error(at, &value.place, "an artifact needs an identifier", "write one before the `:`");
            }
            if let Some(table) = reader.table(&value, SECTION) {
                let files = files(reader, &table);
                secondary.push((identifier.to_owned(), section(reader, &table, files)));
            }
        }
    }
    // CodeBuild's documentation asks for `files` even then; CodeBuild does not.
    let files = if secondary.is_empty() { files(reader, &table) } else { reader.texts(&table, "files") };
    Some(Artifacts { primary: section(reader, &table, files), secondary })
}

fn section(reader: &mut Reader, table: &Table<'_>, files: Vec<String>) -> Section {
    Section {
        files,
        exclude_paths: reader.texts(table, "exclude-paths"),
        base_directory: reader.optional_text(table, "base-directory"),
        discard_paths: reader.flag(table, "discard-paths"),
        enable_symlinks: reader.flag(table, "enable-symlinks"),
        name: reader.optional_text(table, "name"),
        s3_prefix: reader.optional_text(table, "s3-prefix"),
    }
}

fn cache(reader: &mut Reader, value: &Value<'_>) -> Option<Cache> {
    let table = reader.table(value, CACHE)?;
    let (key, fallback_keys) = (reader.optional_text(&table, "key"), reader.texts(&table, "fallback-keys"));
    let paths = reader.texts(&table, "paths");
    if paths.is_empty() {
        reader.warn(table.at, "cache.paths", "no paths specified to be cached", "list what is to be kept");
    }
    if fallback_keys.len() > FALLBACK_KEYS_MAX {
        let message = format!("more than {FALLBACK_KEYS_MAX} fallback keys");
        reader.error(table.at, "cache.fallback-keys", message, "leave some out");
    }
    if key.is_none() && !fallback_keys.is_empty() {
        reader.warn(table.at, "cache.fallback-keys", "not used without a `key`", "add a `key`");
    }
    let actions = [("restore", (true, false)), ("save", (false, true))];
    let action = table.get("action").and_then(|value| reader.word(&value, &actions));
    let (restores, saves) = action.unwrap_or((true, true));
    Some(Cache { paths, key, fallback_keys, restores, saves })
}
