//! Signatures as cosign 3 writes them: a sigstore bundle, in a manifest that refers to the one that is signed.
//!
//! Owns the bundle's form (an envelope of DSSE around an in-toto statement that names the manifest's digest) and that of the
//! manifest that holds it. Must not know how a referrer is found, or which keys count.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pipewright_base::Digest;
use serde::{Deserialize, Serialize};

use super::UNKNOWN;
use crate::oci::{self, Descriptor, Manifest};
use crate::{PackageError, PublicKey, SigningKey, package};

/// Of every version.
const BUNDLES: &str = "application/vnd.dev.sigstore.bundle";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const IN_TOTO: &str = "application/vnd.in-toto+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
/// What the statement of a signature says; those of other kinds are attestations.
const SIGNED: &str = "https://sigstore.dev/cosign/sign/v1";
const PREDICATE: &str = "dev.sigstore.bundle.predicateType";
const CONTENT: &str = "dev.sigstore.bundle.content";
const EMPTY: &[u8] = b"{}";
/// With entries of a transparency log and timestamps, which are not read, one has some 10 KB.
pub const BUNDLE_BYTES_MAX: u64 = 256 * 1024;
/// Of one envelope: cosign makes one. Stops one that makes us verify without end.
const ENVELOPE_SIGNATURES_MAX: usize = 16;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    media_type: String,
    #[serde(default)]
    verification_material: serde_json::Value,
    dsse_envelope: Option<Envelope>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<EnvelopeSignature>,
}

#[derive(Serialize, Deserialize)]
struct EnvelopeSignature {
    sig: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
    #[serde(default)]
    predicate: serde_json::Map<String, serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct Subject {
    digest: BTreeMap<String, String>,
}

pub(super) fn sign(key: &SigningKey, manifest: &Digest) -> Result<Vec<u8>, PackageError> {
    let statement = package::json(&Statement {
        kind: STATEMENT.to_owned(),
        subject: vec![Subject { digest: [("sha256".to_owned(), manifest.to_string())].into() }],
        predicate_type: SIGNED.to_owned(),
        predicate: serde_json::Map::new(),
    })?;
    let signature = key.sign(&sealed(IN_TOTO, &statement))?;
    let hint = STANDARD.encode(key.public().digest.as_bytes());
    package::json(&Bundle {
        media_type: BUNDLE.to_owned(),
        verification_material: serde_json::json!({ "publicKey": { "hint": hint } }),
        dsse_envelope: Some(Envelope {
            payload: STANDARD.encode(statement),
            payload_type: IN_TOTO.to_owned(),
            signatures: vec![EnvelopeSignature { sig: STANDARD.encode(signature) }],
        }),
    })
}

/// The key that made a bundle, and the manifest that it is about.
pub(super) fn signer<'k>(bytes: &[u8], keys: &'k [PublicKey]) -> Result<(&'k PublicKey, Digest), String> {
    let unreadable = |problem: &dyn std::fmt::Display| format!("one bundle cannot be read: {problem}");
    let bundle: Bundle = serde_json::from_slice(bytes).map_err(|error| unreadable(&error))?;
    let envelope = bundle.dsse_envelope.ok_or_else(|| unreadable(&"it has no envelope of DSSE"))?;
    let decoded = |text: &str| STANDARD.decode(text).map_err(|error| unreadable(&error));
    let statement = decoded(&envelope.payload)?;
    let message = sealed(&envelope.payload_type, &statement);
    let mut signer = None;
    for signature in envelope.signatures.iter().take(ENVELOPE_SIGNATURES_MAX) {
        let signature = decoded(&signature.sig)?;
        signer = signer.or_else(|| keys.iter().find(|key| key.verifies(&message, &signature)));
    }
    let signer = signer.ok_or(UNKNOWN)?;
    if envelope.payload_type != IN_TOTO {
        return Err(unreadable(&format!("it is of {:?}, not {IN_TOTO}", envelope.payload_type)));
    }
    let statement: Statement = serde_json::from_slice(&statement).map_err(|error| unreadable(&error))?;
    if statement.predicate_type != SIGNED {
        return Err(format!("one bundle says {:?}, and is no signature", statement.predicate_type));
    }
    let [Subject { digest }] = &statement.subject[..] else {
        return Err(unreadable(&"it is not about one subject"));
    };
    let digest = digest.get("sha256").and_then(|digest| digest.parse().ok());
    Ok((signer, digest.ok_or_else(|| unreadable(&"its subject has no digest of SHA-256"))?))
}

