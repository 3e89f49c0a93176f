//! Pipelines that stopped because of an error of their own: which they are, and loading one again.
//!
//! Must not know why a pipeline stopped (the driver).

use pipewright_runner::builds::is_own_pipeline;
use serde::Serialize;

use super::{Context, Service, ServiceError};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct QuarantineList {
    pub pipelines: Vec<Quarantined>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    pub name: String,
    pub reason: String,
}

/// Those that somebody has met since the host started.
pub async fn list(service: &Service, context: &Context) -> Result<QuarantineList, ServiceError> {
    let quarantined = |(name, pipeline)| {
        let reason = service.driver().quarantined(pipeline)?.to_string();
        Some(Quarantined { name, reason })
    };
    let pipelines = service.driver().pipelines(context.account).await?.into_iter().filter_map(quarantined).collect();
    Ok(QuarantineList { pipelines })
}

pub async fn reload(service: &Service, context: &Context, name: &str) -> Result<(), ServiceError> {
    let found = service.driver().find(context.account, name).await?;
    let pipeline = found.filter(|_| !is_own_pipeline(name)).ok_or_else(|| context.no_pipeline(name))?;
    service.driver().reload(pipeline).await?;
    service.changes.of(pipeline);
    Ok(())
}
