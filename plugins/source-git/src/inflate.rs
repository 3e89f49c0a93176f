//! Inflates one zlib stream after another, with one state for all: making one costs more than a small object does.

use std::io::BufRead;

use flate2::{Decompress, FlushDecompress, Status};
use pipewright_sdk::{Failure, Result};

const BUFFER_BYTES: usize = 64 * 1024;

pub(crate) struct Inflater {
    state: Decompress,
    buffer: Box<[u8]>,
}

impl Inflater {
    pub(crate) fn new() -> Self {
        Self { state: Decompress::new(true), buffer: vec![0; BUFFER_BYTES].into() }
    }

    /// Hands the content of the stream that begins here to `each`, piece by piece, and leaves `from` behind its end. It must
    /// have `size` bytes: no more than those are ever handed over.
    pub(crate) fn inflate(
        &mut self,
        from: &mut (impl BufRead + ?Sized),
        size: u64,
        mut each: impl FnMut(&[u8]) -> Result<()>,
    ) -> Result<()> {
        self.state.reset(true);
        let mut left = size;
        loop {
            let input = from.fill_buf().map_err(broken_off)?;
            let (read, written) = (self.state.total_in(), self.state.total_out());
            let status = self.state.decompress(input, &mut self.buffer, FlushDecompress::None);
            let status = status.map_err(|_| damaged("has an object that cannot be inflated"))?;
            let is_stuck = self.state.total_in() == read && self.state.total_out() == written;
            from.consume((self.state.total_in() - read) as usize);
            let written = self.state.total_out() - written;
            left = left.checked_sub(written).ok_or_else(|| damaged("has an object that is larger than it says"))?;
            each(&self.buffer[..written as usize])?;
            match status {
                Status::StreamEnd if left == 0 => return Ok(()),
                Status::StreamEnd => return Err(damaged("has an object that is smaller than it says")),
                _ if is_stuck => return Err(damaged("ends in the middle of an object")),
                _ => {}
            }
        }
    }
}

pub(crate) fn broken_off(error: std::io::Error) -> Failure {
    Failure::system_unavailable(format!("the pack breaks off: {error}"))
}

/// What the server sent is no pack; `what` follows "the pack".
pub(crate) fn damaged(what: &str) -> Failure {
    Failure::job(format!("the pack that the server sent {what}"))
}
