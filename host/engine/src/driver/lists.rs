//! What lists and feeds read: index rows and records, in the core's own words.
//!
//! Owns the decoding, so that nobody beyond the engine reads the store's bytes. Must not know who asks, what is shown of it, or
//! what a page token is.

use bytes::Bytes;
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, Timestamp};

use super::index::{self, Kind, PipelineRow};
use super::{Driver, DriverError, Entry, Record};
use pipewright_store::{Aggregate, List, READ_ROWS_MAX, Watcher};

/// Where a list goes on: the name of a row, without what all rows of the list have in common.
pub type Position = Vec<u8>;

/// An action execution as the index has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActionRow {
    pub execution: ExecutionId,
    pub action: ActionExecutionId,
    pub started: Timestamp,
    /// The sequences of the records of its start and its end.
    pub start: Option<u64>,
    pub end: Option<u64>,
}

impl ActionRow {
    pub fn position(&self) -> Position {
        [&index::newest_first(self.started.0)[..], &index::action_id(self.action)].concat()
    }
}

fn malformed() -> DriverError {
    DriverError::Damaged("an index row is malformed".to_owned())
}

/// A number or an id at the start of a row's name or value, and the rest.
fn split<const N: usize>(bytes: &[u8]) -> Result<([u8; N], &[u8]), DriverError> {
    bytes.split_first_chunk().map(|(first, rest)| (*first, rest)).ok_or_else(malformed)
}

