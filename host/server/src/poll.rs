//! Looking at sources for new revisions (contract §7.11).
//!
//! Owns which sources there are, and what a new revision is. Must not know when a source is looked at (`schedule`), how it
//! is asked (the actions), nor what an execution does.

mod schedule;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{ActionStatus, Execution, ExecutionId, StartRequest, State, Trigger, TriggerType};
use tokio::sync::mpsc;

use pipewright_base::{Cause, Scope, Source as Way};
use pipewright_engine::driver::index;
use pipewright_engine::driver::rows::PolledRow;
use pipewright_engine::driver::{Aggregate, DriverError, Note};
use pipewright_runner::host::Host;
use schedule::{Look, Schedule};

/// The property by which an action type says that it can be polled.
pub const PROPERTY: &str = "PollForSourceChanges";

/// Tells the task that polls what has changed.
#[derive(Clone)]
pub struct Poller {
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

struct Task {
    host: Host,
    schedule: Schedule,
}

impl Poller {
    /// Starts the task, which ends when every handle is gone.
    pub fn start(host: Host, interval: Duration) -> Self {
        let (changed, changes) = mpsc::unbounded_channel();
        let counts = Arc::<Counts>::default();
        let looks = host.clone();
        let look: Look = Arc::new(move |source: Source| {
            let host = looks.clone();
            async move { look_at(&host, &source).await }.boxed()
        });
        let schedule = Schedule::new(Arc::clone(host.driver.clock()), interval, look, Arc::clone(&counts));
        tokio::spawn(Task { host, schedule }.run(changes));
        Self { changed, counts }
    }

    /// A pipeline was made, changed or deleted.
    pub fn changed(&self, pipeline: Aggregate) {
        // A host that is going down polls no more.
        let _ = self.changed.send(Some(pipeline));
    }

    /// Other action types can be used now, and what is polled is a matter of the type.
    pub fn catalogues_changed(&self) {
        let _ = self.changed.send(None);
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
        let accounts = Arc::clone(self.host.accounts());
        for account in accounts.iter() {
            self.find_of_account(*account).await?;
        }
        Ok(())
    }

    async fn find_of_account(&mut self, account: u64) -> Result<(), DriverError> {
        let driver = self.host.driver.clone();
        let mut rows = driver.walk::<PolledRow>(account, Bytes::new(), None);
        loop {
            let page = rows.page().await?;
            if page.is_empty() {
                return Ok(());
            }
            for row in page {
                self.find(Aggregate { account, uid: row.uid }).await?;
            }
        }
    }

    /// Plans what is to be looked at of one pipeline, and forgets what is not any more. One that cannot be read is not in
    /// the way of the others.
    async fn find(&mut self, pipeline: Aggregate) -> Result<(), DriverError> {
        // Without loading the pipeline: at the start of the host this looks at all of them.
        let declaration = match self.host.driver.declaration(pipeline).await {
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
        self.schedule.plan(pipeline, wanted);
        Ok(())
    }

    fn sources<'a>(&self, account: u64, declaration: &'a PipelineDeclaration) -> impl Iterator<Item = &'a str> {
        let catalogue = self.host.actions.plugins.catalogue(account);
        index::polled_sources(declaration).filter(move |name| {
            let action = declaration.stages[0].actions.iter().find(|action| action.name == *name);
            let info = action.and_then(|action| catalogue.types().get(&action.action_type_id));
            info.is_some_and(|info| info.properties.iter().any(|property| property.name == PROPERTY))
        })
    }
}

/// The revision that was last seen of an action.
fn seen_note(action: &str) -> String {
    format!("seen/{action}")
}

/// Starts an execution if the source has a revision that neither a poll nor the newest execution has seen.
async fn look_at(host: &Host, source: &Source) -> Result<(), String> {
    let failed = |error: DriverError| error.to_string();
    let cause = Cause::host("poller", Way::Poller);
    let state = host.driver.state(source.pipeline).await.map_err(failed)?;
    let Some(declaration) = &state.declaration else { return Ok(()) };
    let stage = &declaration.stages[0];
    let Some(place) = stage.actions.iter().position(|action| action.name == *source.action) else { return Ok(()) };
    let (actions, asked, pipeline) = (Arc::clone(&host.actions), Arc::clone(declaration), source.pipeline);
    let look = async move { actions.latest(pipeline, &asked, &asked.stages[0].actions[place]).await };
    let Some(latest) = host.actions.work_runtime.run(look).await? else { return Ok(()) };
    let note = seen_note(&source.action);
    let seen = host.driver.kept(source.pipeline, &note).await.map_err(failed)?;
    if seen.as_deref() == Some(latest.id.as_bytes()) {
        return Ok(());
    }
    let keep: Vec<Note> = vec![(note, Some(Bytes::from(latest.id.clone())))];
    match fetched(host, source.pipeline, place).await.map_err(failed)? {
        // What it will fetch is not known yet: the next look tells.
        Fetched::InProgress => return Ok(()),
        Fetched::Revision(id) if id == latest.id => {
            return host.driver.keep(source.pipeline, keep, &cause).await.map_err(failed);
        }
        Fetched::Revision(_) | Fetched::Nothing => {}
    }
    let trigger = Trigger { kind: TriggerType::PollForSourceChanges, detail: source.action.to_string() };
    let request = StartRequest { trigger, ..StartRequest::default() };
    let execution = host.driver.start(source.pipeline, request, None, keep, &cause).await.map_err(failed)?;
    tracing::info!(pipeline = %source.pipeline, %execution, "revision {} of {} starts it", latest.id, source.action);
    Ok(())
}

/// What the newest execution that tried has of a source.
enum Fetched {
    Nothing,
    InProgress,
    Revision(String),
}

async fn fetched(host: &Host, pipeline: Aggregate, place: usize) -> Result<Fetched, DriverError> {
    let state = host.driver.state(pipeline).await?;
    let Some(id) = newest(&state) else { return Ok(Fetched::Nothing) };
    if let Some(live) = state.executions.get(&id) {
        return Ok(of_execution(live, place));
    }
    let ended = host.driver.archived(pipeline, id).await?;
    Ok(ended.map_or(Fetched::Nothing, |execution| of_execution(&execution, place)))
}

/// The execution that entered the source stage last.
fn newest(state: &State) -> Option<ExecutionId> {
    state.head.as_ref()?.stages.first()?.latest.map(|latest| latest.execution)
}

fn of_execution(execution: &Execution, place: usize) -> Fetched {
    let runs = execution.stage_actions(0).find(|(at, _)| usize::from(at.action) == place);
    match runs.map(|(_, run)| (run.status, &run.revision)) {
        Some((ActionStatus::InProgress, _)) => Fetched::InProgress,
        Some((_, Some(revision))) => Fetched::Revision(revision.id.clone()),
        _ => Fetched::Nothing,
    }
}
