//! The canonical request: the one text that both sides make of a request.
//!
//! Owns its path, query and header forms. Must not know keys or times.

use http::header::HOST;
use http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

use super::AuthError;

/// What is not encoded: RFC 3986's unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
const ENCODED_IN_PATH: &AsciiSet = &ENCODED.remove(b'/');

/// The canonical request with `signed` headers (lower case, sorted) and the hexadecimal SHA-256 of the body.
pub(super) fn canonical_request<S: AsRef<str>>(parts: &Parts, signed: &[S], body_digest: &str) -> Vec<u8> {
    // A path on the wire is encoded once; every service but S3 signs it encoded twice.
    let path = percent_encode(parts.uri.path().as_bytes(), ENCODED_IN_PATH).to_string();
    canonical_request_of(parts, &path, signed, body_digest)
}

/// The path as S3 signs it: encoded once, whichever characters the client encoded.
pub(super) fn path_as_sent(parts: &Parts) -> String {
    let decoded: Vec<u8> = percent_decode(parts.uri.path().as_bytes()).collect();
    percent_encode(&decoded, ENCODED_IN_PATH).to_string()
}

/// The same with a path in its canonical form.
pub(super) fn canonical_request_of<S: AsRef<str>>(
    parts: &Parts,
    path: &str,
    signed: &[S],
    body_digest: &str,
) -> Vec<u8> {
    let mut text = Vec::with_capacity(512);
    text.extend_from_slice(parts.method.as_str().as_bytes());
    text.push(b'\n');
    text.extend_from_slice(if path.is_empty() { b"/" } else { path.as_bytes() });
    text.push(b'\n');
    text.extend_from_slice(canonical_query(parts.uri.query().unwrap_or_default()).as_bytes());
    text.push(b'\n');
    for name in signed {
        text.extend_from_slice(name.as_ref().as_bytes());
        text.push(b':');
        canonical_values(parts, name.as_ref(), &mut text);
        text.push(b'\n');
    }
    text.push(b'\n');
    for (i, name) in signed.iter().enumerate() {
        if i > 0 {
            text.push(b';');
        }
        text.extend_from_slice(name.as_ref().as_bytes());
    }
    text.push(b'\n');
    text.extend_from_slice(body_digest.as_bytes());
    text
}

/// The specification removes `.`, `..` and empty segments from a path before it is signed. Then a signature would also
/// cover paths that are served differently, so they are refused instead; no SDK sends one.
pub(super) fn check_path(path: &str) -> Result<(), AuthError> {
    let inner = path.strip_prefix('/').unwrap_or(path);
    let inner = inner.strip_suffix('/').unwrap_or(inner);
    if !inner.is_empty() && inner.split('/').any(|segment| ["", ".", ".."].contains(&segment)) || path == "//" {
        return Err(AuthError::Invalid(
            "The path of a signed request must not have empty, '.' or '..' segments.".to_owned(),
        ));
    }
    Ok(())
}

/// Names and values as a server reads them (`+` is a space), encoded and sorted.
fn canonical_query(query: &str) -> String {
    let encode = |text: &str| {
        let text = text.replace('+', " ");
        let decoded: Vec<u8> = percent_decode(text.as_bytes()).collect();
        percent_encode(&decoded, ENCODED).to_string()
    };
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (encode(name), encode(value)))
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

/// A header's values joined by commas, each trimmed, and with one space where it had several.
fn canonical_values(parts: &Parts, name: &str, text: &mut Vec<u8>) {
    let mut values = parts.headers.get_all(name).iter().map(|value| value.as_bytes()).peekable();
    // HTTP/2 carries the host in the request's target.
    if let (None, true, Some(authority)) = (values.peek(), name == HOST.as_str(), parts.uri.authority()) {
        text.extend_from_slice(authority.as_str().as_bytes());
    }
    for (i, value) in values.enumerate() {
        if i > 0 {
            text.push(b',');
        }
        let words = value.split(|byte| matches!(byte, b' ' | b'\t')).filter(|word| !word.is_empty());
        for (i, word) in words.enumerate() {
            if i > 0 {
                text.push(b' ');
            }
            text.extend_from_slice(word);
        }
    }
}
