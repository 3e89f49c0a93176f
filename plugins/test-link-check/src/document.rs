//! What of an HTML file matters to links: where they lead, and what they can lead to.

use std::collections::BTreeSet;

use html5gum::emitters::default::{DefaultEmitter, StartTag};
use html5gum::{Token, Tokenizer};
use site_references::Reference;

#[derive(Debug, Default)]
pub(crate) struct Document {
    /// What a fragment can name.
    pub(crate) anchors: BTreeSet<String>,
    /// Within the site.
    pub(crate) links: Vec<Link>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// As it is in the HTML.
    pub(crate) href: String,
    /// From 1 on.
    pub(crate) line: u32,
    /// Where the link comes from, if it says so: the file, its line, and how it was written there.
    pub(crate) origin: Option<(String, u32, String)>,
    /// Where it may have been meant to lead, as it would be written there.
    pub(crate) meant: Option<String>,
}

impl Document {
    pub(crate) fn parse(html: &str) -> Self {
        let mut emitter = DefaultEmitter::<usize>::new_with_span();
        // What looks like a tag in a script or a style is none.
        emitter.naively_switch_states(true);
        let mut document = Self::default();
        let (mut line, mut counted) = (1, 0);
        for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
            let Token::StartTag(tag) = token else { continue };
            line += html.get(counted..tag.span.start).map_or(0, |passed| passed.matches('\n').count() as u32);
            counted = tag.span.start;
            document.tag(&tag, line);
        }
        document
    }

    fn tag(&mut self, tag: &StartTag<usize>, line: u32) {
        let attribute = |name: &str| {
            let value = tag.attributes.get(name.as_bytes())?;
            Some(String::from_utf8_lossy(&value.value).into_owned())
        };
        self.anchors.extend(attribute("id"));
        if *tag.name == b"a" {
            self.anchors.extend(attribute("name"));
        }
        let (written, meant) = (attribute("data-href"), attribute("data-meant"));
        let source = attribute("data-source").and_then(|source| {
            let (file, line) = source.rsplit_once(':')?;
            Some((file.to_owned(), line.parse().ok()?))
        });
        let mut link = |href: String| {
            let origin = source
                .clone()
                .map(|(file, line): (String, u32)| (file, line, written.clone().unwrap_or_else(|| href.clone())));
            if Reference::parse(&href).is_some() {
                self.links.push(Link { href, line, origin, meant: meant.clone() });
            }
        };
        ["href", "src", "poster"].iter().filter_map(|name| attribute(name)).for_each(&mut link);
        // `a.png 1x, b.png 2x`; a URL with a comma in it would be cut, and `data:` ones have some.
        let candidates = attribute("srcset").filter(|candidates| !candidates.contains("data:")).unwrap_or_default();
        candidates.split(',').filter_map(|one| one.split_whitespace().next()).map(str::to_owned).for_each(link);
    }
}

#[cfg(test)]
mod tests {
    use super::{Document, Link};

    #[test]
    fn what_an_html_file_says() {
        let document = Document::parse(
            "<!doctype html>\n<h1 id=top>A</h1><a name='old'></a>\n\n<a href='https://example.com'></a><a class=x\n href='b.html?a&amp;b#c'>b</a>\n\
             <!-- <a href=no> --><script>'<a href=no>'</script>\n\
             <img data-source='a:b.md:7' data-meant='z.png' data-href='x y.png' src=x%20y.png srcset='1.png 1x, 2.png'>",
        );
        assert_eq!(document.anchors.iter().collect::<Vec<_>>(), ["old", "top"]);
        let origin = |written: &str| Some(("a:b.md".to_owned(), 7, written.to_owned()));
        assert_eq!(
            document.links,
            [
                Link { href: "b.html?a&b#c".into(), line: 4, origin: None, meant: None },
                Link { href: "x%20y.png".into(), line: 7, origin: origin("x y.png"), meant: Some("z.png".into()) },
                Link { href: "1.png".into(), line: 7, origin: origin("x y.png"), meant: Some("z.png".into()) },
                Link { href: "2.png".into(), line: 7, origin: origin("x y.png"), meant: Some("z.png".into()) },
            ]
        );
    }
}
