//! A git repository, read only as far as the source needs: where HEAD points, its commit, and where it came from.
//!
//! Knows the plain layout with a folder `.git`; a work tree whose `.git` is a file has its repository elsewhere, outside of
//! what was granted.

use std::fs;
use std::path::{Path, PathBuf};

use git_objects::Commit;

use crate::objects;

/// Symbolic references that point at each other would otherwise never end.
const SYMBOLIC_REFERENCES_MAX: usize = 5;

pub(crate) struct Repository {
    folder: PathBuf,
}

/// What is checked out.
#[derive(Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) branch: Option<String>,
    /// None on a branch without a commit.
    pub(crate) id: Option<String>,
}

impl Repository {
    /// The repository of the work tree whose top is `directory`.
    pub(crate) fn open(directory: &Path) -> Option<Self> {
        let folder = directory.join(".git");
        folder.join("HEAD").is_file().then_some(Self { folder })
    }

    pub(crate) fn head(&self) -> Option<Head> {
        let head = self.text("HEAD")?;
        let branch = head.strip_prefix("ref: ").and_then(|name| name.strip_prefix("refs/heads/"));
        Some(Head { branch: branch.map(str::to_owned), id: self.resolve(&head) })
    }

    pub(crate) fn commit(&self, id: &str) -> Option<Commit> {
        match objects::read(&self.folder.join("objects"), id)? {
            (objects::Kind::Commit, content) => Some(Commit::parse(&content)),
            _ => None,
        }
    }

    /// `site` for a remote `origin` at `https://example.com/maria/site.git`.
    pub(crate) fn name(&self) -> Option<String> {
        let config = self.text("config")?;
        let url = config
            .lines()
            .map(str::trim)
            .skip_while(|line| *line != "[remote \"origin\"]")
            .skip(1)
            .take_while(|line| !line.starts_with('['))
            .find_map(|line| Some(line.strip_prefix("url")?.trim_start().strip_prefix('=')?.trim()))?;
        let last = url.trim_end_matches('/').rsplit(['/', ':']).next()?;
        Some(last.strip_suffix(".git").unwrap_or(last).to_owned()).filter(|name| !name.is_empty())
    }

    /// The commit id that a reference's text stands for.
    fn resolve(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for _ in 0..SYMBOLIC_REFERENCES_MAX {
            let Some(name) = text.strip_prefix("ref: ") else {
                return objects::is_id(&text).then_some(text);
            };
            text = self.text(name).or_else(|| self.packed(name))?;
        }
        None
    }

    fn packed(&self, name: &str) -> Option<String> {
        let references = self.text("packed-refs")?;
        references.lines().find_map(|line| {
            let (id, found) = line.split_once(' ')?;
            (found == name).then(|| id.to_owned())
        })
    }

    fn text(&self, name: &str) -> Option<String> {
        // A reference's name comes out of a file: it must not lead out of the folder.
        if name.split('/').any(|part| part == "..") || name.starts_with('/') {
            return None;
        }
        Some(fs::read_to_string(self.folder.join(name)).ok()?.trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn repository(files: &[(&str, &str)]) -> (tempfile::TempDir, Repository) {
        let top = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let file = top.path().join(".git").join(name);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        }
        let repository = Repository::open(top.path()).unwrap();
        (top, repository)
    }

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";

    #[test]
    fn head() {
        let check = |files: &[(&str, &str)], branch: Option<&str>, id: Option<&str>| {
            let (_top, repository) = repository(files);
            let expected = Head { branch: branch.map(Into::into), id: id.map(Into::into) };
            assert_eq!(repository.head(), Some(expected), "{files:?}");
        };
        let id = &format!("{ID}\n");
        check(&[("HEAD", id)], None, Some(ID));
        check(&[("HEAD", "ref: refs/heads/a/b\n"), ("refs/heads/a/b", id)], Some("a/b"), Some(ID));
        let packed = &format!("# pack-refs with: peeled\n{ID} refs/heads/main\n^{ID}\n");
        check(&[("HEAD", "ref: refs/heads/main"), ("packed-refs", packed)], Some("main"), Some(ID));
        check(&[("HEAD", "ref: refs/heads/main")], Some("main"), None);
        check(&[("HEAD", "ref: refs/heads/x"), ("refs/heads/x", "ref: refs/heads/x")], Some("x"), None);
        check(&[("HEAD", "ref: ../../../etc/passwd")], None, None);
        check(&[("HEAD", "nonsense")], None, None);
    }

    #[test]
    fn name() {
        let check = |config: &str, expected: Expect| {
            let (_top, repository) = repository(&[("HEAD", ""), ("config", config)]);
            expected.assert_eq(&repository.name().unwrap_or_default());
        };
        check("[core]\n\tbare = false\n[remote \"origin\"]\n\turl = git@example.com:maria/site.git\n", expect!["site"]);
        check("[remote \"origin\"]\nfetch = x\nurl=/srv/git/site/\n", expect!["site"]);
        check("[remote \"other\"]\nurl = a/b\n", expect![""]);
    }
}
