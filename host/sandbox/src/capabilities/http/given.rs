//! Answers that are given without a connection: those that were kept of another call, and those that somebody made up.
//!
//! Owns the comparing of a request with the one that was kept, how an answer reaches the guest, and its journal entry.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use ::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use bytes::Bytes;
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use wasmtime_wasi_http::{Error, WasiBody};

use super::Call;
use super::body::Entry;
use super::exchange::{complete, granted, shown};
use super::failure::Failure;
use super::fake::{Answers, FakeAnswer};
use super::tape::{self, HttpStep, sorted};
use super::{Http, codes};
use crate::capabilities::{Step, Tabled as _};
use crate::masks::Masks;
use crate::outside::{Fakes, Replay};
use crate::seam::HostCallOutcome;
use pipewright_base::Digest;

/// How much of a given body a guest gets at once.
const CHUNK_BYTES: usize = 64 << 10;
/// A request's body is read whole, so that it can be compared. Stops one that never ends.
const REQUEST_BODY_BYTES_MAX: u64 = 256 << 20;

/// An answer.
struct Given {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
    /// What comes at the end of the body.
    error: Option<Error>,
}

type Answer = Result<Response<WasiBody>, Error>;

/// A request that was made as it was kept, up to its body.
struct Matched {
    number: usize,
    step: HttpStep,
}

impl Matched {
    fn of(replay: &Replay, method: &Method, url: &Uri, headers: &HeaderMap, masks: &Masks) -> Option<Self> {
        let url = masks.text(&url.to_string()).into_owned();
        let headers: Vec<_> =
            sorted(headers).into_iter().map(|(name, value)| (name, masks.text(&value).into_owned())).collect();
        let made = || tape::shown(method.as_str(), &url, &headers, None);
        let same = |step: &Step| {
            let step = Http::kept(step)?;
            is_same_head(step, method.as_str(), &url, &headers).then(|| (**step).clone())
        };
        // In full where only the headers differ.
        replay.next(made, same).map(|(number, step)| Self { number, step })
    }

    /// Whether the request's body is the one that was kept.
    fn check_body(&self, replay: &Replay, body: &[u8], masks: &Masks) -> bool {
        let request = &self.step.request;
        let masked = masks.bytes(body);
        let same = if request.body.left_out {
            request.body.bytes == body.len() as u64 && request.body.sha256 == Digest::of(body)
        } else {
            request.body.sha256 == Digest::of(&masked)
        };
        if !same {
            let shown = |body: Option<&[u8]>| tape::shown(&request.method, &request.url, &request.headers, body);
            let kept = replay.blob(&request.body);
            replay.stop.at(self.number, shown(kept.as_deref()), shown(Some(&masked)));
        }
        same
    }
}

/// The length of a body in which a value was masked says nothing.
fn is_same_head(step: &HttpStep, method: &str, url: &str, headers: &[(String, String)]) -> bool {
    let request = &step.request;
    let counts = |(name, _): &&(String, String)| !(request.body.masked && name == "content-length");
    request.method == method
        && request.url == url
        && request.headers.iter().filter(counts).eq(headers.iter().filter(counts))
}

