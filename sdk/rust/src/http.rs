//! Requests to hosts that the operator granted. Redirects are not followed: each would be a request of its own, to a host
//! that may not be granted.
//!
//! ```no_run
//! # use pipewright_sdk::prelude::*;
//! # fn example() -> Result<String> {
//! let token = secrets::stand_in("api-token")?;
//! let response = http::post("https://api.example.com/v1/deployments")
//!     .header("authorization", format!("Bearer {token}"))
//!     .json(&serde_json::json!({ "release": "7" }))?
//!     .send()?;
//! let answer: serde_json::Value = response.succeeded()?.json(64 * 1024)?;
//! Ok(answer["id"].to_string())
//! # }
//! ```
//!
//! Bodies need not fit into memory: [`Request::body_from`] sends what a reader gives, and a [`Response`] is a reader.
//!
//! ```no_run
//! # use pipewright_sdk::prelude::*;
//! # fn example(action: &Action) -> Result<()> {
//! let archive = action.input()?.join("site.zip");
//! let bytes = std::fs::metadata(&archive)?.len();
//! let upload = http::put("https://files.example.com/site.zip").body_from(files::open(&archive)?, Some(bytes));
//! let mut receipt = upload.send()?.succeeded()?;
//! std::io::copy(&mut receipt, &mut std::fs::File::create(action.output()?.join("receipt.json"))?)?;
//! # Ok(()) }
//! ```

use std::collections::VecDeque;
use std::io::{self, Cursor, Read};
use std::mem::discriminant;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::host::wasi::http::types::{DnsErrorPayload, ErrorCode, Method, Scheme};
use crate::host::http::{Exchange, wait};
use crate::{Failure, Result};

/// What a failure shows of a response.
const SHOWN_BYTES_MAX: u64 = 1024;
/// How many requests of [`send_all`] are under way at once: as many as a host serves at once for one action.
const AT_ONCE_MAX: usize = 16;

/// A request that is not sent yet.
#[must_use = "a request goes nowhere until it is sent"]
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Box<dyn Read>>,
    /// In bytes, where it is known.
    body_length: Option<u64>,
    timeouts: Timeouts,
}

#[derive(Default)]
pub(crate) struct Timeouts {
    pub(crate) connect: Option<Duration>,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) between_bytes: Option<Duration>,
}

/// A request in the parts that go out.
#[cfg_attr(not(target_family = "wasm"), allow(dead_code, reason = "the fake host looks at less"))]
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    pub(crate) url: String,
    pub(crate) scheme: Scheme,
    pub(crate) authority: String,
    pub(crate) path: String,
    pub(crate) headers: Vec<(String, Vec<u8>)>,
    pub(crate) body: Option<Box<dyn Read>>,
    pub(crate) timeouts: Timeouts,
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        #[doc = concat!("A request with the method `", stringify!($method), "`, in upper case, to a URL that begins with ")]
        #[doc = "`http://` or `https://`."]
        pub fn $name(url: impl Into<String>) -> Request {
            Request::new(Method::$method, url)
        }
    )*};
}

methods!(get Get head Head post Post put Put patch Patch delete Delete);

/// Sends several requests, of which up to 16 are under way at once, and gives what came of each, in the order of the
/// requests.
///
/// `read` gets each response when its head comes, in whatever order they come, and reads as much of the body as it wants.
/// A response that it keeps takes up the place of a further request until it is dropped.
///
/// ```no_run
/// # use pipewright_sdk::prelude::*;
/// # fn example(urls: &[String]) -> Result<()> {
/// let pages = http::send_all(urls.iter().map(http::get), |response| response.succeeded()?.text(1024 * 1024));
/// for (url, page) in urls.iter().zip(pages) {
///     info!("{url}: {} bytes", page?.len());
/// }
/// # Ok(()) }
/// ```
pub fn send_all<T>(
    requests: impl IntoIterator<Item = Request>,
    mut read: impl FnMut(Response) -> Result<T>,
) -> Vec<Result<T>> {
    let mut requests = requests.into_iter();
    let mut results: Vec<Option<Result<T>>> = Vec::new();
    let mut under_way: VecDeque<(usize, Exchange)> = VecDeque::new();
    loop {
        while under_way.len() < AT_ONCE_MAX
            && let Some(request) = requests.next()
        {
            let begun = request.begin();
            let failed = begun.as_ref().err().cloned();
            under_way.extend(begun.ok().map(|exchange| (results.len(), exchange)));
            results.push(failed.map(Err));
        }
        if under_way.is_empty() {
            return results.into_iter().flatten().collect();
        }
        let before = under_way.len();
        under_way.retain_mut(|(number, exchange)| {
            let Some(response) = exchange.advance() else { return true };
            results[*number] = Some(response.and_then(&mut read));
            false
        });
        if under_way.len() == before {
            wait(under_way.iter().map(|(_, exchange)| exchange));
        }
    }
}

