//! A file's bytes as streams, for both languages. They read and write on the thread that runs the guest: a regular file
//! on a local disk does not keep it waiting for longer than handing it to another thread would.

use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use pipewright_artifacts::files::{CHUNK_BYTES, FileError, OpenFile};
use pipewright_base::Hasher;
use wasmtime_wasi::async_trait;
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

pub(super) struct Reader {
    file: Arc<OpenFile>,
    position: u64,
}

impl Reader {
    pub(super) fn new(file: Arc<OpenFile>, position: u64) -> Self {
        Self { file, position }
    }
}

#[async_trait]
impl Pollable for Reader {
    async fn ready(&mut self) {}
}

#[async_trait]
impl InputStream for Reader {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        if size == 0 {
            return Ok(Bytes::new());
        }
        let mut chunk = BytesMut::zeroed(size.min(CHUNK_BYTES));
        match self.file.file.read_at(&mut chunk, self.position) {
            Ok(0) => Err(StreamError::Closed),
            Ok(read) => {
                self.position += read as u64;
                chunk.truncate(read);
                Ok(chunk.freeze())
            }
            Err(error) => Err(StreamError::LastOperationFailed(error.into())),
        }
    }
}

pub(super) struct Writer {
    file: Arc<OpenFile>,
    to: To,
}

enum To {
    Position(u64),
    End,
    /// From the start of a file that the host made for this stream: hashed on the way.
    Hashed {
        hasher: Hasher,
        written: u64,
        whole: bool,
    },
}

impl Writer {
    pub(super) fn at(file: Arc<OpenFile>, position: u64) -> Self {
        Self { file, to: To::Position(position) }
    }

    pub(super) fn at_end(file: Arc<OpenFile>) -> Self {
        Self { file, to: To::End }
    }

    /// For a file that `Area::make_file` made.
    pub(super) fn hashed(file: OpenFile) -> Self {
        Self { file: Arc::new(file), to: To::Hashed { hasher: Hasher::default(), written: 0, whole: true } }
    }
}

#[async_trait]
impl Pollable for Writer {
    async fn ready(&mut self) {}
}

#[async_trait]
impl OutputStream for Writer {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let failed = |error: FileError| StreamError::LastOperationFailed(wasmtime::Error::from(error));
        match &mut self.to {
            To::Position(position) => {
                self.file.changed();
                self.file.write_at(&bytes, *position).map_err(failed)?;
                *position += bytes.len() as u64;
            }
            To::End => {
                self.file.changed();
                let end = self.file.size().map_err(failed)?;
                self.file.write_at(&bytes, end).map_err(failed)?;
            }
            To::Hashed { hasher, written, whole } => {
                if let Err(error) = self.file.write_at(&bytes, *written) {
                    *whole = false;
                    return Err(failed(error));
                }
                hasher.update(&bytes);
                *written += bytes.len() as u64;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if let To::Hashed { hasher, written, whole: true } = &self.to
            && let Some(area) = self.file.area()
        {
            area.hashed.finish(self.file.inode(), hasher.clone().finish(), *written);
        }
    }
}
