//! A git repository, read only as far as the source needs: where HEAD points, its commit, where it came from, and what it
//! tracks.
//!
//! Knows a folder `.git`, and a file `.git` that says where that folder is: within what was granted, or in a granted
//! directory of its own, as `git worktree add` needs it.

use std::fs;
use std::path::{Component, Path, PathBuf};

use git_objects::Commit;

use crate::index::{self, Index};
use crate::{objects, reftable};

/// Symbolic references that point at each other would otherwise never end.
const SYMBOLIC_REFERENCES_MAX: usize = 5;
const SHA1_BYTES: usize = 20;
const SHA256_BYTES: usize = 32;

#[derive(Debug)]
pub(crate) struct Repository {
    /// What is this work tree's own: HEAD and the index.
    folder: PathBuf,
    /// What it shares with others: objects, branches, settings.
    common: PathBuf,
    id_bytes: usize,
}

/// What is checked out.
#[derive(Debug, PartialEq)]
pub(crate) struct Head {
    pub(crate) branch: Option<String>,
    /// None on a branch without a commit.
    pub(crate) id: Option<String>,
}

impl Repository {
    /// The repository of the work tree whose top is `directory`, which lies in the granted directory `granted`, or is that.
    /// `apart` is where the repository is granted if it lies elsewhere. None where there is none.
    ///
    /// # Errors
    /// Where the repository is, which cannot be reached.
    pub(crate) fn open(directory: &Path, granted: &Path, apart: Option<&Path>) -> Result<Option<Self>, String> {
        let git = directory.join(".git");
        let Ok(metadata) = fs::symlink_metadata(&git) else { return Ok(None) };
        let is_there = |folder: &PathBuf| folder.join("HEAD").is_file();
        let folder = if metadata.is_dir() {
            Some(git).filter(is_there)
        } else {
            let leads = if metadata.is_symlink() {
                fs::read_link(&git).map(|to| to.display().to_string())
            } else {
                fs::read_to_string(&git)
            };
            let leads = leads.unwrap_or_default();
            let leads = leads.trim_end().trim_start_matches("gitdir: ");
            let inside = tidy(&directory.join(leads)).filter(|folder| folder.starts_with(granted) && is_there(folder));
            let worktree = leads.rsplit_once("/worktrees/").map_or("", |(_, name)| name);
            let apart = apart.into_iter().flat_map(|apart| [apart.join("worktrees").join(worktree), apart.to_owned()]);
            let found = inside.or_else(|| apart.map(|folder| tidy(&folder).unwrap_or(folder)).find(is_there));
            Some(found.ok_or_else(|| leads.to_owned())?)
        };
        Ok(folder.map(Self::of_folder))
    }

    fn of_folder(folder: PathBuf) -> Self {
        let common = fs::read_to_string(folder.join("commondir")).ok();
        let common = common.and_then(|common| tidy(&folder.join(common.trim_end()))).unwrap_or_else(|| folder.clone());
        let mut repository = Self { folder, common, id_bytes: SHA1_BYTES };
        if repository.config("[extensions]", "objectformat").is_some_and(|format| format == "sha256") {
            repository.id_bytes = SHA256_BYTES;
        }
        repository
    }

    /// The folder with `info/exclude`.
    pub(crate) fn common(&self) -> &Path {
        &self.common
    }

    /// None where it is not understood.
    pub(crate) fn index(&self) -> Option<Index> {
        index::read(&self.folder, self.id_bytes)
    }

    pub(crate) fn head(&self) -> Option<Head> {
        let head = self.reference("HEAD")?;
        let branch = head.strip_prefix("ref: ").and_then(|name| name.strip_prefix("refs/heads/"));
        Some(Head { branch: branch.map(str::to_owned), id: self.resolve(&head) })
    }

    pub(crate) fn commit(&self, id: &str) -> Option<Commit> {
        match objects::read(&self.common.join("objects"), id)? {
            (objects::Kind::Commit, content) => Some(Commit::parse(&content)),
            _ => None,
        }
    }

