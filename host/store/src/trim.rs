//! Taking records, parts and index rows out: one bounded step at a time, each a group of rows that goes through the
//! committer like a commit, so that others commit in between.
//!
//! The order makes a crash harmless. The head moves first: from then on nobody looks for the records before it, and
//! [`Step::Sweep`] deletes what nobody can reach, from the lowest record that is there on; what a crash leaves is found by
//! the next sweep. A part goes in the same batch that notes that it was taken out, so that the record that names it still
//! verifies. An aggregate that is erased first moves its head past all records, and its head goes last.

use super::layout::{self, Head, PREFIX_BYTES};
use super::prepared::further_chunks_stored;
use super::rows::{self, Rows};
use super::{Aggregate, CommitError, IndexKey, PartKey, StoreError, Trim};

/// A step ends after about this many rows: others wait for it as for a commit of this size.
pub(super) const STEP_ROWS_MAX: usize = 128;

/// One step.
#[derive(Clone, Debug)]
pub(super) enum Step {
    /// Deletes these, while the aggregate is at `expected`.
    Take { expected: Option<u64>, parts: Vec<PartKey>, index: Vec<IndexKey> },
    /// Lets go of the records before a sequence.
    Forget { before: u64 },
    /// Deletes records that were let go of.
    Sweep,
    /// Lets go of everything, deletes it, and the head at last.
    Erase,
}

/// The steps of a trim, in their order.
pub(super) fn steps(trim: Trim) -> Vec<Step> {
    let Trim { aggregate: _, expected, before, parts, index } = trim;
    let take =
        |parts: &[PartKey], index: &[IndexKey]| Step::Take { expected, parts: parts.to_vec(), index: index.to_vec() };
    let parts = parts.chunks(STEP_ROWS_MAX / 2).map(|parts| take(parts, &[]));
    let index = index.chunks(STEP_ROWS_MAX).map(|index| take(&[], index));
    let history = if before > 0 { vec![Step::Forget { before }, Step::Sweep] } else { Vec::new() };
    parts.chain(index).chain(history).collect()
}

impl Step {
    /// Whether it is sent again for as long as it takes something out.
    pub(super) fn is_repeated(&self) -> bool {
        matches!(self, Step::Sweep | Step::Erase)
    }

    /// The head that the step starts from: erasing needs none that is right.
    pub(super) fn head(&self, stored: Result<Head, StoreError>) -> Result<Head, StoreError> {
        match (self, stored) {
            (Step::Erase, Err(StoreError::Damaged { .. })) => Ok(Head::default()),
            (_, stored) => stored,
        }
    }

    /// Gives every row to delete (`None`) or to put, and returns the head after it and how many rows went.
    pub(super) fn write<R: Rows>(
        self,
        rows: &R,
        aggregate: Aggregate,
        head: Head,
        mut put: impl FnMut(&[u8], Option<&[u8]>),
    ) -> Result<(Head, u64), CommitError> {
        let prefix = layout::prefix(aggregate);
        let (after, gone) = match self {
            Step::Take { expected: Some(expected), .. } if expected != head.sequence => {
                return Err(CommitError::Conflict { aggregate, expected, actual: head.sequence });
            }
            Step::Take { parts, index, .. } => (head, take(rows, aggregate, head, &parts, &index, &mut put)?),
            Step::Forget { before } => (forget(rows, aggregate, head, before)?, 0),
            Step::Sweep => (head, sweep(rows, &prefix, head, &mut put)?),
            Step::Erase => return erase(rows, &prefix, head, &mut put),
        };
        if after == head && gone == 0 {
            return Ok((head, 0));
        }
        let after = Head { steps: head.steps + 1, ..after };
        // An index row can outlive its aggregate.
        if after.sequence > 0 {
            put(&head_key(&prefix), Some(&after.encode()));
        }
        Ok((after, gone))
    }
}

fn head_key(prefix: &[u8; PREFIX_BYTES]) -> Vec<u8> {
    layout::row_key(prefix, layout::HEAD, &[])
}

