//! AWS Signature Version 4: signs requests, and verifies them.
//!
//! Owns the string to sign, the signing key, the `Authorization` header, and every check of a signed request (AWS General
//! Reference, "Signature Version 4 signing process"). Both sides make the canonical request by the one function in
//! `canonical`. Must not know who may do what.

mod canonical;
mod header;
pub mod s3;
#[cfg(test)]
mod tests;

use hmac::{Hmac, Mac as _};
use http::header::{AUTHORIZATION, DATE, HOST};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use pipewright_base::hex;
use sha2::{Digest as _, Sha256};

use super::{AccessKey, Secret};
use canonical::canonical_request;
use header::Authorization;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const TIMESTAMP: &str = "%Y%m%dT%H%M%SZ";
const SKEW_MINUTES: u64 = 15;
/// How the message begins that says for which region to sign.
pub const OTHER_REGION: &str = "Credential should be scoped to a valid region";
/// Stops the replay of a request that was caught long ago (and a clock that is wrong says so here).
const SKEW_MS_MAX: u64 = SKEW_MINUTES * 60 * 1000;

const X_AMZ_DATE: HeaderName = HeaderName::from_static("x-amz-date");
const X_AMZ_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");
const X_AMZ_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");

/// What a signature is good for, beside its day.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub region: String,
    /// as in the credential scope: `codepipeline`
    pub service: &'static str,
}

/// Who signed a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    pub access_key: String,
    pub user: String,
    /// In hexadecimal: the same for the same request sent again.
    pub signature: String,
}

/// Why a request counts as nobody's. The message is worded as AWS words it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// It is not signed, or not with this algorithm.
    #[error("Missing Authentication Token")]
    Missing,
    /// The header lacks a part, or a part has the wrong form.
    #[error("{0}")]
    Incomplete(String),
    /// Its time, its scope or what it covers is not what it must be.
    #[error("{0}")]
    Invalid(String),
    /// Somebody altered the request, or signed with another secret.
    #[error(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access \
         Key and signing method. Consult the service documentation for details."
    )]
    Mismatch,
    /// The access key is not known. Session tokens are not issued here, so none is known.
    #[error("The security token included in the request is invalid.")]
    Unrecognized,
}

impl AuthError {
    /// The error's name in the AWS JSON protocols.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Missing => "MissingAuthenticationTokenException",
            Self::Incomplete(_) => "IncompleteSignatureException",
            Self::Invalid(_) | Self::Mismatch => "InvalidSignatureException",
            Self::Unrecognized => "UnrecognizedClientException",
        }
    }
}

/// Signs `request` as sent at `now_ms` (milliseconds since 1970): sets `x-amz-date`, `authorization`, and `host` where it
/// is missing. Every header that is there is signed, but those that proxies and HTTP libraries change.
pub fn sign(request: &mut Request<bytes::Bytes>, key: &AccessKey, scope: &Scope, now_ms: u64) {
    let timestamp = timestamp(now_ms).strftime(TIMESTAMP).to_string();
    let (mut parts, body) = std::mem::take(request).into_parts();
    parts.headers.remove(AUTHORIZATION);
    parts.headers.insert(X_AMZ_DATE, ascii(&timestamp));
    if let (None, Some(authority)) = (parts.headers.get(HOST), parts.uri.authority()) {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        parts.headers.insert(HOST, ascii(host));
    }
    let mut names: Vec<&str> = parts.headers.keys().map(HeaderName::as_str).filter(|n| header::is_stable(n)).collect();
    names.sort_unstable();
    let day = &timestamp[..8];
    let canonical = canonical_request(&parts, &names, &hex::encode(Sha256::digest(&body)));
    let signature = signature(&key.secret, &timestamp, day, scope, &canonical).finalize().into_bytes();
    let value = format!(
        "{ALGORITHM} Credential={}/{day}/{}/{}/{TERMINATOR}, SignedHeaders={}, Signature={}",
        key.id,
        scope.region,
        scope.service,
        names.join(";"),
        hex::encode(signature),
    );
    parts.headers.insert(AUTHORIZATION, ascii(&value));
    *request = Request::from_parts(parts, body);
}

/// The id of the access key that a request claims to be signed with: nothing of it is verified yet.
///
/// # Errors
/// The request is not signed, or not in the form of a signed request.
pub fn claimed_key(parts: &Parts) -> Result<String, AuthError> {
    Authorization::of(&parts.headers).map(|authorization| authorization.access_key)
}

/// Tells who signed the request, if everything that it is made of is as it was signed, for `expected`, within
/// 15 minutes of `now_ms` (milliseconds since 1970). `keys` finds an access key by its id.
///
/// # Errors
/// See [`AuthError`]; nothing in its message tells more about a key than whether it is known.
pub fn verify(
    parts: &Parts,
    body: &[u8],
    expected: &Scope,
    now_ms: u64,
    keys: impl FnOnce(&str) -> Option<AccessKey>,
) -> Result<Verified, AuthError> {
    let authorization = Authorization::of(&parts.headers)?;
    let signed_at = signed_at(parts)?;
    let timestamp = signed_at.strftime(TIMESTAMP).to_string();
    check_scope(&authorization, &timestamp, expected)?;
    check_time(signed_at, &timestamp, now_ms)?;
    check_covered(parts, &authorization)?;
    canonical::check_path(parts.uri.path())?;
    let body_digest = hex::encode(Sha256::digest(body));
    if let Some(claimed) = parts.headers.get(X_AMZ_CONTENT_SHA256)
        && claimed.as_bytes() != body_digest.as_bytes()
    {
        return Err(AuthError::Invalid(
            "The value of 'x-amz-content-sha256' is not the SHA-256 of the body.".to_owned(),
        ));
    }
    // An unknown key costs the same work as a known one, so that the time of an answer does not name the keys there are.
    let key = keys(&authorization.access_key);
    let unknown = Secret::new("");
    let secret = key.as_ref().map_or(&unknown, |key| &key.secret);
    let canonical = canonical_request(parts, &authorization.signed_headers, &body_digest);
    let matches = signature(secret, &timestamp, &timestamp[..8], expected, &canonical)
        .verify_slice(&authorization.signature)
        .is_ok();
    match key {
        None => Err(AuthError::Unrecognized),
        Some(_) if parts.headers.contains_key(X_AMZ_SECURITY_TOKEN) => Err(AuthError::Unrecognized),
        Some(_) if !matches => Err(AuthError::Mismatch),
        Some(key) => {
            let signature = hex::encode(authorization.signature);
            Ok(Verified { access_key: key.id, user: key.user, signature })
        }
    }
}

