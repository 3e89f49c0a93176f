//! The `Authorization` header of a signed request, read strictly.
//!
//! Owns its syntax. Must not know what a signature must be.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use pipewright_base::hex;

use super::{ALGORITHM, AuthError};

/// Stops a header that makes each check of a request long.
const SIGNED_HEADERS_MAX: usize = 100;
const SIGNATURE_BYTES: usize = 32;

/// The header's parts, as they stand there.
pub(super) struct Authorization {
    pub(super) access_key: String,
    pub(super) date: String,
    pub(super) region: String,
    pub(super) service: String,
    pub(super) terminator: String,
    /// lower case, sorted, each once
    pub(super) signed_headers: Vec<String>,
    pub(super) signature: [u8; SIGNATURE_BYTES],
}

/// Whether a header reaches the server as it was sent: those that proxies and HTTP libraries set stay unsigned.
pub(super) fn is_stable(name: &str) -> bool {
    const CHANGED: &[&str] =
        &["authorization", "connection", "expect", "te", "transfer-encoding", "user-agent", "x-amzn-trace-id"];
    !CHANGED.contains(&name)
}

impl Authorization {
    pub(super) fn of(headers: &HeaderMap) -> Result<Self, AuthError> {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let value = values.next().ok_or(AuthError::Missing)?;
        let value = value.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
        let (algorithm, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
        if algorithm != ALGORITHM {
            return Err(AuthError::Missing);
        }
        if values.next().is_some() {
            return Err(incomplete("There must be one Authorization header."));
        }
        let [credential, signed_headers, signature] = parameters(rest)?;
        let scope: Vec<&str> = credential.split('/').collect();
        let [access_key, date, region, service, terminator] = scope[..] else {
            return Err(incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
                 '{credential}'"
            )));
        };
        Ok(Self {
            access_key: access_key.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            terminator: terminator.to_owned(),
            signed_headers: header_names(signed_headers)?,
            signature: hex::decode_array(signature)
                .ok_or_else(|| incomplete("Signature must be 64 lower-case hexadecimal digits."))?,
        })
    }
}

/// `Credential`, `SignedHeaders` and `Signature`, in any order, each once, and nothing else.
fn parameters(text: &str) -> Result<[&str; 3], AuthError> {
    const NAMES: [&str; 3] = ["Credential", "SignedHeaders", "Signature"];
    let mut found = [None; 3];
    for parameter in text.split(',').map(str::trim).filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').ok_or_else(|| {
            incomplete(format!(
                "'{parameter}' not a valid key=value pair (missing equal-sign) in Authorization header."
            ))
        })?;
        let slot = NAMES.iter().position(|known| *known == name).map(|i| &mut found[i]);
        match slot {
            Some(slot @ None) => *slot = Some(value),
            Some(Some(_)) => return Err(incomplete(format!("Authorization header has '{name}' twice."))),
            None => return Err(incomplete(format!("Authorization header has an unknown parameter '{name}'."))),
        }
    }
    match found {
        [Some(credential), Some(signed_headers), Some(signature)] => Ok([credential, signed_headers, signature]),
        _ => {
            let missing = NAMES.iter().zip(found).filter(|(_, value)| value.is_none());
            let problems: Vec<_> =
                missing.map(|(name, _)| format!("Authorization header requires '{name}' parameter.")).collect();
            Err(incomplete(problems.join(" ")))
        }
    }
}

fn header_names(text: &str) -> Result<Vec<String>, AuthError> {
    let names: Vec<&str> = text.split(';').collect();
    let is_name =
        |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase());
    if names.len() > SIGNED_HEADERS_MAX || !names.iter().all(is_name) || !names.is_sorted_by(|a, b| a < b) {
        return Err(incomplete("SignedHeaders must be lower-case header names, sorted, each once."));
    }
    Ok(names.into_iter().map(str::to_owned).collect())
}

fn incomplete(problem: impl Into<String>) -> AuthError {
    AuthError::Incomplete(problem.into())
}
