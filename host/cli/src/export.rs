//! `pipewright export`: everything that a host keeps, as one file: through its server, or from a directory that no server
//! has.
//!
//! Owns where the file goes. Must not know what is in it (`export`).

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use futures::StreamExt as _;
use pipewright_artifacts::files::BlobDir;

use super::exit::{self, Ended};
use super::remote::{Connection, Server};
use crate::out::note;
use pipewright_artifacts::Artifacts;
use pipewright_base::home::DataDirectory;
use pipewright_base::{Mistake, clock};
use pipewright_engine::export::lines::Line;
use pipewright_engine::export::{Exported, stream};
use pipewright_engine::retention::{Keeper, Retention};
use pipewright_store::{OpenError, SledStore};

#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    connection: Connection,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub fn run(arguments: Arguments) -> Result<ExitCode, Ended> {
    let output = arguments.output.as_deref();
    if let Some(data) = &arguments.connection.data {
        if !data.join("store").is_dir() {
            return Err(Ended::Usage(format!("{} is not a data directory", data.display())));
        }
        let data = DataDirectory::open(data)?;
        match SledStore::open(&data.store(), SledStore::CACHE_BYTES_DEFAULT) {
            Ok(store) => {
                let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
                return Ok(runtime.context("cannot start the runtime")?.block_on(offline(&data, store, output))?);
            }
            // Its server is asked.
            Err(OpenError::InUse { .. }) => {}
            Err(error) => return Err(Ended::Host(error.into())),
        }
    }
    arguments.connection.run(async |server| online(server, output).await)
}

async fn online(server: &Server, output: Option<&Path>) -> Result<ExitCode, Ended> {
    let mut to = Output::begin(output)?;
    // As long as the host's data: whoever exports them has room for them, or finds that the disk is full.
    let mut pieces = server.client.stream(&["v1", "export"], u64::MAX).await?;
    // A server that fails in the middle breaks the connection off, which is an error here.
    while let Some(piece) = pieces.next().await? {
        to.write(&piece)?;
    }
    Ok(to.end()?)
}

async fn offline(data: &DataDirectory, store: SledStore, output: Option<&Path>) -> anyhow::Result<ExitCode> {
    let store: Arc<SledStore> = Arc::new(store);
    let artifacts = Arc::new(Artifacts::open(&data.artifacts())?);
    let keeper = Keeper::new(
        Arc::clone(&store) as _,
        clock::system(),
        Arc::clone(&artifacts),
        data.logs(),
        Retention::default(),
    );
    let exported = Exported {
        store,
        artifacts,
        components: Arc::new(BlobDir::new(data.components())?),
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

/// Standard output, or a file that takes its name once it is whole; and what the export says that it lacks.
struct Output {
    to: To,
    /// The beginning of the line that is being written.
    line: Vec<u8>,
    is_lacking: bool,
}

enum To {
    Standard(std::io::Stdout),
    File { file: tempfile::NamedTempFile, path: PathBuf },
}

/// How a line begins that says what is lacking.
const UNREAD: &[u8] = br#"{"unread":"#;
/// No line that says what is lacking is longer.
const UNREAD_BYTES_MAX: usize = 16 * 1024;

impl Output {
    fn begin(path: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = path else { return Ok(Self::to(To::Standard(std::io::stdout()))) };
        let path = std::path::absolute(path)?;
        let folder = path.parent().context("the file to write has no folder")?;
        let file = tempfile::NamedTempFile::new_in(folder)
            .map_err(|error| Mistake::of(format_args!("cannot write in {}: {error}", folder.display())))?;
        Ok(Self::to(To::File { file, path }))
    }

    fn to(to: To) -> Self {
        Self { to, line: Vec::new(), is_lacking: false }
    }

    fn write(&mut self, piece: &[u8]) -> anyhow::Result<()> {
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            let room = UNREAD_BYTES_MAX.saturating_sub(self.line.len());
            self.line.extend_from_slice(&part[..part.len().min(room)]);
            if part.ends_with(b"\n") {
                if self.line.starts_with(UNREAD)
                    && let Ok(Line::Unread(unread)) = serde_json::from_slice(&self.line)
                {
                    note!("{unread}");
                    self.is_lacking = true;
                }
                self.line.clear();
            }
        }
        match &mut self.to {
            To::Standard(standard) => standard.write_all(piece).context("cannot write to standard output"),
            To::File { file, path } => {
                file.write_all(piece).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }

    /// Who keeps exports must not take one that lacks something for whole.
    fn end(self) -> anyhow::Result<ExitCode> {
        match self.to {
            To::Standard(mut standard) => standard.flush().context("cannot write to standard output")?,
            To::File { file, path } => {
                file.as_file().sync_all()?;
                file.persist(&path).with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        Ok(ExitCode::from(if self.is_lacking { exit::FAILED } else { exit::SUCCEEDED }))
    }
}
