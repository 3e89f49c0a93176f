//! The words that every room shares: digests, hexadecimal text, the clock, fair shares, memory, and where things lie on a machine.
//!
//! Depends on nothing of this project.

mod cause;
pub mod clock;
mod digest;
pub mod fair;
pub mod hex;
pub mod home;
pub mod memory;
mod mistake;
mod open_files;
mod scope;
pub mod trust;

pub use cause::{Cause, Principal, Source};
pub use digest::{Digest, DigestError, Hasher};
pub use mistake::Mistake;
pub use open_files::raise_open_files;
pub use scope::Scope;
