//! Which grants count: those of the operator for each pipeline as of now, and those that an execution started with.
//!
//! Owns the choice. Must not know what a grants file says (`grants`), nor where pinned ones are kept (the account's record).

use pipewright_base::hex;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use crate::grants::{GrantsError, GrantsFile};

/// The name in `Start::pins` under which an execution keeps the digest of its grants.
pub const GRANTS_PIN: &str = "grants";

/// The grants file of each pipeline, by its account and name.
pub type Files = BTreeMap<(u64, String), PathBuf>;

pub enum GrantBook {
    /// One pipeline, whose executions do not outlive this process.
    One(Arc<GrantsFile>),
    Many(Many),
}

pub struct Many {
    /// Pipelines and their files. They are read again at each start of an execution, so an edit counts from the next one on.
    files: Files,
    /// What each file said when it was last right.
    current: RwLock<HashMap<(u64, String), Arc<GrantsFile>>>,
    /// By digest, those that executions have pinned.
    pinned: RwLock<HashMap<String, Arc<GrantsFile>>>,
}

impl GrantBook {
    pub fn one(grants: GrantsFile) -> Self {
        Self::One(Arc::new(grants))
    }

    /// Every file must be right at the start.
    pub fn many(files: Files) -> Result<Self, GrantsError> {
        let read = |(name, path): (&(u64, String), &PathBuf)| Ok((name.clone(), Arc::new(GrantsFile::read(path)?)));
        let current = files.iter().map(read).collect::<Result<_, GrantsError>>()?;
        Ok(Self::Many(Many { files, current: RwLock::new(current), pinned: RwLock::default() }))
    }

    /// What a pipeline's file says now. One that was spoiled since counts as it was.
    pub fn current(&self, account: u64, pipeline: &str) -> Arc<GrantsFile> {
        let many = match self {
            Self::One(grants) => return Arc::clone(grants),
            Self::Many(many) => many,
        };
        let pipeline = (account, pipeline.to_owned());
        let Some(path) = many.files.get(&pipeline) else { return Arc::default() };
        match GrantsFile::read(path) {
            Ok(read) => {
                let read = Arc::new(read);
                many.current.write().expect("no panic while held").insert(pipeline, Arc::clone(&read));
                read
            }
            Err(error) => {
                tracing::error!("{error}; what the file said before counts");
                many.current.read().expect("no panic while held").get(&pipeline).cloned().unwrap_or_default()
            }
        }
    }

    /// Remembers what an execution pins, and gives its digest; none where grants are not pinned.
    pub fn pin(&self, grants: &Arc<GrantsFile>) -> Option<(String, Vec<u8>)> {
        let Self::Many(many) = self else { return None };
        let bytes = grants.to_bytes();
        let digest = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(&bytes));
        many.pinned.write().expect("no panic while held").insert(digest.clone(), Arc::clone(grants));
        Some((digest, bytes))
    }

    /// Takes back what executions pinned before this host started.
    pub fn remember(&self, digest: &str, bytes: &[u8]) {
        if let (Self::Many(many), Some(grants)) = (self, GrantsFile::from_bytes(bytes)) {
            many.pinned.write().expect("no panic while held").insert(digest.to_owned(), Arc::new(grants));
        }
    }

    /// The grants of an execution that pinned these; none where they are gone.
    pub fn of(&self, pins: &BTreeMap<String, String>) -> Option<Arc<GrantsFile>> {
        match (self, pins.get(GRANTS_PIN)) {
            (Self::One(grants), _) => Some(Arc::clone(grants)),
            (Self::Many(_), None) => Some(Arc::default()),
            (Self::Many(many), Some(digest)) => many.pinned.read().expect("no panic while held").get(digest).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_counts_as_it_was_while_it_is_spoiled() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        write("[action.\"Source/Source\"]\nclock = true\n");
        let book = GrantBook::many([((7, "site".to_owned()), path.clone())].into()).unwrap();
        let granted_in =
            |account, pipeline: &str| book.current(account, pipeline).actions().map(str::to_owned).collect::<Vec<_>>();
        let granted = |pipeline: &str| granted_in(7, pipeline);
        assert_eq!(granted("site"), ["Source/Source"]);
        assert_eq!(granted_in(8, "site"), [""; 0]);
        assert_eq!(granted("other"), [""; 0]);
        write("[action.\"Deploy/Deploy\"]\nclock = true\n");
        assert_eq!(granted("site"), ["Deploy/Deploy"]);
        write("[action.");
        assert_eq!(granted("site"), ["Deploy/Deploy"]);

        let (digest, bytes) = book.pin(&book.current(7, "site")).unwrap();
        let again = GrantBook::many(BTreeMap::new()).unwrap();
        again.remember(&digest, &bytes);
        let GrantBook::Many(many) = &again else { panic!("it is a book of many") };
        let pinned = many.pinned.read().unwrap()[&digest].actions().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(pinned, ["Deploy/Deploy"]);
    }

    #[test]
    fn a_file_that_is_wrong_at_the_start_is_told() {
        let missing = PathBuf::from("no/such/file.toml");
        assert!(GrantBook::many([((7, "site".to_owned()), missing)].into()).is_err());
    }
}
