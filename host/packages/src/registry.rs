//! A registry, asked over HTTP for one repository.
//!
//! Owns the requests of the OCI distribution specification 1.1, the authentication that registries want, and the limits on what a
//! registry may answer. Must not know what is in a manifest or a blob. The bodies are read here, and not by a client library
//! of registries, because each is to end at a limit of bytes and of time, whatever the registry sends.
//!
//! Registries differ in what the specification leaves open, and in some that it does not. `tests/packages/kinds.rs` has the
//! table of what is known of them, each played by a server.

mod challenge;
mod images;
mod login;
mod transport;

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use docker_credential::DockerCredential;
use http::Method;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderValue, LOCATION};
use pipewright_base::Digest;
use pipewright_base::trust;
use reqwest::{Client, Request, Url};
use serde::Deserialize;

use self::login::{Trusted, is_loopback};
use self::transport::{Pass, next_page};
use super::oci::{self, Descriptor, Index};
use super::package::MANIFEST_BYTES_MAX;
use super::{PackageError, Reference};

/// Stops a token, a list of tags or a complaint that never ends.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Stops a list of tags, or of referrers, that always has another page.
const PAGES_MAX: usize = 100;
/// What is sent at once where a proxy before the registry takes no more: some take 1 MiB, as they come.
const PIECE_BYTES: usize = 1024 * 1024;

/// How long a registry may take.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Until a connection stands.
    pub connect: Duration,
    /// Between two pieces of an answer. Stops a registry that does not answer at all.
    pub idle: Duration,
    /// For the whole of a small answer. Stops one that drips.
    pub document: Duration,
    /// For the whole of a component.
    pub component: Duration,
    /// For the whole of an image's layer.
    pub layer: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            document: Duration::from_secs(60),
            component: Duration::from_secs(15 * 60),
            layer: Duration::from_secs(60 * 60),
        }
    }
}

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// No TLS, also where the registry is not on this machine. It is then shown no login.
    pub plain_http: bool,
    /// PEM files of certificate authorities, besides the system's.
    pub certificate_authorities: Vec<PathBuf>,
    /// Servers of tokens that may see the login, besides those of the registry's own site.
    pub token_servers: Vec<String>,
    pub limits: Limits,
}

/// One repository of one registry, with the user's docker credentials for it.
pub struct Registry {
    http: Client,
    trusted: Trusted,
    /// As the user calls it.
    registry: String,
    repository: String,
    login: Option<DockerCredential>,
    /// Why the login is not known, or was not shown where it was asked for.
    held_back: Mutex<Option<String>>,
    pass: Mutex<Option<Pass>>,
    /// It has said of a manifest that it is there, or that it is not.
    is_let_in: AtomicBool,
    limits: Limits,
}

impl Registry {
    /// # Errors
    /// A certificate authority cannot be read, or the options make no address.
    pub async fn new(reference: &Reference, options: &Options) -> Result<Self, PackageError> {
        let (host, repository) = login::place(&reference.registry, &reference.repository);
        let address = |scheme: &str| {
            let base = Url::parse(&format!("{scheme}://{host}/v2/"));
            base.map_err(|error| PackageError::Usage(format!("{host:?} is no registry: {error}")))
        };
        let mut base = address("https")?;
        let is_local = is_loopback(&base);
        // Who names an authority wants TLS.
        let plain = options.plain_http || is_local && options.certificate_authorities.is_empty();
        if plain {
            base = address("http")?;
        }
        let named = options.token_servers.iter().map(|server| {
            Url::parse(server).map_err(|error| PackageError::Usage(format!("{server:?} is no token server: {error}")))
        });
        let trusted = Trusted { base, token_servers: named.collect::<Result<_, _>>()? };
        let mut builder = Client::builder()
            .tls_backend_preconfigured(tls(&options.certificate_authorities)?)
            .https_only(!plain)
            .connect_timeout(options.limits.connect)
            .read_timeout(options.limits.idle)
            // They are followed by `transport`, which knows who may see what.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent("pipewright");
        if is_local {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| PackageError::Host(error.into()))?;
        let found = tokio::task::spawn_blocking(move || login::find(&host)).await;
        let found = found.map_err(|error| PackageError::Host(error.into()))?;
        let (login, held_back) = found.map_or_else(|problem| (None, Some(problem)), |login| (login, None));
        Ok(Self {
            http,
            trusted,
            registry: reference.registry.clone(),
            repository,
            login,
            held_back: Mutex::new(held_back),
            pass: Mutex::default(),
            is_let_in: AtomicBool::new(false),
            limits: options.limits.clone(),
        })
    }

