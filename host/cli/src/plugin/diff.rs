//! `pipewright plugin diff`: what an upgrade changes. Must not know how it is compared (`packages`).

use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::inspect;
use super::package::{DataArguments, RegistryArguments};
use crate::out;
use pipewright_packages::PackageError;

#[derive(clap::Args)]
pub struct Arguments {
    /// A component's file, what is installed, or a package in a registry
    #[arg(value_name = "OLD")]
    old: String,
    /// The same of what it is compared with
    #[arg(value_name = "NEW")]
    new: String,
    /// The same as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let mut both = Vec::new();
    for text in [&arguments.old, &arguments.new] {
        let facts = inspect::find(sandbox, text, &arguments.data, &arguments.registry).await?;
        if let Some(reason) = &facts.untrusted {
            let (package, reason) = (format!("{} {}", facts.name, facts.version), reason.clone());
            return Err(PackageError::Untrusted { package, reason }.into());
        }
        both.push(facts);
    }
    let difference = pipewright_packages::diff(&both[0], &both[1]);
    if arguments.json {
        out::json(&difference);
    } else {
        for line in difference.in_words() {
            out::line(&line);
        }
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
