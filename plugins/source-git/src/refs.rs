//! References: what a branch, a tag or HEAD points at, by `ls-refs` of protocol 2.
//!
//! Pure: must not know of requests.

use std::io::Read;

use gix_hash::ObjectId;
use pipewright_sdk::{Failure, Result};

use crate::packets::{self, Lines};

/// Stops a server that lists references for ever. The one that is looked for is among the first of those that begin like it.
const REFERENCES_MAX: usize = 10_000;
/// As many names as a message shows.
const NAMES_MAX: usize = 10;

#[derive(Debug, PartialEq)]
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

/// The first names below `prefix`, for a message: `a, b and more`; none where there are none.
pub(crate) fn names<R: Read>(prefix: &str, mut lines: Lines<R>) -> Result<Option<String>> {
    let mut names: Vec<String> = Vec::new();
    while let Some(line) = lines.next()? {
        if names.len() == NAMES_MAX {
            return Ok(Some(names.join(", ") + " and more"));
        }
        let name = Reference::parse(line)?.name;
        names.extend(name.strip_prefix(prefix).map(|name| format!("`{name}`")));
    }
    Ok((!names.is_empty()).then(|| names.join(", ")))
}

impl Reference {
    /// `ID NAME`, and attributes like `symref-target:NAME` and `peeled:ID`.
    fn parse(line: &[u8]) -> Result<Self> {
        let malformed = || Failure::job("the server sent a malformed reference");
        let text = std::str::from_utf8(line).map_err(|_| malformed())?;
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
