//! The two bodies of an exchange, counted and cut at their limits, and the journal entry that ends with them.
//!
//! Must not know of grants or connections.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::Response;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Sleep;
use wasmtime_wasi_http::{Error, WasiBody};

use super::HTTP;
use super::echo::Echo;
use super::failure::Failure;
use super::tape::Tape;
use crate::limits::HttpLimits;
use crate::seam::{HostCallOutcome, HostCallTimer, Level, Seam};

/// How far an exchange has come; shared by its two directions.
#[derive(Default)]
pub(super) struct Progress {
    sent: AtomicU64,
    received: AtomicU64,
    /// The request's body was cut at its limit.
    cut: AtomicBool,
}

impl Progress {
    /// Bytes that pass without a connection.
    pub(super) fn add(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    pub(super) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}

/// The journal entry of one request: written when it ends, in whatever way.
pub(super) struct Entry {
    seam: Arc<Seam>,
    timer: Option<HostCallTimer>,
    pub(super) target: String,
    /// The person who reads the log is told of a failure, too.
    logged: bool,
    /// What it means that the plugin lets go.
    on_drop: HostCallOutcome,
    pub(super) progress: Arc<Progress>,
    /// Where the exchange is kept.
    pub(super) tape: Option<Tape>,
}

impl Entry {
    pub(super) fn begin(seam: &Arc<Seam>, target: String, logged: bool, tape: Option<Tape>) -> Self {
        seam.now_under_way(&target);
        Self {
            seam: Arc::clone(seam),
            timer: Some(seam.begin(HTTP, "request")),
            target,
            logged,
            on_drop: HostCallOutcome::Failed("the plugin gave it up before a response came".to_owned()),
            progress: Arc::default(),
            tape,
        }
    }

    pub(super) fn responded<T>(&self, response: Response<T>) -> Response<T> {
        if let Some(tape) = &self.tape {
            tape.response(response.status().as_u16(), response.headers());
        }
        response
    }

    fn received(&self, data: &[u8]) {
        self.progress.received.fetch_add(data.len() as u64, Ordering::Relaxed);
        if let Some(tape) = &self.tape {
            tape.received(data);
        }
    }

    /// The response is whole, or there was an error.
    pub(super) fn ended(&self, error: Option<&Error>) {
        if let Some(tape) = &self.tape {
            tape.ended(error);
        }
    }

    pub(super) fn end(&mut self, outcome: HostCallOutcome) {
        let Some(timer) = self.timer.take() else { return };
        self.seam.no_more_under_way(&self.target);
        let told = match &outcome {
            // The seam logs denials.
            HostCallOutcome::Done | HostCallOutcome::Denied(_) => None,
            HostCallOutcome::Limit(text) | HostCallOutcome::Failed(text) => Some(format!("{}: {text}", self.target)),
        };
        if let Some(text) = told.filter(|_| self.logged) {
            self.seam.log(Level::Warn, &text);
        }
        if let Some(tape) = &self.tape {
            tape.outcome(outcome.clone());
        }
        let bytes = self.progress.sent() + self.progress.received.load(Ordering::Relaxed);
        timer.end(std::mem::take(&mut self.target), outcome, bytes);
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let outcome = self.on_drop.clone();
        self.end(outcome);
    }
}

/// What the guest sends.
pub(super) struct RequestBody {
    pub(super) inner: WasiBody,
    pub(super) progress: Arc<Progress>,
    pub(super) bytes_max: u64,
    pub(super) tape: Option<Tape>,
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let polled = Pin::new(&mut self.inner).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled
            && let Some(data) = frame.data_ref()
        {
            let bytes = data.len() as u64;
            if self.progress.sent() + bytes > self.bytes_max {
                self.progress.cut.store(true, Ordering::Relaxed);
                return Poll::Ready(Some(Err(Error::HttpRequestBodySize(Some(self.bytes_max)))));
            }
            self.progress.sent.fetch_add(bytes, Ordering::Relaxed);
            if let Some(tape) = &self.tape {
                tape.sent(data);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// What the server answers. Holds whatever must live as long as the exchange.
pub(super) struct ResponseBody<Held> {
    inner: Incoming,
    limits: HttpLimits,
    between_bytes_max: Duration,
    /// Runs only while the guest waits for bytes: a slow guest is not a slow server.
    idle: Option<Pin<Box<Sleep>>>,
    deadline: Pin<Box<Sleep>>,
    entry: Entry,
    held: Option<Held>,
    echo: Echo,
}

impl<Held> ResponseBody<Held> {
    /// `deadline` ends the whole exchange.
    pub(super) fn new(
        inner: Incoming,
        limits: HttpLimits,
        between_bytes_max: Duration,
        deadline: Sleep,
        mut entry: Entry,
        held: Held,
        echo: Echo,
    ) -> Self {
        // From here on it is the plugin's choice how much of the body it reads.
        entry.on_drop = HostCallOutcome::Done;
        let (idle, deadline, held) = (None, Box::pin(deadline), Some(held));
        Self { inner, limits, between_bytes_max, idle, deadline, entry, held, echo }
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Failure>>> {
        // First, so that it also ends a body whose bytes keep coming.
        if self.deadline.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err(Failure::too_long(&self.limits))));
        }
        loop {
            match self.poll_shown(cx) {
                // All of it is held back; there may be more.
                Poll::Ready(Some(Ok(None))) => {}
                shown => return shown.map(|shown| shown.and_then(Result::transpose)),
            }
        }
    }

    fn poll_shown(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Option<Frame<Bytes>>, Failure>>> {
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(None) => Poll::Ready(self.echo.rest().map(|rest| Ok(Some(rest)))),
            Poll::Ready(Some(Err(error))) => {
                Poll::Ready(Some(Err(Failure::of_exchange(&error, &self.entry.progress, &self.limits))))
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.idle = None;
                if let Some(data) = frame.data_ref() {
                    self.entry.received(data);
                }
                let received = self.entry.progress.received.load(Ordering::Relaxed);
                let fits = received <= self.limits.response_body_bytes_max;
                Poll::Ready(Some(if fits {
                    Ok(self.echo.frame(frame))
                } else {
                    Err(Failure::response_too_large(&self.limits))
                }))
            }
            Poll::Pending => {
                let limit = self.between_bytes_max;
                let idle = self.idle.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
                idle.as_mut().poll(cx).map(|()| Some(Err(Failure::stalled(limit))))
            }
        }
    }
}

impl<Held: Unpin> Body for ResponseBody<Held> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.held.is_none() {
            return Poll::Ready(None);
        }
        let (outcome, ended) = match self.poll_inner(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => return Poll::Ready(Some(Ok(frame))),
            Poll::Ready(Some(Err(failure))) => (failure.outcome, Some(Err(failure.error))),
            Poll::Ready(None) => (HostCallOutcome::Done, None),
        };
        self.entry.ended(ended.as_ref().and_then(|ended| ended.as_ref().err()));
        self.entry.end(outcome);
        // Closes the connection and makes room for the next request.
        self.held = None;
        Poll::Ready(ended)
    }
}
