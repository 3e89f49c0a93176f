//! `pipewright plugin case`: a test case of a recording. Must not know how it is made (`recording`).

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::replay::ended;
use crate::out::say;
use pipewright_author::cases;
use pipewright_author::recording::write_case;
use pipewright_runner::recording::Bundle;

#[derive(clap::Args)]
pub struct Arguments {
    /// The recording
    #[arg(value_name = "RECORDING")]
    recording: PathBuf,
    /// The folder of the case, which must not be there [default: cases/NAME, with the name of the recording]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let bundle = Bundle::read(&arguments.recording).map_err(ended)?;
    let name = arguments.recording.file_name().unwrap_or_default().to_string_lossy();
    let name = name.split('.').next().filter(|name| !name.is_empty()).unwrap_or("recording");
    let folder = arguments.output.clone().unwrap_or_else(|| Path::new(cases::FOLDER).join(name));
    if folder.exists() {
        return Err(Ended::usage(format!("{} is there already: name another with -o", folder.display())));
    }
    write_case(&bundle, &folder).map_err(ended)?;
    say!("{}", folder.display());
    Ok(ExitCode::from(exit::SUCCEEDED))
}
