//! `pipewright cache`: what builds and other actions keep for later ones, in a data directory.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_artifacts::caches::{self, CacheLimits, Caches, KeptCache};
use pipewright_base::home::DataDirectory;
use pipewright_server::config;
use pipewright_store::{DirectoryLock, OpenError};

use super::artifacts;
use super::exit::{self, Ended};
use super::remote::show;
use crate::out::{self, say};

#[derive(clap::Subcommand)]
pub enum Command {
    /// List the caches that are kept, those used last first
    List(List),
    /// Remove caches, so that no build finds them; a server may run meanwhile
    Remove(Remove),
}

#[derive(clap::Args)]
pub struct List {
    /// As JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
pub struct Remove {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
#[group(required = true, multiple = true)]
struct Which {
    /// Those of the builds of a project; may be repeated
    #[arg(long, value_name = "NAME")]
    project: Vec<String>,
    /// Those of a pipeline's other actions; may be repeated
    #[arg(long, value_name = "NAME")]
    pipeline: Vec<String>,
    /// All of them
    #[arg(long, conflicts_with_all = ["project", "pipeline"])]
    all: bool,
}

#[derive(clap::Args)]
struct At {
    /// The data directory of the host
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Those of one account alone, of a server that has several
    #[arg(long, value_name = "ID")]
    account: Option<String>,
}

impl At {
    fn open(&self) -> Result<(DataDirectory, Option<u64>), Ended> {
        let account = self.account.as_deref().map(|id| {
            config::account_number(id).ok_or_else(|| Ended::usage(format!("--account {id}: write it as 12 digits")))
        });
        Ok((artifacts::data_directory(&self.data)?, account.transpose()?))
    }
}

impl Which {
    fn names(&self, of: &str) -> bool {
        self.all
            || match of.split_once(' ') {
                Some(("project", name)) => self.project.iter().any(|it| it == name),
                Some(("pipeline", action)) => {
                    let pipeline = action.split(' ').next();
                    self.pipeline.iter().any(|it| Some(it.as_str()) == pipeline)
                }
                _ => false,
            }
    }
}

pub fn run(command: &Command) -> Result<ExitCode, Ended> {
    match command {
        Command::List(arguments) => list(arguments),
        Command::Remove(arguments) => remove(arguments),
    }
}

fn list(arguments: &List) -> Result<ExitCode, Ended> {
    let (data, account) = arguments.at.open()?;
    let mut kept = caches::list(&data.caches()).context("the folder of caches")?;
    kept.retain(|cache| account.is_none_or(|account| cache.account == account));
    if arguments.json {
        out::json(&kept);
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    let row = |cache: &KeptCache| {
        let (account, size) = (format!("{:012}", cache.account), format!("{} KiB", cache.bytes.div_ceil(1 << 10)));
        [account, cache.of.clone(), cache.key.clone(), size, show::time_ms(cache.used_ms)]
    };
    show::table(["ACCOUNT", "OF", "KEY", "SIZE", "LAST USED"], &kept.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::from(exit::SUCCEEDED))
}

fn remove(arguments: &Remove) -> Result<ExitCode, Ended> {
    let (data, account) = arguments.at.open()?;
    let is_meant =
        |cache: &KeptCache| account.is_none_or(|account| cache.account == account) && arguments.which.names(&cache.of);
    let removed = caches::remove(&data.caches(), is_meant).context("the folder of caches")?;
    if removed.is_empty() && !arguments.which.all {
        return Err(Ended::Usage("there is no such cache; `pipewright cache list` shows of whom there are".to_owned()));
    }
    let bytes: u64 = removed.iter().map(|cache| cache.bytes).sum();
    say!("{} caches, {} KiB", removed.len(), bytes.div_ceil(1 << 10));
    match DirectoryLock::take(&data.store()) {
        Ok(_alone) => {
            let caches = Caches::open(&data.caches(), CacheLimits::default()).context("the folder of caches")?;
            caches.collect().context("the folder of caches")?;
        }
        Err(OpenError::InUse { .. }) => say!("The host that runs frees their room when it next keeps a cache"),
        Err(error) => return Err(Ended::Host(error.into())),
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}
