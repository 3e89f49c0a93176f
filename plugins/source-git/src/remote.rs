//! A git server over smart HTTP (gitprotocol-http(5)): where it is, and what it takes to be let in. It is asked for protocol
//! 2, and may answer in an older one.
//!
//! Owns requests, redirects, credentials, and what a status means. Must not know of references or packs.

use std::collections::BTreeMap;

use pipewright_sdk::http::{self, Request, Response};
use pipewright_sdk::{Choice, Failure, Result, secrets};

use crate::address::{Address, DISCOVERY};
use crate::packets::Lines;
use crate::server::Server;
use crate::words::Words;

const SERVICE: &str = "/git-upload-pack";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
/// Both ways.
const LFS: &str = "application/vnd.git-lfs+json";
/// Some servers show a page for people to whatever does not call itself git.
const AGENT: &str = concat!("git/pipewright-", env!("CARGO_PKG_VERSION"));
/// Stops servers that send us round in circles.
const REDIRECTS_MAX: usize = 5;

/// How a secret becomes a credential.
#[derive(Clone, Copy, Choice)]
pub(crate) enum Authentication {
    /// HTTP basic authentication, with the secret as password.
    Basic,
    /// The secret as bearer token.
    Bearer,
}

pub(crate) struct Remote {
    address: Address,
    /// The one of the setting, for which the credential was meant.
    home: Address,
    secret: Option<Secret>,
    /// Protocol 2 is asked for. Not of a server that answered in an older one: some proxies drop the header of some requests.
    asks_for_2: bool,
    words: &'static Words,
}

struct Secret {
    /// What a text calls it.
    called: String,
    /// The value of an `Authorization` header, with a stand-in in it.
    credential: String,
}

impl Remote {
    /// `secret` is the name of a granted one, with the user name for basic authentication, and how to use it.
    pub(crate) fn new(words: &'static Words, url: &str, secret: Option<(&str, &str, Authentication)>) -> Result<Self> {
        let address = Address::parse(words.place, url)?;
        let secret = match secret {
            None => None,
            Some((name, user, authentication)) => {
                let credential = match authentication {
                    Authentication::Basic => secrets::basic(user, name)?,
                    Authentication::Bearer => format!("Bearer {}", secrets::stand_in(name)?),
                };
                let called = words.secret.map_or_else(|| format!("the secret `{name}`"), str::to_owned);
                Some(Secret { called, credential })
            }
        };
        Ok(Self { home: address.clone(), address, secret, asks_for_2: true, words })
    }

    /// With the value of an `Authorization` header.
    pub(crate) fn with_credential(words: &'static Words, url: &str, credential: String) -> Result<Self> {
        let address = Address::parse(words.place, url)?;
        let secret = Some(Secret { called: words.secret.unwrap_or("the secret").to_owned(), credential });
        Ok(Self { home: address.clone(), address, secret, asks_for_2: true, words })
    }

