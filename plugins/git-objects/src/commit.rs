//! What a commit object says.

use jiff::Timestamp;

/// A commit, as far as variables tell of it. What is malformed in it is left out.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Without the empty lines at its end.
    pub message: String,
    pub authored: Option<Timestamp>,
    pub committed: Option<Timestamp>,
}

impl Commit {
    /// `content` is the object without its header.
    pub fn parse(content: &[u8]) -> Self {
        let text = String::from_utf8_lossy(content);
        let (header, message) = text.split_once("\n\n").unwrap_or((&text, ""));
        // A line that begins with a space continues the one before, as signatures do.
        let time = |field: &str| header.lines().find_map(|line| time(line.strip_prefix(field)?));
        Self {
            message: message.trim_end_matches('\n').to_owned(),
            authored: time("author "),
            committed: time("committer "),
        }
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

    fn check(content: &str, expected: Expect) {
        let Commit { message, authored, committed } = Commit::parse(content.as_bytes());
        let time = |time: Option<jiff::Timestamp>| time.map_or("none".to_owned(), |time| time.to_string());
        expected.assert_eq(&format!("{message:?} authored {} committed {}", time(authored), time(committed)));
    }

    #[test]
    fn a_signed_commit() {
        check(
            "tree 1\nparent 2\nauthor A > B <a@b> 1700000000 +0100\ncommitter C <c@d> 1700000060 -0700\n\
             gpgsig -----BEGIN\n author X <x> 1 +0000\n -----END\n\nSubject\n\nBody\n",
            expect![[r#""Subject\n\nBody" authored 2023-11-14T22:13:20Z committed 2023-11-14T22:14:20Z"#]],
        );
    }

    #[test]
    fn what_is_odd_is_left_out() {
        check("author A <a@b> soon\n\nx", expect![[r#""x" authored none committed none"#]]);
        check("", expect![[r#""" authored none committed none"#]]);
    }
}
