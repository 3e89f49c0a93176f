//! One Markdown file to the body of a page.

use std::collections::BTreeMap;
use std::ops::Range;

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};
use pulldown_cmark_escape::escape_html;

use crate::links::{Internal, Links};
use crate::page::NAVIGATION_ID;
use crate::raw;
use crate::slug::Ids;

pub(crate) struct Rendered {
    /// The text of the first heading, or else the file's name.
    pub(crate) title: String,
    pub(crate) body: String,
}

/// `file` is the path in the input artifact.
pub(crate) fn render(text: &str, file: &str, links: &mut Links<'_>) -> Rendered {
    let options = Options::ENABLE_TABLES
        | Options::ENABLE_FOOTNOTES
        | Options::ENABLE_STRIKETHROUGH
        | Options::ENABLE_TASKLISTS
        | Options::ENABLE_GFM
        | Options::ENABLE_HEADING_ATTRIBUTES
        | Options::ENABLE_YAML_STYLE_METADATA_BLOCKS;
    let mut rewriter = Rewriter {
        file,
        text,
        links,
        events: Vec::new(),
        ids: ids(Parser::new_ext(text, options)),
        footnotes: BTreeMap::new(),
        title: None,
        heading: None,
        image: None,
        raw: None,
        in_metadata: false,
        counted: (0, 1),
    };
    for (event, range) in Parser::new_ext(text, options).into_offset_iter() {
        rewriter.event(event, &range);
    }
    let mut body = String::new();
    let title = rewriter.title.take();
    html::push_html(&mut body, rewriter.events.into_iter());
    let name = file.rsplit('/').next().unwrap_or(file);
    Rendered { title: title.unwrap_or_else(|| name.to_owned()), body }
}

/// The ids that the text itself gives, anywhere on the page.
fn ids<'a>(events: impl Iterator<Item = Event<'a>>) -> Ids {
    let mut ids = Ids::new(NAVIGATION_ID);
    // A tag may go over several lines, which come one by one.
    let mut html = String::new();
    for event in events {
        match event {
            Event::Html(part) | Event::InlineHtml(part) => html.push_str(&part),
            Event::Start(Tag::Heading { id: Some(id), .. }) => ids.name(&id),
            _ => {}
        }
    }
    raw::ids(&html, |id| ids.reserve(id));
    ids
}

/// Turns events into events: headings get ids, and links lead to where things are on the site.
struct Rewriter<'a, 'l, 's> {
    file: &'l str,
    text: &'a str,
    links: &'l mut Links<'s>,
    events: Vec<Event<'a>>,
    ids: Ids,
    /// From labels to ids.
    footnotes: BTreeMap<String, String>,
    title: Option<String>,
    heading: Option<Heading>,
    image: Option<Image<'a>>,
    /// HTML comes in lines, and a tag may go over several: the line of the first, and all of them.
    raw: Option<(u32, String)>,
    in_metadata: bool,
    /// Up to where the text's lines are counted, and the line there.
    counted: (usize, u32),
}

/// A heading that is not at its end yet.
struct Heading {
    /// Where its start goes among the events.
    at: usize,
    text: String,
    /// As the text gives it: `# Heading {#id}`.
    id: Option<String>,
    /// What looked like attributes and is none, as it was written.
    rest: Option<String>,
}

/// An image whose alternative text is not at its end yet; it may hold images itself.
struct Image<'a> {
    url: CowStr<'a>,
    title: CowStr<'a>,
    alternative: String,
    line: u32,
    depth: usize,
}

