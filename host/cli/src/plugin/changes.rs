//! Whether the files of a plugin's folder are those that they were: so that nothing is built again that did not change, and what
//! was saved is seen at once.
//!
//! By looking, not by asking the system to tell: a plugin's folder is small, and looking works on every file system, that of a
//! container's mount too. Must not know what is done about a change.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
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
    /// Of all that a person writes in a folder and in those that are linked from it, but for the folders `except`, and of what
    /// was installed there. What cannot be read is as if it were not there: an editor replaces files while this looks.
    ///
    /// # Errors
    /// There are more files than a plugin has.
    pub(super) fn of(folder: &Path, except: &[&str]) -> io::Result<Self> {
        let mut snapshot = Self::default();
        let mut left = vec![folder.to_owned()];
        // Links may lead around in a circle.
        let number = |metadata: &fs::Metadata| (metadata.dev(), metadata.ino());
        let mut seen: HashSet<_> = fs::metadata(folder).iter().map(number).collect();
        while let Some(next) = left.pop() {
            for entry in fs::read_dir(&next).into_iter().flatten().flatten() {
                let name = entry.file_name();
                let is_left_out = |names: &[&str]| names.iter().any(|left_out| name == *left_out);
                let Ok(metadata) = fs::metadata(entry.path()) else { continue };
                match metadata.is_dir() {
                    true if is_left_out(MADE) || next == folder && is_left_out(except) => {}
                    true if seen.insert(number(&metadata)) => left.push(entry.path()),
                    true => {}
                    false => snapshot.add(entry.path()),
                }
            }
            if snapshot.0.len() > FILES_MAX {
                let all =
                    format!("more than {FILES_MAX} files, with those of linked folders: this is no plugin's folder");
                return Err(io::Error::other(all));
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What is written, and whether a plugin has changed by it.
    const WRITTEN: &[(&str, bool)] = &[
        ("src/lib.rs", true),
        ("cases/one/case.toml", true),
        ("outside/shared.py", true),
        ("src/target/made.rs", false),
        ("target/made.wasm", false),
        (".git/index", false),
        ("node_modules/left-pad/index.js", false),
        ("node_modules/.package-lock.json", true),
        (".venv/pyvenv.cfg", true),
        (".venv/lib/python3.11/site-packages/added/code.py", true),
        (".venv/lib/python3.11/other/code.py", false),
    ];

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "1").unwrap();
    }

    /// A plugin that is linked to a folder beside it, which is linked back.
    fn plugin(root: &Path) -> PathBuf {
        let folder = root.join("plugin");
        write(&folder.join(".venv/lib/python3.11/site-packages/installed/code.py"));
        fs::create_dir(root.join("shared")).unwrap();
        std::os::unix::fs::symlink("../shared", folder.join("outside")).unwrap();
        std::os::unix::fs::symlink("../plugin", root.join("shared/back")).unwrap();
        folder
    }

    #[test]
    fn what_a_person_writes_or_installs_is_a_change() {
        for (path, is_change) in WRITTEN {
            let root = tempfile::tempdir().unwrap();
            let folder = plugin(root.path());
            let before = Snapshot::of(&folder, &[]).unwrap();
            assert_eq!(before, Snapshot::of(&folder, &[]).unwrap(), "{path}");
            write(&folder.join(path));
            let after = Snapshot::of(&folder, &[]).unwrap();
            assert_eq!(after != before, *is_change, "{path}");
            assert_eq!(after.digest() != before.digest(), *is_change, "{path}");
        }
    }

    #[test]
    fn folders_are_left_out_at_the_top_alone() {
        for (path, is_change) in [("cases/one/case.toml", false), ("src/cases/mod.rs", true)] {
            let root = tempfile::tempdir().unwrap();
            let folder = plugin(root.path());
            let before = Snapshot::of(&folder, &["cases"]).unwrap();
            write(&folder.join(path));
            assert_eq!(Snapshot::of(&folder, &["cases"]).unwrap() != before, is_change, "{path}");
        }
    }

    #[test]
    fn a_home_is_no_plugin() {
        let root = tempfile::tempdir().unwrap();
        let folder = plugin(root.path());
        (0..=FILES_MAX).for_each(|number| fs::write(root.path().join("shared").join(number.to_string()), "").unwrap());
        let error = Snapshot::of(&folder, &[]).unwrap_err().to_string();
        assert!(error.contains("more than 20000 files, with those of linked folders"), "{error}");
    }
}
