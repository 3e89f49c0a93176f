//! Where large files are read: on a runtime apart from the one that answers requests.
//!
//! Owns the way there. Must not know what is done there.
//!
//! A download that is read slowly reads a great deal, and must not keep a thread from a request; a local run does all on one
//! runtime. Guests have threads of their own, those of the sandbox.

use std::panic::resume_unwind;

use tokio::runtime::Handle;
use tokio::task::JoinHandle;

/// A cheap handle. The default is whatever runtime it is used on.
#[derive(Clone, Debug, Default)]
pub struct Work(Option<Handle>);

impl Work {
    pub fn on(runtime: &Handle) -> Self {
        Self(Some(runtime.clone()))
    }

    fn handle(&self) -> Handle {
        self.0.clone().unwrap_or_else(Handle::current)
    }

    /// Does it there. Dropping the future stops what is done.
    pub async fn run<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> T {
        match &self.0 {
            None => what.await,
            Some(runtime) => end_of(&mut Stopped(runtime.spawn(what)).0).await,
        }
    }

    /// Does there what blocks its thread. It is done to its end, whatever becomes of the future.
    pub async fn blocking<T: Send + 'static>(&self, what: impl FnOnce() -> T + Send + 'static) -> T {
        end_of(&mut self.handle().spawn_blocking(what)).await
    }

    /// Begins it there.
    pub fn spawn<T: Send + 'static>(&self, what: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
        self.handle().spawn(what)
    }
}

async fn end_of<T>(task: &mut JoinHandle<T>) -> T {
    match task.await {
        Ok(done) => done,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        // The runtime ends, and with it the process.
        Err(_) => std::future::pending().await,
    }
}

struct Stopped<T>(JoinHandle<T>);

impl<T> Drop for Stopped<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[tokio::test]
    async fn what_nobody_waits_for_any_more_is_stopped() {
        let there = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let work = Work::on(there.handle());
        let kept = Arc::new(());
        let held = Arc::clone(&kept);
        let mut running = Box::pin(work.run(async move {
            std::future::pending::<()>().await;
            drop(held);
        }));
        assert!(futures::poll!(&mut running).is_pending());
        drop(running);
        while Arc::strong_count(&kept) > 1 {
            tokio::task::yield_now().await;
        }
        assert_eq!(
            work.run(async { std::thread::current().id() }).await,
            work.run(async { std::thread::current().id() }).await
        );
        assert_ne!(work.run(async { std::thread::current().id() }).await, std::thread::current().id());
        there.shutdown_background();
    }
}
