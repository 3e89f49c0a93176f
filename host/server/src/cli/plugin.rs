//! `pipewright plugin`.
use std::process::ExitCode;

use super::exit::Ended;

#[derive(clap::Subcommand)]
pub enum Command {}

pub fn run(command: Command) -> Result<ExitCode, Ended> {
    match command {}
}
