//! `pipewright export`: everything that a data directory holds, as one file.
//!
//! Owns where the file goes. Must not know what is in it (`export`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;
use pipewright_sandbox::files::BlobDir;

use super::exit::{self, Ended};
use crate::artifacts::Artifacts;
use crate::export::{Exported, stream};
use crate::home::DataDirectory;
use crate::retention::{Keeper, Retention};
use crate::store::{OpenError, SledStore};

#[derive(clap::Args)]
pub struct Arguments {
    /// The data directory
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    if !arguments.data.join("store").is_dir() {
        return Err(Ended::Usage(format!("{} is not a data directory", arguments.data.display())));
    }
    let data = DataDirectory::open(&arguments.data)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start the runtime")?;
    match SledStore::open(&data.store(), SledStore::CACHE_BYTES_DEFAULT) {
        Ok(store) => runtime.block_on(offline(&data, store, arguments.output.as_deref()))?,
        Err(error @ OpenError::InUse { .. }) => return Err(Ended::usage(error)),
        Err(error) => return Err(Ended::Host(error.into())),
    }
    Ok(ExitCode::from(exit::SUCCEEDED))
}

async fn offline(data: &DataDirectory, store: SledStore, output: Option<&Path>) -> anyhow::Result<()> {
    let store: Arc<SledStore> = Arc::new(store);
    let artifacts = Arc::new(Artifacts::open(&data.artifacts())?);
    let keeper = Keeper::new(Arc::clone(&store) as _, Arc::clone(&artifacts), data.logs(), Retention::default());
    let exported = Exported {
        store,
        artifacts,
        components: BlobDir::new(data.components())?,
        logs: data.logs(),
        keeper: Arc::new(keeper),
    };
    let mut to = Output::begin(output)?;
    let mut pieces = pin!(stream(exported));
    while let Some(piece) = pieces.next().await {
        to.write(&piece?)?;
    }
    to.end()
}

/// Standard output, or a file that takes its name once it is whole.
enum Output {
    Standard(std::io::Stdout),
    File { file: tempfile::NamedTempFile, path: PathBuf },
}

impl Output {
    fn begin(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::Standard(std::io::stdout())) };
        let path = std::path::absolute(path)?;
        let folder = path.parent().context("the file to write has no folder")?;
        let file =
            tempfile::NamedTempFile::new_in(folder).with_context(|| format!("cannot write in {}", folder.display()))?;
        Ok(Self::File { file, path })
    }

    fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        match self {
            Self::Standard(standard) => standard.write_all(piece).context("cannot write to standard output"),
            Self::File { file, path } => {
                file.write_all(piece).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    fn end(self) -> anyhow::Result<()> {
        match self {
            Self::Standard(mut standard) => standard.flush().context("cannot write to standard output"),
            Self::File { file, path } => {
                file.as_file().sync_all()?;
                file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
                Ok(())
            }
        }
    }
}
