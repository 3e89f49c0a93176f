//! `pipewright plugin load`: installs the packages of an archive, judged as if they came from a registry.

use std::path::PathBuf;
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::add;
use super::package::{self, DataArguments};

#[derive(clap::Args)]
pub struct Arguments {
    /// What `pipewright plugin save` wrote
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
    /// Consent to what they ask for
    #[arg(long)]
    yes: bool,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let data = arguments.data.open()?;
    let sandbox = package::sandbox(&data)?;
    let mut installed = arguments.data.installed()?;
    let mut all = true;
    for origin in pipewright_packages::load(&arguments.file)? {
        all &= add::add(&mut installed, &arguments.data, &sandbox, origin, arguments.yes).await?;
    }
    Ok(ExitCode::from(if all { exit::SUCCEEDED } else { exit::FAILED }))
}
