//! Owns how a mistake in a buildspec is told: where it is, what it is, and how it is mended. Knows nothing of the language.

use std::fmt;

/// A place in the file. Lines and columns count from 1, in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At {
    pub line: u32,
    pub column: u32,
}

impl At {
    pub(crate) const START: Self = Self { line: 1, column: 1 };

    pub(crate) fn of(marker: &saphyr_parser::Marker) -> Self {
        let number = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        Self { line: number(marker.line()).max(1), column: number(marker.col()).saturating_add(1) }
    }
}

/// An error, or a warning: the list that it stands in says which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub at: At,
    /// The way to it through the keys, such as `phases.build.commands[2]`; empty where the text is no YAML.
    pub place: String,
    pub message: String,
    pub mend: String,
}

impl Problem {
    pub(crate) fn new(at: At, place: &str, message: impl Into<String>, mend: impl Into<String>) -> Self {
        Self { at, place: place.to_owned(), message: message.into(), mend: mend.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: ", self.at.line, self.at.column)?;
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}: {}", self.message, self.mend)
    }
}

/// Every mistake of one file, in its order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if number == 0 { "" } else { "\n" })?;
        }
        Ok(())
    }
}

/// Of the known names, the one that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', '_', ' '], "");
    let (name, longest) = (plain(name), 40);
    if name.len() > longest {
        return None;
    }
    let distances = known.iter().map(|known| (distance(&name, &plain(known)), *known));
    distances.filter(|(distance, _)| *distance <= 2 && *distance < name.len()).min().map(|(_, known)| known)
}

/// Levenshtein's.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, b) in b.iter().enumerate() {
            let here = (diagonal + usize::from(a != *b)).min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], here);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let known = ["install", "pre_build", "build", "post_build"];
        let check = |name: &str, expected: Option<&str>| assert_eq!(nearest(name, &known), expected, "{name}");
        check("preBuild", Some("pre_build"));
        check("pre-build", Some("pre_build"));
        check("biuld", Some("build"));
        check("Install", Some("install"));
        check("deploy", None);
        check("", None);
        check(&"build".repeat(1_000), None);
    }
}
