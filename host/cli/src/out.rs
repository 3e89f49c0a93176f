//! Standard output and standard error: everything that the command line says goes through here, but for an export and the
//! drawing of a run.
//!
//! Owns that nothing of what others wrote steers a terminal, and what happens when nobody reads any more. Must not know what
//! is said.

use std::io::Write as _;

use pipewright_text::{printable, printable_json, printable_lines, quoted};
use serde::Serialize;

use crate::exit;

/// Who is asked reads so much of what somebody else says.
const QUOTE_CHARS_MAX: usize = 500;

/// Says one line, written as for `format!`.
macro_rules! say {
    () => { $crate::out::line("") };
    ($($text:tt)*) => { $crate::out::line(&format!($($text)*)) };
}

/// The same on standard error, beside what was asked for.
macro_rules! note {
    ($($text:tt)*) => { $crate::out::aside(&format!($($text)*)) };
}

pub(crate) use {note, say};

/// One line, whatever is in it.
pub fn line(text: &str) {
    write(&format!("{}\n", printable(text)));
}

/// A text that may have several lines; each of those of others stands where its caller put it.
pub fn lines(text: &str) {
    write(&format!("{}\n", printable_lines(text)));
}

/// One line of cells with tabs between them.
pub fn tabbed(cells: &[String]) {
    let cells: Vec<_> = cells.iter().map(|cell| printable(cell)).collect();
    write(&format!("{}\n", cells.join("\t")));
}

/// JSON for a person or a machine.
pub fn json(value: &impl Serialize) {
    write(&format!("{}\n", printable_json(&serde_json::to_string_pretty(value).expect("plain data"))));
}

/// The same in one line.
pub fn json_line(value: &impl Serialize) {
    write(&format!("{}\n", printable_json(&serde_json::to_string(value).expect("plain data"))));
}

/// A question, which the answer follows on the same line.
pub fn ask(question: &str) {
    write(&printable(question));
}

/// What somebody else says to a question, in one quoted line: it looks like nothing that the host says, and no run of blanks in
/// it fills a line of the terminal.
pub fn in_one_quote(text: &str) -> String {
    quoted(&text.split_whitespace().collect::<Vec<_>>().join(" "), QUOTE_CHARS_MAX)
}

/// On standard error. Whether somebody reads that is no matter.
pub fn aside(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{}", printable_lines(text));
}

/// When nobody reads any more (`| head`), that is the end of the command.
fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(i32::from(exit::SUCCEEDED));
    }
}

/// What the host's log is written to: each of its entries, which come whole, is one line.
pub struct LogLines;

impl std::io::Write for LogLines {
    fn write(&mut self, entry: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(entry);
        writeln!(std::io::stderr().lock(), "{}", printable(text.trim_end_matches('\n')))?;
        Ok(entry.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_quoted_looks_like_nothing_else() {
        let check = |text: &str, wanted: &str| assert_eq!(in_one_quote(text), wanted);
        check("to publish", r#""to publish""#);
        check(
            "x\n  signed by you.pub (sha256:0)\r\nInstall? [y/N] y\n",
            r#""x signed by you.pub (sha256:0) Install? [y/N] y""#,
        );
        check(&format!("x{}\u{a0}\u{3000}y", " ".repeat(200)), r#""x y""#);
        check("x\" y\u{1b}[2K\u{202e}\u{2800}", r#""x\" y\u{1b}[2K\u{202e}\u{2800}""#);
        assert_eq!(in_one_quote(&"x".repeat(501)).chars().count(), 503);
    }
}
