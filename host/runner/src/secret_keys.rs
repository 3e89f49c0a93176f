//! The keys that stored secrets, and keys of the host's own, are sealed with, and the sealing.
//!
//! Owns the file of keys: a line of 64 hexadecimal digits for each, the one that seals first. It is read for each use, so that a
//! key that was put into it counts at once, and none stays in memory. Must not know what is sealed, nor where it is kept.
//!
//! Sealed is with ChaCha20-Poly1305 (RFC 8439) and a random nonce of 96 bits. What is sealed is bound to its place: nothing
//! that is moved to another name, version or account is opened.

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipewright_base::{Digest, hex, home};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};

const KEY_BYTES: usize = 32;
/// What names a key beside what it sealed: of the digest of the key.
const ID_DIGITS: usize = 16;
/// Two are there while one takes the other's place. Stops a file that is something else.
const KEYS_MAX: usize = 8;
const FILE_BYTES_MAX: u64 = 4096;

/// Where the keys are.
#[derive(Clone, Debug)]
pub struct SecretKeys {
    file: PathBuf,
    /// Whether the host makes and changes the file.
    is_own: bool,
}

/// The keys, the one that seals first.
pub struct KeyRing {
    keys: Vec<[u8; KEY_BYTES]>,
    /// Where they are from.
    file: PathBuf,
}

/// What was sealed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sealed {
    key: String,
    nonce: String,
    text: String,
}

/// In words for those who run the host: they have the file.
#[derive(Debug, thiserror::Error)]
#[error("the keys of stored secrets: {0}")]
pub struct KeyError(String);

impl KeyError {
    /// What looked at the file is gone.
    pub(crate) fn lost(error: &tokio::task::JoinError) -> Self {
        Self(error.to_string())
    }
}

impl SecretKeys {
    /// Those of the host's own file, which is made when the first secret is kept.
    pub fn own(file: PathBuf) -> Self {
        Self { file, is_own: true }
    }

    /// Those of a file that somebody else keeps.
    pub fn given(file: PathBuf) -> Self {
        Self { file, is_own: false }
    }

    pub fn is_own(&self) -> bool {
        self.is_own
    }

    /// Blocks.
    pub fn read(&self) -> Result<KeyRing, KeyError> {
        match fs::File::open(&self.file) {
            Err(error) if error.kind() == ErrorKind::NotFound && self.is_own => Ok(self.ring(Vec::new())),
            Err(error) => Err(self.wrong(error)),
            Ok(file) => {
                let metadata = file.metadata().map_err(|error| self.wrong(error))?;
                if metadata.permissions().mode() & 0o077 != 0 {
                    return Err(self.wrong("others can read it; run chmod 600 on it"));
                }
                let mut text = String::new();
                file.take(FILE_BYTES_MAX).read_to_string(&mut text).map_err(|error| self.wrong(error))?;
                let keys = text.lines().map(hex::decode_array).collect::<Option<Vec<_>>>();
                let keys = keys.filter(|keys| (1..=KEYS_MAX).contains(&keys.len()));
                let form = || self.wrong("write a line of 64 hexadecimal digits (0-9, a-f) for each key, at most 8");
                keys.map(|keys| self.ring(keys)).ok_or_else(form)
            }
        }
    }

    /// The keys with which something can be sealed: the host's own first one is made where there is none. Blocks.
    pub fn for_sealing(&self) -> Result<KeyRing, KeyError> {
        let ring = self.read()?;
        if ring.keys.is_empty() { self.with_new(&ring) } else { Ok(ring) }
    }

    /// Puts a new key before those that are there; durable when it returns. Blocks.
    pub fn with_new(&self, ring: &KeyRing) -> Result<KeyRing, KeyError> {
        if ring.keys.len() == KEYS_MAX {
            return Err(self.wrong(format_args!("there are {KEYS_MAX} already")));
        }
        let mut key = [0; KEY_BYTES];
        getrandom::fill(&mut key).map_err(|error| self.wrong(error))?;
        let keys = [&[key], &ring.keys[..]].concat();
        self.write(&keys)?;
        Ok(self.ring(keys))
    }

    /// Leaves none but the one that seals. Blocks.
    pub fn forget_others(&self, ring: &KeyRing) -> Result<(), KeyError> {
        self.write(&ring.keys[..1])
    }

    fn write(&self, keys: &[[u8; KEY_BYTES]]) -> Result<(), KeyError> {
        let text: String = keys.iter().map(|key| hex::encode(key) + "\n").collect();
        home::write_private(&self.file, text.as_bytes())
            .and_then(|()| home::sync(&self.file))
            .map_err(|error| self.wrong(error))
    }

    fn ring(&self, keys: Vec<[u8; KEY_BYTES]>) -> KeyRing {
        KeyRing { keys, file: self.file.clone() }
    }

    fn wrong(&self, what: impl std::fmt::Display) -> KeyError {
        KeyError(format!("{}: {what}", self.file.display()))
    }

    pub fn file(&self) -> &Path {
        &self.file
    }
}

