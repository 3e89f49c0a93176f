//! `pipewright import`: an export into a data directory that holds nothing yet.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::exit::{self, Ended};
use crate::out::{note, say};
use pipewright_base::home::DataDirectory;
use pipewright_engine::export::{ImportError, import};

#[derive(clap::Args)]
pub struct Arguments {
    /// The data directory to make; it must be missing or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// What `pipewright export` wrote; `-` is standard input
    file: PathBuf,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let file: Box<dyn Read> = if arguments.file == Path::new("-") {
        Box::new(io::stdin())
    } else {
        let file = File::open(&arguments.file);
        Box::new(file.map_err(|error| Ended::Usage(format!("{}: {error}", arguments.file.display())))?)
    };
    let data = DataDirectory::open(&arguments.data)?;
    let imported = import(&data, BufReader::new(file));
    let imported = imported.map_err(|error| match error {
        ImportError::Io { .. } | ImportError::Open(_) | ImportError::Store(_) => Ended::Host(error.into()),
        ImportError::NotEmpty { .. } => Ended::usage(error),
        _ => Ended::Usage(format!("{}: {error}", arguments.file.display())),
    })?;
    let pipewright_store::Verified { aggregates, records, parts } = imported.store;
    say!(
        "{} lines: {aggregates} accounts and pipelines, {records} records, {parts} parts, {} artifacts",
        imported.lines,
        imported.artifacts
    );
    for unread in &imported.unread {
        note!("{unread}");
    }
    for lacking in &imported.lacking {
        note!("{lacking}");
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
