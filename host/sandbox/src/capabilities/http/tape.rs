//! What is kept of a request and its answer, while the two bodies pass by.
//!
//! Owns the record's shape in recordings. Holds no secret value once it is taken out of the recorder.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::http::{HeaderMap, Method, Uri};
use bytes::Bytes;
use pipewright_text::cut_bytes;
use serde::{Deserialize, Serialize};
use wasmtime_wasi_http::Error;

use super::{Http, codes};
use crate::capabilities::{Step, Tabled as _};
use crate::masks::Masks;
use crate::outside::{Body, Cleaner, Kept, Open, Recorder, Reel, masked_outcome, shown_denial};
use crate::seam::HostCallOutcome;
use pipewright_base::Digest;

/// A request, in the order in which they were started, and what came of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpStep {
    pub request: HttpRequest,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<HttpResponse>,
    /// Instead of a response, or after what came of its body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<HttpError>,
    /// Whether the guest read the response's body to its end, or to the error.
    pub ended: bool,
    pub outcome: HostCallOutcome,
}

/// As the guest wrote it: secrets as stand-ins.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpRequest {
    pub method: String,
    pub url: String,
    /// In the order of their names.
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Body,
}

/// One of wasi:http's error codes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpError {
    /// As the WIT names it: `connection-refused`, `HTTP-response-timeout`.
    pub code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub number: Option<u64>,
}

impl Kept for Box<HttpStep> {
    fn shown(&self) -> String {
        shown(&self.request.method, &self.request.url, &self.request.headers, None)
    }

    fn denial(&self) -> Option<&str> {
        shown_denial(&self.outcome)
    }

    fn bodies(&self) -> Vec<Digest> {
        let bodies = [Some(&self.request.body), self.response.as_ref().map(|response| &response.body)];
        bodies.into_iter().flatten().map(|body| body.sha256).collect()
    }

    /// It was when it was closed.
    fn masked(&self, _: &Masks) -> Option<Self> {
        Some(self.clone())
    }
}

/// What a person is shown of a request's content.
const SHOWN_BYTES_MAX: usize = 2 << 10;

/// A request in words: its first line, its headers, and its body if that is text.
pub(super) fn shown(method: &str, url: &str, headers: &[(String, String)], body: Option<&[u8]>) -> String {
    let mut text = format!("{method} {url}");
    for (name, value) in headers {
        text.push_str(&format!("\n{name}: {value}"));
    }
    match body.map(str::from_utf8) {
        None | Some(Ok("")) => {}
        Some(Ok(body)) => text.push_str(&format!("\n\n{body}")),
        Some(Err(_)) => text.push_str(&format!("\n\n({} bytes that are no text)", body.map_or(0, <[u8]>::len))),
    }
    if text.len() > SHOWN_BYTES_MAX {
        cut_bytes(&mut text, SHOWN_BYTES_MAX);
        text.push('…');
    }
    text
}

/// Headers in the order of their names, those of one name in their own order.
pub(super) fn sorted(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let mut sorted: Vec<_> = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    sorted
}

/// A request under way, and its answer.
#[derive(Clone)]
pub(super) struct Tape {
    recorder: Arc<Recorder>,
    passing: Arc<Passing>,
}

struct Passing(Mutex<Exchange>);

struct Exchange {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    sent: Reel,
    response: Option<(u16, Vec<(String, String)>)>,
    received: Reel,
    error: Option<HttpError>,
    ended: bool,
    outcome: Option<HostCallOutcome>,
}

impl Tape {
    /// Begins to keep a request, as the guest wrote it. None if it does not fit.
    pub(super) fn begin(recorder: &Arc<Recorder>, method: &Method, url: &Uri, headers: &HeaderMap) -> Option<Self> {
        let (url, headers) = (url.to_string(), sorted(headers));
        let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let bytes = bytes + url.len();
        let passing = Arc::new(Passing(Mutex::new(Exchange {
            method: method.to_string(),
            url,
            headers,
            sent: Reel::default(),
            response: None,
            received: Reel::default(),
            error: None,
            ended: false,
            outcome: None,
        })));
        let fits = recorder.open(bytes, Arc::clone(&passing) as Arc<dyn Open>);
        fits.then(|| Self { recorder: Arc::clone(recorder), passing })
    }

    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.passing.exchange()
    }

    pub(super) fn sent(&self, data: &[u8]) {
        self.exchange().sent.pass(data, &self.recorder);
    }

    pub(super) fn response(&self, status: u16, headers: &HeaderMap) {
        let headers = sorted(headers);
        self.exchange().response = Some((status, headers));
    }

    pub(super) fn received(&self, data: &[u8]) {
        self.exchange().received.pass(data, &self.recorder);
    }

    /// The response's body ended, or there was an error.
    pub(super) fn ended(&self, error: Option<&Error>) {
        let mut exchange = self.exchange();
        exchange.ended = true;
        exchange.error = error.map(codes::told);
    }

    pub(super) fn outcome(&self, outcome: HostCallOutcome) {
        self.exchange().outcome = Some(outcome);
    }
}

impl Passing {
    fn exchange(&self) -> MutexGuard<'_, Exchange> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open for Passing {
    fn close(&self, cleaner: &mut Cleaner<'_>) -> Step {
        Http::step(Box::new(self.exchange().close(cleaner)))
    }
}

impl Exchange {
    fn close(&mut self, cleaner: &mut Cleaner<'_>) -> HttpStep {
        let url = cleaner.text(&self.url);
        let shown = format!("{} {url}", self.method);
        let sent = std::mem::take(&mut self.sent);
        let body = cleaner.body(&format!("the body of the request {shown}"), sent, encoding(&self.headers));
        let headers = clean(&self.headers, cleaner);
        let request = HttpRequest { method: self.method.clone(), url, headers, body };
        let received = std::mem::take(&mut self.received);
        let has_response = self.response.is_some();
        let response = self.response.take().map(|(status, headers)| {
            let body = cleaner.body(&format!("the body of the answer to {shown}"), received, encoding(&headers));
            let mut masked = clean(&headers, cleaner);
            if masked != headers {
                cleaner.leave_out(format!("a secret's value in the headers of the answer to {shown}: it is masked"));
            }
            if body.masked {
                let length = cleaner.blob(&body.sha256).map_or(0, Bytes::len);
                let lengths = masked.iter_mut().filter(|(name, _)| name == "content-length");
                lengths.for_each(|(_, value)| *value = length.to_string());
            }
            HttpResponse { status, headers: masked, body }
        });
        let given_up = if has_response {
            HostCallOutcome::Done
        } else {
            HostCallOutcome::Failed("the plugin gave it up before a response came".to_owned())
        };
        let outcome = masked_outcome(&self.outcome.take().unwrap_or(given_up), cleaner.masks());
        let error = self.error.take();
        let error =
            error.map(|error| HttpError { text: error.text.as_deref().map(|text| cleaner.text(text)), ..error });
        HttpStep { request, response, error, ended: self.ended, outcome }
    }
}

fn clean(headers: &[(String, String)], cleaner: &Cleaner<'_>) -> Vec<(String, String)> {
    headers.iter().map(|(name, value)| (name.clone(), cleaner.text(value))).collect()
}

fn encoding(headers: &[(String, String)]) -> &str {
    headers.iter().find(|(name, _)| name == "content-encoding").map_or("", |(_, value)| value)
}
