//! An action's own folder, and the one in which all of these lie.
//!
//! Owns what is kept of it between two calls, and that it goes. Must not know what is in it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pipewright_artifacts::files::remove_tree;
use pipewright_sandbox::files::{OUTPUTS, SCRATCH};

/// An action's own folder, gone when its calls and what they started are.
pub(crate) struct WorkFolder {
    pub(crate) path: PathBuf,
    is_removed: AtomicBool,
}

impl WorkFolder {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, is_removed: AtomicBool::new(false) }
    }

    /// Leaves the scratch alone, and makes it if need be.
    pub(crate) async fn keep_scratch(&self) -> anyhow::Result<PathBuf> {
        let (scratch, outputs) = (self.path.join(SCRATCH), self.path.join(OUTPUTS));
        let kept = tokio::task::spawn_blocking(move || {
            remove_tree(&outputs)?;
            std::fs::create_dir_all(&scratch)?;
            anyhow::Ok(scratch)
        });
        kept.await?
    }

    /// Not on this thread: a plugin decides how long it takes.
    pub(crate) async fn empty(&self) {
        if let Some(emptying) = self.begin_to_empty() {
            // It tells what goes wrong by itself.
            let _ = emptying.await;
        }
    }

    /// The same at the end of the last call.
    pub(crate) async fn remove(&self) {
        self.empty().await;
        self.is_removed.store(true, Relaxed);
    }

    /// None where there is nothing, as after most calls.
    fn begin_to_empty(&self) -> Option<tokio::task::JoinHandle<()>> {
        std::fs::symlink_metadata(&self.path).ok()?;
        let folder = self.path.clone();
        Some(tokio::task::spawn_blocking(move || {
            if let Err(error) = remove_tree(&folder) {
                tracing::warn!("cannot empty {}: {error}", folder.display());
            }
        }))
    }
}

/// Removes the folders of all actions, while none runs: those over which a host was killed, and what could not be removed then. What
/// cannot be removed now is told, and keeps nothing else from going. Blocks.
pub(crate) fn empty_all(work: &Path) {
    let removed = match std::fs::read_dir(work) {
        Ok(mut entries) => entries.try_for_each(|entry| {
            let folder = entry?.path();
            remove_tree(&folder).unwrap_or_else(|error| {
                tracing::warn!("{} is left over, and cannot be removed: {error}", folder.display())
            });
            Ok(())
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    if let Err(error) = removed {
        tracing::warn!("what actions left in {} cannot be removed: {error}", work.display());
    }
}

impl Drop for WorkFolder {
    /// Where the call was given up.
    fn drop(&mut self) {
        if !self.is_removed.load(Relaxed) && tokio::runtime::Handle::try_current().is_ok() {
            self.begin_to_empty();
        }
    }
}
