//! What the input artifact holds: the paths of its files and folders, with symbolic links followed.

use std::cell::OnceCell;
use std::collections::BTreeMap;

use site_references::{Followed, letters};

/// Files with their size, folders without one. The top, with the empty path, is a folder.
pub(crate) struct Contents {
    all: BTreeMap<String, Option<u64>>,
    /// By their letters; made when a link first leads nowhere.
    spellings: OnceCell<BTreeMap<String, String>>,
}

impl Contents {
    pub(crate) fn new(Followed { files, folders, .. }: Followed) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path, Some(bytes)));
        let folders = folders.into_iter().chain([String::new()]).map(|path| (path, None));
        Self { all: files.chain(folders).collect(), spellings: OnceCell::new() }
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.all.iter().filter(|(_, size)| size.is_some()).map(|(path, _)| path.as_str())
    }

    /// The size of a file in bytes.
    pub(crate) fn file(&self, path: &str) -> Option<u64> {
        self.all.get(path).copied().flatten()
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.all.get(path).is_some_and(Option::is_none)
    }

    /// What is here under another spelling of a path.
    pub(crate) fn similar(&self, path: &str) -> Option<&str> {
        let spellings = || self.all.keys().map(|path| (letters(path), path.clone())).collect();
        self.spellings.get_or_init(spellings).get(&letters(path)).map(String::as_str).filter(|path| !path.is_empty())
    }

    /// What lies right in a folder, as paths.
    pub(crate) fn of_folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.all
            .keys()
            .map(String::as_str)
            .filter(move |path| !path.is_empty() && site_references::parent(path) == folder)
    }
}
