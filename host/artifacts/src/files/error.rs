//! The one error of work with files: a kind with a text for people, a number for those who know only numbers.
//!
//! Must not know in which language a guest is told.

use std::io;

use pipewright_base::memory::LimitReached;
use rustix::io::Errno;

use super::floor::FREE_DISK_BYTES_MIN;

/// Why the host did not do what was asked with a file. The text names the file and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    pub kind: FileErrorKind,
    pub errno: Errno,
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileErrorKind {
    NotFound,
    Denied,
    Quota,
    Invalid,
    Io,
    /// This limit on the host's memory is used up, and the guest ends.
    Ends(&'static str),
}

pub type FileResult<T> = Result<T, FileError>;

impl FileError {
    pub fn not_found(message: impl Into<String>) -> Self {
        Self { kind: FileErrorKind::NotFound, errno: Errno::NOENT, message: message.into() }
    }

    pub fn denied(message: impl Into<String>) -> Self {
        Self { kind: FileErrorKind::Denied, errno: Errno::PERM, message: message.into() }
    }

    /// `limit` is the name of the limit's field.
    pub fn quota(limit: &str, value: u64) -> Self {
        let message = format!("the limit {limit} ({value}) of this action is used up");
        Self { kind: FileErrorKind::Quota, errno: Errno::DQUOT, message }
    }

    pub fn disk_full() -> Self {
        let message = format!(
            "the disk is nearly full: {FREE_DISK_BYTES_MIN} bytes of it are kept free for everybody (FREE_DISK_BYTES_MIN). \
             Whoever runs this host makes room on it"
        );
        Self { kind: FileErrorKind::Quota, errno: Errno::NOSPC, message }
    }

    pub fn invalid(errno: Errno, message: impl Into<String>) -> Self {
        Self { kind: FileErrorKind::Invalid, errno, message: message.into() }
    }

    /// The host's own trouble, e.g. an artifact that is no longer what it was.
    pub fn broken(message: impl Into<String>) -> Self {
        Self { kind: FileErrorKind::Io, errno: Errno::IO, message: message.into() }
    }

    /// What ends the guest, if it does.
    pub fn ends(&self) -> Option<LimitReached> {
        match self.kind {
            FileErrorKind::Ends(limit) => Some(LimitReached::new(limit, self.message.clone())),
            _ => None,
        }
    }

    /// The call is over; nobody will read this.
    pub fn stopped() -> Self {
        Self { kind: FileErrorKind::Io, errno: Errno::INTR, message: "the call was stopped".to_owned() }
    }

    pub fn io(path: &str, error: &io::Error) -> Self {
        let Some(errno) = Errno::from_io_error(error) else {
            // cap-std's word for a path that leads out has no number.
            return match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Self::invalid(Errno::PERM, format!("{path}: a link leads outside of it"))
                }
                _ => Self::broken(format!("{path}: {error}")),
            };
        };
        let kind = match errno {
            Errno::NOENT => FileErrorKind::NotFound,
            Errno::DQUOT | Errno::NOSPC => FileErrorKind::Quota,
            Errno::EXIST
            | Errno::INVAL
            | Errno::ISDIR
            | Errno::NOTDIR
            | Errno::NOTEMPTY
            | Errno::LOOP
            | Errno::NAMETOOLONG
            | Errno::PERM
            | Errno::XDEV => FileErrorKind::Invalid,
            _ => FileErrorKind::Io,
        };
        Self { kind, errno, message: format!("{path}: {error}") }
    }

    /// The same error with another text around it.
    pub fn within(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

impl From<LimitReached> for FileError {
    fn from(reached: LimitReached) -> Self {
        Self { kind: FileErrorKind::Ends(reached.limit), errno: Errno::NOMEM, message: reached.message }
    }
}
