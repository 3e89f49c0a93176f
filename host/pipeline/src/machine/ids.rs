//! Names of things that run, and how they come from an input's random bytes.
//!
//! Must not know what the ids are used for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// Milliseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// The time so many milliseconds later; stays at the end of time instead of overflowing.
    pub fn plus(self, milliseconds: u64) -> Timestamp {
        Timestamp(self.0.saturating_add(milliseconds))
    }
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            pub fn from_bytes(bytes: [u8; 16]) -> $name {
                $name(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<$name, uuid::Error> {
                Uuid::try_parse(text).map($name)
            }
        }
    };
}

id! {
    /// CodePipeline's pipelineExecutionId. A retried execution keeps it.
    ExecutionId
}
id! {
    /// CodePipeline's actionExecutionId. A retried action gets a new one.
    ActionExecutionId
}
id! {
    /// CodePipeline's jobId. Each job of an action has its own.
    JobId
}
id! {
    /// By which the worker that was offered a job is told from all others.
    Nonce
}

/// A timer that the driver keeps: at most one of each kind for each action execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TimerId {
    pub action: ActionExecutionId,
    pub kind: TimerKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TimerKind {
    /// The action's time is up.
    Timeout,
    /// The wait that this call ended in is over.
    Wake { call: u32 },
    /// The job is offered again: its worker did not acknowledge it.
    Offer { job: JobId },
    /// The job's worker has not reported it.
    Job { job: JobId },
}

/// Random bytes that come with an input; the machine's only source of chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entropy(pub [u8; 32]);

/// Derives the ids of one step: the first 16 bytes of SHA-256(entropy ‖ counter, 4 bytes little-endian), as a UUID of
/// version 4. One entropy so gives any number of ids, and the same input gives the same ids.
#[derive(Debug)]
pub(super) struct Ids {
    entropy: Entropy,
    counter: u32,
}

impl Ids {
    pub(super) fn new(entropy: Entropy) -> Ids {
        Ids { entropy, counter: 0 }
    }

    fn next(&mut self) -> Uuid {
        let hash: [u8; 32] =
            Sha256::new().chain_update(self.entropy.0).chain_update(self.counter.to_le_bytes()).finalize().into();
        self.counter += 1;
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&hash[..16]);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    pub(super) fn execution(&mut self) -> ExecutionId {
        ExecutionId(self.next())
    }

    pub(super) fn job(&mut self) -> JobId {
        JobId(self.next())
    }

    pub(super) fn nonce(&mut self) -> Nonce {
        Nonce(self.next())
    }

    pub(super) fn action_execution(&mut self) -> ActionExecutionId {
        ActionExecutionId(self.next())
    }
}
