//! The log capability: log lines and progress. Asked for by nobody and granted to all, within limits; what a guest
//! writes to its standard output and error goes here too.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::bindings::pipewright::plugin::log as abi;
use crate::limits::{CallLimits, LOG_LINE_BYTES_MAX, LimitReached, PROGRESS_BYTES_MAX};
use crate::seam::{Level, Seam};
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// The log of one call, shared by the guest's own lines and its standard streams.
#[derive(Clone)]
pub(crate) struct Log(Arc<Shared>);

struct Shared {
    seam: Arc<Seam>,
    bytes_max: u64,
    lines_max: u64,
    written: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    bytes: u64,
    lines: u64,
    /// The unended last lines of the standard streams.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Log {
    pub(crate) fn new(limits: &CallLimits, seam: Arc<Seam>) -> Self {
        let (bytes_max, lines_max) = (limits.log_bytes_max, limits.log_lines_max);
        Self(Arc::new(Shared { seam, bytes_max, lines_max, written: Mutex::default() }))
    }

    pub(crate) fn configure(&self, wasi: &mut WasiCtxBuilder) {
        wasi.stdout(Standard { log: self.clone(), level: Level::Info });
        wasi.stderr(Standard { log: self.clone(), level: Level::Warn });
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.written().bytes
    }

    /// Writes the lines that the guest did not end.
    pub(crate) fn finish(&self) {
        let mut written = self.written();
        for (level, rest) in
            [(Level::Info, std::mem::take(&mut written.stdout)), (Level::Warn, std::mem::take(&mut written.stderr))]
        {
            if !rest.is_empty() {
                self.0.seam.log(level, &String::from_utf8_lossy(&rest));
            }
        }
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.0.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self, written: &mut Written, bytes: usize, lines: u64) -> Result<(), LimitReached> {
        written.bytes += bytes as u64;
        written.lines += lines;
        if written.bytes > self.0.bytes_max {
            let message = format!("the plugin wrote more than {} bytes to its log (log_bytes_max)", self.0.bytes_max);
            return Err(LimitReached::new("log_bytes_max", message));
        }
        if written.lines > self.0.lines_max {
            let message = format!("the plugin wrote more than {} lines to its log (log_lines_max)", self.0.lines_max);
            return Err(LimitReached::new("log_lines_max", message));
        }
        Ok(())
    }

    fn write(&self, level: Level, message: &str) -> Result<(), LimitReached> {
        let lines = message.split('\n').count() as u64;
        self.count(&mut self.written(), message.len(), lines)?;
        // Masked before it is cut, so that no cut goes through a secret.
        for line in self.0.seam.masked(message).split('\n') {
            for piece in pieces(line) {
                self.0.seam.log(level, piece);
            }
        }
        Ok(())
    }

    fn write_standard(&self, level: Level, bytes: &[u8]) -> Result<(), LimitReached> {
        let mut written = self.written();
        let ended = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        self.count(&mut written, bytes.len(), ended)?;
        let rest = if level == Level::Info { &mut written.stdout } else { &mut written.stderr };
        rest.extend_from_slice(bytes);
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.0.seam.log(level, &String::from_utf8_lossy(&rest[..end]));
            rest.drain(..=end);
        }
        if rest.len() > LOG_LINE_BYTES_MAX {
            self.0.seam.log(level, &String::from_utf8_lossy(rest));
            rest.clear();
        }
        Ok(())
    }
}

/// The line in parts that are short enough; at least one.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (piece, after) = line.split_at(line.floor_char_boundary(LOG_LINE_BYTES_MAX));
        rest = (!after.is_empty()).then_some(after);
        Some(piece)
    })
}

impl abi::Host for State {
    fn write(&mut self, level: abi::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            abi::Level::Debug => Level::Debug,
            abi::Level::Info => Level::Info,
            abi::Level::Warn => Level::Warn,
            abi::Level::Error => Level::Error,
        };
        Ok(self.log.write(level, &message)?)
    }

    fn progress(&mut self, percent: Option<u8>, summary: String) -> wasmtime::Result<()> {
        self.log.count(&mut self.log.written(), summary.len(), 1)?;
        let summary = self.seam.masked(&summary);
        let summary = &summary[..summary.floor_char_boundary(PROGRESS_BYTES_MAX)];
        self.seam.progress(percent.map(|percent| percent.min(100)), summary);
        Ok(())
    }
}

/// A standard output or error stream.
#[derive(Clone)]
struct Standard {
    log: Log,
    level: Level,
}

impl IsTerminal for Standard {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Standard {
    fn async_stream(&self) -> Box<dyn tokio::io::AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for it, which is not linked.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Standard {
    async fn ready(&mut self) {}
}

impl OutputStream for Standard {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.log.write_standard(self.level, &bytes).map_err(|limit| StreamError::Trap(limit.into()))
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}
