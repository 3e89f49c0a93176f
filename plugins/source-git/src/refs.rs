//! References: what a branch, a tag or HEAD points at, and how `ls-refs` of protocol 2 tells it.
//!
//! Pure: must not know of requests.

use std::io::Read;

use gix_hash::ObjectId;
use pipewright_sdk::{Failure, Result};

use crate::packets::{self, Lines};

pub(crate) const HEAD: &str = "HEAD";
pub(crate) const BRANCHES: &str = "refs/heads/";
pub(crate) const TAGS: &str = "refs/tags/";

/// Stops a server that lists references for ever. The one that is looked for is among the first of those that begin like it.
const REFERENCES_MAX: usize = 10_000;
/// As many names as a message shows.
const NAMES_MAX: usize = 10;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Reference {
    pub(crate) name: String,
    /// The object it points at; for an annotated tag, what that points at in the end.
    pub(crate) id: ObjectId,
    /// The reference that it stands for, as HEAD does for a branch.
    pub(crate) target: Option<String>,
}

/// Asks for the references whose names begin so.
pub(crate) fn request(prefix: &str) -> Vec<u8> {
    packets::command("ls-refs", &["peel", "symrefs", &format!("ref-prefix {prefix}")])
}

/// The reference of exactly this name.
pub(crate) fn find<R: Read>(name: &str, mut lines: Lines<R>) -> Result<Option<Reference>> {
    for _ in 0..REFERENCES_MAX {
        let Some(line) = lines.next()? else { return Ok(None) };
        let reference = Reference::parse(line)?;
        if reference.name == name {
            return Ok(Some(reference));
        }
    }
    Err(Failure::job(format!("the server lists more than {REFERENCES_MAX} references that begin with `{name}`")))
}

/// The first names below `prefix`, for a message; none where there are none.
pub(crate) fn names<R: Read>(prefix: &str, mut lines: Lines<R>) -> Result<Option<String>> {
    let mut names: Vec<String> = Vec::new();
    while let Some(line) = lines.next()? {
        names.extend(Reference::parse(line)?.name.strip_prefix(prefix).map(str::to_owned));
        if names.len() > NAMES_MAX {
            break;
        }
    }
    Ok(listed(names.iter().map(String::as_str)))
}

/// `a, b and more`
pub(crate) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<String> = names.take(NAMES_MAX + 1).map(|name| format!("`{name}`")).collect();
    match names.get(..NAMES_MAX) {
        Some(first) if names.len() > NAMES_MAX => Some(first.join(", ") + " and more"),
        _ => (!names.is_empty()).then(|| names.join(", ")),
    }
}

impl Reference {
    /// `ID NAME`, and attributes like `symref-target:NAME` and `peeled:ID`.
    pub(crate) fn parse(line: &[u8]) -> Result<Self> {
        let malformed = || Failure::job("the server sent a malformed reference");
        // A name that is not UTF-8 is not the one that is looked for.
        let text = String::from_utf8_lossy(line);
        let mut words = text.split(' ');
        let id = |text: &str| ObjectId::from_hex(text.as_bytes()).map_err(|_| malformed());
        let (direct, name) = words.next().zip(words.next()).ok_or_else(malformed)?;
        let mut reference = Self { name: name.to_owned(), id: id(direct)?, target: None };
        for attribute in words {
            if let Some(target) = attribute.strip_prefix("symref-target:") {
                reference.target = Some(target.to_owned());
            } else if let Some(peeled) = attribute.strip_prefix("peeled:") {
                reference.id = id(peeled)?;
            }
        }
        Ok(reference)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    const PEELED: &str = "fedcba9876543210fedcba9876543210fedcba98";

    fn check(name: &str, lines: &[&str], expected: Expect) {
        let lines: Vec<String> = lines.iter().map(|line| line.replace("ID", ID).replace("PEELED", PEELED)).collect();
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        let found = find(name, Lines::new(packets::lines(&[&lines]).as_slice()));
        expected.assert_eq(&match found {
            Ok(None) => "none".to_owned(),
            Ok(Some(Reference { name, id, target })) => format!("{name} {id} {target:?}"),
            Err(failure) => failure.message,
        });
    }

    #[test]
    fn exactly_one_is_found() {
        check(
            "HEAD",
            &["ID HEAD symref-target:refs/heads/main"],
            expect![[r#"HEAD 0123456789abcdef0123456789abcdef01234567 Some("refs/heads/main")"#]],
        );
        check(
            "refs/heads/a",
            &["ID refs/heads/a", "PEELED refs/heads/ab"],
            expect!["refs/heads/a 0123456789abcdef0123456789abcdef01234567 None"],
        );
        check("refs/heads/a", &["ID refs/heads/ab"], expect!["none"]);
        check(
            "refs/tags/v",
            &["ID refs/tags/v unknown peeled:PEELED"],
            expect!["refs/tags/v fedcba9876543210fedcba9876543210fedcba98 None"],
        );
        check("HEAD", &[], expect!["none"]);
        check("HEAD", &["0123 HEAD"], expect!["the server sent a malformed reference"]);
        check("HEAD", &["ID"], expect!["the server sent a malformed reference"]);
        check(
            "HEAD",
            &["ID refs/x"; REFERENCES_MAX + 1],
            expect!["the server lists more than 10000 references that begin with `HEAD`"],
        );
    }

    #[test]
    fn some_names_for_a_message() {
        let check = |count: usize, expected: Option<&str>| {
            let lines: Vec<String> = (0..count).map(|number| format!("{ID} refs/heads/b{number}")).collect();
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            let found = names("refs/heads/", Lines::new(packets::lines(&[&lines]).as_slice())).unwrap();
            assert_eq!(found.as_deref(), expected);
        };
        check(0, None);
        check(2, Some("`b0`, `b1`"));
        check(20, Some("`b0`, `b1`, `b2`, `b3`, `b4`, `b5`, `b6`, `b7`, `b8`, `b9` and more"));
    }
}
