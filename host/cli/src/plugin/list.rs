//! `pipewright plugin list`: what is installed.

use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::{self, say};
use pipewright_packages::{State, digest_text};

#[derive(clap::Args)]
pub struct Arguments {
    /// The lock's entries as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let installed = arguments.data.installed()?;
    if arguments.json {
        out::json(&installed.entries());
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    if installed.entries().is_empty() {
        say!("no plugin is installed");
    }
    for entry in installed.entries() {
        let state = match entry.state {
            State::Active => "",
            State::Pending => "  pending: it asks for more, and waits for `pipewright plugin consent`",
        };
        say!("{}  {}  from {}{state}", entry.label(), digest_text(&entry.manifest), entry.source);
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
