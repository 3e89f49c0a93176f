//! What a host keeps of the actions that it ran, beside their logs: a bundle for each call, without what the host has
//! anyway. Collected with the logs.
//!
//! Owns the files' names and how much there may be of them. Must not know what is recorded.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use pipewright_base::Digest;
use pipewright_pipeline::machine::{Outcome, Report, RunAction};
use pipewright_sandbox::outside::{Recorder, Room};

use super::{Bundle, Keeper, RECORDING_BYTES_MAX};

const EXTENSION: &str = "recording";

/// The folder of the logs, as recordings use it.
pub struct Recordings {
    folder: PathBuf,
    room: Arc<Room>,
}

/// What all running actions together may hold for their recordings. Stops a thousand actions that each download their
/// share.
const RECORDINGS_BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Recordings {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder, room: Room::new(RECORDINGS_BYTES_MAX) }
    }

    /// For a call after others of the same run, which are in `keeper` already.
    pub fn recorder(&self, run: &RunAction, keeper: Option<&Keeper>) -> Arc<Recorder> {
        let bytes_max = self.bytes_left(run).saturating_sub(keeper.map_or(0, Keeper::bytes));
        Recorder::new(bytes_max, &self.room, keeper.map(Keeper::held).unwrap_or_default())
    }

    /// How much may be kept of a call: what earlier calls of the same action execution left.
    fn bytes_left(&self, run: &RunAction) -> u64 {
        if run.call == 1 && run.attempt == 1 {
            return RECORDING_BYTES_MAX;
        }
        let files = self.files(&run.execution.to_string(), &run.action_execution.to_string()).unwrap_or_default();
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        RECORDING_BYTES_MAX.saturating_sub(files.iter().map(size).sum())
    }

    /// Keeps a call that has ended. A recording that cannot be written must not fail the action.
    pub async fn keep(&self, run: &RunAction, mut keeper: Keeper, report: &Report) {
        if let Outcome::Succeeded(success) = &report.outcome {
            let outputs = success.artifacts.iter();
            keeper.outputs(outputs.filter_map(|(name, digest)| Some((name.clone(), digest.parse::<Digest>().ok()?))));
        }
        let RunAction { execution, action_execution, call, attempt, .. } = run;
        let folder = self.folder.join(execution.to_string());
        let path = folder.join(format!("{action_execution}.{call:08}-{attempt:08}.{EXTENSION}"));
        let written = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
            fs::create_dir_all(folder)?;
            Ok(fs::write(path, keeper.bundle().to_bytes()?)?)
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!("the recording of {action_execution}: {error:#}"),
            Err(error) => tracing::warn!("the recording of {action_execution}: {error}"),
        }
    }

    /// All the calls of an action execution; none if nothing is kept of it.
    pub fn read(&self, execution: &str, action: &str) -> anyhow::Result<Option<Bundle>> {
        let mut whole: Option<Bundle> = None;
        for path in self.files(execution, action)? {
            let bundle = Bundle::read(&path)?;
            match &mut whole {
                Some(whole) => whole.append(bundle),
                None => whole = Some(bundle),
            }
        }
        Ok(whole)
    }

    /// In the order of the calls.
    fn files(&self, execution: &str, action: &str) -> io::Result<Vec<PathBuf>> {
        let entries = match fs::read_dir(self.folder.join(execution)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries?,
        };
        let mut files = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&format!("{action}."))
                && path.extension().is_some_and(|extension| extension == EXTENSION)
            {
                files.push(path.clone());
            }
        }
        files.sort();
        Ok(files)
    }
}
