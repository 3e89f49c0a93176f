//! What nothing may show: secret values, in whatever form a text or a body carries them.
//!
//! Owns the forms, and the finding of them. Must not know where secrets come from, nor who shows what.
//!
//! A value is found as it is; with any of its characters percent-encoded, as URLs and forms have them; with any of them
//! escaped, as JSON has them; in hexadecimal; and within base64 of either alphabet, wherever in it the value begins. The
//! single lines of a value that has several are found as they are, without the blanks around them. Hexadecimal and base64 are found with blanks, line breaks and colons
//! in them, too, and the value as it is with line breaks.
//!
//! # Where it ends
//! * A value shorter than [`SECRET_BYTES_MIN`] bytes is not hidden: it would take ordinary words apart. The log of each call
//!   that is given one says so.
//! * Forms other than the value as it is are hidden from 8 bytes on.
//! * Of a value with several lines, a line shorter than [`SECRET_BYTES_MIN`] bytes, or of nothing but signs, is not hidden by
//!   itself: in a value that is JSON or YAML, it would be every bracket. Nor is a line like `-----BEGIN PRIVATE KEY-----`.
//! * What is encoded twice, encrypted, compressed, or spelled in another way is not found.
//!
//! # What it costs
//! One automaton for all forms reads every byte once, however many and long the values are, so the work is linear in the
//! text. Escapes are decoded on the way: a second reader begins at an escape, and ends when none is in what it may be
//! finding.

mod escapes;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::fmt;
use std::io;
use std::ops::Range;

use aho_corasick::Anchored;
use aho_corasick::automaton::{Automaton as _, StateID};
use aho_corasick::nfa::noncontiguous::NFA;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use serde_json::Value;

use self::escapes::{Decoder, Escapes};
use pipewright_base::hex;

/// What stands in the place of a value.
pub(crate) const MASK: &str = "****";

/// Shorter values hide nothing, and are not hidden.
pub const SECRET_BYTES_MIN: usize = 4;
/// Shorter forms would hide ordinary text; a value as it is, is always hidden.
const DERIVED_MASK_BYTES_MIN: usize = 8;

/// How much is read before what was found in it is written. Stops a value that overlaps itself from filling memory with matches.
const CHUNK_BYTES: usize = 64 << 10;

/// The forms of some values. The default is of none, and finds nothing.
#[derive(Debug, Default)]
pub struct Masks(Option<Forms>);

struct Forms {
    automaton: NFA,
    start: StateID,
    /// By the numbers of the automaton's states.
    states: Vec<Node>,
    /// With which bytes any form begins.
    starts: [bool; 256],
}

impl fmt::Debug for Forms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Forms(****)")
    }
}

/// What it means that the automaton is in a state.
#[derive(Clone, Copy, Debug, Default)]
struct Node {
    /// So many bytes that were read last are the beginning of a form, or all of it.
    depth: usize,
    /// So many are the beginning of one that goes on.
    open: usize,
    /// So many are the longest form that ends here; 0 where none does.
    form: usize,
    /// The same of those forms that may have separators in them.
    separable: usize,
}

