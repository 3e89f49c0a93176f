//! Signatures by key, in cosign's two forms: a document that names the manifest's digest and a signature over its bytes, at the tag
//! `sha256-<hex>.sig`; and a bundle that refers to the manifest (`bundle`).
//!
//! Owns cosign's "simple signing" document, the manifest that holds such documents, and what a signature of either form vouches
//! for. Must not know which keys count (`policy`).

mod bundle;

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipewright_base::Digest;
use serde::{Deserialize, Serialize};

use super::oci::{self, Descriptor, Manifest};
use super::{PackageError, PublicKey, SigningKey, package};

pub(super) use bundle::{BUNDLE_BYTES_MAX, bundles, is_candidate, referrer};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";
/// Stops a registry that makes us read and check signatures without end.
pub const SIGNATURES_MAX: usize = 64;
pub const PAYLOAD_BYTES_MAX: u64 = 16 * 1024;

/// One signature: nothing of it was believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signature {
    Document {
        payload: Vec<u8>,
        /// ECDSA over SHA-256, in ASN.1
        signature: Vec<u8>,
    },
    Bundle(Vec<u8>),
    /// Something in a signature's place, and what is wrong with it.
    Unreadable(String),
}

/// The manifest that names signatures, read. What is no signature hides none that is: whoever may push a tag may have put it there.
#[derive(Clone, Debug, Default)]
pub(super) struct Signatures {
    /// Each payload with the signature over it.
    pub layers: Vec<(Descriptor, Vec<u8>)>,
    /// What is wrong with the rest.
    pub problems: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    critical: Critical,
    #[serde(default)]
    optional: Option<BTreeMap<String, serde_json::Value>>,
}

#[derive(Serialize, Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    #[serde(with = "oci")]
    docker_manifest_digest: Digest,
}

/// The tag at which a manifest's signatures lie.
pub(super) fn tag(manifest: &Digest) -> String {
    format!("sha256-{manifest}.sig")
}

impl Signature {
    /// Signs a manifest that lies in a repository (`registry.example/team/name`), in both forms.
    pub fn both(key: &SigningKey, manifest: Digest, repository: &str) -> Result<Vec<Self>, PackageError> {
        Ok(vec![Self::document(key, manifest, repository)?, Self::Bundle(bundle::sign(key, &manifest)?)])
    }

    /// The form of cosign before version 3.
    pub fn document(key: &SigningKey, manifest: Digest, repository: &str) -> Result<Self, PackageError> {
        let payload = package::json(&Payload {
            critical: Critical {
                identity: Identity { docker_reference: repository.to_owned() },
                image: Image { docker_manifest_digest: manifest },
                kind: KIND.to_owned(),
            },
            optional: None,
        })?;
        let signature = key.sign(&payload)?;
        Ok(Self::Document { payload, signature })
    }

    /// The key that made this signature of this manifest. What it says is only read once a key vouches for its bytes.
    pub fn signer<'k>(&self, manifest: &Digest, keys: &'k [PublicKey]) -> Result<&'k PublicKey, String> {
        let (key, signed) = match self {
            Self::Document { payload, signature } => {
                let key = keys.iter().find(|key| key.verifies(payload, signature)).ok_or(UNKNOWN)?;
                (key, named(payload)?)
            }
            Self::Bundle(bytes) => bundle::signer(bytes, keys)?,
            Self::Unreadable(problem) => return Err(problem.clone()),
        };
        if signed != *manifest {
            let (signed, manifest) = (oci::text(&signed), oci::text(manifest));
            return Err(format!("one signature is for {signed}, and the package's manifest is {manifest}"));
        }
        Ok(key)
    }

    /// What of it is a blob of its own.
    pub(super) fn blob(&self) -> Option<&[u8]> {
        match self {
            Self::Document { payload, .. } => Some(payload),
            Self::Bundle(bytes) => Some(bytes),
            Self::Unreadable(_) => None,
        }
    }
}

const UNKNOWN: &str = "one signature is by none of the keys that count, or was changed";

/// Which manifest a document is about.
fn named(payload: &[u8]) -> Result<Digest, String> {
    let payload: Payload =
        serde_json::from_slice(payload).map_err(|error| format!("one signature cannot be read: {error}"))?;
    if payload.critical.kind != KIND {
        return Err(format!("one signature is a {:?}, not a {KIND:?}", payload.critical.kind));
    }
    Ok(payload.critical.image.docker_manifest_digest)
}

impl Signatures {
    pub fn read(bytes: &[u8]) -> Self {
        let mut read = Self::default();
        let manifest: Manifest = match serde_json::from_slice(bytes) {
            Ok(manifest) => manifest,
            Err(error) => {
                read.problems.push(format!("the list of signatures cannot be read: {error}"));
                return read;
            }
        };
        let mut others = 0;
        for layer in manifest.layers {
            let signature = layer.annotations.get(ANNOTATION).and_then(|text| STANDARD.decode(text).ok());
            match signature.filter(|_| layer.media_type == PAYLOAD && layer.size <= PAYLOAD_BYTES_MAX) {
                None => others += 1,
                Some(_) if read.layers.len() == SIGNATURES_MAX => {
                    read.problems.push(format!("there are more than {SIGNATURES_MAX} signatures; so many are read"));
                    break;
                }
                Some(signature) => read.layers.push((layer, signature)),
            }
        }
        if others > 0 {
            read.problems.push(format!("{others} in the list of signatures are none"));
        }
        read
    }
}

