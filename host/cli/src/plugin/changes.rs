//! Whether the files of a plugin's folder are those that they were: so that nothing is built again that did not change, and what
//! was saved is seen at once.
//!
//! By looking, not by asking the system to tell: a plugin's folder is small, and looking works on every file system, that of a
//! container's mount too. Must not know what is done about a change.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use pipewright_base::Digest;

/// What tools make and nobody writes. What is in an environment, [`ENVIRONMENTS`] tells.
const MADE: &[&str] = &["target", "build", "dist", "node_modules", ".venv", ".git", "__pycache__", ".pytest_cache"];
/// What changes whenever something is installed.
const ENVIRONMENTS: &[&str] = &["node_modules/.package-lock.json", ".venv/pyvenv.cfg", ".venv/lib", ".venv/lib64"];
/// Stops a look at a folder that is no plugin's, like a home.
const FILES_MAX: usize = 20_000;
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// The size and the time of the last change of each file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Snapshot(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

impl Snapshot {
    /// Of all that a person writes in a folder but for the folders `except`, and of what was installed there. What cannot be
    /// read is as if it were not there: an editor replaces files while this looks.
    ///
    /// # Errors
    /// The folder has more files than a plugin's.
    pub(super) fn of(folder: &Path, except: &[&str]) -> io::Result<Self> {
        let mut snapshot = Self::default();
        let mut left = vec![folder.to_owned()];
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let is_left_out = |names: &[&str]| names.iter().any(|left_out| name == *left_out);
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                match metadata.is_dir() {
                    true if is_left_out(MADE) || next == folder && is_left_out(except) => {}
                    // A linked folder may lead around in a circle.
                    true if entry.file_type().is_ok_and(|kind| kind.is_symlink()) => snapshot.add(entry.path()),
                    true => left.push(entry.path()),
                    false => snapshot.add(entry.path()),
                }
            }
            if snapshot.0.len() > FILES_MAX {
                return Err(io::Error::other(format!("more than {FILES_MAX} files: this is no plugin's folder")));
            }
        }
        ENVIRONMENTS.iter().for_each(|path| snapshot.add_environment(&folder.join(path)));
        Ok(snapshot)
    }

    fn add(&mut self, path: PathBuf) {
        if let Ok(metadata) = fs::metadata(&path) {
            self.0.insert(path, (metadata.len(), metadata.modified().ok()));
        }
    }

    /// A file, or the folders `*/site-packages` in a folder, in which each package has its own.
    fn add_environment(&mut self, path: &Path) {
        match path.is_dir() {
            true => fs::read_dir(path)
                .into_iter()
                .flatten()
                .flatten()
                .for_each(|python| self.add(python.path().join("site-packages"))),
            false => self.add(path.to_owned()),
        }
    }

    pub(super) fn digest(&self) -> Digest {
        Digest::of(format!("{:?}", self.0).as_bytes())
    }
}

/// Returns when a folder is no longer as it was, and what changed is written whole.
///
/// # Errors
/// Those of [`Snapshot::of`].
pub(super) async fn change(folder: &Path, was: &Snapshot) -> io::Result<()> {
    let mut last = was.clone();
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let place = folder.to_owned();
        let now = tokio::task::spawn_blocking(move || Snapshot::of(&place, &[])).await??;
        if now != *was && now == last {
            return Ok(());
        }
        last = now;
    }
}
