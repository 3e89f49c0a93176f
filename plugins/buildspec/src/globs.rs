//! Owns how a path matches a pattern of a buildspec. Knows nothing of files.
//!
//! `*` and `?` stay within one name, `[…]` is a class of characters, `**` goes across directories, names that begin with a dot
//! are names like others, case matters, and braces are no operators. Those are git's rules, so git's matcher does it:
//! gix-glob, which does not go exponential over patterns made for that. globset has braces that cannot be switched off, and
//! the crate glob tries every way of several stars in one name.

use gix_glob::wildmatch::Mode;

/// A longer one was not written by a person.
pub const PATTERN_BYTES_MAX: usize = 1_024;

/// Whether `path`, relative and without `.` and `..`, is one that `pattern` names.
pub fn matches(pattern: &str, path: &str) -> bool {
    let pattern = cleaned(pattern);
    pattern.len() <= PATTERN_BYTES_MAX
        && gix_glob::wildmatch(pattern.as_str().into(), path.into(), Mode::NO_MATCH_SLASH_LITERAL)
}

/// Whether something in the text stands for other texts.
pub fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Without what does not say anything: `.` and empty names. A pattern that ends with `**/` means all below, as one that ends
/// with `**` does.
pub(crate) fn cleaned(pattern: &str) -> String {
    let absolute = if pattern.starts_with('/') { "/" } else { "" };
    let names: Vec<_> = pattern.split('/').filter(|name| !matches!(*name, "" | ".")).collect();
    format!("{absolute}{}", names.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        let check = |pattern: &str, yes: &[&str], no: &[&str]| {
            for (path, expected) in yes.iter().map(|path| (path, true)).chain(no.iter().map(|path| (path, false))) {
                assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
            }
        };
        check("f", &["f"], &["d/f", "g", "F"]);
        check("d/f", &["d/f"], &["f", "x/d/f"]);
        check("d/*", &["d/f", "d/.f"], &["d/e/f", "d"]);
        check("d/**/*", &["d/f", "d/e/f", "d/.git/x"], &["f", "x/d/f"]);
        check("d/**", &["d/f", "d/e/f"], &["f", "d"]);
        check("**/*", &["f", "d/f", ".git/config", "d/.x/y"], &[]);
        check("**/", &["f", "d/f", ".x"], &[]);
        check("**", &["f", "d/f"], &[]);
        check("**/.*", &[".x", "d/.x"], &["x", ".x/y", "d/x"]);
        check("**/.*/**/*", &[".x/y", "d/.x/y/z"], &[".x", "x/y"]);
        check("target/*.jar", &["target/a.jar", "target/.jar"], &["target/a.jar.txt", "target/x/a.jar", "a.jar"]);
        check("./x/./y", &["x/y"], &["x"]);
        check("a?c", &["abc"], &["ac", "a/c", "abbc"]);
        check("[ab].txt", &["a.txt", "b.txt"], &["c.txt", "ab.txt"]);
        check("[!a]", &["b"], &["a", "/"]);
        check("[^a-c]x", &["dx"], &["bx"]);
        check("{a,b}", &["{a,b}"], &["a", "b"]);
        check("a**b", &["ab", "axb"], &["a/b"]);
        check("a/**/b", &["a/b", "a/x/b", "a/x/y/b"], &["ab", "a/xb"]);
        check("", &[], &["a"]);
        check("é*", &["été"], &["e"]);
        check(&"x".repeat(2_000), &[], &["x"]);
    }

    /// Many stars over a long name that does not match: a matcher that tries every way would be busy for years.
    #[test]
    fn patterns_made_to_be_slow() {
        let path = format!("{}/{}", "a".repeat(250), "a".repeat(250));
        for pattern in [
            "*a".repeat(100) + "b",
            "**/*a*a*a*a*a*a*a*a*a*b".to_owned(),
            "**/".repeat(50) + "b",
            "*".repeat(500) + "b",
        ] {
            assert!(!matches(&pattern, &path));
        }
    }
}
