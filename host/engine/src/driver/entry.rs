//! One record of a pipeline's history: when it was committed, and what happened.
//!
//! Owns how a record is read. Must not know who reads it.

use pipewright_pipeline::machine::{Event, Timestamp};
use pipewright_store::{Aggregate, Record};

use super::rows::EventRow;
use super::{DriverError, record};

/// What one commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    /// None of a commit that tells nothing.
    pub at: Option<Timestamp>,
    pub events: Vec<Event>,
}

impl Entry {
    pub fn read(record: &Record) -> Result<Self, DriverError> {
        let mut entry = Self { sequence: record.sequence, at: None, events: Vec::new() };
        for bytes in &record.events {
            let recorded = record::Recorded::read(bytes)?;
            entry.at.get_or_insert(recorded.at);
            entry.events.push(recorded.event);
        }
        Ok(entry)
    }

    /// Its row among the account's events, if it has any.
    pub(crate) fn event_row(&self, pipeline: Aggregate) -> Option<EventRow> {
        let at = self.at.filter(|_| !self.events.is_empty())?;
        Some(EventRow { at, uid: pipeline.uid, sequence: self.sequence })
    }
}
