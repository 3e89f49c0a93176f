//! `pipewright plugin remove`: takes an installed package away.

use std::process::ExitCode;

use semver::Version;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::say;

#[derive(clap::Args)]
pub struct Arguments {
    /// What is installed: every version of team/name, or the one of team/name@1.0.0
    #[arg(value_name = "NAME[@VERSION]")]
    plugin: String,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let (name, version) = match arguments.plugin.split_once('@') {
        None => (arguments.plugin.as_str(), None),
        Some((name, version)) => (name, Some(version.parse::<Version>().map_err(Ended::usage)?)),
    };
    let removed = arguments.data.installed()?.remove(name, version.as_ref()).await?;
    let told = arguments.data.tell().await?;
    for entry in removed {
        say!("{} was removed, and actions that need it fail; {told}", entry.label());
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
