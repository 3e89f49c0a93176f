//! The login that the user's docker configuration has for a registry, and who may see it.
//!
//! Owns where a login is looked for, and the rule of which servers it is shown to. Must not know how they are asked.

use std::io::Read as _;
use std::path::PathBuf;

use docker_credential::{CredentialRetrievalError, DockerCredential};
use reqwest::Url;

const CONFIG_BYTES_MAX: u64 = 1024 * 1024;
/// What a credential helper says that has nothing for a registry; docker knows it by this text, too.
const NOTHING_STORED: &str = "credentials not found";

/// Docker's own registry goes by names that are not its address, and `docker login` keeps its login under yet another.
const HUB_NAMES: [&str; 3] = ["docker.io", "index.docker.io", HUB_ADDRESS];
const HUB_ADDRESS: &str = "registry-1.docker.io";
const HUB_LOGIN: &str = "https://index.docker.io/v1/";
/// Where that registry keeps what has a single name.
const HUB_LIBRARY: &str = "library";

/// The server and the repository that a reference means.
pub(super) fn place(registry: &str, repository: &str) -> (String, String) {
    match HUB_NAMES.contains(&registry) {
        false => (registry.to_owned(), repository.to_owned()),
        true if repository.contains('/') => (HUB_ADDRESS.to_owned(), repository.to_owned()),
        true => (HUB_ADDRESS.to_owned(), format!("{HUB_LIBRARY}/{repository}")),
    }
}