/// The manifest that names these documents with the signatures over them, and its configuration.
pub(super) fn manifest(documents: &[(&[u8], &[u8])]) -> Result<(Vec<u8>, Vec<u8>), PackageError> {
    let layer = |(payload, signature): &(&[u8], &[u8])| {
        let mut layer = Descriptor::of(PAYLOAD, payload);
        layer.annotations.insert(ANNOTATION.to_owned(), STANDARD.encode(signature));
        layer
    };
    let layers: Vec<Descriptor> = documents.iter().map(layer).collect();
    let digests: Vec<String> = layers.iter().map(|layer| oci::text(&layer.digest)).collect();
    let config = package::json(&serde_json::json!({
        "architecture": "",
        "os": "",
        "config": {},
        "rootfs": { "type": "layers", "diff_ids": digests },
    }))?;
    let manifest = Manifest {
        schema_version: 2,
        media_type: oci::MANIFEST.to_owned(),
        artifact_type: None,
        config: Descriptor::of(oci::IMAGE_CONFIG, &config),
        layers,
        subject: None,
        annotations: BTreeMap::new(),
    };
    Ok((package::json(&manifest)?, config))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_manifest_by_one_key() {
        let (key, other) = (SigningKey::generate().unwrap(), SigningKey::generate().unwrap());
        let (manifest, another) = (Digest::of(b"manifest"), Digest::of(b"another"));
        let keys = [other.public(), key.public()];
        let check = |signature: &Signature, manifest: &Digest, keys: &[PublicKey], problem: &str| {
            let error = signature.signer(manifest, keys).unwrap_err();
            assert!(error.contains(problem), "{error}");
        };
        for signature in Signature::both(&key, manifest, "localhost/team/name").unwrap() {
            assert_eq!(signature.signer(&manifest, &keys).unwrap(), &keys[1]);
            check(&signature, &another, &keys, "one signature is for sha256:");
            check(&signature, &manifest, &keys[..1], "none of the keys that count");
        }
        let document = |payload: Vec<u8>| Signature::Document { signature: key.sign(&payload).unwrap(), payload };
        let Signature::Document { payload, mut signature } = Signature::document(&key, manifest, "x").unwrap() else {
            panic!("a document was asked for");
        };
        let letter = String::from_utf8(payload.clone()).unwrap().replace(KIND, "love letter");
        check(&document(letter.into_bytes()), &manifest, &keys, "love letter");
        signature[20] ^= 1;
        check(&Signature::Document { payload, signature }, &manifest, &keys, "none of the keys that count");
    }

    #[test]
    fn the_document_is_what_cosign_writes() {
        let key = SigningKey::generate().unwrap();
        let signature = Signature::document(&key, Digest::of(b""), "registry.example/team/name").unwrap();
        let Signature::Document { payload, signature } = signature else { panic!("a document was asked for") };
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            String::from_utf8(payload.clone()).unwrap(),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"registry.example/team/name"}},"image":{{"docker-manifest-digest":"sha256:{empty}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        let (bytes, _) = manifest(&[(&payload, &signature)]).unwrap();
        let read = Signatures::read(&bytes);
        assert_eq!(read.layers, [(read.layers[0].0.clone(), signature)]);
    }

    #[test]
    fn what_is_no_signature_hides_none() {
        let documents = vec![(&b"payload"[..], &b"signature"[..]); SIGNATURES_MAX + 1];
        let check = |count: usize, change: fn(&mut Manifest), layers: usize, problems: &[&str]| {
            let mut changed: Manifest = serde_json::from_slice(&manifest(&documents[..count]).unwrap().0).unwrap();
            change(&mut changed);
            let read = Signatures::read(&package::json(&changed).unwrap());
            assert_eq!(
                (read.layers.len(), read.problems),
                (layers, problems.iter().map(|it| (*it).to_owned()).collect())
            );
        };
        check(2, |_| {}, 2, &[]);
        check(2, |it| it.layers[0].media_type = "text/plain".to_owned(), 1, &["1 in the list of signatures are none"]);
        check(2, |it| it.layers[1].size = PAYLOAD_BYTES_MAX + 1, 1, &["1 in the list of signatures are none"]);
        check(3, |it| it.layers[0].annotations.clear(), 2, &["1 in the list of signatures are none"]);
        let many = "there are more than 64 signatures; so many are read";
        check(SIGNATURES_MAX + 1, |_| {}, SIGNATURES_MAX, &[many]);
        assert_eq!(Signatures::read(b"no manifest").problems.len(), 1);
    }
}
