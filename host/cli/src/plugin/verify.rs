//! `pipewright plugin verify`: looks at all digests, signatures and the policy again.

use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::say;

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let installed = arguments.data.installed()?;
    let problems = installed.verify().await?;
    for problem in &problems {
        say!("{problem}");
    }
    say!(
        "{} of {} packages are as they must be",
        installed.entries().len() - problems.len(),
        installed.entries().len()
    );
    Ok(ExitCode::from(if problems.is_empty() { exit::SUCCEEDED } else { exit::FAILED }))
}
