//! Who sends a request: access keys, the signatures they make, and the files that people keep them in.
//!
//! Owns AWS Signature Version 4 for both sides, and AWS's shared files. Must not know servers, operations or pipelines:
//! `api` maps an error to an answer, and decides what a user may do.

pub mod profile;
mod sigv4;

pub use sigv4::s3::{ChunkSigner, Payload, S3, is_for_s3, verify_for_s3};
pub use sigv4::{AuthError, OTHER_REGION, Scope, Verified, claimed_key, sign, verify};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Text that nothing may show: `Debug` says only that it is there.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text, for the one who signs with it or writes it down.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A long-term access key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKey {
    pub id: String,
    pub secret: Secret,
    /// Whose it is; empty where it was read from a credentials file, which names no users.
    pub user: String,
}

/// What AWS's own long-term keys begin with: tools tell them from temporary ones by it.
const ID_PREFIX: &str = "AKIA";
const ID_RANDOM_CHARACTERS: usize = 16;
/// 30 bytes are 40 characters of base64, the length of AWS's own secrets.
const SECRET_BYTES: usize = 30;

impl AccessKey {
    /// A new key for `user`, in the form of AWS's own: `AKIA` and 16 of A–Z and 2–7, and a secret of 40 characters.
    ///
    /// # Errors
    /// The operating system has no randomness to give.
    pub fn generate(user: &str) -> Result<Self, getrandom::Error> {
        const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
        let mut random = [0; ID_RANDOM_CHARACTERS];
        getrandom::fill(&mut random)?;
        let mut secret = [0; SECRET_BYTES];
        getrandom::fill(&mut secret)?;
        let characters = random.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)]));
        Ok(Self {
            id: ID_PREFIX.chars().chain(characters).collect(),
            secret: Secret(STANDARD.encode(secret)),
            user: user.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_key_looks_like_aws_s() {
        let key = AccessKey::generate("administrator").unwrap();
        assert_eq!(key.id.len(), 20);
        assert!(key.id.starts_with("AKIA"));
        assert!(key.id.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b)), "{}", key.id);
        assert_eq!(key.secret.expose().len(), 40);
        assert_ne!(key, AccessKey::generate("administrator").unwrap());
    }

    #[test]
    fn a_secret_is_never_shown() {
        let key = AccessKey::generate("administrator").unwrap();
        assert!(!format!("{key:?} {key:#?}").contains(key.secret.expose()));
    }
}