/// The bytes that a key signs: "pre-authentication encoding" of DSSE 1.0.
fn sealed(kind: &str, payload: &[u8]) -> Vec<u8> {
    [format!("DSSEv1 {} {kind} {} ", kind.len(), payload.len()).as_bytes(), payload].concat()
}

/// The manifest that lets a bundle refer to what it signs, as it is to be listed there, and its configuration.
pub fn referrer(subject: &Descriptor, bundle: &[u8]) -> Result<(Vec<u8>, Descriptor, &'static [u8]), PackageError> {
    let note = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let annotations: BTreeMap<_, _> = [note(CONTENT, "dsse-envelope"), note(PREDICATE, SIGNED)].into();
    let manifest = package::json(&Manifest {
        schema_version: 2,
        media_type: oci::MANIFEST.to_owned(),
        artifact_type: Some(BUNDLE.to_owned()),
        config: Descriptor::of(oci::EMPTY, EMPTY),
        layers: vec![Descriptor::of(BUNDLE, bundle)],
        subject: Some(subject.clone()),
        annotations: annotations.clone(),
    })?;
    let artifact_type = Some(BUNDLE.to_owned());
    let listed = Descriptor { artifact_type, annotations, ..Descriptor::of(oci::MANIFEST, &manifest) };
    Ok((manifest, listed, EMPTY))
}

/// Whether what refers to a manifest may be a signature. Some list a referrer by the type of its configuration, or without a type.
pub fn is_candidate(listed: &Descriptor) -> bool {
    let kind = listed.artifact_type.as_deref().unwrap_or_default();
    let is_other = |predicate: &String| predicate != SIGNED;
    (kind.is_empty() || kind == oci::EMPTY || kind.starts_with(BUNDLES))
        && !listed.annotations.get(PREDICATE).is_some_and(is_other)
}

