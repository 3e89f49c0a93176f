//! `pipewright plugin consent`: lets a pending upgrade take its place.

use std::process::ExitCode;

use pipewright_base::Digest;
use semver::Version;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::say;

#[derive(clap::Args)]
pub struct Arguments {
    /// What waits, as `pipewright plugin list` shows it: team/name@1.1.0
    #[arg(value_name = "NAME@VERSION")]
    plugin: String,
    /// Its digest, so that what was looked at is what is used
    #[arg(long, value_name = "sha256:DIGEST")]
    digest: String,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let wrong = || Ended::usage(format!("{:?}: write it as team/name@1.1.0", arguments.plugin));
    let (name, version) = arguments.plugin.split_once('@').ok_or_else(wrong)?;
    let version: Version = version.parse().map_err(|_| wrong())?;
    let digest = arguments.digest.strip_prefix("sha256:").unwrap_or(&arguments.digest);
    let digest: Digest = digest.parse().map_err(Ended::usage)?;
    arguments.data.installed()?.consent(name, &version, &digest).await?;
    say!("{name} {version} takes its place; {}", arguments.data.tell().await?);
    Ok(ExitCode::from(exit::SUCCEEDED))
}
