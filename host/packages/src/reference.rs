//! Where a package lies: `REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]`, as docker and others write it.
//!
//! Owns the grammar (OCI distribution specification 1.1, "Pulling manifests"). Must not know how a registry is asked.

use std::fmt;
use std::str::FromStr;

use pipewright_base::Digest;
use semver::Version;

use super::PackageError;

/// The specification's limit is on the whole of registry and repository; longer ones are refused by registries anyway.
const REFERENCE_BYTES_MAX: usize = 512;
const TAG_BYTES_MAX: usize = 128;

/// At least one of `tag` and `digest` says which package of the repository is meant, unless the newest is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    /// Host, with its port where it is not the usual one.
    pub registry: String,
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

impl Reference {
    /// Whether a text is meant as a reference: its first part is a host, which `team/name` has not.
    pub fn is_meant(text: &str) -> bool {
        text.split_once('/').is_some_and(|(host, rest)| {
            !rest.is_empty() && (host == "localhost" || host.contains(['.', ':'])) && !host.starts_with('.')
        })
    }

    pub fn with_tag(&self, tag: impl Into<String>) -> Self {
        Self { tag: Some(tag.into()), digest: None, ..self.clone() }
    }

    /// What a registry calls the package: the digest where one is given, else the tag.
    ///
    /// # Errors
    /// Neither is given.
    pub fn selector(&self) -> Result<String, PackageError> {
        match (&self.digest, &self.tag) {
            (Some(digest), _) => Ok(super::oci::text(digest)),
            (None, Some(tag)) => Ok(tag.clone()),
            (None, None) => Err(PackageError::Usage(format!("{self}: say which version, as {self}:1.0.0"))),
        }
    }
}

/// The tag of a version: a tag has no `+`, and `_` stands for it, as in other package formats over registries.
pub fn tag_of(version: &Version) -> String {
    version.to_string().replace('+', "_")
}

/// The version that a tag promises; a tag such as `latest` promises none.
pub fn version_of(tag: &str) -> Option<Version> {
    Version::parse(&tag.replacen('_', "+", 1)).ok()
}

impl FromStr for Reference {
    type Err = PackageError;

    fn from_str(text: &str) -> Result<Self, PackageError> {
        let wrong = |problem: &str| {
            let shown: String = text.chars().take(REFERENCE_BYTES_MAX).collect();
            PackageError::Usage(format!("{shown:?} {problem}; write it as registry.example/team/name:1.0.0"))
        };
        if text.len() > REFERENCE_BYTES_MAX {
            return Err(wrong("is too long for a reference"));
        }
        if !Self::is_meant(text) {
            return Err(wrong("names no registry"));
        }
        let (registry, rest) = text.split_once('/').ok_or_else(|| wrong("names no registry"))?;
        let (rest, digest) = match rest.split_once('@') {
            Some((rest, digest)) => {
                (rest, Some(super::oci::parse(digest).ok_or_else(|| wrong("has no valid digest"))?))
            }
            None => (rest, None),
        };
        let (repository, tag) = match rest.split_once(':') {
            Some((repository, tag)) => (repository, Some(tag.to_owned())),
            None => (rest, None),
        };
        if !registry.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']')) {
            return Err(wrong("has no valid registry"));
        }
        if !repository.split('/').all(is_path_component) {
            return Err(wrong("has no valid repository"));
        }
        if tag.as_ref().is_some_and(|tag| !is_tag(tag)) {
            return Err(wrong("has no valid tag"));
        }
        Ok(Self { registry: registry.to_owned(), repository: repository.to_owned(), tag, digest })
    }
}

fn is_path_component(text: &str) -> bool {
    let is_end = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = text.as_bytes();
    is_end(bytes.first())
        && is_end(bytes.last())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'_' | b'-'))
}

pub(super) fn is_tag(text: &str) -> bool {
    (1..=TAG_BYTES_MAX).contains(&text.len())
        && !text.starts_with(['.', '-'])
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        if let Some(tag) = &self.tag {
            write!(f, ":{tag}")?;
        }
        match &self.digest {
            Some(digest) => write!(f, "@{}", super::oci::text(digest)),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_and_written() {
        let check = |text: &str, registry: &str, repository: &str, tag: Option<&str>| {
            let reference: Reference = text.parse().unwrap();
            assert_eq!(
                (&*reference.registry, &*reference.repository, reference.tag.as_deref()),
                (registry, repository, tag)
            );
            assert_eq!(reference.to_string(), text);
        };
        let digest = "a".repeat(64);
        check("localhost/a", "localhost", "a", None);
        check("localhost:5000/team/name:1.0.0", "localhost:5000", "team/name", Some("1.0.0"));
        check("[::1]:5000/a/b:x", "[::1]:5000", "a/b", Some("x"));
        check(&format!("registry.example/a/b/c@sha256:{digest}"), "registry.example", "a/b/c", None);
        check(&format!("registry.example/a:1@sha256:{digest}"), "registry.example", "a", Some("1"));
        for wrong in [
            "team/name",
            "name",
            "./x.wasm",
            "../x",
            "registry.example/",
            "registry.example/A",
            "registry.example/a//b",
            "registry.example/a:",
            "registry.example/a:.x",
            "registry.example/a@sha256:12",
            "user@registry.example/a",
            "registry.example/../a",
            "registry.example/a b",
        ] {
            assert!(wrong.parse::<Reference>().is_err(), "{wrong} is a reference");
        }
    }

    #[test]
    fn a_tag_promises_a_version_or_none() {
        let check = |tag: &str, version: Option<&str>| {
            assert_eq!(version_of(tag).map(|version| version.to_string()).as_deref(), version, "{tag}");
        };
        check("1.0.0", Some("1.0.0"));
        check("1.0.0-rc.1_linux", Some("1.0.0-rc.1+linux"));
        check("latest", None);
        check("1", None);
        assert_eq!(tag_of(&"1.0.0+x.y".parse().unwrap()), "1.0.0_x.y");
    }
}
