//! A registry, asked over HTTP for one repository.
//!
//! Owns the requests of the OCI distribution specification 1.1, the authentication that registries want, and the limits on what a
//! registry may answer. Must not know what is in a manifest or a blob. The bodies are read here, and not by a client library
//! of registries, because each is to end at a limit of bytes and of time, whatever the registry sends.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue, LINK, LOCATION, WWW_AUTHENTICATE};
use pipewright_base::Digest;
use pipewright_base::trust;
use pipewright_text::{cut_chars, printable};
use reqwest::{Client, RequestBuilder, Response, Url};
use serde::Deserialize;

use super::oci::{self, Descriptor};
use super::package::MANIFEST_BYTES_MAX;
use super::{PackageError, Reference};

/// Stops a token, a list of tags or a complaint that never ends.
const ANSWER_BYTES_MAX: u64 = 1024 * 1024;
/// Stops a list of tags that always has another page.
const TAG_PAGES_MAX: usize = 100;
const REDIRECTS_MAX: usize = 5;
/// What of a registry's own complaint is told.
const COMPLAINT_CHARS_MAX: usize = 300;
const DOCKER_CONFIG_BYTES_MAX: u64 = 1024 * 1024;

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
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(30),
            document: Duration::from_secs(60),
            component: Duration::from_secs(15 * 60),
        }
    }
}

/// How registries are reached.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// No TLS, also where the registry is not on this machine.
    pub plain_http: bool,
    /// PEM files of certificate authorities, besides the system's.
    pub certificate_authorities: Vec<PathBuf>,
    pub limits: Limits,
}

/// One repository of one registry, with the user's docker credentials for it.
pub struct Registry {
    http: Client,
    base: Url,
    registry: String,
    repository: String,
    credential: Option<DockerCredential>,
    /// The value of the `Authorization` header that the registry asked for.
    authorization: Mutex<Option<HeaderValue>>,
    limits: Limits,
}

/// What the registry wants before it answers.
#[derive(Debug, PartialEq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

impl Registry {
    /// # Errors
    /// A certificate authority or the docker configuration cannot be read.
    pub async fn new(reference: &Reference, options: &Options) -> Result<Self, PackageError> {
        let host = reference.registry.clone();
        let is_local = is_loopback(&host);
        // Who names an authority wants TLS.
        let plain = options.plain_http || is_local && options.certificate_authorities.is_empty();
        let scheme = if plain { "http" } else { "https" };
        let base = Url::parse(&format!("{scheme}://{host}/v2/"));
        let base = base.map_err(|error| PackageError::Usage(format!("{host:?} is no registry: {error}")))?;
        let mut builder = Client::builder()
            .tls_backend_preconfigured(trusted(&options.certificate_authorities)?)
            .https_only(!plain)
            .connect_timeout(options.limits.connect)
            .read_timeout(options.limits.idle)
            .redirect(reqwest::redirect::Policy::limited(REDIRECTS_MAX))
            .user_agent("pipewright");
        if is_local {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| PackageError::Host(error.into()))?;
        let asked = host.clone();
        let credential = tokio::task::spawn_blocking(move || credential(&asked)).await;
        let credential = credential.map_err(|error| PackageError::Host(error.into()))??;
        Ok(Self {
            http,
            base,
            registry: host,
            repository: reference.repository.clone(),
            credential,
            authorization: Mutex::default(),
            limits: options.limits.clone(),
        })
    }

    /// A manifest by tag or digest; none if there is none.
    pub async fn manifest(&self, selector: &str) -> Result<Option<Vec<u8>>, PackageError> {
        let what = format!("the manifest {}:{selector}", self.repository);
        let url = self.url(&format!("manifests/{selector}"))?;
        self.within(self.limits.document, &what, async {
            let request = || self.http.get(url.clone()).header(ACCEPT, oci::MANIFEST);
            let answer = self.send(&request, false).await?;
            if answer.status().as_u16() == 404 {
                return Ok(None);
            }
            let answer = self.succeeded(answer, &what).await?;
            self.body(answer, &what, MANIFEST_BYTES_MAX).await.map(Some)
        })
        .await
    }

