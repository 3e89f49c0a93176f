//! Looking at sources for new revisions (S91, S93): spread out, never twice at once for one source, and less often
//! while it fails.
//!
//! Owns when a source is looked at. Must not know how a source is asked (the actions), what a new revision is, nor what it starts
//! (the service).

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use pipewright_base::{Scope, Source as Way};
use pipewright_engine::driver::timers::{Now, Timers};
use pipewright_engine::driver::{Aggregate, DriverError, index};
use pipewright_pipeline::declaration::PipelineDeclaration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::service::{Context, Service, executions};

/// Sources that are looked at at once; more of them wait. Stops a thousand slow servers from taking all connections.
const POLLS_AT_ONCE_MAX: usize = 32;
/// A source that fails is looked at again after twice the time as before, up to this.
const BACKOFF_SECONDS_MAX: u64 = 60 * 60;
/// The property by which an action type says that it can be polled.
pub const PROPERTY: &str = "PollForSourceChanges";

/// Tells whoever looks at sources what has changed.
#[derive(Clone)]
pub struct Changes {
    /// Which pipeline; none: any.
    changed: mpsc::UnboundedSender<Option<Aggregate>>,
    pub counts: Arc<Counts>,
}

/// For metrics.
#[derive(Default)]
pub struct Counts {
    pub polls: AtomicU64,
    pub failures: AtomicU64,
    pub sources: AtomicU64,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Source {
    pipeline: Aggregate,
    action: Arc<str>,
}

struct Plan {
    is_looked_at: bool,
    failures: u32,
}

/// Looks at sources for as long as it runs.
pub struct Poller {
    interval_ms: u64,
    changes: mpsc::UnboundedReceiver<Option<Aggregate>>,
    counts: Arc<Counts>,
}

struct Task {
    service: Arc<Service>,
    interval_ms: u64,
    plans: HashMap<Source, Plan>,
    /// By how much time passes, whatever the time of day is set to.
    due: Timers<Source>,
    running: JoinSet<(Source, Result<(), String>)>,
    counts: Arc<Counts>,
}

impl Changes {
    /// The two ends: what tells of changes, and what looks at sources at least that often.
    pub fn channel(interval: Duration) -> (Self, Poller) {
        let (changed, changes) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        let poller = Poller { interval_ms, changes, counts: Arc::clone(&counts) };
        (Self { changed, counts }, poller)
    }

    /// A pipeline was made, changed or deleted.
    pub fn of(&self, pipeline: Aggregate) {
        // A host that is going down polls no more.
        let _ = self.changed.send(Some(pipeline));
    }

    /// Other action types can be used now, and what is polled is a matter of the type.
    pub fn of_catalogues(&self) {
        let _ = self.changed.send(None);
    }
}

impl Poller {
    pub async fn run(self, service: Arc<Service>) {
        let Self { interval_ms, changes, counts } = self;
        let (plans, due, running) = (HashMap::new(), Timers::default(), JoinSet::new());
        Task { service, interval_ms, plans, due, running, counts }.run(changes).await;
    }
}

impl Task {
    async fn run(mut self, mut changes: mpsc::UnboundedReceiver<Option<Aggregate>>) {
        if let Err(error) = self.find_all().await {
            tracing::warn!("sources cannot be found: {error}");
        }
        loop {
            self.look();
            let next = self.due.wait(Now::read());
            let free = self.running.len() < POLLS_AT_ONCE_MAX;
            tokio::select! {
                changed = changes.recv() => match changed {
                    None => return,
                    Some(changed) => {
                        let found = match changed {
                            Some(pipeline) => self.find(pipeline).await,
                            None => self.find_all().await,
                        };
                        match found {
                            Err(error) if error.scope() == Scope::Host => {
                                tracing::info!("sources are looked at no more: {error}");
                                return;
                            }
                            Err(error) => tracing::error!("sources cannot be found: {error}"),
                            Ok(()) => {}
                        }
                    }
                },
                Some(Ok((source, result))) = self.running.join_next() => self.looked(source, &result),
                () = tokio::time::sleep(next.unwrap_or_default()), if next.is_some() && free => {}
            }
        }
    }

    async fn find_all(&mut self) -> Result<(), DriverError> {
        let accounts = Arc::clone(self.service.host.accounts());
        for account in accounts.iter() {
            for pipeline in self.service.host.driver.polled(*account).await? {
                self.find(pipeline).await?;
            }
        }
        Ok(())
    }

