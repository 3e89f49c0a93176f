//! The address of a repository: what the setting may be, and where a redirect leads.
//!
//! Pure: must not know of requests or credentials.

use std::fmt;

use pipewright_sdk::{Failure, Result};

/// What discovery asks for, below the repository's address.
pub(crate) const DISCOVERY: &str = "/info/refs?service=git-upload-pack";

/// `scheme://authority/path`, without a slash at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) tls: bool,
    authority: String,
    path: String,
}

impl Address {
    /// Reads what `place` has. No message quotes what may hold a password.
    pub(crate) fn parse(place: &str, url: &str) -> Result<Self> {
        Self::read(url).map_err(|fault| Failure::configuration(format!("{place} {fault}")))
    }

    fn read(url: &str) -> Result<Self, &'static str> {
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => {
                return Err("must begin with https:// or http://, like `https://example.com/team/site.git`: \
                            repositories are reached by HTTP alone");
            }
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(
                "has a user name or password in it: take it out, store it as a secret, and name that in the settings \
                        `Secret` and `Username`",
            );
        }
        if path.contains(['?', '#']) || !url.chars().all(|c| c.is_ascii_graphic()) {
            return Err(
                "must be the plain address of a repository, without `?`, `#`, spaces and characters that are not \
                        ASCII (write those as %20 and the like)",
            );
        }
        if authority.is_empty() {
            return Err("has no host in it");
        }
        let path = path.trim_end_matches('/').to_owned();
        Ok(Self { tls, authority: authority.to_ascii_lowercase(), path })
    }

    /// The repository's address after a redirect of its discovery to `location`. As git does, only what comes before the
    /// discovery's own path may change.
    pub(crate) fn redirected(&self, location: &str) -> Option<Self> {
        let base = location.strip_suffix(DISCOVERY)?;
        let scheme = if self.tls { "https" } else { "http" };
        if base.contains("://") {
            Self::read(base).ok()
        } else if base.starts_with("//") {
            Self::read(&format!("{scheme}:{base}")).ok()
        } else if base.starts_with('/') || base.is_empty() {
            Self::read(&format!("{scheme}://{}{base}", self.authority)).ok()
        } else {
            None
        }
    }

    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        self.tls == other.tls && self.authority == other.authority
    }

    /// Whether a URL begins with this scheme and host.
    pub(crate) fn is_origin_of(&self, url: &str) -> bool {
        let origin = Self { path: String::new(), ..self.clone() }.to_string();
        url.strip_prefix(&origin).is_some_and(|path| path.starts_with('/'))
    }

    /// With `.git` at its end, whether it was given or not: so Git LFS finds its own server.
    pub(crate) fn with_ending(&self) -> String {
        if self.path.ends_with(".git") { self.to_string() } else { format!("{self}.git") }
    }

    /// `site` for `https://example.com/maria/site.git`.
    pub(crate) fn repository_name(&self) -> Option<String> {
        let last = self.path.rsplit('/').next()?;
        Some(last.strip_suffix(".git").unwrap_or(last).to_owned()).filter(|name| !name.is_empty())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", if self.tls { "https" } else { "http" }, self.authority, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::GIT;
    use expect_test::{Expect, expect};

    #[test]
    fn settings() {
        let check = |url: &str, expected: Expect| {
            expected.assert_eq(
                &Address::parse(GIT.place, url).map_or_else(|failure| failure.message, |found| found.to_string()),
            );
        };
        check("https://Example.com/a/b.git/", expect!["https://example.com/a/b.git"]);
        check("HTTP://[::1]:8080", expect!["http://[::1]:8080"]);
        check(
            "git@example.com:a/b.git",
            expect![
                "setting `RepositoryUrl` must begin with https:// or http://, like `https://example.com/team/site.git`: repositories are reached by HTTP alone"
            ],
        );
        check(
            "https://maria:hunter2@example.com/a.git",
            expect![
                "setting `RepositoryUrl` has a user name or password in it: take it out, store it as a secret, and name that in the settings `Secret` and `Username`"
            ],
        );
        check(
            "https://example.com/a?token=hunter2",
            expect![
                "setting `RepositoryUrl` must be the plain address of a repository, without `?`, `#`, spaces and characters that are not ASCII (write those as %20 and the like)"
            ],
        );
        check("https:///a.git", expect!["setting `RepositoryUrl` has no host in it"]);
    }

    #[test]
    fn redirects() {
        let from = Address::parse(GIT.place, "http://one.example/a/b").unwrap();
        let check = |location: &str, expected: Option<&str>| {
            let found = from.redirected(location).map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{location}");
        };
        let tail = DISCOVERY;
        check(&format!("https://two.example/c.git{tail}"), Some("https://two.example/c.git"));
        check(&format!("//two.example:81/c{tail}"), Some("http://two.example:81/c"));
        check(&format!("/c.git{tail}"), Some("http://one.example/c.git"));
        check(&format!("c.git{tail}"), None);
        check(&format!("https://user@two.example/c{tail}"), None);
        check(&format!("ftp://two.example/c{tail}"), None);
        check("https://two.example/sign-in", None);
        check("", None);
    }

    #[test]
    fn of_git_lfs() {
        let address = Address::parse(GIT.place, "https://example.com/maria/site").unwrap();
        assert_eq!(address.with_ending(), "https://example.com/maria/site.git");
        assert_eq!(
            Address::parse(GIT.place, "https://example.com/site.git").unwrap().with_ending(),
            "https://example.com/site.git"
        );
        for (url, expected) in [
            ("https://example.com/x", true),
            ("http://example.com/x", false),
            ("https://example.com.evil.example/x", false),
            ("https://example.com:81/x", false),
        ] {
            assert_eq!(address.is_origin_of(url), expected, "{url}");
        }
    }

    #[test]
    fn names() {
        let check = |url: &str, expected: Option<&str>| {
            assert_eq!(Address::parse(GIT.place, url).unwrap().repository_name().as_deref(), expected, "{url}");
        };
        check("https://example.com/maria/site.git", Some("site"));
        check("https://example.com/site/", Some("site"));
        check("https://example.com", None);
    }
}
