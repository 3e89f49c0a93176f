//! A commit checked against its limits and encoded into rows: all the work that does not need its place in the chain, so
//! that it is done by whoever commits and not by the one committer.

use super::layout::{self, BODY_AT, Head, PREFIX_BYTES, VALUE_AT};
use super::rows::Rows;
use super::{
    Aggregate, COMMIT_BYTES_MAX, COMMIT_ENTRIES_MAX, Commit, CommitError, INDEX_NAME_BYTES_MAX, INDEX_VALUE_BYTES_MAX,
    PART_NAME_BYTES_MAX, PartDigest, PartKey, Record, StoreError, VALUE_BYTES_MAX,
};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;

pub(super) struct Prepared {
    aggregate: Aggregate,
    expected: u64,
    prefix: [u8; PREFIX_BYTES],
    /// Each part's key and its long row, `None` to delete it.
    parts: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    /// The record's long row, its header still empty.
    record: Vec<u8>,
    body_digest: [u8; 32],
    /// What is in the record.
    changes: Vec<(PartKey, Option<PartDigest>)>,
    events: Vec<Bytes>,
    index: Vec<(Vec<u8>, Option<Vec<u8>>)>,
    pub(super) fence: Option<u64>,
    /// How many rows this writes, apart from leftovers of longer parts.
    pub(super) operations: usize,
}

impl Prepared {
    pub(super) fn new(commit: Commit) -> Result<Self, CommitError> {
        let bytes = check_limits(&commit)?;
        let prefix = layout::prefix(commit.aggregate);
        let puts: BTreeMap<_, _> = commit.puts.into_iter().collect();
        let mut parts = Vec::with_capacity(puts.len());
        let mut changes = Vec::with_capacity(puts.len());
        for (key, value) in puts {
            let row_key = layout::part_key(&prefix, &key);
            let digest = value.as_ref().map(|value| layout::part_digest(&row_key, value));
            let row = value.zip(digest).map(|(value, digest)| part_row(&digest, &value));
            changes.push((key, digest));
            parts.push((row_key, row));
        }
        let mut record = layout::long_row(BODY_AT + bytes / 2);
        record.resize(BODY_AT, 0);
        layout::put_body(&mut record, &changes, &commit.events);
        let body_digest = Sha256::digest(&record[BODY_AT..]).into();
        layout::pack(&mut record, BODY_AT);
        let index: Vec<_> = commit
            .index
            .into_iter()
            .map(|(key, value)| (layout::index_key(commit.aggregate.account, &key), value.map(Vec::from)))
            .collect();
        let rows_of = |row: &Vec<u8>| 1 + usize::from(layout::further_chunks(row.len()));
        let operations = 1
            + rows_of(&record)
            + index.len()
            + parts.iter().map(|(_, row)| row.as_ref().map_or(1, rows_of)).sum::<usize>();
        Ok(Self {
            aggregate: commit.aggregate,
            expected: commit.expected,
            prefix,
            parts,
            record,
            body_digest,
            changes,
            events: commit.events,
            index,
            fence: commit.fence,
            operations,
        })
    }

    /// Gives every row to `put` (`None` deletes it) if `head` is where the commit expects its aggregate to be, and
    /// returns the head after it, with the record. `replace` says how many further chunks the part at a key has, and is told how many it
    /// will have: a part that gets shorter leaves chunks to delete.
    pub(super) fn write(
        mut self,
        head: Head,
        mut replace: impl FnMut(&[u8], u16) -> Result<u16, StoreError>,
        mut put: impl FnMut(&[u8], Option<&[u8]>),
    ) -> Result<(Head, Record), CommitError> {
        if head.sequence != self.expected {
            let Self { aggregate, expected, .. } = self;
            return Err(CommitError::Conflict { aggregate, expected, actual: head.sequence });
        }
        for (key, row) in &mut self.parts {
            let written = row.as_ref().map_or(0, |row| layout::further_chunks(row.len()));
            let stale = replace(key, written)?;
            match row {
                Some(row) => put_long(key, row, &mut put),
                None => put(key, None),
            }
            (written..stale).for_each(|number| put(&layout::chunk_key(key, number), None));
        }
        for (key, value) in &self.index {
            put(key, value.as_deref());
        }
        let after = layout::seal_record(&self.prefix, &mut self.record, &self.body_digest, head);
        let key = layout::row_key(&self.prefix, layout::RECORD, &after.sequence.to_be_bytes());
        put_long(&key, &mut self.record, &mut put);
        put(&layout::row_key(&self.prefix, layout::HEAD, &[]), Some(&after.encode()));
        let Self { changes, events, .. } = self;
        let Head { sequence, digest, .. } = after;
        Ok((after, Record { sequence, previous: head.digest, digest, changes, events }))
    }
}

pub(super) fn part_row(digest: &PartDigest, value: &[u8]) -> Vec<u8> {
    let mut row = layout::long_row(digest.len() + value.len());
    row.extend_from_slice(digest);
    row.extend_from_slice(value);
    layout::pack(&mut row, VALUE_AT);
    row
}

pub(super) fn put_long(key: &[u8], row: &mut [u8], put: &mut impl FnMut(&[u8], Option<&[u8]>)) {
    let (first, further) = layout::chunks(row);
    put(key, Some(first));
    for (number, chunk) in (0..).zip(further) {
        put(&layout::chunk_key(key, number), Some(chunk));
    }
}

pub(super) fn further_chunks_stored<R: Rows>(rows: &R, key: &[u8]) -> Result<u16, StoreError> {
    let stored = rows.get(key)?;
    Ok(stored.and_then(|row| layout::further_chunks_of(row.as_ref())).unwrap_or(0))
}

/// The bytes of the commit, if it keeps every limit.
fn check_limits(commit: &Commit) -> Result<usize, CommitError> {
    let aggregate = commit.aggregate;
    let check = |what, size, size_max| match size > size_max {
        true => Err(CommitError::TooLarge { aggregate, what, size, size_max }),
        false => Ok(size),
    };
    let entries = commit.puts.len() + commit.events.len() + commit.index.len();
    check("the number of entries in a commit", entries, COMMIT_ENTRIES_MAX)?;
    let mut bytes = 0;
    for (key, value) in &commit.puts {
        bytes += check("a part's name", layout::letter_and_name(key).1.len(), PART_NAME_BYTES_MAX)?;
        bytes += check("a part's value", value.as_ref().map_or(0, |value| value.len()), VALUE_BYTES_MAX)?;
    }
    for event in &commit.events {
        bytes += check("an event", event.len(), VALUE_BYTES_MAX)?;
    }
    for (key, value) in &commit.index {
        bytes += check("an index row's name", key.name.len(), INDEX_NAME_BYTES_MAX)?;
        bytes += check("an index row's value", value.as_ref().map_or(0, |value| value.len()), INDEX_VALUE_BYTES_MAX)?;
    }
    check("a commit", bytes, COMMIT_BYTES_MAX)
}
