//! The host's byte streams as `std::io`.

use std::io::{self, Read, Write};

use crate::Result;
use crate::host::{InputStream, OutputStream};

/// Reads a file from start to end; made by [`files::open`](crate::files::open).
pub struct Reader(pub(crate) InputStream);

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(&mut self.0, buffer)
    }
}

/// Writes a file from start to end, made by [`files::create`](crate::files::create); [`Writer::finish`] is the end.
pub struct Writer(pub(crate) OutputStream);

impl Writer {
    /// Waits until the host has everything. Without it, an error of the last bytes goes unnoticed.
    ///
    /// # Errors
    /// Job, where something could not be written.
    pub fn finish(mut self) -> Result<()> {
        Ok(self.flush()?)
    }
}

impl Write for Writer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(&mut self.0, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Write::flush(&mut self.0)
    }
}
