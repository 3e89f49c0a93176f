//! What nothing may show: secret values, in whatever form a text or a body carries them.
//!
//! Owns the forms, and the finding of them. Must not know where secrets come from, nor who shows what.
//!
//! A value is found as it is; with any of its characters percent-encoded, as URLs and forms have them; with any of them
//! escaped, as JSON has them; in hexadecimal; and within base64 of either alphabet, wherever in it the value begins. So
//! are the single lines of a value that has several.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

use pipewright_base::hex;

/// What stands in the place of a value.
pub(crate) const MASK: &str = "****";

/// Shorter forms would hide ordinary text; a value as it is, is always hidden.
const DERIVED_MASK_BYTES_MIN: usize = 8;

/// The forms of some values. The default is of none, and finds nothing.
#[derive(Debug, Default)]
pub struct Masks {
    values: Vec<String>,
    /// Forms of a value that have but one spelling.
    literals: Vec<Vec<u8>>,
    /// With which bytes any form begins; empty where there are no values.
    starts: Vec<bool>,
}

impl Masks {
    pub fn of<'a>(values: impl IntoIterator<Item = &'a str>) -> Self {
        let mut masks = Self::default();
        for value in values.into_iter().filter(|value| !value.is_empty()) {
            let lines = value.lines().filter(|line| line.len() >= DERIVED_MASK_BYTES_MIN && *line != value);
            masks.values.extend(lines.chain([value]).map(str::to_owned));
            let hex = hex::encode(value);
            let literals = base64_forms(value.as_bytes()).chain([hex.to_uppercase(), hex]);
            masks.literals.extend(literals.filter(|form| form.len() >= DERIVED_MASK_BYTES_MIN).map(String::into_bytes));
        }
        if !masks.values.is_empty() {
            masks.starts = vec![false; 256];
            let firsts = masks.values.iter().filter_map(|value| value.bytes().next());
            let firsts = firsts.chain(masks.literals.iter().filter_map(|form| form.first().copied()));
            for first in firsts.chain(*b"%+\\") {
                masks.starts[usize::from(first)] = true;
            }
        }
        masks
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Whether there is a value in the bytes.
    pub fn find(&self, bytes: &[u8]) -> bool {
        matches!(self.bytes(bytes), Cow::Owned(_))
    }

    /// The text with every value in it replaced.
    pub(crate) fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.bytes(text.as_bytes()) {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            // What is found are whole characters.
            Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
        }
    }

    /// The bytes with every value in them replaced; borrowed if there is none.
    pub(crate) fn bytes<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut masked: Vec<u8> = Vec::new();
        let (mut taken, mut at) = (0, 0);
        while at < bytes.len() {
            let found = if self.starts[usize::from(bytes[at])] { self.found(&bytes[at..]) } else { None };
            match found {
                Some(length) => {
                    masked.extend_from_slice(&bytes[taken..at]);
                    masked.extend_from_slice(MASK.as_bytes());
                    at += length;
                    taken = at;
                }
                None => at += 1,
            }
        }
        if taken == 0 {
            return Cow::Borrowed(bytes);
        }
        masked.extend_from_slice(&bytes[taken..]);
        Cow::Owned(masked)
    }

    /// How long the longest form is with which the text begins.
    fn found(&self, text: &[u8]) -> Option<usize> {
        let literal = self.literals.iter().filter(|form| text.starts_with(form)).map(Vec::len);
        let spelled = self.values.iter().filter_map(|value| spelled(text, value));
        literal.chain(spelled).max()
    }
}

/// How long a value is at the beginning of a text, as it is or in a form with many spellings.
fn spelled(text: &[u8], value: &str) -> Option<usize> {
    if text.starts_with(value.as_bytes()) {
        return Some(value.len());
    }
    let in_form = |take: fn(&[u8], char) -> Option<usize>| {
        value.chars().try_fold(0, |at, character| Some(at + take(&text[at..], character)?))
    };
    [in_form(percent_encoded), in_form(json_escaped)]
        .into_iter()
        .flatten()
        .filter(|length| *length >= DERIVED_MASK_BYTES_MIN)
        .max()
}

/// A character of a URL or a form (RFC 3986; the URL standard's `application/x-www-form-urlencoded`).
fn percent_encoded(text: &[u8], character: char) -> Option<usize> {
    let mut buffer = [0; 4];
    let plain = character.encode_utf8(&mut buffer).as_bytes();
    // A percent sign never stands for itself.
    if character != '%' && text.starts_with(plain) {
        return Some(plain.len());
    }
    if character == ' ' && text.first() == Some(&b'+') {
        return Some(1);
    }
    let encoded = plain.iter().enumerate().all(|(index, byte)| {
        let digits = text.get(3 * index..3 * index + 3);
        digits.is_some_and(|digits| digits[0] == b'%' && hexadecimal(&digits[1..]) == Some(u32::from(*byte)))
    });
    encoded.then_some(3 * plain.len())
}

/// A character within a JSON text (RFC 8259 §7).
fn json_escaped(text: &[u8], character: char) -> Option<usize> {
    let mut buffer = [0; 4];
    let plain = character.encode_utf8(&mut buffer).as_bytes();
    if !matches!(character, '"' | '\\') && text.starts_with(plain) {
        return Some(plain.len());
    }
    let short = match character {
        '\n' => 'n',
        '\r' => 'r',
        '\t' => 't',
        '\u{8}' => 'b',
        '\u{c}' => 'f',
        other => other,
    };
    if matches!(character, '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' | '"' | '\\' | '/')
        && text.starts_with(&[b'\\', short as u8])
    {
        return Some(2);
    }
    let mut buffer = [0; 2];
    let units = character.encode_utf16(&mut buffer);
    let escaped = units.iter().enumerate().all(|(index, unit)| {
        let escape = text.get(6 * index..6 * index + 6);
        escape.is_some_and(|escape| escape.starts_with(b"\\u") && hexadecimal(&escape[2..]) == Some(u32::from(*unit)))
    });
    escaped.then_some(6 * units.len())
}

fn hexadecimal(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
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
        let masks = Masks::of(["a b"]);
        assert_eq!(masks.text("a b, a+b and a%20b"), "****, a+b and a%20b");
    }

    #[test]
    fn the_longest_of_several_values_is_hidden_whole() {
        let masks = Masks::of(["token-1", "token-1-and-more"]);
        assert_eq!(masks.text("token-1-and-more, token-1-and"), "****, ****-and");
    }
}
