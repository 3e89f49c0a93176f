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
use tokio::sync::Semaphore;

use super::{Bundle, Keeper, RECORDING_BYTES_MAX};

const EXTENSION: &str = "recording";

/// The folder of the logs, as recordings use it.
pub struct Recordings {
    folder: PathBuf,
    room: Arc<Room>,
    /// A place for each that is being written: an action does not wait for its own, but for a place.
    writing: Arc<Semaphore>,
}

/// Stops actions that end faster than their recordings are written.
const WRITTEN_AT_ONCE_MAX: u32 = 16;

/// What all running actions together may hold for their recordings. Stops a thousand actions that each download their
/// share.
const RECORDINGS_BYTES_MAX: u64 = 256 * 1024 * 1024;

impl Recordings {
    pub fn new(folder: PathBuf) -> Self {
        let writing = Arc::new(Semaphore::new(WRITTEN_AT_ONCE_MAX as usize));
        Self { folder, room: Room::new(RECORDINGS_BYTES_MAX), writing }
    }

    /// Waits until what was kept before is there.
    pub async fn written(&self) {
        drop(self.writing.acquire_many(WRITTEN_AT_ONCE_MAX).await);
    }

    /// For a call after others of the same run, which are in `keeper` already.
    pub async fn recorder(&self, run: &RunAction, keeper: Option<&Keeper>) -> Arc<Recorder> {
        let is_first = run.call == 1 && run.attempt == 1;
        let bytes_max = if is_first { RECORDING_BYTES_MAX } else { self.bytes_left(run).await };
        let bytes_max = bytes_max.saturating_sub(keeper.map_or(0, Keeper::bytes));
        Recorder::new(bytes_max, &self.room, keeper.map(Keeper::held).unwrap_or_default())
    }

    /// How much may be kept of a call: what earlier calls of the same action execution left.
    async fn bytes_left(&self, run: &RunAction) -> u64 {
        self.written().await;
        let files = self.files(&run.execution.to_string(), &run.action_execution.to_string()).unwrap_or_default();
        let size = |path: &PathBuf| fs::metadata(path).map_or(0, |metadata| metadata.len());
        RECORDING_BYTES_MAX.saturating_sub(files.iter().map(size).sum())
    }

    /// Keeps a call that has ended, soon. A recording that cannot be written must not fail the action.
    pub async fn keep(&self, run: &RunAction, mut keeper: Keeper, report: &Report) {
        if let Outcome::Succeeded(success) = &report.outcome {
            let outputs = success.artifacts.iter();
            keeper.outputs(outputs.filter_map(|(name, digest)| Some((name.clone(), digest.parse::<Digest>().ok()?))));
        }
        let RunAction { execution, action_execution, call, attempt, .. } = run;
        let folder = self.folder.join(execution.to_string());
        let path = folder.join(format!("{action_execution}.{call:08}-{attempt:08}.{EXTENSION}"));
        self.write(path, keeper.bundle()).await;
    }

    async fn write(&self, path: PathBuf, bundle: Bundle) {
        let place = Arc::clone(&self.writing).acquire_owned().await;
        tokio::task::spawn_blocking(move || {
            let _place = place;
            let written = path.parent().map_or(Ok(()), fs::create_dir_all).map_err(anyhow::Error::from);
            let written = written.and_then(|()| Ok(fs::write(&path, bundle.to_bytes()?)?));
            if let Err(error) = written {
                tracing::warn!("the recording {}: {error:#}", path.display());
            }
        });
    }

    /// All the calls of an action execution, as far as they are [written](Self::written); none if nothing is kept of it. Blocks.
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

#[cfg(test)]
mod tests {
    use super::super::{Component, FORMAT, Recording};
    use super::*;

    #[tokio::test]
    async fn what_is_kept_is_there_once_it_is_written() {
        let place = tempfile::tempdir().unwrap();
        let recordings = Recordings::new(place.path().to_owned());
        let component = Component { name: "team/plugin".into(), version: "1.0.0".into(), digest: Digest::of(b"") };
        let recording = Recording { format: FORMAT, component, calls: vec![], log: vec![], left_out: vec![] };
        // As small as is stored, and as large as is compressed.
        let blobs = [b"small".to_vec(), vec![7; 1 << 20]].map(|blob| (Digest::of(&blob), blob.into()));
        let bundle = Bundle { recording, blobs: blobs.into() };
        let count = 2 * WRITTEN_AT_ONCE_MAX;
        for call in 1..=count {
            let path = place.path().join(format!("execution/action.{call:08}-00000001.{EXTENSION}"));
            recordings.write(path, bundle.clone()).await;
        }
        // And one that cannot be written keeps nobody.
        recordings.write(place.path().to_owned(), bundle.clone()).await;
        recordings.written().await;
        let files = recordings.files("execution", "action").unwrap();
        assert_eq!(files.len(), count as usize);
        for file in files {
            assert_eq!(Bundle::read(&file).unwrap().blobs, bundle.blobs);
        }
    }
}
