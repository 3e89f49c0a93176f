//! `pipewright plugin publish`: sends a plugin to a registry, signed. Must not know a package's form (`packages`).

use std::path::PathBuf;
use std::process::ExitCode;

use pipewright_sandbox::Sandbox;

use super::super::exit::{self, Ended};
use super::component;
use super::key::PassphraseArguments;
use super::package::RegistryArguments;
use crate::packages::{Package, Provenance, Reference, Signature, SigningKey, digest_text, tag_of};
use crate::plugins;

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the plugin's crate, which is built with cargo; or a component
    #[arg(value_name = "DIR|FILE.wasm")]
    plugin: PathBuf,
    /// Where to: registry.example/team/name; its version becomes the tag
    #[arg(value_name = "REF")]
    reference: Reference,
    /// A key to sign with, as `pipewright plugin key new` makes it; what was published already is signed once more
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    passphrase: PassphraseArguments,
    /// Where the plugin's source is
    #[arg(long, value_name = "URL")]
    source: Option<String>,
    /// The source's revision
    #[arg(long, value_name = "COMMIT")]
    revision: Option<String>,
    #[command(flatten)]
    registry: RegistryArguments,
}

pub(super) async fn run(sandbox: &Sandbox, arguments: Arguments) -> Result<ExitCode, Ended> {
    let path = component::find(&arguments.plugin).await?;
    let plugin = component::load(sandbox, &path).await?;
    let version = plugin.description().version.parse().map_err(Ended::usage)?;
    let tag = tag_of(&version);
    let reference = &arguments.reference;
    if reference.digest.is_some() || reference.tag.as_ref().is_some_and(|given| *given != tag) {
        return Err(Ended::usage(format!("{reference}: the plugin's version is {version}, and its tag {tag}; leave it out")));
    }
    let provenance = Provenance { source: arguments.source, revision: arguments.revision };
    let package = Package::new(&plugin, plugins::read(&path).map_err(Ended::usage)?, &provenance)?;
    let mut signatures = Vec::new();
    if let Some(path) = &arguments.key {
        let key = SigningKey::read(path, &arguments.passphrase.read()?)?;
        let repository = format!("{}/{}", reference.registry, reference.repository);
        signatures.push(Signature::new(&key, package.digest(), &repository)?);
    }
    let registry = arguments.registry.registry(reference).await?;
    let is_new = registry.publish(&package, &tag, &signatures).await?;
    let done = match (is_new, signatures.is_empty()) {
        (true, true) => "is published, unsigned",
        (true, false) => "is published",
        (false, true) => "was published before",
        (false, false) => "was published before, and is signed once more",
    };
    println!("{} {done} ({})", reference.with_tag(&tag), digest_text(&package.digest()));
    Ok(ExitCode::from(exit::SUCCEEDED))
}
