//! Which grants count: those of the operator for each pipeline as of now, and those that an execution started with.
//!
//! Owns the choice. Must not know what a grants file says (`grants`), nor where pinned ones are kept (the driver).

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, RwLock};

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_engine::driver::GRANTS_PIN;

use crate::grants::GrantsFile;

/// Pinned grants in memory; when there are more, all are forgotten and read again when needed. Stops a pipeline whose grants
/// change with every start from filling memory.
const PINNED_COUNT_MAX: usize = 1000;

/// Ends a name that stands for every name which begins so: no pipeline has it in its own.
const ANY: char = '*';

/// The grants file of each pipeline, by its account and name, or by the beginning of its name and `*`.
pub type Files = BTreeMap<(u64, String), PathBuf>;

/// What is wrong with a name that has a grants file.
pub fn check_name(name: &str) -> Result<(), String> {
    match name.strip_suffix(ANY).unwrap_or(name).contains(ANY) {
        true => Err(format!("{name:?}: `{ANY}` stands at the end of a name, for whatever follows")),
        false => Ok(()),
    }
}

/// The file of the name itself, else of its longest beginning.
fn of_name(files: &Files, account: u64, name: &str) -> Option<PathBuf> {
    let ends = name.char_indices().map(|(end, _)| end).chain([name.len()]);
    let patterns = ends.rev().map(|end| format!("{}{ANY}", &name[..end]));
    std::iter::once(name.to_owned()).chain(patterns).find_map(|name| files.get(&(account, name)).cloned())
}

pub enum GrantBook {
    /// One pipeline, whose executions do not outlive this process.
    One(Arc<GrantsFile>),
    Many(Many),
}

pub struct Many {
    /// Pipelines and their files. They are read again at each start of an execution, so an edit counts from the next one on,
    /// and what is missing or wrong then is refused then.
    files: RwLock<Arc<Files>>,
    /// By digest, those that executions have pinned.
    pinned: RwLock<HashMap<String, Arc<GrantsFile>>>,
}

impl Many {
    fn files(&self) -> Arc<Files> {
        Arc::clone(&self.files.read().expect("no panic while held"))
    }
}

/// Where an execution's grants are.
pub enum Pinned<'a> {
    Here(Arc<GrantsFile>),
    /// Kept with the pipeline, by this digest.
    Kept(&'a str),
}

impl GrantBook {
    pub fn one(grants: GrantsFile) -> Self {
        Self::One(Arc::new(grants))
    }

    pub fn many(files: Files) -> Self {
        Self::Many(Many { files: RwLock::new(Arc::new(files)), pinned: RwLock::default() })
    }

    /// From now on these are the files. What executions have pinned stays.
    pub fn replace(&self, files: Files) {
        if let Self::Many(many) = self {
            *many.files.write().expect("no panic while held") = Arc::new(files);
        }
    }

    /// The files that cannot be used now, each with the reason: for the operator, at the start.
    pub fn faults(&self) -> Vec<String> {
        let Self::Many(many) = self else { return Vec::new() };
        let fault = |((account, pipeline), path): (&(u64, String), &PathBuf)| {
            let error = GrantsFile::read(path).err()?;
            Some(format!(
                "the grants of {pipeline} of account {account:012}: {error}; no execution of it starts until then"
            ))
        };
        many.files().iter().filter_map(fault).collect()
    }

    /// The file that a start of this pipeline reads and pins; none where there is nothing to pin.
    pub fn file(&self, account: u64, pipeline: &str) -> Option<PathBuf> {
        match self {
            Self::One(_) => None,
            Self::Many(many) => of_name(&many.files(), account, pipeline),
        }
    }

    /// What counts for a pipeline now. Blocks.
    pub fn current(&self, account: u64, pipeline: &str) -> Result<Arc<GrantsFile>, String> {
        match (self, self.file(account, pipeline)) {
            (Self::One(grants), _) => Ok(Arc::clone(grants)),
            (Self::Many(_), None) => Ok(Arc::default()),
            (Self::Many(_), Some(path)) => GrantsFile::read(&path).map(Arc::new).map_err(|error| error.to_string()),
        }
    }

    /// The form in which grants are kept, and found again by its digest.
    pub fn pin(&self, grants: &Arc<GrantsFile>) -> Bytes {
        let bytes = Bytes::from(grants.to_bytes());
        self.keep(Digest::of(&bytes).to_string(), grants);
        bytes
    }

