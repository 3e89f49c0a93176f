//! Test `Custom/LinkCheck/1`: every internal link, anchor and image of a built website.
//!
//! A link that says where it comes from (`data-source="FILE:LINE"`, and `data-href` where it was rewritten, as
//! `pipewright/build-site` writes them) is reported there and as it was written; any other in the HTML file itself. Links
//! to other sites are not followed.

mod check;
mod document;

use std::fs;

use check::{Broken, Files};
use document::Document;
use pipewright_sdk::prelude::*;

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

/// Checks every internal link, anchor and image of the website in the input artifact. Links to other sites are not
/// followed.
#[action(provider = "LinkCheck", inputs = 1)]
fn link_check(action: &Action, (): ()) -> Result<Tested<Counted>> {
    let input = action.input()?;
    let mut site = Files::default();
    for entry in files::list(&input, &[])? {
        if entry.kind == files::FileKind::Directory {
            site.folders.insert(entry.path);
        } else if is_page(&entry.path) {
            let html = fs::read(input.join(&entry.path)).doing(format_args!("reading {}", entry.path))?;
            site.pages.insert(entry.path, Document::parse(&String::from_utf8_lossy(&html)));
        } else {
            site.others.insert(entry.path);
        }
    }
    if site.pages.is_empty() {
        return Err(Failure::job(format!(
            "the input artifact `{}` holds no HTML files: there is nothing to check",
            input.name()
        )));
    }
    let (mut links, mut passed, mut failed, mut cases) = (0, 0, 0, Vec::new());
    for (path, page) in &site.pages {
        let broken: Vec<Broken> = page.links.iter().filter_map(|link| check::check(&site, path, link)).collect();
        links += page.links.len();
        if broken.is_empty() && passed < PASSED_PAGES_MAX {
            passed += 1;
            cases.push(TestCase::passed(path));
        }
        for broken in broken {
            failed += 1;
            if failed <= BROKEN_LINKS_MAX {
                error!("{broken}");
                cases.push(TestCase::failed(&broken.target, broken.problem()).at(&broken.file, Some(broken.line)));
            }
        }
    }
    let pages = site.pages.len();
    let summary = match failed {
        0 => format!("{links} links on {pages} pages, all of them right"),
        broken => format!("{broken} of {links} links on {pages} pages are broken"),
    };
    info!("{summary}");
    Ok(Tested { report: Report::new(summary).variables(Counted { pages, links, broken: failed }), cases })
}

fn is_page(path: &str) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension.eq_ignore_ascii_case("html") || extension.eq_ignore_ascii_case("htm"))
}

plugin! {
    /// Checks the links of websites.
    name: "pipewright/test-link-check",
    test: [link_check],
}
