//! Runs of pipelines through the driver: all of them at once, each one run after the other.

use std::time::Duration;

use pipewright_base::clock::monotonic;
use pipewright_base::{Cause, Source};
use pipewright_engine::driver::Driver;
use pipewright_pipeline::machine::{InputKind, StartRequest};
use pipewright_store::Aggregate;

pub(crate) fn cause() -> Cause {
    Cause::host("benchmark", Source::Start)
}

pub(crate) struct Runs {
    pub(crate) driver: Driver,
    pub(crate) pipelines: Vec<Aggregate>,
    /// What each run starts with.
    request: StartRequest,
    /// How many commits a run makes.
    commits: u64,
}

impl Runs {
    /// Of pipelines that are alike, and do not run now.
    pub(crate) async fn new(driver: Driver, pipelines: Vec<Aggregate>, request: StartRequest) -> anyhow::Result<Self> {
        let mut runs = Self { driver, pipelines, request, commits: 0 };
        runs.commits = runs.count_commits().await?;
        Ok(runs)
    }

    /// Runs one pipeline and counts.
    async fn count_commits(&self) -> anyhow::Result<u64> {
        let pipeline = self.pipelines[0];
        let before = self.driver.sequence(pipeline).await?;
        let mut watcher = self.driver.watch(Some(pipeline));
        self.driver.submit(pipeline, InputKind::Start(self.request.clone()), &cause()).await?;
        while !self.driver.state(pipeline).await?.executions.is_empty() {
            watcher.changed().await;
        }
        Ok(self.driver.sequence(pipeline).await? - before)
    }

    /// Every pipeline runs that often, one run after the other; all pipelines at once.
    pub(crate) async fn round(&self, runs: usize) -> anyhow::Result<Duration> {
        let mut watched = Vec::with_capacity(self.pipelines.len());
        for &pipeline in &self.pipelines {
            let watcher = self.driver.watch(Some(pipeline));
            watched.push((pipeline, watcher, self.driver.sequence(pipeline).await?));
        }
        let start = monotonic();
        let running: Vec<_> = watched
            .into_iter()
            .map(|(pipeline, mut watcher, mut sequence)| {
                let (driver, commits, request) = (self.driver.clone(), self.commits, self.request.clone());
                tokio::spawn(async move {
                    for _ in 0..runs {
                        let end = sequence + commits;
                        driver.submit(pipeline, InputKind::Start(request.clone()), &cause()).await?;
                        while sequence < end {
                            let change = watcher.changed().await;
                            sequence = change.ok_or_else(|| anyhow::anyhow!("the store was closed"))?.1;
                        }
                    }
                    anyhow::Ok(())
                })
            })
            .collect();
        for run in running {
            run.await??;
        }
        Ok(start.elapsed())
    }
}
