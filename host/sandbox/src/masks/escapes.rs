//! Reads a text through the escapes that it may be written in, for the values that are in it.
//!
//! Owns the kinds of escapes. Must not know what becomes of what is found.

use std::collections::VecDeque;
use std::ops::Range;

use aho_corasick::automaton::StateID;

use super::{DERIVED_MASK_BYTES_MIN, Forms, SECRET_BYTES_MIN};

/// What a text may be written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Escapes {
    /// Of URLs (RFC 3986).
    Percent,
    /// The same with `+` for a blank (the URL standard's `application/x-www-form-urlencoded`).
    Form,
    /// Of JSON's texts (RFC 8259 §7).
    Json,
    /// What may stand between the digits of an encoding, and means nothing.
    Separators,
    /// Of lines, as a terminal that wraps a value puts them into it.
    Breaks,
}

/// What some bytes from an escape's beginning on are.
enum Escape {
    /// Perhaps one; more must be known.
    Begun,
    /// So many bytes of text.
    Text([u8; 4], usize),
    /// None.
    Not,
}

impl Escapes {
    pub(super) const ALL: [Self; 5] = [Self::Percent, Self::Form, Self::Json, Self::Separators, Self::Breaks];

    /// Its escapes stand for nothing.
    fn is_nothing(self) -> bool {
        matches!(self, Self::Separators | Self::Breaks)
    }

    fn begin_with(self, byte: u8) -> bool {
        match self {
            Self::Percent => byte == b'%',
            Self::Form => byte == b'%' || byte == b'+',
            Self::Json => byte == b'\\',
            Self::Separators => matches!(byte, b' ' | b'\t' | b'\r' | b'\n' | b':'),
            Self::Breaks => matches!(byte, b'\r' | b'\n'),
        }
    }

    fn decode(self, escape: &[u8]) -> Escape {
        let one = |byte: u8| Escape::Text([byte, 0, 0, 0], 1);
        match (self, escape) {
            (Self::Separators | Self::Breaks, _) => Escape::Text([0; 4], 0),
            (Self::Form, b"+") => one(b' '),
            (Self::Percent | Self::Form, [_]) => Escape::Begun,
            (Self::Percent | Self::Form, [_, digits @ ..]) => match (hexadecimal(digits), digits.len()) {
                (Some(_), 1) => Escape::Begun,
                (Some(byte), _) => one(byte as u8),
                (None, _) => Escape::Not,
            },
            (Self::Json, [_]) => Escape::Begun,
            (Self::Json, [_, b'u', digits @ ..]) => unicode(digits),
            (Self::Json, [_, short, ..]) => match short {
                b'n' => one(b'\n'),
                b'r' => one(b'\r'),
                b't' => one(b'\t'),
                b'b' => one(8),
                b'f' => one(12),
                b'"' | b'\\' | b'/' => one(*short),
                _ => Escape::Not,
            },
            (_, []) => Escape::Not,
        }
    }
}

/// `digits` are what follows `\u`; a character of two units has another `\u` in it.
fn unicode(digits: &[u8]) -> Escape {
    let unit = |digits: &[u8]| hexadecimal(digits).and_then(|unit| u16::try_from(unit).ok());
    let (first, rest) = digits.split_at(digits.len().min(4));
    let Some(high) = unit(first).or(first.is_empty().then_some(0)) else { return Escape::Not };
    if first.len() < 4 {
        return Escape::Begun;
    }
    let units = match rest {
        [] if (0xd800..0xdc00).contains(&high) => return Escape::Begun,
        [] => [high, 0],
        [b'\\'] | [b'\\', b'u'] => return Escape::Begun,
        [b'\\', b'u', low @ ..] => match unit(low) {
            Some(_) if low.len() < 4 => return Escape::Begun,
            Some(low) => [high, low],
            None => return Escape::Not,
        },
        _ => return Escape::Not,
    };
    let count = if rest.is_empty() { 1 } else { 2 };
    match char::decode_utf16(units.into_iter().take(count)).next() {
        Some(Ok(character)) => {
            let mut text = [0; 4];
            let length = character.encode_utf8(&mut text).len();
            Escape::Text(text, length)
        }
        _ => Escape::Not,
    }
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    let digit = |number: u32, digit: &u8| Some(number * 16 + char::from(*digit).to_digit(16)?);
    if digits.is_empty() { None } else { digits.iter().try_fold(0, digit) }
}

/// Reads a text through one kind of escapes.
#[derive(Debug)]
pub(super) struct Decoder {
    escapes: Escapes,
    /// None while no escape is in what may be a value: then what is read is as it is, and found without this.
    reading: Option<Reading>,
}

