//! Signature Version 4 as S3 has it: the path is signed as it is sent, a header says how the body is signed, and a body may come
//! in chunks that are each signed (Amazon S3 API Reference, "Authenticating Requests").
//!
//! Owns these differences. Must not know how a chunked body is cut, nor what an object is.

use hmac::{Hmac, Mac as _};
use http::request::Parts;
use pipewright_base::hex;
use sha2::{Digest as _, Sha256};

use super::{
    ALGORITHM, AuthError, Authorization, Scope, TERMINATOR, TIMESTAMP, X_AMZ_CONTENT_SHA256, canonical, check_covered,
    check_scope, check_time, keyed, signature, signed_at, signing_key,
};
use crate::auth::Secret;

/// The service's name in signatures.
pub const S3: &str = "s3";

/// How the body of a verified request is to be checked.
#[derive(Clone, Debug)]
pub enum Payload {
    /// By its SHA-256.
    Whole([u8; 32]),
    /// Not at all: whoever signed left it to the connection.
    Unsigned,
    /// It comes in chunks, signed where there is a signer, perhaps with trailers.
    Chunks { signer: Option<ChunkSigner>, has_trailer: bool },
}

/// Knows what the next chunk's signature has to be.
#[derive(Clone)]
pub struct ChunkSigner {
    key: Vec<u8>,
    timestamp: String,
    scope: String,
    previous: String,
}

impl std::fmt::Debug for ChunkSigner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ChunkSigner(…)")
    }
}

impl ChunkSigner {
    /// Whether this is the signature of the next chunk, of which the SHA-256 is given.
    pub fn is_chunk(&mut self, signature: &str, chunk: &[u8; 32]) -> bool {
        let empty = hex::encode(Sha256::digest(b""));
        self.is_signed("PAYLOAD", &format!("{empty}\n{}", hex::encode(chunk)), signature)
    }

    /// Whether this is the signature of the trailers, each as `name:value` and a line feed.
    pub fn is_trailer(&mut self, signature: &str, trailers: &str) -> bool {
        self.is_signed("TRAILER", &hex::encode(Sha256::digest(trailers)), signature)
    }

    fn is_signed(&mut self, kind: &str, digests: &str, signature: &str) -> bool {
        let Self { key, timestamp, scope, previous } = self;
        let text = format!("{ALGORITHM}-{kind}\n{timestamp}\n{scope}\n{previous}\n{digests}");
        let mac: Hmac<Sha256> = keyed(key, text.as_bytes());
        signature.clone_into(&mut self.previous);
        hex::decode_array::<32>(signature).is_some_and(|signature| mac.verify_slice(&signature).is_ok())
    }
}

/// Whether a request claims to be signed for S3; nothing of it is verified yet.
pub fn is_for_s3(parts: &Parts) -> bool {
    Authorization::of(&parts.headers).is_ok_and(|authorization| authorization.service == S3)
}

/// Tells how the body is to be checked, if the rest of the request is as this secret signed it.
///
/// # Errors
/// See [`AuthError`].
pub fn verify_for_s3(
    parts: &Parts,
    region: &str,
    (id, secret): (&str, &Secret),
    now_ms: u64,
) -> Result<Payload, AuthError> {
    let authorization = Authorization::of(&parts.headers)?;
    let signed_at = signed_at(parts)?;
    let timestamp = signed_at.strftime(TIMESTAMP).to_string();
    let scope = Scope { region: region.to_owned(), service: S3 };
    check_scope(&authorization, &timestamp, &scope)?;
    check_time(signed_at, &timestamp, now_ms)?;
    check_covered(parts, &authorization)?;
    canonical::check_path(parts.uri.path())?;
    if authorization.access_key != id {
        return Err(AuthError::Unrecognized);
    }
    let claimed = parts.headers.get(X_AMZ_CONTENT_SHA256).and_then(|value| value.to_str().ok());
    let claimed = claimed.ok_or_else(|| {
        AuthError::Incomplete("A request to S3 requires the header 'x-amz-content-sha256'.".to_owned())
    })?;
    let path = canonical::path_as_sent(parts);
    let canonical = canonical::canonical_request_of(parts, &path, &authorization.signed_headers, claimed);
    let day = &timestamp[..8];
    let mac = signature(secret, &timestamp, day, &scope, &canonical);
    mac.verify_slice(&authorization.signature).map_err(|_| AuthError::Mismatch)?;
    let signer = || ChunkSigner {
        key: signing_key(secret, day, &scope),
        scope: format!("{day}/{region}/{S3}/{TERMINATOR}"),
        previous: hex::encode(authorization.signature),
        timestamp: timestamp.clone(),
    };
    Ok(match claimed {
        "UNSIGNED-PAYLOAD" => Payload::Unsigned,
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => Payload::Chunks { signer: None, has_trailer: true },
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => Payload::Chunks { signer: Some(signer()), has_trailer: false },
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => Payload::Chunks { signer: Some(signer()), has_trailer: true },
        digest => Payload::Whole(hex::decode_array(digest).ok_or_else(|| {
            AuthError::Invalid("The value of 'x-amz-content-sha256' is not the SHA-256 of a body.".to_owned())
        })?),
    })
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    /// The key and the time of the examples of the S3 API Reference, "Signature Calculations for the Authorization Header".
    const ID: &str = "AKIAIOSFODNN7EXAMPLE";
    const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
    /// 2013-05-24 00:00 UTC
    const NOW: u64 = 1_369_353_600_000;

    fn verified(path: &str, method: &str, headers: &[(&str, &str)]) -> Result<Payload, AuthError> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        verify_for_s3(&parts, "us-east-1", (ID, &Secret::new(SECRET)), NOW)
    }

    #[test]
    fn the_examples_of_aws_are_verified() {
        let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=host;range;x-amz-content-sha256;x-amz-date,\
             Signature=f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41";
        let check = |range: &str| {
            verified(
                "/test.txt",
                "GET",
                &[
                    ("host", "examplebucket.s3.amazonaws.com"),
                    ("range", range),
                    ("x-amz-content-sha256", empty),
                    ("x-amz-date", "20130524T000000Z"),
                    ("authorization", authorization),
                ],
            )
        };
        assert!(matches!(check("bytes=0-9"), Ok(Payload::Whole(digest)) if hex::encode(digest) == empty));
        assert_eq!(check("bytes=0-8").unwrap_err(), AuthError::Mismatch);
    }

    #[test]
    fn a_body_in_signed_chunks_is_verified_chunk_by_chunk() {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request,\
             SignedHeaders=content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
             x-amz-decoded-content-length;x-amz-storage-class,\
             Signature=4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let payload = verified(
            "/examplebucket/chunkObject.txt",
            "PUT",
            &[
                ("host", "s3.amazonaws.com"),
                ("content-encoding", "aws-chunked"),
                ("content-length", "66824"),
                ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
                ("x-amz-date", "20130524T000000Z"),
                ("x-amz-decoded-content-length", "66560"),
                ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
                ("authorization", authorization),
            ],
        );
        let Ok(Payload::Chunks { signer: Some(mut signer), has_trailer: false }) = payload else {
            panic!("{payload:?}")
        };
        for (bytes, signature) in [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            let chunk: [u8; 32] = Sha256::digest("a".repeat(bytes)).into();
            assert!(!signer.clone().is_chunk(signature, &[7; 32]), "{bytes}");
            assert!(signer.is_chunk(signature, &chunk), "{bytes}");
        }
    }
}
