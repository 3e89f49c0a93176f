//! `pipewright plugin build`: the component as it is shipped, checked by the host that will run it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_sandbox::binary::{Interfaces, Metadata};
use pipewright_sandbox::{Plugin, Sandbox};
use serde::Deserialize;
use tokio::process::Command as Process;

use super::super::exit::{self, Ended};
use super::component;
use super::package::ask_in_words;
use crate::out::{self, say};
use pipewright_base::clock::monotonic;
use pipewright_packages::Asking;
use pipewright_packages::plugins::{self, DEBUG_EXTENSION};

#[derive(clap::Args)]
pub struct Arguments {
    /// The folder of the plugin
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
    /// Where the component goes [default: DIR/dist]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

pub(super) async fn run(sandbox: &Sandbox, Arguments { folder, out }: Arguments) -> Result<ExitCode, Ended> {
    if !folder.is_dir() {
        return Err(Ended::usage(format!("{}: give the folder of a plugin", folder.display())));
    }
    let mut component = component::find(&folder).await?;
    let metadata = metadata(&folder).await;
    let promised = metadata.version.clone();
    metadata.append_to(&mut component.bytes);
    let (bytes, symbols) = (component.bytes.clone(), component.symbols.clone());
    let started = monotonic();
    let plugin = component::load(sandbox, &folder, component).await?;
    let compiled = started.elapsed();
    // Python and JavaScript have it in two places, and whoever raised one would publish the other.
    let version = &plugin.description().version;
    if let Some(promised) = promised.filter(|promised| promised != version) {
        let folder = folder.display();
        return Err(Ended::usage(format!(
            "{folder}: the manifest has the version {promised}, and the plugin says {version}; make them the same"
        )));
    }

    let problems = pipewright_author::asks::problems(plugin.description());
    if !problems.is_empty() {
        return Err(Ended::usage(format!("{}: {}", folder.display(), problems.join("\n"))));
    }

    let out = out.unwrap_or_else(|| folder.join("dist"));
    let name = plugin.description().name.rsplit('/').next().unwrap_or_default();
    let file = out.join(format!("{name}.wasm"));
    write(&file, &bytes)?;
    say!("{}: {}, compiled in {} ms", file.display(), size(bytes.len()), compiled.as_millis());
    if let Some(symbols) = symbols {
        let beside = file.with_extension(DEBUG_EXTENSION);
        write(&beside, &symbols)?;
        say!(
            "{}: {} of debug information, which tells crashes where it lies beside the component",
            beside.display(),
            size(symbols.len())
        );
    }
    tell(&plugin, &bytes)?;
    Ok(ExitCode::from(exit::SUCCEEDED))
}

fn write(file: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let folder = file.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(file, bytes))
        .with_context(|| file.display().to_string())
}

fn size(bytes: usize) -> String {
    format!("{} KiB", bytes.div_ceil(1024))
}

fn tell(plugin: &Plugin, component: &[u8]) -> Result<(), Ended> {
    let description = plugin.description();
    say!();
    out::lines(&format!("{} {}  {}", description.name, description.version, description.documentation.trim()));
    for offered in &description.action_types {
        say!("  offers   {}", plugins::label(&offered.id));
    }
    for ask in Asking::of(description) {
        say!("  asks     {}", ask_in_words(&ask));
    }
    let interfaces = Interfaces::of(component).map_err(Ended::usage)?;
    say!("  imports  {}", interfaces.imports.join(" "));
    say!("  digest   sha256:{}", plugin.digest());
    if let Some(revision) = Metadata::of(component).map_err(Ended::usage)?.revision {
        say!("  revision {revision}");
    }
    Ok(())
}

/// What manifests say of a plugin, by the names that they use.
#[derive(Default, Deserialize)]
struct Manifest {
    description: Option<String>,
    version: Option<String>,
    license: Option<toml::Value>,
    repository: Option<toml::Value>,
}

#[derive(Deserialize)]
struct TomlManifest {
    /// Cargo's.
    package: Option<Manifest>,
    /// Python's.
    project: Option<Manifest>,
}

/// What the manifest and the repository tell of a component's source. What they do not say is left out.
async fn metadata(folder: &Path) -> Metadata {
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).ok();
    let manifest = ["Cargo.toml", "pyproject.toml"].iter().find_map(|name| {
        let manifest: TomlManifest = toml::from_str(&read(name)?).ok()?;
        manifest.package.or(manifest.project)
    });
    let manifest = manifest.or_else(|| serde_json::from_str(&read("package.json")?).ok()).unwrap_or_default();
    let text = |value: Option<toml::Value>| value.and_then(|value| value.as_str().map(str::to_owned));
    Metadata {
        description: manifest.description,
        version: manifest.version,
        licenses: text(manifest.license),
        source: text(manifest.repository),
        revision: revision(folder).await,
    }
}

/// The commit that is checked out, and whether the folder is as it was committed.
async fn revision(folder: &Path) -> Option<String> {
    let git = async |arguments: &[&str]| {
        let output = Process::new("git").arg("-C").arg(folder).args(arguments).output().await.ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--verify", "HEAD"]).await?;
    let changes = git(&["status", "--porcelain", "--", "."]).await?;
    Some(if changes.is_empty() { commit } else { format!("{commit}-modified") })
}
