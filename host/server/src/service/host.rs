//! Whether the host is well, what it has done, and everything that it keeps.
//!
//! Must not know how an export is written (`export`).

use bytes::Bytes;
use futures::Stream;
use pipewright_engine::driver::Counts;
use pipewright_engine::export;

use super::{Context, Service, ServiceError};

/// Why the host has failed, if it has.
pub fn failure(service: &Service) -> Option<String> {
    service.driver().has_failed()
}

/// What happened since the start, and how many pipelines are in memory.
pub fn counts(service: &Service) -> (&Counts, usize) {
    (service.driver().counts(), service.driver().loaded())
}

/// Everything, of all accounts. An export that fails is cut off: its last line is missing.
pub fn export(
    service: &Service,
    context: &Context,
) -> Result<impl Stream<Item = Result<Bytes, export::ExportError>> + Send + use<>, ServiceError> {
    context.as_operator(service)?;
    Ok(export::stream(service.exported.clone()))
}

impl Context {
    /// Some of what the host knows is not an account's.
    fn as_operator(&self, service: &Service) -> Result<(), ServiceError> {
        if self.account == service.operator {
            return Ok(());
        }
        let by = &self.cause.principal;
        Err(ServiceError::Denied(format!("{by} may not do this: it is for the account of those who run the host")))
    }
}
