//! Test `Custom/LinkCheck/1`: every internal link, anchor and image of a built website.
//!
//! A link that says where it comes from (`data-source="FILE:LINE"`, `data-href` where it was rewritten, and `data-meant` where
//! it leads nowhere and something else may have been meant, as `pipewright/build-site` writes them) is reported there and as
//! it was written; any other in the HTML file itself. Links
//! to other sites are not followed.

mod check;
mod document;

use std::fs;

use check::{Broken, Files, is_page};
use document::Document;
use pipewright_sdk::prelude::*;
use site_references::Followed;

/// The report holds at most 10,000 cases; a site with more broken links than this is told their number.
const BROKEN_LINKS_MAX: usize = 5_000;
const PASSED_PAGES_MAX: usize = 4_000;

#[derive(Variables)]
struct Counted {
    /// How many pages were checked.
    pages: usize,
    /// How many internal links they hold.
    links: usize,
    /// How many of these are broken.
    broken: usize,
}

/// Checks every internal link, anchor and image of the website in the input artifact, and the symbolic links in the place of
/// its pages. Links to other sites are not followed.
#[action(provider = "LinkCheck", inputs = 1)]
fn link_check(action: &Action, (): ()) -> Result<Tested<Counted>> {
    let input = action.input()?;
    let mut site = Files::default();
    let followed = Followed::of(&input)?;
    for path in followed.files.into_keys() {
        if is_page(&path) {
            let html = fs::read(input.join(&path)).doing(format_args!("reading {path}"))?;
            site.pages.insert(path, Document::parse(&String::from_utf8_lossy(&html)));
        } else {
            site.others.insert(path);
        }
    }
    (site.folders, site.nowhere) = (followed.folders, followed.nowhere);
    if site.pages.is_empty() {
        return Err(Failure::job(format!(
            "the input artifact `{}` holds no HTML files: there is nothing to check",
            input.name()
        )));
    }
    let mut all: Vec<Broken> = check::nowhere(&site).collect();
    let (mut links, mut passed, mut cases) = (all.len(), 0, Vec::new());
    for (path, page) in &site.pages {
        let broken = all.len();
        all.extend(page.links.iter().filter_map(|link| check::check(&site, path, link)));
        links += page.links.len();
        if all.len() == broken && passed < PASSED_PAGES_MAX {
            passed += 1;
            cases.push(TestCase::passed(path));
        }
    }
    for broken in all.iter().take(BROKEN_LINKS_MAX) {
        error!("{broken}");
        cases.push(TestCase::failed(&broken.target, broken.problem()).at(&broken.file, broken.line));
    }
    let failed = all.len();
    let pages = site.pages.len();
    let summary = match failed {
        0 => format!("{links} links on {pages} pages, all of them right"),
        broken => format!("{broken} of {links} links on {pages} pages are broken"),
    };
    info!("{summary}");
    Ok(Tested { report: Report::new(summary).variables(Counted { pages, links, broken: failed }), cases })
}

plugin! {
    /// Checks the links of websites.
    name: "pipewright/test-link-check",
    test: [link_check],
}
