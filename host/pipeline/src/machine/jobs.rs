//! The job of an action that a worker does: offered, acknowledged, and reported, possibly in several jobs one after the other.
//!
//! Owns the states of a job and which of them a worker may change. Must not know who the workers are, nor how a job looks to
//! them (`resolve` makes the call that it stands for).
//!
//! A job is kept in its action's run. A worker that was offered one and does not acknowledge it in time has lost it, and it is
//! offered again under another nonce; one that was acknowledged is never offered twice, for what it does may not be done twice.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::bounds::{SUMMARY_CHARS_MAX, cut};
use super::declared::Declared;
use super::effect::Effect;
use super::event::ActionHappening;
use super::execution::{ActionRun, Execution};
use super::ids::{ActionExecutionId, JobId, Nonce, TimerId, TimerKind, Timestamp};
use super::refusal::Refusal;
use super::report::{ActionError, Awaited, ExecutionDetails, FailureType, Outcome};
use super::step::Reply;
use super::work::Work;
use super::{actions, resolve};
use crate::action_type::{FUNCTION_NAME, is_of_functions};

/// How long a worker has to acknowledge a job that it was offered.
pub const OFFER_MILLISECONDS: u64 = 30 * 1000;
/// Jobs of one action execution: an action whose worker goes on with another one fails. Enough for one every ten seconds in a
/// day. Stops a worker from filling the history with continuation tokens.
pub const JOBS_COUNT_MAX: u32 = 10_000;

/// The latest job of an action.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    pub id: JobId,
    /// 1, and one more for each that went on from a continuation token.
    pub number: u32,
    pub queued: Timestamp,
    pub status: JobStatus,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    Queued,
    /// To the worker that has the nonce, until it acknowledges it or the time is up.
    Offered {
        nonce: Nonce,
        until: Timestamp,
    },
    /// A worker has it, until it reports.
    InProgress {
        nonce: Nonce,
        until: Timestamp,
    },
}

/// A worker's report.
#[derive(Clone, Debug)]
pub struct JobReport {
    /// By which the same report is known when it comes again.
    pub digest: String,
    pub end: JobEnd,
}

#[derive(Clone, Debug)]
pub enum JobEnd {
    /// The action is over.
    Action(Outcome),
    /// Another job goes on from here.
    Continues { token: String, told: ExecutionDetails },
}

/// What happened to a job, for history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobHappening {
    Queued,
    Offered,
    /// The worker to which it was offered did not acknowledge it in time.
    Lapsed,
    Acknowledged,
    /// The digest of what was reported.
    Reported(String),
}

impl Job {
    /// The timer that ends what the job is in now.
    pub(super) fn timer(&self) -> Option<(TimerKind, Timestamp)> {
        match self.status {
            JobStatus::Offered { until, .. } => Some((TimerKind::Offer { job: self.id }, until)),
            JobStatus::InProgress { until, .. } => Some((TimerKind::Job { job: self.id }, until)),
            JobStatus::Queued => None,
        }
    }
}

/// Makes the job that an action waits for from now on.
pub(super) fn queue(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun) {
    let (id, number) = (work.ids.job(), run.job.as_ref().map_or(0, |before| before.number) + 1);
    run.job = Some(Job { id, number, queued: work.at, status: JobStatus::Queued });
    tell(work, execution, address, run.id, id, JobHappening::Queued);
}

pub(super) fn offer(work: &mut Work<'_>, action: ActionExecutionId, id: JobId) -> Result<Reply, Refusal> {
    let (execution, address, mut run) = find(work, action)?;
    let nonce = work.ids.nonce();
    let until = work.at.plus(OFFER_MILLISECONDS);
    match job_of(&mut run, id)? {
        job if job.status == JobStatus::Queued => job.status = JobStatus::Offered { nonce, until },
        _ => return Err(Refusal::InvalidJobState { job: id, why: "another worker has it" }),
    }
    set_timer(work, &run);
    tell(work, &execution, address, run.id, id, JobHappening::Offered);
    actions::settle(work, execution, address, run);
    Ok(Reply::Offered(nonce))
}

