//! The one error of the file capability, told in both languages: a kind with a text for the `artifacts` interface, a
//! code for WASI.

use std::io;

use rustix::io::Errno;

use super::wasi::ErrorCode;
use crate::bindings::pipewright::plugin::artifacts as abi;
use crate::limits::{FREE_DISK_BYTES_MIN, LimitReached};

/// Why the host did not do what was asked with a file. The text names the file and the mend.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct FileError {
    pub(super) kind: Kind,
    pub(super) code: ErrorCode,
    pub(super) message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    NotFound,
    Denied,
    Quota,
    Invalid,
    Io,
    /// This limit on the host's memory is used up, and the guest ends.
    Ends(&'static str),
}

pub(super) type FileResult<T> = Result<T, FileError>;

impl FileError {
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self { kind: Kind::NotFound, code: ErrorCode::NoEntry, message: message.into() }
    }

    pub(super) fn denied(message: impl Into<String>) -> Self {
        Self { kind: Kind::Denied, code: ErrorCode::NotPermitted, message: message.into() }
    }

    /// `limit` is the name of the limit's field.
    pub(super) fn quota(limit: &str, value: u64) -> Self {
        let message = format!("the limit {limit} ({value}) of this action is used up");
        Self { kind: Kind::Quota, code: ErrorCode::Quota, message }
    }

    pub(super) fn disk_full() -> Self {
        let message = format!(
            "the disk is nearly full: {FREE_DISK_BYTES_MIN} bytes of it are kept free for everybody (FREE_DISK_BYTES_MIN). \
             Whoever runs this host makes room on it"
        );
        Self { kind: Kind::Quota, code: ErrorCode::InsufficientSpace, message }
    }

    pub(super) fn invalid(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { kind: Kind::Invalid, code, message: message.into() }
    }

    /// The host's own trouble, e.g. an artifact that is no longer what it was.
    pub(super) fn broken(message: impl Into<String>) -> Self {
        Self { kind: Kind::Io, code: ErrorCode::Io, message: message.into() }
    }

    /// What ends the guest, if it does.
    pub(super) fn ends(&self) -> Option<LimitReached> {
        match self.kind {
            Kind::Ends(limit) => Some(LimitReached::new(limit, self.message.clone())),
            _ => None,
        }
    }

    /// The call is over; nobody will read this.
    pub(super) fn stopped() -> Self {
        Self { kind: Kind::Io, code: ErrorCode::Interrupted, message: "the call was stopped".to_owned() }
    }

    pub(super) fn io(path: &str, error: &io::Error) -> Self {
        let Some(errno) = Errno::from_io_error(error) else {
            // cap-std's word for a path that leads out has no number.
            return match error.kind() {
                io::ErrorKind::PermissionDenied => {
                    Self::invalid(ErrorCode::NotPermitted, format!("{path}: a link leads outside of it"))
                }
                _ => Self::broken(format!("{path}: {error}")),
            };
        };
        let code = code_of(errno);
        let kind = match code {
            ErrorCode::NoEntry => Kind::NotFound,
            ErrorCode::Quota | ErrorCode::InsufficientSpace => Kind::Quota,
            ErrorCode::Exist
            | ErrorCode::Invalid
            | ErrorCode::IsDirectory
            | ErrorCode::NotDirectory
            | ErrorCode::NotEmpty
            | ErrorCode::Loop
            | ErrorCode::NameTooLong
            | ErrorCode::NotPermitted
            | ErrorCode::CrossDevice => Kind::Invalid,
            _ => Kind::Io,
        };
        Self { kind, code, message: format!("{path}: {error}") }
    }

    /// The same error with another text around it.
    pub(super) fn within(mut self, context: &str) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }
}

/// WASI's code for an error that a stream carried.
pub(super) fn code_of_stream_error(error: &wasmtime::Error) -> Option<ErrorCode> {
    if let Some(error) = error.downcast_ref::<FileError>() {
        return Some(error.code);
    }
    error.downcast_ref::<io::Error>().and_then(Errno::from_io_error).map(code_of)
}

fn code_of(errno: Errno) -> ErrorCode {
    match errno {
        Errno::ACCESS => ErrorCode::Access,
        Errno::PERM | Errno::XDEV => ErrorCode::NotPermitted,
        Errno::NOENT => ErrorCode::NoEntry,
        Errno::EXIST => ErrorCode::Exist,
        Errno::ISDIR => ErrorCode::IsDirectory,
        Errno::NOTDIR => ErrorCode::NotDirectory,
        Errno::NOTEMPTY => ErrorCode::NotEmpty,
        Errno::LOOP => ErrorCode::Loop,
        Errno::NAMETOOLONG => ErrorCode::NameTooLong,
        Errno::INVAL => ErrorCode::Invalid,
        Errno::BADF => ErrorCode::BadDescriptor,
        Errno::BUSY => ErrorCode::Busy,
        Errno::FBIG => ErrorCode::FileTooLarge,
        Errno::NOSPC => ErrorCode::InsufficientSpace,
        Errno::DQUOT => ErrorCode::Quota,
        Errno::ROFS => ErrorCode::ReadOnly,
        Errno::TXTBSY => ErrorCode::TextFileBusy,
        Errno::MLINK => ErrorCode::TooManyLinks,
        Errno::NXIO => ErrorCode::NoSuchDevice,
        Errno::INTR => ErrorCode::Interrupted,
        Errno::NOMEM => ErrorCode::InsufficientMemory,
        _ => ErrorCode::Io,
    }
}

impl From<LimitReached> for FileError {
    fn from(reached: LimitReached) -> Self {
        Self { kind: Kind::Ends(reached.limit), code: ErrorCode::InsufficientMemory, message: reached.message }
    }
}

impl From<FileError> for abi::Error {
    fn from(error: FileError) -> Self {
        match error.kind {
            Kind::NotFound => Self::NotFound(error.message),
            Kind::Denied => Self::Denied(error.message),
            Kind::Quota => Self::Quota(error.message),
            Kind::Invalid => Self::Invalid(error.message),
            Kind::Io | Kind::Ends(_) => Self::Io(error.message),
        }
    }
}
