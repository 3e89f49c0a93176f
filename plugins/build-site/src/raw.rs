//! Raw HTML in Markdown: its links lead to files of the repository too, and are rewritten; the rest stays as it is.

use html5gum::emitters::default::{DefaultEmitter, StartTag};
use html5gum::{HtmlString, Token, Tokenizer};

use crate::links::Links;
use crate::markdown::{attribute, origin};

/// The attributes that hold a URL, and whether what it names is embedded.
const URLS: [(&[u8], bool); 3] = [(b"href", false), (b"src", true), (b"poster", true)];

/// `line` is that on which the HTML begins in the Markdown file.
pub(crate) fn rewrite(html: &str, file: &str, mut line: u32, links: &mut Links<'_>) -> String {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    // What looks like a tag in a script or a style is none.
    emitter.naively_switch_states(true);
    let mut rewritten = String::new();
    // Up to where the lines are counted, and up to where the text is in the result.
    let (mut counted, mut copied) = (0, 0);
    for Ok(token) in Tokenizer::new_with_emitter(html, emitter) {
        let Token::StartTag(mut tag) = token else { continue };
        let (start, end) = (tag.span.start, tag.span.end);
        line += html.get(counted..start).map_or(0, |passed| passed.matches('\n').count() as u32);
        counted = start;
        if rewrite_tag(&mut tag, file, line, links) {
            rewritten.push_str(html.get(copied..start).unwrap_or_default());
            rewritten.push_str(&written(&tag));
            copied = end;
        }
    }
    rewritten + html.get(copied..).unwrap_or_default()
}

/// Whether there was something to do.
fn rewrite_tag(tag: &mut StartTag<usize>, file: &str, line: u32, links: &mut Links<'_>) -> bool {
    let mut found = None;
    for (name, embedded) in URLS {
        let Some(value) = tag.attributes.get_mut(name) else { continue };
        let href = text(&value.value);
        if let Some(internal) = links.resolve(file, &href, embedded) {
            if let Some(made) = &internal.href {
                value.value = made.clone().into_bytes().into();
            }
            found = Some((href, internal));
        }
    }
    let Some((href, internal)) = found else { return false };
    for (name, value) in origin(file, line, &href, &internal) {
        tag.attributes.insert(name.as_bytes().to_vec().into(), value.into_bytes().into());
    }
    true
}

fn written(tag: &StartTag<usize>) -> String {
    let mut html = format!("<{}", text(&tag.name));
    for (name, value) in &tag.attributes {
        html.push_str(&attribute(&text(name), &text(&value.value)));
    }
    html + if tag.self_closing { " />" } else { ">" }
}

fn text(bytes: &HtmlString) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
