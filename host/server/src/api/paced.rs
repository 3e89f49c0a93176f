//! Answers that are made piece by piece: the next one when the client has taken the last, apart from the threads that answer.
//!
//! Owns the pace: a client that does not read holds one piece and no thread. Must not know what is sent.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Response, header};

use pipewright_runner::work::Work;

/// What is read and sent at once.
pub const PIECE_BYTES: usize = 64 * 1024;

/// What an answer is made of. A piece that fails breaks the answer off.
pub trait Pieces: Send + 'static {
    /// The next piece, which is not empty; none at the end. Blocks, but not for long.
    fn next(&mut self) -> io::Result<Option<Bytes>>;
}

pub fn body(work: &Work, pieces: impl Pieces) -> Body {
    let work = work.clone();
    Body::from_stream(futures::stream::try_unfold(pieces, move |mut pieces| {
        let work = work.clone();
        async move { work.blocking(move || pieces.next().map(|piece| piece.map(|piece| (piece, pieces)))).await }
    }))
}

/// Whatever a build made is data here, and nothing for a browser to run.
pub fn response(body: Body, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// A part of a file.
pub struct OfFile {
    pub file: File,
    pub at: u64,
    pub left: u64,
}

impl Pieces for OfFile {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut piece = vec![0; PIECE_BYTES.min(usize::try_from(self.left).unwrap_or(PIECE_BYTES))];
        let read = self.file.read_at(&mut piece, self.at)?;
        piece.truncate(read);
        self.at += read as u64;
        self.left -= read as u64;
        Ok((read > 0).then(|| piece.into()))
    }
}

/// Bytes that are there already, with what counts them.
pub struct OfBytes<G> {
    bytes: Bytes,
    _held: G,
}

impl<G> OfBytes<G> {
    pub fn new(bytes: Bytes, held: G) -> Self {
        Self { bytes, _held: held }
    }
}

impl<G: Send + 'static> Pieces for OfBytes<G> {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let piece = self.bytes.split_to(self.bytes.len().min(PIECE_BYTES));
        Ok((!piece.is_empty()).then_some(piece))
    }
}
