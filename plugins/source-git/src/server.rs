//! What a server says when it is discovered: in protocol 2 what it can do (gitprotocol-v2(5)), in protocols 0 and 1 all of
//! its references as well (gitprotocol-pack(5)). Where a proxy drops the header `Git-Protocol`, any server speaks protocol 0.

use std::io::Read;

use pipewright_sdk::{Failure, Result};

use crate::packets::Lines;
use crate::refs::{self, Reference};
use crate::remote::Remote;

/// Stops a server with endless capabilities; git has about ten.
const CAPABILITIES_MAX: usize = 100;
/// Stops a server that lists references for ever; those of pull requests and the like are not kept, but read.
const REFERENCES_MAX: usize = 2_000_000;
/// Stops a list of branches and tags that takes the memory.
const REFERENCES_KEPT_MAX: usize = 200_000;
/// What is asked for of what servers of protocols 0 and 1 offer.
const FEATURES: [&str; 3] = ["side-band-64k", "ofs-delta", "no-progress"];

#[derive(Debug, PartialEq)]
pub(crate) struct Server {
    /// It can leave history out.
    pub(crate) shallow: bool,
    /// Of a server that speaks protocol 0 or 1.
    pub(crate) old: Option<Old>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Old {
    /// HEAD, the branches and the tags.
    pub(crate) references: Vec<Reference>,
    /// Those of `FEATURES` that it has.
    pub(crate) features: Vec<&'static str>,
}

impl Server {
    pub(crate) fn read<R: Read>(mut lines: Lines<R>) -> Result<Self> {
        // Servers may or may not say first what they will say.
        let mut first = lines.next()?.unwrap_or_default();
        if first.starts_with(b"# service=") {
            lines.next()?;
            lines.next_section();
            first = lines.next()?.unwrap_or_default();
        }
        match first {
            b"version 2" => Self::of_protocol_2(lines),
            b"version 1" => {
                let first = lines.next()?.unwrap_or_default().to_vec();
                Self::of_protocol_0(&first, lines)
            }
            first => {
                let first = first.to_vec();
                Self::of_protocol_0(&first, lines)
            }
        }
    }

    fn of_protocol_2<R: Read>(mut lines: Lines<R>) -> Result<Self> {
        let mut found = Self { shallow: false, old: None };
        for _ in 0..CAPABILITIES_MAX {
            let Some(line) = lines.next()? else { return Ok(found) };
            if let Some(features) = line.strip_prefix(b"fetch=") {
                found.shallow = features.split(|byte| *byte == b' ').any(|feature| feature == b"shallow");
            } else if let Some(format) = line.strip_prefix(b"object-format=") {
                check_format(format)?;
            }
        }
        Err(Failure::job(format!("the server lists more than {CAPABILITIES_MAX} capabilities")))
    }

    /// The first line has the capabilities behind a NUL.
    fn of_protocol_0<R: Read>(first: &[u8], mut lines: Lines<R>) -> Result<Self> {
        let no_git = || Failure::configuration("what is there does not speak git's protocol");
        let end = first.iter().position(|byte| *byte == 0).ok_or_else(no_git)?;
        let (first, capabilities) = (&first[..end], String::from_utf8_lossy(&first[end + 1..]));
        let capabilities: Vec<&str> = capabilities.split_ascii_whitespace().collect();
        let value = |name: &str| capabilities.iter().find_map(|capability| capability.strip_prefix(name));
        check_format(value("object-format=").unwrap_or("sha1").as_bytes())?;
        let features: Vec<_> = FEATURES.into_iter().filter(|feature| capabilities.contains(feature)).collect();
        if !features.contains(&FEATURES[0]) {
            return Err(Failure::configuration("the server is too old: it does not offer `side-band-64k`"));
        }
        let mut references = Vec::new();
        keep(&mut references, first)?;
        for _ in 0..REFERENCES_MAX {
            let Some(line) = lines.next()? else {
                if let Some(head) = references.iter_mut().find(|reference| reference.name == refs::HEAD) {
                    head.target = value("symref=HEAD:").map(str::to_owned);
                }
                let shallow = capabilities.contains(&"shallow");
                return Ok(Self { shallow, old: Some(Old { references, features }) });
            };
            keep(&mut references, line)?;
        }
        Err(Failure::job(format!("the server lists more than {REFERENCES_MAX} references (references_max)")))
    }

    /// The reference of exactly this name.
    pub(crate) fn find(&self, name: &str, remote: &Remote) -> Result<Option<Reference>> {
        match &self.old {
            Some(old) => Ok(old.references.iter().find(|reference| reference.name == name).cloned()),
            None => remote.command(&refs::request(name), |lines| refs::find(name, lines)),
        }
    }