impl Request {
    fn new(method: Method, url: impl Into<String>) -> Self {
        let (headers, timeouts) = (Vec::new(), Timeouts::default());
        Self { method, url: url.into(), headers, body: None, body_length: None, timeouts }
    }

    /// Adds a header. The value may hold a secret's stand-in; see [`secrets`](crate::secrets).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into().into_bytes()));
        self
    }

    /// Sends these bytes as the body.
    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        let length = body.len() as u64;
        self.body_from(Cursor::new(body), Some(length))
    }

    /// Sends as the body what a reader gives, piece by piece. `length` is in bytes; where it is `None`, the body goes out in
    /// chunks, which not every server reads.
    pub fn body_from(mut self, body: impl Read + 'static, length: Option<u64>) -> Self {
        self.body = (length != Some(0)).then(|| Box::new(body) as Box<dyn Read>);
        self.body_length = length.filter(|length| *length > 0);
        self
    }

    /// Sends a value as JSON, with its content type.
    ///
    /// # Errors
    /// Job, for what cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::job(format!("the request's body: {error}")))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long to wait for the connection, and then for the response to begin: [`connect_timeout`](Self::connect_timeout)
    /// and [`first_byte_timeout`](Self::first_byte_timeout) in one.
    pub fn timeout(self, timeout: Duration) -> Self {
        self.connect_timeout(timeout).first_byte_timeout(timeout)
    }

    /// How long to wait for the connection. The host has limits of its own for all timeouts; they can only be shorter.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.connect = Some(timeout);
        self
    }

    /// How long to wait for the response to begin, once the request is sent.
    pub fn first_byte_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.first_byte = Some(timeout);
        self
    }

    /// How long to wait for the next bytes of the response's body.
    pub fn between_bytes_timeout(mut self, timeout: Duration) -> Self {
        self.timeouts.between_bytes = Some(timeout);
        self
    }

    /// Sends the request, and waits for the head of the response, whatever its status.
    ///
    /// A server may refuse a request before it has read the body: its answer comes then, and the rest of the body is not sent.
    ///
    /// # Errors
    /// Configuration, for what is no URL or header; permission, where no grant allows it; system unavailable, where no
    /// response comes; job, where the body cannot be read or is not as long as was said.
    pub fn send(self) -> Result<Response> {
        let mut exchange = self.begin()?;
        loop {
            match exchange.advance() {
                Some(response) => return response,
                None => wait(std::iter::once(&exchange)),
            }
        }
    }

    fn begin(mut self) -> Result<Exchange> {
        let is_declared = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if let Some(length) = self.body_length.filter(|_| !is_declared) {
            // Without it the body goes out in chunks, which simple servers do not read.
            self.headers.push(("content-length".to_owned(), length.to_string().into_bytes()));
        }
        let Self { method, url, headers, body, timeouts, .. } = self;
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(no_url(&url)),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let authority = authority.to_owned();
        Exchange::begin(Outgoing { method, url, scheme, authority, path, headers, body, timeouts })
    }
}

/// The head of a response, and its body to read: it comes from the server as it is read.
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    body: Box<dyn Read>,
}

impl Response {
    pub(crate) fn new(status: u16, headers: Vec<(String, Vec<u8>)>, body: impl Read + 'static) -> Self {
        Self { status, headers, body: Box::new(body) }
    }

    /// The status, such as 200.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The response itself if its status is 2xx.
    ///
    /// # Errors
    /// Job, for another status; the failure shows the first 1,024 bytes of what came instead.
    pub fn succeeded(self) -> Result<Self> {
        if (200..300).contains(&self.status) {
            return Ok(self);
        }
        let status = self.status;
        let mut said = Vec::new();
        // It is only there to help.
        let _ = self.take(SHOWN_BYTES_MAX).read_to_end(&mut said);
        Err(Failure::job(format!("the service answered {status}: {}", String::from_utf8_lossy(&said).trim())))
    }

