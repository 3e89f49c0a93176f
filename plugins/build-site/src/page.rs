//! The frame around every page: head, navigation, and the pages that are not made of Markdown.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use site_references::{parent, relative};

use crate::links::{Links, Site};
use crate::markdown::{Rendered, attribute, escaped};

pub(crate) const STYLE: &str = include_str!("site.css");
/// Beside the first page. No Markdown file becomes a page of this name.
pub(crate) const STYLESHEET: &str = "_site.css";

/// Where the link to the navigation leads. Nothing else on a page has this id.
pub(crate) const NAVIGATION_ID: &str = "site-pages";

/// Raw HTML may hold anything; nothing of it runs.
const POLICY: &str = "script-src 'none'; object-src 'none'; frame-src 'none'; base-uri 'none'; form-action 'none'";

pub(crate) struct Page<'a> {
    /// On the site.
    pub(crate) path: &'a str,
    pub(crate) title: &'a str,
    /// HTML.
    pub(crate) body: &'a str,
}

/// The name of the site and all pages of it: by folder, and in it by path, the folder's first page first.
pub(crate) struct Navigation {
    name: String,
    folders: BTreeMap<String, Vec<(String, String)>>,
}

impl Navigation {
    pub(crate) fn new(site: &Site, rendered: &BTreeMap<&str, Rendered>, name: Option<String>) -> Self {
        let mut folders: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
        for (_, made) in site.pages() {
            let title = rendered.get(made).map_or(made, |page| page.title.as_str());
            folders.entry(parent(made).to_owned()).or_default().push((made.to_owned(), title.to_owned()));
        }
        for pages in folders.values_mut() {
            pages.sort_by_key(|(made, _)| (!made.ends_with("index.html"), made.clone()));
        }
        let first = rendered.get("index.html").map(|page| page.title.clone());
        Self { name: name.or(first).unwrap_or_else(|| "Pages".to_owned()), folders }
    }

    /// The whole page.
    pub(crate) fn compose(&self, page: &Page<'_>) -> String {
        let name = escaped(&self.name);
        let title = if page.title == self.name { name.clone() } else { format!("{} · {name}", escaped(page.title)) };
        let style = attribute("href", &relative(page.path, STYLESHEET));
        let home = attribute("href", &relative(page.path, "index.html"));
        format!(
            "<!doctype html>\n<html>\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <title>{title}</title>\n<link rel=\"stylesheet\"{style}>\n</head>\n<body>\n\
             <header><a{home}>{name}</a> <a class=\"to-pages\" href=\"#{NAVIGATION_ID}\">Pages</a></header>\n\
             <main>\n{}</main>\n<nav id=\"{NAVIGATION_ID}\" aria-label=\"Pages\">\n{}</nav>\n</body>\n</html>\n",
            page.body,
            self.list(page.path)
        )
    }

    /// Where no Markdown file is the first page.
    pub(crate) fn first_page(&self) -> String {
        let body = format!("<h1>{}</h1>\n{}", escaped(&self.name), self.list("index.html"));
        self.compose(&Page { path: "index.html", title: &self.name, body: &body })
    }

    /// A file's text; each line has the id that GitHub gives it.
    pub(crate) fn text(&self, path: &str, file: &str, text: &str) -> String {
        let mut body = format!("<h1>{}</h1>\n<pre class=\"text\"><code>", escaped(file));
        for (index, line) in text.lines().enumerate() {
            let _ = writeln!(body, "<span id=\"L{}\">{}</span>", index + 1, escaped(line));
        }
        body.push_str("</code></pre>\n");
        self.compose(&Page { path, title: file, body: &body })
    }

    /// What a folder holds, with links to what is on the site.
    pub(crate) fn folder(&self, site: &Site, path: &str, folder: &str, links: &Links<'_>) -> String {
        let title = if folder.is_empty() { "Files" } else { folder };
        let pages: BTreeMap<&str, &str> = site.pages().collect();
        let mut body = format!("<h1>{}</h1>\n<ul>\n", escaped(title));
        for entry in site.contents.of_folder(folder) {
            let name = entry.rsplit('/').next().unwrap_or(entry);
            let slash = if site.contents.is_folder(entry) { "/" } else { "" };
            let made = match pages.get(entry) {
                Some(made) => Some((*made).to_owned()),
                None => links.wanted().find(|(wanted, _)| *wanted == entry).map(|(_, kind)| site.made(entry, kind)),
            };
            let name = escaped(name);
            let _ = match made {
                Some(made) => {
                    writeln!(body, "<li><a{}>{name}{slash}</a></li>", attribute("href", &relative(path, &made)))
                }
                None => writeln!(body, "<li>{name}{slash}</li>"),
            };
        }
        body.push_str("</ul>\n");
        self.compose(&Page { path, title, body: &body })
    }

    fn list(&self, path: &str) -> String {
        let mut html = String::new();
        for (folder, pages) in &self.folders {
            if !folder.is_empty() {
                let _ = writeln!(html, "<p>{}</p>", escaped(folder));
            }
            html.push_str("<ul>\n");
            for (made, title) in pages {
                let current = if made == path { " aria-current=\"page\"" } else { "" };
                let href = attribute("href", &relative(path, made));
                let _ = writeln!(html, "<li><a{href}{current}>{}</a></li>", escaped(title));
            }
            html.push_str("</ul>\n");
        }
        html
    }
}