    pub(crate) fn words(&self) -> &'static Words {
        self.words
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Finds out where the repository really is, what its server speaks, and that its objects have ids of SHA-1.
    pub(crate) fn discover(&mut self) -> Result<Server> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(|| http::get(format!("{}{DISCOVERY}", self.address)))?;
            if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
                let response = self.checked(response, ADVERTISEMENT)?;
                let server = Server::read(Lines::new(response)).map_err(|failure| self.told(failure))?;
                self.asks_for_2 = server.old.is_none();
                return Ok(server);
            }
            let location = response.header("location").unwrap_or_default();
            self.address = self.address.redirected(location).ok_or_else(|| {
                Failure::configuration(format!(
                    "{} is not a git repository: its server redirects to a page of another kind; {}, or {} if it redirects \
                     to a sign-in",
                    self.address, self.words.address, self.words.credential
                ))
            })?;
        }
        Err(Failure::configuration(format!(
            "{} redirects more than {REDIRECTS_MAX} times; {}",
            self.home, self.words.address
        )))
    }

    /// Sends a command, and hands its response to `read`.
    pub(crate) fn command<T>(&self, body: &[u8], read: impl FnOnce(Lines<Response>) -> Result<T>) -> Result<T> {
        let response = self.post(body)?;
        let response = self.checked(response, RESULT)?;
        read(Lines::new(response)).map_err(|failure| self.told(failure))
    }

    /// The same without the discovery before it, which a server of protocol 2 does not need: half as many requests. None
    /// where the server answered in any other way than with what was asked for, and the discovery is to tell more.
    pub(crate) fn command_at_once<T>(
        &self,
        body: &[u8],
        read: impl FnOnce(Lines<Response>) -> Result<T>,
    ) -> Result<Option<T>> {
        let response = self.post(body)?;
        if response.status() == 200 && response.header("content-type") == Some(RESULT) {
            Ok(read(Lines::new(response)).ok())
        } else if matches!(response.status(), 401 | 403) {
            self.checked(response, RESULT).map(|_| None)
        } else {
            Ok(None)
        }
    }

    fn post(&self, body: &[u8]) -> Result<Response> {
        self.send(|| {
            http::post(format!("{}{SERVICE}", self.address))
                .header("content-type", REQUEST)
                .header("content-length", body.len().to_string())
                .header("accept", RESULT)
                .body(body)
        })
    }

    /// Asks where files are that Git LFS keeps.
    pub(crate) fn lfs_batch(&self, body: &[u8]) -> Result<Response> {
        let url = format!("{}/info/lfs/objects/batch", self.address.with_ending());
        self.send(|| http::post(&url).header("content-type", LFS).header("accept", LFS).body(body))
    }

    /// Fetches one from where it is; with the credential, where that is the same origin and there is no other one.
    pub(crate) fn download(&self, url: &str, headers: &BTreeMap<String, String>) -> Result<Response> {
        let request = || headers.iter().fold(http::get(url), |request, (name, value)| request.header(name, value));
        let has_credential = headers.keys().any(|name| name.eq_ignore_ascii_case("authorization"));
        if has_credential || !self.address.is_origin_of(url) { request().send() } else { self.send(request) }
    }

    /// The credential goes to the origin that it was set for. Another one, to which a redirect led, gets it only if it asks
    /// for it, and the host puts the secret in only where it is granted for that host as well; never does it leave TLS.
    fn send(&self, request: impl Fn() -> Request) -> Result<Response> {
        let request = || {
            let request = request().header("user-agent", AGENT);
            if self.asks_for_2 { request.header("git-protocol", "version=2") } else { request }
        };
        let Some(secret) = &self.secret else { return request().send() };
        if !self.address.is_same_origin(&self.home) {
            let response = request().send()?;
            if response.status() != 401 || (self.home.tls && !self.address.tls) {
                return Ok(response);
            }
        }
        request().header("authorization", &secret.credential).send()
    }

    /// What was asked for, or what its status means.
    fn checked(&self, response: Response, content_type: &str) -> Result<Response> {
        let (address, words) = (&self.address, self.words);
        let failure = match (response.status(), &self.secret) {
            (200, _) if response.header("content-type") == Some(content_type) => return Ok(response),
            (200, _) => Failure::configuration(format!(
                "{address} does not answer as a git server over smart HTTP; {}",
                words.address
            )),
            (401, None) => Failure::permission(format!("{address} wants a credential; {}", words.give)),
            (status @ (401 | 403), Some(secret)) => Failure::permission(format!(
                "{address} refuses {} (status {status}); check {}, and that it may read the repository",
                secret.called, words.check
            )),
            (403, None) => Failure::permission(format!(
                "{address} refuses access (status 403); {}, or open the repository for reading",
                words.credential
            )),
            (status @ (404 | 410), secret) => Failure::configuration(format!(
                "there is no repository at {address} (status {status}); {}, or {}",
                words.address,
                match secret {
                    Some(secret) => format!("let {} read the repository", secret.called),
                    None => format!("{}: servers also say so of repositories that are not public", words.credential),
                }
            )),
            (status, _) => Failure::system_unavailable(format!("{address} answered with status {status}")),
        };
        Err(failure)
    }

    fn told(&self, Failure { kind, message }: Failure) -> Failure {
        Failure { kind, message: format!("{}: {message}", self.address) }
    }
}
