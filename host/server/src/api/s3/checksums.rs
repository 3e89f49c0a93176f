//! The checksums by which a client says what it sent: in a header or a trailer, of one of S3's kinds.
//!
//! Owns how each is computed and written. Must not know where one stands.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

/// How a header or trailer with a checksum begins.
pub const PREFIX: &str = "x-amz-checksum-";

/// One that is computed while the content comes in.
pub enum Checksum {
    Crc { name: &'static str, bytes: usize, table: Box<[u64; 256]>, state: u64 },
    Sha256(Sha256),
}

/// The cyclic ones: the name, the bytes of a sum, and the polynomial, bits reversed (CRC-32 and CRC-32C as in RFC 3720, appendix B.4;
/// CRC-64/NVME as in the NVM Express specification).
const CYCLIC: &[(&str, usize, u64)] =
    &[("crc32", 4, 0xEDB8_8320), ("crc32c", 4, 0x82F6_3B78), ("crc64nvme", 8, 0x9A6C_9329_AC4B_C9B5)];

impl Checksum {
    /// By the end of its header's name; none for a kind that is not known.
    pub fn of(kind: &str) -> Option<Self> {
        if kind == "sha256" {
            return Some(Self::Sha256(Sha256::new()));
        }
        let (name, bytes, polynomial) = CYCLIC.iter().copied().find(|(name, ..)| *name == kind)?;
        let step = |sum: u64, _| if sum & 1 == 1 { (sum >> 1) ^ polynomial } else { sum >> 1 };
        let table = Box::new(std::array::from_fn(|byte| (0..8).fold(byte as u64, step)));
        Some(Self::Crc { name, bytes, table, state: u64::MAX >> (64 - 8 * bytes) })
    }

    pub fn update(&mut self, content: &[u8]) {
        match self {
            Self::Sha256(sha256) => sha256.update(content),
            Self::Crc { table, state, .. } => {
                *state = content
                    .iter()
                    .fold(*state, |sum, byte| table[((sum ^ u64::from(*byte)) & 0xff) as usize] ^ (sum >> 8));
            }
        }
    }

    /// As a header has it.
    pub fn finish(self) -> (&'static str, String) {
        match self {
            Self::Sha256(sha256) => ("sha256", BASE64_STANDARD.encode(sha256.finalize())),
            Self::Crc { name, bytes, state, .. } => {
                let sum = state ^ (u64::MAX >> (64 - 8 * bytes));
                (name, BASE64_STANDARD.encode(&sum.to_be_bytes()[8 - bytes..]))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_gives_its_check_value() {
        // Of "123456789", as the catalogues of these algorithms have it.
        let check = |kind: &str, bytes: &[u8]| {
            let mut checksum = Checksum::of(kind).unwrap();
            checksum.update(b"1234");
            checksum.update(b"56789");
            assert_eq!(checksum.finish(), (kind, BASE64_STANDARD.encode(bytes)));
        };
        check("crc32", &0xCBF4_3926_u32.to_be_bytes());
        check("crc32c", &0xE306_9283_u32.to_be_bytes());
        check("crc64nvme", &0xAE8B_1486_0A79_9888_u64.to_be_bytes());
        check("sha256", &Sha256::digest("123456789"));
        assert!(Checksum::of("md4").is_none());
    }
}