    /// A blob whose size and digest are known.
    pub async fn blob(&self, what: &str, blob: &Descriptor, is_code: bool) -> Result<Vec<u8>, PackageError> {
        let time = if is_code { self.limits.component } else { self.limits.document };
        let url = self.url(&format!("blobs/{}", oci::text(&blob.digest)))?;
        let bytes = self.within(time, what, async {
            let answer = self.send(&|| self.http.get(url.clone()), false).await?;
            let answer = self.succeeded(answer, what).await?;
            self.body(answer, what, blob.size).await
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
        for _ in 0..TAG_PAGES_MAX {
            let (next, page) = self
                .within(self.limits.document, &what, async {
                    let answer = self.send(&|| self.http.get(url.clone()), false).await?;
                    let answer = self.succeeded(answer, &what).await?;
                    let next = answer.headers().get(LINK).and_then(|link| next_page(link.to_str().ok()?));
                    Ok((next, self.body(answer, &what, ANSWER_BYTES_MAX).await?))
                })
                .await?;
            let page: Page = serde_json::from_slice(&page).map_err(|error| self.broken(format!("{what}: {error}")))?;
            tags.extend(page.tags.unwrap_or_default());
            let Some(next) = next else { return Ok(tags) };
            url = self.same_registry(&url, &next)?;
        }
        Err(self.broken(format!("{what} have more than {TAG_PAGES_MAX} pages")))
    }

    /// Stores a blob, unless it is there.
    pub async fn push_blob(&self, what: &str, bytes: Vec<u8>) -> Result<(), PackageError> {
        let digest = oci::text(&Digest::of(&bytes));
        let bytes = Bytes::from(bytes);
        let (there, uploads) = (self.url(&format!("blobs/{digest}"))?, self.url("blobs/uploads/")?);
        self.within(self.limits.component, what, async {
            if self.send(&|| self.http.head(there.clone()), true).await?.status().is_success() {
                return Ok(());
            }
            let begun = self.send(&|| self.http.post(uploads.clone()), true).await?;
            let begun = self.succeeded(begun, what).await?;
            let location = begun.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            let location = location.ok_or_else(|| self.broken(format!("{what}: it says not where to send it")))?;
            let mut location = self.same_registry(&uploads, location)?;
            location.query_pairs_mut().append_pair("digest", &digest);
            let stored = self
                .send(
                    &|| {
                        let request = self.http.put(location.clone());
                        request.header(CONTENT_TYPE, "application/octet-stream").body(bytes.clone())
                    },
                    true,
                )
                .await?;
            self.succeeded(stored, what).await.map(|_| ())
        })
        .await
    }

    /// Stores a manifest under a tag.
    pub async fn push_manifest(&self, tag: &str, bytes: &[u8]) -> Result<(), PackageError> {
        let what = format!("the manifest {}:{tag}", self.repository);
        let url = self.url(&format!("manifests/{tag}"))?;
        let bytes = Bytes::copy_from_slice(bytes);
        self.within(self.limits.document, &what, async {
            let request = || self.http.put(url.clone()).header(CONTENT_TYPE, oci::MANIFEST).body(bytes.clone());
            let answer = self.send(&request, true).await?;
            self.succeeded(answer, &what).await.map(|_| ())
        })
        .await
    }

    fn url(&self, path: &str) -> Result<Url, PackageError> {
        let url = self.base.join(&format!("{}/{path}", self.repository));
        url.map_err(|error| PackageError::Usage(format!("{}/{path}: {error}", self.repository)))
    }

    /// An address that the registry gave, which must be its own: our credentials go there.
    fn same_registry(&self, from: &Url, location: &str) -> Result<Url, PackageError> {
        let url = from.join(location).map_err(|error| self.broken(format!("{location:?}: {error}")))?;
        if url.origin() == self.base.origin() {
            return Ok(url);
        }
        Err(self.broken(format!("it sends us to {}, which is another server", url.origin().ascii_serialization())))
    }

    async fn within<T>(
        &self,
        time: Duration,
        what: &str,
        exchange: impl Future<Output = Result<T, PackageError>>,
    ) -> Result<T, PackageError> {
        let late = |_| self.broken(format!("{what}: the answer is not complete after {} s", time.as_secs_f32()));
        tokio::time::timeout(time, exchange).await.map_err(late)?
    }

    /// Sends a request; once more, with what the registry asks for, if it does not let us in.
    async fn send(&self, request: &impl Fn() -> RequestBuilder, write: bool) -> Result<Response, PackageError> {
        let answer = self.send_once(request()).await?;
        if answer.status().as_u16() != 401 {
            return Ok(answer);
        }
        let challenges = answer.headers().get_all(WWW_AUTHENTICATE);
        let challenge = challenges.iter().filter_map(|value| value.to_str().ok()).find_map(Challenge::read);
        let Some(challenge) = challenge else { return Ok(answer) };
        let value = match challenge {
            Challenge::Basic => self.basic()?,
            Challenge::Bearer { realm, service, scope } => self.token(&realm, service, scope, write).await?,
        };
        *self.authorization.lock().unwrap_or_else(PoisonError::into_inner) = Some(value);
        self.send_once(request()).await
    }

    async fn send_once(&self, request: RequestBuilder) -> Result<Response, PackageError> {
        let authorization = self.authorization.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let request = match authorization {
            Some(value) => request.header(AUTHORIZATION, value),
            None => request,
        };
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    fn basic(&self) -> Result<HeaderValue, PackageError> {
        use base64::Engine as _;
        match &self.credential {
            Some(DockerCredential::UsernamePassword(user, password)) => {
                let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{user}:{password}"));
                self.secret_header(&format!("Basic {encoded}"))
            }
            Some(DockerCredential::IdentityToken(_)) => {
                Err(self.locked_out("it wants a user and a password, and there is an identity token"))
            }
            None => Err(self.locked_out("it wants a user and a password")),
        }
    }

    /// The token authentication of docker's registry: <https://distribution.github.io/distribution/spec/auth/token/>.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
        write: bool,
    ) -> Result<HeaderValue, PackageError> {
        #[derive(Deserialize)]
        struct Token {
            #[serde(alias = "access_token")]
            token: String,
        }
        let what = "its token";
        let url = Url::parse(realm).map_err(|error| self.broken(format!("its realm {realm:?}: {error}")))?;
        if self.base.scheme() == "https" && url.scheme() != "https" {
            return Err(self.broken(format!("it sends us to {realm} for a token, which is not https")));
        }
        let actions = if write { "pull,push" } else { "pull" };
        let scope = scope.unwrap_or_else(|| format!("repository:{}:{actions}", self.repository));
        let mut asked = url.clone();
        asked.query_pairs_mut().append_pair("scope", &scope);
        if let Some(service) = &service {
            asked.query_pairs_mut().append_pair("service", service);
        }
        let mut request = match &self.credential {
            Some(DockerCredential::IdentityToken(token)) => {
                let fields = [("grant_type", "refresh_token"), ("client_id", "pipewright"), ("refresh_token", token)];
                asked.query_pairs_mut().extend_pairs(fields);
                let form = asked.query().unwrap_or_default().to_owned();
                self.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
            }
            _ => self.http.get(asked),
        };
        if let Some(DockerCredential::UsernamePassword(..)) = &self.credential {
            request = request.header(AUTHORIZATION, self.basic()?);
        }
        let answer = request.send().await.map_err(|error| self.unreachable(&error))?;
        let answer = self.succeeded(answer, what).await?;
        let body = self.body(answer, what, ANSWER_BYTES_MAX).await?;
        let token: Token = serde_json::from_slice(&body).map_err(|error| self.broken(format!("{what}: {error}")))?;
        self.secret_header(&format!("Bearer {}", token.token))
    }

    fn secret_header(&self, value: &str) -> Result<HeaderValue, PackageError> {
        let mut value =
            HeaderValue::from_str(value).map_err(|_| self.locked_out("the credentials are no header's text"))?;
        value.set_sensitive(true);
        Ok(value)
    }

    async fn succeeded(&self, answer: Response, what: &str) -> Result<Response, PackageError> {
        let status = answer.status();
        match status.as_u16() {
            _ if status.is_success() => Ok(answer),
            401 | 403 => {
                let reason =
                    if self.credential.is_some() { "it refuses the credentials" } else { "it wants credentials" };
                Err(self.locked_out(&format!("{reason} for {what}")))
            }
            404 => Err(PackageError::Missing(format!("{what} at {}", self.registry))),
            code => {
                let complaint = self.body(answer, what, ANSWER_BYTES_MAX).await.unwrap_or_default();
                let mut complaint = printable(&String::from_utf8_lossy(&complaint)).into_owned();
                cut_chars(&mut complaint, COMPLAINT_CHARS_MAX);
                Err(self.broken(format!("{what}: it answers with status {code}: {}", complaint.trim())))
            }
        }
    }

    async fn body(&self, mut answer: Response, what: &str, bytes_max: u64) -> Result<Vec<u8>, PackageError> {
        let too_long = || self.broken(format!("{what}: the answer is longer than {bytes_max} bytes"));
        if answer.content_length().is_some_and(|length| length > bytes_max) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| self.unreachable(&error))? {
            if (bytes.len() + chunk.len()) as u64 > bytes_max {
                return Err(too_long());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn broken(&self, reason: impl Into<String>) -> PackageError {
        PackageError::Registry { registry: self.registry.clone(), reason: reason.into() }
    }

    fn locked_out(&self, reason: &str) -> PackageError {
        PackageError::Credentials { registry: self.registry.clone(), reason: reason.to_owned() }
    }

    /// The innermost cause says what happened, the outermost only that a request failed.
    fn unreachable(&self, error: &reqwest::Error) -> PackageError {
        if error.is_timeout() {
            let idle = self.limits.idle.as_secs_f32();
            return self.broken(format!("it does not answer: nothing came for {idle} s"));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(inner) = cause.source() {
            cause = inner;
        }
        self.broken(format!("it does not answer as a registry does: {cause}"))
    }
}

impl Challenge {
    /// RFC 9110 §11.6.1, one challenge in a header.
    fn read(header: &str) -> Option<Self> {
        let (scheme, rest) = header.split_once(' ').unwrap_or((header, ""));
        if scheme.eq_ignore_ascii_case("basic") {
            return Some(Self::Basic);
        }
        if !scheme.eq_ignore_ascii_case("bearer") {
            return None;
        }
        let (mut realm, mut service, mut scope) = (None, None, None);
        let mut rest = rest;
        while let Some((key, after)) = rest.split_once("=\"") {
            let (value, after) = after.split_once('"')?;
            match key.trim_start_matches([',', ' ']) {
                "realm" => realm = Some(value.to_owned()),
                "service" => service = Some(value.to_owned()),
                "scope" => scope = Some(value.to_owned()),
                _ => {}
            }
            rest = after;
        }
        Some(Self::Bearer { realm: realm?, service, scope })
    }
}

/// The address of the next page in a `Link` header (RFC 8288).
fn next_page(link: &str) -> Option<String> {
    let (address, relation) = link.strip_prefix('<')?.split_once('>')?;
    relation.contains("rel=\"next\"").then(|| address.to_owned())
}

fn is_loopback(registry: &str) -> bool {
    let host = match registry.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => registry.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The system's certificate authorities, and those named.
fn trusted(authorities: &[PathBuf]) -> Result<rustls::ClientConfig, PackageError> {
    let authorities = trust::authorities(authorities).map_err(|error| PackageError::Usage(format!("{error:#}")))?;
    trust::client(authorities).map_err(PackageError::Host)
}

/// What the user's docker configuration has for a registry, credential helpers included. May block.
fn credential(registry: &str) -> Result<Option<DockerCredential>, PackageError> {
    use std::io::Read as _;
    let folder = std::env::var_os("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".docker")));
    let Some(path) = folder.map(|folder| folder.join("config.json")) else { return Ok(None) };
    let file = match std::fs::File::open(&path) {
        Ok(file) => file.take(DOCKER_CONFIG_BYTES_MAX),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(PackageError::Usage(format!("{}: {error}", path.display()))),
    };
    match docker_credential::get_credential_from_reader(file, registry) {
        Ok(credential) => Ok(Some(credential)),
        Err(CredentialRetrievalError::NoCredentialConfigured) => Ok(None),
        // What a helper printed may hold a secret.
        Err(CredentialRetrievalError::HelperFailure { helper, .. }) => Err(PackageError::Credentials {
            registry: registry.to_owned(),
            reason: format!("docker-credential-{helper} failed"),
        }),
        Err(error) => Err(PackageError::Usage(format!("{}: {error}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges_are_read() {
        let bearer = |realm: &str, service: Option<&str>, scope: Option<&str>| Challenge::Bearer {
            realm: realm.to_owned(),
            service: service.map(str::to_owned),
            scope: scope.map(str::to_owned),
        };
        let check =
            |header: &str, expected: Option<Challenge>| assert_eq!(Challenge::read(header), expected, "{header}");
        check("Basic realm=\"x\"", Some(Challenge::Basic));
        check("basic", Some(Challenge::Basic));
        check(
            "Bearer realm=\"https://a/token\",service=\"a\",scope=\"repository:x/y:pull,push\"",
            Some(bearer("https://a/token", Some("a"), Some("repository:x/y:pull,push"))),
        );
        check("bearer service=\"b\", realm=\"https://a\"", Some(bearer("https://a", Some("b"), None)));
        check("Bearer service=\"b\"", None);
        check("Bearer realm=\"b", None);
        check("Negotiate", None);
    }

    #[test]
    fn this_machine_is_known() {
        let check = |registry: &str, expected| assert_eq!(is_loopback(registry), expected, "{registry}");
        check("localhost", true);
        check("localhost:5000", true);
        check("127.0.0.2:80", true);
        check("[::1]:5000", true);
        check("localhost.example:5000", false);
        check("192.168.0.1", false);
    }

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next_page("</v2/a/tags/list?n=2&last=b>; rel=\"next\"").as_deref(),
            Some("/v2/a/tags/list?n=2&last=b")
        );
        assert_eq!(next_page("</v2/a>; rel=\"prev\""), None);
    }
}
