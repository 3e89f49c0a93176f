//! `pipewright plugin list`: what is installed.

use std::process::ExitCode;

use super::super::exit::{self, Ended};
use super::package::DataArguments;
use crate::out::{self, say};
use pipewright_packages::{Listed, State, digest_text};

#[derive(clap::Args)]
pub struct Arguments {
    /// The lock's entries as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArguments,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, Ended> {
    let listed = arguments.data.installed()?.listed();
    if arguments.json {
        out::json(&listed);
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    if listed.is_empty() {
        say!("no plugin is installed");
    }
    for Listed { entry, notice } in listed {
        let state = match entry.state {
            State::Active => "",
            State::Pending => "  pending: it asks for more, and waits for `pipewright plugin consent`",
        };
        let notice = notice.map(|notice| format!("  {notice}")).unwrap_or_default();
        say!("{}  {}  from {}{state}{notice}", entry.label(), digest_text(&entry.manifest), entry.source);
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