impl<'a> Rewriter<'a, '_, '_> {
    fn event(&mut self, event: Event<'a>, range: &Range<usize>) {
        if let Some(text) = shown(&event) {
            if let Some(heading) = &mut self.heading {
                heading.text.push_str(text);
            }
            if let Some(image) = &mut self.image {
                image.alternative.push_str(text);
            }
        }
        match event {
            Event::Start(Tag::MetadataBlock(_)) => self.in_metadata = true,
            Event::End(TagEnd::MetadataBlock(_)) => self.in_metadata = false,
            _ if self.in_metadata => {}
            Event::Start(Tag::Image { dest_url, title, .. }) => self.start_image(dest_url, title, range),
            Event::End(TagEnd::Image) => self.end_image(),
            _ if self.image.is_some() => {}
            Event::Start(Tag::Heading { level, id, classes, attrs }) => {
                // `{#id .class}` is for us; other braces are for readers.
                let is_text = id.is_none() && classes.is_empty() && !attrs.is_empty();
                let rest = if is_text { self.text.get(range.clone()).and_then(braces) } else { None };
                let id = id.map(CowStr::into_string);
                self.heading = Some(Heading { at: self.events.len(), text: String::new(), id, rest });
                self.events.push(Event::Start(Tag::Heading { level, id: None, classes: vec![], attrs: vec![] }));
            }
            Event::Start(Tag::FootnoteDefinition(label)) => {
                let id = self.footnote(&label);
                self.events.push(Event::Start(Tag::FootnoteDefinition(id.into())));
            }
            Event::FootnoteReference(label) => {
                let id = self.footnote(&label);
                self.events.push(Event::FootnoteReference(id.into()));
            }
            Event::End(TagEnd::Heading(level)) => self.end_heading(&level.to_string()),
            Event::Start(Tag::Link { link_type, dest_url, title, .. }) => {
                let url = if link_type == LinkType::Email { format!("mailto:{dest_url}").into() } else { dest_url };
                let line = self.line(range);
                let link = self.tag("a", "href", &url, line, false);
                let title = if title.is_empty() { String::new() } else { attribute("title", &title) };
                self.push(format!("{link}{title}>"));
            }
            Event::End(TagEnd::Link) => self.push("</a>".to_owned()),
            Event::Start(Tag::HtmlBlock) => self.raw = Some((self.line(range), String::new())),
            Event::Html(html) if self.raw.is_some() => {
                if let Some((_, whole)) = &mut self.raw {
                    whole.push_str(&html);
                }
            }
            Event::End(TagEnd::HtmlBlock) => {
                if let Some((line, html)) = self.raw.take() {
                    self.events
                        .push(Event::Html(raw::rewrite(&html, self.file, line, self.links, &mut self.ids).into()));
                }
            }
            Event::InlineHtml(html) => {
                let line = self.line(range);
                let html = raw::rewrite(&html, self.file, line, self.links, &mut self.ids);
                self.push(html);
            }
            event => self.events.push(event),
        }
    }

    fn start_image(&mut self, url: CowStr<'a>, title: CowStr<'a>, range: &Range<usize>) {
        let line = self.line(range);
        match &mut self.image {
            Some(image) => image.depth += 1,
            None => self.image = Some(Image { url, title, alternative: String::new(), line, depth: 0 }),
        }
    }

    fn end_image(&mut self) {
        match &mut self.image {
            Some(image) if image.depth > 0 => image.depth -= 1,
            _ => {
                if let Some(image) = self.image.take() {
                    let tag = self.tag("img", "src", &image.url, image.line, true);
                    let title = if image.title.is_empty() { String::new() } else { attribute("title", &image.title) };
                    self.push(format!("{tag}{}{title}>", attribute("alt", &image.alternative)));
                }
            }
        }
    }

    fn end_heading(&mut self, level: &str) {
        let Some(Heading { at, mut text, id, rest }) = self.heading.take() else { return };
        if let Some(rest) = rest {
            text.push_str(&rest);
            self.events.push(Event::Text(rest.into()));
        }
        let id = match id {
            Some(id) => self.ids.of_named_heading(&id),
            None => self.ids.of_heading(&text),
        };
        self.events[at] = Event::InlineHtml(format!("<{level}{}>", attribute("id", &id)).into());
        let anchor = attribute("href", &format!("#{id}"));
        self.push(format!(" <a class=\"anchor\" aria-label=\"Link to this section\"{anchor}>#</a></{level}>\n"));
        self.title.get_or_insert(text);
    }

    fn footnote(&mut self, label: &str) -> String {
        let ids = &mut self.ids;
        self.footnotes.entry(label.to_owned()).or_insert_with(|| ids.of_footnote(label)).clone()
    }

    /// The start of a tag with a link, up to its last attribute.
    fn tag(&mut self, name: &str, url_attribute: &str, url: &str, line: u32, embedded: bool) -> String {
        let internal = self.links.resolve(self.file, url, embedded);
        let href = internal.as_ref().and_then(|internal| internal.href.as_deref()).unwrap_or(url);
        let mut tag = format!("<{name}{}", attribute(url_attribute, href));
        if let Some(internal) = &internal {
            for (name, value) in origin(self.file, line, url, internal) {
                tag.push_str(&attribute(name, &value));
            }
        }
        tag
    }