impl Masks {
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let (mut plain, mut encoded) = (Vec::new(), Vec::new());
        for value in values.into_iter().filter(|value| value.len() >= SECRET_BYTES_MIN) {
            let lines = value.lines().map(str::trim).filter(|line| is_telling(line) && *line != value);
            plain.extend(lines.chain([value]).map(str::to_owned));
            let hex = hex::encode(value);
            let forms = base64_forms(value.as_bytes()).chain([hex.to_uppercase(), hex]);
            encoded.extend(forms.filter(|form| form.len() >= DERIVED_MASK_BYTES_MIN));
        }
        Self((!plain.is_empty()).then(|| Forms::new(&plain, &encoded)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether there is a value in the bytes.
    pub fn find(&self, bytes: &[u8]) -> bool {
        matches!(self.bytes(bytes), Cow::Owned(_))
    }

    /// The same of what is read.
    pub(crate) fn find_in(&self, from: &mut impl io::Read) -> io::Result<bool> {
        let Some(forms) = &self.0 else { return Ok(false) };
        let (mut reader, mut chunk) = (Reader::new(forms), vec![0; CHUNK_BYTES]);
        loop {
            let count = from.read(&mut chunk)?;
            chunk[..count].iter().for_each(|byte| reader.read(forms, *byte));
            if count == 0 {
                reader.end(forms);
            }
            if count == 0 || !reader.found.is_empty() {
                return Ok(!reader.found.is_empty());
            }
        }
    }

    /// The text with every value in it replaced.
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // What is found are whole characters.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The same of every text in it.
    pub(crate) fn texts(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text).into_owned()),
            Value::Array(values) => values.iter().map(|value| self.texts(value)).collect(),
            Value::Object(fields) => fields.iter().map(|(key, value)| (key.clone(), self.texts(value))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    /// The bytes with every value in them replaced; borrowed if there is none.
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let Some(forms) = &self.0 else { return Cow::Borrowed(bytes) };
        let (mut reader, mut writer, mut masked) = (Reader::new(forms), Writer::default(), Vec::new());
        // Now and then what was found is written, so that it does not pile up.
        for chunk in bytes.chunks(CHUNK_BYTES) {
            chunk.iter().for_each(|byte| reader.read(forms, *byte));
            if !reader.found.is_empty() {
                let settled = reader.settled(forms);
                writer.write(&mut reader.found, bytes, 0, settled, &mut masked);
            }
        }
        reader.end(forms);
        if reader.found.is_empty() && writer.counted == 0 {
            return Cow::Borrowed(bytes);
        }
        writer.write(&mut reader.found, bytes, 0, bytes.len(), &mut masked);
        Cow::Owned(masked)
    }
}

impl Forms {
    fn new(plain: &[String], encoded: &[String]) -> Self {
        let forms = || plain.iter().chain(encoded).map(String::as_bytes);
        // It fails where the forms have 2^31 bytes together; their values would not fit into a request.
        let automaton = NFA::builder().prefilter(false).build(forms()).expect("secrets of less than a gigabyte");
        let start = automaton.start_state(Anchored::No).expect("a search that starts anywhere");
        let (mut states, mut starts) = (Vec::<Node>::new(), [false; 256]);
        for form in forms() {
            starts[usize::from(form[0])] = true;
            let mut state = start;
            for (at, byte) in form.iter().enumerate() {
                state = automaton.next_state(Anchored::No, state, *byte);
                if states.len() <= state.as_usize() {
                    states.resize(state.as_usize() + 1, Node::default());
                }
                let node = &mut states[state.as_usize()];
                if at + 1 < form.len() {
                    node.open = at + 1;
                }
                if node.depth > 0 {
                    continue;
                }
                node.depth = at + 1;
                let ends = if automaton.is_match(state) { automaton.match_len(state) } else { 0 };
                for form in (0..ends).map(|index| automaton.match_pattern(state, index)) {
                    let length = automaton.pattern_len(form);
                    node.form = node.form.max(length);
                    if form.as_usize() >= plain.len() {
                        node.separable = node.separable.max(length);
                    }
                }
            }
        }
        let mut made = Self { automaton, start, states, starts };
        made.close(forms().collect());
        made
    }

    /// Where no form goes on, only what is behind its first byte may be the beginning of another one.
    fn close(&mut self, mut forms: Vec<&[u8]>) {
        forms.sort_unstable_by_key(|form| form.len());
        for form in forms {
            let read = |text: &[u8]| text.iter().fold(self.start, |state, byte| self.next(state, *byte));
            let (end, open) = (read(form).as_usize(), self.node(read(&form[1..])).open);
            if self.states[end].open == 0 {
                self.states[end].open = open;
            }
        }
    }

    fn next(&self, state: StateID, byte: u8) -> StateID {
        // Most bytes of most texts.
        if state == self.start && !self.starts[usize::from(byte)] {
            return state;
        }
        self.automaton.next_state(Anchored::No, state, byte)
    }

    fn node(&self, state: StateID) -> Node {
        self.states.get(state.as_usize()).copied().unwrap_or_default()
    }
}

/// Replaces values in a text that comes in pieces, wherever it is cut. What may be the beginning of a value is held back.
#[derive(Debug)]
pub(crate) struct Stream {
    reader: Option<Reader>,
    writer: Writer,
    /// What is held back.
    held: Vec<u8>,
    /// Where in the text that begins.
    from: usize,
}

impl Stream {
    pub(crate) fn new(masks: &Masks) -> Self {
        Self { reader: masks.0.as_ref().map(Reader::new), writer: Writer::default(), held: Vec::new(), from: 0 }
    }

