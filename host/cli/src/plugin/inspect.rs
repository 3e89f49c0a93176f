//! `pipewright plugin inspect`: what a plugin is, from a file, an installed package, or a registry without its code.

use std::path::Path;
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::package::{self, DataArguments, RegistryArguments, ask_in_words, is_file};
use crate::out::{self, say};
use pipewright_packages::{Candidate, Facts, PackageError, Reference};

#[derive(clap::Args)]
pub struct Arguments {
    /// A component's file, what is installed (team/name, team/name@1), or a package in a registry
    #[arg(value_name = "FILE.wasm|NAME|REF")]
    plugin: String,
    /// The same as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    data: DataArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let facts = find(sandbox, &arguments.plugin, &arguments.data, &arguments.registry).await?;
    if arguments.json {
        out::json(&facts);
    } else {
        print(&facts);
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

/// What `FILE.wasm|NAME|REF` is.
pub(super) async fn find(
    sandbox: &Sandbox,
    text: &str,
    data: &DataArguments,
    registry: &RegistryArguments,
) -> Result<Facts, Ended> {
    if is_file(text) {
        let (plugin, bytes) = package::component(sandbox, Path::new(text)).await?;
        return Ok(Facts::of_component(&plugin, &bytes)?);
    }
    let installed = data.installed()?;
    let origin = if Reference::is_meant(text) {
        registry.origin(text.parse()?).await?
    } else {
        match installed.find(text) {
            Err(PackageError::Missing(_)) if Path::new(text).is_dir() => return Err(package::folder(Path::new(text))),
            found => installed.origin(found?),
        }
    };
    Ok(Candidate::inspect(origin, &installed.policy()?).await?)
}

fn print(facts: &Facts) {
    say!("{} {}", facts.name, facts.version);
    let line = |what: &str, text: &str| say!("  {what:<14}{text}");
    if let Some(manifest) = &facts.manifest {
        line("package", manifest);
    }
    line("component", &format!("{} ({} bytes)", facts.component, facts.size_bytes));
    for (what, note) in [("source", &facts.source), ("revision", &facts.revision)] {
        if let Some(note) = note {
            line(what, note);
        }
    }
    for (key, file) in &facts.signers {
        line("signed by", &format!("{file} ({key})"));
    }
    if let Some(reason) = &facts.untrusted {
        line("not trusted", reason);
        line("", "what it says of itself was not read");
        return;
    }
    for ask in &facts.asked {
        line("asks for", &ask_in_words(ask));
    }
    for (id, offer) in &facts.offers {
        line("offers", &format!("{id} (inputs: {}, outputs: {})", offer.inputs, offer.outputs));
        for (name, setting) in &offer.settings {
            line("", &format!("setting {name}: {setting}"));
        }
        for name in &offer.variables {
            line("", &format!("variable {name}"));
        }
    }
    for (what, names) in [("imports", &facts.imports), ("exports", &facts.exports)] {
        for name in names {
            line(what, name);
        }
    }
    if !facts.documentation.is_empty() {
        say!();
        out::lines(facts.documentation.trim());
    }
}