    fn push(&mut self, html: String) {
        self.events.push(Event::InlineHtml(html.into()));
    }

    /// Events come in the order of the text, so that each line is counted once.
    fn line(&mut self, range: &Range<usize>) -> u32 {
        let (offset, line) = self.counted;
        let passed = self.text.get(offset..range.start).unwrap_or_default();
        self.counted = (range.start.max(offset), line + passed.matches('\n').count() as u32);
        self.counted.1
    }
}

/// Says where a link comes from, for whoever finds it broken: its file and line, and how it was written there.
pub(crate) fn origin(
    file: &str,
    line: u32,
    href: &str,
    internal: &Internal,
) -> impl Iterator<Item = (&'static str, String)> {
    let written = internal.href.as_deref().is_some_and(|made| made != href).then(|| ("data-href", href.to_owned()));
    let meant = internal.meant.clone().map(|meant| ("data-meant", meant));
    [("data-source", format!("{file}:{line}"))].into_iter().chain(written).chain(meant)
}

/// ` name="value"`, escaped.
pub(crate) fn attribute(name: &str, value: &str) -> String {
    format!(" {name}=\"{}\"", escaped(value))
}

pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    // Writing to a String does not fail.
    let _ = escape_html(&mut escaped, text);
    escaped
}

/// The braces at the end of a heading, with the blanks before them.
fn braces(heading: &str) -> Option<String> {
    let (start, end) = (heading.rfind('{')?, heading.rfind('}')?);
    heading.get(heading[..start].trim_end().len()..=end).map(str::to_owned)
}

