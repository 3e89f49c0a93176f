//! Text that others wrote: plugins, repositories, registries, clients. Whoever shows or keeps some of it cuts, prints and
//! quotes it by these functions.
//!
//! Owns what a character does to whoever looks at it. Depends on nothing. Must not know what is secret: a text is masked
//! before it is cut, or a cut would go through what the mask looks for.

mod json;

use std::borrow::Cow;
use std::fmt::Write as _;

pub use json::{Hole, holes, printable_json};

/// What stands where a character has no shape of its own.
const INVISIBLE: char = '\u{fffd}';

/// Cuts a text after so many characters, as CodePipeline counts.
pub fn cut_chars(text: &mut String, chars_max: usize) {
    if text.len() > chars_max
        && let Some((end, _)) = text.char_indices().nth(chars_max)
    {
        text.truncate(end);
    }
}

/// Cuts a text after so many bytes, or a little before, so that no character is cut.
pub fn cut_bytes(text: &mut String, bytes_max: usize) {
    text.truncate(text.floor_char_boundary(bytes_max));
}

/// The beginning of a text: as many whole characters as fit into so many bytes.
pub fn first_bytes(text: &str, bytes_max: usize) -> &str {
    &text[..text.floor_char_boundary(bytes_max)]
}

/// Whether a character has a shape of its own, and steers neither the terminal nor the text around it.
pub fn is_printable(c: char) -> bool {
    !c.is_control() && !is_invisible(c)
}

/// Whether a name or a text has a control character in it.
pub fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Whether a name has a character in it that hides something, or turns the order of others around. Joiners, without which some names
/// are written wrongly, are none.
pub fn has_hidden(name: &str) -> bool {
    name.chars().any(|c| is_invisible(c) && !matches!(c, '\u{200c}' | '\u{200d}'))
}

/// Characters without a shape: they hide what is written, turn its order around, or are there to be found by a machine.
/// The two that choose between an emoji and a letter are none of them.
fn is_invisible(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
        | '\u{fe00}'..='\u{fe0d}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// A text as one line that can be printed anywhere: a blank for each control character, also for the ends of lines, and a sign
/// that something is there for each that has no shape. Joiners, without which some scripts are written wrongly, are dropped.
pub fn printable(text: &str) -> Cow<'_, str> {
    replaced(text, false)
}

/// The same of a text that may have several lines.
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    replaced(text, true)
}

fn replaced(text: &str, has_lines: bool) -> Cow<'_, str> {
    let stays = |c: char| is_printable(c) || has_lines && c == '\n';
    if text.chars().all(stays) {
        return Cow::Borrowed(text);
    }
    let shown = |c: char| match c {
        c if stays(c) => Some(c),
        '\u{200c}' | '\u{200d}' => None,
        '\u{2028}' | '\u{2029}' => Some(' '),
        c if c.is_control() => Some(' '),
        _ => Some(INVISIBLE),
    };
    Cow::Owned(text.chars().filter_map(shown).collect())
}

/// A text between quotes, in which everything that is not printed as it is, and each quote, is escaped: it ends where it
/// seems to end. Longer ones are cut, and say so.
pub fn quoted(text: &str, chars_max: usize) -> String {
    let mut quoted = String::from('"');
    let mut chars = text.chars();
    for c in chars.by_ref().take(chars_max) {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            '\n' => quoted.push_str("\\n"),
            c if is_printable(c) => quoted.push(c),
            c => drop(write!(quoted, "\\u{{{:x}}}", u32::from(c))),
        }
    }
    quoted.push_str(if chars.next().is_some() { "…\"" } else { "\"" });
    quoted
}

/// Whether a text is an address on the web, which a browser opens and does not run.
pub fn is_web_url(text: &str) -> bool {
    let scheme = |scheme: &str| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    (scheme("https://") || scheme("http://")) && text.chars().all(|c| is_printable(c) && !c.is_whitespace())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_cut_between_characters() {
        let check = |text: &str, chars: usize, by_chars: &str, bytes: usize, by_bytes: &str| {
            let (mut first, mut second) = (text.to_owned(), text.to_owned());
            cut_chars(&mut first, chars);
            cut_bytes(&mut second, bytes);
            assert_eq!((&*first, &*second, first_bytes(text, bytes)), (by_chars, by_bytes, by_bytes), "{text}");
        };
        check("", 0, "", 0, "");
        check("site", 4, "site", 4, "site");
        check("site", 3, "sit", 3, "sit");
        check("größer", 4, "größ", 5, "grö");
        check("日本語", 2, "日本", 5, "日");
        check("😀😀", 1, "😀", 7, "😀");
        check("日本語", 3, "日本語", 100, "日本語");
    }

    /// One of each kind, between two letters.
    #[test]
    fn nothing_of_a_text_steers_who_shows_it() {
        let check = |c: char, line: &str, lines: &str, quote: &str| {
            let text = format!("a{c}b");
            assert_eq!(printable(&text), line, "{c:?}");
            assert_eq!(printable_lines(&text), lines, "{c:?}");
            assert_eq!(quoted(&text, 9), quote, "{c:?}");
        };
        for (c, escaped) in [('\r', "d"), ('\t', "9"), ('\u{1b}', "1b"), ('\u{7f}', "7f"), ('\u{9b}', "9b")] {
            check(c, "a b", "a b", &format!("\"a\\u{{{escaped}}}b\""));
        }
        check('\n', "a b", "a\nb", "\"a\\nb\"");
        check('\u{2028}', "a b", "a b", "\"a\\u{2028}b\"");
        check('\u{200d}', "ab", "ab", "\"a\\u{200d}b\"");
        for c in ['\u{ad}', '\u{200b}', '\u{200f}', '\u{202e}', '\u{2066}', '\u{feff}', '\u{e0041}'] {
            check(c, "a\u{fffd}b", "a\u{fffd}b", &format!("\"a\\u{{{:x}}}b\"", u32::from(c)));
        }
        for c in ['"', '\\'] {
            check(c, &format!("a{c}b"), &format!("a{c}b"), &format!("\"a\\{c}b\""));
        }
        for c in ['é', '語', '😀', '\u{fe0f}', ' ', '\u{a0}'] {
            check(c, &format!("a{c}b"), &format!("a{c}b"), &format!("\"a{c}b\""));
        }
        assert_eq!(quoted("abc", 2), "\"ab…\"");
    }

    #[test]
    fn only_addresses_on_the_web_are_links() {
        for (url, is_one) in [
            ("https://example.com/a?b#c", true),
            ("HTTP://example.com", true),
            ("https://例え.jp/ü", true),
            ("javascript:alert(1)", false),
            ("data:text/html,x", false),
            ("/a", false),
            ("", false),
            (" https://example.com", false),
            ("https://example.com/\r\nSet-Cookie: a", false),
            ("https://example.com/\u{202e}moc", false),
        ] {
            assert_eq!(is_web_url(url), is_one, "{url:?}");
        }
    }
}