    /// The first names below `prefix`, for a message; none where there are none.
    pub(crate) fn names(&self, prefix: &str, remote: &Remote) -> Result<Option<String>> {
        match &self.old {
            Some(old) => Ok(refs::listed(old.references.iter().filter_map(|found| found.name.strip_prefix(prefix)))),
            None => remote.command(&refs::request(prefix), |lines| refs::names(prefix, lines)),
        }
    }
}

/// Adds a line's reference, if it is one that is looked for. An annotated tag is followed by what it points at in the end,
/// `ID NAME^{}`.
fn keep(references: &mut Vec<Reference>, line: &[u8]) -> Result<()> {
    if line.starts_with(b"shallow ") {
        return Ok(());
    }
    let found = Reference::parse(line)?;
    if let Some(name) = found.name.strip_suffix("^{}") {
        if let Some(last) = references.last_mut().filter(|last| last.name == name) {
            last.id = found.id;
        }
    } else if found.name == refs::HEAD || [refs::BRANCHES, refs::TAGS].iter().any(|kind| found.name.starts_with(kind)) {
        if references.len() == REFERENCES_KEPT_MAX {
            let text =
                format!("the server lists more than {REFERENCES_KEPT_MAX} branches and tags (references_kept_max)");
            return Err(Failure::job(text));
        }
        references.push(found);
    }
    Ok(())
}

fn check_format(format: &[u8]) -> Result<()> {
    if format == b"sha1" {
        return Ok(());
    }
    Err(Failure::configuration("the repository has another object format than sha1; only that one can be read"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::lines;
    use expect_test::{Expect, expect};

    const ID: &str = "0123456789abcdef0123456789abcdef01234567";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba98";

    fn check(sections: &[&[&str]], expected: Expect) {
        let read = Server::read(Lines::new(lines(sections).as_slice()));
        let told = |Server { shallow, old }: Server| {
            let mut told = format!("shallow {shallow}");
            if let Some(old) = old {
                told += &format!(", {}", old.features.join(" "));
                for Reference { name, id, target } in old.references {
                    told += &format!("\n{name} {id} {target:?}");
                }
            }
            told
        };
        expected.assert_eq(&read.map_or_else(|failure| failure.message, told));
    }

    #[test]
    fn of_protocol_2() {
        check(
            &[
                &["# service=git-upload-pack"],
                &["version 2", "agent=git/2.47", "fetch=shallow filter", "object-format=sha1"],
            ],
            expect!["shallow true"],
        );
        check(&[&["version 2", "ls-refs"]], expect!["shallow false"]);
        check(
            &[&["version 2", "object-format=sha256"]],
            expect!["the repository has another object format than sha1; only that one can be read"],
        );
        check(&[&["version 2", "ERR go away"]], expect!["the server refuses: go away"]);
        check(
            &[&[&["version 2"], ["x"; 200].as_slice()].concat()],
            expect!["the server lists more than 100 capabilities"],
        );
        check(&[], expect!["the server's response broke off: failed to fill whole buffer"]);
    }

    #[test]
    fn of_protocols_0_and_1() {
        let first =
            format!("{ID} HEAD\0multi_ack side-band-64k ofs-delta shallow symref=HEAD:refs/heads/main agent=git/2.10");
        let rest = [
            format!("{ID} refs/heads/main"),
            format!("{ID} refs/pull/1/head"),
            format!("{ID} refs/tags/v1"),
            format!("{OTHER} refs/tags/v1^{{}}"),
            format!("shallow {ID}"),
        ];
        let all: Vec<&str> = [first.as_str()].into_iter().chain(rest.iter().map(String::as_str)).collect();
        for version in [&[][..], &["version 1"]] {
            check(
                &[&["# service=git-upload-pack"], &[version, &all].concat()],
                expect![[r#"
                    shallow true, side-band-64k ofs-delta
                    HEAD 0123456789abcdef0123456789abcdef01234567 Some("refs/heads/main")
                    refs/heads/main 0123456789abcdef0123456789abcdef01234567 None
                    refs/tags/v1 fedcba9876543210fedcba9876543210fedcba98 None"#]],
            );
        }
        let empty = format!("{} capabilities^{{}}\0side-band-64k", "0".repeat(40));
        check(&[&["# service=git-upload-pack"], &[&empty]], expect!["shallow false, side-band-64k"]);
        check(
            &[&[&format!("{ID} HEAD\0side-band-64k object-format=sha256")]],
            expect!["the repository has another object format than sha1; only that one can be read"],
        );
        check(
            &[&[&format!("{ID} HEAD\0multi_ack")]],
            expect!["the server is too old: it does not offer `side-band-64k`"],
        );
        check(&[&["<html>"]], expect!["what is there does not speak git's protocol"]);
        check(&[&[&first, "x"]], expect!["the server sent a malformed reference"]);
    }
}
