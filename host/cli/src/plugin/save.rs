//! `pipewright plugin save`: writes installed packages into an archive, for machines that reach no registry.

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::say;
use pipewright_packages::Entry;

#[derive(clap::Args)]
pub struct Arguments {
    /// The archive to write
    #[arg(value_name = "FILE.tar")]
    file: PathBuf,
    /// What is installed, as team/name or team/name@1 [default: everything that is active]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let installed = arguments.data.installed()?;
    let entries: Vec<&Entry> = match &arguments.names[..] {
        [] => installed.active().collect(),
        names => names.iter().map(|name| installed.find(name)).collect::<Result<_, _>>()?,
    };
    let file = File::create_new(&arguments.file);
    let file = file.map_err(|error| Ended::usage(format!("{}: {error}", arguments.file.display())))?;
    pipewright_packages::save(&installed, &entries, std::io::BufWriter::new(file)).await?;
    for entry in entries {
        say!("{} is in {}", entry.label(), arguments.file.display());
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
