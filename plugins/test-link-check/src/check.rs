//! Whether one link leads somewhere. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use site_references::{Reference, letters, relative};

use crate::document::{Document, Link};

/// A website.
#[derive(Default)]
pub(crate) struct Files {
    pub(crate) pages: BTreeMap<String, Document>,
    pub(crate) others: BTreeSet<String>,
    pub(crate) folders: BTreeSet<String>,
    /// Symbolic links to what is not there, with their targets.
    pub(crate) nowhere: BTreeMap<String, String>,
}

impl Files {
    /// What is here under another spelling of a path.
    fn similar(&self, path: &str) -> Option<&str> {
        let wanted = letters(path);
        let all = self.pages.keys().chain(&self.others).chain(&self.folders);
        all.map(String::as_str).find(|path| letters(path) == wanted)
    }
}

/// A link that leads nowhere; shown as `FILE:LINE: TARGET: WHY`. A symbolic one has no line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    pub(crate) file: String,
    pub(crate) line: Option<u32>,
    /// As it was written.
    pub(crate) target: String,
    why: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = self.line.map(|line| format!(":{line}")).unwrap_or_default();
        write!(f, "{}{line}: {}", self.file, self.problem())
    }
}

impl Broken {
    /// Without the place: `TARGET: WHY`.
    pub(crate) fn problem(&self) -> String {
        format!("{}: {}", self.target, self.why)
    }
}

/// None for a link that leads somewhere, and for what leads to another site.
pub(crate) fn check(site: &Files, page: &str, link: &Link) -> Option<Broken> {
    let reference = Reference::parse(&link.href)?;
    let why = fault(site, page, &reference, link.meant.as_deref())?;
    let (file, line, target) = link.origin.clone().unwrap_or_else(|| (page.to_owned(), link.line, link.href.clone()));
    Some(Broken { file, line: Some(line), target, why })
}

/// The symbolic links in the place of pages that lead nowhere.
pub(crate) fn nowhere(site: &Files) -> impl Iterator<Item = Broken> {
    site.nowhere.iter().filter(|(path, _)| is_page(path)).map(|(path, target)| Broken {
        file: path.clone(),
        line: None,
        target: target.clone(),
        why: "the symbolic link leads to what is not there".to_owned(),
    })
}

pub(crate) fn is_page(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm"))
}

fn fault(site: &Files, page: &str, reference: &Reference, meant: Option<&str>) -> Option<String> {
    let Some(path) = reference.resolve(page) else { return Some("leads out of the website".to_owned()) };
    let path = if path.is_empty() || site.folders.contains(&path) {
        let index = format!("{path}/index.html").trim_start_matches('/').to_owned();
        if !site.pages.contains_key(&index) {
            return Some(format!("the folder `{path}` has no index.html"));
        }
        index
    } else {
        path
    };
    let Some(document) = site.pages.get(&path) else {
        if site.others.contains(&path) {
            return None;
        }
        if let Some(target) = site.nowhere.get(&path) {
            return Some(format!("it is a symbolic link to `{target}`, which is not there"));
        }
        let meant = meant.map(str::to_owned).or_else(|| site.similar(&path).map(|found| relative(page, found)));
        let meant = meant.map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        return Some(format!("there is no such file{meant}"));
    };
    // What follows `:~:` is for the browser; the top is always there.
    let fragment = reference.fragment.as_deref()?.split(":~:").next().unwrap_or_default();
    let is_there = fragment.is_empty() || fragment.eq_ignore_ascii_case("top") || document.anchors.contains(fragment);
    (!is_there).then(|| format!("there is no `{fragment}` on that page{}", similar(document, fragment)))
}

/// The likeliest slip: another spelling of the same letters.
fn similar(document: &Document, fragment: &str) -> String {
    let wanted = letters(fragment);
    let found = document.anchors.iter().find(|anchor| letters(anchor) == wanted);
    found.map(|anchor| format!("; did you mean `{anchor}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let mut site = Files::default();
        site.pages.insert("index.html".into(), Document::parse("<h1 id=home>"));
        site.pages.insert("docs/guide.html".into(), Document::parse("<h2 id=first-steps>"));
        site.others.insert("img/a b.png".into());
        site.folders.extend(["docs".to_owned(), "img".to_owned()]);
        for name in ["docs/old.html", "docs/old.png"] {
            site.nowhere.insert(name.into(), "gone.html".into());
        }
        let told: Vec<String> = nowhere(&site).map(|broken| broken.to_string()).collect();
        assert_eq!(told, ["docs/old.html: gone.html: the symbolic link leads to what is not there"]);
        let check = |href: &str, expected: &str| {
            let link = Link { href: href.into(), line: 3, origin: None, meant: None };
            let found = check(&site, "docs/guide.html", &link).map(|broken| broken.to_string());
            let expected =
                if expected.is_empty() { None } else { Some(format!("docs/guide.html:3: {href}: {expected}")) };
            assert_eq!(found, expected);
        };
        for right in [
            "../index.html",
            "/",
            "..",
            "../#home",
            "#first-steps",
            "guide.html#first%2Dsteps",
            "#",
            "#TOP",
            "../#home:~:text=x",
            "../img/a%20b.png#x",
            "../img/a%20b.png?v=1",
            "https://example.com/missing",
            "mailto:a@b",
            "",
        ] {
            check(right, "");
        }
        check("missing.html", "there is no such file");
        check("Guide.html", "there is no such file; did you mean `guide.html`?");
        check("../img/A_B.png", "there is no such file; did you mean `../img/a%20b.png`?");
        check("old.html", "it is a symbolic link to `gone.html`, which is not there");
        check("../img/", "the folder `img` has no index.html");
        check("../../x", "leads out of the website");
        check("#First_Steps", "there is no `First_Steps` on that page; did you mean `first-steps`?");
        check("../index.html#first-steps", "there is no `first-steps` on that page");
    }

    #[test]
    fn a_link_that_says_where_it_comes_from() {
        let mut site = Files::default();
        site.pages.insert("a.html".into(), Document::default());
        let origin = Some(("docs/a.md".into(), 2, "b.md".into()));
        let mut link = Link { href: "b.html".into(), line: 40, origin, meant: None };
        let broken = |link: &Link| check(&site, "a.html", link).map(|broken| broken.to_string()).unwrap_or_default();
        assert_eq!(broken(&link), "docs/a.md:2: b.md: there is no such file");
        link.meant = Some("B.md".into());
        assert_eq!(broken(&link), "docs/a.md:2: b.md: there is no such file; did you mean `B.md`?");
    }
}
