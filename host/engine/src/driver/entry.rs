//! One record of a pipeline's history: why and when it was committed, and what happened.
//!
//! Owns its form, and reads every form that was ever written. A record begins with its [`Header`], and each event that
//! follows is the core's, as JSON. Versions before wrote no header, gave each event its time, and nothing to commits of
//! notes alone.

use std::borrow::Cow;

use bytes::Bytes;
use pipewright_base::{Cause, Principal, Source};
use pipewright_pipeline::machine::{Event, Timestamp};
use pipewright_store::Record;
use serde::{Deserialize, Serialize};

use super::DriverError;
use super::record::{damaged, json, read};

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
        match record.events.split_first() {
            Some((first, events)) if first.starts_with(HEADER) => {
                let header: Header<'_> = read("the header of a record", first)?;
                entry.at = Some(header.at);
                entry.notes = header.notes.into_owned();
                let (principal, request) = (header.by.into_owned(), header.request.into_owned());
                entry.cause = Some(Cause { principal, request, source: header.from });
                let event = |bytes: &Bytes| serde_json::from_slice(bytes).map_err(|error| damaged("an event", &error));
                entry.events = events.iter().map(event).collect::<Result<_, _>>()?;
            }
            _ => {
                for bytes in &record.events {
                    let timed: Timed = read("an event", bytes)?;
                    entry.at.get_or_insert(timed.at);
                    entry.events.push(timed.event);
                }
            }
        }
        Ok(entry)
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

/// The entries of the record that a commit becomes.
pub(super) fn write(
    cause: &Cause,
    at: Timestamp,
    events: &[Event],
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
