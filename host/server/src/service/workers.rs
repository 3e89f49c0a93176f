//! Which jobs wait for whom, which are somebody's, who polled last, and the client of the account for workers of its third-party action
//! types.
//!
//! Must not know what a job says.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use pipewright_pipeline::declaration::ActionTypeId;
use pipewright_pipeline::machine::{JobStatus, RunAction, Timestamp};
use serde::Serialize;

use super::partner_jobs::Client;
use super::{Context, Service, ServiceError};

/// Jobs of one action type that are listed, those first that came first.
const JOBS_LISTED_MAX: usize = 100;

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerList {
    pub action_types: Vec<WorkerRow>,
    pub client_id: String,
    pub client_token: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerRow {
    pub action_type: String,
    pub waiting: Vec<WaitingJob>,
    /// Those that somebody has, or is offered just now.
    pub leased: Vec<LeasedJob>,
    /// None where nobody has polled since the server was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub polled: Option<Polled>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Polled {
    /// In milliseconds since 1970.
    pub at: Timestamp,
    pub by: String,
}

/// Who polled last for the jobs of which type, of which account: since the server was started, for those types alone that there are.
#[derive(Default)]
pub struct Polls(Mutex<BTreeMap<(u64, ActionTypeId), Polled>>);

impl Polls {
    pub(super) fn note(&self, context: &Context, id: &ActionTypeId, now_ms: u64) {
        let polled = Polled { at: Timestamp(now_ms), by: context.principal() };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((context.account, id.clone()), polled);
    }

    fn last(&self, account: u64, id: &ActionTypeId) -> Option<Polled> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&(account, id.clone())).cloned()
    }
}

/// Which action, or rule, a job is for.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Place {
    pub job_id: String,
    pub pipeline: String,
    pub execution: String,
    pub stage: String,
    pub action: String,
}

impl Place {
    fn of(job: impl ToString, called: &RunAction) -> Self {
        Self {
            job_id: job.to_string(),
            pipeline: called.declaration.name.clone(),
            execution: called.execution.to_string(),
            stage: called.stage().name.clone(),
            action: called.placed().name_in_stage(),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LeasedJob {
    #[serde(flatten)]
    pub place: Place,
    /// Until then it is offered, or has to be reported; in milliseconds since 1970.
    pub until: Timestamp,
    pub acknowledged: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingJob {
    #[serde(flatten)]
    pub place: Place,
    /// In milliseconds since 1970.
    pub since: Timestamp,
}

pub async fn list(service: &Service, context: &Context) -> Result<WorkerList, ServiceError> {
    let catalogue = service.catalogue(context);
    let mut leased = leased(service, context).await?;
    let mut action_types = Vec::new();
    for id in catalogue.types().keys().filter(|id| catalogue.workers(id).is_some()) {
        let mut waiting = Vec::new();
        for row in service.driver().queued_jobs(context.account, id, None, JOBS_LISTED_MAX).await? {
            // It may have been offered meanwhile, or its pipeline cannot be read.
            let seen = service.seen(context.account, row.uid, row.action, row.job).await;
            let Ok(Some(seen)) = seen else { continue };
            waiting.push(WaitingJob { place: Place::of(row.job, &seen.called), since: row.queued });
        }
        let (leased, polled) = (leased.remove(id).unwrap_or_default(), service.polls.last(context.account, id));
        action_types.push(WorkerRow { action_type: id.to_string(), waiting, leased, polled });
    }
    let Client { id: client_id, token: client_token } = Client::of(service, context);
    Ok(WorkerList { action_types, client_id, client_token })
}

/// The jobs that somebody has. No row says so: every pipeline in which something is in progress is looked at.
async fn leased(service: &Service, context: &Context) -> Result<BTreeMap<ActionTypeId, Vec<LeasedJob>>, ServiceError> {
    let mut leased = BTreeMap::<_, Vec<_>>::new();
    for pipeline in service.driver().due(context.account).await? {
        // One that cannot be read hides none of the others.
        let Ok(state) = service.driver().state(pipeline).await else { continue };
        for run in state.executions.values().flat_map(|execution| execution.runs.values()) {
            let Some(job) = run.job.as_ref().filter(|_| run.in_progress()) else { continue };
            let (until, acknowledged) = match job.status {
                JobStatus::Queued => continue,
                JobStatus::Offered { until, .. } => (until, false),
                JobStatus::InProgress { until, .. } => (until, true),
            };
            let Some((_, called)) = state.called(run.id) else { continue };
            let of_type = leased.entry(called.declared().type_id()).or_default();
            if of_type.len() < JOBS_LISTED_MAX {
                of_type.push(LeasedJob { place: Place::of(job.id, &called), until, acknowledged });
            }
        }
    }
    Ok(leased)
}
