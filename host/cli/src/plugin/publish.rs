//! `pipewright plugin publish`: sends a plugin to a registry, signed. Must not know a package's form (`packages`).

use std::path::PathBuf;
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::key::PassphraseArguments;
use super::package::{RegistryArguments, ToolArguments};
use crate::out::say;
use pipewright_packages::{Origin, Reference, Signature, SigningKey, digest_text, tag_of};

#[derive(clap::Args)]
pub struct Arguments {
    /// The component, as `pipewright plugin build` makes it
    #[arg(value_name = "FILE.wasm")]
    plugin: PathBuf,
    /// Where to: registry.example/team/name; its version becomes the tag
    #[arg(value_name = "REF")]
    reference: Reference,
    #[command(flatten)]
    tool: ToolArguments,
    /// A key to sign with, as `pipewright plugin key new` makes it; what was published already and not signed by it yet is signed once more
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let (package, version) = arguments.tool.package(sandbox, &arguments.plugin).await?;
    let tag = tag_of(&version);
    let reference = &arguments.reference;
    if reference.digest.is_some() || reference.tag.as_ref().is_some_and(|given| *given != tag) {
        return Err(Ended::usage(format!("{reference}: the version is {version}, and its tag {tag}; leave it out")));
    }
    let mut signatures = Vec::new();
    if let Some(path) = &arguments.key {
        let key = SigningKey::read(path, &arguments.passphrase.read()?)?;
        let repository = format!("{}/{}", reference.registry, reference.repository);
        signatures = Signature::both(&key, package.digest(), &repository)?;
        let registry = Box::new(arguments.registry.registry(reference).await?);
        let there = Origin::Registry { registry, reference: reference.with_tag(&tag) };
        signatures = there.lacking(&key.public(), signatures).await?;
    }
    let registry = arguments.registry.registry(reference).await?;
    let is_new = registry.publish(&package, &tag, &signatures).await?;
    let done = match (is_new, signatures.is_empty()) {
        (true, true) => "is published, unsigned",
        (true, false) => "is published",
        (false, true) if arguments.key.is_some() => "was published and signed with this key before",
        (false, true) => "was published before",
        (false, false) => "was published before, and is signed once more",
    };
    say!("{} {done} ({})", reference.with_tag(&tag), digest_text(&package.digest()));
    Ok(ExitCode::from(exit::SUCCEEDED))
}
