//! Looking at sources for new revisions (S91, S93).
//!
//! Owns which sources there are, and what it is to look at one. Must not know when a source is looked at (`schedule`), how it is asked
//! (the actions), what a new revision is, nor what it starts (the service).

mod schedule;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use futures::FutureExt as _;
use pipewright_base::{Scope, Source as Way};
use pipewright_engine::driver::{Aggregate, DriverError, index};
use pipewright_pipeline::declaration::PipelineDeclaration;
use tokio::sync::mpsc;

use crate::service::{Context, Service, connections, executions};
use schedule::{Look, Schedule};

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

/// Looks at sources for as long as it runs.
pub struct Poller {
    interval: Duration,
    changes: mpsc::UnboundedReceiver<Option<Aggregate>>,
    counts: Arc<Counts>,
}

struct Task {
    service: Arc<Service>,
    schedule: Schedule,
}

impl Changes {
    /// The two ends: what tells of changes, and what looks at sources at least that often.
    pub fn channel(interval: Duration) -> (Self, Poller) {
        let (changed, changes) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let poller = Poller { interval, changes, counts: Arc::clone(&counts) };
        (Self { changed, counts }, poller)
    }

    /// A pipeline was made, changed or deleted.
    pub fn of(&self, pipeline: Aggregate) {
        // A host that is going down polls no more.
        let _ = self.changed.send(Some(pipeline));
    }

    /// Other action types can be used now, and what is polled is a matter of the type.
    pub fn of_plugins(&self) {
        let _ = self.changed.send(None);
    }
}

impl Poller {
    pub async fn run(self, service: Arc<Service>) {
        let Self { interval, changes, counts } = self;
        let looks = Arc::clone(&service);
        let look: Look = Arc::new(move |source: Source| {
            let service = Arc::clone(&looks);
            async move { look_at(&service, &source).await }.boxed()
        });
        let schedule = Schedule::new(Arc::clone(service.host.driver.clock()), interval, look, counts);
        Task { service, schedule }.run(changes).await;
    }
}

impl Task {
    async fn run(mut self, mut changes: mpsc::UnboundedReceiver<Option<Aggregate>>) {
        if let Err(error) = self.find_all().await {
            tracing::warn!("sources cannot be found: {error}");
        }
        loop {
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
                () = self.schedule.turn() => {}
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
            Some(declaration) => self.sources(pipeline.account, declaration).await,
            None => Vec::new(),
        };
        self.schedule.plan(pipeline, wanted);
        Ok(())
    }

    /// Those whose type says that it can be polled, and those of which nobody else tells.
    async fn sources(&self, account: u64, declaration: &PipelineDeclaration) -> Vec<Arc<str>> {
        let catalogue = self.service.host.actions.plugins.catalogue(account);
        let mut wanted = Vec::new();
        for name in index::polled_sources(declaration) {
            let action = declaration.stages[0].actions.iter().find(|action| action.name == name);
            let Some(action) = action else { continue };
            let info = catalogue.types().get(&action.action_type_id);
            let can_be = info.is_some_and(|info| info.properties.iter().any(|property| property.name == PROPERTY));
            if can_be || info.is_some() && connections::is_untold(&self.service, account, action).await {
                wanted.push(name.into());
            }
        }
        wanted
    }
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
    let of = declaration.name.clone();
    let look = async move {
        let action = declaration.stages[0].actions.iter().find(|action| action.name == *name);
        match action {
            Some(action) => actions.latest(pipeline, &declaration, action).await,
            None => Ok(None),
        }
    };
    let looked = service.work().run(look).await;
    let Some(latest) = looked.map_err(|error| format!("{of}: {error}"))? else { return Ok(()) };
    let context = Context::of_host("poller", Way::Poller, pipeline.account);
    let started = executions::seen(service, &context, pipeline, &source.action, &latest.id).await;
    if let Some(execution) = started.map_err(|error| error.to_string())? {
        tracing::info!(%pipeline, %execution, "revision {} of {} starts it in {of}", latest.id, source.action);
    }
    Ok(())
}
