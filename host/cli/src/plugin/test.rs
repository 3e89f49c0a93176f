//! `pipewright plugin test`: the cases of a plugin. Must not know how a case is run (`cases`).

use std::path::PathBuf;
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::component;
use crate::out::{self, say};
use pipewright_author::cases::{self, CaseResult, CasesError};

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the plugin, which is built; or a component
    #[arg(value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// Write what came of the cases into them where it is not as expected, for you to review
    #[arg(long)]
    update: bool,
}

pub(super) async fn run(sandbox: &Sandbox, Arguments { plugin: path, update }: Arguments) -> Result<ExitCode, Ended> {
    let plugin = component::load(sandbox, &path, component::find(&path).await?).await?;
    let folder = component::folder(&path).join(cases::FOLDER);
    let results = cases::run_all(sandbox, &plugin, &folder, update).await.map_err(|error| match error {
        CasesError::Host { .. } => Ended::Host(error.into()),
        CasesError::Missing(_) | CasesError::Invalid(_) => Ended::usage(error),
    })?;
    print(&results);
    Ok(ExitCode::from(if results.iter().all(CaseResult::passed) { exit::SUCCEEDED } else { exit::FAILED }))
}

fn print(results: &[CaseResult]) {
    for result in results {
        say!("{} {}", word(result), result.name);
        for difference in &result.differences {
            out::lines(&format!("    {}", difference.to_string().replace('\n', "\n    ")));
        }
    }
    let failed = results.iter().filter(|result| !result.passed()).count();
    say!("{} passed, {failed} failed", results.len() - failed);
}

fn word(result: &CaseResult) -> &'static str {
    match (result.passed(), result.updated) {
        (true, false) => "ok     ",
        (true, true) => "updated",
        (false, _) => "FAILED ",
    }
}
