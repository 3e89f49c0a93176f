//! Server-sent events, as a client reads them (HTML Standard, "Server-sent events").
//!
//! Owns the syntax. Must not know what the events mean, nor connect anew.

use bytes::Bytes;

use super::{ClientError, Stream};

/// Stops an event that never ends.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Where to go on after it, if the server told.
    pub id: Option<String>,
    /// Its type; empty for the usual one.
    pub event: String,
    pub data: String,
}

/// The events of one answer.
pub struct Events {
    stream: Stream,
    parser: Parser,
}

impl Events {
    pub(super) fn new(stream: Stream) -> Self {
        Self { stream, parser: Parser::default() }
    }

    /// The next event; nothing when the server has ended the answer. An event that was cut off is dropped.
    pub async fn next(&mut self) -> Result<Option<Message>, ClientError> {
        loop {
            if let Some(message) = self.parser.next() {
                return Ok(Some(message));
            }
            if self.parser.held() > EVENT_BYTES_MAX {
                return Err(self.stream.endpoint.broken(format!("an event of more than {EVENT_BYTES_MAX} bytes")));
            }
            match self.stream.next().await? {
                Some(piece) => self.parser.take(&piece),
                None => return Ok(None),
            }
        }
    }
}

#[derive(Default)]
pub(super) struct Parser {
    /// What came and is not yet a whole line.
    buffer: Vec<u8>,
    /// How much of it was searched for the end of a line.
    searched: usize,
    message: Message,
    has_data: bool,
}

impl Parser {
    pub(super) fn take(&mut self, piece: &Bytes) {
        self.buffer.extend_from_slice(piece);
    }

    fn held(&self) -> usize {
        self.buffer.len() + self.message.data.len()
    }

    /// The next whole event of what came.
    pub(super) fn next(&mut self) -> Option<Message> {
        let mut start = 0;
        let mut found = None;
        while found.is_none() {
            let Some(length) = self.buffer[start.max(self.searched)..].iter().position(|byte| *byte == b'\n') else {
                break;
            };
            let end = start.max(self.searched) + length;
            let line = String::from_utf8_lossy(&self.buffer[start..end]).into_owned();
            found = self.line(line.trim_end_matches('\r'));
            start = end + 1;
            self.searched = 0;
        }
        self.buffer.drain(..start);
        self.searched = if found.is_none() { self.buffer.len() } else { 0 };
        found
    }

    fn line(&mut self, line: &str) -> Option<Message> {
        if line.is_empty() {
            let message = std::mem::take(&mut self.message);
            return std::mem::take(&mut self.has_data).then_some(message);
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.message.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.message.event),
            "data" => {
                if std::mem::replace(&mut self.has_data, true) {
                    self.message.data.push('\n');
                }
                self.message.data.push_str(value);
            }
            // A comment, which keeps the connection open, or a field of a later standard.
            _ => {}
        }
        None
    }
}
