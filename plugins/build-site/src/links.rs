//! Which file becomes what on the site, and where a link in a Markdown file leads there. Pure.

use std::collections::{BTreeMap, BTreeSet};

use pipewright_sdk::{Failure, Result};
use site_references::{Reference, join, parent, relative};

use crate::TEXT_BYTES_MAX;
use crate::contents::Contents;

/// Where files go that pages link to and that lie outside of the site's folder.
const OUTSIDE: &str = "_repository";

/// What is made of a file or folder that a page links to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Page,
    Copy,
    /// A page that shows the text, with a number for each line.
    Text,
    /// A page that lists the folder.
    Folder,
}

/// What becomes of the input artifact.
pub(crate) struct Site {
    pub(crate) contents: Contents,
    /// The folder in which the Markdown lies.
    source: String,
    /// From Markdown files to pages.
    pages: BTreeMap<String, String>,
}

impl Site {
    pub(crate) fn plan(contents: Contents, source: &str, index: Option<&str>, except: &[String]) -> Result<Self> {
        let source = join("", source).filter(|source| contents.is_folder(source)).ok_or_else(|| {
            Failure::configuration(format!(
                "setting `Source` is `{source}`, and the input artifact has no such folder; correct it in the action's \
                 configuration"
            ))
        })?;
        let except: Vec<String> = except.iter().filter_map(|path| join(&source, path)).collect();
        let is_page = |file: &str| {
            below(&source, file)
                .is_some_and(|path| is_markdown(path) && !path.split('/').any(|part| part.starts_with('.')))
                && !except.iter().any(|folder| below(folder, file).is_some())
        };
        let files: Vec<&str> = contents.files().filter(|file| is_page(file)).collect();
        if files.is_empty() {
            return Err(Failure::configuration(format!(
                "no Markdown files lie in the folder `{source}` of the input artifact; correct the setting `Source`"
            )));
        }
        let first = index.map(|index| {
            join(&source, index).filter(|file| files.contains(&file.as_str())).ok_or_else(|| {
                Failure::configuration(format!(
                    "setting `Index` is `{index}`, and no page is made of such a file; correct it in the action's configuration"
                ))
            })
        });
        let first = first.transpose()?;
        let mut pages = BTreeMap::new();
        for file in &files {
            let made = match &first {
                Some(first) if first == file => "index.html".to_owned(),
                _ => made_of_markdown(&source, file, &files, first.is_some()),
            };
            pages.insert((*file).to_owned(), made);
        }
        Makers::default().add_all(pages.iter().map(|(file, made)| (file.as_str(), made.clone())))?;
        Ok(Self { source, pages, contents })
    }

    /// The Markdown files, and the pages that are made of them.
    pub(crate) fn pages(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pages.iter().map(|(file, made)| (file.as_str(), made.as_str()))
    }

    /// The path on the site of a file or folder of the input artifact.
    pub(crate) fn made(&self, path: &str, kind: Kind) -> String {
        if let Some(made) = self.pages.get(path) {
            return made.clone();
        }
        let (folder, inside) = match below(&self.source, path) {
            Some(inside) => ("", inside),
            None => (OUTSIDE, path),
        };
        let made = match kind {
            Kind::Page | Kind::Copy => format!("{folder}/{inside}"),
            Kind::Text => format!("{folder}/{inside}.html"),
            Kind::Folder => format!("{folder}/{inside}/index.html"),
        };
        join("", &made).unwrap_or(made)
    }

    /// What stands for a path on the site, if it is there at all: the file that it is made of, and how.
    fn find(&self, path: &str) -> Option<(String, Kind)> {
        if self.pages.contains_key(path) {
            return Some((path.to_owned(), Kind::Page));
        }
        if let Some(bytes) = self.contents.file(path) {
            let kind = if is_text(path) && bytes <= TEXT_BYTES_MAX { Kind::Text } else { Kind::Copy };
            return Some((path.to_owned(), kind));
        }
        if !self.contents.is_folder(path) {
            return None;
        }
        // A folder with a page of its own is that page.
        let index = self.made(path, Kind::Folder);
        if let Some((file, _)) = self.pages.iter().find(|(_, made)| **made == index) {
            return Some((file.clone(), Kind::Page));
        }
        let written = join(path, "index.html").filter(|file| self.contents.file(file).is_some());
        Some(written.map_or((path.to_owned(), Kind::Folder), |file| (file, Kind::Copy)))
    }
}