#[derive(Debug)]
struct Reading {
    state: StateID,
    /// Where it began; before that, each byte of the text is itself.
    from: usize,
    /// Where in the text each byte begins that was decoded since, and may belong to a value.
    starts: VecDeque<usize>,
    /// The end of the last escape.
    escaped: usize,
    /// The beginning of one, and where it stands.
    escape: Vec<u8>,
    escape_from: usize,
}

impl Reading {
    fn from(from: usize, state: StateID) -> Self {
        Self { state, from, starts: VecDeque::new(), escaped: from, escape: Vec::new(), escape_from: from }
    }

    /// Where in the text the last so many decoded bytes begin, of which there are some.
    fn start(&self, last: usize) -> usize {
        match self.starts.len().checked_sub(last) {
            Some(index) => self.starts[index],
            None => self.from - (last - self.starts.len()),
        }
    }
}

impl Decoder {
    pub(super) fn new(escapes: Escapes) -> Self {
        Self { escapes, reading: None }
    }

    /// `at` is where the byte stands in the text, and the state of who reads the text as it is.
    pub(super) fn read(&mut self, forms: &Forms, at: (usize, StateID), byte: u8, found: &mut Vec<Range<usize>>) {
        let (at, state) = at;
        if self.reading.is_none() && self.escapes.begin_with(byte) {
            // At a value's beginning it is none of it.
            let begins = !self.escapes.is_nothing() || state != forms.start;
            self.reading = begins.then(|| Reading::from(at, state));
        }
        let Some(reading) = &mut self.reading else { return };
        self.escapes.feed(reading, forms, at, byte, found);
        let depth = forms.node(reading.state).depth;
        if reading.escape.is_empty() && (depth == 0 || reading.start(depth) >= reading.escaped) {
            self.reading = None;
        }
    }

    /// The text has ended.
    pub(super) fn end(&mut self, forms: &Forms, found: &mut Vec<Range<usize>>) {
        while let Some(reading) = self.reading.as_mut().filter(|reading| !reading.escape.is_empty()) {
            self.escapes.as_it_is(reading, forms, found);
        }
    }

    /// Nothing that this finds later begins before this.
    pub(super) fn settled(&self, forms: &Forms) -> Option<usize> {
        let reading = self.reading.as_ref()?;
        let open = forms.node(reading.state).open;
        // A few digits or letters at a line's end are nearly always something else, and the line is waited for.
        let likely_from = match self.escapes {
            Escapes::Separators => DERIVED_MASK_BYTES_MIN,
            Escapes::Breaks => SECRET_BYTES_MIN,
            Escapes::Percent | Escapes::Form | Escapes::Json => 1,
        };
        let escape = (!reading.escape.is_empty()).then_some(reading.escape_from);
        (open >= likely_from).then(|| reading.start(open)).into_iter().chain(escape).min()
    }
}

impl Escapes {
    fn feed(self, reading: &mut Reading, forms: &Forms, at: usize, byte: u8, found: &mut Vec<Range<usize>>) {
        if reading.escape.is_empty() {
            if !self.begin_with(byte) {
                return self.take(reading, forms, byte, at..at + 1, found);
            }
            reading.escape_from = at;
        }
        reading.escape.push(byte);
        match self.decode(&reading.escape) {
            Escape::Begun => {}
            Escape::Text(text, length) => {
                reading.escape.clear();
                reading.escaped = at + 1;
                for byte in &text[..length] {
                    self.take(reading, forms, *byte, reading.escape_from..at + 1, found);
                }
            }
            Escape::Not => self.as_it_is(reading, forms, found),
        }
    }

    /// The first byte of what was no escape stands for itself; the others are looked at anew.
    fn as_it_is(self, reading: &mut Reading, forms: &Forms, found: &mut Vec<Range<usize>>) {
        let (bytes, from) = (std::mem::take(&mut reading.escape), reading.escape_from);
        self.take(reading, forms, bytes[0], from..from + 1, found);
        for (at, byte) in (from + 1..).zip(&bytes[1..]) {
            self.feed(reading, forms, at, *byte, found);
        }
    }

    /// One decoded byte, and where it stands in the text.
    fn take(self, reading: &mut Reading, forms: &Forms, byte: u8, place: Range<usize>, found: &mut Vec<Range<usize>>) {
        reading.state = forms.next(reading.state, byte);
        reading.starts.push_back(place.start);
        let node = forms.node(reading.state);
        while reading.starts.len() > node.depth {
            reading.starts.pop_front();
        }
        let form = if self == Self::Separators { node.separable } else { node.form };
        if form > 0 {
            let value = reading.start(form)..place.end;
            // A short one with a break between each two letters is a column of a table.
            let bytes = if self == Self::Breaks { form } else { value.len() };
            if bytes >= DERIVED_MASK_BYTES_MIN {
                found.push(value);
            }
        }
    }
}
