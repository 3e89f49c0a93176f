//! Long contents that pass by while they are kept: how much of one fits, and whether it may be kept.
//!
//! Owns what a recording says of one. Its bytes are a blob.

use std::borrow::Cow;
use std::io::Read as _;

use flate2::read::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::recorder::Recorder;
use crate::masks::Masks;
use pipewright_base::Digest;

/// A compressed body is looked into up to this size; what is larger is left out. Stops a bomb.
const DECODED_BYTES_MAX: u64 = 64 << 20;

/// A body; its bytes are a blob.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Body {
    /// How many there were.
    pub bytes: u64,
    /// Of what is kept; of what there was, where it is left out.
    pub sha256: Digest,
    /// A secret's value in it was replaced.
    #[serde(default, skip_serializing_if = "is_false")]
    pub masked: bool,
    #[serde(default, skip_serializing_if = "is_false")]
    pub left_out: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(flag: &bool) -> bool {
    !flag
}

/// A body as it passes by.
pub(crate) struct Reel {
    pub(super) bytes: u64,
    pub(super) hasher: Sha256,
    /// None once it does not fit.
    pub(super) kept: Option<Vec<u8>>,
}

impl Default for Reel {
    fn default() -> Self {
        Self { bytes: 0, hasher: Sha256::new(), kept: Some(Vec::new()) }
    }
}

impl Reel {
    pub(crate) fn pass(&mut self, data: &[u8], recorder: &Recorder) {
        self.bytes += data.len() as u64;
        self.hasher.update(data);
        if let Some(kept) = &mut self.kept {
            if recorder.take(data.len() as u64) {
                kept.extend_from_slice(data);
            } else {
                recorder.give_back(kept.len() as u64);
                self.kept = None;
            }
        }
    }
}

/// Whether a compressed body may be kept: what is in it cannot be masked.
pub(super) fn may_be_kept(body: &[u8], encoding: &str, masks: &Masks) -> Result<(), &'static str> {
    if masks.is_empty() || body.is_empty() {
        return Ok(());
    }
    let encoding = encoding.trim().to_ascii_lowercase();
    let decoded = match encoding.as_str() {
        "gzip" | "x-gzip" => decoded(MultiGzDecoder::new(body)),
        _ if body.starts_with(b"\x1f\x8b") => decoded(MultiGzDecoder::new(body)),
        // In practice with or without zlib's header.
        "deflate" => decoded(ZlibDecoder::new(body)).or_else(|| decoded(DeflateDecoder::new(body))),
        "" | "identity" => return Ok(()),
        _ => return Err("it is compressed in a way in which no secrets can be looked for"),
    };
    match decoded.as_deref().map(|decoded| masks.bytes(decoded)) {
        Some(Cow::Borrowed(_)) => Ok(()),
        Some(Cow::Owned(_)) => Err("it has a secret's value, compressed"),
        None => Err("no secrets can be looked for in it, compressed as it is"),
    }
}

fn decoded(decoder: impl std::io::Read) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    decoder.take(DECODED_BYTES_MAX + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= DECODED_BYTES_MAX).then_some(bytes)
}
