//! The index rows that belong to what was exported.
//!
//! Knows the kinds of rows (`driver::index`), and which rows tell of steps after the exported one.

use std::collections::HashMap;

use bytes::Bytes;

use super::ExportError;
use super::lines::{Line, RowLine};
use super::write::Writer;
use crate::driver::index;
use crate::driver::job_rows::{JobOfRow, JobRow};
use crate::driver::record;
use crate::driver::rows::{
    ArtifactRow, DeletedRow, DueRow, ExecutionRow, Kind, PipelineRow, PolledRow, Row as _, RowChange, RunOfRow, RunRow,
    TokenRow, Walk,
};
use pipewright_store::{Aggregate, IndexKey, List, Loaded, READ_ROWS_MAX, Snapshot, Store};

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
    let Aggregate { account, uid } = pipeline;
    match &state {
        Ok(state) => {
            for row in index::of_state(pipeline, state) {
                to.row(account, row).await?;
            }
        }
        // Then they are as the store has them.
        Err(_) => {
            let listed = name.map(PipelineRow::key_of);
            for key in listed.into_iter().chain([DueRow { uid, at: 0 }.key(), PolledRow { uid }.key()]) {
                let list = List { account, kind: key.kind, prefix: key.name.clone(), limit: 1, ..List::default() };
                for (name, value) in store.list(list).await?.into_iter().filter(|(name, _)| *name == key.name) {
                    to.row(account, (IndexKey { kind: key.kind, name }, Some(value))).await?;
                }
            }
        }
    }
    let mut rows = Walk::<ExecutionRow>::new(store, account, ExecutionRow::of(&uid), None);
    while let Some(page) = rows.next().await? {
        for row in page.iter().filter(|row| row.start <= snapshot.sequence) {
            to.row(account, row.put()).await?;
        }
    }
    of_runs::<false>(store, pipeline, snapshot, to).await?;
    of_runs::<true>(store, pipeline, snapshot, to).await?;
    // One too many names a job that is not there.
    for row in Walk::<JobOfRow>::new(store, account, Bytes::copy_from_slice(&uid), None).all().await? {
        let at = Bytes::copy_from_slice(row.job.as_bytes());
        for job in Walk::<JobRow>::new(store, account, at, None).all().await? {
            to.row(account, job.put()).await?;
        }
        to.row(account, row.put()).await?;
    }
    // Those of tokens say nothing of a step, and one too many does no harm.
    for row in Walk::<TokenRow>::new(store, account, TokenRow::of(&uid), None).all().await? {
        to.row(account, row.put()).await?;
    }
    Ok(state.map_or(name.is_some(), |state| state.head.is_some()))
}

/// Those of its action executions, or of its rule executions.
async fn of_runs<const IS_RULE: bool>(
    store: &dyn Store,
    Aggregate { account, uid }: Aggregate,
    snapshot: &Snapshot,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let mut rows = Walk::<RunRow<IS_RULE>>::new(store, account, RunRow::<IS_RULE>::of(&uid), None);
    while let Some(page) = rows.next().await? {
        for row in page.iter().filter(|row| row.sequence <= snapshot.sequence) {
            to.row(account, row.put()).await?;
        }
    }
    let mut rows = Walk::<RunOfRow<IS_RULE>>::new(store, account, Bytes::copy_from_slice(&uid), None);
    while let Some(page) = rows.next().await? {
        for row in page {
            let at = RunRow::<IS_RULE>::at(&uid, row.place);
            let started = Walk::<RunRow<IS_RULE>>::new(store, account, at, None).by(1).page().await?;
            if started.first().is_some_and(|started| started.sequence <= snapshot.sequence) {
                to.row(account, row.put()).await?;
            }
        }
    }
    Ok(())
}

/// The rows of one account that are in no pipeline's order, and those of kinds that the driver does not know.
pub(super) async fn of_account(
    store: &dyn Store,
    account: u64,
    pipelines: &Pipelines,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let exists = |uid: &[u8; 16]| pipelines.get(uid).copied();
    for kind in (0..=u8::MAX).filter(|kind| is_exported_here(*kind)) {
        let mut list = List { account, kind, limit: READ_ROWS_MAX, ..List::default() };
        loop {
            let page = store.list(list.clone()).await?;
            let Some((last, _)) = page.last() else { break };
            list.after = Some(last.clone());
            for (name, value) in page {
                let is_exported = match kind {
                    // One of an action that ended after the exported step only keeps its artifact.
                    kind if kind == Kind::Artifacts as u8 => {
                        ArtifactRow::parse(&name, &value).is_some_and(|row| exists(&row.uid).is_some())
                    }
                    kind if kind == Kind::Deleted as u8 => {
                        DeletedRow::parse(&name, &value).is_some_and(|row| exists(&row.uid) == Some(false))
                    }
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

/// Those of a pipeline go with it, and those of events are made again from the records.
fn is_exported_here(kind: u8) -> bool {
    let elsewhere = [
        Kind::Pipelines,
        Kind::Executions,
        Kind::Actions,
        Kind::ActionsOf,
        Kind::Rules,
        Kind::RulesOf,
        Kind::Due,
        Kind::Polled,
        Kind::Tokens,
        Kind::Events,
        Kind::Jobs,
        Kind::JobsOf,
        Kind::Queued,
    ];
    !elsewhere.iter().any(|other| *other as u8 == kind)
}

impl Writer {
    async fn row(&mut self, account: u64, (key, value): RowChange) -> Result<(), ExportError> {
        let value = value.unwrap_or_default();
        self.line(&Line::Row(RowLine::of(account, key.kind, &key.name, &value))).await
    }
}