impl KeyRing {
    /// The name of the key that seals.
    pub fn id(&self) -> Option<String> {
        self.keys.first().map(id)
    }

    pub fn seal(&self, place: &str, value: &[u8]) -> Result<Sealed, KeyError> {
        let key = self.keys.first().ok_or_else(|| KeyError("there is none".to_owned()))?;
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|error| KeyError(error.to_string()))?;
        let mut text = value.to_vec();
        let sealed =
            cipher(key)?.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text);
        sealed.map_err(|_| KeyError("the value is too long to be sealed".to_owned()))?;
        Ok(Sealed { key: id(key), nonce: STANDARD.encode(nonce), text: STANDARD.encode(text) })
    }

    pub fn open(&self, place: &str, sealed: &Sealed) -> Result<Vec<u8>, KeyError> {
        let key = self.keys.iter().find(|key| id(key) == sealed.key).ok_or_else(|| {
            let (id, file) = (&sealed.key, self.file.display());
            KeyError(format!(
                "the key {id} is not among them, with which {place} was sealed: put it back, as a line of {file}"
            ))
        })?;
        let damaged = || KeyError(format!("what is kept of {place} is damaged"));
        let nonce: [u8; NONCE_LEN] =
            STANDARD.decode(&sealed.nonce).ok().and_then(|nonce| nonce.try_into().ok()).ok_or_else(damaged)?;
        let mut text = STANDARD.decode(&sealed.text).map_err(|_| damaged())?;
        let opened = cipher(key)?.open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(place), &mut text);
        let opened = opened.map_err(|_| damaged())?;
        Ok(opened.to_vec())
    }
}

fn cipher(key: &[u8; KEY_BYTES]) -> Result<LessSafeKey, KeyError> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| KeyError("a key cannot be used".to_owned()))?;
    Ok(LessSafeKey::new(key))
}

fn id(key: &[u8; KEY_BYTES]) -> String {
    // Not of the key alone: nobody else's digest of it is of use with this.
    let digest = Digest::of(&[&b"pipewright secret key "[..], key].concat()).to_string();
    digest[..ID_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> (tempfile::TempDir, SecretKeys) {
        let folder = tempfile::tempdir().unwrap();
        let keys = SecretKeys::own(folder.path().join("secret-keys"));
        (folder, keys)
    }

    #[test]
    fn what_is_sealed_is_opened_in_its_place_alone() {
        let (_folder, keys) = own();
        let ring = keys.for_sealing().unwrap();
        assert_eq!(fs::metadata(keys.file()).unwrap().permissions().mode() & 0o777, 0o600);
        let sealed = ring.seal("000000000007 db 1", b"correct horse").unwrap();
        assert_eq!(keys.read().unwrap().open("000000000007 db 1", &sealed).unwrap(), b"correct horse");
        assert_ne!(sealed, ring.seal("000000000007 db 1", b"correct horse").unwrap(), "nonces are not used twice");
        for other in ["000000000008 db 1", "000000000007 dc 1", "000000000007 db 2"] {
            assert!(ring.open(other, &sealed).unwrap_err().to_string().contains("is damaged"), "{other}");
        }
        let changed = Sealed { text: STANDARD.encode("x".repeat(29)), ..sealed.clone() };
        assert!(ring.open("000000000007 db 1", &changed).is_err());
        assert!(!serde_json::to_string(&sealed).unwrap().contains("correct"));
    }

    #[test]
    fn a_new_key_takes_the_place_of_the_old_one_in_two_steps() {
        let (_folder, keys) = own();
        let old = keys.for_sealing().unwrap();
        let sealed = old.seal("a", b"value").unwrap();
        let both = keys.with_new(&old).unwrap();
        assert_eq!(keys.read().unwrap().open("a", &sealed).unwrap(), b"value");
        assert_ne!(both.id(), old.id());
        keys.forget_others(&both).unwrap();
        let only = keys.read().unwrap();
        assert_eq!(only.id(), both.id());
        let error = only.open("a", &sealed).unwrap_err().to_string();
        assert!(error.contains(&format!("the key {} is not among them", old.id().unwrap())), "{error}");
    }

    #[test]
    fn a_file_that_is_none_is_told() {
        let (folder, keys) = own();
        let given = SecretKeys::given(folder.path().join("given"));
        assert!(given.read().is_err_and(|error| error.to_string().contains("given: No such file")));
        let check = |text: &str, mode: u32, wanted: &str| {
            fs::write(keys.file(), text).unwrap();
            fs::set_permissions(keys.file(), fs::Permissions::from_mode(mode)).unwrap();
            let error = keys.read().map(|_| ()).unwrap_err().to_string();
            assert!(error.contains(wanted) && !error.contains("abcd"), "{error}");
        };
        let key = "ab".repeat(KEY_BYTES);
        check(&key, 0o640, "run chmod 600");
        check("", 0o600, "64 hexadecimal digits");
        check(&format!("{key}\nabcd"), 0o600, "64 hexadecimal digits");
        check(&format!("{key}\n").repeat(KEYS_MAX + 1), 0o600, "at most 8");
    }
}