    /// Takes back what an execution pinned before; none where it is not what was kept.
    pub fn remember(&self, digest: &str, bytes: &[u8]) -> Option<Arc<GrantsFile>> {
        let grants = Arc::new(GrantsFile::from_bytes(bytes)?);
        self.keep(digest.to_owned(), &grants);
        Some(grants)
    }

    fn keep(&self, digest: String, grants: &Arc<GrantsFile>) {
        let Self::Many(many) = self else { return };
        let mut pinned = many.pinned.write().expect("no panic while held");
        if pinned.len() >= PINNED_COUNT_MAX {
            pinned.clear();
        }
        pinned.insert(digest, Arc::clone(grants));
    }

    /// The grants of an execution with these pins.
    pub fn of<'a>(&self, pins: &'a BTreeMap<String, String>) -> Pinned<'a> {
        match (self, pins.get(GRANTS_PIN)) {
            (Self::One(grants), _) => Pinned::Here(Arc::clone(grants)),
            (Self::Many(_), None) => Pinned::Here(Arc::default()),
            (Self::Many(many), Some(digest)) => match many.pinned.read().expect("no panic while held").get(digest) {
                Some(grants) => Pinned::Here(Arc::clone(grants)),
                None => Pinned::Kept(digest),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_beginning_of_a_name_says_which_file_is_its() {
        let of = |names: &[&str]| names.iter().map(|name| ((7, (*name).to_owned()), PathBuf::from(name))).collect();
        let book = GrantBook::many(of(&["*", "team-*", "team-a*", "team-a", "codebuild:*"]));
        let check = |account, pipeline: &str, expected: Option<&str>| {
            assert_eq!(book.file(account, pipeline).as_deref(), expected.map(std::path::Path::new), "{pipeline}");
        };
        check(7, "team-a", Some("team-a"));
        check(7, "team-ab", Some("team-a*"));
        check(7, "team-", Some("team-*"));
        check(7, "team", Some("*"));
        check(7, "codebuild:site", Some("codebuild:*"));
        check(8, "team-a", None);
        book.replace(of(&["team-b"]));
        check(7, "team-a", None);
        check(7, "team-b", Some("team-b"));
        for (name, is_right) in [("*", true), ("a*", true), ("a", true), ("*a", false), ("a**", false)] {
            assert_eq!(check_name(name).is_ok(), is_right, "{name}");
        }
    }

    #[test]
    fn a_file_counts_as_it_is_and_a_wrong_one_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("site.toml");
        let write = |text: &str| std::fs::write(&path, text).unwrap();
        let book = GrantBook::many([((7, "site".to_owned()), path.clone())].into());
        let granted_in = |account, pipeline: &str| {
            let current = book.current(account, pipeline);
            current.map(|grants| grants.actions().map(str::to_owned).collect::<Vec<_>>())
        };
        let wrong = |what: &str| {
            let error = granted_in(7, "site").unwrap_err();
            assert!(error.contains("site.toml") && error.contains(what), "{error}");
            assert!(book.faults().concat().contains(what));
        };
        wrong("cannot be read");
        write("[action.\"Source/Source\"]\nclock = true\n");
        assert_eq!(granted_in(7, "site").unwrap(), ["Source/Source"]);
        assert_eq!(granted_in(8, "site").unwrap(), [""; 0]);
        assert_eq!(granted_in(7, "other").unwrap(), [""; 0]);
        assert_eq!(book.faults(), [""; 0]);
        write("[action.");
        wrong("site.toml");
        write("[action.\"Deploy/Deploy\"]\nclock = true\n");
        assert_eq!(granted_in(7, "site").unwrap(), ["Deploy/Deploy"]);

        let bytes = book.pin(&book.current(7, "site").unwrap());
        let pins = [(GRANTS_PIN.to_owned(), Digest::of(&bytes).to_string())].into();
        assert!(matches!(book.of(&pins), Pinned::Here(_)));
        let again = GrantBook::many(BTreeMap::new());
        let Pinned::Kept(digest) = again.of(&pins) else { panic!("nobody told it of them") };
        let pinned = again.remember(digest, &bytes).unwrap().actions().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(pinned, ["Deploy/Deploy"]);
        assert!(matches!(again.of(&pins), Pinned::Here(_)));
    }
}
