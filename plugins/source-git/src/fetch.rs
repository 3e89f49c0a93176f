//! How one commit and all that belongs to it is fetched, in each protocol.
//!
//! Must not know of requests.

use std::io::{BufRead, Read};

use gix_hash::ObjectId;
use pipewright_sdk::{Failure, Result};

use crate::packets::{self, Lines};
use crate::server::Server;

/// Stops a server that says everything but what was asked for.
const LINES_MAX: usize = 1_000;

pub(crate) fn request(id: &ObjectId, server: &Server) -> Vec<u8> {
    let want = format!("want {id}");
    let deepen = server.shallow.then_some("deepen 1");
    match &server.old {
        None => {
            let mut arguments = vec!["no-progress", "ofs-delta", &want];
            arguments.extend(deepen);
            arguments.push("done");
            packets::command("fetch", &arguments)
        }
        Some(old) => {
            let want = format!("{want} {}", old.features.join(" "));
            let mut sections =
                packets::section(&[&want].into_iter().map(String::as_str).chain(deepen).collect::<Vec<_>>());
            packets::line("done", &mut sections);
            sections
        }
    }
}

/// Hands the pack of the response to `read`.
pub(crate) fn response<R: Read, T>(
    id: &ObjectId,
    mut lines: Lines<R>,
    read: impl FnOnce(&mut dyn BufRead) -> Result<T>,
) -> Result<T> {
    for _ in 0..LINES_MAX {
        match lines.next().map_err(|failure| not_given(id, failure))? {
            // In protocols 0 and 1 the pack follows the word that nothing is in common.
            Some(b"packfile" | b"NAK") => return lines.unpack(read).map_err(|failure| not_given(id, failure)),
            Some(_) => {}
            None => lines.next_section(),
        }
    }
    Err(Failure::job("the server answered without a pack"))
}

/// Servers say it in these words where they do not have a commit, and where they do not want to give it.
fn not_given(id: &ObjectId, failure: Failure) -> Failure {
    if !failure.message.contains("not our ref") {
        return failure;
    }
    Failure::revision_unavailable(format!(
        "the server does not give the commit {id}: it is not there any more, or no branch or tag points at it and the server gives \
         only what one points at"
    ))
}

/// The id of the tree that a commit object is about: its first line.
pub(crate) fn tree(commit: &[u8]) -> Result<ObjectId> {
    let line = commit.strip_prefix(b"tree ").and_then(|rest| rest.split(|byte| *byte == b'\n').next());
    line.and_then(|id| ObjectId::from_hex(id).ok()).ok_or_else(|| Failure::job("the commit does not name its tree"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::lines;
    use crate::server::Old;
    use expect_test::{Expect, expect};

    const ID: ObjectId = ObjectId::null(gix_hash::Kind::Sha1);

    #[test]
    fn requests() {
        let text = |shallow, old| String::from_utf8(request(&ID, &Server { shallow, old })).unwrap();
        expect![[r#"
            0012command=fetch
            00010010no-progress
            000eofs-delta
            0032want 0000000000000000000000000000000000000000
            000ddeepen 1
            0009done
            0000"#]]
        .assert_eq(&text(true, None));
        assert!(!text(false, None).contains("deepen"));
        let old = || Some(Old { references: Vec::new(), features: vec!["side-band-64k", "ofs-delta"] });
        expect![[r#"
            004awant 0000000000000000000000000000000000000000 side-band-64k ofs-delta
            000ddeepen 1
            00000009done
        "#]]
        .assert_eq(&text(true, old()));
        assert!(!text(false, old()).contains("deepen"));
    }

    #[test]
    fn responses() {
        let check = |bytes: &[u8], expected: Expect| {
            let read = |pack: &mut dyn BufRead| {
                let mut all = String::new();
                pack.read_to_string(&mut all)?;
                Ok(all)
            };
            let said = response(&ID, Lines::new(bytes), read);
            expected.assert_eq(&said.unwrap_or_else(|failure| format!("{:?}: {}", failure.kind, failure.message)));
        };
        let pack = lines(&[&["packfile", "\u{1}PACK"]]);
        check(
            &[lines(&[&["shallow-info", "shallow 0"]]), pack.clone()].concat(),
            expect![[r#"
            PACK
        "#]],
        );
        check(
            &[lines(&[&["shallow 0"]]), [&lines(&[&["NAK"]])[..8], &lines(&[&["\u{1}PACK"]])].concat()].concat(),
            expect![[r#"
            PACK
        "#]],
        );
        check(&pack[..pack.len() - 6], expect!["FailureKind::JobFailed: failed to fill whole buffer"]);
        check(
            &lines(&[&["ERR upload-pack: not our ref 0"]]),
            expect![
                "FailureKind::RevisionUnavailable: the server does not give the commit 0000000000000000000000000000000000000000: it is not there any more, or no branch or tag points at it and the server gives only what one points at"
            ],
        );
        check(
            &lines(&[&["packfile", "\u{3}upload-pack: not our ref 0"]]),
            expect![
                "FailureKind::RevisionUnavailable: the server does not give the commit 0000000000000000000000000000000000000000: it is not there any more, or no branch or tag points at it and the server gives only what one points at"
            ],
        );
        check(
            &lines(&[&["ERR out of \u{1b}[1mcoffee"]]),
            expect!["FailureKind::JobFailed: the server refuses: out of  [1mcoffee"],
        );
        check(&lines(&[&["x"; 2_000]]), expect!["FailureKind::JobFailed: the server answered without a pack"]);
        check(
            b"",
            expect!["FailureKind::SystemUnavailable: the server's response broke off: failed to fill whole buffer"],
        );
    }

    #[test]
    fn trees() {
        let id = "0123456789abcdef0123456789abcdef01234567";
        assert_eq!(tree(format!("tree {id}\nparent x\n\ntree y").as_bytes()).unwrap().to_string(), id);
        assert!(tree(b"tree 0123\n").is_err());
        assert!(tree(b"").is_err());
    }
}
