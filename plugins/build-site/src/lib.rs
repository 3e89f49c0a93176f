//! Build `Custom/Site/1`: a folder of Markdown to a website of plain files.
//!
//! Every Markdown file becomes a page; `README.md` or `index.md` becomes its folder's `index.html`. What pages link to
//! comes along: other files as they are, source texts and folders as pages of their own, so that links which work in the
//! repository work on the site. A link that leads nowhere stays as it was written, and says in `data-source` from which
//! file and line it comes, and in `data-meant` what may have been meant, for whoever checks links. Symbolic links are
//! followed: below one to a folder are pages, too.
//!
//! Raw HTML is passed on; a content security policy in every page keeps scripts from running.

mod contents;
mod links;
mod markdown;
mod page;
mod raw;
mod slug;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use contents::Contents;
use links::{Kind, Links, Makers, Site};
use page::{Navigation, Page};
use pipewright_sdk::prelude::*;
use site_references::Followed;

/// A larger text is copied as it is instead of shown as a page.
pub(crate) const TEXT_BYTES_MAX: u64 = 1024 * 1024;

#[derive(Settings)]
struct Options {
    /// The folder of the input artifact in which the Markdown files lie.
    #[setting(default = ".")]
    source: String,
    /// The website's name; otherwise the first page's title.
    title: Option<String>,
    /// The Markdown file that becomes the first page, seen from `Source`; otherwise `index.md` or `README.md`.
    index: Option<String>,
    /// Files and folders whose Markdown does not become pages, seen from `Source`.
    #[setting(default = "[]")]
    except: Vec<String>,
}

#[derive(Variables)]
struct Built {
    /// How many pages were made of Markdown.
    pages: usize,
}

/// Makes a website of a folder of Markdown: a page for each file, with navigation, titles, tables and footnotes.
#[action(provider = "Site", inputs = 1, outputs = 1)]
fn site(action: &Action, settings: Options) -> Result<Report<Built>> {
    let (input, output) = (action.input()?, action.output()?);
    let contents = Followed::of(&input)?;
    for (path, target) in &contents.nowhere {
        warn!("{path} is a symbolic link to `{target}`, which is not there");
    }
    let contents = Contents::new(contents);
    let site = Site::plan(contents, &settings.source, settings.index.as_deref(), &settings.except)?;

    let mut links = Links::new(&site);
    let mut rendered = BTreeMap::new();
    for (file, made) in site.pages() {
        let text = read(&input.join(file))?;
        rendered.insert(made, markdown::render(&text, file, &mut links));
    }
    let mut makers = Makers::default();
    makers.add_all([("the stylesheet of all pages", page::STYLESHEET.to_owned())].into_iter())?;
    makers.add_all(site.pages().map(|(file, made)| (file, made.to_owned())))?;
    makers.add_all(links.wanted().map(|(file, kind)| (file, site.made(file, kind))))?;

    let navigation = Navigation::new(&site, &rendered, settings.title);
    for (made, page) in &rendered {
        write(&output.join(made), &navigation.compose(&Page { path: made, title: &page.title, body: &page.body }))?;
    }
    if !makers.has("index.html") {
        write(&output.join("index.html"), &navigation.first_page())?;
    }
    for (file, kind) in links.wanted() {
        let made = site.made(file, kind);
        match kind {
            Kind::Page => {}
            Kind::Copy => drop(files::copy(input.join(file), output.join(&made), &[])?),
            Kind::Text => write(&output.join(&made), &navigation.text(&made, file, &read(&input.join(file))?))?,
            Kind::Folder => write(&output.join(&made), &navigation.folder(&site, &made, file, &links))?,
        }
    }
    write(&output.join(page::STYLESHEET), page::STYLE)?;
    let pages = rendered.len();
    info!(
        "made {pages} pages and {} files that they link to",
        links.wanted().filter(|(_, kind)| *kind != Kind::Page).count()
    );
    Ok(Report::new(format!("{pages} pages")).variables(Built { pages }))
}

fn read(file: &Path) -> Result<String> {
    let bytes = fs::read(file).doing(format_args!("reading {}", file.display()))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn write(file: &Path, text: &str) -> Result<()> {
    let written = file.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(file, text));
    written.doing(format_args!("writing {}", file.display()))
}

plugin! {
    /// Makes websites of Markdown.
    name: "pipewright/build-site",
    build: [site],
}
