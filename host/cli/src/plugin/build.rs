//! `pipewright plugin build`: the component as it is shipped, checked by the host that will run it.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_sandbox::binary::{Interfaces, Metadata};
use pipewright_sandbox::{Plugin, Sandbox};

use super::super::exit::{self, Ended};
use super::component::{self, Component};
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
    let component = component::find(&folder).await?;
    let Component { bytes, symbols, version: promised } = component.clone();
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
