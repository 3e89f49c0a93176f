//! Owns what is kept from one command to the next where a job has ended between them. Knows nothing of phases, and runs
//! nothing.
//!
//! As CodeBuild was observed, whatever its documentation says of one shell: each entry of a list runs in a shell of its own,
//! and finds the working directory and the variables of the last one, exported or not (as under `set -a`). Arrays,
//! functions, aliases, traps and options do not come along.

use std::collections::{BTreeMap, BTreeSet};

use crate::job::Left;
use crate::texts::is_shell_name;

/// What a shell writes itself, or reads from its environment when it starts and should not.
const NOT_KEPT: &[&str] = &["_", "IFS", "LINENO", "OPTARG", "OPTERR", "OPTIND", "SHLVL"];

/// What the commands of a build share. Values may be secret: nothing here shows itself for debugging.
#[derive(Clone)]
pub struct Session {
    /// Where the files are, absolute.
    folder: String,
    directory: String,
    environment: BTreeMap<String, String>,
    secrets: BTreeSet<String>,
}

impl Session {
    /// `folder` and `directory` are absolute, as the commands see them; the first command begins in `directory`. The variables
    /// of `secrets` are given to commands by somebody else, and are never kept.
    pub fn new(
        folder: &str,
        directory: &str,
        mut environment: BTreeMap<String, String>,
        secrets: BTreeSet<String>,
    ) -> Self {
        environment.retain(|name, _| !secrets.contains(name));
        Self { folder: folder.to_owned(), directory: directory.to_owned(), environment, secrets }
    }

    pub fn directory(&self) -> &str {
        &self.directory
    }

    pub fn environment(&self) -> &BTreeMap<String, String> {
        &self.environment
    }

    /// Those that a shell can spell.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.iter().map(String::as_str).filter(|name| is_shell_name(name))
    }

    pub(crate) fn file(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Takes over what a job left, and gives warnings. Where no shell came to its end, the next one finds what it found.
    pub(crate) fn keep(&mut self, left: &Left) -> Vec<String> {
        if left.variables.is_empty() {
            return Vec::new();
        }
        if left.is_too_large() {
            let bytes = left.variables.len();
            return vec![format!("The environment has {bytes} bytes or more: what the commands set is lost")];
        }
        let mut warnings = Vec::new();
        match std::str::from_utf8(&left.directory) {
            Ok(text) => self.directory = text.strip_suffix('\n').unwrap_or(text).to_owned(),
            Err(_) => {
                warnings
                    .push("The working directory's name is not UTF-8: the next command begins elsewhere".to_owned());
            }
        }
        // A shell does not see names that it cannot spell, and does not hand them on.
        let mut kept: BTreeMap<String, String> = std::mem::take(&mut self.environment);
        kept.retain(|name, _| !is_shell_name(name));
        for (name, value) in exported(&left.variables) {
            if NOT_KEPT.contains(&name.as_str()) || self.secrets.contains(&name) {
                continue;
            }
            match String::from_utf8(value) {
                Ok(value) => drop(kept.insert(name, value)),
                Err(_) => warnings.push(format!("The value of {name} is not UTF-8: it is not kept")),
            }
        }
        self.environment = kept;
        warnings
    }
}

/// The text as one word of a shell.
pub(crate) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// The variables of lines `export NAME=WORD`, where a word is quoted in any way that a shell writes. A name without a value is
/// no variable yet.
fn exported(text: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(b"export ") {
        let end = after.iter().position(|byte| matches!(byte, b'=' | b'\n')).unwrap_or(after.len());
        let (name, from) = after.split_at(end);
        let (value, from) = from.strip_prefix(b"=").map_or((None, from), |word| {
            let (value, from) = unquoted(word);
            (Some(value), from)
        });
        if let (Some(value), Ok(name)) = (value, std::str::from_utf8(name))
            && is_shell_name(name)
        {
            all.push((name.to_owned(), value));
        }
        rest = from.strip_prefix(b"\n").unwrap_or_default();
    }
    all
}

/// A word's text, and what follows it.
fn unquoted(mut rest: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut text = Vec::new();
    loop {
        match rest {
            [] | [b'\n', ..] => return (text, rest),
            [b'\'', quote @ ..] => {
                let end = quote.iter().position(|byte| *byte == b'\'').unwrap_or(quote.len());
                text.extend_from_slice(&quote[..end]);
                rest = quote.get(end + 1..).unwrap_or_default();
            }
            [b'"', quote @ ..] => rest = in_quotes(quote, b'"', &mut text),
            [b'$', b'\'', quote @ ..] => rest = in_quotes(quote, b'\'', &mut text),
            [b'\\', byte, after @ ..] | [byte, after @ ..] => {
                text.push(*byte);
                rest = after;
            }
        }
    }
}

/// Up to the quote, with what a backslash stands for: in `"…"` the character behind it, in `$'…'` also others.
fn in_quotes<'a>(mut rest: &'a [u8], quote: u8, text: &mut Vec<u8>) -> &'a [u8] {
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte == quote {
            break;
        }
        let (b'\\', [escaped, after @ ..]) = (byte, rest) else {
            text.push(*byte);
            continue;
        };
        rest = after;
        let plain = match escaped {
            _ if quote == b'"' => *escaped,
            b'a' => 7,
            b'b' => 8,
            b't' => b'\t',
            b'n' => b'\n',
            b'v' => 11,
            b'f' => 12,
            b'r' => b'\r',
            b'E' | b'e' => 27,
            b'0'..=b'7' => {
                let digits = rest.iter().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let (more, after) = rest.split_at(digits);
                rest = after;
                more.iter().fold(escaped - b'0', |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0'))
            }
            other => *other,
        };
        text.push(plain);
    }
    rest
}

/// What an expanded `artifacts: name` may be.
pub(crate) fn checked_name(value: &str) -> Result<String, String> {
    let name = value.trim_end_matches('\n');
    let escapes = name.split('/').any(|part| part == "..");
    let mend = "write a relative path without `..`, or `/` alone";
    if name != "/" && (name.starts_with('/') || escapes) {
        return Err(format!("the name `{name}` leaves its place: {mend}"));
    }
    if name.is_empty() || name.contains('\n') {
        return Err(format!("the name `{name}` is empty or has several lines: {mend}"));
    }
    Ok(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As dash, busybox and bash write them.
    #[test]
    fn words_of_shells() {
        let check = |word: &str, value: &[u8]| {
            let text = format!("export A={word}\nexport B\nexport C='1'\n");
            let expected = [("A".to_owned(), value.to_vec()), ("C".to_owned(), b"1".to_vec())];
            assert_eq!(exported(text.as_bytes()), expected, "{word}");
        };
        check("''", b"");
        check("", b"");
        check("'a b\nexport C=$x\"'", b"a b\nexport C=$x\"");
        check(r#"'it'"'"'s'"#, b"it's");
        check(r"'it'\''s'", b"it's");
        check(r#""a\"b\\c\$d\`e""#, br#"a"b\c$d`e"#);
        check(r"a\ b\'c", b"a b'c");
        check(r"$'a\nb\tc\'d\\e\E[0m\001\377'", b"a\nb\tc'd\\e\x1b[0m\x01\xff");
        check(r"$'\3001'", b"\xc01");
    }
}
