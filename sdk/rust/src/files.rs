//! What the host does with files better than a guest can: digests, bulk copies, archives, fast streams, and what WASI's
//! files do not have: executable bits and checked links.
//!
//! Ordinary `std::fs` works on the same paths. Hashing, packing and copying in the guest is 3 to 17 times slower than here.
//!
//! # Errors
//! Of all functions: permission, where no grant allows it; job, where something is not there, is of another kind, or is over
//! a limit of the host.

use std::path::Path;

pub use crate::bindings::host::pipewright::plugin::artifacts::{Copied, Entry, FileKind};
use crate::host::artifacts as host;
pub use crate::streams::{Reader, Writer};
use crate::{Failure, Result};

/// Everything below a directory, in the order of the bytes of the path. Leaves out what lies under one of `except`, paths
/// below the listed one, separated by `/`.
pub fn list(path: impl AsRef<Path>, except: &[String]) -> Result<Vec<Entry>> {
    Ok(host::list(text(path.as_ref())?, except)?)
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub fn digest(path: impl AsRef<Path>) -> Result<String> {
    Ok(host::digest(text(path.as_ref())?)?)
}

/// Copies a file or a whole directory, with executable bits and links; `except` as in [`list`].
pub fn copy(source: impl AsRef<Path>, destination: impl AsRef<Path>, except: &[String]) -> Result<Copied> {
    Ok(host::copy(text(source.as_ref())?, text(destination.as_ref())?, except)?)
}

/// Sets or clears the executable bit of a file.
pub fn set_executable(path: impl AsRef<Path>, executable: bool) -> Result<()> {
    Ok(host::set_executable(text(path.as_ref())?, executable)?)
}

/// Makes a symbolic link, or replaces one atomically. The target is relative, and stays inside of the artifact or granted
/// directory in which the link lies.
pub fn link(path: impl AsRef<Path>, target: &str) -> Result<()> {
    Ok(host::link(text(path.as_ref())?, target)?)
}

/// Makes durable what was written below a path: after it, a power cut loses nothing of it.
pub fn sync(path: impl AsRef<Path>) -> Result<()> {
    Ok(host::sync(text(path.as_ref())?)?)
}

/// Packs a directory into a zip file, reproducibly.
pub fn zip(source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<Copied> {
    Ok(host::zip(text(source.as_ref())?, text(destination.as_ref())?)?)
}

/// Unpacks a zip file into a directory; refuses entries that would lie outside of it.
pub fn unzip(source: impl AsRef<Path>, destination: impl AsRef<Path>) -> Result<Copied> {
    Ok(host::unzip(text(source.as_ref())?, text(destination.as_ref())?)?)
}

/// Opens a file for reading from start to end.
pub fn open(path: impl AsRef<Path>) -> Result<Reader> {
    Ok(Reader(host::read(text(path.as_ref())?)?))
}

/// Makes or replaces a file, and the directories above it. Call [`Writer::finish`] at the end.
pub fn create(path: impl AsRef<Path>, executable: bool) -> Result<Writer> {
    Ok(Writer(host::write(text(path.as_ref())?, executable)?))
}

fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Failure::job(format!("{}: a path must be UTF-8", path.display())))
}
