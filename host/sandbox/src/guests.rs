//! The threads on which guests run: their own, so that nothing a guest does on them keeps others waiting.
//!
//! Owns the runtime. A guest's file calls touch the disk on the thread that runs it, which costs least for the many small
//! ones; the threads of whoever calls the sandbox, with their timers and connections, must not wait for a disk. Must not
//! know what runs.

use std::io;
use std::panic::resume_unwind;

use tokio::runtime::{Handle, Runtime};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

pub(crate) struct Guests(Option<Runtime>);

impl Guests {
    pub(crate) fn new(threads: usize) -> io::Result<Self> {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        Ok(Self(Some(runtime.worker_threads(threads).thread_name("guest").enable_all().build()?)))
    }

    pub(crate) fn handle(&self) -> Option<&Handle> {
        self.0.as_ref().map(Runtime::handle)
    }

    /// Runs it there. Dropping this future ends it, at the latest when it waits next; none if the sandbox is gone.
    pub(crate) async fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Option<T> {
        let there = self.0.as_ref()?.handle();
        // Whoever is there already needs no way there and back: two threads woken are what a small call costs.
        if Handle::try_current().is_ok_and(|here| here.id() == there.id()) {
            return Some(work.await);
        }
        let mut running = Running(there.spawn(work.in_current_span()));
        match (&mut running.0).await {
            Ok(done) => Some(done),
            Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
            Err(_) => None,
        }
    }
}

impl Drop for Guests {
    fn drop(&mut self) {
        // The last of its guests may be who drops it, on one of its own threads.
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

struct Running<T>(JoinHandle<T>);

impl<T> Drop for Running<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