    /// With a mask as long as what it hides: where somebody was told how long the text is.
    pub(crate) fn of_one_length(masks: &Masks) -> Self {
        let mut stream = Self::new(masks);
        stream.writer.keeps_length = true;
        stream
    }

    /// Of the masks that it was made with.
    pub(crate) fn push(&mut self, masks: &Masks, bytes: &[u8], masked: &mut Vec<u8>) {
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let (Some(forms), Some(reader)) = (&masks.0, &mut self.reader) else {
                return masked.extend_from_slice(bytes);
            };
            self.held.extend_from_slice(chunk);
            chunk.iter().for_each(|byte| reader.read(forms, *byte));
            let settled = reader.settled(forms);
            self.write(settled, masked);
        }
    }

    /// What was held back.
    pub(crate) fn finish(&mut self, masks: &Masks, masked: &mut Vec<u8>) {
        let (Some(forms), Some(reader)) = (&masks.0, &mut self.reader) else { return };
        reader.end(forms);
        let settled = reader.at;
        self.write(settled, masked);
    }

    fn write(&mut self, settled: usize, masked: &mut Vec<u8>) {
        let Some(reader) = &mut self.reader else { return };
        self.writer.write(&mut reader.found, &self.held, self.from, settled, masked);
        let written = self.writer.written;
        self.held.drain(..written - self.from);
        self.from = written;
    }
}

/// Writes a text with what was found in it replaced.
#[derive(Debug, Default)]
struct Writer {
    /// Up to here the text is written or replaced.
    written: usize,
    /// The end of the last match that a mask was written for. Of matches that overlap it nothing is shown either, but only one
    /// that begins after it is a value of its own: so a text in which a value stands twice has two masks.
    counted: usize,
    keeps_length: bool,
}

impl Writer {
    /// Up to `settled`, and to the end of what begins before it. `held` is the text from `from` on.
    fn write(&mut self, found: &mut Vec<Range<usize>>, held: &[u8], from: usize, settled: usize, masked: &mut Vec<u8>) {
        found.sort_unstable_by_key(|found| (found.start, Reverse(found.end)));
        let ahead = found.partition_point(|found| found.start < settled);
        for found in found.drain(..ahead) {
            let start = found.start.max(self.written);
            masked.extend_from_slice(&held[self.written - from..start - from]);
            if self.keeps_length {
                masked.resize(masked.len() + found.end.saturating_sub(start), b'*');
            } else if found.start >= self.counted {
                masked.extend_from_slice(MASK.as_bytes());
                self.counted = found.end;
            }
            self.written = self.written.max(found.end);
        }
        if settled > self.written {
            masked.extend_from_slice(&held[self.written - from..settled - from]);
            self.written = settled;
        }
    }
}

/// Reads a text byte by byte, as it is and through its escapes.
#[derive(Debug)]
struct Reader {
    /// How many bytes were read.
    at: usize,
    state: StateID,
    decoders: [Decoder; Escapes::ALL.len()],
    /// Where values were found: many times over, where a value overlaps itself.
    found: Vec<Range<usize>>,
}

impl Reader {
    fn new(forms: &Forms) -> Self {
        Self { at: 0, state: forms.start, decoders: Escapes::ALL.map(Decoder::new), found: Vec::new() }
    }

    fn read(&mut self, forms: &Forms, byte: u8) {
        for decoder in &mut self.decoders {
            decoder.read(forms, (self.at, self.state), byte, &mut self.found);
        }
        self.state = forms.next(self.state, byte);
        self.at += 1;
        let form = forms.node(self.state).form;
        if form > 0 {
            self.found.push(self.at - form..self.at);
        }
    }

    /// The text has ended, perhaps within an escape.
    fn end(&mut self, forms: &Forms) {
        for decoder in &mut self.decoders {
            decoder.end(forms, &mut self.found);
        }
    }

    /// Nothing that is found later begins before this.
    fn settled(&self, forms: &Forms) -> usize {
        let raw = self.at - forms.node(self.state).open;
        self.decoders.iter().filter_map(|decoder| decoder.settled(forms)).fold(raw, usize::min)
    }
}

/// Whether a line of a value gives something away by itself. The first and the last one of a key in PEM are those of every key.
fn is_telling(line: &str) -> bool {
    let is_of_pem = line.starts_with("-----") && line.ends_with("-----");
    line.len() >= SECRET_BYTES_MIN && line.contains(char::is_alphanumeric) && !is_of_pem
}

