//! `pipewright plugin test`: the cases of a plugin. Must not know how a case is run (`cases`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::changes::{self, Snapshot};
use super::component;
use crate::out::{self, note, say};
use pipewright_author::cases::{self, CaseResult, CasesError, Options};
use pipewright_text::first_bytes;

/// Of a failed case's log, the last lines are shown: it says there what it did last.
const LOG_LINES_MAX: usize = 50;
/// Of each of them the beginning: a plugin may log what it received.
const LOG_LINE_BYTES_MAX: usize = 500;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the plugin, which is built; or a component
    #[arg(value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// The names of the cases to run [default: all]
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// The folder of the cases [default: `cases` in the plugin's folder, or beside the component]
    #[arg(long = "cases", value_name = "DIR")]
    folder: Option<PathBuf>,
    /// Write what came of the cases into them where it is not as expected, for you to review
    #[arg(long)]
    update: bool,
    /// Build and run them again whenever a file of the folder is saved, until you press Ctrl-C
    #[arg(long)]
    watch: bool,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let Arguments { plugin, cases, folder, update, watch } = arguments;
    let folder = folder.unwrap_or_else(|| component::folder(&plugin).join(cases::FOLDER));
    let options = Options { names: cases, update };
    if !watch {
        return round(sandbox, &plugin, &folder, &options).await;
    }
    if !plugin.is_dir() {
        return Err(Ended::usage(format!("{}: give the folder of a plugin to --watch", plugin.display())));
    }
    loop {
        let unreadable = |error| Ended::usage(format!("{}: {error}", plugin.display()));
        let now = Snapshot::of(&plugin, &[]).map_err(unreadable)?;
        let changed = changes::change(&plugin, &now);
        tokio::pin!(changed);
        // What is built of files that changed meanwhile is of no use to anybody.
        tokio::select! {
            changed = &mut changed => changed.map_err(unreadable)?,
            ended = round(sandbox, &plugin, &folder, &options) => {
                if let Err(ended) = ended {
                    note!("pipewright: {ended}");
                }
                note!("waiting for a change in {}", plugin.display());
                changed.await.map_err(unreadable)?;
            }
        }
        say!();
    }
}

/// Builds the plugin, and runs its cases.
async fn round(sandbox: &Sandbox, path: &Path, folder: &Path, options: &Options) -> Result<ExitCode, Ended> {
    let plugin = component::load(sandbox, path, component::find(path).await?).await?;
    let results = cases::run(sandbox, &plugin, folder, options, print).await.map_err(|error| match error {
        CasesError::Host { .. } => Ended::Host(error.into()),
        CasesError::Missing(_) | CasesError::Unreadable { .. } | CasesError::Unknown { .. } => Ended::usage(error),
    })?;
    let failed = results.iter().filter(|result| !result.passed()).count();
    say!("{} passed, {failed} failed", results.len() - failed);
    Ok(ExitCode::from(match () {
        () if results.iter().any(|result| !result.problems.is_empty()) => exit::USAGE,
        () if failed > 0 => exit::FAILED,
        () => exit::SUCCEEDED,
    }))
}

fn print(result: &CaseResult) {
    say!("{} {}", word(result), result.name);
    for problem in &result.problems {
        out::lines(&format!("    {}", problem.replace('\n', "\n    ")));
    }
    for difference in &result.differences {
        out::lines(&format!("    {}", difference.to_string().replace('\n', "\n    ")));
    }
    for note in &result.notes {
        out::lines(&format!("    note: {note}"));
    }
    if !result.differences.is_empty() {
        print_log(&result.log);
    }
}

fn print_log(log: &str) {
    let lines: Vec<&str> = log.lines().collect();
    let left_out = lines.len().saturating_sub(LOG_LINES_MAX);
    if left_out > 0 {
        say!("    | … {left_out} lines of the log before these");
    }
    for line in &lines[left_out..] {
        let shown = first_bytes(line, LOG_LINE_BYTES_MAX);
        match line.len() - shown.len() {
            0 => say!("    | {line}"),
            left_out => say!("    | {shown}… {left_out} bytes more"),
        }
    }
}

fn word(result: &CaseResult) -> &'static str {
    match (result.passed(), result.updated) {
        (true, false) => "ok     ",
        (true, true) => "updated",
        (false, _) if !result.problems.is_empty() => "BROKEN ",
        (false, _) => "FAILED ",
    }
}
