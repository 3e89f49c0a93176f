//! Who writes an aggregate: the one that has its lease, from the sequence that it knows.
//!
//! Owns the lease and the sequence of one aggregate. Must not know what is written.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::DriverError;
use super::rows::RowChange;
use pipewright_base::clock::Clock;
use pipewright_store::{Aggregate, Commit, Holder, Lease, Loaded, PartKey, Store};

/// How long a host that died keeps others from writing what it wrote.
const TERM: Duration = Duration::from_secs(30);
/// A lease is renewed when a third of its term is over, so that a slow renewal is in time.
const RENEW_AFTER: Duration = Duration::from_secs(10);

/// Whoever has the store's directory. What is left of a host that was stopped in this process is fenced off by the next one.
const THIS_PROCESS: Holder = [0; 16];

/// What a host writes with.
#[derive(Clone)]
pub(crate) struct WriterContext {
    pub store: Arc<dyn Store>,
    pub clock: Arc<dyn Clock>,
}

pub(super) struct Writer {
    pen: WriterContext,
    lease: Lease,
    renew_at: Instant,
    sequence: u64,
}

impl Writer {
    /// Takes the lease, and loads what there is.
    pub(super) async fn load(pen: WriterContext, aggregate: Aggregate) -> Result<(Self, Loaded), DriverError> {
        let renew_at = pen.clock.monotonic() + RENEW_AFTER;
        let lease = pen.store.acquire(aggregate, THIS_PROCESS, TERM).await?;
        let loaded = pen.store.load(aggregate).await?;
        Ok((Self { pen, lease, renew_at, sequence: loaded.sequence }, loaded))
    }

    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// When the lease is to be renewed.
    pub(super) fn renew_at(&self) -> Instant {
        self.renew_at
    }

    pub(super) async fn renew(&mut self) -> Result<(), DriverError> {
        let now = self.pen.clock.monotonic();
        if now >= self.renew_at {
            self.pen.store.renew(self.lease, TERM).await?;
            self.renew_at = now + RENEW_AFTER;
        }
        Ok(())
    }

    pub(super) async fn commit(
        &mut self,
        puts: Vec<(PartKey, Option<Bytes>)>,
        events: Vec<Bytes>,
        index: Vec<RowChange>,
    ) -> Result<(), DriverError> {
        self.renew().await?;
        let (aggregate, expected, fence) = (self.lease.aggregate, self.sequence, Some(self.lease.fence));
        self.sequence = self.pen.store.commit(Commit { aggregate, expected, puts, events, index, fence }).await?;
        Ok(())
    }

    /// Lets others write it.
    pub(super) async fn release(self) {
        if let Err(error) = self.pen.store.release(self.lease).await {
            tracing::debug!("a lease was not given back: {error}");
        }
    }
}