/// What base64 of any text around the value has in common, e.g. of `user:value`: a byte's place modulo 3 decides how it
/// is encoded, and the characters at both ends depend on the neighbours.
fn base64_forms(value: &[u8]) -> impl Iterator<Item = String> {
    let encode = |bytes: &[u8]| [STANDARD_NO_PAD.encode(bytes), URL_SAFE_NO_PAD.encode(bytes)];
    (0..3_usize).flat_map(move |shift| {
        let shifted = [&[0; 2][..shift], value].concat();
        let shared_at_end = usize::from(shifted.len() % 3 != 0);
        let shared_at_start = [0, 2, 3][shift];
        encode(&shifted)
            .map(|text| text[..text.len() - shared_at_end].get(shared_at_start..).unwrap_or_default().to_owned())
    })
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;
    use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

    use super::*;

    const VALUE: &str = "p@ss word/1234+?~é\"\\%41\nsecond line of it";

    /// Whatever form a value takes on its way, it is not shown.
    #[test]
    fn a_value_is_hidden_in_every_form() {
        let masks = Masks::of([VALUE, ""]);
        let json = serde_json::to_string(VALUE).unwrap();
        let ascii: String = VALUE.encode_utf16().map(|unit| format!("\\u{unit:04X}")).collect();
        let percent = utf8_percent_encode(VALUE, NON_ALPHANUMERIC).to_string();
        let hex = hex::encode(VALUE);
        let mut forms = vec![
            format!("the value is {VALUE}."),
            "the second is: second line of it!".to_owned(),
            format!("?token={percent}&x"),
            format!("?token={}&x", percent.to_lowercase().replace("%e9", "%E9")),
            format!("token={}&x", percent.replace("%20", "+")),
            format!("?token={}&x", percent.replace("%40", "@").replace("%2F", "/")),
            format!("{{\"token\":{json}}}"),
            format!("{{\"token\":{}}}", json.replace('/', "\\/")),
            format!("{{\"token\":\"{ascii}\"}}"),
            format!("0x{hex}"),
            format!("0x{}", hex.to_uppercase()),
            hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":"),
            hex.as_bytes().chunks(4).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(" "),
        ];
        for user in ["", "a", "ab", "abc", "abcd"] {
            let text = format!("{user}:{VALUE}:and more");
            forms.extend([
                STANDARD.encode(&text),
                URL_SAFE_NO_PAD.encode(&text),
                STANDARD.encode(&text[..text.len() - 9]),
            ]);
        }
        for form in forms {
            let masked = masks.text(&form);
            assert!(masked.contains(MASK) && masked.len() < 40, "{form} became {masked}");
            assert_eq!(masked.as_bytes(), &*masks.bytes(form.as_bytes()), "{form}");
        }
        assert_eq!(masks.text("what is short or empty stays"), "what is short or empty stays");
        assert_eq!(Masks::default().text(VALUE), VALUE);
    }

    #[test]
    fn a_short_value_hides_no_ordinary_text() {
        let masks = Masks::of(["a b c", "y"]);
        assert_eq!(masks.text("a b c, a+b+c and any year"), "****, a+b+c and any year");
        assert_eq!(masks.text("a%20b%20c"), MASK);
    }

    #[test]
    fn the_lines_of_a_value_are_hidden_and_its_brackets_are_not() {
        let masks = Masks::of(["{\n  \"user\": \"maria\",\n    [\n  pin: 47\r\n  ab1\n-----\nlast6x\n  }\n"]);
        assert_eq!(masks.text("is pin: 47, last6x!"), "is ****, ****!");
        assert_eq!(masks.text("a \"user\": \"maria\", b"), "a **** b");
        for ordinary in ["    [", "  }", "-----", "ab1", "pin: 48"] {
            assert_eq!(masks.text(ordinary), ordinary);
        }
        let masks = Masks::of(["-----BEGIN KEY-----\nMIIEvQIB\n-----END KEY-----\n"]);
        assert_eq!(masks.text("-----BEGIN KEY-----, MIIEvQIB"), "-----BEGIN KEY-----, ****");
    }

    /// Wherever a text is cut, and where it ends within what only looked like an escape.
    #[test]
    fn a_value_is_hidden_wherever_the_text_is_cut() {
        let masks = Masks::of([VALUE, "token-1", "a%4", "\\u00e"]);
        let json = serde_json::to_string(VALUE).unwrap();
        let percent = utf8_percent_encode(VALUE, NON_ALPHANUMERIC).to_string();
        let wrapped: Vec<String> = STANDARD
            .encode(VALUE)
            .as_bytes()
            .chunks(12)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        for form in [VALUE, &json, &percent, &wrapped.join("\r\n"), "token-1", "100%4token-1"] {
            let text = format!("é {form} and {form}{form}, p@ss wor, %, %%4token-1 \\\\u\\u00e9 \\ud83d {form} a%4");
            let whole = masks.text(&text).into_owned();
            assert!(!whole.contains("token-1") && !whole.contains(form), "{whole}");
            for length in [1, 2, 3, 7, 64] {
                let (mut stream, mut masked) = (Stream::new(&masks), Vec::new());
                for piece in text.as_bytes().chunks(length) {
                    stream.push(&masks, piece, &mut masked);
                }
                stream.finish(&masks, &mut masked);
                assert_eq!(String::from_utf8_lossy(&masked), whole, "{form} in pieces of {length}");
            }
        }
    }

    /// What a terminal makes of a value, and a program that draws a line over again.
    #[test]
    fn line_breaks_in_a_value_and_around_it_hide_nothing_of_it() {
        let check = |value: &str, text: &str, expected: &str| {
            let masks = Masks::of([value]);
            assert_eq!(masks.text(text), expected);
            for length in 1..text.len() {
                let (mut stream, mut masked) = (Stream::new(&masks), Vec::new());
                text.as_bytes().chunks(length).for_each(|piece| stream.push(&masks, piece, &mut masked));
                stream.finish(&masks, &mut masked);
                assert_eq!(String::from_utf8_lossy(&masked), expected, "in pieces of {length}");
            }
        };
        check("hunter2-hunter2", "9%\rhunter2-hunter2\rdone\r\n", "9%\r****\rdone\r\n");
        check("hunter2-hunter2", "<hunter2-\rhunter2>", "<****>");
        check("hunter2-hunter2", "<hunt\r\ner2-hu\nnter2>", "<****>");
        check("hunter2-\rhunter2", "<hunter2-\rhunter2>", "<****>");
        check("hunter2-\r\nhunter2", "hunter2-\nhunter2, hunter2-\r\nhunter2", "****\n****, ****");
        // Fewer letters than a derived form has are a word and a line's end.
        check("hunter2", "hun\rter2 hunter2\r", "hun\rter2 ****\r");
    }

    #[test]
    fn what_cannot_be_a_value_is_not_held_back() {
        let check = |values: &[&str], pieces: &[(&str, &str)]| {
            let masks = Masks::of(values.iter().copied());
            let mut stream = Stream::new(&masks);
            for (piece, expected) in pieces {
                let mut masked = Vec::new();
                stream.push(&masks, piece.as_bytes(), &mut masked);
                assert_eq!(String::from_utf8_lossy(&masked), *expected, "{piece:?}");
            }
        };
        check(&["hunter2-hunter2"], &[("a line\n1%\rhun", "a line\n1%\r"), ("t", ""), ("ing\n", "hunting\n")]);
        check(&["hunter3-hunter2"], &[("is hunter3-hunter2\n", "is ****\n"), ("hunter3", ""), ("\n", "")]);
        check(&["secret", "secret-value", "value-too"], &[("secret-value", "****"), ("-too\n", "\n"), ("value", "")]);
        check(&["secret", "retort"], &[("secret", "****"), ("\n", "\n")]);
    }

    /// The work is that of reading the text, whatever is looked for: a thousand values that begin alike, and nearly match.
    #[test]
    fn the_work_is_linear() {
        let values: Vec<String> = (0..1_000).map(|number| format!("{}{number}", "x".repeat(1_000))).collect();
        let masks = Masks::of(values.iter().map(String::as_str));
        let text = "x".repeat(16 << 20);
        assert!(!masks.find(text.as_bytes()));
        assert!(masks.find(format!("{text}77").as_bytes()));
        let (mut stream, mut masked) = (Stream::new(&masks), Vec::new());
        for byte in text.as_bytes() {
            stream.push(&masks, &[*byte], &mut masked);
        }
        assert_eq!(masked.len(), (16 << 20) - 1_003 + 3);
    }

    #[test]
    fn the_longest_of_several_values_is_hidden_whole() {
        let masks = Masks::of(["token-1", "token-1-and-more"]);
        assert_eq!(masks.text("token-1-and-more, token-1-and"), "****, ****-and");
    }
}
