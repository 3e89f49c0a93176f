//! Writing a new store from what another one held: parts, records and rows as they were, in any order, so that what an
//! export reads verifies here too.
//!
//! Nothing is durable before the end, and nothing is checked but records and limits: the directory is worth nothing until
//! [`Restore::finish`] and a [`verify`](super::Store::verify) of what it made.

use super::committer::encode_meta;
use super::layout::{self, BODY_AT, Head};
use super::prepared::{further_chunks_stored, part_row, put_long};
use super::sled::{open_db, sync_new};
use super::{
    Aggregate, Digest, INDEX_NAME_BYTES_MAX, INDEX_VALUE_BYTES_MAX, IndexKey, OpenError, PART_NAME_BYTES_MAX, PartKey,
    READ_BYTES_MAX, Record, Snapshot, StoreError, VALUE_BYTES_MAX,
};
use pipewright_base::hex;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};

/// Rows that are written at once.
const BATCH_ROWS_MAX: usize = 256;
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("{what} of {aggregate} is {size}, over the limit of {size_max}")]
    TooLarge { aggregate: Aggregate, what: &'static str, size: usize, size_max: usize },
    #[error("record {sequence} of {aggregate} does not match its digest")]
    Record { aggregate: Aggregate, sequence: u64 },
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

pub struct Restore {
    dir: PathBuf,
    db: sled::Db,
    batch: sled::Batch,
    rows: usize,
    bytes: usize,
}

impl Restore {
    /// Begins a store in a directory that is not there yet.
    pub fn begin(dir: &Path) -> Result<Self, RestoreError> {
        std::fs::create_dir(dir).map_err(|source| OpenError::Io { path: dir.to_owned(), source })?;
        let db = open_db(dir, CACHE_BYTES)?;
        Ok(Self { dir: dir.to_owned(), db, batch: sled::Batch::default(), rows: 0, bytes: 0 })
    }

    /// Puts a part, or deletes one that was put before.
    pub fn part(&mut self, aggregate: Aggregate, key: &PartKey, value: Option<&[u8]>) -> Result<(), RestoreError> {
        let name = layout::letter_and_name(key).1;
        check(aggregate, "a part's name", name.len(), PART_NAME_BYTES_MAX)?;
        check(aggregate, "a part's value", value.map_or(0, <[u8]>::len), VALUE_BYTES_MAX)?;
        let key = layout::part_key(&layout::prefix(aggregate), key);
        let row = value.map(|value| part_row(&layout::part_digest(&key, value), value));
        // One that is put again may have become shorter. What was put is found only once it is written.
        self.write()?;
        let stale = further_chunks_stored::<sled::Tree>(&self.db, &key)?;
        let written = row.as_ref().map_or(0, |row| layout::further_chunks(row.len()));
        match row {
            Some(mut row) => put_long(&key, &mut row, &mut |key, value| self.put(key, value)),
            None => self.put(&key, None),
        }
        (written..stale).for_each(|number| self.put(&layout::chunk_key(&key, number), None));
        Ok(())
    }

    pub fn record(&mut self, aggregate: Aggregate, record: &Record) -> Result<(), RestoreError> {
        let sequence = record.sequence;
        let names = record.changes.iter().map(|(key, _)| layout::letter_and_name(key).1.len());
        check(aggregate, "a part's name", names.max().unwrap_or(0), PART_NAME_BYTES_MAX)?;
        check(aggregate, "the parts of a record", record.changes.len(), usize::from(u16::MAX))?;
        check(aggregate, "the events of a record", record.events.len(), usize::from(u16::MAX))?;
        let mut row = layout::long_row(BODY_AT);
        row.resize(BODY_AT, 0);
        layout::put_body(&mut row, &record.changes, &record.events);
        let prefix = layout::prefix(aggregate);
        let body_digest = Sha256::digest(&row[BODY_AT..]).into();
        layout::pack(&mut row, BODY_AT);
        let before = Head { sequence: sequence.saturating_sub(1), digest: record.previous, ..Head::default() };
        let sealed = layout::seal_record(&prefix, &mut row, &body_digest, before);
        if sealed.digest != record.digest || sealed.sequence != sequence {
            return Err(RestoreError::Record { aggregate, sequence });
        }
        let key = layout::row_key(&prefix, layout::RECORD, &sequence.to_be_bytes());
        put_long(&key, &mut row, &mut |key, value| self.put(key, value));
        self.write_if_full()
    }

    /// Where the chain begins and ends. Of the snapshot nothing else is looked at.
    pub fn head(&mut self, aggregate: Aggregate, snapshot: &Snapshot) -> Result<(), RestoreError> {
        let Snapshot { sequence, digest, trimmed, trimmed_digest, .. } = *snapshot;
        let head = Head { sequence, digest, trimmed, trimmed_digest, steps: u64::from(trimmed > 0) };
        self.put(&layout::row_key(&layout::prefix(aggregate), layout::HEAD, &[]), Some(&head.encode()));
        self.write_if_full()
    }

    /// Notes that a part is not there though a record may name it.
    pub fn taken(&mut self, aggregate: Aggregate, sequence: u64, key: &PartKey) -> Result<(), RestoreError> {
        check(aggregate, "a part's name", layout::letter_and_name(key).1.len(), PART_NAME_BYTES_MAX)?;
        self.put(&layout::taken_key(&layout::prefix(aggregate), sequence, key), Some(&[]));
        self.write_if_full()
    }

    pub fn row(&mut self, account: u64, key: &IndexKey, value: &[u8]) -> Result<(), RestoreError> {
        let aggregate = Aggregate::of_account(account);
        check(aggregate, "an index row's name", key.name.len(), INDEX_NAME_BYTES_MAX)?;
        check(aggregate, "an index row's value", value.len(), INDEX_VALUE_BYTES_MAX)?;
        self.put(&layout::index_key(account, key), Some(value));
        self.write_if_full()
    }

    /// Makes everything durable.
    pub fn finish(mut self) -> Result<(), RestoreError> {
        self.put(layout::META_KEY, Some(&encode_meta(0)));
        self.write()?;
        self.db.flush().map_err(|error| unwritable(&error))?;
        drop(self.db);
        Ok(sync_new(&self.dir)?)
    }

    fn put(&mut self, key: &[u8], value: Option<&[u8]>) {
        match value {
            Some(value) => self.batch.insert(key, value),
            None => self.batch.remove(key),
        }
        self.rows += 1;
        self.bytes += key.len() + value.map_or(0, <[u8]>::len);
    }

    fn write_if_full(&mut self) -> Result<(), RestoreError> {
        match self.rows >= BATCH_ROWS_MAX || self.bytes >= READ_BYTES_MAX {
            true => self.write(),
            false => Ok(()),
        }
    }

    fn write(&mut self) -> Result<(), RestoreError> {
        (self.rows, self.bytes) = (0, 0);
        self.db.apply_batch(std::mem::take(&mut self.batch)).map_err(|error| unwritable(&error).into())
    }
}

/// The digest that [`Record::digest`] and its like show as text.
impl std::str::FromStr for Digest {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        hex::decode_array(text).map(Self).ok_or(())
    }
}

fn check(aggregate: Aggregate, what: &'static str, size: usize, size_max: usize) -> Result<(), RestoreError> {
    match size > size_max {
        true => Err(RestoreError::TooLarge { aggregate, what, size, size_max }),
        false => Ok(()),
    }
}

fn unwritable(error: &sled::Error) -> StoreError {
    StoreError::Stopped { reason: format!("sled cannot write: {error}") }
}
