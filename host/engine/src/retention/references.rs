//! Which artifacts executions refer to.
//!
//! Reads the rows that were written with each artifact, and besides them the executions themselves. Live ones first: one
//! that ends meanwhile is found archived.

use std::collections::HashSet;

use pipewright_pipeline::machine::Execution;

use super::RetentionError;
use crate::driver::index::{Kind, artifact_digest};
use crate::driver::record;
use pipewright_store::{Aggregate, List, READ_ROWS_MAX, Store};

type Digests = HashSet<[u8; 32]>;

pub(super) async fn artifacts(store: &dyn Store) -> Result<Digests, RetentionError> {
    let mut digests = Digests::new();
    let mut after = None;
    let mut account = None;
    loop {
        let aggregates = store.aggregates(after, READ_ROWS_MAX).await?;
        for aggregate in &aggregates {
            if account != Some(aggregate.account) {
                account = Some(aggregate.account);
                of_rows(store, aggregate.account, &mut digests).await?;
            }
            if *aggregate != Aggregate::of_account(aggregate.account) {
                // The rows tell all that one refers to which cannot be read.
                super::go_on(*aggregate, of_pipeline(store, *aggregate, &mut digests).await)?;
            }
        }
        match aggregates.last() {
            Some(last) => after = Some(*last),
            None => return Ok(digests),
        }
    }
}

async fn of_rows(store: &dyn Store, account: u64, digests: &mut Digests) -> Result<(), RetentionError> {
    let mut after = None;
    loop {
        let list =
            List { account, kind: Kind::Artifacts as u8, after: after.take(), limit: READ_ROWS_MAX, ..List::default() };
        let rows = store.list(list).await?;
        digests.extend(rows.iter().filter_map(|(name, _)| name.first_chunk::<32>().copied()));
        match rows.into_iter().next_back() {
            Some((name, _)) => after = Some(name),
            None => return Ok(()),
        }
    }
}

async fn of_pipeline(store: &dyn Store, pipeline: Aggregate, digests: &mut Digests) -> Result<(), RetentionError> {
    let state = record::state(&store.load(pipeline).await?)?;
    state.executions.values().for_each(|execution| of_execution(execution, digests));
    let mut after = None;
    loop {
        let parts = store.archived(pipeline, after.take(), READ_ROWS_MAX).await?;
        for (_, bytes) in parts.iter().filter(|(name, _)| record::is_archived_execution(name)) {
            of_execution(&record::execution(bytes)?, digests);
        }
        match parts.into_iter().next_back() {
            Some((name, _)) => after = Some(name),
            None => return Ok(()),
        }
    }
}

fn of_execution(execution: &Execution, digests: &mut Digests) {
    let artifacts = execution.runs.values().flat_map(|run| run.artifacts.values());
    digests.extend(artifacts.filter_map(|digest| artifact_digest(digest)));
}
