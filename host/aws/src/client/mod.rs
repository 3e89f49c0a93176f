//! A client of the server: CodePipeline's operations, and the plain HTTP interface beside them.
//!
//! Owns the forms of requests and answers, and what a caller may do about an error. Must not know commands, terminals, or
//! anything of the server but its HTTP interface.

mod connect;
mod sse;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST};
use http::{HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::Value;

use crate::auth::{AccessKey, OTHER_REGION, Scope, sign};
pub use connect::Endpoint;
use pipewright_base::{clock, hex};
pub use sse::{Events, Message};

const SERVICE: &str = "codepipeline";
const TARGET_PREFIX: &str = "CodePipeline_20150709";
const X_AMZ_TARGET: &str = "x-amz-target";
/// By this header a client says that it reads all that is wrong with an input, in the member `problems` of an error.
pub const PROBLEMS: &str = "x-pipewright-problems";
const INVOCATION_ID: &str = "amz-sdk-invocation-id";
/// Stops an answer that never ends, of a server that is none.
const ANSWER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Until the head of an answer is here.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);
/// RFC 3986's unreserved characters stand for themselves in a path.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// What went wrong, by what the caller may do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Write the address in another way.
    #[error("the endpoint {endpoint:?} {problem}: write it as http://HOST:PORT")]
    Endpoint { endpoint: String, problem: &'static str },
    /// Start the server, or name another address.
    #[error(
        "cannot connect to {endpoint}: {reason}\nIs the server running? Start it with `pipewright serve`, and its --data if it has one, or name its address with --endpoint or AWS_ENDPOINT_URL_CODEPIPELINE."
    )]
    Unreachable { endpoint: String, reason: String },
    /// It was there, and then it was not, or what is there is no Pipewright.
    #[error("{endpoint} did not answer as a server of pipelines does: {reason}")]
    Broken { endpoint: String, reason: String },
    /// Say that more is wanted, where that is an option, or ask for less.
    #[error("the server sends more than {bytes_max} bytes, which is as much as is taken")]
    TooLong { bytes_max: u64 },
    /// Use another access key.
    #[error(
        "{endpoint} does not accept the access key {key}: {message} ({code})\nThe server's own key is in the file `credentials` of its data directory, which --data names."
    )]
    Credentials { endpoint: String, key: String, code: String, message: String },
    /// Sign for the server's region.
    #[error(
        "{endpoint} serves another region: {message} ({code})\nName its region with --region, or AWS_DEFAULT_REGION."
    )]
    Region { endpoint: String, code: String, message: String },
    /// Ask for something else.
    #[error("{message} ({code})")]
    Refused { code: String, message: String },
    /// Ask again later.
    #[error("the server failed: {message} ({code})")]
    Failed { code: String, message: String },
}

/// One server, as one user.
#[derive(Clone, Debug)]
pub struct Client {
    endpoint: Endpoint,
    key: AccessKey,
    scope: Scope,
    /// PEM files of certificate authorities that are believed, besides the system's.
    authorities: Vec<PathBuf>,
}

impl Client {
    pub fn new(endpoint: Endpoint, key: AccessKey, region: String) -> Self {
        Self { endpoint, key, scope: Scope { region, service: SERVICE }, authorities: Vec::new() }
    }

    /// Believes the certificate authorities of PEM files, besides the system's.
    pub fn trusting(self, authorities: impl IntoIterator<Item = PathBuf>) -> Self {
        Self { authorities: authorities.into_iter().collect(), ..self }
    }

