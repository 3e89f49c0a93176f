//! Which artifacts executions refer to, and which plugins and grants they pin.
//!
//! Reads the rows that were written with each artifact, and besides them the executions themselves. Live ones first: one
//! that ends meanwhile is found archived.

use std::collections::HashSet;

use pipewright_pipeline::machine::Execution;

use super::RetentionError;
use crate::driver::index::artifact_digest;
use crate::driver::record;
use crate::driver::rows::{ArtifactRow, Walk};
use bytes::Bytes;
use pipewright_store::{Aggregate, READ_ROWS_MAX, Store};

#[derive(Default)]
pub(super) struct References {
    pub artifacts: HashSet<[u8; 32]>,
    /// Digests, as executions write them.
    pub pins: HashSet<String>,
    /// There are pipelines that cannot be read: what they pin is not known.
    pub unread: bool,
    /// Every account that there is.
    pub accounts: Vec<u64>,
}

pub(super) async fn all(store: &dyn Store) -> Result<References, RetentionError> {
    let mut found = References::default();
    let mut after = None;
    let mut account = None;
    loop {
        let aggregates = store.aggregates(after, READ_ROWS_MAX).await?;
        for aggregate in &aggregates {
            if account != Some(aggregate.account) {
                account = Some(aggregate.account);
                found.accounts.push(aggregate.account);
                of_rows(store, aggregate.account, &mut found.artifacts).await?;
            }
            if *aggregate != Aggregate::of_account(aggregate.account) {
                let read = of_pipeline(store, *aggregate, &mut found).await;
                found.unread |= read.is_err();
                // The rows tell all artifacts that one refers to which cannot be read.
                super::go_on(*aggregate, read)?;
            }
        }
        match aggregates.last() {
            Some(last) => after = Some(*last),
            None => return Ok(found),
        }
    }
}

async fn of_rows(store: &dyn Store, account: u64, digests: &mut HashSet<[u8; 32]>) -> Result<(), RetentionError> {
    let mut rows = Walk::<ArtifactRow>::new(store, account, Bytes::new(), None);
    while let Some(page) = rows.next().await? {
        digests.extend(page.iter().map(|row| row.digest));
    }
    Ok(())
}

async fn of_pipeline(store: &dyn Store, pipeline: Aggregate, found: &mut References) -> Result<(), RetentionError> {
    let state = record::state(&store.load(pipeline).await?)?;
    state.executions.values().for_each(|execution| of_execution(execution, found));
    let mut after = None;
    loop {
        let parts = store.archived(pipeline, after.take(), READ_ROWS_MAX).await?;
        for (_, bytes) in parts.iter().filter(|(name, _)| record::is_archived_execution(name)) {
            of_execution(&record::execution(bytes)?, found);
        }
        match parts.into_iter().next_back() {
            Some((name, _)) => after = Some(name),
            None => return Ok(()),
        }
    }
}

fn of_execution(execution: &Execution, found: &mut References) {
    let new = execution.start.pins.values().filter(|pin| !found.pins.contains(*pin)).cloned().collect::<Vec<_>>();
    found.pins.extend(new);
    let artifacts = execution.runs.values().flat_map(|run| run.artifacts.values());
    found.artifacts.extend(artifacts.filter_map(|digest| artifact_digest(digest)));
}
