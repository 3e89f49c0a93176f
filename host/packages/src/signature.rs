//! Signatures by key, in cosign's format: a document that names the manifest's digest, and a signature over its bytes.
//!
//! Owns cosign's "simple signing" document and the manifest that holds signatures, found at the tag `sha256-<hex>.sig`. Must not
//! know which keys count (`policy`).

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipewright_base::Digest;
use serde::{Deserialize, Serialize};

use super::oci::{self, Descriptor, Manifest};
use super::{PackageError, PublicKey, SigningKey, package};

const PAYLOAD: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const ANNOTATION: &str = "dev.cosignproject.cosign/signature";
const KIND: &str = "cosign container image signature";
/// Stops a registry that makes us read and check signatures without end.
pub const SIGNATURES_MAX: usize = 64;
pub const PAYLOAD_BYTES_MAX: u64 = 16 * 1024;

/// One signature: nothing of it was believed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub payload: Vec<u8>,
    /// ECDSA over SHA-256, in ASN.1
    pub signature: Vec<u8>,
}

/// The manifest that names signatures, read.
#[derive(Clone, Debug)]
pub(super) struct Signatures {
    /// Each payload with the signature over it.
    pub layers: Vec<(Descriptor, Vec<u8>)>,
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
    /// Signs a manifest that lies in a repository (`registry.example/team/name`).
    pub fn new(key: &SigningKey, manifest: Digest, repository: &str) -> Result<Self, PackageError> {
        let payload = package::json(&Payload {
            critical: Critical {
                identity: Identity { docker_reference: repository.to_owned() },
                image: Image { docker_manifest_digest: manifest },
                kind: KIND.to_owned(),
            },
            optional: None,
        })?;
        let signature = key.sign(&payload)?;
        Ok(Self { payload, signature })
    }

    /// The key that made this signature of this manifest. The document is only read once a key vouches for its bytes.
    pub fn signer<'k>(&self, manifest: &Digest, keys: &'k [PublicKey]) -> Result<&'k PublicKey, String> {
        let key = keys.iter().find(|key| key.verifies(&self.payload, &self.signature));
        let key = key.ok_or("one signature is by none of the keys that count, or was changed")?;
        let payload: Payload =
            serde_json::from_slice(&self.payload).map_err(|error| format!("one signature cannot be read: {error}"))?;
        if payload.critical.kind != KIND {
            return Err(format!("one signature is a {:?}, not a {KIND:?}", payload.critical.kind));
        }
        let signed = payload.critical.image.docker_manifest_digest;
        if signed != *manifest {
            let (signed, manifest) = (oci::text(&signed), oci::text(manifest));
            return Err(format!("one signature is for {signed}, and the package's manifest is {manifest}"));
        }
        Ok(key)
    }
}

impl Signatures {
    pub fn read(what: &str, bytes: &[u8]) -> Result<Self, PackageError> {
        let invalid = |reason: String| PackageError::invalid(format!("the signatures of {what}"), reason);
        let manifest: Manifest = serde_json::from_slice(bytes).map_err(|error| invalid(error.to_string()))?;
        if manifest.layers.len() > SIGNATURES_MAX {
            return Err(invalid(format!("there are {}; at most {SIGNATURES_MAX} are read", manifest.layers.len())));
        }
        let mut layers = Vec::new();
        for layer in manifest.layers {
            if layer.media_type != PAYLOAD || layer.size > PAYLOAD_BYTES_MAX {
                return Err(invalid(format!("{} of {} bytes is no signature", layer.media_type, layer.size)));
            }
            let signature = layer.annotations.get(ANNOTATION).and_then(|text| STANDARD.decode(text).ok());
            let signature = signature.ok_or_else(|| invalid(format!("{ANNOTATION} is missing or damaged")))?;
            layers.push((layer, signature));
        }
        Ok(Self { layers })
    }
}

/// The manifest that names these signatures, and its configuration.
pub(super) fn manifest(signatures: &[Signature]) -> Result<(Vec<u8>, Vec<u8>), PackageError> {
    let layer = |signature: &Signature| {
        let mut layer = Descriptor::of(PAYLOAD, &signature.payload);
        layer.annotations.insert(ANNOTATION.to_owned(), STANDARD.encode(&signature.signature));
        layer
    };
    let layers: Vec<Descriptor> = signatures.iter().map(layer).collect();
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
        config: Descriptor::of(oci::IMAGE_CONFIG, &config),
        layers,
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
        let signature = Signature::new(&key, manifest, "localhost/team/name").unwrap();
        let keys = [other.public(), key.public()];
        assert_eq!(signature.signer(&manifest, &keys).unwrap(), &keys[1]);
        let check = |signature: &Signature, manifest: &Digest, keys: &[PublicKey], problem: &str| {
            let error = signature.signer(manifest, keys).unwrap_err();
            assert!(error.contains(problem), "{error}");
        };
        check(&signature, &another, &keys, "one signature is for sha256:");
        check(&signature, &manifest, &keys[..1], "none of the keys that count");
        let mut changed = signature.clone();
        changed.signature[20] ^= 1;
        check(&changed, &manifest, &keys, "none of the keys that count");
        let payload = signature.payload.clone();
        let payload = String::from_utf8(payload).unwrap().replace(KIND, "love letter").into_bytes();
        let letter = Signature { signature: key.sign(&payload).unwrap(), payload };
        check(&letter, &manifest, &keys, "love letter");
    }

    #[test]
    fn the_document_is_what_cosign_writes() {
        let key = SigningKey::generate().unwrap();
        let signature = Signature::new(&key, Digest::of(b""), "ghcr.io/team/name").unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            String::from_utf8(signature.payload.clone()).unwrap(),
            format!(
                r#"{{"critical":{{"identity":{{"docker-reference":"ghcr.io/team/name"}},"image":{{"docker-manifest-digest":"sha256:{empty}"}},"type":"cosign container image signature"}},"optional":null}}"#
            )
        );
        let (bytes, _) = manifest(std::slice::from_ref(&signature)).unwrap();
        let read = Signatures::read("x", &bytes).unwrap();
        assert_eq!(read.layers, [(read.layers[0].0.clone(), signature.signature)]);
    }
}