/// What was kept, if the request is the one that was kept. Begins at once: the order is that in which requests are started.
pub(super) fn replayed(
    call: Arc<Call>,
    replay: Arc<Replay>,
    request: Request<WasiBody>,
) -> impl Future<Output = Answer> + Send {
    let masks = call.seam.masks();
    let matched = Matched::of(&replay, request.method(), request.uri(), request.headers(), masks);
    let mut entry = Entry::begin(&call.seam, shown(&call.seam, request.method(), request.uri()), true, None);
    async move {
        let Some(matched) = matched else { return ends().await };
        let body = whole(request.into_body()).await;
        if !matched.check_body(&replay, &body, call.seam.masks()) {
            return ends().await;
        }
        let step = matched.step.clone();
        entry.progress.add(body.len() as u64);
        let error = step.error.as_ref().and_then(codes::error);
        let Some(response) = step.response else {
            entry.end(step.outcome);
            return match error {
                Some(error) => Err(error),
                // The guest did not wait for it then.
                None => std::future::pending().await,
            };
        };
        let Some(body) = replay.blob(&response.body) else {
            let expected = "an answer whose body the recording left out";
            replay.stop.at(matched.number, expected, entry.target.clone());
            return ends().await;
        };
        entry.progress.add(body.len() as u64);
        entry.end(step.outcome);
        let given = Given { status: response.status, headers: response.headers, body, error };
        let further = (!step.ended).then(|| {
            let read_on = format!("the answer's body is read beyond its first {} bytes", response.body.bytes);
            move || replay.stop.at(matched.number, "the answer's body is read no further", read_on)
        });
        given.respond(further)
    }
}

/// What somebody made up, if the request is granted and is the one that was to come.
pub(super) fn faked(
    call: Arc<Call>,
    fakes: Arc<Fakes>,
    mut request: Request<WasiBody>,
) -> impl Future<Output = Answer> + Send {
    let made = call.requests.fetch_add(1, Ordering::Relaxed);
    let mut entry = Entry::begin(&call.seam, shown(&call.seam, request.method(), request.uri()), true, None);
    let url = request.uri().clone();
    let checked = if made >= call.limits.requests_max {
        Err(Failure::too_many_requests(&call.limits))
    } else {
        granted(&call, &request, &entry.target).and_then(|(origin, _)| complete(&call, &mut request, &origin))
    };
    let next = match (&checked, &fakes.http) {
        (Ok(_), Some(answers)) => {
            let next = answers.next(request.method(), &url, request.headers(), &fakes.stop);
            next.map(|(number, fake)| (number, fake.clone()))
        }
        _ => None,
    };
    async move {
        if let Err(failure) = checked {
            entry.end(failure.outcome);
            return Err(failure.error);
        }
        let Some((number, fake)) = next else { return ends().await };
        let body = whole(request.into_body()).await;
        if !Answers::check_body(number, &fake, &body, &fakes.stop) {
            return ends().await;
        }
        entry.progress.add(body.len() as u64);
        match fake.answer {
            FakeAnswer::Response { status, headers, body } => {
                entry.progress.add(body.len() as u64);
                entry.end(HostCallOutcome::Done);
                Given { status, headers, body, error: None }.respond(None::<fn()>)
            }
            FakeAnswer::Error(error) => {
                entry.end(HostCallOutcome::Failed(error.code.clone()));
                Err(codes::error(&error).unwrap_or(Error::HttpProtocolError))
            }
        }
    }
}

/// The call ends, and nothing is answered any more.
async fn ends() -> Answer {
    std::future::pending().await
}

/// Up to its end, or to where the guest broke it off.
async fn whole(mut body: WasiBody) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            bytes.extend_from_slice(data);
        }
        if bytes.len() as u64 > REQUEST_BODY_BYTES_MAX {
            break;
        }
    }
    bytes
}

impl Given {
    /// `further` is told when the guest reads beyond what is given.
    fn respond(self, further: Option<impl FnOnce() + Send + 'static>) -> Answer {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in &self.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(name.as_str()), HeaderValue::from_bytes(value.as_bytes()))
            {
                response.headers_mut().append(name, value);
            }
        }
        let rest = (self.body, self.error, further);
        let frames = futures::stream::unfold(rest, |(mut body, error, further)| async move {
            if !body.is_empty() {
                let chunk = body.split_to(body.len().min(CHUNK_BYTES));
                return Some((Ok(Frame::data(chunk)), (body, error, further)));
            }
            if let Some(further) = further {
                further();
                return std::future::pending().await;
            }
            error.map(|error| (Err(error), (Bytes::new(), None, None)))
        });
        Ok(response.map(|()| StreamBody::new(frames).boxed_unsync()))
    }
}
