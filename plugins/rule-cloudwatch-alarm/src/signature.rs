//! Owns how a request of one of AWS's JSON protocols is signed (AWS General Reference, "Signature Version 4 signing process"). Must
//! not know what it asks for.

use hmac::{Hmac, Mac as _};
use jiff::Timestamp;
use pipewright_sdk::http::Request;
use pipewright_sdk::prelude::*;
use sha2::{Digest as _, Sha256};

pub(crate) struct Signer<'a> {
    pub key_id: &'a str,
    pub key: &'a str,
    pub region: &'a str,
    pub service: &'a str,
}

/// A `POST` of `body` to an endpoint with these headers, signed as sent at `now` (milliseconds since 1970).
///
/// # Errors
/// Configuration, where the endpoint is no address.
pub(crate) fn signed(
    signer: &Signer<'_>,
    endpoint: &str,
    headers: &[(&str, &str)],
    body: Vec<u8>,
    now: u64,
) -> Result<Request> {
    let (authority, headers) = headers_of(signer, endpoint, headers, &body, now)?;
    let mut request = http::post(format!("{}/", authority.origin)).body(body);
    for (name, value) in headers {
        request = request.header(name, value);
    }
    Ok(request)
}

pub(crate) struct Authority<'a> {
    origin: &'a str,
    host: &'a str,
}

fn authority(endpoint: &str) -> Option<Authority<'_>> {
    let origin = endpoint.trim_end_matches('/');
    let (host, port) = match (origin.strip_prefix("https://"), origin.strip_prefix("http://")) {
        (Some(host), _) => (host, ":443"),
        (_, Some(host)) => (host, ":80"),
        _ => return None,
    };
    let is_host = !host.is_empty() && !host.contains(['/', '?', '#', '@']);
    is_host.then(|| Authority { origin, host: host.strip_suffix(port).unwrap_or(host) })
}

/// All headers but `host`, which follows from the address.
fn headers_of<'a>(
    signer: &Signer<'_>,
    endpoint: &'a str,
    headers: &[(&str, &str)],
    body: &[u8],
    now: u64,
) -> Result<(Authority<'a>, Vec<(String, String)>)> {
    let Some(authority) = authority(endpoint) else {
        let message = format!("`EndpointUrl` is `{endpoint}`: write the address of a host, as `https://host`");
        return Err(Failure::configuration(message));
    };
    let now = i64::try_from(now).ok().and_then(|now| Timestamp::from_millisecond(now).ok()).unwrap_or_default();
    let time = now.strftime("%Y%m%dT%H%M%SZ").to_string();
    let mut covered: Vec<(&str, &str)> = [&[("host", authority.host), ("x-amz-date", time.as_str())], headers].concat();
    covered.sort_unstable();
    let names = covered.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(";");
    let lines: String = covered.iter().map(|(name, value)| format!("{name}:{value}\n")).collect();
    let canonical = format!("POST\n/\n\n{lines}\n{names}\n{}", hex(&Sha256::digest(body)));
    let scope = [&time[..8], signer.region, signer.service, "aws4_request"];
    let text = format!("AWS4-HMAC-SHA256\n{time}\n{}\n{}", scope.join("/"), hex(&Sha256::digest(canonical.as_bytes())));
    let key = format!("AWS4{}", signer.key).into_bytes();
    let key = scope.iter().fold(key, |key, part| keyed(&key, part));
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={}/{}, SignedHeaders={names}, Signature={}",
        signer.key_id,
        scope.join("/"),
        hex(&keyed(&key, &text))
    );
    let given = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let made = [("x-amz-date".to_owned(), time.clone()), ("authorization".to_owned(), authorization)];
    Ok((authority, given.chain(made).collect()))
}

fn keyed(key: &[u8], message: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(message.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use pipewright_aws::auth::{AccessKey, Scope, Secret, verify};

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// By the verification that the host's own API has, which is held to AWS's examples.
    #[test]
    fn what_is_signed_is_verified() {
        let check = |endpoint: &str, host: &str| {
            let signer = Signer { key_id: "AKIAEXAMPLE", key: "wJalr/+x", region: "eu-west-1", service: "monitoring" };
            let given = [("x-amz-target", "A.B"), ("content-type", "application/x-amz-json-1.0")];
            let (_, headers) = headers_of(&signer, endpoint, &given, b"{}", NOW).unwrap();
            let request = ::http::Request::post("/").header("host", host);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
            let (parts, ()) = request.body(()).unwrap().into_parts();
            let scope = Scope { region: "eu-west-1".to_owned(), service: "monitoring" };
            let key = |id: &str| {
                let (id, user) = (id.to_owned(), String::new());
                (id == "AKIAEXAMPLE").then(|| AccessKey { id, secret: Secret::new("wJalr/+x"), user })
            };
            assert_eq!(verify(&parts, b"{}", &scope, NOW, key).map(|it| it.access_key), Ok("AKIAEXAMPLE".to_owned()));
            assert!(verify(&parts, b"{ }", &scope, NOW, key).is_err());
        };
        check("https://monitoring.eu-west-1.amazonaws.com", "monitoring.eu-west-1.amazonaws.com");
        check("http://127.0.0.1:4566/", "127.0.0.1:4566");
        check("https://host:443", "host");
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for endpoint in ["", "host", "ftp://host", "https://", "https://host/path", "https://a@host"] {
            assert!(authority(endpoint).is_none(), "{endpoint}");
        }
    }
}
