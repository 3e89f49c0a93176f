//! The stored form of the state's parts: JSON that says which format it is of, and how every older format is read.
//!
//! Owns the formats. A part of the current one is `[FORMAT,{…}]`; the first format had no number. What is changed in a
//! stored type becomes a new format, and the older form goes into a module of its own (`stored/v1.rs`). The second format is
//! read as the current one, which adds to it rules, conditions, automatic retries and rollbacks, and says of who waits in front
//! of a stage nothing that the executions do not say themselves. Must not know where parts are stored.

use serde::{Deserialize, Serialize};

use super::state::Change;

pub(super) mod v1;

/// The format that is written.
pub const FORMAT: u32 = 3;
/// The oldest format that is read as the current one is.
const COMPATIBLE: u32 = 2;

/// What is stored cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    #[error("it is of format {0}, and this version reads formats up to {FORMAT}: it was written by a newer one")]
    Newer(u32),
    #[error(transparent)]
    Malformed(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Versioned<T>(u32, T);

/// The value to store for a change that puts or archives something.
pub fn write(change: &Change) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(&Versioned(FORMAT, change))
}

/// A change as it was written, by whatever version.
pub fn read(bytes: &[u8]) -> Result<Change, StoredError> {
    if bytes.first() == Some(&b'{') {
        return Ok(v1::read(bytes)?);
    }
    match serde_json::from_slice::<Versioned<Change>>(bytes) {
        Ok(Versioned(COMPATIBLE..=FORMAT, change)) => Ok(change),
        Ok(Versioned(format, _)) => Err(StoredError::Newer(format)),
        Err(error) => Err(match serde_json::from_slice::<Versioned<serde::de::IgnoredAny>>(bytes) {
            Ok(Versioned(format, _)) if format > FORMAT => StoredError::Newer(format),
            _ => error.into(),
        }),
    }
}

#[cfg(test)]
mod tests;