/// Which file or folder each page and copy on the site is made of.
#[derive(Default)]
pub(crate) struct Makers<'a>(BTreeMap<String, &'a str>);

impl<'a> Makers<'a> {
    /// # Errors
    /// Names two that would become one: the one written last would be all that there is.
    pub(crate) fn add_all(&mut self, all: impl Iterator<Item = (&'a str, String)>) -> Result<()> {
        for (maker, made) in all {
            match self.0.get(&made) {
                Some(other) if *other != maker => {
                    return Err(Failure::job(format!(
                        "`{other}` and `{maker}` would both become `{made}` on the site: rename one of them, or name one that is \
                         Markdown in the setting `Except`"
                    )));
                }
                _ => drop(self.0.insert(made, maker)),
            }
        }
        Ok(())
    }

    pub(crate) fn has(&self, made: &str) -> bool {
        self.0.contains_key(made)
    }
}

/// Resolves links, and remembers what they need on the site.
pub(crate) struct Links<'a> {
    site: &'a Site,
    wanted: BTreeSet<(String, Kind)>,
}

/// A link to something of the same site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Internal {
    /// As it is on the site; none where it leads nowhere, or stays as it was written.
    pub(crate) href: Option<String>,
    /// Where it may have been meant to lead, if it leads nowhere: how it would be written.
    pub(crate) meant: Option<String>,
}

impl<'a> Links<'a> {
    pub(crate) fn new(site: &'a Site) -> Self {
        Self { site, wanted: BTreeSet::new() }
    }

    /// What the links so far need on the site, in the order of the paths.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = (&str, Kind)> {
        self.wanted.iter().map(|(path, kind)| (path.as_str(), *kind))
    }

    /// Where a link in a Markdown file leads; none for what leads out of the site. `embedded` are images and the like,
    /// which are shown and so must be the file itself.
    pub(crate) fn resolve(&mut self, file: &str, href: &str, embedded: bool) -> Option<Internal> {
        let reference = Reference::parse(href)?;
        if reference.path.is_empty() {
            return Some(Internal { href: None, meant: None });
        }
        let path = reference.resolve(file);
        let Some((path, kind)) = path.as_deref().and_then(|path| self.site.find(path)) else {
            let meant = path.and_then(|path| Some(relative(file, self.site.contents.similar(&path)?)));
            return Some(Internal { href: None, meant });
        };
        let kind = if embedded && kind == Kind::Text { Kind::Copy } else { kind };
        let url = relative(&self.site.made(file, Kind::Page), &self.site.made(&path, kind));
        self.wanted.insert((path, kind));
        Some(Internal { href: Some(url + &fragment(&reference, href, kind)), meant: None })
    }
}

/// With its `#`, as it was written; of lines like `L10-L20`, which a text page has one by one, the first.
fn fragment(reference: &Reference, href: &str, kind: Kind) -> String {
    match (&reference.fragment, href.split_once('#')) {
        (Some(_), Some((_, written))) => {
            let written = written.trim();
            let kept = if kind == Kind::Text { written.split('-').next().unwrap_or(written) } else { written };
            format!("#{kept}")
        }
        _ => String::new(),
    }
}

/// `guide.md` to `guide.html`, and a folder's first page to its `index.html`; `index.md` goes before `README.md`.
fn made_of_markdown(source: &str, file: &str, files: &[&str], first_is_given: bool) -> String {
    let path = below(source, file).unwrap_or(file);
    let (folder, name) = (parent(path), path.rsplit('/').next().unwrap_or(path));
    let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
    let is_taken = folder.is_empty() && first_is_given;
    let has_index = || {
        let names = ["index.md", "index.markdown"].map(|name| join(parent(file), name).unwrap_or_default());
        names.iter().any(|name| files.contains(&name.as_str()))
    };
    let stem = match stem {
        "index" if is_taken => "index-1",
        stem if !is_taken && stem.eq_ignore_ascii_case("readme") && !has_index() => "index",
        stem => stem,
    };
    format!("{folder}/{stem}.html").trim_start_matches('/').to_owned()
}

