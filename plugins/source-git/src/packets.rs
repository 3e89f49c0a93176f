//! Packet lines (gitprotocol-common(5)): the frames of all that is said with a git server.
//!
//! Must not know what they say.

use std::io::{BufReader, Read};

use gix_packetline::blocking_io::StreamingPeekableIter;
use gix_packetline::blocking_io::encode::{delim_to_write, flush_to_write, text_to_write};
use gix_packetline::{PacketLineRef, read::ProgressAction};
use pipewright_sdk::{Failure, Result};

/// As much as the host hands over at once.
const BUFFER_BYTES: usize = 64 * 1024;
/// Stops a server that tells of its progress for ever; a server that is asked for none says a few lines.
const PROGRESS_BYTES_MAX: usize = 1 << 20;
/// A server's own words are quoted up to here: they are for the log, and it may send anything.
const QUOTED_CHARS_MAX: usize = 300;

/// A request of protocol 2: the command, and its arguments.
pub(crate) fn command(name: &str, arguments: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    line(&format!("command={name}"), &mut body);
    // Writing to memory does not fail.
    let _ = delim_to_write(&mut body);
    body.extend(section(arguments));
    body
}

/// Lines, and the end of a section.
pub(crate) fn section(lines: &[&str]) -> Vec<u8> {
    let mut body = Vec::new();
    for text in lines {
        line(text, &mut body);
    }
    let _ = flush_to_write(&mut body);
    body
}

/// None of ours is near the limit of 64 KiB.
pub(crate) fn line(text: &str, body: &mut Vec<u8>) {
    let _ = text_to_write(text.as_bytes(), body);
}

/// The lines of a response.
pub(crate) struct Lines<R: Read>(StreamingPeekableIter<BufReader<R>>);

impl<R: Read> Lines<R> {
    pub(crate) fn new(response: R) -> Self {
        let ends = &[PacketLineRef::Flush, PacketLineRef::Delimiter];
        Self(StreamingPeekableIter::new(BufReader::with_capacity(BUFFER_BYTES, response), ends, false))
    }

    /// The next line without its line feed; none at the end of a section.
    ///
    /// # Errors
    /// What the server says in place of a response: see [`refused`].
    pub(crate) fn next(&mut self) -> Result<Option<&[u8]>> {
        match self.0.read_line() {
            None => Ok(None),
            Some(Ok(Ok(line))) => match line.check_error() {
                Some(error) => Err(refused(error.0)),
                None => Ok(line.as_text().map(|text| text.0)),
            },
            Some(Ok(Err(_))) => Err(Failure::job("the server sent a malformed packet line")),
            Some(Err(error)) => Err(broken(error)),
        }
    }

    /// Goes on with the section that follows.
    pub(crate) fn next_section(&mut self) {
        self.0.reset();
    }

    /// Hands the bytes of the first sideband to `read`.
    pub(crate) fn unpack<T>(mut self, read: impl FnOnce(&mut dyn std::io::BufRead) -> Result<T>) -> Result<T> {
        let (mut progress_bytes, mut error) = (0, None);
        let mut bytes = self.0.as_read_with_sidebands(|is_error: bool, text: &[u8]| {
            progress_bytes += text.len();
            if is_error {
                error = Some(refused(text));
            } else if progress_bytes > PROGRESS_BYTES_MAX {
                let text = format!("the server tells of its progress in more than {PROGRESS_BYTES_MAX} bytes");
                error = Some(Failure::job(text));
            } else {
                return ProgressAction::Continue(());
            }
            ProgressAction::Break(())
        });
        let result = read(&mut bytes);
        drop(bytes);
        match error {
            Some(failure) => Err(failure),
            None => result,
        }
    }
}

/// The server said no.
fn refused(text: &[u8]) -> Failure {
    Failure::job(format!("the server refuses: {}", quoted(text)))
}

/// A server's text, fit for a log.
fn quoted(text: &[u8]) -> String {
    let text: String = String::from_utf8_lossy(text).chars().take(QUOTED_CHARS_MAX).collect();
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn broken(error: std::io::Error) -> Failure {
    Failure::system_unavailable(format!("the server's response broke off: {error}"))
}

/// Sections as a server sends them.
#[cfg(test)]
pub(crate) fn lines(sections: &[&[&str]]) -> Vec<u8> {
    sections.iter().flat_map(|lines| section(lines)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    #[test]
    fn commands() {
        expect![[r#"0014command=ls-refs\n00010009peel\n0000"#]]
            .assert_eq(&String::from_utf8(command("ls-refs", &["peel"])).unwrap().replace('\n', "\\n"));
    }

    #[test]
    fn lines() {
        let check = |response: &[u8], expected: Expect| {
            let mut lines = Lines::new(response);
            let mut said = String::new();
            loop {
                match lines.next() {
                    Ok(Some(line)) => said += &format!("{}, ", String::from_utf8_lossy(line)),
                    Ok(None) => break,
                    Err(failure) => {
                        said += &format!("{:?}: {}", failure.kind, failure.message);
                        break;
                    }
                }
            }
            expected.assert_eq(&said);
        };
        check(b"0006a\n0005b0000", expect!["a, b, "]);
        check(b"0006a\n00010005c", expect!["a, "]);
        check(
            b"0006a\n",
            expect!["a, FailureKind::SystemUnavailable: the server's response broke off: failed to fill whole buffer"],
        );
        check(b"000cERR no\n\x1b", expect!["FailureKind::JobFailed: the server refuses: no  "]);
        check(b"0004", expect!["FailureKind::JobFailed: the server sent a malformed packet line"]);
        check(b"ffff", expect!["FailureKind::JobFailed: the server sent a malformed packet line"]);
        check(b"zzzz", expect!["FailureKind::JobFailed: the server sent a malformed packet line"]);
        check(
            b"00",
            expect!["FailureKind::SystemUnavailable: the server's response broke off: failed to fill whole buffer"],
        );
        check(
            b"",
            expect!["FailureKind::SystemUnavailable: the server's response broke off: failed to fill whole buffer"],
        );
    }

    #[test]
    fn sidebands() {
        let check = |response: &[u8], expected: Expect| {
            let unpacked = Lines::new(response).unpack(|bytes| {
                let mut all = Vec::new();
                bytes.read_to_end(&mut all)?;
                Ok(all)
            });
            expected.assert_eq(&match unpacked {
                Ok(bytes) => format!("{:?}", String::from_utf8_lossy(&bytes)),
                Err(failure) => format!("{:?}: {}", failure.kind, failure.message),
            });
        };
        check(b"0007\x01ab0005\x010007\x02..0006\x01c0000", expect![[r#""abc""#]]);
        check(b"0007\x01ab000c\x03too bad", expect!["FailureKind::JobFailed: the server refuses: too bad"]);
        check(
            b"0007\x09ab0000",
            expect!["FailureKind::JobFailed: attempt to decode a non-side channel line or input was malformed: 9"],
        );
        let endless = [b"fff0\x02".as_slice(), &[b'.'; 65_515]].concat().repeat(20);
        check(&endless, expect!["FailureKind::JobFailed: the server tells of its progress in more than 1048576 bytes"]);
    }
}
