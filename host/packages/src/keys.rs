//! Keys: ECDSA over P-256, in cosign's files.
//!
//! Owns their files: a public key is a PEM of its SubjectPublicKeyInfo; a private one is cosign's PEM of a JSON document, in
//! which a PKCS#8 key is sealed by NaCl's secretbox with a key that scrypt made of a passphrase. Must not know what is signed.

use std::fmt;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use crypto_secretbox::aead::Aead as _;
use crypto_secretbox::{KeyInit as _, XSalsa20Poly1305};
use pipewright_base::Digest;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde::{Deserialize, Serialize};

use super::PackageError;

const PUBLIC: &str = "PUBLIC KEY";
const PRIVATE: &str = "ENCRYPTED SIGSTORE PRIVATE KEY";
/// What cosign wrote before.
const PRIVATE_BEFORE: &str = "ENCRYPTED COSIGN PRIVATE KEY";
/// A larger file is no key.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// All of a P-256 key's SubjectPublicKeyInfo but the point (RFC 5480).
const SPKI_PREFIX: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const POINT_BYTES: usize = 65;

/// What cosign writes: 2^16, and 2^15 in its older files. Others are refused, for a file could ask for all memory.
const SCRYPT_LOG_N: u8 = 16;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 1;

/// Known by the digest of its SubjectPublicKeyInfo: the same key in two files is one key.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    point: Vec<u8>,
    pub digest: Digest,
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({})", self.digest)
    }
}

pub struct SigningKey {
    pair: EcdsaKeyPair,
    pkcs8: Vec<u8>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    kdf: Kdf,
    cipher: Cipher,
    ciphertext: String,
}

#[derive(Serialize, Deserialize)]
struct Kdf {
    name: String,
    params: ScryptParameters,
    salt: String,
}

#[derive(Serialize, Deserialize)]
struct ScryptParameters {
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
}

#[derive(Serialize, Deserialize)]
struct Cipher {
    name: String,
    nonce: String,
}

impl PublicKey {
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let text = read(path)?;
        Self::from_pem(&text).map_err(|problem| PackageError::Key(format!("{}: {problem}", path.display())))
    }

    pub fn from_pem(text: &str) -> Result<Self, String> {
        let block = pem::parse(text).map_err(|_| "it is no PEM file".to_owned())?;
        if block.tag() != PUBLIC {
            return Err(format!("it holds `{}`, and not `{PUBLIC}`", block.tag()));
        }
        let point = block.contents().strip_prefix(&SPKI_PREFIX).filter(|point| point.len() == POINT_BYTES);
        point.map(Self::of).ok_or_else(|| "it is no key of ECDSA over P-256".to_owned())
    }

    fn of(point: &[u8]) -> Self {
        let digest = Digest::of(&[&SPKI_PREFIX, point].concat());
        Self { point: point.to_vec(), digest }
    }

    pub fn to_pem(&self) -> String {
        pem::encode(&pem::Pem::new(PUBLIC, [&SPKI_PREFIX, &self.point[..]].concat()))
    }

    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        ring::signature::UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point).verify(message, signature).is_ok()
    }
}