/// What of an event is part of a heading's text or an image's alternative one.
fn shown<'e>(event: &'e Event<'_>) -> Option<&'e str> {
    match event {
        Event::Text(text) | Event::Code(text) => Some(text),
        Event::SoftBreak | Event::HardBreak => Some(" "),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};

    use super::render;
    use crate::contents::Contents;
    use crate::links::{Links, Site};
    use site_references::Followed;

    fn check(text: &str, expected: Expect) {
        let files = ["docs/a.md", "docs/b.md", "img.png"].map(|file| (file.to_owned(), 1)).into();
        let contents = Contents::new(Followed { files, folders: ["docs".to_owned()].into(), ..Followed::default() });
        let site = Site::plan(contents, ".", None, &[]).unwrap();
        let page = render(text, "docs/a.md", &mut Links::new(&site));
        expected.assert_eq(&format!("{}\n{}", page.title, page.body));
    }

    #[test]
    fn headings() {
        check(
            "---\nx: 1\n---\n## A `b` *c*\n\n# A b c\n",
            expect![[r##"
            A b c
            <h2 id="a-b-c">A <code>b</code> <em>c</em> <a class="anchor" aria-label="Link to this section" href="#a-b-c">#</a></h2>
            <h1 id="a-b-c-1">A b c <a class="anchor" aria-label="Link to this section" href="#a-b-c-1">#</a></h1>
        "##]],
        );
    }

    #[test]
    fn ids_that_the_text_gives() {
        let text = "# Setup {#install}\n\n## Install\n\n## The set {x} ##\n\n## Site pages\n\n## {{ name }}\n\n### Up {.wide}\n";
        check(
            text,
            expect![[r##"
            Setup
            <h1 id="install">Setup <a class="anchor" aria-label="Link to this section" href="#install">#</a></h1>
            <h2 id="install-1">Install <a class="anchor" aria-label="Link to this section" href="#install-1">#</a></h2>
            <h2 id="the-set-x">The set {x} <a class="anchor" aria-label="Link to this section" href="#the-set-x">#</a></h2>
            <h2 id="site-pages-1">Site pages <a class="anchor" aria-label="Link to this section" href="#site-pages-1">#</a></h2>
            <h2 id="-name-">{{ name }} <a class="anchor" aria-label="Link to this section" href="#-name-">#</a></h2>
            <h3 id="up">Up <a class="anchor" aria-label="Link to this section" href="#up">#</a></h3>
        "##]],
        );
    }

    #[test]
    fn every_id_is_there_once() {
        let text = "Text[^1] and[^intro].\n\n## 1\n\n## Fn 1\n\n## Setup\n\n<h2\n id=\"setup\">raw</h2>\n\n<a name=top></a> \
                    <b id=setup></b><b id=site-pages></b>\n\n## Top\n\n## !\n\n[^1]: one\n[^intro]: two\n";
        check(
            text,
            expect![[r##"
            1
            <p>Text<sup class="footnote-reference"><a href="#fn-1">1</a></sup> and<sup class="footnote-reference"><a href="#fn-intro">2</a></sup>.</p>
            <h2 id="1">1 <a class="anchor" aria-label="Link to this section" href="#1">#</a></h2>
            <h2 id="fn-1-1">Fn 1 <a class="anchor" aria-label="Link to this section" href="#fn-1-1">#</a></h2>
            <h2 id="setup-1">Setup <a class="anchor" aria-label="Link to this section" href="#setup-1">#</a></h2>
            <h2
             id="setup">raw</h2>
            <p><a name=top></a> <b id="setup-2"></b><b id="site-pages-1"></b></p>
            <h2 id="top-1">Top <a class="anchor" aria-label="Link to this section" href="#top-1">#</a></h2>
            <h2 id="section">! <a class="anchor" aria-label="Link to this section" href="#section">#</a></h2>
            <div class="footnote-definition" id="fn-1"><sup class="footnote-definition-label">1</sup>
            <p>one</p>
            </div>
            <div class="footnote-definition" id="fn-intro"><sup class="footnote-definition-label">2</sup>
            <p>two</p>
            </div>
        "##]],
        );
    }

    #[test]
    fn links_and_images() {
        check(
            "[to *b*](b.md#x \"B & c\") [gone](gone.md)\n\n[ref] <https://example.com/?a&b> <m@example.com>\n\n![an **image** of `x`](../img.png)\n\n[ref]: b.md\n",
            expect![[r#"
                a.md
                <p><a href="b.html#x" data-source="docs/a.md:1" data-href="b.md#x" title="B &amp; c">to <em>b</em></a> <a href="gone.md" data-source="docs/a.md:1">gone</a></p>
                <p><a href="b.html" data-source="docs/a.md:3" data-href="b.md">ref</a> <a href="https://example.com/?a&amp;b">https://example.com/?a&amp;b</a> <a href="mailto:m@example.com">m@example.com</a></p>
                <p><img src="../img.png" data-source="docs/a.md:5" alt="an image of x"></p>
            "#]],
        );
    }

    #[test]
    fn raw_html() {
        check(
            "<p>\n<img src=\"../img.png\"\n  alt='a \"b\"'><a href=b.md>b</a>\n<script>\"<a href=b.md>\"</script>\n</p>\n\ntext <a name=\"x\"></a> <a href=\"https://example.com\">x</a> 1 < 2 &amp; <br/>\n",
            expect![[r#"
                a.md
                <p>
                <img alt="a &quot;b&quot;" data-source="docs/a.md:2" src="../img.png"><a data-href="b.md" data-source="docs/a.md:3" href="b.html">b</a>
                <script>"<a href=b.md>"</script>
                </p>
                <p>text <a name="x"></a> <a href="https://example.com">x</a> 1 &lt; 2 &amp; <br/></p>
            "#]],
        );
    }

    #[test]
    fn tables_footnotes_and_tasks() {
        check(
            "| a | b |\n|---|--:|\n| 1 | ~~2~~ |\n\n- [x] done[^1]\n\n[^1]: A note.\n\n> [!NOTE]\n> Look.\n",
            expect![[r##"
            a.md
            <table><thead><tr><th>a</th><th style="text-align: right">b</th></tr></thead><tbody>
            <tr><td>1</td><td style="text-align: right"><del>2</del></td></tr>
            </tbody></table>
            <ul>
            <li><input disabled="" type="checkbox" checked=""/>
            done<sup class="footnote-reference"><a href="#fn-1">1</a></sup></li>
            </ul>
            <div class="footnote-definition" id="fn-1"><sup class="footnote-definition-label">1</sup>
            <p>A note.</p>
            </div>
            <blockquote class="markdown-alert-note">
            <p>Look.</p>
            </blockquote>
        "##]],
        );
    }

    #[test]
    fn without_a_heading_the_file_names_the_page() {
        check(
            "Text & more.\n",
            expect![[r#"
            a.md
            <p>Text &amp; more.</p>
        "#]],
        );
    }
}
