//! What the input artifact holds: the paths of its files and folders.

use std::collections::BTreeMap;

/// Files with their size, folders without one. The top, with the empty path, is a folder.
pub(crate) struct Contents(BTreeMap<String, Option<u64>>);

impl Contents {
    pub(crate) fn new(entries: impl Iterator<Item = (String, Option<u64>)>) -> Self {
        Self(entries.chain([(String::new(), None)]).collect())
    }

    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, size)| size.is_some()).map(|(path, _)| path.as_str())
    }

    /// The size of a file in bytes.
    pub(crate) fn file(&self, path: &str) -> Option<u64> {
        self.0.get(path).copied().flatten()
    }

    pub(crate) fn is_folder(&self, path: &str) -> bool {
        self.0.get(path).is_some_and(Option::is_none)
    }

    /// What lies right in a folder, as paths.
    pub(crate) fn of_folder<'a>(&'a self, folder: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .keys()
            .map(String::as_str)
            .filter(move |path| !path.is_empty() && site_references::parent(path) == folder)
    }
}
