//! One pipeline's executions, tokens and history, as far as they are no longer kept.
//!
//! Executions are looked at from the boundary on at which they become too old or too many: what is kept is not walked.

use std::collections::HashSet;

use pipewright_pipeline::machine::{ActionHappening, Event, Execution, ExecutionId, State};

use super::{Collected, Cutoffs, Keeper, RetentionError, logs};
use crate::driver::index::{ENDED, Kind, STARTED, artifact_digest, id, newest_first};
use crate::driver::{Entry, GRANTS_PIN, TOKEN_MILLISECONDS_MAX, erase, record};
use bytes::Bytes;
use pipewright_base::Scope;
use pipewright_store::{Aggregate, CommitError, IndexKey, List, PartKey, READ_ROWS_MAX, Trim};

/// A row of the list of executions.
struct Row {
    name: Bytes,
    number: u64,
    execution: ExecutionId,
    /// The sequence of its start.
    start: u64,
}

impl Row {
    /// `None` for a row that no version of this program wrote.
    fn read(name: &Bytes, value: &Bytes) -> Option<Self> {
        let number = u64::from_be_bytes(*name.last_chunk()?);
        let (execution, start) = value.split_first_chunk::<16>()?;
        Some(Self {
            name: name.clone(),
            number: !number,
            execution: ExecutionId::from_bytes(*execution),
            start: u64::from_be_bytes(start.try_into().ok()?),
        })
    }
}

/// Where the executions begin that may be too old or too many.
struct Boundary {
    /// The highest of their numbers.
    number: u64,
    /// By how many there are alone, those up to this number.
    by_count: u64,
    /// The sequence of the start of the next one.
    next_start: Option<u64>,
}

impl Keeper {
    pub(super) async fn collect_pipeline(
        &self,
        pipeline: Aggregate,
        cutoffs: &Cutoffs,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        let loaded = self.store.load(pipeline).await?;
        let state = record::state(&loaded)?;
        self.collect_tokens(pipeline, loaded.sequence, cutoffs).await?;
        let Some(head) = &state.head else { return Ok(()) };
        let boundary = self.boundary(pipeline, &state, head.executions, cutoffs).await?;
        let latest = head.stages.iter().filter_map(|stage| stage.latest).map(|latest| latest.execution);
        let needed: HashSet<ExecutionId> = latest.chain(state.executions.keys().copied()).collect();
        let before = collected.executions;
        let mut oldest = boundary.next_start;
        let mut after = Kind::Executions.key(&[&pipeline.uid, &newest_first(boundary.number + 1)]).name;
        loop {
            let rows = self.executions(pipeline, Some(after.clone()), READ_ROWS_MAX).await?;
            for row in &rows {
                if needed.contains(&row.execution) || !self.may_go(pipeline, row, &boundary, cutoffs).await? {
                    oldest = Some(oldest.map_or(row.start, |start| start.min(row.start)));
                } else {
                    self.drop_execution(pipeline, row, collected).await?;
                }
            }
            match rows.into_iter().next_back() {
                Some(row) => after = row.name,
                None => break,
            }
        }
        if collected.executions > before {
            self.collect_grants(pipeline, &state, loaded.sequence).await?;
        }
        self.trim_pipeline(pipeline, loaded.sequence, oldest, &boundary, cutoffs).await
    }

