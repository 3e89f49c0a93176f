//! What whoever started the program can mend: a folder that cannot be used, an address that is taken.
//!
//! Owns the word, so that the command line tells it from a failure of the host, wherever it was found.

use std::fmt::Display;

#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Mistake(String);

impl Mistake {
    pub fn of(problem: impl Display) -> Self {
        Self(problem.to_string())
    }
}
