//! `pipewright plugin new`: the folder of a new plugin. What is in it, `kit` knows.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context as _;

use super::super::exit::{self, Ended};
use crate::out::say;
use pipewright_author::kit::{self, Kind, Language, PluginName};

#[derive(clap::Args)]
pub struct Arguments {
    /// `team/name`; the folder is called by the name
    name: PluginName,
    /// What the plugin is to do
    #[arg(long)]
    kind: Kind,
    #[arg(long, default_value = "rust")]
    lang: Language,
    /// The folder to make [default: the name]
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
}

pub(super) fn run(Arguments { name, kind, lang, path }: Arguments) -> Result<ExitCode, Ended> {
    let folder = path.unwrap_or_else(|| PathBuf::from(&name.name));
    let files = kit::files(&name, kind, lang).map_err(Ended::usage)?;
    std::fs::create_dir(&folder).map_err(|error| {
        Ended::usage(format!("{}: {error}; name a folder that is not there yet, with --path", folder.display()))
    })?;
    for (path, content) in &files {
        write(&folder.join(path), content)?;
    }
    let own = files.keys().filter(|path| !path.starts_with("pipewright/"));
    for path in own {
        say!("{}", folder.join(path).display());
    }
    say!();
    say!("Next: cd {} && pipewright plugin test .", folder.display());
    Ok(ExitCode::from(exit::SUCCEEDED))
}

pub(super) fn write(path: &Path, content: &[u8]) -> anyhow::Result<()> {
    let folder = path.parent().context("a file has a folder")?;
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(path, content))
        .with_context(|| path.display().to_string())
}
