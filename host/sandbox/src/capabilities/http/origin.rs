//! Where a request goes: the origin of a URL, the grant that allows it, and which addresses are public.
//!
//! Pure: must not look names up.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ::http::Uri;
use ::http::uri::Scheme;

use super::grant::HttpGrant;

/// Scheme, host and port in the one form in which grants are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Origin {
    pub(super) tls: bool,
    /// Lower case, without a trailing dot; an address without brackets.
    pub(crate) host: String,
    pub(super) port: u16,
}

impl Origin {
    /// None where a request cannot go: no host, user information, or a scheme other than `http` and `https`.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let scheme = uri.scheme()?;
        let tls = *scheme == Scheme::HTTPS;
        let authority = uri.authority()?;
        if !(tls || *scheme == Scheme::HTTP) || authority.as_str().contains('@') {
            return None;
        }
        let host = normal_host(authority.host());
        let port = match authority.as_str()[authority.host().len()..].strip_prefix(':') {
            None => default_port(tls),
            Some(digits) => digits.parse().ok()?,
        };
        (!host.is_empty()).then_some(Self { tls, host, port })
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    pub(super) fn is_granted_by(&self, grant: &HttpGrant) -> bool {
        self.tls == grant.tls && self.port == grant.port && self.host == normal_host(&grant.host)
    }

    /// Whether a secret that is granted for this name may be sent here. A name with a scheme is an origin; a host's name alone is that
    /// host's https at the usual port, or else the only one of its origins that the action is granted.
    pub(crate) fn is_named(&self, name: &str, granted: &[HttpGrant]) -> bool {
        if let Some(origin) = Self::written(name) {
            return origin == *self;
        }
        let is_usual = self.tls && self.port == default_port(true);
        let is_other = |grant: &HttpGrant| normal_host(&grant.host) == self.host && !self.is_granted_by(grant);
        normal_host(name) == self.host && (is_usual || !granted.iter().any(is_other))
    }

    /// The shortest name for it.
    pub(crate) fn name(&self, granted: &[HttpGrant]) -> String {
        if self.is_named(&self.host, granted) { self.host.clone() } else { self.to_string() }
    }

    /// The origin that a text with a scheme names.
    pub(crate) fn written(text: &str) -> Option<Self> {
        let uri: Uri = text.contains("://").then(|| text.parse().ok())??;
        if uri.path_and_query().is_some_and(|path| path.as_str() != "/") {
            return None;
        }
        Self::of(&uri)
    }

    /// The line of a grants file that allows this origin.
    pub(super) fn grant_line(&self, private: bool) -> String {
        if private {
            format!("http = [{{ origin = \"{self}\", private = true }}]")
        } else {
            format!("http = [\"{self}\"]")
        }
    }

    /// Whether the name alone tells that the host is not a public one.
    pub(super) fn looks_private(&self) -> bool {
        let local_name = self.host == "localhost" || self.host.ends_with(".localhost");
        local_name || self.address().is_some_and(|address| !is_public(address))
    }

    /// The value of the `Host` header.
    pub(super) fn host_and_port(&self) -> String {
        let host = match self.address() {
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            _ => self.host.clone(),
        };
        if self.port == default_port(self.tls) { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.host_and_port())
    }
}

fn default_port(tls: bool) -> u16 {
    if tls { 443 } else { 80 }
}

/// The form in which host names are compared.
pub(crate) fn normal_host(host: &str) -> String {
    let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
    // An IPv6 address has many spellings.
    host.parse::<IpAddr>().map_or(host, |address| address.to_string())
}

/// Whether an address belongs to a host of the public internet. Everything else needs a `private` grant: the host's own
/// services, its network, and the metadata services that hand out a cloud machine's credentials.
/// (IANA special-purpose address registries; RFC 6890.)
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or_else(|| is_public_v6(address), is_public_v4),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special = match address.octets() {
        [0 | 10 | 127, ..] => true,  // this network, private, loopback
        [100, 64..=127, ..] => true, // carrier-grade NAT
        [168, 63, 129, 16] => true,  // Azure's metadata and wire server
        [169, 254, ..] => true,      // link-local, with most metadata services
        [172, 16..=31, ..] => true,  // private
        [192, 0, 0 | 2, _] => true,  // protocol assignments, documentation
        [192, 88, 99, _] => true,    // 6to4 relays
        [192, 168, ..] => true,      // private
        [198, 18 | 19, ..] => true,  // benchmarks
        [198, 51, 100, _] => true,   // documentation
        [203, 0, 113, _] => true,    // documentation
        [224..=255, ..] => true,     // multicast, reserved, broadcast
        _ => false,
    };
    !special
}

/// Only global unicast (2000::/3), less what is special in it or carries an IPv4 address that was not checked; NAT64's
/// 64:ff9b::/96, loopback, link-local, unique-local, multicast and IPv4-compatible addresses lie outside of it.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let special = match address.segments() {
        [0x2001, 0x0000..=0x01ff, ..] => true, // protocol assignments: Teredo, ORCHID, benchmarks
        [0x2001, 0x0db8, ..] => true,          // documentation
        [0x2002, ..] => true,                  // 6to4
        [0x3fff, 0x0000..=0x0fff, ..] => true, // documentation
        [first, ..] => first & 0xe000 != 0x2000,
    };
    !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_have_one_form() {
        let cases = [
            ("https://Example.COM./x?y", Some("https://example.com")),
            ("http://example.com:80", Some("http://example.com")),
            ("https://example.com:80/", Some("https://example.com:80")),
            ("http://[::1]:8080/", Some("http://[::1]:8080")),
            ("http://[0:0:0:0:0:0:0:1]/", Some("http://[::1]")),
            ("http://2130706433/", Some("http://2130706433")),
            ("http://user@example.com/", None),
            ("http://example.com@127.0.0.1/", None),
            ("ftp://example.com/", None),
            ("http://example.com:/", None),
            ("http://example.com:99999/", None),
            ("http://./", None),
            ("/x", None),
        ];
        for (url, wanted) in cases {
            let origin = url.parse::<Uri>().ok().as_ref().and_then(Origin::of);
            assert_eq!(origin.map(|origin| origin.to_string()).as_deref(), wanted, "{url}");
        }
    }

    #[test]
    fn only_public_addresses_are_public() {
        let public = [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:200::1",
            "::ffff:8.8.8.8",
        ];
        let special = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.9.9.9",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:10::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ];
        for (addresses, wanted) in [(&public[..], true), (&special[..], false)] {
            for address in addresses {
                assert_eq!(is_public(address.parse().unwrap()), wanted, "{address}");
            }
        }
    }
}
