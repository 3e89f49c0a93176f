//! The exit codes of `pipewright`, and the errors that lead to them.

use std::process::ExitCode;

use pipewright_aws::client::ClientError;
use pipewright_base::Mistake;
use pipewright_packages::PackageError;
use pipewright_store::OpenError;

/// It succeeded.
pub const SUCCEEDED: u8 = 0;
/// The pipeline failed, was stopped or was rejected; a plugin's case failed; a check found damage.
pub const FAILED: u8 = 1;
/// Bad usage, an invalid pipeline, plugin or grants file, or a request that the server refused: nothing was started.
pub const USAGE: u8 = 2;
/// The host or the server failed, or cannot be reached.
pub const HOST: u8 = 3;
/// The time of `--timeout` was over; what was followed goes on. As timeout(1) ends.
pub const TIMED_OUT: u8 = 124;
/// Interrupted by Ctrl-C (128 + SIGINT).
pub const INTERRUPTED: u8 = 130;

/// How a command that did not run to its end ended.
#[derive(Debug)]
pub enum Ended {
    /// The caller can mend it; every problem is in the text.
    Usage(String),
    /// The caller cannot.
    Host(anyhow::Error),
    /// A server was asked; the error tells whose it is to mend.
    Server(ClientError),
    /// A package was refused, or could not be reached; the error tells whose it is to mend.
    Package(PackageError),
}

impl From<PackageError> for Ended {
    fn from(error: PackageError) -> Self {
        Self::Package(error)
    }
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Self::Server(error)
    }
}

impl From<anyhow::Error> for Ended {
    fn from(error: anyhow::Error) -> Self {
        let is_in_use = |cause: Option<&OpenError>| matches!(cause, Some(OpenError::InUse { .. }));
        match error.chain().any(|cause| cause.is::<Mistake>() || is_in_use(cause.downcast_ref())) {
            true => Self::Usage(format!("{error:#}")),
            false => Self::Host(error),
        }
    }
}

impl Ended {
    pub fn usage(problem: impl std::fmt::Display) -> Self {
        // With `#`, an error says what caused it, too.
        Self::Usage(format!("{problem:#}"))
    }

    pub fn code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => USAGE,
            Self::Host(_) => HOST,
            Self::Server(error) => match error {
                ClientError::Endpoint { .. }
                | ClientError::Credentials { .. }
                | ClientError::Region { .. }
                | ClientError::Refused { .. }
                | ClientError::TooLong { .. } => USAGE,
                ClientError::Unreachable { .. } | ClientError::Broken { .. } | ClientError::Failed { .. } => HOST,
            },
            Self::Package(PackageError::Registry { .. } | PackageError::Host(_)) => HOST,
            Self::Package(_) => USAGE,
        })
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Usage(problem) => write!(f, "{problem}"),
            Self::Host(error) => write!(f, "the host failed: {error:#}"),
            Self::Server(error) => {
                write!(f, "{error}")?;
                match error {
                    ClientError::Refused { code, .. } if code == "PipelineNotFoundException" => {
                        write!(f, "\n`pipewright pipelines`, with the same options, lists those that are there.")
                    }
                    _ => Ok(()),
                }
            }
            Self::Package(PackageError::Host(error)) => write!(f, "the host failed: {error:#}"),
            Self::Package(error @ PackageError::Missing(_)) => {
                write!(f, "{error}; `pipewright plugin list`, with the same options, says what is installed")
            }
            Self::Package(error) => write!(f, "{error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever started the program is told what they can mend as such, wherever it was found.
    #[test]
    fn a_mistake_is_no_failure_of_the_host() {
        let check = |error: anyhow::Error, expected: &str| assert_eq!(Ended::from(error).to_string(), expected);
        check(Mistake::of("no such folder").into(), "no such folder");
        check(anyhow::Error::from(Mistake::of("taken")).context("cannot listen"), "cannot listen: taken");
        let in_use = OpenError::InUse { dir: "data".into(), holder: "process 7".to_owned() };
        check(in_use.into(), "data is in use by another process (process 7); end it, or name another directory");
        check(anyhow::anyhow!("the disk is broken"), "the host failed: the disk is broken");
    }
}