/// The bundles of signatures that a referrer's manifest names; or what is wrong with it.
pub fn bundles(manifest: &[u8]) -> Result<Vec<Descriptor>, String> {
    let manifest: Manifest =
        serde_json::from_slice(manifest).map_err(|error| format!("one referrer cannot be read: {error}"))?;
    if manifest.annotations.get(PREDICATE).is_some_and(|predicate| predicate != SIGNED) {
        return Ok(Vec::new());
    }
    let is_meant = manifest.artifact_type.is_some_and(|kind| kind.starts_with(BUNDLES));
    let bundles: Vec<Descriptor> =
        manifest.layers.into_iter().filter(|layer| layer.media_type.starts_with(BUNDLES)).collect();
    match &bundles[..] {
        [] if is_meant => Err("one bundle has no content".to_owned()),
        // More are nobody's, and could be without end.
        [_, _, ..] => Err(format!("one referrer has {} bundles", bundles.len())),
        [one] if one.size > BUNDLE_BYTES_MAX => {
            Err(format!("one bundle has {} bytes; at most {BUNDLE_BYTES_MAX} are read", one.size))
        }
        _ => Ok(bundles),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bundle_is_what_cosign_writes() {
        let key = SigningKey::generate().unwrap();
        let bundle = sign(&key, &Digest::of(b"")).unwrap();
        let read: serde_json::Value = serde_json::from_slice(&bundle).unwrap();
        let envelope = &read["dsseEnvelope"];
        let statement = STANDARD.decode(envelope["payload"].as_str().unwrap()).unwrap();
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(
            String::from_utf8(statement.clone()).unwrap(),
            format!(
                r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{empty}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#
            )
        );
        let message = [format!("DSSEv1 28 {IN_TOTO} {} ", statement.len()).as_bytes(), &statement].concat();
        let signature = STANDARD.decode(envelope["signatures"][0]["sig"].as_str().unwrap()).unwrap();
        assert!(key.public().verifies(&message, &signature));
        let hint = STANDARD.decode(read["verificationMaterial"]["publicKey"]["hint"].as_str().unwrap()).unwrap();
        assert_eq!(hint, key.public().digest.as_bytes());

        let subject = Descriptor::of(oci::MANIFEST, b"manifest");
        let (manifest, listed, config) = referrer(&subject, &bundle).unwrap();
        assert_eq!(bundles(&manifest).unwrap(), [Descriptor::of(BUNDLE, &bundle)]);
        assert!(is_candidate(&listed));
        let read: Manifest = serde_json::from_slice(&manifest).unwrap();
        assert_eq!((read.subject, read.config), (Some(subject), Descriptor::of(oci::EMPTY, config)));
    }

    /// Made by cosign 3.1.1: `sign --use-signing-config=false --tlog-upload=false` of a package, with the key that is beside them.
    #[test]
    fn what_cosign_wrote_is_read() {
        let bundle = include_bytes!("../testdata/cosign.bundle.json");
        let referrer = include_bytes!("../testdata/cosign.referrer.json");
        let signed = "babfaf5c4669e25e07e5642d228e9949171a66e5597f1dabc459411d02d5dbb2";
        assert_eq!(bundles(referrer).unwrap(), [Descriptor::of(BUNDLE, bundle)]);
        let read: Manifest = serde_json::from_slice(referrer).unwrap();
        assert_eq!(read.subject.unwrap().digest.to_string(), signed);
        let keys = [
            SigningKey::generate().unwrap().public(),
            PublicKey::from_pem(include_str!("../testdata/cosign.pub")).unwrap(),
        ];
        assert_eq!(signer(bundle, &keys), Ok((&keys[1], signed.parse().unwrap())));
        assert_eq!(signer(bundle, &keys[..1]), Err(UNKNOWN.to_owned()));
        // As cosign says which key it was.
        let key = SigningKey::from_pem(include_str!("../testdata/cosign.key"), "correct horse").unwrap();
        let ours: serde_json::Value = serde_json::from_slice(&sign(&key, &signed.parse().unwrap()).unwrap()).unwrap();
        let theirs: serde_json::Value = serde_json::from_slice(bundle).unwrap();
        assert_eq!(ours["verificationMaterial"], theirs["verificationMaterial"]);
        assert_eq!(ours["mediaType"], theirs["mediaType"]);
    }

    #[test]
    fn what_is_no_signature_says_why() {
        let key = SigningKey::generate().unwrap();
        let check = |kind: &str, statement: &str, problem: &str| {
            let signature = key.sign(&sealed(kind, statement.as_bytes())).unwrap();
            let bundle = Bundle {
                media_type: BUNDLE.to_owned(),
                verification_material: serde_json::Value::Null,
                dsse_envelope: Some(Envelope {
                    payload: STANDARD.encode(statement),
                    payload_type: kind.to_owned(),
                    signatures: vec![EnvelopeSignature { sig: STANDARD.encode(signature) }],
                }),
            };
            let bundle = serde_json::to_vec(&bundle).unwrap();
            let error = signer(&bundle, &[key.public()]).expect_err("it is no signature");
            assert!(error.contains(problem), "{error}");
        };
        let right = sign(&key, &Digest::of(b"")).unwrap();
        let right: Bundle = serde_json::from_slice(&right).unwrap();
        let right = STANDARD.decode(right.dsse_envelope.unwrap().payload).unwrap();
        let right = String::from_utf8(right).unwrap();
        check("text/plain", &right, "it is of \"text/plain\"");
        check(
            IN_TOTO,
            &right.replace(SIGNED, "https://slsa.dev/provenance/v1"),
            "slsa.dev/provenance/v1\", and is no signature",
        );
        check(IN_TOTO, &right.replace("sha256", "sha512"), "no digest of SHA-256");
        check(IN_TOTO, &right.replace("[{", "[{\"digest\":{}},{"), "not about one subject");
        check(IN_TOTO, "{}", "cannot be read");
        assert!(signer(b"{\"mediaType\":\"x\"}", &[]).is_err_and(|error| error.contains("no envelope")));
    }
}