    /// Grants that no execution holds on to any more. A start may pin them again at any time, so they go only if nothing
    /// happened since.
    async fn collect_grants(&self, pipeline: Aggregate, state: &State, sequence: u64) -> Result<(), RetentionError> {
        let mut kept = HashSet::new();
        let mut after = Some(Bytes::from_static(record::GRANTS.as_bytes()));
        while let Some(from) = after.take() {
            for (name, _) in self.store.archived(pipeline, Some(from), READ_ROWS_MAX).await? {
                match record::grants_digest(&name) {
                    Some(digest) => drop(kept.insert(digest.to_owned())),
                    None => break,
                }
                after = Some(name);
            }
        }
        let mut needed = |execution: &Execution| {
            if let Some(digest) = execution.start.pins.get(GRANTS_PIN) {
                kept.remove(digest);
            }
        };
        state.executions.values().for_each(|execution| needed(execution));
        let mut after = None;
        loop {
            let rows = self.executions(pipeline, after.take(), READ_ROWS_MAX).await?;
            for row in &rows {
                self.ended(pipeline, row.execution).await?.iter().for_each(&mut needed);
            }
            match rows.into_iter().next_back() {
                Some(row) => after = Some(row.name),
                None => break,
            }
        }
        let parts: Vec<_> = kept.iter().map(|digest| record::grants(digest)).collect();
        if parts.is_empty() {
            return Ok(());
        }
        let trim = Trim { aggregate: pipeline, expected: Some(sequence), before: 0, parts, index: Vec::new() };
        match self.store.trim(trim).await {
            // The next round that drops an execution finds them again.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Pipelines that were deleted long ago go as a whole.
    pub(super) async fn collect_deleted(
        &self,
        account: u64,
        cutoffs: &Cutoffs,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        loop {
            let list = List { account, kind: Kind::Deleted as u8, limit: 1, ..List::default() };
            let rows = self.store.list(list).await?;
            let Some((name, _)) = rows.into_iter().next() else { return Ok(()) };
            let Some((at, uid)) = name.split_first_chunk() else { return Ok(()) };
            if u64::from_be_bytes(*at) >= cutoffs.executions {
                return Ok(());
            }
            if let Ok(uid) = uid.try_into() {
                let pipeline = Aggregate { account, uid };
                match self.erase_pipeline(pipeline, collected).await {
                    // What it refers to is found without its history.
                    Err(error) if error.scope() == Scope::Pipeline => erase(&*self.store, pipeline).await?,
                    erased => erased?,
                }
            }
            let row = IndexKey { kind: Kind::Deleted as u8, name };
            self.take(Aggregate::of_account(account), Vec::new(), vec![row]).await?;
        }
    }

    async fn erase_pipeline(&self, pipeline: Aggregate, collected: &mut Collected) -> Result<(), RetentionError> {
        loop {
            let rows = self.executions(pipeline, None, READ_ROWS_MAX).await?;
            for row in &rows {
                self.drop_execution(pipeline, row, collected).await?;
            }
            if rows.is_empty() {
                break;
            }
        }
        for kind in [Kind::Due, Kind::Polled, Kind::Tokens] {
            let rows = self.rows(pipeline.account, kind, &[&pipeline.uid]).await?;
            let rows = rows.into_iter().map(|(name, _)| IndexKey { kind: kind as u8, name }).collect();
            self.take(pipeline, Vec::new(), rows).await?;
        }
        self.store.erase(pipeline).await?;
        collected.pipelines += 1;
        Ok(())
    }

    /// Finds by halving where executions become too old: they start in the order of their numbers.
    async fn boundary(
        &self,
        pipeline: Aggregate,
        state: &State,
        newest: u64,
        cutoffs: &Cutoffs,
    ) -> Result<Boundary, RetentionError> {
        let by_count = newest.saturating_sub(u64::from(self.retention.executions_count_max));
        let (mut old, mut newest) = (by_count, newest);
        let mut next_start = None;
        while old < newest {
            let middle = old + (newest - old).div_ceil(2);
            let after = Kind::Executions.key(&[&pipeline.uid, &newest_first(middle + 1)]).name;
            match self.executions(pipeline, Some(after), 1).await?.pop() {
                Some(row) if row.number > old && !self.started_before(pipeline, state, &row, cutoffs).await? => {
                    newest = row.number - 1;
                    next_start = Some(row.start);
                }
                _ => old = middle,
            }
        }
        Ok(Boundary { number: old, by_count, next_start })
    }

    async fn started_before(
        &self,
        pipeline: Aggregate,
        state: &State,
        row: &Row,
        cutoffs: &Cutoffs,
    ) -> Result<bool, RetentionError> {
        let started = match state.executions.get(&row.execution) {
            Some(live) => Some(live.start.at),
            None => self.ended(pipeline, row.execution).await?.map(|ended| ended.start.at),
        };
        // One that is neither live nor archived was about to be dropped.
        Ok(started.is_none_or(|started| started.0 < cutoffs.executions))
    }

    async fn may_go(
        &self,
        pipeline: Aggregate,
        row: &Row,
        boundary: &Boundary,
        cutoffs: &Cutoffs,
    ) -> Result<bool, RetentionError> {
        if row.number <= boundary.by_count {
            return Ok(true);
        }
        let ended = self.ended(pipeline, row.execution).await?.and_then(|execution| execution.progress.ended);
        Ok(ended.is_none_or(|ended| ended.0 < cutoffs.executions))
    }

    async fn ended(&self, pipeline: Aggregate, id: ExecutionId) -> Result<Option<Execution>, RetentionError> {
        let bytes = self.store.get(pipeline, &record::archived(id)).await?;
        Ok(bytes.map(|bytes| record::execution(&bytes)).transpose()?)
    }

    async fn drop_execution(
        &self,
        pipeline: Aggregate,
        row: &Row,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        let (folder, name) = (self.logs.clone(), row.execution.to_string());
        let removed = tokio::task::spawn_blocking(move || logs::remove_of(&folder, &name)).await?;
        collected.add_logs(removed.map_err(RetentionError::Logs)?);
        let (mut artifacts, mut actions, mut listed) = (Vec::new(), Vec::new(), Vec::new());
        let execution = id(row.execution);
        for (name, _) in self.rows(pipeline.account, Kind::ActionsOf, &[&pipeline.uid, &execution]).await? {
            let action = &name[32..];
            for which in [STARTED, ENDED] {
                let of_action = self.rows(pipeline.account, Kind::Actions, &[&pipeline.uid, action, &[which]]).await?;
                for (name, value) in of_action {
                    if which == ENDED {
                        artifacts.extend(self.artifacts_made(pipeline, row.execution, &value).await?);
                    }
                    actions.push(IndexKey { kind: Kind::Actions as u8, name });
                }
            }
            listed.push(IndexKey { kind: Kind::ActionsOf as u8, name });
        }
        // In this order: what an interruption leaves is found by the rows that go later.
        let artifacts = artifacts.iter().map(|digest| Kind::Artifacts.key(&[digest, &pipeline.uid, &execution]));
        let last = IndexKey { kind: Kind::Executions as u8, name: row.name.clone() };
        let rows = artifacts.chain(actions).chain(listed).chain([last]).collect();
        self.take(pipeline, vec![record::archived(row.execution)], rows).await?;
        collected.executions += 1;
        Ok(())
    }

    /// What the action made whose end the row's record tells of.
    async fn artifacts_made(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        row: &Bytes,
    ) -> Result<Vec<[u8; 32]>, RetentionError> {
        let Some(sequence) = row.last_chunk().map(|sequence| u64::from_be_bytes(*sequence)) else {
            return Ok(Vec::new());
        };
        let mut made = Vec::new();
        for record in self.store.history(pipeline, sequence, 1).await? {
            for event in Entry::read(&record)?.events {
                if let Event::Action(action) = event
                    && action.execution == execution
                    && let ActionHappening::Succeeded { artifacts, .. } = action.what
                {
                    made.extend(artifacts.values().filter_map(|digest| artifact_digest(digest)));
                }
            }
        }
        Ok(made)
    }

    /// The tokens that are no longer good. One may be taken again at any time, so they go only if nothing happened since.
    async fn collect_tokens(
        &self,
        pipeline: Aggregate,
        sequence: u64,
        cutoffs: &Cutoffs,
    ) -> Result<(), RetentionError> {
        let good = cutoffs.now.saturating_sub(TOKEN_MILLISECONDS_MAX);
        let (mut parts, mut rows) = (Vec::new(), Vec::new());
        for (name, _) in self.rows(pipeline.account, Kind::Tokens, &[&pipeline.uid]).await? {
            let Some((at, digest)) = name.get(16..).and_then(|rest| rest.split_first_chunk()) else { continue };
            let at = u64::from_be_bytes(*at);
            if at >= good {
                break;
            }
            let part = record::token_of(digest);
            if let Some(bytes) = self.store.get(pipeline, &part).await?
                && record::token_at(&bytes)?.0 <= at
            {
                parts.push(part);
            }
            rows.push(IndexKey { kind: Kind::Tokens as u8, name });
        }
        if rows.is_empty() {
            return Ok(());
        }
        let trim = Trim { aggregate: pipeline, expected: Some(sequence), before: 0, parts, index: rows };
        match self.store.trim(trim).await {
            // The next round finds them again.
            Ok(_) | Err(CommitError::Conflict { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Trims the history up to the first execution that is kept. What is younger than executions are kept stays too, unless
    /// executions are dropped because there are too many.
    async fn trim_pipeline(
        &self,
        pipeline: Aggregate,
        sequence: u64,
        oldest: Option<u64>,
        boundary: &Boundary,
        cutoffs: &Cutoffs,
    ) -> Result<(), RetentionError> {
        let first = self.store.history(pipeline, 0, 1).await?.first().map_or(0, |record| record.sequence);
        let by_count = boundary.by_count > 0 && boundary.number == boundary.by_count;
        let before = match oldest {
            Some(oldest) if by_count || oldest <= first => oldest,
            _ => self.first_since(pipeline, first, sequence, cutoffs).await?.min(oldest.unwrap_or(u64::MAX)),
        };
        self.trim_history(pipeline, first, before).await
    }

    /// The first record that is not older than executions are kept, or the last one.
    async fn first_since(
        &self,
        pipeline: Aggregate,
        mut first: u64,
        mut last: u64,
        cutoffs: &Cutoffs,
    ) -> Result<u64, RetentionError> {
        // Enough to come past records without events, which tell no time.
        const LOOKED_AT: usize = 8;
        while first < last {
            let middle = first + (last - first) / 2;
            let records = self.store.history(pipeline, middle, LOOKED_AT).await?;
            let times = records.iter().map(Entry::time).collect::<Result<Vec<_>, _>>()?;
            let at = times.into_iter().flatten().next();
            match at.is_some_and(|at| at.0 < cutoffs.executions) {
                true => first = middle + 1,
                false => last = middle,
            }
        }
        Ok(first)
    }

    async fn executions(
        &self,
        pipeline: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<Row>, RetentionError> {
        let prefix = Bytes::copy_from_slice(&pipeline.uid);
        let list = List { account: pipeline.account, kind: Kind::Executions as u8, prefix, after, limit };
        let rows = self.store.list(list).await?;
        Ok(rows.iter().filter_map(|(name, value)| Row::read(name, value)).collect())
    }

    /// All rows of a prefix: those of one execution, or what one pipeline has of something.
    async fn rows(&self, account: u64, kind: Kind, prefix: &[&[u8]]) -> Result<Vec<(Bytes, Bytes)>, RetentionError> {
        let prefix = Bytes::from(prefix.concat());
        let mut all: Vec<(Bytes, Bytes)> = Vec::new();
        loop {
            let after = all.last().map(|(name, _)| name.clone());
            let list = List { account, kind: kind as u8, prefix: prefix.clone(), after, limit: READ_ROWS_MAX };
            let rows = self.store.list(list).await?;
            if rows.is_empty() {
                return Ok(all);
            }
            all.extend(rows);
        }
    }

    async fn take(
        &self,
        aggregate: Aggregate,
        parts: Vec<PartKey>,
        index: Vec<IndexKey>,
    ) -> Result<(), RetentionError> {
        let trim = Trim { aggregate, expected: None, before: 0, parts, index };
        self.store.trim(trim).await?;
        Ok(())
    }
}