/// The nonce is good for the worker that was offered the job, and as often as it asks.
pub(super) fn acknowledge(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    id: JobId,
    nonce: &str,
) -> Result<Reply, Refusal> {
    let invalid = Refusal::InvalidNonce { job: id };
    let (execution, address, mut run) = find(work, action).map_err(|_| invalid.clone())?;
    let within = run.wait.iter().flat_map(|wait| &wait.awaits).find_map(|awaited| match awaited {
        Awaited::Job { within_milliseconds } => *within_milliseconds,
        _ => None,
    });
    let until = within.map_or(run.deadline, |within| work.at.plus(within).min(run.deadline));
    let job = job_of(&mut run, id).map_err(|_| invalid.clone())?;
    let offered = job.timer();
    match job.status {
        JobStatus::InProgress { nonce: given, .. } if given.to_string() == nonce => return Ok(Reply::Done),
        JobStatus::Offered { nonce: given, .. } if given.to_string() == nonce => {
            job.status = JobStatus::InProgress { nonce: given, until };
        }
        _ => return Err(invalid),
    }
    let offered = offered.map(|(kind, _)| Effect::ClearTimer { id: TimerId { action, kind } });
    work.effects.extend(offered);
    set_timer(work, &run);
    run.updated = work.at;
    tell(work, &execution, address, run.id, id, JobHappening::Acknowledged);
    actions::settle(work, execution, address, run);
    Ok(Reply::Done)
}

pub(super) fn reported(
    work: &mut Work<'_>,
    action: ActionExecutionId,
    id: JobId,
    report: JobReport,
) -> Result<Reply, Refusal> {
    let (execution, address, mut run) = find(work, action)?;
    let job = job_of(&mut run, id)?;
    if !matches!(job.status, JobStatus::InProgress { .. }) {
        return Err(Refusal::InvalidJobState { job: id, why: "no worker has acknowledged it" });
    }
    let (number, timer) = (job.number, job.timer());
    tell(work, &execution, address, action, id, JobHappening::Reported(report.digest));
    match report.end {
        JobEnd::Continues { token, mut told } if number < JOBS_COUNT_MAX => {
            let timer = timer.map(|(kind, _)| Effect::ClearTimer { id: TimerId { action, kind } });
            work.effects.extend(timer);
            told.clamp();
            if let Some(wait) = &mut run.wait {
                wait.continuation = token.into_bytes();
                cut(&mut told.summary, SUMMARY_CHARS_MAX);
                wait.summary = told.summary.or(wait.summary.take());
            }
            run.told.external_id = told.external_id.or(run.told.external_id.take());
            run.told.details = told.details;
            run.updated = work.at;
            queue(work, &execution, address, &mut run);
        }
        JobEnd::Continues { .. } => {
            let message = format!("There have been {number} jobs, and the last goes on with another one: it must end");
            over(work, &execution, address, &mut run, failed(message));
        }
        JobEnd::Action(outcome) => over(work, &execution, address, &mut run, outcome),
    }
    actions::settle(work, execution, address, run);
    Ok(Reply::Done)
}

fn over(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun, outcome: Outcome) {
    actions::clear_timers(work, run, None);
    actions::end(work, execution, address, run, outcome);
}

/// The worker to which a job was offered did not acknowledge it.
pub(super) fn lapse(work: &mut Work<'_>, execution: &Execution, address: Address, run: &mut ActionRun) {
    let Some(job) = &mut run.job else { return };
    job.status = JobStatus::Queued;
    let id = job.id;
    tell(work, execution, address, run.id, id, JobHappening::Lapsed);
}

/// Why what was declared fails whose worker, or function, has its job and did not report.
pub(super) fn not_reported(declared: Declared<'_>) -> Outcome {
    let kind = declared.kind();
    let function = declared.configuration().and_then(|it| it.get(FUNCTION_NAME));
    failed(match function.filter(|_| is_of_functions(&declared.type_id())) {
        Some(function) => format!(
            "The AWS Lambda function {function} failed to return a result. Check the function to verify that it has permission to \
             call the PutJobSuccessResult action and that it made a call to PutJobSuccessResult."
        ),
        None => format!("The worker that has the {kind}'s job did not report it in its time"),
    })
}

fn failed(message: String) -> Outcome {
    ActionError::new(FailureType::JobFailed, message).into()
}

/// An action that waits for a job.
fn find(work: &Work<'_>, action: ActionExecutionId) -> Result<(Execution, Address, ActionRun), Refusal> {
    actions::find(work, action).map_err(|_| Refusal::JobNotFound)
}

fn job_of(run: &mut ActionRun, id: JobId) -> Result<&mut Job, Refusal> {
    let job = run.job.as_mut().ok_or(Refusal::JobNotFound)?;
    if job.id == id { Ok(job) } else { Err(Refusal::InvalidJobState { job: id, why: "it is over" }) }
}

fn set_timer(work: &mut Work<'_>, run: &ActionRun) {
    let of_job = |kind| matches!(kind, TimerKind::Offer { .. } | TimerKind::Job { .. });
    let timers = resolve::timers(run).filter(|(id, _)| of_job(id.kind));
    work.effects.extend(timers.map(|(id, at)| Effect::SetTimer { id, at }));
}

fn tell(
    work: &mut Work<'_>,
    execution: &Execution,
    address: Address,
    action: ActionExecutionId,
    job: JobId,
    what: JobHappening,
) {
    actions::tell(work, execution, address, action, ActionHappening::Job { job, what });
}
