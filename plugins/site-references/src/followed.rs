//! What a folder holds for whoever follows the symbolic links in it, as web servers do.

use std::collections::{BTreeMap, BTreeSet};

use pipewright_sdk::prelude::*;

/// Stops links that lead to each other, so that every folder is below every other one many times.
const ENTRIES_MAX: usize = 500_000;
/// No host takes a longer path.
const PATH_BYTES_MAX: usize = 4_096;
/// As many links as Linux follows on the way to one file.
const LINKS_FOLLOWED_MAX: usize = 40;

/// What is at a path.
#[derive(Clone, Debug)]
enum Node {
    /// Its size in bytes.
    File(u64),
    Folder,
    /// Its target.
    Link(String),
}

/// The links multiply what there is beyond all bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct TooMany;

impl std::fmt::Display for TooMany {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "its symbolic links, followed, make more than {ENTRIES_MAX} files and folders of it (entries_max)")
    }
}

#[derive(Debug, Default, PartialEq)]
pub struct Followed {
    /// With their sizes. What lies below a link to a folder is here under the path through the link.
    pub files: BTreeMap<String, u64>,
    /// Without the top.
    pub folders: BTreeSet<String>,
    /// Links to what is not there, with their targets.
    pub nowhere: BTreeMap<String, String>,
}

impl Followed {
    /// What is in an input artifact, as whoever serves it shows its symbolic links.
    pub fn of(input: &Input) -> Result<Self> {
        let entries = files::list(input, &[])?.into_iter().map(|entry| {
            let node = match (entry.kind, entry.target) {
                (files::FileKind::Directory, _) => Node::Folder,
                (files::FileKind::File, _) => Node::File(entry.size),
                (files::FileKind::Link, target) => Node::Link(target.unwrap_or_default()),
            };
            (entry.path, node)
        });
        Self::new(entries).map_err(|error| Failure::job(format!("the input artifact `{}`: {error}", input.name())))
    }

    /// `entries` are all below the top. A link to a folder in which it lies itself is an empty folder.
    fn new(entries: impl IntoIterator<Item = (String, Node)>) -> Result<Self, TooMany> {
        let mut real = Real::default();
        for (path, node) in entries {
            let (folder, name) = path.rsplit_once('/').unwrap_or(("", &path));
            real.children.entry(folder.to_owned()).or_default().push(name.to_owned());
            real.nodes.insert(path, node);
        }
        let mut followed = Self::default();
        // Each with the one in which it lies, so that a folder is not looked for in itself.
        let mut folders = vec![Visit { shown: String::new(), real: String::new(), within: None }];
        let mut next = 0;
        while next < folders.len() {
            let (shown, at) = (folders[next].shown.clone(), folders[next].real.clone());
            for name in real.children.get(&at).into_iter().flatten() {
                if followed.files.len() + folders.len() >= ENTRIES_MAX {
                    return Err(TooMany);
                }
                let path = join(&shown, name);
                if path.len() > PATH_BYTES_MAX {
                    continue;
                }
                let Some(found) = real.find(&at, name) else {
                    if let Some(Node::Link(target)) = real.nodes.get(&join(&at, name)) {
                        followed.nowhere.insert(path, target.clone());
                    }
                    continue;
                };
                if let Some(Node::File(bytes)) = real.nodes.get(&found) {
                    followed.files.insert(path, *bytes);
                    continue;
                }
                followed.folders.insert(path.clone());
                let mut above = Some(next);
                while let Some(index) = above.filter(|index| folders[*index].real != found) {
                    above = folders[index].within;
                }
                if above.is_none() {
                    folders.push(Visit { shown: path, real: found, within: Some(next) });
                }
            }
            next += 1;
        }
        Ok(followed)
    }
}

struct Visit {
    /// The path that led here, and the one without links.
    shown: String,
    real: String,
    within: Option<usize>,
}

#[derive(Default)]
struct Real {
    nodes: BTreeMap<String, Node>,
    children: BTreeMap<String, Vec<String>>,
}

impl Real {
    /// The path, without links, of what a path from a folder leads to.
    fn find(&self, folder: &str, path: &str) -> Option<String> {
        let mut at = folder.to_owned();
        let mut ahead: Vec<&str> = path.split('/').rev().collect();
        let mut followed = 0;
        while let Some(name) = ahead.pop() {
            match name {
                "" | "." => continue,
                ".." if at.is_empty() => return None,
                ".." => {
                    at.truncate(at.rfind('/').unwrap_or(0));
                    continue;
                }
                _ => {}
            }
            let path = join(&at, name);
            match self.nodes.get(&path)? {
                Node::Link(target) => {
                    followed += 1;
                    if followed > LINKS_FOLLOWED_MAX || target.starts_with('/') {
                        return None;
                    }
                    ahead.extend(target.split('/').rev());
                }
                Node::File(_) if ahead.iter().any(|name| !name.is_empty()) => return None,
                Node::File(_) | Node::Folder => at = path,
            }
        }
        Some(at)
    }
}

fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Paths, with `/` at the end of a folder and ` → TARGET` behind a link, to how it looks when links are followed.
    fn check(entries: &[&str], expected: &[&str]) {
        let entries = entries.iter().map(|entry| match entry.split_once(" → ") {
            Some((path, target)) => (path.to_owned(), Node::Link(target.to_owned())),
            None => match entry.strip_suffix('/') {
                Some(path) => (path.to_owned(), Node::Folder),
                None => ((*entry).to_owned(), Node::File(1)),
            },
        });
        let Followed { files, folders, nowhere } = Followed::new(entries).unwrap();
        let nowhere = nowhere.into_iter().map(|(path, target)| format!("{path} → {target}"));
        let mut all: Vec<String> = folders.into_iter().map(|path| path + "/").collect();
        all.extend(files.into_keys().chain(nowhere));
        all.sort();
        assert_eq!(all, expected);
    }

    #[test]
    fn what_lies_behind_links() {
        check(&["a/", "a/b.md", "c.md → a/b.md", "d → a"], &["a/", "a/b.md", "c.md", "d/", "d/b.md"]);
        check(
            &["a/", "a/b.md", "d → e", "e → ./a/", "x → d/b.md"],
            &["a/", "a/b.md", "d/", "d/b.md", "e/", "e/b.md", "x"],
        );
        check(
            &["a/", "a/up → ../z", "d → a", "z/", "z/f"],
            &["a/", "a/up/", "a/up/f", "d/", "d/up/", "d/up/f", "z/", "z/f"],
        );
    }

    #[test]
    fn what_leads_nowhere() {
        check(
            &["a → gone", "b → ..", "c → c", "d → /etc", "f", "g → f/x"],
            &["a → gone", "b → ..", "c → c", "d → /etc", "f", "g → f/x"],
        );
    }

    #[test]
    fn loops() {
        check(&["a/", "a/f", "a/self → ."], &["a/", "a/f", "a/self/"]);
        check(&["a/", "a/to → ../b", "b/", "b/to → ../a"], &["a/", "a/to/", "a/to/to/", "b/", "b/to/", "b/to/to/"]);
    }

    #[test]
    fn links_that_multiply() {
        let mut entries = vec![];
        for level in 0..30 {
            entries.push((format!("{level}"), Node::Folder));
            for way in ["a", "b"] {
                entries.push((format!("{level}/{way}"), Node::Link(format!("../{}", level + 1))));
            }
        }
        entries.push(("30".to_owned(), Node::Folder));
        assert_eq!(Followed::new(entries), Err(TooMany));
    }
}
