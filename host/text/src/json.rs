//! Text in JSON: printed, and put into what others wrote.
//!
//! Owns where a value stands in a JSON text. Must not know what is put there.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::is_printable;

/// JSON in which everything that is not printed as it is, is escaped. Such characters stand only within its strings; the ends
/// of lines between them stay.
pub fn printable_json(json: &str) -> Cow<'_, str> {
    let stays = |c: char| c == '\n' || is_printable(c);
    if json.chars().all(stays) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if stays(c) {
            escaped.push(c);
            continue;
        }
        for unit in c.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "\\u{unit:04x}");
        }
    }
    Cow::Owned(escaped)
}

/// What may stand at a place in a JSON text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hole {
    /// A part of a string, between its quotes.
    InString,
    /// A whole value.
    Value,
}

/// Whether each place between two pieces of a JSON text lies in a string. What the pieces are together is not judged.
pub fn holes<'a>(pieces: impl IntoIterator<Item = &'a str>) -> Vec<Hole> {
    let (mut is_in_string, mut is_escaped) = (false, false);
    let mut holes = Vec::new();
    for piece in pieces {
        for byte in piece.bytes() {
            (is_in_string, is_escaped) = match byte {
                _ if is_escaped => (is_in_string, false),
                b'\\' => (is_in_string, is_in_string),
                b'"' => (!is_in_string, false),
                _ => (is_in_string, false),
            };
        }
        holes.push(if is_in_string { Hole::InString } else { Hole::Value });
    }
    holes.pop();
    holes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_printed_and_stays_the_same_value() {
        assert_eq!(printable_json("{\n \"a\": \"é\"\n}"), "{\n \"a\": \"é\"\n}");
        assert_eq!(printable_json("\"a\u{202e}\u{9b}\u{e0041}\""), "\"a\\u202e\\u009b\\udb40\\udc41\"");
    }

    #[test]
    fn holes_lie_in_strings_or_between_them() {
        use Hole::{InString, Value};
        let check = |pieces: &[&str], wanted: &[Hole]| assert_eq!(holes(pieces.iter().copied()), wanted, "{pieces:?}");
        check(&["[\"a\"]"], &[]);
        check(&["[\"", "\"]"], &[InString]);
        check(&["[", ",\"", "\"]"], &[Value, InString]);
        check(&["[\"\\\"", "\\\\\",", "]"], &[InString, Value]);
        check(&["", "", ""], &[Value, Value]);
    }
}
