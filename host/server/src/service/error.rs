//! Why a command or query was not done, by what the caller may do about it.
//!
//! Owns which failure of the rooms below is which. Must not know how an error is spoken.

use std::fmt::Display;

use pipewright_base::Scope;
use pipewright_engine::driver::DriverError;
use pipewright_packages::PackageError;
use pipewright_pipeline::machine::Refusal;
use pipewright_pipeline::tags::TagError;
use pipewright_pipeline::validate::{ErrorClass, Problems};

use crate::account_plugins::AccountPluginsError;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceError {
    /// Ask for something else: CodePipeline's class of error, and its words. `problems` are all that is wrong, where that is more
    /// than the message says.
    #[error("{message} ({class})")]
    Refused { class: &'static str, message: String, problems: Vec<String> },
    /// There may not be more of it, or it may not be larger.
    #[error("{0}")]
    Limit(String),
    /// There is no room for it now; the same later may succeed.
    #[error("{0}")]
    Full(String),
    /// The host's own failure, which those who run it have to mend: to be logged, not told.
    #[error("{0}")]
    Host(String),
}

impl ServiceError {
    pub fn refused(class: &'static str, message: impl Into<String>) -> Self {
        Self::Refused { class, message: message.into(), problems: Vec::new() }
    }

    pub fn validation(message: impl Into<String>) -> Self {
        Self::refused("ValidationException", message)
    }

    pub fn not_found(message: impl Into<String>) -> Self {
        Self::refused("ResourceNotFoundException", message)
    }

    pub fn host(error: impl Display) -> Self {
        Self::Host(error.to_string())
    }

    /// What judges an input says it in AWS's words.
    pub fn problems(problems: &Problems) -> Self {
        let (class, message) = problems.error();
        Self::of_class(class, message).with_all(problems.iter().map(ToString::to_string).collect())
    }

    /// What is wrong besides.
    pub(super) fn with_all(mut self, all: Vec<String>) -> Self {
        if let Self::Refused { problems, .. } = &mut self
            && all.len() > 1
        {
            *problems = all;
        }
        self
    }

    pub fn of_class(class: ErrorClass, message: String) -> Self {
        let class = match class {
            ErrorClass::Validation => "ValidationException",
            ErrorClass::InvalidStructure => "InvalidStructureException",
            ErrorClass::InvalidStageDeclaration => "InvalidStageDeclarationException",
            ErrorClass::InvalidActionDeclaration => "InvalidActionDeclarationException",
            ErrorClass::InvalidBlockerDeclaration => "InvalidBlockerDeclarationException",
            ErrorClass::TooManyTags => "TooManyTagsException",
            ErrorClass::InvalidTags => "InvalidTagsException",
        };
        Self::refused(class, message)
    }

    /// The same, or another one where it says that a pipeline is not there.
    pub(super) fn or_if_no_pipeline(self, other: impl FnOnce() -> Self) -> Self {
        match &self {
            Self::Refused { class: "PipelineNotFoundException", .. } => other(),
            _ => self,
        }
    }
}

impl From<TagError> for ServiceError {
    fn from(error: TagError) -> Self {
        Self::of_class(error.class(), error.to_string())
    }
}

impl From<Refusal> for ServiceError {
    fn from(refusal: Refusal) -> Self {
        Self::refused(refusal.error_class().unwrap_or("ValidationException"), refusal.to_string())
    }
}

impl From<AccountPluginsError> for ServiceError {
    fn from(error: AccountPluginsError) -> Self {
        match error {
            error @ AccountPluginsError::NoActionType { .. } => {
                Self::refused("ActionTypeNotFoundException", error.to_string())
            }
            AccountPluginsError::NoPlugin(message) => Self::not_found(message),
            AccountPluginsError::Invalid(message) => Self::validation(message),
            AccountPluginsError::Limit(message) => Self::Limit(message),
            AccountPluginsError::Package(PackageError::Host(error)) => Self::host(format!("{error:#}")),
            AccountPluginsError::Package(error @ PackageError::Missing(_)) => Self::not_found(error.to_string()),
            AccountPluginsError::Package(error) => Self::validation(error.to_string()),
            AccountPluginsError::Plugin(error) => Self::validation(error.to_string()),
            AccountPluginsError::Driver(error) => error.into(),
        }
    }
}

impl From<DriverError> for ServiceError {
    fn from(error: DriverError) -> Self {
        match error {
            DriverError::Refused(refusal) => refusal.into(),
            DriverError::TooLarge(message) => Self::Limit(message),
            DriverError::Full(message) => Self::Full(message),
            DriverError::Unpinned(_) => Self::validation(error.to_string()),
            // It stays so until somebody acts: to be told, and not to be tried again.
            DriverError::Quarantined(_) => Self::validation(format!(
                "{error}. Mend the cause and load it again with `pipewright reload`; until then it can be exported and deleted"
            )),
            error if error.scope() == Scope::Pipeline => {
                tracing::error!("a request failed: {error}");
                Self::validation(format!("What the host keeps of the pipeline cannot be used: {error}"))
            }
            DriverError::Store(_) | DriverError::Damaged(_) | DriverError::Defect(_) => Self::host(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_driver_refuses_is_told_by_what_can_be_done() {
        let check = |error: DriverError, expected: &str| {
            let told = match ServiceError::from(error) {
                ServiceError::Host(_) => "host".to_owned(),
                error => error.to_string(),
            };
            assert!(told.starts_with(expected), "{told}");
        };
        check(DriverError::TooLarge("too large".to_owned()), "too large");
        check(DriverError::Full("no room".to_owned()), "no room");
        check(DriverError::Unpinned("no grants".to_owned()), "no execution can start: no grants (ValidationException)");
        check(
            DriverError::Quarantined("odd".into()),
            "the pipeline is quarantined: odd. Mend the cause and load it again with `pipewright reload`",
        );
        // What is one pipeline's is told, and is no failure of the host.
        for error in [DriverError::Damaged("odd".to_owned()), DriverError::Defect("odd".to_owned())] {
            check(error, "What the host keeps of the pipeline cannot be used: ");
        }
        check(DriverError::Store(pipewright_store::StoreError::Stopped { reason: "gone".into() }), "host");
    }
}
