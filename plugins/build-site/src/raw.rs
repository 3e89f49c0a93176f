//! Raw HTML in Markdown: its links lead to files of the repository too, and are rewritten, as are ids that are there already;
//! the rest stays as it is.

use html5gum::emitters::default::{DefaultEmitter, StartTag};
use html5gum::{HtmlString, Token, Tokenizer};

use crate::links::Links;
use crate::markdown::{attribute, origin};
use crate::slug::Ids;

/// The attributes that hold a URL, and whether what it names is embedded.
const URLS: [(&[u8], bool); 3] = [(b"href", false), (b"src", true), (b"poster", true)];

/// Gives all ids to `each`, and the names of anchors, which are the same.
pub(crate) fn ids(html: &str, mut each: impl FnMut(&str)) {
    for tag in tags(html) {
        let anchor = if *tag.name == b"a" { tag.attributes.get(&b"name"[..]) } else { None };
        tag.attributes.get(&b"id"[..]).into_iter().chain(anchor).for_each(|value| each(&text(&value.value)));
    }
}

fn tags(html: &str) -> impl Iterator<Item = StartTag<usize>> {
    let mut emitter = DefaultEmitter::<usize>::new_with_span();
    // What looks like a tag in a script or a style is none.
    emitter.naively_switch_states(true);
    Tokenizer::new_with_emitter(html, emitter).filter_map(|Ok(token)| match token {
        Token::StartTag(tag) => Some(tag),
        _ => None,
    })
}

/// `line` is that on which the HTML begins in the Markdown file.
pub(crate) fn rewrite(html: &str, file: &str, mut line: u32, links: &mut Links<'_>, ids: &mut Ids) -> String {
    let mut rewritten = String::new();
    // Up to where the lines are counted, and up to where the text is in the result.
    let (mut counted, mut copied) = (0, 0);
    for mut tag in tags(html) {
        let (start, end) = (tag.span.start, tag.span.end);
        line += html.get(counted..start).map_or(0, |passed| passed.matches('\n').count() as u32);
        counted = start;
        let has_new_id = rewrite_id(&mut tag, ids);
        if rewrite_links(&mut tag, file, line, links) || has_new_id {
            rewritten.push_str(html.get(copied..start).unwrap_or_default());
            rewritten.push_str(&written(&tag));
            copied = end;
        }
    }
    rewritten + html.get(copied..).unwrap_or_default()
}

/// Whether there was something to do.
fn rewrite_id(tag: &mut StartTag<usize>, ids: &mut Ids) -> bool {
    let Some(value) = tag.attributes.get_mut(&b"id"[..]) else { return false };
    let Some(id) = ids.of_raw(&text(&value.value)) else { return false };
    value.value = id.into_bytes().into();
    true
}

/// Whether there was something to do.
fn rewrite_links(tag: &mut StartTag<usize>, file: &str, line: u32, links: &mut Links<'_>) -> bool {
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