/// The time in `x-amz-date`, or in `date`, which HTTP libraries write in their own form.
fn signed_at(parts: &Parts) -> Result<Timestamp, AuthError> {
    let incomplete = |problem: &str| AuthError::Incomplete(problem.to_owned());
    let header = parts.headers.get(X_AMZ_DATE).or_else(|| parts.headers.get(DATE)).ok_or_else(|| {
        incomplete("Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header.")
    })?;
    let text = header.to_str().unwrap_or_default();
    let basic = DateTime::strptime(TIMESTAMP, text)
        .ok()
        // Reading is more lenient than the form allows.
        .filter(|time| time.strftime(TIMESTAMP).to_string() == text)
        .and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
    let long = || jiff::fmt::rfc2822::parse(text).ok().map(|time| time.timestamp());
    basic.or_else(long).ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format', as in 20150830T123600Z."))
}

fn check_scope(authorization: &Authorization, timestamp: &str, expected: &Scope) -> Result<(), AuthError> {
    let invalid = |problem: String| Err(AuthError::Invalid(problem));
    let day = &timestamp[..8];
    if authorization.date != day {
        return invalid(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != '{day}', \
             from '{timestamp}'.",
            authorization.date,
        ));
    }
    if authorization.region != expected.region {
        return invalid(format!("{OTHER_REGION}, '{}', not '{}'.", expected.region, authorization.region));
    }
    if authorization.service != expected.service {
        return invalid(format!("Credential should be scoped to correct service: '{}'.", expected.service));
    }
    if authorization.terminator != TERMINATOR {
        return invalid(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
            authorization.terminator
        ));
    }
    Ok(())
}

fn check_time(signed_at: Timestamp, text: &str, now_ms: u64) -> Result<(), AuthError> {
    let signed_ms = u64::try_from(signed_at.as_millisecond()).unwrap_or(0);
    let format = |ms: u64| timestamp(ms).strftime(TIMESTAMP).to_string();
    let (earliest, latest) = (now_ms.saturating_sub(SKEW_MS_MAX), now_ms.saturating_add(SKEW_MS_MAX));
    // A timestamp counts whole seconds.
    if signed_ms < earliest / 1000 * 1000 {
        return Err(AuthError::Invalid(format!(
            "Signature expired: {text} is now earlier than {} ({} - {SKEW_MINUTES} min.)",
            format(earliest),
            format(now_ms),
        )));
    }
    if signed_ms > latest {
        return Err(AuthError::Invalid(format!(
            "Signature not yet current: {text} is still later than {} ({} + {SKEW_MINUTES} min.)",
            format(latest),
            format(now_ms),
        )));
    }
    Ok(())
}

/// The host and everything that AWS gives a meaning to must be signed, or whoever carries the request could add it.
fn check_covered(parts: &Parts, authorization: &Authorization) -> Result<(), AuthError> {
    let signed = |name: &str| authorization.signed_headers.iter().any(|signed| *signed == name);
    if !signed("host") {
        return Err(AuthError::Invalid(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }
    match parts.headers.keys().find(|name| name.as_str().starts_with("x-amz-") && !signed(name.as_str())) {
        Some(name) => Err(AuthError::Invalid(format!("'{name}' must be a 'SignedHeader' in the AWS Authorization."))),
        None => Ok(()),
    }
}

/// The signature of a canonical request, still to be compared (in constant time) or written out.
fn signature(secret: &Secret, timestamp: &str, day: &str, scope: &Scope, canonical: &[u8]) -> Hmac<Sha256> {
    let key = signing_key(secret, day, scope);
    let string_to_sign = format!(
        "{ALGORITHM}\n{timestamp}\n{day}/{}/{}/{TERMINATOR}\n{}",
        scope.region,
        scope.service,
        hex::encode(Sha256::digest(canonical)),
    );
    keyed(&key, string_to_sign.as_bytes())
}

/// The key of one day, region and service.
fn signing_key(secret: &Secret, day: &str, scope: &Scope) -> Vec<u8> {
    let key = format!("AWS4{}", secret.expose()).into_bytes();
    let parts = [day, &scope.region, scope.service, TERMINATOR];
    parts.iter().fold(key, |key, part| keyed(&key, part.as_bytes()).finalize().into_bytes().to_vec())
}

fn keyed(key: &[u8], message: &[u8]) -> Hmac<Sha256> {
    let mut mac = Hmac::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message);
    mac
}

fn timestamp(ms: u64) -> Timestamp {
    i64::try_from(ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok()).unwrap_or(Timestamp::MAX)
}

/// Of text that is visible ASCII, which everything in a scope and a host is; of other text, nothing that verifies.
fn ascii(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static(""))
}