impl Driver {
    /// The pipelines of an account, in the order of their names.
    pub async fn list_pipelines(
        &self,
        account: u64,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(String, PipelineRow)>, DriverError> {
        let list = List { account, kind: Kind::Pipelines as u8, after: after.map(Bytes::from), ..List::default() };
        let row = |(name, row): (Bytes, Bytes)| {
            let row = super::record::read("a pipeline's row", &row)?;
            Ok((String::from_utf8_lossy(&name).into_owned(), row))
        };
        self.rows(list, limit).await?.into_iter().map(row).collect()
    }

    /// The executions of a pipeline, the newest first, each with the position after it.
    pub async fn list_executions(
        &self,
        pipeline: Aggregate,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, ExecutionId)>, DriverError> {
        let rows = self.rows(list(pipeline, Kind::Executions, &[], after.as_deref()), limit).await?;
        let row = |(name, value): (Bytes, Bytes)| {
            let position = name.get(pipeline.uid.len()..).ok_or_else(malformed)?.to_vec();
            Ok((position, ExecutionId::from_bytes(split(&value)?.0)))
        };
        rows.into_iter().map(row).collect()
    }

    /// The action executions of a pipeline, the newest first.
    pub async fn list_actions(
        &self,
        pipeline: Aggregate,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<ActionRow>, DriverError> {
        // Behind both rows of the last one.
        let after = after.map(|after| [after, &[u8::MAX]].concat());
        // Each has at most two rows.
        let rows = self.rows(list(pipeline, Kind::Actions, &[], after.as_deref()), 2 * limit).await?;
        let mut found: Vec<ActionRow> = Vec::new();
        for (name, value) in rows {
            let row = action_row(name.get(pipeline.uid.len()..).ok_or_else(malformed)?, &value)?;
            match found.last_mut() {
                Some(last) if last.action == row.action => last.end = row.end,
                _ => found.push(row),
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The action executions of one execution, the newest first.
    pub async fn list_actions_of(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<ActionRow>, DriverError> {
        let of = index::id(execution);
        let found = self.rows(list(pipeline, Kind::ActionsOf, &of, after), limit).await?;
        let mut actions = Vec::with_capacity(found.len());
        for (name, _) in found {
            let position = name.get(pipeline.uid.len() + of.len()..).ok_or_else(malformed)?;
            let mut rows = self.rows(list(pipeline, Kind::Actions, position, None), 2).await?.into_iter();
            let Some((name, value)) = rows.next() else { continue };
            let mut row = action_row(name.get(pipeline.uid.len()..).ok_or_else(malformed)?, &value)?;
            if let Some((name, value)) = rows.next() {
                row.end = action_row(name.get(pipeline.uid.len()..).ok_or_else(malformed)?, &value)?.end;
            }
            actions.push(row);
        }
        Ok(actions)
    }

    /// Whether an execution has an action execution.
    pub async fn has_action(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        action: ActionExecutionId,
    ) -> Result<bool, DriverError> {
        let (mut list, action) =
            (list(pipeline, Kind::ActionsOf, &index::id(execution), None), index::action_id(action));
        loop {
            let rows = self.rows(list.clone(), READ_ROWS_MAX).await?;
            if rows.iter().any(|(name, _)| name.ends_with(&action)) {
                return Ok(true);
            }
            let Some((last, _)) = rows.last() else { return Ok(false) };
            list.after = Some(last.clone());
        }
    }

    /// The pipelines that have a source to look at.
    pub async fn polled(&self, account: u64) -> Result<Vec<Aggregate>, DriverError> {
        let list = List { account, kind: Kind::Polled as u8, ..List::default() };
        let rows = self.rows(list, usize::MAX).await?;
        let pipeline = |(uid, _): &(Bytes, Bytes)| Some(Aggregate { account, uid: uid[..].try_into().ok()? });
        Ok(rows.iter().filter_map(pipeline).collect())
    }

    /// The pipelines that were deleted after that time, each with the name that it had.
    pub async fn deleted_since(&self, account: u64, since: u64) -> Result<Vec<(String, Aggregate)>, DriverError> {
        let after = Some(Bytes::copy_from_slice(&since.to_be_bytes()));
        let list = List { account, kind: Kind::Deleted as u8, after, ..List::default() };
        let pipeline = |(row, name): &(Bytes, Bytes)| {
            Some((String::from_utf8_lossy(name).into_owned(), Aggregate { account, uid: *row.last_chunk()? }))
        };
        Ok(self.rows(list, usize::MAX).await?.iter().filter_map(pipeline).collect())
    }

    /// Tells of what becomes durable: of one pipeline, of an account, or of all.
    pub fn watch(&self, pipeline: Option<Aggregate>) -> Watcher {
        self.0.store.watch(pipeline)
    }

    /// Records from a sequence on, each to be read as an [`Entry`]; none are left exactly when there are none.
    pub async fn history(&self, pipeline: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, DriverError> {
        Ok(self.0.store.history(pipeline, from, limit).await?)
    }

    /// What one record says; none where it was collected.
    pub async fn entry(&self, pipeline: Aggregate, sequence: u64) -> Result<Option<Entry>, DriverError> {
        let found = self.history(pipeline, sequence, 1).await?.pop();
        found.filter(|record| record.sequence == sequence).map(|record| Entry::read(&record)).transpose()
    }

    /// The first record whose events happened at a time or later. Times do not go back within a pipeline, but for a clock
    /// that was set.
    pub async fn first_since(&self, pipeline: Aggregate, since: u64) -> Result<u64, DriverError> {
        let (mut low, mut high) = (1, self.0.store.load(pipeline).await?.sequence + 1);
        while low < high {
            let middle = low + (high - low) / 2;
            // Records that were collected are older than all that are left.
            let record = self.history(pipeline, middle, 1).await?.pop().filter(|record| record.sequence == middle);
            let at = record.map(|record| Entry::time(&record)).transpose()?.flatten();
            let before = at.is_none_or(|at| at.0 < since);
            match before {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        Ok(low)
    }

    /// As many rows as there are, at most `limit`: the store gives no more than [`READ_ROWS_MAX`] at once.
    async fn rows(&self, mut list: List, limit: usize) -> Result<Vec<(Bytes, Bytes)>, DriverError> {
        let mut found = Vec::new();
        while found.len() < limit {
            list.limit = READ_ROWS_MAX.min(limit - found.len());
            let rows = self.0.store.list(list.clone()).await?;
            let is_last = rows.len() < list.limit;
            list.after = rows.last().map(|(name, _)| name.clone());
            found.extend(rows);
            if is_last {
                break;
            }
        }
        Ok(found)
    }
}

/// Rows of a pipeline whose names go on with `prefix`, after the one whose name goes on with `after` behind that.
fn list(pipeline: Aggregate, kind: Kind, prefix: &[u8], after: Option<&[u8]>) -> List {
    let prefix = [&pipeline.uid[..], prefix].concat();
    let after = after.map(|after| [&prefix[..], after].concat().into());
    List { account: pipeline.account, kind: kind as u8, prefix: prefix.into(), after, limit: 0 }
}

/// One of the rows of an action execution: of its start or of its end.
fn action_row(name: &[u8], value: &[u8]) -> Result<ActionRow, DriverError> {
    let (started, rest) = split(name)?;
    let (action, which) = split(rest)?;
    let (execution, rest) = split(value)?;
    let sequence = Some(u64::from_be_bytes(split(rest)?.0));
    let is_end = which == [index::ENDED];
    Ok(ActionRow {
        execution: ExecutionId::from_bytes(execution),
        action: ActionExecutionId::from_bytes(action),
        started: Timestamp(!u64::from_be_bytes(started)),
        start: sequence.filter(|_| !is_end),
        end: sequence.filter(|_| is_end),
    })
}
