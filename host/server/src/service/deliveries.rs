//! Deliveries: requests by which other systems tell that something happened, and the ways in which they prove who they are.
//!
//! Owns the proofs, which are about the very bytes that came, and are compared in constant time. Must not know what a delivery
//! starts.

use std::collections::BTreeMap;
use std::net::IpAddr;

use bytes::Bytes;
use pipewright_base::{Digest, hex};
use pipewright_text::first_bytes;
use ring::hmac;

/// The headers by which senders name a delivery: the same name is the same delivery.
const IDS: &[&str] = &[
    "x-github-delivery",
    "x-gitea-delivery",
    "x-forgejo-delivery",
    "x-gogs-delivery",
    "x-request-uuid",
    "x-gitlab-event-uuid",
];
/// Stops names that fill the store.
const ID_BYTES_MAX: usize = 256;

/// One request of another system.
#[derive(Clone, Debug)]
pub struct Delivery {
    pub from: IpAddr,
    /// By their names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Bytes,
    /// What its answer is called.
    pub request: String,
}

/// What came of one that was let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivered {
    /// So many executions.
    Started(usize),
    /// It is no event that starts anything.
    Unmatched,
    /// It came before, and started then what it starts.
    Replayed,
}

impl Delivered {
    /// For metrics, logs and answers.
    pub fn label(self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Unmatched => "unmatched",
            Self::Replayed => "replayed",
        }
    }
}

impl Delivery {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// What its sender calls it.
    pub fn id(&self) -> Option<&str> {
        IDS.iter().find_map(|name| self.header(name)).filter(|id| !id.is_empty())
    }

    /// The name under which it is remembered, where it has one.
    pub fn name(&self) -> Option<String> {
        self.id().map(|id| format!("id:{}", first_bytes(id, ID_BYTES_MAX)))
    }

    /// The same by what it says, which nobody without the secret can change.
    pub fn content(&self) -> String {
        format!("sha256:{}", Digest::of(&self.body))
    }

    /// Whether a header has an HMAC of the body: `sha256=HEX`, `sha1=HEX`, or the digits of SHA-256 alone.
    pub fn is_signed(&self, header: &str, secret: &str) -> bool {
        let Some(given) = self.header(header) else { return false };
        let (algorithm, digits) = match given.split_once('=') {
            Some(("sha256", digits)) => (hmac::HMAC_SHA256, digits),
            Some(("sha1", digits)) => (hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, digits),
            Some(_) => return false,
            None => (hmac::HMAC_SHA256, given),
        };
        let Some(mac) = hex::decode(&digits.to_ascii_lowercase()) else { return false };
        hmac::verify(&hmac::Key::new(algorithm, secret.as_bytes()), &self.body, &mac).is_ok()
    }

    /// Whether a header has the secret itself.
    pub fn has_token(&self, header: &str, secret: &str) -> bool {
        self.header(header).is_some_and(|given| is_same(given, secret))
    }

    /// Whether it came from an address, or one of a range like `10.0.0.0/8`.
    pub fn is_from(&self, range: &Range) -> bool {
        range.contains(self.from)
    }
}

/// Whether a text is a secret one, in a time that says nothing of it.
pub fn is_same(given: &str, secret: &str) -> bool {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    hmac::verify(&key, given.as_bytes(), hmac::sign(&key, secret.as_bytes()).as_ref()).is_ok()
}

/// Addresses with the same first bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    address: IpAddr,
    bits: u32,
}

impl Range {
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().ok()?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => bits_max,
            Some(bits) => bits.parse().ok().filter(|bits| *bits <= bits_max)?,
        };
        Some(Self { address, bits })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let differ = match (self.address, address.to_canonical()) {
            (IpAddr::V4(one), IpAddr::V4(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            (IpAddr::V6(one), IpAddr::V6(other)) => (one.to_bits() ^ other.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= self.bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Known answers, made with `openssl dgst -hmac`.
    const SECRET: &str = "It's a Secret to Everybody";
    const BODY: &str = "Hello, World!";
    const SHA256: &str = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";

    fn delivery(headers: &[(&str, &str)], body: &str) -> Delivery {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let body = Bytes::copy_from_slice(body.as_bytes());
        Delivery { from: [127, 0, 0, 1].into(), headers, body, request: "r".to_owned() }
    }

    #[test]
    fn a_body_is_signed_with_the_secret_or_it_is_not() {
        let sha1 = "sha1=".to_owned()
            + &hex::encode(hmac::sign(
                &hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, SECRET.as_bytes()),
                BODY.as_bytes(),
            ));
        let whole = format!("sha256={SHA256}");
        let cases = [
            (whole.as_str(), BODY, true),
            (SHA256, BODY, true),
            (sha1.as_str(), BODY, true),
            (&whole.to_uppercase().replace("SHA256", "sha256"), BODY, true),
            (whole.as_str(), "Hello, World", false),
            (&whole[..whole.len() - 2], BODY, false),
            (&whole[..whole.len() - 1], BODY, false),
            ("sha256=", BODY, false),
            ("", BODY, false),
            (&sha1.replace("sha1", "sha256"), BODY, false),
            (&sha1.replace("sha1", "md5"), BODY, false),
            ("sha256=é", BODY, false),
        ];
        for (header, body, expected) in cases {
            let delivery = delivery(&[("x-hub-signature-256", header)], body);
            assert_eq!(delivery.is_signed("x-hub-signature-256", SECRET), expected, "{header}");
            assert!(!delivery.is_signed("x-hub-signature-256", "another"), "{header}");
            assert!(!delivery.is_signed("x-hub-signature", SECRET), "{header}");
        }
    }

    #[test]
    fn a_token_is_the_secret_or_it_is_not() {
        for (given, expected) in
            [(Some(SECRET), true), (Some("It's a Secret to Everybod"), false), (Some(""), false), (None, false)]
        {
            let headers: Vec<_> = given.iter().map(|given| ("x-gitlab-token", *given)).collect();
            assert_eq!(delivery(&headers, BODY).has_token("x-gitlab-token", SECRET), expected, "{given:?}");
        }
    }

    #[test]
    fn a_range_has_the_addresses_that_begin_so() {
        let check = |range: &str, address: &str, expected: Option<bool>| {
            let contains = Range::parse(range).map(|range| range.contains(address.parse().unwrap()));
            assert_eq!(contains, expected, "{range} {address}");
        };
        check("10.0.0.0/8", "10.255.0.1", Some(true));
        check("10.0.0.0/8", "11.0.0.1", Some(false));
        check("10.0.0.0/8", "::ffff:10.0.0.1", Some(true));
        check("127.0.0.1", "127.0.0.1", Some(true));
        check("127.0.0.1", "127.0.0.2", Some(false));
        check("0.0.0.0/0", "203.0.113.9", Some(true));
        check("0.0.0.0/0", "2001:db8::1", Some(false));
        check("2001:db8::/32", "2001:db8:1::1", Some(true));
        for wrong in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "example.com"] {
            check(wrong, "10.0.0.1", None);
        }
    }
}