    /// `site` for a remote `origin` at `https://example.com/maria/site.git`.
    pub(crate) fn name(&self) -> Option<String> {
        let url = self.config("[remote \"origin\"]", "url")?;
        let last = url.trim_end_matches('/').rsplit(['/', ':']).next()?;
        Some(last.strip_suffix(".git").unwrap_or(last).to_owned()).filter(|name| !name.is_empty())
    }

    /// The first value that the settings have under this key in this section.
    fn config(&self, section: &str, key: &str) -> Option<String> {
        let config = text(&self.common, "config")?;
        let mut lines = config.lines().map(str::trim).skip_while(|line| *line != section).skip(1);
        lines.by_ref().take_while(|line| !line.starts_with('[')).find_map(|line| {
            let (name, value) = line.split_once('=')?;
            name.trim().eq_ignore_ascii_case(key).then(|| value.trim().to_owned())
        })
    }

    /// The commit id that a reference's text stands for.
    fn resolve(&self, text: &str) -> Option<String> {
        let mut text = text.to_owned();
        for _ in 0..SYMBOLIC_REFERENCES_MAX {
            let Some(name) = text.strip_prefix("ref: ") else {
                return objects::is_id(&text).then_some(text);
            };
            text = self.reference(name)?;
        }
        None
    }

    /// HEAD and the like are the work tree's own, branches are shared.
    fn reference(&self, name: &str) -> Option<String> {
        if self.folder.join("reftable").is_dir() {
            let find = |folder: &Path| reftable::find(&folder.join("reftable"), name, self.id_bytes);
            return find(&self.folder).or_else(|| find(&self.common));
        }
        text(&self.folder, name).or_else(|| text(&self.common, name)).or_else(|| self.packed(name))
    }

    fn packed(&self, name: &str) -> Option<String> {
        let references = text(&self.common, "packed-refs")?;
        references.lines().find_map(|line| {
            let (id, found) = line.split_once(' ')?;
            (found == name).then(|| id.to_owned())
        })
    }
}

fn text(folder: &Path, name: &str) -> Option<String> {
    // A reference's name comes out of a file: it must not lead out of the folder.
    if name.split('/').any(|part| part == "..") || name.starts_with('/') {
        return None;
    }
    Some(fs::read_to_string(folder.join(name)).ok()?.trim_end().to_owned())
}

/// Without `..`, in the text alone; none where it leads above the root.
fn tidy(path: &Path) -> Option<PathBuf> {
    let mut tidied = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir if !tidied.pop() => return None,
            Component::ParentDir => {}
            part => tidied.push(part),
        }
    }
    Some(tidied)
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
        let repository = Repository::open(top.path(), top.path(), None).unwrap().unwrap();
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

    /// A work tree with a file `.git`, and a folder with these files, a linked work tree's, `one`, among them.
    #[test]
    fn a_repository_that_lies_elsewhere() {
        let check = |leads: &str, expected: Result<&str, &str>| {
            let top = tempfile::tempdir().unwrap();
            for (name, text) in [
                ("work/.git", format!("gitdir: {leads}\n").as_str()),
                ("work/inside/HEAD", ID),
                ("apart/HEAD", "ref: refs/heads/main"),
                ("apart/refs/heads/main", ID),
                ("apart/refs/heads/side", ID),
                ("apart/worktrees/one/HEAD", "ref: refs/heads/side"),
                ("apart/worktrees/one/commondir", "../..\n"),
            ] {
                let file = top.path().join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(file, text).unwrap();
            }
            let (work, apart) = (top.path().join("work"), top.path().join("apart"));
            let told = |opened: Result<Option<Repository>, String>| {
                opened.map(|repository| {
                    let head = repository.unwrap().head().unwrap();
                    assert_eq!(head.id.as_deref(), Some(ID));
                    head.branch.unwrap_or_default()
                })
            };
            let found = told(Repository::open(&work, &work, Some(&apart)));
            assert_eq!(found.as_deref().map_err(String::as_str), expected, "{leads}");
            let found = told(Repository::open(&work, &work, None));
            assert_eq!(found.is_ok(), leads == "inside", "{leads}");
        };
        check("/home/maria/site/.git/worktrees/one", Ok("side"));
        check("/home/maria/site/.git", Ok("main"));
        check("../elsewhere/.git", Ok("main"));
        check("inside", Ok(""));
    }
}
