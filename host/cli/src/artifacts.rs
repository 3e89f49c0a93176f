//! `pipewright artifacts`: the artifacts of a data directory, and of a server.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit::{self, Ended};
use super::remote;
use crate::out::say;
use pipewright_artifacts::Artifacts;
use pipewright_base::home::DataDirectory;
use pipewright_store::{DirectoryLock, OpenError};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Fetch an artifact of an execution from a server
    Get(remote::artifacts::Arguments),
    /// Read every artifact and check it against its digest
    Check {
        /// The data directory of the host
        #[arg(long, value_name = "DIR")]
        data: PathBuf,
    },
}

pub fn run(command: Command) -> Result<ExitCode, Ended> {
    let data = match command {
        Command::Get(arguments) => return remote::artifacts::run(&arguments),
        Command::Check { data } => data,
    };
    let data = data_directory(&data)?;
    let _alone = DirectoryLock::take(&data.store()).map_err(|error| match error {
        OpenError::InUse { .. } => Ended::usage(error),
        error => Ended::Host(error.into()),
    })?;
    let artifacts = Artifacts::open(&data.artifacts()).map_err(|error| Ended::Host(error.into()))?;
    let checked = artifacts.check().map_err(|error| Ended::Host(error.into()))?;
    say!("{} artifacts, {} files, {} bytes", checked.artifacts, checked.blobs, checked.bytes);
    for damage in &checked.damage {
        say!("{}", damage.what);
    }
    Ok(ExitCode::from(if checked.damage.is_empty() { exit::SUCCEEDED } else { exit::FAILED }))
}

/// One that is there already.
pub(super) fn data_directory(data: &Path) -> Result<DataDirectory, Ended> {
    if !data.is_dir() {
        return Err(Ended::Usage(format!(
            "{} is not a directory: give --data the directory that `pipewright serve --data` or `pipewright run --data` uses",
            data.display()
        )));
    }
    Ok(DataDirectory::open(data)?)
}
