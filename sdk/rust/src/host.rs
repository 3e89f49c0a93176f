//! The host as a component reaches it: the generated calls, WASI's streams as `std::io`, and wasi:http.
//!
//! Natively [`testing`](crate::testing) stands in its place, with the same names.

pub(crate) mod http;

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use crate::bindings::host::pipewright::plugin::{artifacts, caches, commands, log, results, secrets, tools};
use crate::bindings::host::wasi::io::error::Error as IoError;
pub(crate) use crate::bindings::host::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// As much as the host hands over at once; smaller pieces cost a call each.
pub(crate) const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Where `inputs`, `outputs`, `directories` and `scratch` are.
pub(crate) fn root() -> PathBuf {
    PathBuf::from("/")
}

/// Where programs find `scratch`.
pub(crate) fn work() -> PathBuf {
    PathBuf::from("/work")
}

#[expect(clippy::disallowed_methods, reason = "what WASI's clock says is what the operator granted")]
pub(crate) fn milliseconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

impl Read for InputStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        read(self, buffer, IoError::to_debug_string)
    }
}

/// `words` says what an error is: who reads files need not know those of HTTP.
fn read(stream: &InputStream, buffer: &mut [u8], words: fn(&IoError) -> String) -> io::Result<usize> {
    if buffer.is_empty() {
        return Ok(0);
    }
    match stream.blocking_read(buffer.len().min(CHUNK_BYTES_MAX) as u64) {
        Ok(bytes) => {
            buffer[..bytes.len()].copy_from_slice(&bytes);
            Ok(bytes.len())
        }
        Err(StreamError::Closed) => Ok(0),
        Err(StreamError::LastOperationFailed(error)) => Err(io::Error::other(words(&error))),
    }
}

impl Write for OutputStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = loop {
            match self.check_write().map_err(stream_error)? {
                0 => self.subscribe().block(),
                room => break usize::try_from(room).unwrap_or(CHUNK_BYTES_MAX),
            }
        };
        let count = bytes.len().min(room).min(CHUNK_BYTES_MAX);
        OutputStream::write(self, &bytes[..count]).map_err(stream_error)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.blocking_flush().map_err(stream_error)
    }
}

fn stream_error(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}