/// The path below a folder; the path itself below the top.
fn below<'a>(folder: &str, path: &'a str) -> Option<&'a str> {
    match folder {
        "" => Some(path),
        _ if folder == path => Some(""),
        _ => path.strip_prefix(folder)?.strip_prefix('/'),
    }
}

fn is_markdown(path: &str) -> bool {
    extension(path).is_some_and(|extension| matches!(extension.as_str(), "md" | "markdown"))
}

/// What browsers would offer to save instead of to show.
fn is_text(path: &str) -> bool {
    const TEXTS: &str = " bash c cc cfg cmake conf cpp cs css csv dockerfile gitignore go gradle h hpp ini java js json jsx kt \
                         lock lua markdown md mjs patch php pl proto py rb rs scala sh sql swift tex toml ts tsx wat wit \
                         yaml yml zig ";
    // Without one it is a LICENSE or a Makefile.
    extension(path).is_none_or(|extension| TEXTS.contains(&format!(" {extension} ")))
}

fn extension(path: &str) -> Option<String> {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.rsplit_once('.').map(|(_, extension)| extension.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use site_references::Followed;

    fn site(source: &str, index: Option<&str>) -> Site {
        let files = [
            "README.md",
            "LICENSE",
            "docs/README.md",
            "docs/guide.md",
            "docs/deep/index.md",
            "docs/deep/README.md",
            "docs/img/a b.png",
            "docs/index.html",
            "docs/drafts/x.md",
            "src/lib.rs",
            ".github/x.md",
        ];
        let folders = ["docs", "docs/deep", "docs/img", "docs/drafts", "src", ".github"];
        Site::plan(contents(&files, &folders), source, index, &["drafts".to_owned(), "docs/drafts".to_owned()]).unwrap()
    }

    fn contents(files: &[&str], folders: &[&str]) -> Contents {
        Contents::new(Followed {
            files: files.iter().map(|file| ((*file).to_owned(), 10)).collect(),
            folders: folders.iter().map(|folder| (*folder).to_owned()).collect(),
            ..Followed::default()
        })
    }

    #[test]
    fn pages() {
        let check = |site: &Site, expected: &[(&str, &str)]| {
            assert_eq!(site.pages().collect::<Vec<_>>(), expected);
        };
        check(
            &site(".", None),
            &[
                ("README.md", "index.html"),
                ("docs/README.md", "docs/index.html"),
                ("docs/deep/README.md", "docs/deep/README.html"),
                ("docs/deep/index.md", "docs/deep/index.html"),
                ("docs/guide.md", "docs/guide.html"),
            ],
        );
        check(
            &site("./docs/", Some("guide.md")),
            &[
                ("docs/README.md", "README.html"),
                ("docs/deep/README.md", "deep/README.html"),
                ("docs/deep/index.md", "deep/index.html"),
                ("docs/guide.md", "index.html"),
            ],
        );
    }

    #[test]
    fn links() {
        let whole = site(".", None);
        let docs = site("docs", None);
        let check = |site: &Site, file: &str, href: &str, expected: Option<Option<&str>>| {
            let resolved = Links::new(site).resolve(file, href, false);
            assert_eq!(resolved.as_ref().map(|link| link.href.as_deref()), expected, "{href} in {file}");
        };
        check(&whole, "README.md", "docs/guide.md#a-b", Some(Some("docs/guide.html#a-b")));
        check(&whole, "docs/guide.md", "../README.md", Some(Some("../index.html")));
        check(&whole, "docs/guide.md", "/README.md", Some(Some("../index.html")));
        check(&whole, "docs/guide.md", "deep/", Some(Some("deep/index.html")));
        check(&whole, "docs/guide.md", "img/a%20b.png", Some(Some("img/a%20b.png")));
        check(&whole, "docs/guide.md", "img", Some(Some("img/index.html")));
        check(&whole, "README.md", "src/lib.rs#L10-L20", Some(Some("src/lib.rs.html#L10")));
        check(&whole, "README.md", "LICENSE", Some(Some("LICENSE.html")));
        check(&whole, "README.md", ".github/x.md", Some(Some(".github/x.md.html")));
        check(&whole, "README.md", "docs/missing.md", Some(None));
        check(&whole, "README.md", "../out.md", Some(None));
        check(&whole, "README.md", "#here", Some(None));
        check(&whole, "README.md", "https://example.com/x.md", None);
        check(&docs, "docs/deep/index.md", "../../src/lib.rs", Some(Some("../_repository/src/lib.rs.html")));
        check(&docs, "docs/guide.md", "../README.md", Some(Some("_repository/README.md.html")));
        check(&docs, "docs/guide.md", "..", Some(Some("_repository/index.html")));
        check(&docs, "docs/guide.md", ".", Some(Some("index.html")));
    }

    #[test]
    fn what_cannot_be_planned_names_the_setting() {
        let check = |source: &str, index: Option<&str>, expected: &str| {
            let failure = Site::plan(contents(&["a.md"], &["empty"]), source, index, &[]).err().unwrap();
            assert!(failure.message.contains(expected), "{}", failure.message);
        };
        check("docs", None, "setting `Source` is `docs`");
        check("../a", None, "setting `Source` is `../a`");
        check("empty", None, "no Markdown files");
        check(".", Some("b.md"), "setting `Index` is `b.md`");
    }

    #[test]
    fn other_spellings() {
        let site = site(".", None);
        let check = |href: &str, expected: Option<&str>| {
            let link = Links::new(&site).resolve("docs/guide.md", href, false).unwrap();
            assert_eq!((link.href, link.meant.as_deref()), (None, expected), "{href}");
        };
        check("Guide.md", Some("guide.md"));
        check("../docs/img/A-B.png", Some("img/a%20b.png"));
        check("../readme.md", Some("../README.md"));
        check("missing.md", None);
        check("../../x", None);
    }

    #[test]
    fn two_that_would_be_one() {
        let check = |files: &[&str], index: Option<&str>, expected: &str| {
            let failure = Site::plan(contents(files, &[]), ".", index, &[]).err().unwrap();
            assert!(failure.message.starts_with(expected), "{}", failure.message);
        };
        check(&["a.markdown", "a.md"], None, "`a.markdown` and `a.md` would both become `a.html`");
        check(&["README.md", "readme.md"], None, "`README.md` and `readme.md` would both become `index.html`");
        check(&["a.md", "index-1.md", "index.md"], Some("a.md"), "`index-1.md` and `index.md` would both");
        // A page of a text, and one of Markdown; a file that somebody wrote, and one that is made.
        let site =
            Site::plan(contents(&["README.md", "tool.py", "tool.py.md", "index.html"], &[]), ".", None, &[]).unwrap();
        let check = |file: &str, kind: Kind, expected: &str| {
            let mut makers = Makers::default();
            makers.add_all(site.pages().map(|(file, made)| (file, made.to_owned()))).unwrap();
            let failure = makers.add_all([(file, site.made(file, kind))].into_iter()).unwrap_err();
            assert!(failure.message.starts_with(expected), "{}", failure.message);
        };
        check("tool.py", Kind::Text, "`tool.py.md` and `tool.py` would both become `tool.py.html`");
        check("index.html", Kind::Copy, "`README.md` and `index.html` would both become `index.html`");
    }

    #[test]
    fn a_folder_with_an_index_of_its_own() {
        let site = Site::plan(contents(&["a.md", "made/index.html"], &["made"]), ".", None, &[]).unwrap();
        let mut links = Links::new(&site);
        let link = links.resolve("a.md", "made/", false).unwrap();
        assert_eq!(link.href.as_deref(), Some("made/index.html"));
        assert_eq!(links.wanted().collect::<Vec<_>>(), [("made/index.html", Kind::Copy)]);
    }
}
