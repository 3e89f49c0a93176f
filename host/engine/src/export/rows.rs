//! The index rows that belong to what was exported.
//!
//! Knows the kinds of rows (`driver::index`), and which rows tell of steps after the exported one.

use std::collections::HashMap;

use bytes::Bytes;

use super::ExportError;
use super::lines::{Line, RowLine};
use super::write::Writer;
use crate::driver::index::{self, Kind, STARTED};
use crate::driver::record;
use pipewright_store::{Aggregate, List, Loaded, READ_ROWS_MAX, Snapshot, Store};

/// The exported pipelines of one account, and whether each exists or was deleted.
pub(super) type Pipelines = HashMap<[u8; 16], bool>;

/// The rows of one pipeline: of its state, and of what happened until the exported step. Says whether it exists.
pub(super) async fn of_pipeline(
    store: &dyn Store,
    pipeline: Aggregate,
    name: Option<&str>,
    snapshot: &Snapshot,
    to: &mut Writer,
) -> Result<bool, ExportError> {
    let state = record::state(&Loaded { sequence: snapshot.sequence, parts: snapshot.live.clone() });
    match &state {
        Ok(state) => {
            for (key, value) in index::of_state(pipeline, state)? {
                let value = value.unwrap_or_default();
                to.line(&Line::Row(RowLine::of(pipeline.account, key.kind, &key.name, &value))).await?;
            }
        }
        // Then they are as the store has them.
        Err(_) => {
            let uid = &pipeline.uid[..];
            let listed = name.map(|name| (Kind::Pipelines, name.as_bytes()));
            for (kind, exact) in listed.into_iter().chain([(Kind::Due, uid), (Kind::Polled, uid)]) {
                let mut rows = Rows::new(pipeline.account, kind as u8, exact);
                for (row, value) in rows.next(store).await?.unwrap_or_default() {
                    if row == exact {
                        to.line(&Line::Row(RowLine::of(pipeline.account, kind as u8, &row, &value))).await?;
                    }
                }
            }
        }
    }
    for kind in [Kind::Executions, Kind::Actions, Kind::ActionsOf, Kind::Tokens] {
        let mut rows = Rows::new(pipeline.account, kind as u8, &pipeline.uid);
        while let Some(page) = rows.next(store).await? {
            for (name, value) in page {
                if has_happened(store, pipeline, kind, &name, &value, snapshot.sequence).await? {
                    to.line(&Line::Row(RowLine::of(pipeline.account, kind as u8, &name, &value))).await?;
                }
            }
        }
    }
    Ok(state.map_or(name.is_some(), |state| state.head.is_some()))
}

/// Whether a row was written by the exported step or before.
async fn has_happened(
    store: &dyn Store,
    pipeline: Aggregate,
    kind: Kind,
    name: &Bytes,
    value: &Bytes,
    sequence: u64,
) -> Result<bool, ExportError> {
    let of_value = |value: &Bytes| value.last_chunk().is_none_or(|at| u64::from_be_bytes(*at) <= sequence);
    if kind != Kind::ActionsOf {
        // That of a token says nothing, and one too many does no harm.
        return Ok(of_value(value));
    }
    let Some(action) = name.get(32..) else { return Ok(false) };
    let start = Kind::Actions.key(&[&pipeline.uid, action, &[STARTED]]).name;
    let mut rows = Rows::new(pipeline.account, Kind::Actions as u8, &start);
    let found = rows.next(store).await?;
    Ok(found.and_then(|page| page.into_iter().next()).is_some_and(|(_, value)| of_value(&value)))
}

/// The rows of one account that are in no pipeline's order, and those of kinds that the driver does not know.
pub(super) async fn of_account(
    store: &dyn Store,
    account: u64,
    pipelines: &Pipelines,
    to: &mut Writer,
) -> Result<(), ExportError> {
    for kind in 0..=u8::MAX {
        let mut rows = Rows::new(account, kind, &[]);
        while is_exported_here(kind)
            && let Some(page) = rows.next(store).await?
        {
            for (name, value) in page {
                let exists = |from: usize| pipelines.get(name.get(from..from + 16)?).copied();
                let is_exported = match kind {
                    // One of an action that ended after the exported step only keeps its artifact.
                    kind if kind == Kind::Artifacts as u8 => exists(32).is_some(),
                    kind if kind == Kind::Deleted as u8 => exists(8) == Some(false),
                    _ => true,
                };
                if is_exported {
                    to.line(&Line::Row(RowLine::of(account, kind, &name, &value))).await?;
                }
            }
        }
    }
    Ok(())
}

fn is_exported_here(kind: u8) -> bool {
    let of_pipelines =
        [Kind::Pipelines, Kind::Executions, Kind::Actions, Kind::ActionsOf, Kind::Due, Kind::Polled, Kind::Tokens];
    !of_pipelines.iter().any(|of_pipeline| *of_pipeline as u8 == kind)
}

/// Rows in pages.
struct Rows(Option<List>);

impl Rows {
    fn new(account: u64, kind: u8, prefix: &[u8]) -> Self {
        let prefix = Bytes::copy_from_slice(prefix);
        Self(Some(List { account, kind, prefix, after: None, limit: READ_ROWS_MAX }))
    }

    async fn next(&mut self, store: &dyn Store) -> Result<Option<Vec<(Bytes, Bytes)>>, ExportError> {
        let Some(list) = &mut self.0 else { return Ok(None) };
        let page = store.list(list.clone()).await?;
        match page.last() {
            Some((name, _)) => list.after = Some(name.clone()),
            None => self.0 = None,
        }
        Ok((!page.is_empty()).then_some(page))
    }
}
