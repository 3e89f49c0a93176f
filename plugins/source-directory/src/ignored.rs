//! Which files of a directory are left out: `.git`, and what git would ignore.
//!
//! The rules are those of gitignore(5): every `.gitignore`, `.git/info/exclude`, and nothing of the user's own
//! configuration. What the index lists is tracked and so not ignored, in submodules as well.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use gix_ignore::glob::pattern::Case;
use gix_ignore::search::Ignore;

use crate::index::Index;
use crate::repository::Repository;

/// What there is of a directory, and what not.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// The topmost paths below `top` that are left out, separated by `/`, in their order.
    pub(crate) left_out: Vec<String>,
    /// Submodules that are checked out, and those that are not.
    pub(crate) submodules: Vec<String>,
    pub(crate) empty_submodules: Vec<String>,
    /// A `.gitattributes` names Git LFS.
    pub(crate) has_lfs: bool,
    /// Where an index is not understood: what is ignored and tracked all the same is left out.
    pub(crate) unread: Vec<String>,
}

pub(crate) fn find(top: &Path, repository: Option<&Repository>) -> io::Result<Found> {
    let rules = repository.and_then(|repository| {
        gix_ignore::Search::from_git_dir(repository.common(), None, &mut Vec::new(), Ignore::default()).ok()
    });
    let mut walk = Walk { top, tracked: BTreeSet::new(), rules: rules.unwrap_or_default(), found: Found::default() };
    if let Some(repository) = repository {
        walk.track("", repository);
    }
    walk.folder("", false)?;
    Ok(walk.found)
}

struct Walk<'a> {
    top: &'a Path,
    tracked: BTreeSet<String>,
    rules: gix_ignore::Search,
    found: Found,
}

impl Walk<'_> {
    /// The folder, whose path is empty or ends with a slash, is the work tree of this repository.
    fn track(&mut self, folder: &str, repository: &Repository) {
        let Some(Index { tracked, submodules }) = repository.index() else {
            self.found.unread.push(format!("`{folder}.git`"));
            return;
        };
        for path in submodules {
            let path = format!("{folder}{path}");
            let is_checked_out = self.top.join(&path).join(".git").exists();
            let names = if is_checked_out { &mut self.found.submodules } else { &mut self.found.empty_submodules };
            names.push(format!("`{path}`"));
        }
        self.tracked.extend(tracked.into_iter().map(|path| format!("{folder}{path}")));
    }

    /// `path` is empty or ends with a slash. With `ignored` only what is tracked stays.
    fn folder(&mut self, path: &str, ignored: bool) -> io::Result<()> {
        let rules = self.rules.patterns.len();
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.top.join(path))? {
            let entry = entry?;
            // A name that is not UTF-8 cannot pass to the host, which says so when it copies.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((name, entry.file_type()?));
            }
        }
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        // Links of these names mean nothing to git either.
        let has = |wanted: &str| entries.iter().any(|(name, kind)| name == wanted && kind.is_file());
        if has(".gitignore") {
            let source = format!("{path}.gitignore");
            let text = fs::read(self.top.join(&source))?;
            self.rules.add_patterns_buffer(&text, source, Some(Path::new("")), Ignore::default())?;
        }
        if has(".gitattributes") {
            let text = fs::read(self.top.join(path).join(".gitattributes"))?;
            self.found.has_lfs |= text.windows(10).any(|part| part == b"filter=lfs");
        }
        for (name, kind) in entries {
            let path = format!("{path}{name}");
            if name == ".git" {
                self.found.left_out.push(path);
            } else if kind.is_dir() {
                let is_tracked = self.tracked.contains(&path);
                let ignored = !is_tracked && (ignored || self.is_ignored(&path, true));
                let folder = format!("{path}/");
                if ignored && !self.tracks_below(&folder) {
                    self.found.left_out.push(path);
                    continue;
                }
                // What is not understood of a repository in the repository is a folder like others.
                if let Ok(Some(inner)) = Repository::open(&self.top.join(&path), self.top, None) {
                    self.track(&folder, &inner);
                }
                self.folder(&folder, ignored)?;
            } else if !self.tracked.contains(&path) && (ignored || self.is_ignored(&path, false)) {
                self.found.left_out.push(path);
            }
        }
        self.rules.patterns.truncate(rules);
        Ok(())
    }

    fn is_ignored(&self, path: &str, is_folder: bool) -> bool {
        self.rules
            .pattern_matching_relative_path(path.into(), Some(is_folder), Case::Sensitive)
            .is_some_and(|found| !found.pattern.is_negative())
    }

    fn tracks_below(&self, folder: &str) -> bool {
        self.tracked.range(folder.to_owned()..).next().is_some_and(|path| path.starts_with(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn of_a_work_tree() {
        let top = fixture::work_tree();
        let expected = [".git", "a.log", "docs/a.tmp", "docs/drafts", "secret.txt", "target/built.bin"];
        let repository = Repository::open(top.path(), top.path(), None).unwrap();
        assert_eq!(find(top.path(), repository.as_ref()).unwrap().left_out, expected);
    }

    /// A work tree in the work tree: what it tracks stays, too. A link in the place of `.gitignore` is none.
    #[test]
    fn of_a_work_tree_with_another_in_it() {
        let top = fixture::work_tree();
        let inner = fixture::work_tree();
        fs::rename(inner.path(), top.path().join("inner")).unwrap();
        fs::create_dir(top.path().join("more")).unwrap();
        std::os::unix::fs::symlink("nowhere", top.path().join("more/.gitignore")).unwrap();
        let found = find(top.path(), None).unwrap().left_out;
        let inner: Vec<&str> = found.iter().filter_map(|path| path.strip_prefix("inner/")).collect();
        assert_eq!(inner, [".git", "a.log", "docs/a.tmp", "docs/drafts", "target/built.bin"]);
    }
}
