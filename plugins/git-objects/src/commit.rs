//! What a commit object says.

use encoding_rs::{Encoding, UTF_8};
use jiff::Timestamp;

/// Stops a message that takes all the room of an action's variables: git keeps messages of any length.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Stops a subject that no line shows: a message without line feeds is all subject.
const SUBJECT_BYTES_MAX: usize = 1_024;

/// A commit, as far as variables tell of it. What is malformed in it is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Without the empty lines at its end; of a long one its beginning.
    pub message: String,
    pub authored: Option<Timestamp>,
    pub committed: Option<Timestamp>,
}

impl Commit {
    /// `content` is the object without its header.
    pub fn parse(content: &[u8]) -> Self {
        let end = content.windows(2).position(|two| two == b"\n\n");
        let (header, message) = end.map_or((content, &b""[..]), |end| (&content[..end], &content[end + 2..]));
        let header = String::from_utf8_lossy(header);
        // A line that begins with a space continues the one before, as signatures do.
        let field = |name: &str| header.lines().find_map(|line| line.strip_prefix(name));
        // Recoded, as `git log` does. An encoding that nobody knows is taken for UTF-8.
        let encoding = field("encoding ").and_then(|label| Encoding::for_label(label.as_bytes())).unwrap_or(UTF_8);
        let (message, _) = encoding.decode_without_bom_handling(message);
        let mut message = message.trim_end_matches('\n').to_owned();
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        Self { message, authored: field("author ").and_then(time), committed: field("committer ").and_then(time) }
    }

    /// The first line of the message; of a long one its beginning.
    pub fn subject(&self) -> &str {
        let subject = self.message.lines().next().unwrap_or_default();
        &subject[..subject.floor_char_boundary(SUBJECT_BYTES_MAX)]
    }
}

/// The time in `Maria <maria@example.com> 1700000000 +0100`.
fn time(signature: &str) -> Option<Timestamp> {
    let (_, time) = signature.rsplit_once("> ")?;
    Timestamp::from_second(time.split(' ').next()?.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::Commit;
    use expect_test::{Expect, expect};

    fn check(content: &[u8], expected: Expect) {
        let Commit { message, authored, committed } = Commit::parse(content);
        let time = |time: Option<jiff::Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
        expected.assert_eq(&format!("{message:?} authored {} committed {}", time(authored), time(committed)));
    }

    #[test]
    fn a_signed_commit() {
        check(
            b"tree 1\nparent 2\nauthor A > B <a@b> 1700000000 +0100\ncommitter C <c@d> 1700000060 -0700\n\
             gpgsig -----BEGIN\n author X <x> 1 +0000\n -----END\n\nSubject\n\nBody\n",
            expect![[r#""Subject\n\nBody" authored 2023-11-14T22:13:20Z committed 2023-11-14T22:14:20Z"#]],
        );
    }

    #[test]
    fn what_is_odd_is_left_out() {
        check(b"author A <a@b> soon\n\nx", expect![[r#""x" authored none committed none"#]]);
        check(b"", expect![[r#""" authored none committed none"#]]);
    }

    #[test]
    fn other_encodings() {
        let check = |encoding: &str, message: &[u8], expected: &str| {
            let header = format!("tree 1\nencoding {encoding}\n gpgsig x\n\n");
            assert_eq!(Commit::parse(&[header.as_bytes(), message].concat()).message, expected, "{encoding}");
        };
        check("ISO-8859-1", b"Gr\xfc\xdfe\n", "Grüße");
        check("windows-1251", b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет");
        check("Shift_JIS", b"\x93\xfa\x96\x7b\x8c\xea", "日本語");
        check("UTF-8", "Grüße".as_bytes(), "Grüße");
        check("x-unheard-of", "Grüße \u{1f980}".as_bytes(), "Grüße \u{1f980}");
        check("x-unheard-of", b"Gr\xfc\xdfe", "Gr\u{fffd}\u{fffd}e");
    }

    #[test]
    fn long_ones_are_cut_at_characters() {
        let commit = Commit::parse(format!("tree 1\n\nx{}", "é".repeat(100_000)).as_bytes());
        assert_eq!((commit.message.len(), commit.subject().len()), ((64 << 10) - 1, 1_023));
        assert_eq!(Commit::parse(b"tree 1\n\nOne\n\nTwo\n").subject(), "One");
    }
}
