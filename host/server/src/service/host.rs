//! Whether the host is well, what it has done, and everything that it keeps.
//!
//! Must not know how an export is written (`export`).

use bytes::Bytes;
use futures::Stream;
use pipewright_engine::driver::Counts;
use pipewright_engine::export;

use super::Service;

/// Why the host has failed, if it has.
pub fn failure(service: &Service) -> Option<String> {
    service.driver().has_failed()
}

/// What happened since the start, how many pipelines are in memory, and how many are quarantined.
pub fn counts(service: &Service) -> (&Counts, usize, usize) {
    let driver = service.driver();
    (driver.counts(), driver.loaded(), driver.quarantined_count())
}

/// Everything, of all accounts. An export that fails is cut off: its last line is missing.
pub async fn export(service: &Service) -> impl Stream<Item = Result<Bytes, export::ExportError>> + Send + use<> {
    let exported = service.exported.clone();
    service.work().run(async move { export::stream(exported) }).await
}