/// What the user's docker configuration has for a registry, credential helpers included; or why that is not known. A registry that
/// lets everybody in is not kept from us by either. May block.
pub(super) fn find(registry: &str) -> Result<Option<DockerCredential>, String> {
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let at = |problem: String| format!("{}: {problem}", path.display());
    let mut config = Vec::new();
    match std::fs::File::open(&path) {
        Ok(file) => file.take(CONFIG_BYTES_MAX).read_to_end(&mut config).map_err(|error| at(error.to_string()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(at(error.to_string())),
    };
    let names = if HUB_NAMES.contains(&registry) { vec![HUB_LOGIN, HUB_NAMES[0]] } else { vec![registry] };
    for name in names {
        match docker_credential::get_credential_from_reader(&config[..], name) {
            Ok(DockerCredential::UsernamePassword(user, password)) if user.is_empty() && password.is_empty() => {}
            Ok(credential) => return Ok(Some(credential)),
            Err(CredentialRetrievalError::NoCredentialConfigured) => {}
            Err(CredentialRetrievalError::HelperFailure { stdout, stderr, .. })
                if stdout.contains(NOTHING_STORED) || stderr.contains(NOTHING_STORED) => {}
            // What a helper printed may hold a secret.
            Err(CredentialRetrievalError::HelperFailure { helper, .. }) => return Err(format!("{helper} failed")),
            Err(error) => return Err(at(error.to_string())),
        }
    }
    Ok(None)
}

/// The servers that a registry may send us to.
pub(super) struct Trusted {
    /// The registry.
    pub base: Url,
    /// Servers of tokens that the user named.
    pub token_servers: Vec<Url>,
}

impl Trusted {
    /// Whether a request may go there at all: over TLS, to the registry itself, or on this machine if the registry is here. Stops a
    /// registry, or who answers in its place, from having us ask what only this machine can reach.
    pub fn may_reach(&self, url: &Url) -> bool {
        url.scheme() == "https" || self.is_own(url) || is_loopback(url) && is_loopback(&self.base)
    }

    /// Whether the registry itself is meant. Another port is another server.
    pub fn is_own(&self, url: &Url) -> bool {
        url.origin() == self.base.origin()
    }

    /// Whether a server may see the login: over TLS or on this machine, and only the registry, a server of the same site, or one
    /// that the user named.
    pub fn may_know(&self, url: &Url) -> bool {
        let is_named = self.token_servers.iter().any(|named| named.origin() == url.origin());
        let is_same_site = || [url, &self.base].iter().all(|it| it.scheme() == "https") && same_site(url, &self.base);
        is_protected(url) && (self.is_own(url) || is_named || is_same_site())
    }
}

/// Nobody on the way reads it.
pub(super) fn is_protected(url: &Url) -> bool {
    url.scheme() == "https" || is_loopback(url)
}

pub(super) fn is_loopback(url: &Url) -> bool {
    // An address of IPv6 stands in brackets.
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Whether two servers belong to whoever registered one domain. An address is its own site.
fn same_site(one: &Url, other: &Url) -> bool {
    let (Some(one), Some(other)) = (one.domain(), other.domain()) else { return one.host_str() == other.host_str() };
    site(one) == site(other)
}

/// The part of a name that somebody registered: its last two labels, or three below a country that has `co`, `com` and their like.
/// Where that is too narrow, the user names the server.
fn site(domain: &str) -> String {
    let labels: Vec<&str> = domain.split('.').collect();
    let count = match labels[..] {
        [.., second, last] if last.len() == 2 && second.len() <= 3 => 3,
        _ => 2,
    };
    labels[labels.len().saturating_sub(count)..].join(".").to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        let check = |url: &str, expected| assert_eq!(is_loopback(&url.parse().unwrap()), expected, "{url}");
        check("http://localhost:5000", true);
        check("http://127.0.0.2:80", true);
        check("http://[::1]:5000", true);
        check("http://localhost.example:5000", false);
        check("http://192.168.0.1", false);
    }

    #[test]
    fn a_server_is_asked_and_shown_the_login_by_rule() {
        let check = |base: &str, url: &str, may_reach: bool, may_know: bool| {
            let trusted = Trusted {
                base: base.parse().unwrap(),
                token_servers: vec!["https://login.partner.example/".parse().unwrap()],
            };
            let url: Url = url.parse().unwrap();
            assert_eq!((trusted.may_reach(&url), trusted.may_know(&url)), (may_reach, may_know), "{base}: {url}");
        };
        check("https://registry.example.com/v2/", "https://registry.example.com/token", true, true);
        check("https://registry.example.com/v2/", "https://auth.example.com:8443/token", true, true);
        check("https://registry.example.com/v2/", "https://example.com/jwt/auth", true, true);
        check("https://registry.example.com/v2/", "https://login.partner.example/token", true, true);
        check("https://registry.example.com/v2/", "https://partner.example/token", true, false);
        check("https://registry.example.com/v2/", "https://example.com.thief.example/token", true, false);
        check("https://registry.example.com/v2/", "http://registry.example.com/token", false, false);
        check("https://registry.example.com/v2/", "http://169.254.169.254/latest", false, false);
        check("https://registry.team.co.uk/v2/", "https://auth.team.co.uk/token", true, true);
        check("https://registry.team.co.uk/v2/", "https://auth.thief.co.uk/token", true, false);
        check("https://10.0.0.1/v2/", "https://10.0.0.2/token", true, false);
        check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/token", true, true);
        check("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5001/token", true, false);
        check("http://127.0.0.1:5000/v2/", "http://169.254.169.254/latest", false, false);
        // Over plain http nobody protects a login, not even on its way to the registry.
        check("http://registry.example.com/v2/", "http://registry.example.com/token", true, false);
        check("http://registry.example.com/v2/", "https://auth.example.com/token", true, false);
    }

    #[test]
    fn the_hub_is_asked_where_it_is() {
        let check = |registry: &str, repository: &str, expected: (&str, &str)| {
            assert_eq!(place(registry, repository), (expected.0.to_owned(), expected.1.to_owned()));
        };
        check("docker.io", "team/name", (HUB_ADDRESS, "team/name"));
        check("index.docker.io", "name", (HUB_ADDRESS, "library/name"));
        check("registry.example", "name", ("registry.example", "name"));
    }
}