fn take<R: Rows>(
    rows: &R,
    aggregate: Aggregate,
    head: Head,
    parts: &[PartKey],
    index: &[IndexKey],
    put: &mut impl FnMut(&[u8], Option<&[u8]>),
) -> Result<u64, StoreError> {
    let prefix = layout::prefix(aggregate);
    let mut gone = 0;
    for part in parts {
        let key = layout::part_key(&prefix, part);
        if rows.get(&key)?.is_some() {
            gone += delete_long(rows, &key, put)?;
            put(&layout::taken_key(&prefix, head.sequence, part), Some(&[]));
        }
    }
    for key in index.iter().map(|key| layout::index_key(aggregate.account, key)) {
        if rows.get(&key)?.is_some() {
            put(&key, None);
            gone += 1;
        }
    }
    Ok(gone)
}

fn forget<R: Rows>(rows: &R, aggregate: Aggregate, head: Head, before: u64) -> Result<Head, StoreError> {
    let trimmed = before.min(head.sequence).saturating_sub(1);
    if trimmed <= head.trimmed {
        return Ok(head);
    }
    let trimmed_digest = rows::read_record(rows, aggregate, trimmed)?.digest;
    Ok(Head { trimmed, trimmed_digest, ..head })
}

/// Deletes records up to the one that the head trimmed last, and the notes of what was taken out by then.
fn sweep<R: Rows>(
    rows: &R,
    prefix: &[u8; PREFIX_BYTES],
    head: Head,
    put: &mut impl FnMut(&[u8], Option<&[u8]>),
) -> Result<u64, StoreError> {
    let mut gone = 0;
    for letter in [layout::RECORD, layout::TAKEN] {
        let from = layout::row_key(prefix, letter, &[]);
        let end = layout::row_key(prefix, letter, &(head.trimmed + 1).to_be_bytes());
        let mut unreachable = Vec::new();
        rows.scan(&from, |key, _| {
            if key >= end.as_slice() || unreachable.len() >= STEP_ROWS_MAX {
                return Ok(false);
            }
            unreachable.push(key.to_vec());
            Ok(true)
        })?;
        for key in unreachable {
            if gone >= STEP_ROWS_MAX as u64 {
                break;
            }
            match letter {
                layout::RECORD => gone += delete_long(rows, &key, put)?,
                _ => {
                    put(&key, None);
                    gone += 1;
                }
            }
        }
    }
    Ok(gone)
}

fn erase<R: Rows>(
    rows: &R,
    prefix: &[u8; PREFIX_BYTES],
    head: Head,
    put: &mut impl FnMut(&[u8], Option<&[u8]>),
) -> Result<(Head, u64), CommitError> {
    let head_key = head_key(prefix);
    if head.trimmed < head.sequence {
        let after = Head { trimmed: head.sequence, trimmed_digest: head.digest, steps: head.steps + 1, ..head };
        put(&head_key, Some(&after.encode()));
        return Ok((after, 1));
    }
    // A part's first row comes before its chunks, which stand under another letter: none is ever found without them.
    let mut keys = Vec::new();
    rows.scan(prefix, |key, _| {
        if !key.starts_with(prefix) || keys.len() >= STEP_ROWS_MAX {
            return Ok(false);
        }
        if key != head_key {
            keys.push(key.to_vec());
        }
        Ok(true)
    })?;
    if keys.is_empty() {
        return Ok(match rows.get(&head_key)? {
            None => (head, 0),
            Some(_) => {
                put(&head_key, None);
                (Head::default(), 1)
            }
        });
    }
    keys.iter().for_each(|key| put(key, None));
    let after = Head { steps: head.steps + 1, ..head };
    if head.sequence > 0 {
        put(&head_key, Some(&after.encode()));
    }
    Ok((after, keys.len() as u64))
}

fn delete_long<R: Rows>(rows: &R, key: &[u8], put: &mut impl FnMut(&[u8], Option<&[u8]>)) -> Result<u64, StoreError> {
    let further = further_chunks_stored(rows, key)?;
    put(key, None);
    (0..further).for_each(|number| put(&layout::chunk_key(key, number), None));
    Ok(1 + u64::from(further))
}
