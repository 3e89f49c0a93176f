//! Requests over wasi:http: bodies go out and answers come in while others of the same action are under way.

use std::io::{self, Read};

use crate::bindings::host::wasi::http::outgoing_handler::handle;
use crate::bindings::host::wasi::http::types::{
    ErrorCode, FutureIncomingResponse, Headers, IncomingBody, IncomingResponse, OutgoingBody, OutgoingRequest,
    RequestOptions, http_error_code,
};
use crate::bindings::host::wasi::io::poll::{Pollable, poll};
use crate::host::{CHUNK_BYTES_MAX, InputStream, OutputStream, StreamError};
use crate::http::{Outgoing, Response, failure, no_url, words};
use crate::{Doing, Failure, Result};

/// One request under way.
pub(crate) struct Exchange {
    url: String,
    future: FutureIncomingResponse,
    /// The body, until all of it is sent.
    sending: Option<Sending>,
    /// What came before all of the body was sent.
    early: Option<IncomingResponse>,
}

/// A body that goes out. Its stream is dropped before the body that it belongs to.
struct Sending {
    stream: OutputStream,
    body: OutgoingBody,
    reader: Box<dyn Read>,
    chunk: Vec<u8>,
    /// What of the chunk is sent.
    sent: usize,
}

enum Sent {
    All,
    Waits,
    /// The host takes no more, and its answer says why.
    Refused,
}

impl Exchange {
    pub(crate) fn begin(request: Outgoing) -> Result<Self> {
        let url = request.url;
        let headers = Headers::from_list(&request.headers)
            .map_err(|error| Failure::configuration(format!("a header of the request to {url} is refused: {error}")))?;
        let outgoing = OutgoingRequest::new(headers);
        let set = outgoing.set_method(&request.method).and_then(|()| outgoing.set_scheme(Some(&request.scheme)));
        let set = set.and_then(|()| outgoing.set_authority(Some(&request.authority)));
        set.and_then(|()| outgoing.set_path_with_query(Some(&request.path))).map_err(|()| no_url(&url))?;
        let options = RequestOptions::new();
        let nanoseconds = |time: Option<std::time::Duration>| time.and_then(|time| time.as_nanos().try_into().ok());
        // A host that does not know one of them has limits of its own.
        let _ = options.set_connect_timeout(nanoseconds(request.timeouts.connect));
        let _ = options.set_first_byte_timeout(nanoseconds(request.timeouts.first_byte));
        let _ = options.set_between_bytes_timeout(nanoseconds(request.timeouts.between_bytes));

        let failed = |error| failure(&url, &error);
        let body = outgoing.body().map_err(|()| failed(ErrorCode::InternalError(None)))?;
        let future = handle(outgoing, Some(options)).map_err(failed)?;
        let sending = match request.body {
            None => {
                OutgoingBody::finish(body, None).map_err(failed)?;
                None
            }
            Some(reader) => {
                let stream = body.write().map_err(|()| failed(ErrorCode::InternalError(None)))?;
                Some(Sending { stream, body, reader, chunk: Vec::new(), sent: 0 })
            }
        };
        Ok(Self { url, future, sending, early: None })
    }

    /// Goes on as far as it can without waiting. Gives the response's head, or why there is none, once and at the end.
    pub(crate) fn advance(&mut self) -> Option<Result<Response>> {
        self.try_advance().transpose()
    }

    fn try_advance(&mut self) -> Result<Option<Response>> {
        loop {
            if self.early.is_none()
                && let Some(answer) = self.future.get()
            {
                let answer = answer.unwrap_or(Err(ErrorCode::InternalError(None)));
                self.early = Some(answer.map_err(|error| failure(&self.url, &error))?);
            }
            let refuses = self.early.as_ref().is_some_and(|response| response.status() >= 400);
            match (&mut self.sending, self.early.take()) {
                // RFC 9112, section 9.5: who is refused while it sends stops sending. The body is not ended, which would
                // say that this was all; it goes with the response.
                (Some(_), Some(response)) if refuses => return self.response(response).map(Some),
                (None, Some(response)) => return self.response(response).map(Some),
                (None, None) => return Ok(None),
                (Some(sending), early) => {
                    self.early = early;
                    match sending.some().doing(format_args!("sending the body of the request to {}", self.url))? {
                        Sent::Waits => return Ok(None),
                        Sent::Refused => self.sending = None,
                        Sent::All => self.finish()?,
                    }
                }
            }
        }
    }

    fn finish(&mut self) -> Result<()> {
        let Some(Sending { stream, body, .. }) = self.sending.take() else { return Ok(()) };
        drop(stream);
        // All of it was taken: what is wrong is the length that the request's own header says.
        OutgoingBody::finish(body, None).map_err(|_| {
            let url = &self.url;
            Failure::job(format!("the body of the request to {url} is shorter than its content-length says"))
        })
    }

    fn response(&mut self, response: IncomingResponse) -> Result<Response> {
        let taken = |()| failure(&self.url, &ErrorCode::InternalError(None));
        let (status, headers) = (response.status(), response.headers().entries());
        let body = response.consume().map_err(taken)?;
        let stream = body.stream().map_err(taken)?;
        let unsent = self.sending.take().map(|sending| sending.body);
        Ok(Response::new(status, headers, Incoming { stream, _body: body, _unsent: unsent }))
    }

    fn subscribe(&self) -> impl Iterator<Item = Pollable> {
        let answer = self.early.is_none().then(|| self.future.subscribe());
        answer.into_iter().chain(self.sending.as_ref().map(|sending| sending.stream.subscribe()))
    }
}

/// Until one of them can go on.
pub(crate) fn wait<'a>(exchanges: impl Iterator<Item = &'a Exchange>) {
    let pollables: Vec<Pollable> = exchanges.flat_map(Exchange::subscribe).collect();
    poll(&pollables.iter().collect::<Vec<_>>());
}

impl Sending {
    /// As much as the host takes at once.
    fn some(&mut self) -> Result<Sent> {
        loop {
            if self.sent == self.chunk.len() {
                self.chunk.resize(CHUNK_BYTES_MAX, 0);
                let count = read(&mut self.reader, &mut self.chunk)?;
                self.chunk.truncate(count);
                self.sent = 0;
                if count == 0 {
                    return Ok(Sent::All);
                }
            }
            let rest = &self.chunk[self.sent..];
            let room = match self.stream.check_write() {
                Ok(0) => return Ok(Sent::Waits),
                Ok(room) => rest.len().min(usize::try_from(room).unwrap_or(CHUNK_BYTES_MAX)),
                Err(_) => return Ok(Sent::Refused),
            };
            match self.stream.write(&rest[..room]) {
                Ok(()) => self.sent += room,
                Err(StreamError::Closed) => return Ok(Sent::Refused),
                Err(StreamError::LastOperationFailed(_)) => {
                    return Err(Failure::job("it is longer than its content-length says"));
                }
            }
        }
    }
}

fn read(reader: &mut dyn Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// The body of a response. Its fields are dropped in this order.
struct Incoming {
    stream: InputStream,
    _body: IncomingBody,
    /// What the server did not want is let go after what it said of it.
    _unsent: Option<OutgoingBody>,
}

impl Read for Incoming {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        crate::host::read(&self.stream, buffer, |error| {
            http_error_code(error).map_or_else(|| error.to_debug_string(), |code| words(&code))
        })
    }
}
