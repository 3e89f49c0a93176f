//! A body as AWS's SDKs cut it (`aws-chunked`): chunks with their sizes, perhaps signed, and trailers behind them (Amazon S3 API
//! Reference, "Transferring Payload in Multiple Chunks").
//!
//! Owns the form. Must not know what becomes of the content.

use pipewright_aws::auth::ChunkSigner;
use sha2::{Digest as _, Sha256};

use super::error::S3Error;

/// A line between two chunks, or a trailer. Stops a body that is all head.
const LINE_BYTES_MAX: usize = 4096;
const TRAILERS_MAX: usize = 20;

pub struct Chunks {
    signer: Option<ChunkSigner>,
    state: State,
    line: Vec<u8>,
    /// Of the chunk that comes in.
    signature: String,
    digest: Sha256,
    /// Names in lower case.
    pub trailers: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    /// So many bytes of a chunk are still to come.
    Data(u64),
    /// The end of a line behind a chunk.
    Behind,
    Trailers,
    End,
}

fn malformed(what: &str) -> S3Error {
    S3Error::bad("IncompleteBody", format!("The body is not in chunks as its headers say: {what}"))
}

fn mismatch() -> S3Error {
    S3Error::denied("SignatureDoesNotMatch", "A chunk of the body is not what was signed")
}

impl Chunks {
    pub fn new(signer: Option<ChunkSigner>) -> Self {
        let (line, signature, trailers) = (Vec::new(), String::new(), Vec::new());
        Self { signer, state: State::Head, line, signature, digest: Sha256::new(), trailers }
    }

    /// Takes some bytes of the body, and gives on what of them is content.
    pub fn feed(
        &mut self,
        mut bytes: &[u8],
        mut content: impl FnMut(&[u8]) -> Result<(), S3Error>,
    ) -> Result<(), S3Error> {
        while !bytes.is_empty() {
            if let State::Data(left) = self.state {
                let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len());
                let (data, rest) = bytes.split_at(count);
                if self.signer.is_some() {
                    self.digest.update(data);
                }
                content(data)?;
                bytes = rest;
                self.state = State::Data(left - count as u64);
                if left == count as u64 {
                    self.check()?;
                    self.state = State::Behind;
                }
                continue;
            }
            let end = bytes.iter().position(|byte| *byte == b'\n');
            let (part, rest) = bytes.split_at(end.map_or(bytes.len(), |end| end + 1));
            self.line.extend_from_slice(part);
            bytes = rest;
            if self.line.len() > LINE_BYTES_MAX {
                return Err(malformed("a line is too long"));
            }
            if end.is_some() {
                let line = std::mem::take(&mut self.line);
                let line = std::str::from_utf8(&line).ok().and_then(|line| line.strip_suffix("\r\n"));
                self.take(line.ok_or_else(|| malformed("a line has another end than CR and LF"))?)?;
            }
        }
        Ok(())
    }

    fn take(&mut self, line: &str) -> Result<(), S3Error> {
        self.state = match self.state {
            State::Head => {
                let (size, extension) = line.split_once(';').unwrap_or((line, ""));
                self.signature = extension.trim().strip_prefix("chunk-signature=").unwrap_or_default().to_owned();
                match u64::from_str_radix(size.trim(), 16).map_err(|_| malformed("a chunk's size is no number"))? {
                    0 => {
                        self.check()?;
                        State::Trailers
                    }
                    size => State::Data(size),
                }
            }
            State::Behind if line.is_empty() => State::Head,
            State::Behind => return Err(malformed("a chunk is longer than it says")),
            State::Trailers if line.is_empty() => State::End,
            State::Trailers => {
                let (name, value) = line.split_once(':').ok_or_else(|| malformed("a trailer has no value"))?;
                if self.trailers.len() == TRAILERS_MAX {
                    return Err(malformed("there are too many trailers"));
                }
                self.trailers.push((name.trim().to_lowercase(), value.trim().to_owned()));
                State::Trailers
            }
            State::End if line.is_empty() => State::End,
            State::End | State::Data(_) => return Err(malformed("something follows its end")),
        };
        Ok(())
    }

    /// A chunk is whole.
    fn check(&mut self) -> Result<(), S3Error> {
        let Some(signer) = &mut self.signer else { return Ok(()) };
        let digest = std::mem::take(&mut self.digest).finalize().into();
        if signer.is_chunk(&self.signature, &digest) { Ok(()) } else { Err(mismatch()) }
    }

    /// Nothing more comes. Where there are signed chunks and trailers, those are signed as well.
    pub fn end(&mut self, has_trailer: bool) -> Result<(), S3Error> {
        if !matches!(self.state, State::End | State::Trailers) {
            return Err(malformed("it ends in the middle"));
        }
        let Some(signer) = self.signer.as_mut().filter(|_| has_trailer) else { return Ok(()) };
        let signature = self.trailers.iter().find(|(name, _)| name == "x-amz-trailer-signature");
        let signature = signature.map(|(_, value)| value.clone()).unwrap_or_default();
        let signed = self.trailers.iter().filter(|(name, _)| name != "x-amz-trailer-signature");
        let text: String = signed.map(|(name, value)| format!("{name}:{value}\n")).collect();
        if signer.is_trailer(&signature, &text) { Ok(()) } else { Err(mismatch()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, and the trailers.
    type Read<'a> = (&'a str, &'a [(&'a str, &'a str)]);

    /// However the bytes come in.
    fn read(body: &str, piece: usize) -> Result<(String, Vec<(String, String)>), String> {
        let (mut chunks, mut content) = (Chunks::new(None), Vec::new());
        let fed = body.as_bytes().chunks(piece).try_for_each(|bytes| {
            chunks.feed(bytes, |data| {
                content.extend_from_slice(data);
                Ok(())
            })
        });
        fed.and_then(|()| chunks.end(true)).map_err(|error| error.code.to_owned())?;
        Ok((String::from_utf8(content).unwrap(), chunks.trailers))
    }

    #[test]
    fn a_body_in_chunks_is_its_content_and_its_trailers() {
        let check = |body: &str, expected: Result<Read<'_>, &str>| {
            for piece in [1, 2, 3, 7, 1000] {
                let found = read(body, piece);
                let expected = expected.map(|(content, trailers)| {
                    let trailers = trailers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                    (content.to_owned(), trailers.collect::<Vec<_>>())
                });
                assert_eq!(found, expected.map_err(str::to_owned), "{body:?} in pieces of {piece}");
            }
        };
        check("0\r\n\r\n", Ok(("", &[])));
        check("5\r\nhello\r\nA\r\n, world!!!\r\n0\r\n\r\n", Ok(("hello, world!!!", &[])));
        let crc = ("x-amz-checksum-crc32", "AAAAAA==");
        check("2\r\n\r\n\r\n0\r\nX-Amz-Checksum-Crc32: AAAAAA==\r\n\r\n", Ok(("\r\n", &[crc])));
        check("3;chunk-signature=abc\r\nabc\r\n0;chunk-signature=d\r\n\r\n", Ok(("abc", &[])));
        for broken in
            ["", "5\r\nhello", "5\r\nhello!\r\n0\r\n\r\n", "x\r\n", "5\nhello\r\n", "0\r\nno value\r\n\r\n", "hello"]
        {
            check(broken, Err("IncompleteBody"));
        }
    }
}