    /// Plans what is to be looked at of one pipeline, and forgets what is not any more. One that cannot be read is not in
    /// the way of the others.
    async fn find(&mut self, pipeline: Aggregate) -> Result<(), DriverError> {
        // Without loading the pipeline: at the start of the host this looks at all of them.
        let declaration = match self.service.host.driver.declaration(pipeline).await {
            Ok(declaration) => declaration,
            // So would every other read.
            Err(error) if error.scope() == Scope::Host => return Err(error),
            Err(error) => {
                tracing::error!(%pipeline, "its sources cannot be found: {error}");
                return Ok(());
            }
        };
        let wanted: Vec<Arc<str>> = match &declaration {
            Some(declaration) => self.sources(pipeline.account, declaration).map(Into::into).collect(),
            None => Vec::new(),
        };
        let gone = |source: &Source| source.pipeline == pipeline && !wanted.contains(&source.action);
        self.plans.retain(|source, _| !gone(source));
        self.due.retain(|source| !gone(source));
        for action in wanted {
            let source = Source { pipeline, action };
            if !self.plans.contains_key(&source) {
                let first = Duration::from_millis(spread(&source, self.interval_ms));
                self.due.set_in(source.clone(), first, Now::read());
                self.plans.insert(source, Plan { is_looked_at: false, failures: 0 });
            }
        }
        self.counts.sources.store(self.plans.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sources<'a>(&self, account: u64, declaration: &'a PipelineDeclaration) -> impl Iterator<Item = &'a str> {
        let catalogue = self.service.host.actions.plugins.catalogue(account);
        index::polled_sources(declaration).filter(move |name| {
            let action = declaration.stages[0].actions.iter().find(|action| action.name == *name);
            let info = action.and_then(|action| catalogue.types().get(&action.action_type_id));
            info.is_some_and(|info| info.properties.iter().any(|property| property.name == PROPERTY))
        })
    }

    /// Begins to look at what is due.
    fn look(&mut self) {
        while self.running.len() < POLLS_AT_ONCE_MAX {
            let Some((source, _)) = self.due.take(Now::read()) else { return };
            if let Some(plan) = self.plans.get_mut(&source) {
                plan.is_looked_at = true;
            }
            self.counts.polls.fetch_add(1, Ordering::Relaxed);
            let service = Arc::clone(&self.service);
            self.running.spawn(async move {
                let looked = AssertUnwindSafe(look_at(&service, &source)).catch_unwind().await;
                (source, looked.unwrap_or_else(|_| Err("the host failed meanwhile; its log says how".to_owned())))
            });
        }
    }

    fn looked(&mut self, source: Source, result: &Result<(), String>) {
        // It may be gone, or have gone and come back meanwhile: then it has its turn already.
        let Some(plan) = self.plans.get_mut(&source).filter(|plan| plan.is_looked_at) else { return };
        match result {
            Ok(()) => plan.failures = 0,
            Err(error) => {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                plan.failures = plan.failures.saturating_add(1);
                tracing::warn!(pipeline = %source.pipeline, action = %source.action, "looking for changes failed: {error}");
            }
        }
        let factor = 1_u64.checked_shl(plan.failures).unwrap_or(u64::MAX);
        let wait = self.interval_ms.saturating_mul(factor).min(self.interval_ms.max(BACKOFF_SECONDS_MAX * 1000));
        plan.is_looked_at = false;
        self.due.set_in(source, Duration::from_millis(wait), Now::read());
    }
}

/// Where in the interval a source has its turn: the same at every start of the host, and evenly for many.
fn spread(source: &Source, interval_ms: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    source.hash(&mut hasher);
    hasher.finish() % interval_ms.max(1)
}

/// Starts an execution if the source has a revision that neither a look nor the newest execution has seen.
async fn look_at(service: &Service, source: &Source) -> Result<(), String> {
    let (host, pipeline) = (&service.host, source.pipeline);
    if let Some(reason) = host.driver.quarantined(pipeline) {
        return Err(DriverError::Quarantined(reason).to_string());
    }
    let Some(declaration) = host.driver.declaration(pipeline).await.map_err(|error| error.to_string())? else {
        return Ok(());
    };
    let (actions, name) = (Arc::clone(&host.actions), Arc::clone(&source.action));
    let look = async move {
        let action = declaration.stages[0].actions.iter().find(|action| action.name == *name);
        match action {
            Some(action) => actions.latest(pipeline, &declaration, action).await,
            None => Ok(None),
        }
    };
    let Some(latest) = service.work().run(look).await? else { return Ok(()) };
    let context = Context::of_host("poller", Way::Poller, pipeline.account);
    let started = executions::seen(service, &context, pipeline, &source.action, &latest.id).await;
    if let Some(execution) = started.map_err(|error| error.to_string())? {
        tracing::info!(%pipeline, %execution, "revision {} of {} starts it", latest.id, source.action);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_spread_over_the_interval() {
        const INTERVAL: u64 = 60_000;
        let turn = |uid: u128| {
            let pipeline = Aggregate { account: 0, uid: uid.to_be_bytes() };
            spread(&Source { pipeline, action: "Source".into() }, INTERVAL)
        };
        let mut seconds = [0; 60];
        for uid in 0..6000 {
            assert_eq!(turn(uid), turn(uid), "the same at every start");
            seconds[usize::try_from(turn(uid) / 1000).unwrap()] += 1;
        }
        assert!(seconds.iter().all(|count| (50..200).contains(count)), "{seconds:?}");
    }
}
