//! The folders in which builds find their project as a file: one for all that find the same.
//!
//! Owns that a folder is there for as long as a build uses it, and a while longer. Must not know what a project is.
//!
//! To make one for each build and to remove it takes time that a short build notices; and ext4 gives the numbers of removed files to no
//! other for a minute or more, and passes over all of them for each file that is made near.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::{fs, io};

use pipewright_base::{Digest, Hasher};

use crate::work_folder::{WorkFolder, WorkFolders};

/// Folders that stay when no build uses them, those used last. Stops a folder for each project that was ever built.
const KEPT_MAX: usize = 64;

pub(crate) struct ProjectFolders {
    work: Arc<WorkFolders>,
    /// By the digest of what is in them, the one used last at the end.
    kept: Mutex<VecDeque<(Digest, Arc<WorkFolder>)>>,
    next: AtomicU64,
}

impl ProjectFolders {
    pub(crate) fn new(work: &Arc<WorkFolders>) -> Self {
        Self { work: Arc::clone(work), kept: Mutex::default(), next: AtomicU64::new(0) }
    }

    /// A folder with this file, or with none. It is nobody's to change.
    pub(crate) fn with(&self, file: &str, content: Option<&[u8]>) -> io::Result<Arc<WorkFolder>> {
        let mut hasher = Hasher::default();
        for part in [Some(file.as_bytes()), content].into_iter().flatten() {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let digest = hasher.finish();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|(of, _)| *of == digest).and_then(|at| kept.remove(at));
        let folder = match found {
            Some((_, folder)) => folder,
            None => {
                // By a name of its own: what another one leaves is removed by its name.
                let folder = self.work.folder(format!("project-{}", self.next.fetch_add(1, Relaxed)));
                fs::create_dir_all(&folder.path)?;
                if let Some(content) = content {
                    fs::write(folder.path.join(file), content)?;
                }
                Arc::new(folder)
            }
        };
        kept.push_back((digest, Arc::clone(&folder)));
        if kept.len() > KEPT_MAX {
            kept.pop_front();
        }
        Ok(folder)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn builds_share_a_folder_and_it_goes_after_the_last() {
        let place = tempfile::tempdir().unwrap();
        let work = WorkFolders::new(place.path().join("work"));
        let folders = ProjectFolders::new(&work);
        let path = |file: &str, content: Option<&[u8]>| folders.with(file, content).unwrap().path.clone();
        let one = folders.with("a.json", Some(b"{}")).unwrap();
        assert_eq!(fs::read(one.path.join("a.json")).unwrap(), b"{}");
        assert_eq!(path("a.json", Some(b"{}")), one.path);
        let others = [("a.json", Some(&b"{} "[..])), ("a.json", None), ("a.json", Some(b"")), ("a", Some(b".json{}"))];
        let others = others.map(|(file, content)| path(file, content));
        assert!(others.iter().all(|other| *other != one.path && other.exists()));
        // As many as push it out; who uses it has it all the same.
        for number in 0..KEPT_MAX {
            path(&number.to_string(), None);
        }
        assert!(one.path.join("a.json").exists());
        let again = path("a.json", Some(b"{}"));
        assert_ne!(again, one.path);
        let gone = [one.path.clone()].into_iter().chain(others);
        drop(one);
        for path in gone {
            while path.exists() {
                tokio::task::yield_now().await;
            }
        }
        assert!(again.exists());
    }
}
