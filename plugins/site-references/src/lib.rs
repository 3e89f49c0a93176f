//! How the links of a website, or of a folder of documents, resolve: pure functions over texts. And where the symbolic links
//! among its files lead.
//!
//! A *path* here is below the top of an artifact: parts separated by `/`, without `.` and `..`; the top itself is empty.
//! Must not know what is at a path.

mod followed;

pub use followed::Followed;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use unicode_normalization::UnicodeNormalization as _;

/// What a path may hold in a URL as it is: RFC 3986's `unreserved`, and what the reserved characters of a segment allow.
const SEGMENT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'+').remove(b'@').remove(b',');

/// A reference to something of the same site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// As it was written but decoded; empty for the document itself. A query is left out.
    pub path: String,
    /// What follows `#`, decoded; none where there is no `#`.
    pub fragment: Option<String>,
}

impl Reference {
    /// None for what leads elsewhere: anything with a scheme or a host.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.starts_with("//") || has_scheme(text) {
            return None;
        }
        let (rest, fragment) = match text.split_once('#') {
            Some((rest, fragment)) => (rest, Some(decode(fragment))),
            None => (text, None),
        };
        let path = rest.split('?').next().unwrap_or_default();
        Some(Self { path: decode(path), fragment })
    }

    /// The path that is meant, seen from a file; none where it leads out of the top. What begins with `/` starts at the top.
    pub fn resolve(&self, file: &str) -> Option<String> {
        if self.path.is_empty() {
            return Some(file.to_owned());
        }
        match self.path.strip_prefix('/') {
            Some(path) => join("", path),
            None => join(parent(file), &self.path),
        }
    }
}

/// The path of `path`, which may hold `.` and `..`, seen from a folder; none where it leads out of the top.
pub fn join(folder: &str, path: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()?),
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The folder in which something lies.
pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// The URL by which a file refers to another one, encoded; never empty.
pub fn relative(from: &str, to: &str) -> String {
    let folder: Vec<&str> = parent(from).split('/').filter(|part| !part.is_empty()).collect();
    let target: Vec<&str> = to.split('/').collect();
    // The file's own name is never shared.
    let shared = folder.iter().zip(&target[..target.len() - 1]).take_while(|(a, b)| a == b).count();
    let up = folder[shared..].iter().map(|_| "..".to_owned());
    let down = target[shared..].iter().map(|part| utf8_percent_encode(part, SEGMENT).to_string());
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// What remains of a path or fragment when nobody looks at the case, at accents and how they are encoded, and at what stands
/// between words. For finding what somebody meant.
pub fn letters(text: &str) -> String {
    text.nfd().filter(|c| c.is_alphanumeric() || *c == '/').flat_map(char::to_lowercase).collect()
}

/// RFC 3986: a letter, then letters, digits, `+`, `-` and `.`, up to a colon.
fn has_scheme(text: &str) -> bool {
    text.split_once(':').is_some_and(|(scheme, _)| {
        scheme.starts_with(|first: char| first.is_ascii_alphabetic())
            && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    })
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references() {
        let check = |text: &str, expected: Option<(&str, Option<&str>)>| {
            let expected =
                expected.map(|(path, fragment)| Reference { path: path.into(), fragment: fragment.map(Into::into) });
            assert_eq!(Reference::parse(text), expected, "{text}");
        };
        check("a.md", Some(("a.md", None)));
        check("../a%20b.md?raw=1#c%C3%A9", Some(("../a b.md", Some("cé"))));
        check("#top", Some(("", Some("top"))));
        check("a.md#", Some(("a.md", Some(""))));
        check("./a:b.md", Some(("./a:b.md", None)));
        check(" b.md\n", Some(("b.md", None)));
        for elsewhere in
            ["https://example.com/a", "//example.com", "mailto:a@b", "data:image/png;base64,x", "JavaScript:0"]
        {
            check(elsewhere, None);
        }
    }

    #[test]
    fn resolving() {
        let check = |file: &str, text: &str, expected: Option<&str>| {
            let reference = Reference::parse(text).unwrap();
            assert_eq!(reference.resolve(file).as_deref(), expected, "{text} in {file}");
        };
        check("docs/a.md", "b.md", Some("docs/b.md"));
        check("docs/a.md", "../b.md", Some("b.md"));
        check("docs/a.md", "./", Some("docs"));
        check("docs/a.md", "..", Some(""));
        check("docs/a.md", "/b//c/./d", Some("b/c/d"));
        check("docs/a.md", "#x", Some("docs/a.md"));
        check("docs/a.md", "../../b.md", None);
        check("docs/a.md", "%2e%2e/../b.md", None);
    }

    #[test]
    fn other_spellings() {
        for (one, other) in
            [("Guide.md", "guide.md"), ("caf\u{e9}.md", "cafe\u{301}.md"), ("first_steps", "First-Steps")]
        {
            assert_eq!(letters(one), letters(other));
        }
        assert_ne!(letters("a/b"), letters("ab"));
    }

    #[test]
    fn relative_urls() {
        let check = |from: &str, to: &str, expected: &str| assert_eq!(relative(from, to), expected, "{from} to {to}");
        check("index.html", "a b/ü.html", "a%20b/%C3%BC.html");
        check("a/b/c.html", "a/d.html", "../d.html");
        check("a/b.html", "a/b.html", "b.html");
        check("a/a/x.html", "a/x.html", "../x.html");
        check("a/x.html", "a/a/x.html", "a/x.html");
        check("a/x.html", "index.html", "../index.html");
        check("index.html", "a:b.html", "a%3Ab.html");
    }
}
