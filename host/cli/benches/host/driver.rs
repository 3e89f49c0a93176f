//! Pipelines of three actions that do nothing, through the driver on sled, each in its own pipeline; against a loop that
//! calls the bare component and writes the very rows that the engine wrote, and knows no pipelines (`replay`).

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use pipewright_engine::driver::Driver;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{InputKind, StartRequest};
use pipewright_runner::actions::Runner;
use pipewright_runner::host::Host;
use pipewright_store::{
    Aggregate, Commit, CommitError, Holder, Lease, LeaseError, List, Loaded, PartKey, Record, SledStore, Snapshot,
    Store, StoreError, Trim, Verified, Watcher,
};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::bare::Bare;
use crate::measure::{Line, compare};
use crate::replay::Replay;
use crate::runs::{Runs, cause};

/// How many pipelines at once, and how many rounds of how many runs of each.
const LEVELS: [(usize, usize, usize); 3] = [(1, 9, 30), (64, 9, 4), (1000, 5, 1)];
/// At least half as fast.
const GOAL: f64 = 2.0;

pub(crate) fn run(runtime: &Runtime, host: &Host, bare: &Arc<Bare>, folder: &Path) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    for (pipelines, rounds, runs) in LEVELS {
        let folder = folder.join(pipelines.to_string());
        let (ours, store) = runtime.block_on(open(host, &folder.join("ours"), pipelines))?;
        let replay = Arc::new(Replay::new(Arc::clone(bare), &folder.join("bare"))?);
        let name = format!("a run of three actions, {pipelines} at once");
        let count = (pipelines * runs) as u32;
        let mut computing = Vec::new();
        let line = compare(name, GOAL, (rounds, count), |_| {
            let before = computed();
            let took = runtime.block_on(ours.round(runs))?;
            let ours = computed() - before;
            let written = Replay::prepare(&store.take(), pipelines)?;
            let before = computed();
            let took = (took, runtime.block_on(replay.round(written))?);
            computing.push((ours, computed() - before));
            Ok(took)
        })?;
        lines.extend([line, Line::new("  computing, on all cores", None, count, &computing[1..])]);
    }
    Ok(lines)
}

/// What all threads of this process computed so far: it says what something costs where others use the machine, too.
fn computed() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

async fn open(host: &Host, folder: &Path, pipelines: usize) -> anyhow::Result<(Runs, Arc<Recording>)> {
    let sled = SledStore::open(folder, SledStore::CACHE_BYTES_DEFAULT)?;
    let store = Arc::new(Recording { sled, commits: Mutex::default() });
    let dyn_store: Arc<dyn Store> = Arc::clone(&store) as Arc<dyn Store>;
    let driver = Driver::new(dyn_store, Arc::new(Runner(Arc::clone(&host.actions))), pipewright_base::clock::system());
    let pipelines: Vec<_> = (0..pipelines as u128)
        // Spread like the random ones of a host.
        .map(|number| (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835).to_be_bytes())
        .map(|uid| Aggregate { account: 0, uid })
        .collect();
    let declaration = declaration();
    for pipeline in &pipelines {
        driver.submit(*pipeline, InputKind::Create { declaration: Arc::clone(&declaration) }, &cause()).await?;
    }
    let runs = Runs::new(driver, pipelines, StartRequest::default()).await?;
    store.take();
    Ok((runs, store))
}

/// A stage for each of three actions.
fn declaration() -> Arc<PipelineDeclaration> {
    let stage = |name: &str| {
        let id = json!({ "category": "Build", "owner": "Custom", "provider": "Nothing", "version": "1" });
        json!({ "name": name, "actions": [{ "name": "Nothing", "actionTypeId": id }] })
    };
    let stages = ["One", "Two", "Three"].map(stage);
    let declaration = json!({
        "name": "bench",
        "roleArn": "arn:aws:iam::000000000000:role/bench",
        "stages": stages,
    });
    Arc::new(serde_json::from_value(declaration).expect("a declaration as it should be"))
}

/// The store, with a note of what was committed.
struct Recording {
    sled: SledStore,
    commits: Mutex<Vec<Commit>>,
}

impl Recording {
    fn take(&self) -> Vec<Commit> {
        std::mem::take(&mut *self.commits.lock().expect("no panic while held"))
    }
}

#[async_trait]
impl Store for Recording {
    async fn load(&self, aggregate: Aggregate) -> Result<Loaded, StoreError> {
        self.sled.load(aggregate).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, CommitError> {
        self.commits.lock().expect("no panic while held").push(commit.clone());
        self.sled.commit(commit).await
    }

    async fn acquire(&self, aggregate: Aggregate, holder: Holder, term: Duration) -> Result<Lease, LeaseError> {
        self.sled.acquire(aggregate, holder, term).await
    }

    async fn renew(&self, lease: Lease, term: Duration) -> Result<(), LeaseError> {
        self.sled.renew(lease, term).await
    }

    async fn release(&self, lease: Lease) -> Result<(), StoreError> {
        self.sled.release(lease).await
    }

    async fn get(&self, aggregate: Aggregate, key: &PartKey) -> Result<Option<Bytes>, StoreError> {
        self.sled.get(aggregate, key).await
    }

    async fn history(&self, aggregate: Aggregate, from: u64, limit: usize) -> Result<Vec<Record>, StoreError> {
        self.sled.history(aggregate, from, limit).await
    }

    async fn list(&self, list: List) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.sled.list(list).await
    }

    fn watch(&self, aggregate: Option<Aggregate>) -> Watcher {
        self.sled.watch(aggregate)
    }

    async fn verify(&self) -> Result<Verified, StoreError> {
        self.sled.verify().await
    }

    async fn aggregates(&self, after: Option<Aggregate>, limit: usize) -> Result<Vec<Aggregate>, StoreError> {
        self.sled.aggregates(after, limit).await
    }

    async fn archived(
        &self,
        aggregate: Aggregate,
        after: Option<Bytes>,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.sled.archived(aggregate, after, limit).await
    }

    async fn snapshot(&self, aggregate: Aggregate, since: u64) -> Result<Snapshot, StoreError> {
        self.sled.snapshot(aggregate, since).await
    }

    async fn trim(&self, trim: Trim) -> Result<u64, CommitError> {
        self.sled.trim(trim).await
    }

    async fn erase(&self, aggregate: Aggregate) -> Result<u64, CommitError> {
        self.sled.erase(aggregate).await
    }
}
