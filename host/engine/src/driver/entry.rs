//! One record of history: why and when it was committed, and what happened.
//!
//! Owns its form, of pipelines and of accounts, and reads every form that was ever written. A record begins with its [`Header`], and each event that
//! follows is the core's or an account's, as JSON. Versions before wrote no header, gave each event its time, and nothing to commits of
//! notes alone.

use std::borrow::Cow;

use bytes::Bytes;
use pipewright_base::{Cause, Principal, Source};
use pipewright_pipeline::machine::{Event, Timestamp};
use pipewright_store::{Aggregate, Record};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::DriverError;
use super::record::{json, read};
use super::rows::EventRow;

/// With this a header begins, and no event does.
const HEADER: &[u8] = br#"{"by":"#;

/// What one commit says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub sequence: u64,
    /// None of a commit of notes that was written before commits told their time.
    pub at: Option<Timestamp>,
    /// None of what was written before commits told their cause.
    pub cause: Option<Cause>,
    pub events: Vec<Event>,
    /// The names of the notes that it kept or took away.
    pub notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct Header<'a> {
    by: Cow<'a, Principal>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    request: Cow<'a, str>,
    from: Source,
    at: Timestamp,
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    notes: Cow<'a, [String]>,
}

/// An event as versions wrote it that knew no header.
#[derive(Deserialize)]
struct Timed {
    at: Timestamp,
    event: Event,
}

impl Entry {
    pub fn read(record: &Record) -> Result<Self, DriverError> {
        let mut entry =
            Self { sequence: record.sequence, at: None, cause: None, events: Vec::new(), notes: Vec::new() };
        match told(record)? {
            Some(told) => {
                entry.at = Some(told.at);
                entry.notes = told.notes;
                entry.cause = Some(told.cause);
                entry.events = told.events;
            }
            None => {
                for bytes in &record.events {
                    let timed: Timed = read("an event", bytes)?;
                    entry.at.get_or_insert(timed.at);
                    entry.events.push(timed.event);
                }
            }
        }
        Ok(entry)
    }

    /// Its row among the account's events, if it has any.
    pub(crate) fn event_row(&self, pipeline: Aggregate) -> Option<EventRow> {
        let at = self.at.filter(|_| !self.events.is_empty())?;
        Some(EventRow { at, uid: pipeline.uid, sequence: self.sequence })
    }

    /// When a record was committed, without reading what happened; none where it does not tell.
    pub fn time(record: &Record) -> Result<Option<Timestamp>, DriverError> {
        #[derive(Deserialize)]
        struct Any {
            at: Timestamp,
        }
        let first = record.events.first();
        first.map(|first| read("the time of a record", first).map(|any: Any| any.at)).transpose()
    }
}

/// A record that begins with a header.
pub(super) struct HeadedRecord<E> {
    pub at: Timestamp,
    pub cause: Cause,
    pub notes: Vec<String>,
    pub events: Vec<E>,
}

/// None of a record of the versions before there were headers.
pub(super) fn told<E: DeserializeOwned>(record: &Record) -> Result<Option<HeadedRecord<E>>, DriverError> {
    let Some((first, events)) = record.events.split_first().filter(|(first, _)| first.starts_with(HEADER)) else {
        return Ok(None);
    };
    let Header { by, request, from, at, notes } = read("the header of a record", first)?;
    let cause = Cause { principal: by.into_owned(), request: request.into_owned(), source: from };
    let events = events.iter().map(|bytes| read("an event", bytes)).collect::<Result<_, _>>()?;
    Ok(Some(HeadedRecord { at, cause, notes: notes.into_owned(), events }))
}

/// The entries of the record that a commit becomes.
pub(super) fn write<E: Serialize>(
    cause: &Cause,
    at: Timestamp,
    events: &[E],
    notes: &[String],
) -> Result<Vec<Bytes>, DriverError> {
    let header = Header {
        by: Cow::Borrowed(&cause.principal),
        request: Cow::Borrowed(&cause.request),
        from: cause.source,
        at,
        notes: Cow::Borrowed(notes),
    };
    std::iter::once(json(&header)).chain(events.iter().map(json)).collect()
}
