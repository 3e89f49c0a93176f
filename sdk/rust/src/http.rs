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

use std::io::{self, Read, Write};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::host::wasi::http::outgoing_handler::handle;
use crate::bindings::host::wasi::http::types::{
    ErrorCode, Headers, IncomingBody, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme,
};
use crate::streams::{Reader, Writer};
use crate::{Failure, Result};

/// What a failure shows of a response.
const SHOWN_BYTES_MAX: u64 = 1024;

/// A request that is not sent yet.
pub struct Request {
    method: Method,
    url: String,
    headers: Vec<(String, Vec<u8>)>,
    body: Vec<u8>,
    timeout: Option<Duration>,
}

pub fn get(url: impl Into<String>) -> Request {
    Request::new(Method::Get, url)
}

pub fn head(url: impl Into<String>) -> Request {
    Request::new(Method::Head, url)
}

pub fn post(url: impl Into<String>) -> Request {
    Request::new(Method::Post, url)
}

pub fn put(url: impl Into<String>) -> Request {
    Request::new(Method::Put, url)
}

pub fn patch(url: impl Into<String>) -> Request {
    Request::new(Method::Patch, url)
}

pub fn delete(url: impl Into<String>) -> Request {
    Request::new(Method::Delete, url)
}

impl Request {
    fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: Vec::new(), timeout: None }
    }

    /// The value may hold a secret's stand-in; see [`secrets`](crate::secrets).
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into().into_bytes()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The body as JSON, with its content type.
    ///
    /// # Errors
    /// What cannot be written as JSON.
    pub fn json(self, body: &impl Serialize) -> Result<Self> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::job(format!("the request's body: {error}")))?;
        Ok(self.header("content-type", "application/json").body(body))
    }

    /// How long to wait for the connection, and then for the response to begin. The host has limits of its own; this can
    /// only be shorter.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Sends the request, and waits for the head of the response, whatever its status.
    ///
    /// # Errors
    /// Configuration, for what is no URL or header; permission, where no grant allows it; system unavailable, where no
    /// response comes.
    pub fn send(mut self) -> Result<Response> {
        let is_declared = self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        if !self.body.is_empty() && !is_declared {
            // Without it the body goes out in chunks, which simple servers do not read.
            self.headers.push(("content-length".to_owned(), self.body.len().to_string().into_bytes()));
        }
        let url = self.url;
        let no_url = || Failure::configuration(format!("`{url}` is not a URL that begins with http:// or https://"));
        let (scheme, rest) = match url.split_once("://") {
            Some(("https", rest)) => (Scheme::Https, rest),
            Some(("http", rest)) => (Scheme::Http, rest),
            _ => return Err(no_url()),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let headers = Headers::from_list(&self.headers)
            .map_err(|error| Failure::configuration(format!("a header of the request to {url} is refused: {error}")))?;
        let request = OutgoingRequest::new(headers);
        let set = request.set_method(&self.method).and_then(|()| request.set_scheme(Some(&scheme)));
        let set = set.and_then(|()| request.set_authority(Some(authority)));
        set.and_then(|()| request.set_path_with_query(Some(&path))).map_err(|()| no_url())?;

        let failed = |error| failure(&url, error);
        let body = request.body().ok();
        let options = self.timeout.map(|timeout| {
            let options = RequestOptions::new();
            let nanoseconds = u64::try_from(timeout.as_nanos()).ok();
            // A host that does not know one of them has limits of its own.
            let _ = options.set_connect_timeout(nanoseconds);
            let _ = options.set_first_byte_timeout(nanoseconds);
            options
        });
        let future = handle(request, options).map_err(failed)?;
        if let Some(body) = body {
            send_body(body, &self.body).map_err(failed)?;
        }
        future.subscribe().block();
        match future.get() {
            Some(Ok(response)) => Response::new(response.map_err(failed)?).map_err(failed),
            _ => Err(failed(ErrorCode::InternalError(None))),
        }
    }
}

fn send_body(body: OutgoingBody, bytes: &[u8]) -> Result<(), ErrorCode> {
    if !bytes.is_empty() {
        let stream = body.write().map_err(|()| ErrorCode::InternalError(None))?;
        let mut writer = Writer(stream);
        // A host that wants no more of it may well have answered.
        let _ = writer.write_all(bytes).and_then(|()| writer.flush());
    }
    OutgoingBody::finish(body, None)
}

/// The head of a response, and its body to read.
pub struct Response {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    // Before the body that it belongs to: fields are dropped in this order.
    reader: Reader,
    _body: IncomingBody,
}

impl Response {
    fn new(response: IncomingResponse) -> Result<Self, ErrorCode> {
        let taken = |()| ErrorCode::InternalError(None);
        let (status, headers) = (response.status(), response.headers().entries());
        let body = response.consume().map_err(taken)?;
        Ok(Self { status, headers, reader: Reader(body.stream().map_err(taken)?), _body: body })
    }

    pub fn status(&self) -> u16 {
        self.status
    }

    /// The first header of this name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(found, _)| found.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// The response itself if its status is 2xx, and else a failure of the job that says what came instead.
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
    pub fn json<T: DeserializeOwned>(self, bytes_max: u64) -> Result<T> {
        let body = self.bytes(bytes_max)?;
        serde_json::from_slice(&body).map_err(|error| Failure::job(format!("the response is not as expected: {error}")))
    }

    /// The whole body, which must be UTF-8 of at most `bytes_max` bytes.
    pub fn text(self, bytes_max: u64) -> Result<String> {
        String::from_utf8(self.bytes(bytes_max)?).map_err(|_| Failure::job("the response is not UTF-8"))
    }

    /// The whole body, of at most `bytes_max` bytes.
    pub fn bytes(self, bytes_max: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > bytes_max {
            return Err(Failure::job(format!("the response is larger than {bytes_max} bytes")));
        }
        Ok(bytes)
    }
}

impl Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

fn failure(url: &str, error: ErrorCode) -> Failure {
    match error {
        ErrorCode::HttpRequestDenied => Failure::permission(format!(
            "no grant allows the request to {url}; grant its origin to this action, like `http = [\"https://example.com\"]`"
        )),
        ErrorCode::DestinationIpProhibited => Failure::permission(format!(
            "the request to {url} leads to a private address; grant its origin with `private = true`, if it is meant to"
        )),
        error => Failure::system_unavailable(format!("the request to {url} failed: {error}")),
    }
}
