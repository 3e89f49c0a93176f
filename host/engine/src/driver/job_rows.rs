//! The rows of the jobs of workers: where each is, which an execution had, and which wait to be offered.
//!
//! Owns their bytes, as `rows` does those of all others, whose table has them too. Must not know what a job is.

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::machine::{
    ActionExecutionId, ActionHappening, ExecutionId, JobHappening, JobId, JobStatus, State, Timestamp,
};

use super::index::artifact_digest;
use super::rows::{Fields, Kind, Row, RowChange, Uid, join};

/// Where a job is, or was, and the digest of what was reported of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    pub job: JobId,
    pub uid: Uid,
    pub execution: ExecutionId,
    pub action: ActionExecutionId,
    pub report: Option<[u8; 32]>,
}

impl Row for JobRow {
    const KIND: Kind = Kind::Jobs;

    fn name(&self) -> Bytes {
        Bytes::copy_from_slice(self.job.as_bytes())
    }

    fn value(&self) -> Bytes {
        join(&[
            &self.uid,
            self.execution.as_bytes(),
            self.action.as_bytes(),
            self.report.as_ref().map_or(&[], |it| &it[..]),
        ])
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let (mut name, mut value) = (Fields(name), Fields(value));
        let row = Self {
            job: JobId::from_bytes(name.take()?),
            uid: value.take()?,
            execution: ExecutionId::from_bytes(value.take()?),
            action: ActionExecutionId::from_bytes(value.take()?),
            report: value.take(),
        };
        name.end().and(value.end()).map(|()| row)
    }
}

/// A job that an execution had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobOfRow {
    pub uid: Uid,
    pub execution: ExecutionId,
    pub job: JobId,
}

impl JobOfRow {
    pub fn of(uid: &Uid, execution: ExecutionId) -> Bytes {
        join(&[uid, execution.as_bytes()])
    }
}

impl Row for JobOfRow {
    const KIND: Kind = Kind::JobsOf;

    fn name(&self) -> Bytes {
        join(&[&self.uid, self.execution.as_bytes(), self.job.as_bytes()])
    }

    fn parse(name: &[u8], _: &[u8]) -> Option<Self> {
        let mut name = Fields(name);
        let (uid, execution) = (name.take()?, ExecutionId::from_bytes(name.take()?));
        let row = Self { uid, execution, job: JobId::from_bytes(name.take()?) };
        name.end().map(|()| row)
    }
}

/// A job that waits to be offered, among those of its action type in the order in which they came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedRow {
    /// SHA-256 of the action type's text.
    pub of: [u8; 32],
    pub queued: Timestamp,
    pub job: JobId,
    pub uid: Uid,
    pub action: ActionExecutionId,
}

impl QueuedRow {
    pub fn of(id: &ActionTypeId) -> Bytes {
        Bytes::copy_from_slice(Digest::of(id.to_string().as_bytes()).as_bytes())
    }
}

impl Row for QueuedRow {
    const KIND: Kind = Kind::Queued;

    fn name(&self) -> Bytes {
        join(&[&self.of, &self.queued.0.to_be_bytes(), self.job.as_bytes()])
    }

    fn value(&self) -> Bytes {
        join(&[&self.uid, self.action.as_bytes()])
    }

    fn parse(name: &[u8], value: &[u8]) -> Option<Self> {
        let (mut name, mut value) = (Fields(name), Fields(value));
        let row = Self {
            of: name.take()?,
            queued: Timestamp(name.number()?),
            job: JobId::from_bytes(name.take()?),
            uid: value.take()?,
            action: ActionExecutionId::from_bytes(value.take()?),
        };
        name.end().and(value.end()).map(|()| row)
    }
}

/// What an event of an action or a rule tells of a job.
pub(super) fn told(
    uid: Uid,
    execution: ExecutionId,
    action: ActionExecutionId,
    what: &ActionHappening,
) -> Vec<RowChange> {
    let ActionHappening::Job { job, what } = what else { return Vec::new() };
    let job = *job;
    let row = |report| JobRow { job, uid, execution, action, report }.put();
    match what {
        JobHappening::Queued => vec![row(None), JobOfRow { uid, execution, job }.put()],
        JobHappening::Reported(report) => vec![row(artifact_digest(report))],
        JobHappening::Offered | JobHappening::Lapsed | JobHappening::Acknowledged => Vec::new(),
    }
}

/// How an action's job waited to be offered before a step, and how it does after it.
pub(super) fn waiting(
    uid: Uid,
    execution: ExecutionId,
    action: ActionExecutionId,
    id: &ActionTypeId,
    [before, after]: [&State; 2],
) -> Vec<RowChange> {
    let job = |state: &State| {
        let runs = state.executions.get(&execution).into_iter().flat_map(|it| it.runs.values());
        runs.filter(|run| run.id == action).find_map(|run| run.job.clone())
    };
    let queued = |state: &State| {
        let job = job(state).filter(|job| job.status == JobStatus::Queued)?;
        let of = *Digest::of(id.to_string().as_bytes()).as_bytes();
        Some(QueuedRow { of, queued: job.queued, job: job.id, uid, action })
    };
    let (was_queued, is_queued) = (queued(before), queued(after));
    if was_queued == is_queued {
        return Vec::new();
    }
    was_queued.map(|row| row.delete()).into_iter().chain(is_queued.map(|row| row.put())).collect()
}

/// The jobs of a state that wait to be offered.
pub(super) fn queued(uid: Uid, state: &State) -> Vec<RowChange> {
    let nothing = State::default();
    let mut rows = Vec::new();
    for execution in state.executions.values() {
        for run in execution.runs.values().filter(|run| run.job.is_some()) {
            let Some((_, called)) = state.called(run.id) else { continue };
            rows.extend(waiting(uid, execution.id, run.id, &called.declared().type_id(), [&nothing, state]));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::rows::check;

    #[test]
    fn rows_are_written_and_read_as_ever() {
        let uid = [0x11; 16];
        let (execution, action) = (ExecutionId::from_bytes([0x22; 16]), ActionExecutionId::from_bytes([0x33; 16]));
        let job = JobId::from_bytes([0x55; 16]);
        let (u, e, a, j) = ("11".repeat(16), "22".repeat(16), "33".repeat(16), "55".repeat(16));
        check(&JobRow { job, uid, execution, action, report: None }, &j, &format!("{u} {e} {a}"));
        let reported = JobRow { job, uid, execution, action, report: Some([0x44; 32]) };
        check(&reported, &j, &format!("{u} {e} {a} {}", "44".repeat(32)));
        check(&JobOfRow { uid, execution, job }, &format!("{u} {e} {j}"), "");
        let queued = QueuedRow { of: [0x44; 32], queued: Timestamp(258), job, uid, action };
        check(&queued, &format!("{} 0000000000000102 {j}", "44".repeat(32)), &format!("{u} {a}"));
    }
}