impl SigningKey {
    pub fn generate() -> Result<Self, PackageError> {
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new());
        let pkcs8 = pkcs8.map_err(|_| PackageError::Host(anyhow::anyhow!("this machine has no randomness")))?;
        Self::from_pkcs8(pkcs8.as_ref().to_vec()).map_err(PackageError::Key)
    }

    fn from_pkcs8(pkcs8: Vec<u8>) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &pkcs8, &SystemRandom::new());
        let pair = pair.map_err(|error| format!("it holds no key of ECDSA over P-256: {error}"))?;
        Ok(Self { pair, pkcs8 })
    }

    pub fn public(&self) -> PublicKey {
        PublicKey::of(self.pair.public_key().as_ref())
    }

    /// A signature in ASN.1, which differs each time.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, PackageError> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| PackageError::Host(anyhow::anyhow!("this machine has no randomness")))?;
        Ok(signature.as_ref().to_vec())
    }

    pub fn read(path: &Path, passphrase: &str) -> Result<Self, PackageError> {
        let text = read(path)?;
        Self::from_pem(&text, passphrase).map_err(|problem| PackageError::Key(format!("{}: {problem}", path.display())))
    }

    pub(crate) fn from_pem(text: &str, passphrase: &str) -> Result<Self, String> {
        let block = pem::parse(text).map_err(|_| "it is no PEM file".to_owned())?;
        if block.tag() != PRIVATE && block.tag() != PRIVATE_BEFORE {
            return Err(format!("it holds `{}`, and not `{PRIVATE}`", block.tag()));
        }
        let sealed: Sealed =
            serde_json::from_slice(block.contents()).map_err(|error| format!("it is damaged: {error}"))?;
        Self::from_pkcs8(sealed.open(passphrase)?)
    }

    pub fn to_pem(&self, passphrase: &str) -> Result<String, PackageError> {
        let sealed = Sealed::close(&self.pkcs8, passphrase)?;
        let document = serde_json::to_vec(&sealed).map_err(|error| PackageError::Host(error.into()))?;
        Ok(pem::encode(&pem::Pem::new(PRIVATE, document)))
    }

    /// Writes the pair: `path`, which only its owner can read, and `path` with `.pub` after it. No file is replaced.
    pub fn write(&self, path: &Path, passphrase: &str) -> Result<(), PackageError> {
        let public = path.with_added_extension("pub");
        for (path, text, mode) in [(path, self.to_pem(passphrase)?, 0o600), (&public, self.public().to_pem(), 0o644)] {
            let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
            file.and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|error| PackageError::Key(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }
}

impl Sealed {
    fn close(secret: &[u8], passphrase: &str) -> Result<Self, PackageError> {
        let (mut salt, mut nonce) = ([0; 32], [0; 24]);
        getrandom::fill(&mut salt)
            .and_then(|()| getrandom::fill(&mut nonce))
            .map_err(|e| PackageError::Host(e.into()))?;
        let params = ScryptParameters { n: 1 << SCRYPT_LOG_N, r: SCRYPT_R, p: SCRYPT_P };
        let key = stretched(passphrase, &salt, SCRYPT_LOG_N).map_err(PackageError::Key)?;
        let closed = XSalsa20Poly1305::new(&key.into()).encrypt(&nonce.into(), secret);
        let closed = closed.map_err(|_| PackageError::Key("it is too long".to_owned()))?;
        Ok(Self {
            kdf: Kdf { name: "scrypt".to_owned(), params, salt: STANDARD.encode(salt) },
            cipher: Cipher { name: "nacl/secretbox".to_owned(), nonce: STANDARD.encode(nonce) },
            ciphertext: STANDARD.encode(closed),
        })
    }

    fn open(&self, passphrase: &str) -> Result<Vec<u8>, String> {
        let Self { kdf, cipher, ciphertext } = self;
        let ScryptParameters { n, r, p } = kdf.params;
        let log_n = [SCRYPT_LOG_N - 1, SCRYPT_LOG_N].into_iter().find(|log_n| 1 << log_n == n);
        let known = kdf.name == "scrypt" && r == SCRYPT_R && p == SCRYPT_P && cipher.name == "nacl/secretbox";
        let log_n = log_n.filter(|_| known).ok_or("it is sealed in another way than cosign's")?;
        let decoded = |text: &str| STANDARD.decode(text).map_err(|error| format!("it is damaged: {error}"));
        let nonce: [u8; 24] = decoded(&cipher.nonce)?.try_into().map_err(|_| "it is damaged: the nonce".to_owned())?;
        let key = stretched(passphrase, &decoded(&kdf.salt)?, log_n)?;
        XSalsa20Poly1305::new(&key.into())
            .decrypt(&nonce.into(), &decoded(ciphertext)?[..])
            .map_err(|_| "the passphrase is not the one of this key".to_owned())
    }
}

fn stretched(passphrase: &str, salt: &[u8], log_n: u8) -> Result<[u8; 32], String> {
    let mut key = [0; 32];
    let params = scrypt::Params::new(log_n, SCRYPT_R, SCRYPT_P, key.len()).map_err(|error| error.to_string())?;
    scrypt::scrypt(passphrase.as_bytes(), salt, &params, &mut key).map_err(|error| error.to_string())?;
    Ok(key)
}

fn read(path: &Path) -> Result<String, PackageError> {
    let wrong = |problem: String| PackageError::Key(format!("{}: {problem}", path.display()));
    if std::fs::metadata(path).map_err(|error| wrong(error.to_string()))?.len() > FILE_BYTES_MAX {
        return Err(wrong(format!("larger than {FILE_BYTES_MAX} bytes")));
    }
    std::fs::read_to_string(path).map_err(|error| wrong(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by cosign 3.1.1: `generate-key-pair`, and `sign-blob` of "a message".
    const KEY: &str = include_str!("testdata/cosign.key");
    const PUBLIC_KEY: &str = include_str!("testdata/cosign.pub");
    const SIGNATURE: &str = include_str!("testdata/cosign.signature");

    #[test]
    fn the_keys_of_others_are_read() {
        let public = PublicKey::from_pem(PUBLIC_KEY).unwrap();
        let key = SigningKey::from_pem(KEY, "correct horse").unwrap();
        assert_eq!(key.public(), public);
        assert_eq!(public.to_pem().replace("\r\n", "\n"), PUBLIC_KEY);
        assert!(public.verifies(b"a message", &STANDARD.decode(SIGNATURE.trim()).unwrap()));
        assert!(!public.verifies(b"another", &STANDARD.decode(SIGNATURE.trim()).unwrap()));
    }

    #[test]
    fn what_is_no_key_says_why() {
        let check = |text: &str, passphrase: &str, problem: &str| {
            let error = SigningKey::from_pem(text, passphrase).err().unwrap();
            assert!(error.contains(problem), "{error}");
        };
        check(KEY, "another", "the passphrase is not the one");
        check(PUBLIC_KEY, "", "it holds `PUBLIC KEY`");
        check("", "", "no PEM file");
        check(&pem::encode(&pem::Pem::new(PRIVATE, "{}")), "", "damaged");
        let greedy =
            String::from_utf8(pem::parse(KEY).unwrap().into_contents()).unwrap().replace("65536", "1073741824");
        check(&pem::encode(&pem::Pem::new(PRIVATE, greedy)), "correct horse", "another way");
        assert!(PublicKey::from_pem(KEY).unwrap_err().contains("and not `PUBLIC KEY`"));
        let other = pem::encode(&pem::Pem::new(PUBLIC, [0; 91]));
        assert!(PublicKey::from_pem(&other).unwrap_err().contains("no key of ECDSA"));
    }

    #[test]
    fn a_pair_is_written_and_read_and_never_replaced() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("team.key");
        let key = SigningKey::generate().unwrap();
        key.write(&path, "secret").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let public = PublicKey::read(&folder.path().join("team.key.pub")).unwrap();
        assert_eq!(SigningKey::read(&path, "secret").unwrap().public(), public);
        assert!(public.verifies(b"x", &key.sign(b"x").unwrap()));
        assert!(key.write(&path, "secret").unwrap_err().to_string().contains("exists"));
    }
}