    /// Calls one of CodePipeline's operations; gives its output (`null` where it has none).
    ///
    /// # Errors
    /// Every kind of [`ClientError`] but `Endpoint`.
    pub async fn call(&self, operation: &str, input: &impl Serialize) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(input).map_err(|error| self.broken(error))?;
        let request = Request::post("/")
            .header(CONTENT_TYPE, "application/x-amz-json-1.1")
            .header(PROBLEMS, "all")
            .header(X_AMZ_TARGET, format!("{TARGET_PREFIX}.{operation}"))
            .body(Bytes::from(body));
        let answer = self.send(request.map_err(|error| self.broken(error))?).await?;
        self.answered(answer).await
    }

    /// A JSON document of the plain HTTP interface. Segments of paths are encoded here; the query is as it is sent.
    pub async fn document(&self, segments: &[&str], query: &str) -> Result<Value, ClientError> {
        let body = self.whole(self.get(segments, query, None).await?).await?;
        serde_json::from_slice(&body).map_err(|error| self.broken(error))
    }

    /// Changes something over the plain HTTP interface, and gives what it says to that.
    pub async fn put(&self, segments: &[&str], document: &impl Serialize) -> Result<Value, ClientError> {
        self.put_with(segments, "", document).await
    }

    /// The same with a query.
    pub async fn put_with(
        &self,
        segments: &[&str],
        query: &str,
        document: &impl Serialize,
    ) -> Result<Value, ClientError> {
        let body = serde_json::to_vec(document).map_err(|error| self.broken(error))?;
        let request = Request::put(target(segments, query)).header(CONTENT_TYPE, "application/json");
        let answer = self.send(request.body(Bytes::from(body)).map_err(|error| self.broken(error))?).await?;
        self.answered(answer).await
    }

    /// A document, or nothing.
    async fn answered(&self, answer: Response<Incoming>) -> Result<Value, ClientError> {
        let body = self.whole(answer).await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body).map_err(|error| self.broken(error))
    }

    /// Takes something away over the plain HTTP interface.
    pub async fn delete(&self, segments: &[&str], query: &str) -> Result<(), ClientError> {
        let request = Request::delete(target(segments, query)).body(Bytes::new());
        self.send(request.map_err(|error| self.broken(error))?).await.map(drop)
    }

    /// Asks for something to be done over the plain HTTP interface.
    pub async fn post(&self, segments: &[&str]) -> Result<(), ClientError> {
        let request = Request::post(target(segments, "")).body(Bytes::new());
        self.send(request.map_err(|error| self.broken(error))?).await.map(drop)
    }

    /// A body of the plain HTTP interface, piece by piece; one that is longer than `bytes_max` ends with an error.
    pub async fn stream(&self, segments: &[&str], bytes_max: u64) -> Result<Stream, ClientError> {
        let answer = self.get(segments, "", None).await?;
        Ok(self.pieces(answer, bytes_max))
    }

    fn pieces(&self, answer: Response<Incoming>, bytes_max: u64) -> Stream {
        Stream { endpoint: self.endpoint.clone(), body: answer.into_body(), bytes_max, left: bytes_max }
    }

    /// Server-sent events, from after the one that had the id `after`.
    pub async fn events(&self, segments: &[&str], query: &str, after: Option<&str>) -> Result<Events, ClientError> {
        let answer = self.get(segments, query, after).await?;
        // They are followed for as long as one likes; each has a limit of its own.
        Ok(Events::new(self.pieces(answer, u64::MAX)))
    }

    async fn get(
        &self,
        segments: &[&str],
        query: &str,
        after: Option<&str>,
    ) -> Result<Response<Incoming>, ClientError> {
        let mut request = Request::get(target(segments, query));
        if let Some(after) = after {
            request = request.header("last-event-id", after);
        }
        self.send(request.body(Bytes::new()).map_err(|error| self.broken(error))?).await
    }

    /// Tells this request from an equal one of the same second, which would have the same signature.
    fn invocation(&self) -> Result<HeaderValue, ClientError> {
        let mut random = [0; 16];
        getrandom::fill(&mut random).map_err(|error| self.broken(error))?;
        HeaderValue::from_str(&hex::encode(random)).map_err(|error| self.broken(error))
    }

    /// An answer that is no error.
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Incoming>, ClientError> {
        let host = HeaderValue::from_str(self.endpoint.authority()).map_err(|error| self.broken(error))?;
        request.headers_mut().insert(HOST, host);
        if *request.method() != Method::GET {
            let length = HeaderValue::from(request.body().len());
            request.headers_mut().insert(CONTENT_LENGTH, length);
            request.headers_mut().insert(INVOCATION_ID, self.invocation()?);
        }
        sign(&mut request, &self.key, &self.scope, clock::now_ms());
        let answered =
            tokio::time::timeout(ANSWER_TIME_MAX, connect::exchange(&self.endpoint, &self.authorities, request));
        let answer = match answered.await {
            Ok(answer) => answer?,
            Err(_) => return Err(self.broken(format!("no answer within {} s", ANSWER_TIME_MAX.as_secs()))),
        };
        if answer.status().is_success() {
            return Ok(answer);
        }
        let (status, is_server_error) = (answer.status().as_u16(), answer.status().is_server_error());
        let body = self.whole(answer).await?;
        Err(self.error(status, is_server_error, &body))
    }

    /// Errors come as `{"__type", "message"}`, the type perhaps with its namespace (S6).
    fn error(&self, status: u16, is_server_error: bool, body: &[u8]) -> ClientError {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let Some(code) = body["__type"].as_str() else {
            return self.broken(format!("HTTP status {status} without an error that has a name"));
        };
        let code = code.rsplit('#').next().unwrap_or_default().to_owned();
        let message = body["message"].as_str().or(body["Message"].as_str()).unwrap_or("no message").to_owned();
        if message.starts_with(OTHER_REGION) {
            return ClientError::Region { endpoint: self.endpoint.to_string(), code, message };
        }
        let all = body["problems"].as_array().map(|all| all.iter().filter_map(Value::as_str).collect::<Vec<_>>());
        let message = all.map_or(message, |all| all.join("\n"));
        const OF_CREDENTIALS: &[&str] = &[
            "MissingAuthenticationTokenException",
            "IncompleteSignatureException",
            "InvalidSignatureException",
            "UnrecognizedClientException",
        ];
        if OF_CREDENTIALS.contains(&code.as_str()) {
            return ClientError::Credentials {
                endpoint: self.endpoint.to_string(),
                key: self.key.id.clone(),
                code,
                message,
            };
        }
        if is_server_error { ClientError::Failed { code, message } } else { ClientError::Refused { code, message } }
    }

    async fn whole(&self, answer: Response<Incoming>) -> Result<Bytes, ClientError> {
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
        body.map(http_body_util::Collected::to_bytes).map_err(|error| self.broken(error))
    }

    /// That this server does not answer as it should.
    pub fn broken(&self, reason: impl std::fmt::Display) -> ClientError {
        self.endpoint.broken(reason)
    }
}

fn target(segments: &[&str], query: &str) -> String {
    let mut target = String::new();
    for segment in segments {
        target.push('/');
        target.extend(utf8_percent_encode(segment, ENCODED));
    }
    if !query.is_empty() {
        target.push('?');
        target.push_str(query);
    }
    target
}

/// A body that comes piece by piece.
pub struct Stream {
    endpoint: Endpoint,
    body: Incoming,
    bytes_max: u64,
    left: u64,
}

impl Stream {
    /// The next piece; nothing at the end.
    ///
    /// # Errors
    /// The connection broke, or the body is longer than it may be.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        while let Some(frame) = self.body.frame().await {
            if let Ok(data) = frame.map_err(|error| self.endpoint.broken(error))?.into_data() {
                let left = self.left.checked_sub(data.len() as u64);
                self.left = left.ok_or(ClientError::TooLong { bytes_max: self.bytes_max })?;
                return Ok(Some(data));
            }
        }
        Ok(None)
    }
}
