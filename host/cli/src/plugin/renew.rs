//! `pipewright plugin renew`: the SDK and the interface in the folder of a plugin, put in step with this program. What they are,
//! `kit` knows.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;

use super::super::exit::{self, Ended};
use super::new::write;
use crate::out::say;
use pipewright_author::kit::{self, Language, VENDOR};

#[derive(clap::Args)]
pub struct Arguments {
    /// The plugin's folder
    #[arg(value_name = "DIR", default_value = ".")]
    folder: PathBuf,
}

pub(super) fn run(Arguments { folder }: Arguments) -> Result<ExitCode, Ended> {
    let there = folder.join(VENDOR);
    let language = [Language::Rust, Language::Python, Language::JavaScript]
        .into_iter()
        .find(|language| there.join(language.vendored_at()).is_dir())
        .ok_or_else(|| {
            let mend = "give the folder of a plugin, in which there is a folder `pipewright`";
            Ended::usage(format!("{} is no folder that `pipewright plugin new` made: {mend}", folder.display()))
        })?;
    let files = kit::vendored(language)?;
    // In one step for whoever builds meanwhile, and nothing of the old one stays.
    let beside = tempfile::tempdir_in(&folder).with_context(|| folder.display().to_string())?;
    let mut changed = BTreeSet::new();
    for (path, content) in &files {
        if !std::fs::read(there.join(path)).is_ok_and(|old| old == *content) {
            changed.insert(path.clone());
        }
        write(&beside.path().join("new").join(path), content)?;
    }
    let swapped = std::fs::rename(&there, beside.path().join("old"))
        .and_then(|()| std::fs::rename(beside.path().join("new"), &there));
    swapped.with_context(|| there.display().to_string())?;
    for path in &changed {
        say!("{}", there.join(path).display());
    }
    say!("{} files changed; {} has the SDK of this pipewright", changed.len(), there.display());
    Ok(ExitCode::from(exit::SUCCEEDED))
}
