//! The body of an upload, from the connection to the disk: cut out of its chunks, checked against all that was said of it, and only
//! then kept.
//!
//! Must not know what is uploaded.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http_body_util::{BodyExt as _, Limited};
use pipewright_aws::auth::Payload;
use pipewright_runner::work::Work;
use sha2::{Digest as _, Sha256};

use super::checksums::{Checksum, PREFIX};
use super::chunks::Chunks;
use super::error::S3Error;
use crate::service::job_artifacts::Upload;

/// How long nothing may come of a body. Stops a client that sends a byte a minute from holding a connection.
const FRAME_TIME_MAX: Duration = Duration::from_secs(30);
/// How much is written at once.
const PIECE_BYTES: usize = 256 * 1024;
/// A list of 10,000 parts has less.
const DOCUMENT_BYTES_MAX: usize = 2 * 1024 * 1024;

const DECODED_LENGTH: &str = "x-amz-decoded-content-length";

/// An object's ETag, and the checksum by which it was checked.
pub type Kept = (String, Option<(&'static str, String)>);

pub struct Incoming {
    upload: Upload,
    chunks: Option<Chunks>,
    has_trailer: bool,
    /// Of the body, where it was signed whole.
    sha256: Option<([u8; 32], Sha256)>,
    checksum: Option<Checksum>,
    /// What a header says that it is; else a trailer does.
    expected: Option<String>,
    md5: Option<String>,
    bytes: u64,
    /// How many there are to be.
    length: Option<u64>,
}

impl Incoming {
    pub fn new(upload: Upload, headers: &HeaderMap, payload: Payload) -> Result<Self, S3Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let given = headers.iter().find_map(|(name, value)| {
            let kind = name.as_str().strip_prefix(PREFIX).filter(|kind| !["type", "algorithm"].contains(kind))?;
            Some((kind, Some(value.to_str().ok()?.to_owned())))
        });
        let announced = || Some((text("x-amz-trailer")?.strip_prefix(PREFIX)?, None));
        let (checksum, expected) = match given.or_else(announced) {
            None => (None, None),
            Some((kind, expected)) => {
                let unknown =
                    || S3Error::bad("InvalidRequest", format!("There are no checksums of the kind {kind:?} here"));
                (Some(Checksum::of(kind).ok_or_else(unknown)?), expected)
            }
        };
        let (chunks, has_trailer, sha256) = match payload {
            Payload::Whole(sha256) => (None, false, Some((sha256, Sha256::new()))),
            Payload::Unsigned => (None, false, None),
            Payload::Chunks { signer, has_trailer } => (Some(Chunks::new(signer)), has_trailer, None),
        };
        let length = text(if chunks.is_some() { DECODED_LENGTH } else { "content-length" });
        let length = length.and_then(|length| length.parse().ok());
        let md5 = text("content-md5").map(str::to_owned);
        Ok(Self { upload, chunks, has_trailer, sha256, checksum, expected, md5, bytes: 0, length })
    }

    /// Takes all of a body in, which is checked and kept by `keep`.
    pub async fn take(mut self, work: &Work, mut body: Body) -> Result<Self, S3Error> {
        let mut piece = Vec::new();
        loop {
            let frame = tokio::time::timeout(FRAME_TIME_MAX, body.frame()).await;
            let slow = |_| S3Error::bad("RequestTimeout", "The body did not arrive in time");
            let frame = frame.map_err(slow)?.transpose();
            let broken = |error| S3Error::bad("IncompleteBody", format!("The body cannot be read: {error}"));
            let data = frame.map_err(broken)?.map(|frame| frame.into_data().unwrap_or_default());
            let is_last = data.is_none();
            piece.extend_from_slice(&data.unwrap_or_default());
            if piece.len() >= PIECE_BYTES || is_last && !piece.is_empty() {
                let bytes = std::mem::take(&mut piece);
                self = work.blocking(move || self.feed(&bytes).map(|()| self)).await?;
            }
            if is_last {
                return Ok(self);
            }
        }
    }

    /// Gives the object's ETag, and the checksum by which it was checked.
    pub async fn keep(self, work: &Work) -> Result<Kept, S3Error> {
        work.blocking(move || self.end()).await
    }

    fn feed(&mut self, bytes: &[u8]) -> Result<(), S3Error> {
        let Self { upload, chunks, sha256, checksum, bytes: count, .. } = self;
        let mut content = |data: &[u8]| {
            *count += data.len() as u64;
            if let Some((_, sha256)) = sha256 {
                sha256.update(data);
            }
            if let Some(checksum) = checksum {
                checksum.update(data);
            }
            Ok(upload.write(data)?)
        };
        match chunks {
            None => content(bytes),
            Some(chunks) => chunks.feed(bytes, content),
        }
    }

    fn end(mut self) -> Result<Kept, S3Error> {
        if let Some(chunks) = &mut self.chunks {
            chunks.end(self.has_trailer)?;
        }
        if self.length.is_some_and(|length| length != self.bytes) {
            return Err(S3Error::bad("IncompleteBody", "The body is not as long as its headers say"));
        }
        if self.sha256.is_some_and(|(expected, sha256)| expected[..] != sha256.finalize()[..]) {
            let message = "The SHA-256 of the body is not that of 'x-amz-content-sha256'";
            return Err(S3Error::bad("XAmzContentSHA256Mismatch", message));
        }
        let bad_digest =
            |kind: &str| S3Error::bad("BadDigest", format!("The {kind} of the body is not the one that was given"));
        if self.md5.is_some_and(|md5| md5 != BASE64_STANDARD.encode(self.upload.md5())) {
            return Err(bad_digest("Content-MD5"));
        }
        let checksum = self.checksum.map(Checksum::finish);
        if let Some((kind, sum)) = &checksum {
            let trailers = self.chunks.as_ref().map(|chunks| &chunks.trailers[..]).unwrap_or_default();
            let trailer = trailers.iter().find(|(name, _)| name.strip_prefix(PREFIX) == Some(*kind));
            let expected = self.expected.as_ref().or(trailer.map(|(_, sum)| sum));
            if expected != Some(sum) {
                return Err(bad_digest(kind));
            }
        }
        Ok((self.upload.finish()?, checksum))
    }
}

/// A small body, whole.
pub async fn document(body: Body, payload: Payload) -> Result<String, S3Error> {
    let read = tokio::time::timeout(FRAME_TIME_MAX, Limited::new(body, DOCUMENT_BYTES_MAX).collect()).await;
    let unread = || S3Error::bad("MalformedXML", "The body cannot be read");
    let bytes: Bytes = read.map_err(|_| unread())?.map_err(|_| unread())?.to_bytes();
    match payload {
        Payload::Whole(expected) if expected[..] != Sha256::digest(&bytes)[..] => {
            let message = "The SHA-256 of the body is not that of 'x-amz-content-sha256'";
            Err(S3Error::bad("XAmzContentSHA256Mismatch", message))
        }
        Payload::Chunks { .. } => Err(S3Error::not_implemented()),
        Payload::Whole(_) | Payload::Unsigned => String::from_utf8(bytes.into()).map_err(|_| unread()),
    }
}
