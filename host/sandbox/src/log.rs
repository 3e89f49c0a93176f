//! The log capability: log lines and progress. Asked for by nobody and granted to all, within limits; what a guest
//! writes to its standard output and error goes here too.

use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use pipewright_text::first_bytes;
use wasmtime::component::{HasSelf, Linker};
use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi::p2::{OutputStream, Pollable, StreamError, StreamResult};

use crate::bindings::pipewright::plugin::log as abi;
use pipewright_base::memory::LimitReached;

use crate::limits::{CallLimits, LOG_LINE_BYTES_MAX, PROGRESS_BYTES_MAX};
use crate::masks::{Masks, Stream};
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

struct Written {
    bytes: u64,
    lines: u64,
    stdout: Unended,
    stderr: Unended,
    /// What a panicking Rust program said last.
    panic: Option<String>,
}

/// How Rust's standard library tells of a panic on the standard error: `thread 'main' panicked at FILE:LINE:COLUMN:`, the
/// message in the lines below, and a hint for whoever has a terminal.
const PANIC: &str = " panicked at ";
const PANIC_HINT: &str = "note: run with `RUST_BACKTRACE=";
/// Stops a long message from filling the failure: the log has all of it.
const PANIC_BYTES_MAX: usize = 2 << 10;

fn listen_for_panic(panic: &mut Option<String>, line: &str) {
    if let Some((thread, place)) = line.split_once(PANIC)
        && thread.starts_with("thread ")
    {
        *panic = Some(format!("panicked at {place}"));
    } else if let Some(said) = panic
        && !line.starts_with(PANIC_HINT)
        && said.len() < PANIC_BYTES_MAX
    {
        said.push('\n');
        said.push_str(first_bytes(line, PANIC_BYTES_MAX - said.len()));
    }
}

/// The last line of a standard stream, which has no end yet.
struct Unended {
    level: Level,
    /// Masks before anything is cut, whatever pieces it comes in.
    masking: Stream,
    masked: Vec<u8>,
    /// The line before was ended by a carriage return: a line feed after it ends no other.
    returned: bool,
}

impl Unended {
    fn new(level: Level, masks: &Masks) -> Self {
        Self { level, masking: Stream::new(masks), masked: Vec::new(), returned: false }
    }

    /// Writes the lines that are whole: a carriage return ends one too, so that what a program draws over again and again is
    /// seen as it comes.
    fn write_lines(&mut self, write: &mut dyn FnMut(Level, &str)) {
        let mut start = 0;
        for end in 0..self.masked.len() {
            let byte = self.masked[end];
            let is_end = byte == b'\n' || byte == b'\r';
            if is_end && !(byte == b'\n' && start == end && self.returned) {
                self.write_line(write, start..end);
            }
            if is_end {
                self.returned = byte == b'\r';
                start = end + 1;
            } else if start == end {
                self.returned = false;
            }
        }
        while self.masked.len() - start > LOG_LINE_BYTES_MAX {
            let end = start + character_boundary(&self.masked[start..], LOG_LINE_BYTES_MAX);
            self.write_line(write, start..end);
            start = end;
        }
        self.masked.drain(..start);
    }

    /// Writes the line that has no end, too.
    fn finish(&mut self, masks: &Masks, write: &mut dyn FnMut(Level, &str)) {
        self.masking.finish(masks, &mut self.masked);
        self.write_lines(write);
        if !self.masked.is_empty() {
            self.write_line(write, 0..self.masked.len());
            self.masked.clear();
        }
    }

    fn write_line(&self, write: &mut dyn FnMut(Level, &str), line: Range<usize>) {
        pieces(&String::from_utf8_lossy(&self.masked[line])).for_each(|piece| write(self.level, piece));
    }
}

/// The lines of one stream that has no limit of its own.
pub(crate) struct Lines {
    unended: Unended,
    seam: Arc<Seam>,
}

impl Lines {
    pub(crate) fn new(level: Level, seam: Arc<Seam>) -> Self {
        Self { unended: Unended::new(level, seam.masks()), seam }
    }

    /// Writes those that are whole, and tells of them.
    pub(crate) fn write(&mut self, bytes: &[u8], told: &mut dyn FnMut(&str)) {
        let Self { unended, seam } = self;
        unended.masking.push(seam.masks(), bytes, &mut unended.masked);
        unended.write_lines(&mut tell(seam, told));
    }

    /// And the last one, which nobody ended.
    pub(crate) fn finish(&mut self, told: &mut dyn FnMut(&str)) {
        let Self { unended, seam } = self;
        unended.finish(seam.masks(), &mut tell(seam, told));
    }
}

fn tell<'a>(seam: &'a Seam, told: &'a mut dyn FnMut(&str)) -> impl FnMut(Level, &str) + 'a {
    move |level, line| {
        told(line);
        seam.log_masked(level, line);
    }
}

/// The last place up to `at` at which no character is cut.
fn character_boundary(text: &[u8], at: usize) -> usize {
    let is_boundary = |at: &usize| text.get(*at).is_none_or(|byte| byte & 0b1100_0000 != 0b1000_0000);
    (at.saturating_sub(3)..=at).rev().find(is_boundary).unwrap_or(at)
}

impl Log {
    pub(crate) fn new(limits: &CallLimits, seam: Arc<Seam>) -> Self {
        let (bytes_max, lines_max) = (limits.log_bytes_max, limits.log_lines_max);
        let unended = |level| Unended::new(level, seam.masks());
        let (stdout, stderr) = (unended(Level::Info), unended(Level::Warn));
        let written = Mutex::new(Written { bytes: limits.spent.log_bytes, lines: 0, stdout, stderr, panic: None });
        Self(Arc::new(Shared { seam, bytes_max, lines_max, written }))
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
        let (seam, mut written) = (&self.0.seam, self.written());
        let Written { stdout, stderr, panic, .. } = &mut *written;
        for unended in [stdout, stderr] {
            unended.finish(seam.masks(), &mut to(seam, panic));
        }
    }

    /// What a panicking Rust program said last, with its place: `panicked at src/lib.rs:12:5:` and the message.
    pub(crate) fn panic(&self) -> Option<String> {
        self.written().panic.as_ref().map(|said| said.trim_end().to_owned())
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
            pieces(line.trim_end_matches('\r')).for_each(|piece| self.0.seam.log_masked(level, piece));
        }
        Ok(())
    }

    fn write_standard(&self, level: Level, bytes: &[u8]) -> Result<(), LimitReached> {
        let mut written = self.written();
        let ended = bytes.iter().filter(|byte| matches!(byte, b'\n' | b'\r')).count() as u64;
        self.count(&mut written, bytes.len(), ended)?;
        let Written { stdout, stderr, panic, .. } = &mut *written;
        let unended = if level == Level::Info { stdout } else { stderr };
        unended.masking.push(self.0.seam.masks(), bytes, &mut unended.masked);
        unended.write_lines(&mut to(&self.0.seam, panic));
        Ok(())
    }
}

/// Where the lines of the standard streams go.
fn to<'a>(seam: &'a Seam, panic: &'a mut Option<String>) -> impl FnMut(Level, &str) + 'a {
    move |level, line| {
        if level == Level::Warn {
            listen_for_panic(panic, line);
        }
        seam.log_masked(level, line);
    }
}

/// The line in parts that are short enough; at least one.
fn pieces(line: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let line = rest?;
        let (piece, after) = line.split_at(first_bytes(line, LOG_LINE_BYTES_MAX).len());
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
        self.seam.progress(percent.map(|percent| percent.min(100)), first_bytes(&summary, PROGRESS_BYTES_MAX));
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
