//! Which files of a directory are left out: `.git`, and what git would ignore.
//!
//! The rules are those of gitignore(5): every `.gitignore`, `.git/info/exclude`, and nothing of the user's own
//! configuration. What the index lists is tracked and so not ignored.

use std::collections::BTreeSet;
use std::path::Path;
use std::{fs, io};

use gix_ignore::glob::pattern::Case;
use gix_ignore::search::Ignore;

/// The topmost paths below `top` that are left out, separated by `/`, in their order.
pub(crate) fn paths(top: &Path) -> io::Result<Vec<String>> {
    let git = top.join(".git");
    let mut walk = Walk {
        top,
        tracked: fs::read(git.join("index")).ok().and_then(|index| tracked(&index)).unwrap_or_default(),
        rules: gix_ignore::Search::from_git_dir(&git, None, &mut Vec::new(), Ignore::default()).unwrap_or_default(),
        left_out: Vec::new(),
    };
    walk.folder("", false)?;
    Ok(walk.left_out)
}

struct Walk<'a> {
    top: &'a Path,
    tracked: BTreeSet<String>,
    rules: gix_ignore::Search,
    left_out: Vec<String>,
}

impl Walk<'_> {
    /// `path` is empty or ends with a slash. With `ignored` only what is tracked stays.
    fn folder(&mut self, path: &str, ignored: bool) -> io::Result<()> {
        let rules = self.rules.patterns.len();
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.top.join(path))? {
            let entry = entry?;
            // A name that is not UTF-8 cannot pass to the host, which says so when it copies.
            if let Ok(name) = entry.file_name().into_string() {
                entries.push((name, entry.file_type()?.is_dir()));
            }
        }
        entries.sort();
        if entries.iter().any(|(name, is_folder)| name == ".gitignore" && !is_folder) {
            let source = format!("{path}.gitignore");
            let text = fs::read(self.top.join(&source))?;
            self.rules.add_patterns_buffer(&text, source, Some(Path::new("")), Ignore::default())?;
        }
        for (name, is_folder) in entries {
            let path = format!("{path}{name}");
            if name == ".git" {
                self.left_out.push(path);
            } else if is_folder {
                let ignored = ignored || self.is_ignored(&path, true);
                let folder = format!("{path}/");
                if ignored && !self.tracks_below(&folder) {
                    self.left_out.push(path);
                } else {
                    self.folder(&folder, ignored)?;
                }
            } else if !self.tracked.contains(&path) && (ignored || self.is_ignored(&path, false)) {
                self.left_out.push(path);
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

/// The paths in an index file (gitformat-index(5), versions 2 to 4, SHA-1); none if it is not understood.
fn tracked(index: &[u8]) -> Option<BTreeSet<String>> {
    const ENTRY_BYTES: usize = 62;
    const EXTENDED: u8 = 0x40;
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let version = number(4)?;
    if !index.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let (mut paths, mut path, mut at) = (BTreeSet::new(), Vec::new(), 12);
    for _ in 0..number(8)? {
        let start = at;
        // The flags end the entry; the extended bit among them says that two more bytes follow.
        let extended = index.get(start + ENTRY_BYTES - 2)? & EXTENDED != 0;
        at += ENTRY_BYTES + if extended { 2 } else { 0 };
        if version == 4 {
            let kept = path.len().checked_sub(prefix_removed(index, &mut at)?)?;
            path.truncate(kept);
        } else {
            path.clear();
        }
        let end = at + index.get(at..)?.iter().position(|&byte| byte == 0)?;
        path.extend_from_slice(&index[at..end]);
        paths.insert(String::from_utf8_lossy(&path).into_owned());
        // Versions 2 and 3 pad entries with 1 to 8 zero bytes to a multiple of 8.
        at = if version == 4 { end + 1 } else { start + (end - start + 8) / 8 * 8 };
    }
    Some(paths)
}

/// How many bytes of the path before are dropped (version 4), as a number of variable length.
fn prefix_removed(index: &[u8], at: &mut usize) -> Option<usize> {
    let mut next = || {
        *at += 1;
        index.get(*at - 1).copied()
    };
    let mut byte = next()?;
    let mut removed = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = next()?;
        removed = removed.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
    }
    Some(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture;

    #[test]
    fn of_a_work_tree() {
        let top = fixture::work_tree();
        let expected = [".git", "a.log", "docs/a.tmp", "docs/drafts", "secret.txt", "target/built.bin"];
        assert_eq!(paths(top.path()).unwrap(), expected);
    }

    #[test]
    fn an_index_of_version_2() {
        let mut index = b"DIRC\0\0\0\x02\0\0\0\x02".to_vec();
        for path in ["a/b.txt", "a/long-name.txt"] {
            let start = index.len();
            index.extend([0; 60]);
            index.extend((path.len() as u16).to_be_bytes());
            index.extend(path.bytes());
            index.resize(start + (62 + path.len() + 8) / 8 * 8, 0);
        }
        assert_eq!(tracked(&index).unwrap().into_iter().collect::<Vec<_>>(), ["a/b.txt", "a/long-name.txt"]);
        index.truncate(100);
        assert_eq!(tracked(&index), None);
    }
}