    /// The whole body as JSON, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes); job, where it is not JSON of this type.
    pub fn json<T: DeserializeOwned>(self, bytes_max: u64) -> Result<T> {
        let body = self.bytes(bytes_max)?;
        serde_json::from_slice(&body).map_err(|error| Failure::job(format!("the response is not as expected: {error}")))
    }

    /// The whole body, which must be UTF-8 of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Those of [`bytes`](Self::bytes); job, where it is not UTF-8.
    pub fn text(self, bytes_max: u64) -> Result<String> {
        String::from_utf8(self.bytes(bytes_max)?).map_err(|_| Failure::job("the response is not UTF-8"))
    }

    /// The whole body, of at most `bytes_max` bytes.
    ///
    /// # Errors
    /// Job, where it is larger; system unavailable, where the rest of it does not come.
    pub fn bytes(self, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let read = self.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| Failure::system_unavailable(format!("the response broke off: {error}")))?;
        if bytes.len() as u64 > bytes_max {
            return Err(Failure::job(format!("the response is larger than {bytes_max} bytes")));
        }
        Ok(bytes)
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.body.read(buffer)
    }
}

pub(crate) fn no_url(url: &str) -> Failure {
    Failure::configuration(format!("`{url}` is not a URL that begins with http:// or https://"))
}

pub(crate) fn failure(url: &str, error: &ErrorCode) -> Failure {
    match error {
        ErrorCode::HttpRequestDenied => Failure::permission(format!(
            "no grant allows the request to {url}, or a secret in it; the log says what is missing: a grant, like \
             `http = [\"https://example.com\"]`, or an ask of the plugin"
        )),
        ErrorCode::DestinationIpProhibited => Failure::permission(format!(
            "the request to {url} leads to a private address; grant its origin with `private = true`, if it is meant to"
        )),
        error => Failure::system_unavailable(format!("the request to {url} failed: {}", words(error))),
    }
}

/// The error codes that a host gives, by their names in the WIT, and what a person is told of each.
pub(crate) const ERRORS: &[(&str, ErrorCode, &str)] = {
    use ErrorCode::*;
    &[
        ("DNS-timeout", DnsTimeout, "its host was not found in time"),
        ("DNS-error", DnsError(DnsErrorPayload { rcode: None, info_code: None }), "its host cannot be found"),
        ("destination-not-found", DestinationNotFound, "its host has no address"),
        ("destination-unavailable", DestinationUnavailable, "its host cannot be reached"),
        ("destination-IP-prohibited", DestinationIpProhibited, "it leads to a private address"),
        ("destination-IP-unroutable", DestinationIpUnroutable, "there is no way to its host"),
        ("connection-refused", ConnectionRefused, "the connection was refused: nothing listens there"),
        ("connection-terminated", ConnectionTerminated, "the connection broke"),
        ("connection-timeout", ConnectionTimeout, "there was no connection in time"),
        ("connection-read-timeout", ConnectionReadTimeout, "the response stopped coming"),
        ("connection-limit-reached", ConnectionLimitReached, "the action has made as many requests as one call may"),
        ("TLS-protocol-error", TlsProtocolError, "its server does not speak TLS as it should"),
        ("TLS-certificate-error", TlsCertificateError, "its server's certificate is not trusted"),
        ("HTTP-request-denied", HttpRequestDenied, "no grant allows it"),
        ("HTTP-request-body-size", HttpRequestBodySize(None), "its body is larger than the host sends"),
        ("HTTP-response-incomplete", HttpResponseIncomplete, "the server closed the connection within the response"),
        ("HTTP-response-body-size", HttpResponseBodySize(None), "the response's body is larger than the host takes"),
        ("HTTP-response-timeout", HttpResponseTimeout, "the response did not come in time"),
        ("HTTP-protocol-error", HttpProtocolError, "its server does not speak HTTP as it should"),
    ]
};

/// What went wrong, for a person; the action's log has the host's own words.
pub(crate) fn words(error: &ErrorCode) -> String {
    let told = ERRORS.iter().find(|(_, code, _)| discriminant(code) == discriminant(error));
    told.map_or_else(|| format!("{error:?}"), |(name, _, words)| format!("{words} ({name})"))
}
