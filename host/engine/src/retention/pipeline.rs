//! One pipeline's executions, tokens and history, as far as they are no longer kept.
//!
//! Executions are looked at from the boundary on at which they become too old or too many: what is kept is not walked.

use std::collections::HashSet;

use pipewright_pipeline::machine::{ActionHappening, Event, Execution, ExecutionId, State};

use super::{Collected, Cutoffs, Keeper, RetentionError, logs};
use crate::driver::index::{artifact_digest, inherited};
use crate::driver::job_rows::{JobOfRow, JobRow};
use crate::driver::rows::{
    ActionEdge, ActionRow, ArtifactRow, DeletedRow, DueRow, ExecutionRow, PolledRow, Row as _, RunOfRow, RunRow,
    TokenRow, Walk,
};
use crate::driver::{Entry, TOKEN_MILLISECONDS_MAX, erase, record};
use bytes::Bytes;
use pipewright_base::Scope;
use pipewright_store::{Aggregate, CommitError, IndexKey, PartKey, READ_ROWS_MAX, Trim};

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
        // What a failure of a stage would be rolled back to.
        let succeeded = head.stages.iter().filter_map(|stage| stage.succeeded);
        let needed: HashSet<ExecutionId> = latest.chain(succeeded).chain(state.executions.keys().copied()).collect();
        let before = collected.executions;
        let mut oldest = boundary.next_start;
        let mut kept = Vec::new();
        let behind = ExecutionRow::behind(&pipeline.uid, boundary.number + 1);
        let mut rows = self.executions(pipeline, Some(behind));
        while let Some(page) = rows.next().await? {
            for row in &page {
                if needed.contains(&row.execution) || !self.may_go(pipeline, row, &boundary, cutoffs).await? {
                    oldest = Some(oldest.map_or(row.start, |start| start.min(row.start)));
                    kept.push(row.execution);
                } else {
                    self.drop_execution(pipeline, row, collected).await?;
                }
            }
        }
        if collected.executions > before {
            self.collect_grants(pipeline, &state, loaded.sequence).await?;
        }
        self.drop_versions(pipeline, &state, &boundary, kept).await?;
        self.trim_pipeline(pipeline, loaded.sequence, oldest, &boundary, cutoffs).await
    }

    /// Grants, and parts of the account's record, that no execution holds on to any more. A start may pin them again at any time, so they go only if nothing
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
            for digest in execution.start.pins.values() {
                kept.remove(digest);
            }
        };
        state.executions.values().for_each(|execution| needed(execution));
        let mut rows = self.executions(pipeline, None);
        while let Some(page) = rows.next().await? {
            for row in &page {
                self.ended(pipeline, row.execution).await?.iter().for_each(&mut needed);
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

    /// Drops the declarations that no kept execution runs, once executions have been dropped. Versions grow with the numbers of
    /// executions, so the oldest that is kept tells.
    async fn drop_versions(
        &self,
        pipeline: Aggregate,
        state: &State,
        boundary: &Boundary,
        mut kept: Vec<ExecutionId>,
    ) -> Result<(), RetentionError> {
        if boundary.number == 0 {
            return Ok(());
        }
        // The oldest of those that were not looked at.
        let behind = ExecutionRow::behind(&pipeline.uid, boundary.number + 2);
        let next = self.executions(pipeline, Some(behind)).by(1).page().await?;
        kept.extend(next.first().filter(|row| row.number > boundary.number).map(|row| row.execution));
        let mut oldest = state.head.as_ref().map_or(0, |head| head.version);
        for execution in kept {
            match state.executions.get(&execution) {
                Some(live) => oldest = oldest.min(live.start.version),
                None => {
                    let Some(ended) = self.ended(pipeline, execution).await? else { return Ok(()) };
                    oldest = oldest.min(ended.start.version);
                }
            }
        }
        let mut unneeded = Vec::new();
        for part in (1..oldest).rev().map(record::versioned) {
            if self.store.get(pipeline, &part).await?.is_none() {
                break;
            }
            unneeded.push(part);
        }
        // The lowest first: what an interruption leaves is found again from above.
        unneeded.reverse();
        self.take(pipeline, unneeded, Vec::new()).await
    }

    /// Pipelines that were deleted long ago go as a whole.
    pub(super) async fn collect_deleted(
        &self,
        account: u64,
        cutoffs: &Cutoffs,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        loop {
            let rows = Walk::<DeletedRow>::new(&*self.store, account, Bytes::new(), None).by(1).page().await?;
            let Some(row) = rows.into_iter().next().filter(|row| row.at.0 < cutoffs.executions) else { return Ok(()) };
            let pipeline = Aggregate { account, uid: row.uid };
            match self.erase_pipeline(pipeline, collected).await {
                // What it refers to is found without its history.
                Err(error) if error.scope() == Scope::Pipeline => erase(&*self.store, pipeline).await?,
                erased => erased?,
            }
            self.take(Aggregate::of_account(account), Vec::new(), vec![row.key()]).await?;
        }
    }

    async fn erase_pipeline(&self, pipeline: Aggregate, collected: &mut Collected) -> Result<(), RetentionError> {
        loop {
            let rows = self.executions(pipeline, None).page().await?;
            for row in &rows {
                self.drop_execution(pipeline, row, collected).await?;
            }
            if rows.is_empty() {
                break;
            }
        }
        let uid = pipeline.uid;
        let tokens = Walk::<TokenRow>::new(&*self.store, pipeline.account, TokenRow::of(&uid), None).all().await?;
        let tokens = tokens.iter().map(TokenRow::key);
        let rows = tokens.chain([DueRow { uid, at: 0 }.key(), PolledRow { uid }.key()]).collect();
        self.take(pipeline, Vec::new(), rows).await?;
        self.forget_events(pipeline, u64::MAX).await?;
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
            let behind = ExecutionRow::behind(&pipeline.uid, middle + 1);
            match self.executions(pipeline, Some(behind)).by(1).page().await?.pop() {
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
        row: &ExecutionRow,
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
        row: &ExecutionRow,
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
        row: &ExecutionRow,
        collected: &mut Collected,
    ) -> Result<(), RetentionError> {
        let (folder, name) = (self.logs.clone(), row.execution.to_string());
        let removed = tokio::task::spawn_blocking(move || logs::remove_of(&folder, &name)).await?;
        collected.add_logs(removed.map_err(RetentionError::Logs)?);
        let uid = pipeline.uid;
        let (actions, listed) = self.runs_of::<false>(pipeline, row.execution).await?;
        let (rules, rules_listed) = self.runs_of::<true>(pipeline, row.execution).await?;
        let mut artifacts = Vec::new();
        for end in actions.iter().filter(|action| action.which == ActionEdge::End) {
            artifacts.extend(self.artifacts_made(pipeline, end).await?);
        }
        let (mut jobs, mut jobs_listed) = (Vec::new(), Vec::new());
        let of_execution = JobOfRow::of(&uid, row.execution);
        for of in Walk::<JobOfRow>::new(&*self.store, pipeline.account, of_execution, None).all().await? {
            let at = Bytes::copy_from_slice(of.job.as_bytes());
            jobs.extend(Walk::<JobRow>::new(&*self.store, pipeline.account, at, None).all().await?);
            jobs_listed.push(of);
        }
        let runs = actions.iter().map(|row| row.key()).chain(rules.iter().map(|row| row.key()));
        let runs = runs.chain(jobs.iter().map(JobRow::key));
        let listed = listed.iter().map(|row| row.key()).chain(rules_listed.iter().map(|row| row.key()));
        let listed = listed.chain(jobs_listed.iter().map(JobOfRow::key));
        let ended = self.ended(pipeline, row.execution).await?;
        artifacts.extend(inherited(uid, ended.as_ref()).map(|row| row.digest));
        // In this order: what an interruption leaves is found by the rows that go later.
        let execution = row.execution;
        let artifacts = artifacts.into_iter().map(|digest| ArtifactRow { digest, uid, execution }.key());
        let rows = artifacts.chain(runs).chain(listed).chain([row.key()]).collect();
        self.take(pipeline, vec![record::archived(row.execution)], rows).await?;
        collected.executions += 1;
        Ok(())
    }

    /// The rows of an execution's action executions, or of its rule executions: of their records, and of their list.
    async fn runs_of<const IS_RULE: bool>(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
    ) -> Result<(Vec<RunRow<IS_RULE>>, Vec<RunOfRow<IS_RULE>>), RetentionError> {
        let Aggregate { account, uid } = pipeline;
        let of_execution = RunOfRow::<IS_RULE>::of(&uid, execution);
        let listed = Walk::<RunOfRow<IS_RULE>>::new(&*self.store, account, of_execution, None).all().await?;
        let mut runs = Vec::new();
        for of in &listed {
            let at = RunRow::<IS_RULE>::at(&uid, of.place);
            runs.extend(Walk::<RunRow<IS_RULE>>::new(&*self.store, account, at, None).all().await?);
        }
        Ok((runs, listed))
    }

    /// What the action made whose end the row's record tells of.
    async fn artifacts_made(&self, pipeline: Aggregate, row: &ActionRow) -> Result<Vec<[u8; 32]>, RetentionError> {
        let mut made = Vec::new();
        for record in self.store.history(pipeline, row.sequence, 1).await? {
            for event in Entry::read(&record)?.events {
                if let Event::Action(action) = event
                    && action.execution == row.execution
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
        let all =
            Walk::<TokenRow>::new(&*self.store, pipeline.account, TokenRow::of(&pipeline.uid), None).all().await?;
        for row in all.into_iter().take_while(|row| row.at.0 < good) {
            let part = record::token_of(&row.digest);
            if let Some(bytes) = self.store.get(pipeline, &part).await?
                && record::token_at(&bytes)? <= row.at
            {
                parts.push(part);
            }
            rows.push(row.key());
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

    fn executions(&self, pipeline: Aggregate, after: Option<Bytes>) -> Walk<'_, ExecutionRow> {
        Walk::new(&*self.store, pipeline.account, ExecutionRow::of(&pipeline.uid), after)
    }

    /// Takes the rows of records before `before` out of the account's events. Before the records go: they say which rows.
    pub(super) async fn forget_events(&self, pipeline: Aggregate, before: u64) -> Result<(), RetentionError> {
        let mut from = 0;
        loop {
            let records = self.store.history(pipeline, from, READ_ROWS_MAX).await?;
            let entries = records.iter().filter(|record| record.sequence < before).map(Entry::read);
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let Some(last) = entries.last() else { return Ok(()) };
            from = last.sequence + 1;
            let row = |entry: &Entry| Some(entry.event_row(pipeline)?.key());
            self.take(pipeline, Vec::new(), entries.iter().filter_map(row).collect()).await?;
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
