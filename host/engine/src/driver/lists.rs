//! What lists show: the rows of the index, page by page, put together where one thing has several.
//!
//! Must not know the bytes of a row (`rows`), who asks, what is shown, or what a page token is.

use bytes::Bytes;
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::machine::{ActionExecutionId, ExecutionId, JobId};

use super::job_rows::{JobRow, QueuedRow};
use super::rows::{
    ActionEdge, ActionKey, DeletedRow, DueRow, ExecutionRow, PipelineRow, PolledRow, Row, RunOfRow, RunRow,
};
use super::{Driver, DriverError};
use pipewright_store::Aggregate;

/// Where a list goes on: the name of a row, without what all rows of the list have in common.
pub type Position = Vec<u8>;

/// Which records of a pipeline's history tell of an action execution, or of a rule execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ActionRecords {
    pub execution: ExecutionId,
    pub place: ActionKey,
    /// The sequences of the records of its start and its end.
    pub start: Option<u64>,
    pub end: Option<u64>,
}

impl ActionRecords {
    fn of<const IS_RULE: bool>(row: &RunRow<IS_RULE>) -> Self {
        let mut records = Self { execution: row.execution, place: row.place, start: None, end: None };
        records.add(row);
        records
    }

    fn add<const IS_RULE: bool>(&mut self, row: &RunRow<IS_RULE>) {
        match row.which {
            ActionEdge::Start => self.start = Some(row.sequence),
            ActionEdge::End => self.end = Some(row.sequence),
        }
    }

    pub fn position(&self) -> Position {
        self.place.to_bytes()
    }
}

impl Driver {
    /// The pipelines of an account, in the order of their names, after the one of a name.
    pub async fn list_pipelines(
        &self,
        account: u64,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<PipelineRow>, DriverError> {
        self.rows(account, Bytes::new(), after.map(Bytes::from), limit).await
    }

    /// The executions of a pipeline, the newest first, each with the position after it.
    pub async fn list_executions(
        &self,
        pipeline: Aggregate,
        after: Option<Position>,
        limit: usize,
    ) -> Result<Vec<(Position, ExecutionId)>, DriverError> {
        let of = ExecutionRow::of(&pipeline.uid);
        let rows = self.rows::<ExecutionRow>(pipeline.account, of.clone(), behind(&of, after), limit).await?;
        Ok(rows.into_iter().map(|row| (row.name()[of.len()..].to_vec(), row.execution)).collect())
    }

    /// The action executions of a pipeline, or its rule executions, the newest first.
    pub async fn list_runs<const IS_RULE: bool>(
        &self,
        pipeline: Aggregate,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<ActionRecords>, DriverError> {
        let of = RunRow::<IS_RULE>::of(&pipeline.uid);
        // Behind both rows of the last one.
        let after = after.map(|after| [after, &[u8::MAX]].concat());
        // Each has at most two rows.
        let rows = self.rows::<RunRow<IS_RULE>>(pipeline.account, of.clone(), behind(&of, after), 2 * limit).await?;
        let mut found: Vec<ActionRecords> = Vec::new();
        for row in rows {
            match found.last_mut() {
                Some(last) if last.place == row.place => last.add(&row),
                _ => found.push(ActionRecords::of(&row)),
            }
        }
        found.truncate(limit);
        Ok(found)
    }

    /// The same of one execution.
    pub async fn list_runs_of<const IS_RULE: bool>(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<ActionRecords>, DriverError> {
        let of = RunOfRow::<IS_RULE>::of(&pipeline.uid, execution);
        let after = behind(&of, after.map(<[u8]>::to_vec));
        let mut actions = Vec::new();
        for row in self.rows::<RunOfRow<IS_RULE>>(pipeline.account, of, after, limit).await? {
            let at = RunRow::<IS_RULE>::at(&pipeline.uid, row.place);
            let rows = self.rows::<RunRow<IS_RULE>>(pipeline.account, at, None, 2).await?;
            let Some(mut records) = rows.first().map(ActionRecords::of) else { continue };
            rows.iter().skip(1).for_each(|row| records.add(row));
            actions.push(records);
        }
        Ok(actions)
    }

    /// Whether an execution has an action execution, or a rule execution.
    pub async fn has_run(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        run: ActionExecutionId,
    ) -> Result<bool, DriverError> {
        Ok(self.has::<false>(pipeline, execution, run).await? || self.has::<true>(pipeline, execution, run).await?)
    }

    async fn has<const IS_RULE: bool>(
        &self,
        pipeline: Aggregate,
        execution: ExecutionId,
        run: ActionExecutionId,
    ) -> Result<bool, DriverError> {
        let of = RunOfRow::<IS_RULE>::of(&pipeline.uid, execution);
        let mut rows = self.walk::<RunOfRow<IS_RULE>>(pipeline.account, of, None);
        while let Some(page) = rows.next().await? {
            if page.iter().any(|row| row.place.action == run) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// The jobs of an action type that wait to be offered, those first that came first, after one of them.
    pub async fn queued_jobs(
        &self,
        account: u64,
        id: &ActionTypeId,
        after: Option<&QueuedRow>,
        limit: usize,
    ) -> Result<Vec<QueuedRow>, DriverError> {
        self.rows(account, QueuedRow::of(id), after.map(Row::name), limit).await
    }

    /// Where a job is, or was.
    pub async fn job(&self, account: u64, job: JobId) -> Result<Option<JobRow>, DriverError> {
        let name = Bytes::copy_from_slice(job.as_bytes());
        Ok(self.rows::<JobRow>(account, name, None, 1).await?.pop())
    }

    /// The pipelines in which something is in progress that ends by itself or by its time.
    pub async fn due(&self, account: u64) -> Result<Vec<Aggregate>, DriverError> {
        let rows = self.walk::<DueRow>(account, Bytes::new(), None).all().await?;
        Ok(rows.into_iter().map(|row| Aggregate { account, uid: row.uid }).collect())
    }

    /// The pipelines that have a source to look at.
    pub async fn polled(&self, account: u64) -> Result<Vec<Aggregate>, DriverError> {
        let rows = self.walk::<PolledRow>(account, Bytes::new(), None).all().await?;
        Ok(rows.into_iter().map(|row| Aggregate { account, uid: row.uid }).collect())
    }

    /// The pipelines that were deleted since that time, each with the name that it had.
    pub async fn deleted_since(&self, account: u64, since: u64) -> Result<Vec<(String, Aggregate)>, DriverError> {
        let after = Some(DeletedRow::since(since));
        let rows = self.walk::<DeletedRow>(account, Bytes::new(), after).all().await?;
        Ok(rows.into_iter().map(|row| (row.pipeline, Aggregate { account, uid: row.uid })).collect())
    }
}

/// Behind the row whose name goes on with `after` behind what all have in common.
fn behind(of: &Bytes, after: Option<Position>) -> Option<Bytes> {
    after.map(|after| [&of[..], &after].concat().into())
}
