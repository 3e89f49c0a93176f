//! A git server over smart HTTP with protocol 2 (gitprotocol-http(5), gitprotocol-v2(5)): where it is, and what it takes to
//! be let in.
//!
//! Owns requests, redirects, credentials, and what a status means. Must not know of references or packs.

use pipewright_sdk::http::{self, Request, Response};
use pipewright_sdk::{Choice, Failure, Result, secrets};

use crate::address::{Address, DISCOVERY};
use crate::packets::Lines;

const SERVICE: &str = "/git-upload-pack";
const ADVERTISEMENT: &str = "application/x-git-upload-pack-advertisement";
const REQUEST: &str = "application/x-git-upload-pack-request";
const RESULT: &str = "application/x-git-upload-pack-result";
/// Some servers show a page for people to whatever does not call itself git.
const AGENT: &str = concat!("git/pipewright-", env!("CARGO_PKG_VERSION"));
/// Stops servers that send us round in circles.
const REDIRECTS_MAX: usize = 5;
/// Stops a server with endless capabilities; git has about ten.
const CAPABILITIES_MAX: usize = 100;

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
}

struct Secret {
    name: String,
    /// The value of an `Authorization` header, with a stand-in in it.
    credential: String,
}

impl Remote {
    /// `secret` is the name of a granted one, with the user name for basic authentication, and how to use it.
    pub(crate) fn new(url: &str, secret: Option<(&str, &str, Authentication)>) -> Result<Self> {
        let address = Address::parse(url)?;
        let secret = match secret {
            None => None,
            Some((name, user, authentication)) => {
                let credential = match authentication {
                    Authentication::Basic => secrets::basic(user, name)?,
                    Authentication::Bearer => format!("Bearer {}", secrets::stand_in(name)?),
                };
                Some(Secret { name: name.to_owned(), credential })
            }
        };
        Ok(Self { home: address.clone(), address, secret })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// Finds out where the repository really is, and that its server speaks protocol 2 and SHA-1.
    pub(crate) fn discover(&mut self) -> Result<Capabilities> {
        for _ in 0..=REDIRECTS_MAX {
            let response = self.send(|| http::get(format!("{}{DISCOVERY}", self.address)))?;
            if !matches!(response.status(), 301 | 302 | 303 | 307 | 308) {
                let response = self.checked(response, ADVERTISEMENT)?;
                return Capabilities::read(Lines::new(response)).map_err(|failure| self.told(failure));
            }
            let location = response.header("location").unwrap_or_default();
            self.address = self.address.redirected(location).ok_or_else(|| {
                Failure::configuration(format!(
                    "{} is not a git repository: its server redirects to a page of another kind; correct the setting \
                     `RepositoryUrl`, or name a secret in the setting `Secret` if it redirects to a sign-in",
                    self.address
                ))
            })?;
        }
        Err(Failure::configuration(format!(
            "{} redirects more than {REDIRECTS_MAX} times; correct the setting `RepositoryUrl`",
            self.home
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

    /// The credential goes to the origin that it was set for. Another one, to which a redirect led, gets it only if it asks
    /// for it, and the host puts the secret in only where it is granted for that host as well; never does it leave TLS.
    fn send(&self, request: impl Fn() -> Request) -> Result<Response> {
        let request = || request().header("git-protocol", "version=2").header("user-agent", AGENT);
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
        let address = &self.address;
        let failure = match (response.status(), &self.secret) {
            (200, _) if response.header("content-type") == Some(content_type) => return Ok(response),
            (200, _) => Failure::configuration(format!(
                "{address} does not answer as a git server with protocol 2; correct the setting `RepositoryUrl`, or use a newer \
                 server"
            )),
            (401, None) => Failure::permission(format!(
                "{address} wants a credential; grant a secret to this action, and name it in the setting `Secret` (with the \
                 setting `Username`, or `Authentication` = `Bearer`, as the server wants it)"
            )),
            (status @ (401 | 403), Some(secret)) => Failure::permission(format!(
                "{address} refuses the secret `{}` (status {status}); check its value, the settings `Username` and \
                 `Authentication`, and that it may read the repository",
                secret.name
            )),
            (403, None) => Failure::permission(format!(
                "{address} refuses access (status 403); name a secret in the setting `Secret`, or open the repository for reading"
            )),
            (status @ (404 | 410), secret) => Failure::configuration(format!(
                "there is no repository at {address} (status {status}); correct the setting `RepositoryUrl`{}",
                if secret.is_some() {
                    ", or let the secret read the repository"
                } else {
                    ", or name a secret in the setting `Secret`: servers also say so of repositories that are not public"
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

/// What a server can do, as far as it concerns us.
#[derive(Debug, PartialEq)]
pub(crate) struct Capabilities {
    /// It can leave history out.
    pub(crate) shallow: bool,
}

impl Capabilities {
    fn read<R: std::io::Read>(mut lines: Lines<R>) -> Result<Self> {
        let old =
            || Failure::configuration("the server does not speak version 2 of git's protocol (git 2.18 and later do)");
        // Servers may or may not say first what they will say.
        let mut first = lines.next()?.unwrap_or_default();
        if first.starts_with(b"# service=") {
            lines.next()?;
            lines.next_section();
            first = lines.next()?.unwrap_or_default();
        }
        if first != b"version 2" {
            return Err(old());
        }
        let mut found = Self { shallow: false };
        for _ in 0..CAPABILITIES_MAX {
            let Some(line) = lines.next()? else { return Ok(found) };
            if let Some(features) = line.strip_prefix(b"fetch=") {
                found.shallow = features.split(|byte| *byte == b' ').any(|feature| feature == b"shallow");
            } else if let Some(format) = line.strip_prefix(b"object-format=")
                && format != b"sha1"
            {
                return Err(Failure::configuration(
                    "the repository has another object format than sha1; only that one can be read",
                ));
            }
        }
        Err(Failure::job(format!("the server lists more than {CAPABILITIES_MAX} capabilities")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packets::lines;
    use expect_test::{Expect, expect};

    #[test]
    fn capabilities() {
        let check = |sections: &[&[&str]], expected: Expect| {
            let read = Capabilities::read(Lines::new(lines(sections).as_slice()));
            expected.assert_eq(&read.map_or_else(|failure| failure.message, |found| format!("{found:?}")));
        };
        check(
            &[
                &["# service=git-upload-pack"],
                &["version 2", "agent=git/2.47", "fetch=shallow filter", "object-format=sha1"],
            ],
            expect!["Capabilities { shallow: true }"],
        );
        check(&[&["version 2", "ls-refs"]], expect!["Capabilities { shallow: false }"]);
        check(
            &[&["# service=git-upload-pack"], &["0123 HEAD\0multi_ack agent=git/2.10"]],
            expect!["the server does not speak version 2 of git's protocol (git 2.18 and later do)"],
        );
        check(
            &[&["version 2", "object-format=sha256"]],
            expect!["the repository has another object format than sha1; only that one can be read"],
        );
        check(&[&["version 2", "ERR go away"]], expect!["the server refuses: go away"]);
        check(
            &[&[&["version 2"], ["x"; 200].as_slice()].concat()],
            expect!["the server lists more than 100 capabilities"],
        );
        check(&[], expect!["the server's response broke off: failed to fill whole buffer"]);
    }
}
