//! The host's byte streams as `std::io`.

use std::io::{self, Read, Write};

use crate::Result;
use crate::bindings::host::wasi::io::streams::{InputStream, OutputStream, StreamError};

/// As much as the host hands over at once; smaller pieces cost a call each.
const CHUNK_BYTES_MAX: usize = 64 * 1024;

/// Reads from start to end.
pub struct Reader(pub(crate) InputStream);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        match self.0.blocking_read(buffer.len().min(CHUNK_BYTES_MAX) as u64) {
            Ok(bytes) => {
                buffer[..bytes.len()].copy_from_slice(&bytes);
                Ok(bytes.len())
            }
            Err(StreamError::Closed) => Ok(0),
            Err(error) => Err(stream_error(error)),
        }
    }
}

/// Writes from start to end; [`Writer::finish`] is the end.
pub struct Writer(pub(crate) OutputStream);

impl Writer {
    /// Waits until the host has everything. Without it, an error of the last bytes goes unnoticed.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.flush()?)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() {
            return Ok(0);
        }
        let room = loop {
            match self.0.check_write().map_err(stream_error)? {
                0 => self.0.subscribe().block(),
                room => break usize::try_from(room).unwrap_or(CHUNK_BYTES_MAX),
            }
        };
        let count = bytes.len().min(room).min(CHUNK_BYTES_MAX);
        self.0.write(&bytes[..count]).map_err(stream_error)?;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.blocking_flush().map_err(stream_error)
    }
}

fn stream_error(error: StreamError) -> io::Error {
    match error {
        StreamError::Closed => io::ErrorKind::BrokenPipe.into(),
        StreamError::LastOperationFailed(error) => io::Error::other(error.to_debug_string()),
    }
}
