//! Which jobs wait for whom, and the client of the account for workers of its third-party action types.
//!
//! Must not know what a job says.

use pipewright_pipeline::machine::Timestamp;
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
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WaitingJob {
    pub job_id: String,
    pub pipeline: String,
    pub execution: String,
    pub stage: String,
    pub action: String,
    /// In milliseconds since 1970.
    pub since: Timestamp,
}

pub async fn list(service: &Service, context: &Context) -> Result<WorkerList, ServiceError> {
    let catalogue = service.catalogue(context);
    let mut action_types = Vec::new();
    for id in catalogue.types().keys().filter(|id| catalogue.workers(id).is_some()) {
        let mut waiting = Vec::new();
        for row in service.driver().queued_jobs(context.account, id, None, JOBS_LISTED_MAX).await? {
            // It may have been offered meanwhile, or its pipeline cannot be read.
            let seen = service.seen(context.account, row.uid, row.action, row.job).await;
            let Ok(Some(seen)) = seen else { continue };
            waiting.push(WaitingJob {
                job_id: row.job.to_string(),
                pipeline: seen.called.declaration.name.clone(),
                execution: seen.called.execution.to_string(),
                stage: seen.called.stage().name.clone(),
                action: seen.called.name().to_owned(),
                since: row.queued,
            });
        }
        action_types.push(WorkerRow { action_type: id.to_string(), waiting });
    }
    let Client { id: client_id, token: client_token } = Client::of(service, context);
    Ok(WorkerList { action_types, client_id, client_token })
}
