//! Why an action failed: CodePipeline's failure types, with a message for a person.

use std::fmt::Display;
use std::io;

pub use crate::bindings::host::pipewright::plugin::types::{Failure, FailureKind};
use crate::bindings::host::pipewright::plugin::{artifacts, caches, commands, results, secrets, tools};

/// What a plugin's functions return: the [`Failure`] needs no naming.
pub type Result<T, E = Failure> = std::result::Result<T, E>;

impl Failure {
    /// The work itself failed: a test, a compiler, a page that does not parse.
    pub fn job(message: impl Into<String>) -> Self {
        Self::new(FailureKind::JobFailed, message)
    }

    /// The pipeline's declaration asks for something impossible; name the setting and how to mend it.
    pub fn configuration(message: impl Into<String>) -> Self {
        Self::new(FailureKind::ConfigurationError, message)
    }

    /// A grant or an outside system refused.
    pub fn permission(message: impl Into<String>) -> Self {
        Self::new(FailureKind::PermissionError, message)
    }

    /// The revision is older than one that was seen already.
    pub fn revision_out_of_sync(message: impl Into<String>) -> Self {
        Self::new(FailureKind::RevisionOutOfSync, message)
    }

    /// The revision is not there any more.
    pub fn revision_unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::RevisionUnavailable, message)
    }

    /// An outside system cannot be reached just now.
    pub fn system_unavailable(message: impl Into<String>) -> Self {
        Self::new(FailureKind::SystemUnavailable, message)
    }

    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::permission(error.to_string()),
            _ => Self::job(error.to_string()),
        }
    }
}

impl From<artifacts::Error> for Failure {
    fn from(error: artifacts::Error) -> Self {
        use artifacts::Error;
        match error {
            Error::Denied(text) => Self::permission(text),
            Error::NotFound(text) => Self::job(format!("{text}: not found")),
            Error::Quota(text) | Error::Invalid(text) | Error::Io(text) => Self::job(text),
        }
    }
}

impl From<secrets::Error> for Failure {
    fn from(secrets::Error::Denied(text): secrets::Error) -> Self {
        Self::permission(text)
    }
}

impl From<caches::Error> for Failure {
    fn from(error: caches::Error) -> Self {
        match error {
            caches::Error::Denied(text) => Self::permission(text),
            caches::Error::Invalid(text) => Self::configuration(text),
            caches::Error::Io(text) => Self::job(text),
        }
    }
}

impl From<commands::Error> for Failure {
    fn from(error: commands::Error) -> Self {
        match error {
            commands::Error::Denied(text) => Self::permission(text),
            commands::Error::Invalid(text) => Self::configuration(text),
        }
    }
}

impl From<results::Error> for Failure {
    fn from(error: results::Error) -> Self {
        let (results::Error::Invalid(text) | results::Error::Quota(text)) = error;
        Self::job(text)
    }
}

impl From<tools::Error> for Failure {
    fn from(error: tools::Error) -> Self {
        match error {
            tools::Error::Denied(text) => Self::permission(text),
            tools::Error::Invalid(text) => Self::configuration(text),
            tools::Error::Crashed(text) => Self::job(format!("the tool crashed: {text}")),
        }
    }
}

/// Says what was being done when something failed.
///
/// ```no_run
/// # use pipewright_sdk::prelude::*;
/// # fn example(input: Input) -> Result<String> {
/// let text = std::fs::read_to_string(input.join("site.toml")).doing("reading site.toml")?;
/// # Ok(text) }
/// ```
pub trait Doing<T> {
    /// Puts `what` before the error's own words.
    ///
    /// # Errors
    /// Where it was one.
    fn doing(self, what: impl Display) -> Result<T>;
}

impl<T, E: Into<Failure>> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Display) -> Result<T> {
        self.map_err(|error| {
            let Failure { kind, message } = error.into();
            Failure { kind, message: format!("{what}: {message}") }
        })
    }
}