    /// A manifest by tag or digest; none if there is none. Some registries let nobody see that something is not there: once others
    /// could be read, one that is refused counts as absent.
    pub async fn manifest(&self, selector: &str, access: Access) -> Result<Option<Vec<u8>>, PackageError> {
        self.manifest_of(selector, access, &[oci::MANIFEST, oci::INDEX], MANIFEST_BYTES_MAX).await
    }

    async fn manifest_of(
        &self,
        selector: &str,
        access: Access,
        kinds: &[&'static str],
        bytes_max: u64,
    ) -> Result<Option<Vec<u8>>, PackageError> {
        let what = format!("the manifest {}:{selector}", self.repository);
        let mut request = Request::new(Method::GET, self.url(&format!("manifests/{selector}"))?);
        for accepted in kinds {
            request.headers_mut().append(ACCEPT, HeaderValue::from_static(accepted));
        }
        self.within(self.limits.document, &what, async {
            let answer = self.send(&request, access).await?;
            match answer.status().as_u16() {
                404 => {
                    self.is_let_in.store(true, Ordering::Relaxed);
                    return Ok(None);
                }
                401 | 403 if self.is_let_in.load(Ordering::Relaxed) => return Ok(None),
                _ => {}
            }
            let answer = self.succeeded(answer, &what).await?;
            self.is_let_in.store(true, Ordering::Relaxed);
            self.body(answer, &what, bytes_max).await.map(Some)
        })
        .await
    }

    /// What refers to a manifest: by the registry's own list of it or, where it keeps none, by the index at the tag that stands in
    /// for it.
    /// The pages beyond the limit are not read, which is the second part of the answer, in words.
    pub async fn referrers(&self, subject: &Digest) -> Result<(Vec<Descriptor>, Option<String>), PackageError> {
        let what = format!("the referrers of {}@{}", self.repository, oci::text(subject));
        let mut found = Vec::new();
        let mut url = self.url(&format!("referrers/{}", oci::text(subject)))?;
        for page in 0..PAGES_MAX {
            let request = Request::new(Method::GET, url.clone());
            let listed = self.within(self.limits.document, &what, async {
                let answer = self.send(&request, Access::Read).await?;
                // Not all say it by 404.
                if answer.status().is_client_error() {
                    return Ok(None);
                }
                let answer = self.succeeded(answer, &what).await?;
                let next = next_page(answer.headers());
                let body = self.body(answer, &what, ANSWER_BYTES_MAX).await?;
                // Where nobody keeps such a list, there may be a page for people.
                Ok(serde_json::from_slice::<Index>(&body).ok().map(|index| (next, index)))
            });
            match listed.await? {
                None if page == 0 => {
                    return match self.fallen_back(subject, Access::Read).await {
                        // Whoever may push a tag may have put anything there.
                        Err(error) if error.is_of_content() => Ok((found, Some(error.to_string()))),
                        listed => Ok((listed?, None)),
                    };
                }
                None => return Err(self.broken(format!("{what}: a page is missing"))),
                Some((next, index)) => {
                    found.extend(index.manifests);
                    let Some(next) = next else { return Ok((found, None)) };
                    url = self.own(&url, &next)?;
                }
            }
        }
        Ok((found, Some(format!("{what} have more than {PAGES_MAX} pages; so many are read"))))
    }

    async fn fallen_back(&self, subject: &Digest, access: Access) -> Result<Vec<Descriptor>, PackageError> {
        let tag = oci::referrers_tag(subject);
        let Some(bytes) = self.manifest(&tag, access).await? else { return Ok(Vec::new()) };
        let index: Index = serde_json::from_slice(&bytes)
            .map_err(|error| PackageError::invalid(format!("the index {}:{tag}", self.repository), error))?;
        Ok(index.manifests)
    }

    /// A blob whose size and digest are known.
    pub async fn blob(&self, what: &str, blob: &Descriptor, is_code: bool) -> Result<Vec<u8>, PackageError> {
        let time = if is_code { self.limits.component } else { self.limits.document };
        let request = Request::new(Method::GET, self.url(&format!("blobs/{}", oci::text(&blob.digest)))?);
        let bytes = self.within(time, what, async {
            let answer = self.send(&request, Access::Read).await?;
            let answer = self.succeeded(answer, what).await?;
            let too_long = || PackageError::Longer { what: what.to_owned(), bytes: blob.size };
            self.up_to(answer, blob.size).await?.ok_or_else(too_long)
        });
        let bytes = bytes.await?;
        let found = Digest::of(&bytes);
        if found != blob.digest {
            return Err(PackageError::Digest { what: what.to_owned(), expected: blob.digest, found });
        }
        Ok(bytes)
    }

    /// Every tag of the repository.
    pub async fn tags(&self) -> Result<Vec<String>, PackageError> {
        #[derive(Deserialize)]
        struct Page {
            tags: Option<Vec<String>>,
        }
        let what = format!("the tags of {}", self.repository);
        let mut tags = Vec::new();
        let mut url = self.url("tags/list")?;
        for _ in 0..PAGES_MAX {
            let request = Request::new(Method::GET, url.clone());
            let page = self.within(self.limits.document, &what, async {
                let answer = self.send(&request, Access::Read).await?;
                let answer = self.succeeded(answer, &what).await?;
                let next = next_page(answer.headers());
                Ok((next, self.body(answer, &what, ANSWER_BYTES_MAX).await?))
            });
            let (next, page) = page.await?;
            let page: Page = serde_json::from_slice(&page).map_err(|error| self.broken(format!("{what}: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next else { return Ok(tags) };
            url = self.own(&url, &next)?;
        }
        Err(self.broken(format!("{what} have more than {PAGES_MAX} pages")))
    }

    /// Stores a blob, unless it is there.
    pub async fn push_blob(&self, what: &str, bytes: Vec<u8>) -> Result<(), PackageError> {
        let bytes = Bytes::from(bytes);
        let there = Request::new(Method::HEAD, self.url(&format!("blobs/{}", oci::text(&Digest::of(&bytes))))?);
        self.within(self.limits.component, what, async {
            if self.send(&there, Access::Write).await?.status().is_success() {
                return Ok(());
            }
            let whole = self.upload(what, &bytes, bytes.len()).await?;
            // A proxy before the registry takes no body of this size.
            let stored =
                if whole.status().as_u16() == 413 { self.upload(what, &bytes, PIECE_BYTES).await? } else { whole };
            self.succeeded(stored, what).await.map(|_| ())
        })
        .await
    }

    /// Sends a blob in pieces of this size or, where all of it is one piece, with the request that ends it.
    async fn upload(&self, what: &str, bytes: &Bytes, piece_bytes: usize) -> Result<reqwest::Response, PackageError> {
        let uploads = self.url("blobs/uploads/")?;
        let begun =
            self.send(&Self::with_body(Method::POST, uploads.clone(), None, Bytes::new()), Access::Write).await?;
        let mut begun = self.succeeded(begun, what).await?;
        if begun.status().as_u16() == 201 {
            return Ok(begun);
        }
        let least = begun.headers().get("oci-chunk-min-length").and_then(|least| least.to_str().ok()?.parse().ok());
        let piece_bytes = piece_bytes.max(least.unwrap_or(1));
        let next = |answer: &reqwest::Response, from: &Url| {
            let location = answer.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            self.own(from, location.ok_or_else(|| self.broken(format!("{what}: it says not where to send it")))?)
        };
        let mut location = next(&begun, &uploads)?;
        let mut last = bytes.clone();
        if bytes.len() > piece_bytes {
            let mut at = 0;
            while !last.is_empty() {
                let piece = last.split_to(piece_bytes.min(last.len()));
                let range = format!("{at}-{}", at + piece.len() - 1);
                at += piece.len();
                let mut request = Self::with_body(Method::PATCH, location.clone(), Some(OCTETS), piece);
                let range = HeaderValue::from_str(&range).map_err(|error| PackageError::Host(error.into()))?;
                request.headers_mut().insert(CONTENT_RANGE, range);
                begun = self.succeeded(self.send(&request, Access::Write).await?, what).await?;
                location = next(&begun, &location)?;
            }
        }
        location.query_pairs_mut().append_pair("digest", &oci::text(&Digest::of(bytes)));
        self.send(&Self::with_body(Method::PUT, location, Some(OCTETS), last), Access::Write).await
    }

    /// Stores a manifest under a tag or its digest. Says whether the registry lists it with the referrers of its subject.
    pub async fn push_manifest(&self, selector: &str, kind: &'static str, bytes: &[u8]) -> Result<bool, PackageError> {
        let what = format!("the manifest {}:{selector}", self.repository);
        let url = self.url(&format!("manifests/{selector}"))?;
        let request = Self::with_body(Method::PUT, url, Some(kind), Bytes::copy_from_slice(bytes));
        self.within(self.limits.document, &what, async {
            let answer = self.send(&request, Access::Write).await?;
            let answer = self.succeeded(answer, &what).await?;
            Ok(answer.headers().contains_key("oci-subject"))
        })
        .await
    }

    /// Stores a manifest with a subject, so that it is found from there.
    pub async fn push_referrer(&self, subject: &Digest, listed: Descriptor, bytes: &[u8]) -> Result<(), PackageError> {
        if self.push_manifest(&oci::text(&listed.digest), oci::MANIFEST, bytes).await? {
            return Ok(());
        }
        let mut manifests = self.fallen_back(subject, Access::Write).await?;
        manifests.push(listed);
        let index = super::package::json(&Index::of(manifests))?;
        self.push_manifest(&oci::referrers_tag(subject), oci::INDEX, &index).await.map(|_| ())
    }

    fn with_body(method: Method, url: Url, kind: Option<&'static str>, body: Bytes) -> Request {
        let mut request = Request::new(method, url);
        if let Some(kind) = kind {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        }
        // Left out where there is no body, and some registries insist on it.
        request.headers_mut().insert(CONTENT_LENGTH, body.len().into());
        *request.body_mut() = Some(body.into());
        request
    }

    fn url(&self, path: &str) -> Result<Url, PackageError> {
        let url = self.trusted.base.join(&format!("{}/{path}", self.repository));
        url.map_err(|error| PackageError::Usage(format!("{}/{path}: {error}", self.repository)))
    }

    /// An address of the registry's own that it gave. One behind a proxy that ends TLS may know itself by http alone.
    fn own(&self, from: &Url, location: &str) -> Result<Url, PackageError> {
        let mut url = from.join(location).map_err(|error| self.broken(format!("{location:?}: {error}")))?;
        let base = &self.trusted.base;
        if base.scheme() == "https" && url.scheme() == "http" && url.port().is_none() && url.host() == base.host() {
            // Between these two schemes, on a host, both are always possible.
            let _ = url.set_scheme("https").and_then(|()| url.set_port(base.port()));
        }
        if self.trusted.is_own(&url) {
            return Ok(url);
        }
        Err(self.broken(format!("it sends us to {}, which is another server", url.origin().ascii_serialization())))
    }
}

const OCTETS: &str = "application/octet-stream";

/// What a request is for: a token may allow the one and not the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Access {
    Read,
    Write,
}

/// The system's certificate authorities, and those named.
fn tls(authorities: &[PathBuf]) -> Result<rustls::ClientConfig, PackageError> {
    let authorities = trust::authorities(authorities).map_err(|error| PackageError::Usage(format!("{error:#}")))?;
    trust::client(authorities).map_err(PackageError::Host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_a_registry_says_of_its_own_address_is_understood() {
        let check = async |registry: &str, location: &str, expected: Result<&str, &str>| {
            let reference = format!("{registry}/team/name:1.0.0").parse().unwrap();
            let registry = Registry::new(&reference, &Options::default()).await.unwrap();
            let found = registry.own(&registry.url("blobs/uploads/").unwrap(), location);
            match (found, expected) {
                (Ok(url), Ok(expected)) => assert_eq!(url.as_str(), expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (found, expected) => panic!("{location}: {found:?} instead of {expected:?}"),
            }
        };
        let (plain, with_port) = ("registry.example", "registry.example:8443");
        check(plain, "/v2/u?_state=a%3D", Ok("https://registry.example/v2/u?_state=a%3D")).await;
        check(plain, "1", Ok("https://registry.example/v2/team/name/blobs/uploads/1")).await;
        // A proxy before it ends TLS, and it does not know.
        check(plain, "http://registry.example/v2/u", Ok("https://registry.example/v2/u")).await;
        check(with_port, "http://registry.example/v2/u", Ok("https://registry.example:8443/v2/u")).await;
        check(plain, "http://other.example/v2/u", Err("sends us to http://other.example, which is another")).await;
        check(plain, "https://registry.example:8443/v2/u", Err("which is another server")).await;
    }
}
