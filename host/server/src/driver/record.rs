//! How the driver writes a pipeline down: parts, archived executions and events as JSON, under keys of the store.
//!
//! Owns the forms and the keys. Must not know when something is written.

use bytes::Bytes;
use pipewright_pipeline::machine::{Change, Event, Execution, ExecutionId, Part, State, Timestamp};
use serde::{Deserialize, Serialize};

use super::DriverError;
use crate::store::{Aggregate, Commit, Loaded, PartKey};

/// An event as history keeps it: with the time of its step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    pub at: Timestamp,
    pub event: Event,
}

impl Recorded {
    pub fn read(bytes: &[u8]) -> Result<Self, DriverError> {
        serde_json::from_slice(bytes).map_err(|error| damaged("an event", &error))
    }
}

/// One step as one commit.
pub(super) fn commit(
    aggregate: Aggregate,
    expected: u64,
    at: Timestamp,
    changes: &[Change],
    events: Vec<Event>,
) -> Result<Commit, DriverError> {
    let puts = changes.iter().map(put).collect::<Result<_, _>>()?;
    let events = events.into_iter().map(|event| json(&Recorded { at, event })).collect::<Result<_, _>>()?;
    Ok(Commit { aggregate, expected, puts, events, index: Vec::new() })
}

fn put(change: &Change) -> Result<(PartKey, Option<Bytes>), DriverError> {
    Ok(match change {
        Change::Delete(part) => (live(*part), None),
        Change::Archive(execution) => (archived(execution.id), Some(json(execution)?)),
        kept => {
            let part = kept.part().expect("only an archived execution is no part");
            (live(part), Some(json(kept)?))
        }
    })
}

fn live(part: Part) -> PartKey {
    PartKey::Live(part.to_string().into())
}

pub(super) fn archived(execution: ExecutionId) -> PartKey {
    PartKey::Archived(format!("execution/{execution}").into())
}

/// The state as the store has it.
pub(super) fn state(loaded: &Loaded) -> Result<State, DriverError> {
    let mut state = State::default();
    for (_, bytes) in &loaded.parts {
        let change: Change = serde_json::from_slice(bytes).map_err(|error| damaged("a part", &error))?;
        state.apply([change]).map_err(|error| DriverError::Damaged(error.to_string()))?;
    }
    Ok(state)
}

pub(super) fn execution(bytes: &[u8]) -> Result<Execution, DriverError> {
    serde_json::from_slice(bytes).map_err(|error| damaged("an archived execution", &error))
}

fn json(value: &impl Serialize) -> Result<Bytes, DriverError> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| DriverError::Damaged(format!("cannot be written: {error}")))
}

fn damaged(what: &str, error: &serde_json::Error) -> DriverError {
    DriverError::Damaged(format!("the store holds {what} that this version cannot read: {error}"))
}
