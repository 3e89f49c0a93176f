//! What botocore signed is verified, what is altered is refused, and both sides of this module agree.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::*;

/// 2026-11-22T10:20:30Z, when the recorded requests were signed.
const NOW_MS: u64 = 1_795_342_830_000;
const ID: &str = "AKIAIOSFODNN7EXAMPLE";
const MINUTE_MS: u64 = 60_000;

#[derive(serde::Deserialize)]
struct Vector {
    name: String,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

impl Vector {
    fn all() -> Vec<Self> {
        serde_json::from_str(include_str!("vectors/botocore.json")).unwrap()
    }

    /// A CreatePipeline-like request, to be attacked.
    fn json() -> Request<Bytes> {
        Self::all().iter().find(|vector| vector.name == "json").unwrap().request()
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder().method(self.method.as_str()).uri(&self.target);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        request.body(Bytes::from(self.body.clone())).unwrap()
    }
}

fn key() -> AccessKey {
    AccessKey {
        id: ID.to_owned(),
        secret: Secret::new("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
        user: "administrator".to_owned(),
    }
}

fn scope() -> Scope {
    Scope { region: "us-east-1".to_owned(), service: "codepipeline" }
}

fn verify_at(request: Request<Bytes>, scope: &Scope, now_ms: u64) -> Result<Verified, AuthError> {
    let (parts, body) = request.into_parts();
    verify(&parts, &body, scope, now_ms, |id| (id == ID).then(key))
}

fn verify_now(request: Request<Bytes>) -> Result<Verified, AuthError> {
    verify_at(request, &scope(), NOW_MS)
}

#[test]
fn what_botocore_signs_is_verified() {
    for vector in Vector::all() {
        let verified = verify_now(vector.request()).unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        assert_eq!((&*verified.access_key, &*verified.user), (ID, "administrator"));
    }
}

/// The same header, letter by letter, for every request whose headers botocore would have signed as this side does.
#[test]
fn what_this_side_signs_is_what_botocore_signs() {
    for vector in Vector::all() {
        let mut request = vector.request();
        let expected = request.headers_mut().remove(AUTHORIZATION).unwrap();
        let has_own_date = request.headers().contains_key(DATE);
        sign(&mut request, &key(), &scope(), NOW_MS + 999);
        assert_eq!(request.body(), &vector.body, "{}", vector.name);
        if has_own_date {
            verify_now(request).unwrap();
        } else {
            assert_eq!(request.headers()[AUTHORIZATION], expected, "{}", vector.name);
        }
    }
}

#[test]
fn signing_again_replaces_the_first_signature() {
    let mut request = Request::post("http://127.0.0.1:7420/").body(Bytes::from("{}")).unwrap();
    sign(&mut request, &key(), &scope(), NOW_MS - 60 * MINUTE_MS);
    assert_eq!(request.headers()[HOST], "127.0.0.1:7420");
    sign(&mut request, &key(), &scope(), NOW_MS);
    verify_now(request).unwrap();
}

/// One attack on a request that was signed as it should be.
type Attack = fn(&mut Request<Bytes>);

fn set(headers: &mut HeaderMap, name: &'static str, value: &'static str) {
    headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
}

/// Replaces text in the Authorization header.
fn rewrite(request: &mut Request<Bytes>, from: &str, to: &str) {
    let value = request.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
    assert!(value.contains(from), "{value} has no {from}");
    request.headers_mut().insert(AUTHORIZATION, value.replacen(from, to, 1).parse().unwrap());
}

fn rewrite_all(request: &mut Request<Bytes>, to: &'static str) {
    set(request.headers_mut(), "authorization", to);
}

const MISMATCH: &str = "InvalidSignatureException: The request signature we calculated does not match";
const INVALID: &str = "InvalidSignatureException: ";
const INCOMPLETE: &str = "IncompleteSignatureException: ";
const MISSING: &str = "MissingAuthenticationTokenException: Missing Authentication Token";
const UNRECOGNIZED: &str = "UnrecognizedClientException: The security token included in the request is invalid.";

const ATTACKS: &[(&str, &str, Attack)] = &[
    ("another body", MISMATCH, |r| *r.body_mut() = Bytes::from("{ }")),
    ("no body", MISMATCH, |r| *r.body_mut() = Bytes::new()),
    ("another method", MISMATCH, |r| *r.method_mut() = http::Method::PUT),
    ("another path", MISMATCH, |r| *r.uri_mut() = "/v1".parse().unwrap()),
    ("another query", MISMATCH, |r| *r.uri_mut() = "/?a=b".parse().unwrap()),
    ("a path that normalizes to the signed one", "InvalidSignatureException: The path", |r| {
        *r.uri_mut() = "/x/..".parse().unwrap();
    }),
    ("an empty segment", "InvalidSignatureException: The path", |r| *r.uri_mut() = "//".parse().unwrap()),
    ("another host", MISMATCH, |r| set(r.headers_mut(), "host", "127.0.0.1:7421")),
    ("another operation", MISMATCH, |r| {
        set(r.headers_mut(), "x-amz-target", "CodePipeline_20150709.DeletePipeline");
    }),
    ("a second value", MISMATCH, |r| {
        r.headers_mut().append("x-amz-target", HeaderValue::from_static("CodePipeline_20150709.DeletePipeline"));
    }),
    ("another time of the day", MISMATCH, |r| set(r.headers_mut(), "x-amz-date", "20261122T102031Z")),
    ("another day", "InvalidSignatureException: Date in Credential scope", |r| {
        set(r.headers_mut(), "x-amz-date", "20261123T102030Z");
    }),
    ("another day in the scope", "InvalidSignatureException: Date in Credential scope", |r| {
        rewrite(r, "/20261122/", "/20261123/");
    }),
    (
        "an old date",
        "InvalidSignatureException: Signature expired: 20261122T100529Z is now earlier than 20261122T100530Z (20261122T102030Z - 15 min.)",
        |r| {
            set(r.headers_mut(), "x-amz-date", "20261122T100529Z");
        },
    ),
    (
        "a future date",
        "InvalidSignatureException: Signature not yet current: 20261122T103531Z is still later than 20261122T103530Z (20261122T102030Z + 15 min.)",
        |r| {
            set(r.headers_mut(), "x-amz-date", "20261122T103531Z");
        },
    ),
    ("no date", INCOMPLETE, |r| drop(r.headers_mut().remove("x-amz-date"))),
    ("a date of another form", INCOMPLETE, |r| set(r.headers_mut(), "x-amz-date", "2026-11-22T10:20:30Z")),
    ("a short date", INCOMPLETE, |r| set(r.headers_mut(), "x-amz-date", "20261122T10203Z")),
    ("a day that is none", INCOMPLETE, |r| set(r.headers_mut(), "x-amz-date", "20261131T102030Z")),
    ("another region", "InvalidSignatureException: Credential should be scoped to a valid region", |r| {
        rewrite(r, "/us-east-1/", "/us-west-1/");
    }),
    (
        "another service",
        "InvalidSignatureException: Credential should be scoped to correct service: 'codepipeline'.",
        |r| {
            rewrite(r, "/codepipeline/", "/s3/");
        },
    ),
    ("another terminator", "InvalidSignatureException: Credential should be scoped with a valid terminator", |r| {
        rewrite(r, "/aws4_request", "/aws3_request");
    }),
    ("a short scope", "IncompleteSignatureException: Credential must have exactly 5", |r| {
        rewrite(r, "/aws4_request", "");
    }),
    ("an unsigned host", "InvalidSignatureException: 'Host' or ':authority'", |r| rewrite(r, "host;", "")),
    ("an unsigned target", "InvalidSignatureException: 'x-amz-target' must be", |r| rewrite(r, ";x-amz-target", "")),
    ("an unsigned date", "InvalidSignatureException: 'x-amz-date' must be", |r| rewrite(r, ";x-amz-date", "")),
    ("an added AWS header", "InvalidSignatureException: 'x-amz-foo' must be", |r| {
        set(r.headers_mut(), "x-amz-foo", "bar");
    }),
    ("a header less", MISMATCH, |r| rewrite(r, "content-type;", "")),
    ("a header that is not there", MISMATCH, |r| rewrite(r, "host;", "host;no;")),
    ("headers out of order", INCOMPLETE, |r| rewrite(r, "content-type;host", "host;content-type")),
    ("a header twice", INCOMPLETE, |r| rewrite(r, "host;", "host;host;")),
    ("an upper-case header", INCOMPLETE, |r| rewrite(r, "host;", "Host;")),
    ("no headers", INCOMPLETE, |r| rewrite(r, "content-type;host;x-amz-date;x-amz-target", "")),
    ("an unsigned payload", INVALID, |r| set(r.headers_mut(), "x-amz-content-sha256", "UNSIGNED-PAYLOAD")),
    ("a session token", "InvalidSignatureException: 'x-amz-security-token' must be", |r| {
        set(r.headers_mut(), "x-amz-security-token", "token");
    }),
    ("an unknown key", UNRECOGNIZED, |r| rewrite(r, ID, "AKIAIOSFODNN7EXAMPLF")),
    ("no key", UNRECOGNIZED, |r| rewrite(r, ID, "")),
    ("no header", MISSING, |r| drop(r.headers_mut().remove(AUTHORIZATION))),
    ("an empty header", MISSING, |r| rewrite_all(r, "")),
    ("basic authentication", MISSING, |r| rewrite_all(r, "Basic QUtJQTpz")),
    ("another algorithm", MISSING, |r| rewrite(r, "HMAC-SHA256", "ECDSA-P256-SHA256")),
    (
        "the algorithm alone",
        "IncompleteSignatureException: Authorization header requires 'Credential' parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires 'Signature' parameter.",
        |r| {
            rewrite_all(r, "AWS4-HMAC-SHA256");
        },
    ),
    ("garbage", INCOMPLETE, |r| rewrite_all(r, "AWS4-HMAC-SHA256 !!,,;=;=\"")),
    ("a parameter twice", INCOMPLETE, |r| rewrite(r, "Signature=", "Signature=0, Signature=")),
    ("an unknown parameter", INCOMPLETE, |r| rewrite(r, "Signature=", "Other=0, Signature=")),
    ("two headers", INCOMPLETE, |r| {
        let value = r.headers()[AUTHORIZATION].clone();
        r.headers_mut().append(AUTHORIZATION, value);
    }),
    ("an upper-case signature", "IncompleteSignatureException: Signature must be 64", |r| {
        let value = r.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        let (start, signature) = value.split_once("Signature=").unwrap();
        let shouted = format!("{start}Signature={}", signature.to_uppercase());
        r.headers_mut().insert(AUTHORIZATION, shouted.parse().unwrap());
    }),
    ("another signature", MISMATCH, |r| {
        let value = r.headers()[AUTHORIZATION].to_str().unwrap().to_owned();
        let (start, _) = value.split_once("Signature=").unwrap();
        r.headers_mut().insert(AUTHORIZATION, format!("{start}Signature={}", "0".repeat(64)).parse().unwrap());
    }),
    ("a short signature", INCOMPLETE, |r| rewrite(r, "Signature=", "Signature=0")),
];

#[test]
fn every_attack_is_refused() {
    for (name, expected, attack) in ATTACKS {
        let mut request = Vector::json();
        attack(&mut request);
        match verify_now(request) {
            Ok(_) => panic!("{name}: verified"),
            Err(error) => {
                let shown = format!("{}: {error}", error.code());
                assert!(shown.starts_with(expected), "{name}: {shown}");
            }
        }
    }
}

#[test]
fn a_signature_counts_for_15_minutes_around_its_time_and_for_one_scope() {
    let at = |now_ms| verify_at(Vector::json(), &scope(), now_ms).map_err(|error| error.code());
    assert!(at(NOW_MS + 15 * MINUTE_MS).is_ok());
    assert!(at(NOW_MS - 15 * MINUTE_MS).is_ok());
    assert_eq!(at(NOW_MS + 15 * MINUTE_MS + 1000), Err("InvalidSignatureException"));
    assert_eq!(at(NOW_MS - 15 * MINUTE_MS - 1), Err("InvalidSignatureException"));
    assert_eq!(at(0), Err("InvalidSignatureException"));
    assert_eq!(at(u64::MAX), Err("InvalidSignatureException"));
    for other in [
        Scope { region: "eu-west-1".to_owned(), ..scope() },
        Scope { service: "s3", ..scope() },
        Scope { region: String::new(), ..scope() },
    ] {
        assert!(verify_at(Vector::json(), &other, NOW_MS).is_err(), "{other:?}");
    }
}

/// Signed as they should be, and refused all the same.
#[test]
fn what_is_signed_can_still_be_refused() {
    let check = |name: &'static str, value: &'static str, expected: &str| {
        let mut request = Vector::json();
        set(request.headers_mut(), name, value);
        sign(&mut request, &key(), &scope(), NOW_MS);
        assert_eq!(verify_now(request).unwrap_err().code(), expected, "{name}: {value}");
    };
    check("x-amz-security-token", "token", "UnrecognizedClientException");
    check("x-amz-content-sha256", "UNSIGNED-PAYLOAD", "InvalidSignatureException");
    check("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", "InvalidSignatureException");
    check("x-amz-content-sha256", "", "InvalidSignatureException");
    // SHA-256 of nothing, and the body is `{}`
    check(
        "x-amz-content-sha256",
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "InvalidSignatureException",
    );
}

#[test]
fn a_key_with_another_secret_does_not_verify() {
    let (parts, body) = Vector::json().into_parts();
    let other = AccessKey { secret: Secret::new("another"), ..key() };
    assert_eq!(verify(&parts, &body, &scope(), NOW_MS, |_| Some(other)), Err(AuthError::Mismatch));
}
