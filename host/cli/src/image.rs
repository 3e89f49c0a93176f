//! `pipewright image`: the images that programs run in, as they are on this machine.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use pipewright_base::fair::Gate;
use pipewright_base::home::{DataDirectory, UserFolders};
use pipewright_packages::digest_text;
use pipewright_packages::images::ImageName;
use pipewright_runner::host;
use pipewright_runner::images::{ImagesAt, KeptImage, NotReady};
use pipewright_runner::programs::{Offered, Programs};

use super::exit::{self, Ended};
use super::remote::show;
use crate::out::{self, say};

#[derive(clap::Subcommand)]
pub enum Command {
    /// Pull an image, so that programs begin in it at once
    Pull(Pull),
    /// List the images that are here
    List(List),
    /// Remove images, and the layers that no other one has
    Remove(Remove),
}

#[derive(clap::Args)]
pub struct Pull {
    /// registry.example/team/name:tag, or a folder in the form of an OCI image layout: oci:FOLDER[:TAG]
    image: String,
    /// A PEM file with a certificate authority to trust, besides the system's; may be repeated
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    #[command(flatten)]
    at: At,
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
    /// By name or by digest, as `pipewright image list` shows them
    #[arg(value_name = "IMAGE", required = true)]
    images: Vec<String>,
    #[command(flatten)]
    at: At,
}

#[derive(clap::Args)]
struct At {
    /// The server's data directory [default: the images of local runs]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

impl At {
    fn programs(&self, certificate_authorities: Vec<PathBuf>) -> Result<std::sync::Arc<Programs>, Ended> {
        let folder = match &self.data {
            Some(data) => DataDirectory::open(data)?.images(),
            None => UserFolders::find()?.images(),
        };
        Ok(Programs::new(Offered::default(), ImagesAt { folder, certificate_authorities }, Gate::default()))
    }
}

pub fn run(command: &Command) -> Result<ExitCode, Ended> {
    match command {
        Command::Pull(arguments) => pull(arguments),
        Command::List(arguments) => list(arguments),
        Command::Remove(arguments) => remove(arguments),
    }
}

fn pull(arguments: &Pull) -> Result<ExitCode, Ended> {
    let name: ImageName = arguments.image.parse().map_err(Ended::usage)?;
    let programs = arguments.at.programs(arguments.ca.clone())?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    let pulled = runtime.block_on(async {
        let isolation = programs.probe().await.map_err(|reason| Ended::Host(anyhow::anyhow!(reason)))?;
        let said = |text: &str| out::aside(text);
        programs.images().ready(isolation, host::ACCOUNT, &name, None, &said).await.map_err(|error| match error {
            NotReady { is_passing: false, reason } => Ended::Usage(reason),
            NotReady { reason, .. } => Ended::Host(anyhow::anyhow!(reason)),
        })
    })?;
    say!("{name}  {}", digest_text(&pulled.digest));
    Ok(ExitCode::from(exit::SUCCEEDED))
}

fn list(arguments: &List) -> Result<ExitCode, Ended> {
    let images = arguments.at.programs(Vec::new())?.images().kept().list().context("the folder of images")?;
    if arguments.json {
        out::json(&images);
        return Ok(ExitCode::from(exit::SUCCEEDED));
    }
    let row = |image: &KeptImage| {
        let used = if image.in_use { "in use".to_owned() } else { show::time_ms(image.used_ms) };
        let size = format!("{} MiB", image.bytes >> 20);
        [image.names.join(", "), digest_text(&image.digest), size, used]
    };
    show::table(["IMAGE", "DIGEST", "UNPACKED", "LAST USED"], &images.iter().map(row).collect::<Vec<_>>());
    Ok(ExitCode::from(exit::SUCCEEDED))
}

fn remove(arguments: &Remove) -> Result<ExitCode, Ended> {
    let programs = arguments.at.programs(Vec::new())?;
    let kept = programs.images().kept();
    let is_named = |image: &KeptImage, name: &String| image.names.contains(name) || digest_text(&image.digest) == *name;
    let there = kept.list().context("the folder of images")?;
    if let Some(unknown) = arguments.images.iter().find(|name| !there.iter().any(|image| is_named(image, name))) {
        return Err(Ended::Usage(format!(
            "{unknown} is not here; `pipewright image list`, with the same options, lists those that are"
        )));
    }
    let removed = kept.remove(|image| arguments.images.iter().any(|name| is_named(image, name)));
    let removed = removed.context("the folder of images")?;
    say!("{} images, {} MiB", removed.images, removed.bytes >> 20);
    for image in &removed.in_use {
        say!("{} is in use, and stays", digest_text(image));
    }
    Ok(ExitCode::from(if removed.in_use.is_empty() { exit::SUCCEEDED } else { exit::FAILED }))
}
