//! What is granted of requests: origins, as grants files have them and as they are compared; and which hosts are asked for.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::origin::normal_host;
use super::{HTTP, tape};
use crate::abi;
use crate::capabilities::{Capability, Row, Setup};
use crate::grants::{CaseFolder, Place, Use};
use crate::rights::{Asked, Asks};
use crate::state::State;

/// One origin that requests may go to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpGrant {
    pub tls: bool,
    /// Lower case, without a trailing dot; an address in its usual text form, without brackets.
    pub host: String,
    pub port: u16,
    /// The host may resolve to a loopback, link-local or private address.
    pub private: bool,
}

/// What a grants file says of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected \"https://host\", or { origin = \"http://host:port\", private = true }")]
pub enum Origin {
    Public(String),
    Detailed(DetailedOrigin),
}

/// One origin that requests may go to, where there is more to say of it than its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DetailedOrigin {
    /// `https://host`, or `http://host:port`.
    origin: String,
    /// Its name may lead to a loopback, link-local or private address. Without it such a request is refused.
    #[serde(default)]
    private: bool,
}

impl Origin {
    fn parts(&self) -> (&str, bool) {
        match self {
            Self::Public(origin) => (origin, false),
            Self::Detailed(DetailedOrigin { origin, private }) => (origin, *private),
        }
    }

    /// `key` is where it stands in the file.
    pub(crate) fn resolve(&self, key: &str) -> Result<HttpGrant, String> {
        let (origin, private) = self.parts();
        let wrong = || format!("{key}: \"{origin}\": write an origin as \"https://host\" or \"http://host:port\"");
        let (scheme, authority) = origin.split_once("://").ok_or_else(wrong)?;
        let (tls, default_port) = match scheme {
            "https" => (true, 443),
            "http" => (false, 80),
            _ => return Err(wrong()),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
            _ => (authority, default_port),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.').to_ascii_lowercase();
        if host.is_empty() || host.contains(['/', '@', '*', '?', '#']) {
            return Err(wrong());
        }
        Ok(HttpGrant { tls, host, port, private })
    }

    pub(crate) fn of(HttpGrant { tls, host, port, private }: &HttpGrant) -> Self {
        let scheme = if *tls { "https" } else { "http" };
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        Self::Detailed(DetailedOrigin { origin: format!("{scheme}://{host}:{port}"), private: *private })
    }

    pub(crate) fn in_words(&self) -> String {
        let (origin, private) = self.parts();
        format!("{origin}{}", if private { ", even at a private address" } else { "" })
    }

    /// As it is written, in short where it can be.
    pub(crate) fn in_a_file(&self) -> String {
        match self.parts() {
            (origin, false) => format!("\"{origin}\""),
            (origin, true) => format!("{{ origin = \"{origin}\", private = true }}"),
        }
    }

    /// Wherever that resolves to.
    fn place(&self) -> Option<HttpGrant> {
        Some(HttpGrant { private: false, ..self.resolve(HTTP).ok()? })
    }
}

impl Capability for super::Http {
    const ROW: Row = Row {
        name: HTTP,
        asks: &[HTTP],
        grant: Some("http = [\"https://example.com\"]"),
        without: "the error `HTTP-request-denied`",
        can_be_made_up: true,
    };
    type Written = Vec<Origin>;
    type Grant = Vec<HttpGrant>;
    type Kept = Box<tape::HttpStep>;

    fn asked(ask: &abi::Capability) -> Option<Asked<'_>> {
        match ask {
            abi::Capability::Http(host) if host == "*" => {
                Some(Asked::by_name(HTTP, host, "requests to hosts that its settings name".to_owned()))
            }
            abi::Capability::Http(host) => Some(Asked::by_name(HTTP, host, format!("requests to {host}"))),
            _ => None,
        }
    }

    fn narrow(granted: &mut Vec<HttpGrant>, asks: &Asks) {
        granted.retain(|grant| is_asked(asks, &normal_host(&grant.host), grant.port));
    }

    fn resolve(written: &Vec<Origin>, _: Place<'_>) -> Result<Vec<HttpGrant>, String> {
        written.iter().map(|origin| origin.resolve(HTTP)).collect()
    }

    fn in_words(written: &Vec<Origin>, _: &Path) -> Vec<String> {
        written.iter().map(|origin| format!("send requests to {}", origin.in_words())).collect()
    }

    fn least(written: &mut Vec<Origin>, uses: &BTreeSet<Use>) {
        let used = origins(uses);
        written.retain(|origin| origin.place().is_some_and(|place| used.contains(&place)));
    }

    fn in_case(granted: &Vec<HttpGrant>, _: &CaseFolder<'_>) -> Vec<Origin> {
        granted.iter().map(Origin::of).collect()
    }

    fn new(setup: &mut Setup<'_>) -> Self {
        Self::of(setup)
    }

    fn link(linker: &mut wasmtime::component::Linker<State>) -> wasmtime::Result<()> {
        super::charged::add_to_linker(linker)
    }
}

/// Of a host in its normal form. `*` leaves it to the settings, and the operator says which those are.
pub(super) fn is_asked(asks: &Asks, host: &str, port: u16) -> bool {
    asks.names(HTTP).any(|asked| {
        let (name, asked_port) = match asked.rsplit_once(':').map(|(name, port)| (name, port.parse::<u16>())) {
            Some((name, Ok(port))) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
            _ => (asked, None),
        };
        asked == "*" || normal_host(name) == host && asked_port.is_none_or(|asked| asked == port)
    })
}

/// Where requests went to.
fn origins(uses: &BTreeSet<Use>) -> BTreeSet<HttpGrant> {
    let urls = uses.iter().filter(|used| used.capability == HTTP).filter_map(|used| used.target.split(' ').nth(1));
    let origin = |url: &str| {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split(['/', '?', '#']).next()?;
        Origin::Public(format!("{scheme}://{authority}")).place()
    };
    urls.filter_map(origin).collect()
}

/// The hosts that requests went to.
pub(crate) fn hosts(uses: &BTreeSet<Use>) -> BTreeSet<String> {
    origins(uses).into_iter().map(|origin| origin.host).collect()
}
