//! Projects and builds of CodeBuild, as an account's record has them.
//!
//! Owns their parts of the record, the numbers of builds, what of it an action of CodeBuild is given, and the stop of one build.
//! Must not know who asks for a build, what a project's members mean, or how a build is carried out (its plugin).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use pipewright_base::fair::{Claim, Gate, Permit, Permits, Shut};
use pipewright_base::{Cause, Digest, Source};
use pipewright_engine::driver::{Driver, DriverError, WeakDriver, kept_pin, part_pin};
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{ActionExecutionId, Placed, RunAction, all};
use pipewright_sandbox::capabilities::directories::DirectoryGrant;
use pipewright_sandbox::grants::{Access, Grants};
use pipewright_store::{Aggregate, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::{Notify, watch};

use crate::work_folder::WorkFolder;

/// Parts of an account's record: a project, the number of its latest build, and a build.
const PROJECT: &str = "project/";
const NUMBER: &str = "build-number/";
const BUILD: &str = "build/";
/// The name under which a plugin finds projects, and the path.
const DIRECTORY: &str = "projects";
pub const PROJECTS_GRANTED: &str = "/directories/projects";
/// Of an account; with one more the oldest is forgotten. Stops a record that grows with every build.
pub const BUILDS_COUNT_MAX: usize = 5000;
/// What `queuedTimeoutInMinutes` is where a project does not say.
pub const QUEUED_MINUTES_MAX_DEFAULT: u64 = 480;
/// Before the name of a project, that of the pipelines which run its builds that no pipeline starts. No client can name one.
const OWN_PIPELINE: &str = "codebuild:";

/// Longer names of projects are kept under their digests: the name of a part is shorter than a project's may be.
const KEY_BYTES_MAX: usize = 90;

fn key_of(project: &str) -> String {
    match project.len() {
        ..=KEY_BYTES_MAX => project.to_owned(),
        // No name of a project begins so.
        _ => format!("~{}", Digest::of(project.as_bytes())),
    }
}

/// A project as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Project {
    /// What CreateProject was given.
    pub members: Map<String, Value>,
    /// In milliseconds since 1970.
    pub created: u64,
    pub modified: u64,
    /// It stands in the configuration of those who run the host, and changes only there.
    #[serde(default)]
    pub is_configured: bool,
    /// Of a project that is pinned for one build: who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub initiator: Option<String>,
}

/// A build, wherever it came from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// `PROJECT:UUID`.
    pub id: String,
    pub project: String,
    pub number: u64,
    /// What runs it.
    pub pipeline: String,
    pub uid: [u8; 16],
    pub execution: String,
    /// The action execution, where a pipeline started the build.
    pub action: Option<String>,
    pub initiator: String,
    pub started: u64,
    #[serde(default)]
    pub was_stopped: bool,
}

impl Build {
    /// Builds of an account in the order of their starts, and those of one project and moment by their numbers.
    pub fn position(&self) -> String {
        format!("{:014}-{:010}/{}", self.started, self.number, uuid(&self.id))
    }

    fn key(&self) -> String {
        format!("{BUILD}{}", self.position())
    }
}

fn uuid(build: &str) -> &str {
    build.rsplit(':').next().unwrap_or_default()
}

/// The pipeline that runs the builds of a project that no pipeline starts, as far as they have the same stages: `variant` names
/// those. An update would end what runs of it.
pub fn own_pipeline(project: &str, variant: &str) -> String {
    format!("{OWN_PIPELINE}{}:{variant}", key_of(project))
}

/// By which name a pipeline is granted something: `codebuild:PROJECT` for each of those of a project.
pub fn granted_as(pipeline: &str) -> &str {
    let ends = pipeline.rfind(':').filter(|_| is_own_pipeline(pipeline));
    ends.map_or(pipeline, |end| &pipeline[..end])
}

pub fn is_own_pipeline(name: &str) -> bool {
    name.starts_with(OWN_PIPELINE)
}

/// The part of the account's record that a project is.
pub fn project_part(name: &str) -> String {
    format!("{PROJECT}{}", key_of(name))
}

pub fn is_build(id: &ActionTypeId) -> bool {
    id.owner == ActionOwner::AWS && id.provider == "CodeBuild"
}

/// The parts that an execution of a pipeline holds on to: the projects that its actions and rules name.
pub fn parts(declaration: &PipelineDeclaration) -> Vec<String> {
    projects_of(declaration).map(|(_, name)| project_part(name)).collect()
}

/// The actions and rules that build a project, each with its name as far as the declaration says it.
pub fn projects_of(declaration: &PipelineDeclaration) -> impl Iterator<Item = (Placed<'_>, &str)> {
    let builds = all(declaration).filter(|placed| is_build(&placed.declared.type_id()));
    let named = builds.filter_map(|placed| {
        let name = placed.declared.configuration()?.get("ProjectName")?;
        Some((placed, name.as_str()))
    });
    named.filter(|(_, name)| !name.contains("#{"))
}

/// Done when the number of a build is durable; before that nothing may follow from it that the host's end leaves.
pub(crate) type Kept = Shared<BoxFuture<'static, Result<(), Arc<DriverError>>>>;

struct Numbered {
    account: u64,
    build: Build,
    kept: Kept,
}

/// What an action of CodeBuild is told by its host.
pub(crate) struct Told {
    /// The content of the file that it finds; none where the account does not have the project.
    pub project: Option<Bytes>,
    pub variables: Vec<(&'static str, String)>,
    pub waits: Waits,
    /// By which builds of an account are in order.
    pub since: (u64, u64),
    pub kept: Kept,
}

/// How long a build may wait before its first program runs, and how many of its project run at once, where that is bounded.
pub(crate) struct Waits {
    pub minutes_max: u64,
    pub at_once_max: Option<usize>,
}

impl Default for Waits {
    fn default() -> Self {
        Self { minutes_max: QUEUED_MINUTES_MAX_DEFAULT, at_once_max: None }
    }
}

impl Waits {
    fn of(project: &Project) -> Self {
        let number = |name: &str| project.members.get(name).and_then(Value::as_u64);
        Self {
            minutes_max: number("queuedTimeoutInMinutes").unwrap_or(QUEUED_MINUTES_MAX_DEFAULT),
            at_once_max: number("concurrentBuildLimit").and_then(|most| usize::try_from(most).ok()),
        }
    }
}

pub struct Builds {
    /// Accounts have projects, so that a build of one that is not there fails.
    pub(crate) has_projects: bool,
    driver: OnceLock<WeakDriver>,
    /// Builds that have their numbers and are not kept yet, in their order. Held while a build gets its number.
    numbered: tokio::sync::Mutex<Vec<Numbered>>,
    /// Of the builds that run, by their action executions.
    running: Mutex<HashMap<ActionExecutionId, Arc<Running>>>,
    /// The turns of the builds of a project, by its account and name, where it bounds how many run at once.
    turns: Mutex<HashMap<(u64, String), (usize, Permits)>>,
    /// Shut for an account while its interrupted builds come back: they go on in their order.
    gate: Gate,
}

/// A build in an action.
struct Running {
    stop: Notify,
    /// Until its first program runs.
    is_queued: watch::Sender<bool>,
    /// Of a build that was interrupted, until it is among those who wait.
    returning: Mutex<Option<Shut>>,
}

impl Running {
    fn has_asked(&self) {
        drop(self.returning.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Builds {
    pub fn new(has_projects: bool, gate: Gate) -> Self {
        Self {
            has_projects,
            driver: OnceLock::new(),
            numbered: tokio::sync::Mutex::default(),
            running: Mutex::default(),
            turns: Mutex::default(),
            gate,
        }
    }

    /// To be called once, when there is a driver.
    pub fn of(&self, driver: &Driver) {
        let _ = self.driver.set(driver.downgrade());
    }

    fn driver(&self) -> Result<Driver, DriverError> {
        let driver = self.driver.get().and_then(WeakDriver::upgrade);
        driver.ok_or_else(|| DriverError::Defect("there is no driver".to_owned()))
    }

    pub async fn project(&self, account: u64, name: &str) -> Result<Option<Project>, DriverError> {
        let kept = self.driver()?.account_part(account, &project_part(name)).await?;
        kept.map(|bytes| read(&bytes)).transpose()
    }

    /// By their names.
    pub async fn projects(&self, account: u64) -> Result<Vec<(String, Project)>, DriverError> {
        let kept = self.driver()?.account_parts(account, PROJECT).await?;
        let named = kept.into_iter().map(|(_, bytes)| {
            let project: Project = read(&bytes)?;
            Ok((project.members.get("name").and_then(Value::as_str).unwrap_or_default().to_owned(), project))
        });
        named.collect()
    }

    pub async fn put(&self, account: u64, name: &str, project: &Project, cause: &Cause) -> Result<(), DriverError> {
        self.driver()?.put_account_part(account, &project_part(name), Some(written(project)?), cause).await
    }

    /// Its number goes with it; its builds stay.
    pub async fn remove(&self, account: u64, name: &str, cause: &Cause) -> Result<(), DriverError> {
        let driver = self.driver()?;
        let parts = [project_part(name), format!("{NUMBER}{}", key_of(name))].map(|key| (key, None));
        driver.put_account_parts(account, parts.into(), cause).await
    }

    /// Those that are still known, the oldest first.
    pub async fn all(&self, account: u64) -> Result<Vec<Build>, DriverError> {
        let kept = self.driver()?.account_parts(account, BUILD).await?;
        kept.into_iter().map(|(_, bytes)| read(&bytes)).collect()
    }

    /// Numbers a build and keeps it; one that has begun before keeps its number. That of `build` does not count.
    pub async fn begin(self: &Arc<Self>, account: u64, build: Build, cause: &Cause) -> Result<Build, DriverError> {
        let (build, kept) = self.number(account, build, cause.clone()).await?;
        kept.await.map_err(|error| match &*error {
            DriverError::Full(reason) => DriverError::Full(reason.clone()),
            error => DriverError::Defect(error.to_string()),
        })?;
        Ok(build)
    }

    /// The same, without waiting until it is kept.
    async fn number(
        self: &Arc<Self>,
        account: u64,
        mut build: Build,
        cause: Cause,
    ) -> Result<(Build, Kept), DriverError> {
        let mut numbered = self.numbered.lock().await;
        let is_it = move |it: &Numbered, id: &str| it.account == account && it.build.id == id;
        if let Some(same) = numbered.iter().find(|it| is_it(it, &build.id)) {
            return Ok((same.build.clone(), same.kept.clone()));
        }
        let driver = self.driver()?;
        let ending = format!("/{}", uuid(&build.id));
        if let Some(begun) = driver.account_part_between(account, BUILD, &ending).await? {
            return Ok((read(&begun)?, std::future::ready(Ok(())).boxed().shared()));
        }
        let counted = format!("{NUMBER}{}", key_of(&build.project));
        let kept = driver.account_part(account, &counted).await?.map(|bytes| read::<u64>(&bytes)).transpose()?;
        let before = numbered.iter().rfind(|it| it.account == account && it.build.project == build.project);
        build.number = kept.max(before.map(|it| it.build.number)).unwrap_or_default() + 1;
        let before = before.map(|it| it.kept.clone());
        let forgotten = driver.account_keys_before_last(account, BUILD, BUILDS_COUNT_MAX - 1).await?;
        let mut parts: Vec<_> = forgotten.into_iter().map(|key| (key, None)).collect();
        parts.extend([(counted, Some(written(&build.number)?)), (build.key(), Some(written(&build)?))]);
        let (builds, id) = (Arc::clone(self), build.id.clone());
        let keeping = tokio::spawn(async move {
            // The number that stays is that of the latest.
            if let Some(before) = before {
                let _ = before.await;
            }
            let kept = driver.put_account_parts(account, parts, &cause).await.map_err(Arc::new);
            builds.numbered.lock().await.retain(|it| !is_it(it, &id));
            kept
        });
        let lost = |error: tokio::task::JoinError| Err(Arc::new(DriverError::Defect(error.to_string())));
        let kept = keeping.map(move |kept| kept.unwrap_or_else(lost)).boxed().shared();
        numbered.push(Numbered { account, build: build.clone(), kept: kept.clone() });
        Ok((build, kept))
    }

    /// Remembers that it was stopped, and stops it where it runs in an action.
    pub async fn stop(&self, account: u64, build: &mut Build, cause: &Cause) -> Result<(), DriverError> {
        build.was_stopped = true;
        self.driver()?.put_account_part(account, &build.key(), Some(written(build)?), cause).await?;
        let action = build.action.as_ref().and_then(|action| action.parse().ok());
        if let Some(running) = action.and_then(|action| self.running(action)) {
            running.stop.notify_one();
        }
        Ok(())
    }

    fn running(&self, action: ActionExecutionId) -> Option<Arc<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).get(&action).cloned()
    }

    /// Whether the build of an action waits for its turn: none of its programs has run.
    pub fn is_queued(&self, action: ActionExecutionId) -> bool {
        self.running(action).is_some_and(|running| *running.is_queued.borrow())
    }

    /// A program of the action runs: whether that is the first one of a build.
    pub(crate) fn begun(&self, action: ActionExecutionId) -> bool {
        self.running(action).is_some_and(|running| running.is_queued.send_replace(false))
    }

    /// The action is among those who wait for a place, or will not be for a while.
    pub(crate) fn has_asked(&self, action: ActionExecutionId) {
        if let Some(running) = self.running(action) {
            running.has_asked();
        }
    }

    /// No program of the account's begins until this is dropped.
    pub(crate) fn hold_up(&self, account: u64) -> Shut {
        self.gate.shut(account)
    }

    /// By which a running action hears that it is to stop. `returning` holds up others until it is among those who wait.
    pub(crate) fn stopping(self: &Arc<Self>, action: ActionExecutionId, returning: Option<Shut>) -> Stopping {
        let (stop, is_queued) = (Notify::new(), watch::Sender::new(true));
        let running = Arc::new(Running { stop, is_queued, returning: Mutex::new(returning) });
        self.running.lock().unwrap_or_else(PoisonError::into_inner).insert(action, Arc::clone(&running));
        Stopping { of: Arc::clone(self), action, running }
    }

    /// Of one project. Builds that began while it had another limit do not count.
    fn turns(&self, account: u64, project: &str, at_once_max: usize) -> Permits {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, (_, permits)| !permits.is_idle());
        let new = || (at_once_max, Permits::behind(self.gate.clone(), at_once_max, at_once_max));
        let of_project = turns.entry((account, project.to_owned())).or_insert_with(new);
        if of_project.0 != at_once_max {
            *of_project = new();
        }
        of_project.1.clone()
    }

    /// What an action of CodeBuild is told: its project as the execution pinned it, and of the build what the host knows.
    pub(crate) async fn told(
        self: &Arc<Self>,
        store: &dyn Store,
        pipeline: Aggregate,
        run: &RunAction,
        artifact_arn: Option<String>,
    ) -> Result<Told, DriverError> {
        let name = run.configuration.get("ProjectName").cloned().unwrap_or_default();
        let driver = self.driver()?;
        let pinned = match run.start.pins.get(&part_pin(&project_part(&name))) {
            Some(digest) => kept_pin(store, pipeline, digest).await?,
            None => None,
        };
        let project = pinned.map(|bytes| read::<Project>(&bytes)).transpose()?;
        let is_own = is_own_pipeline(&run.declaration.name);
        let initiator = project.as_ref().and_then(|project| project.initiator.clone());
        let initiator = initiator.unwrap_or_else(|| format!("codepipeline/{}", run.declaration.name));
        let uuid = if is_own { run.execution.to_string() } else { run.action_execution.to_string() };
        let build = Build {
            id: format!("{name}:{uuid}"),
            project: name,
            number: 0,
            pipeline: run.declaration.name.clone(),
            uid: pipeline.uid,
            execution: run.execution.to_string(),
            action: (!is_own).then(|| run.action_execution.to_string()),
            initiator,
            started: if is_own { run.start.at.0 } else { run.started.0 },
            was_stopped: false,
        };
        let cause = Cause::host("builds", Source::Timer);
        let numbered = self.number(pipeline.account, build, cause);
        let ((build, kept), resolved) = tokio::try_join!(numbered, revision(&driver, pipeline, run))?;
        let mut variables = vec![
            ("CODEBUILD_BUILD_ID", build.id),
            ("CODEBUILD_BUILD_NUMBER", build.number.to_string()),
            ("CODEBUILD_INITIATOR", build.initiator),
        ];
        let asked = project.as_ref().and_then(|project| project.members.get("sourceVersion")?.as_str());
        let version = match is_own {
            true => asked.map(str::to_owned).or_else(|| resolved.clone()),
            false => artifact_arn,
        };
        variables.extend(version.map(|version| ("CODEBUILD_SOURCE_VERSION", version)));
        variables.extend(resolved.map(|resolved| ("CODEBUILD_RESOLVED_SOURCE_VERSION", resolved)));
        let (waits, since) = (project.as_ref().map(Waits::of).unwrap_or_default(), (build.started, build.number));
        let project = project.map(|project| written(&project.members)).transpose()?;
        Ok(Told { project, variables, waits, since, kept })
    }
}

/// Of the only input: what its source says that it is.
async fn revision(driver: &Driver, pipeline: Aggregate, run: &RunAction) -> Result<Option<String>, DriverError> {
    let [(_, digest)] = run.inputs.as_slice() else { return Ok(None) };
    let state = driver.state(pipeline).await?;
    let Some(execution) = state.executions.get(&run.execution) else { return Ok(None) };
    let of_input = execution.runs.values().filter(|run| run.artifacts.values().any(|made| made == digest));
    Ok(of_input.filter_map(|run| Some(run.revision.as_ref()?.id.clone())).next())
}

/// While it is held, a build can be stopped.
pub(crate) struct Stopping {
    of: Arc<Builds>,
    action: ActionExecutionId,
    running: Arc<Running>,
}

impl Stopping {
    pub async fn asked(&self) {
        self.running.stop.notified().await;
    }

    /// When the build has waited for so long, and its first program has not run.
    pub async fn queued_for(&self, most: Duration) {
        let mut is_queued = self.running.is_queued.subscribe();
        let begun = is_queued.wait_for(|is_queued| !is_queued);
        if tokio::time::timeout(most, begun).await.is_ok() {
            std::future::pending::<()>().await;
        }
    }

    /// Until it is the build's turn among those of its project.
    pub async fn turn(
        &self,
        claim: Claim,
        project: &str,
        at_once_max: Option<usize>,
        tell: impl FnMut(usize),
    ) -> Option<Permit> {
        let asked = self.of.turns(claim.account, project, at_once_max.filter(|most| *most > 0)?).ask(claim);
        self.running.has_asked();
        Some(asked.come(tell).await)
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.of.running.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.action);
    }
}

/// Gives an action the directory of projects, in which there is its own if the account has it; unless those who run the host granted
/// another one.
pub(crate) fn grant(
    grants: &mut Grants,
    folder: impl FnOnce() -> std::io::Result<Arc<WorkFolder>>,
) -> std::io::Result<Option<Arc<WorkFolder>>> {
    if grants.directories.contains_key(DIRECTORY) {
        return Ok(None);
    }
    let folder = folder()?;
    let granted = DirectoryGrant { path: folder.path.clone(), access: Access::Read };
    grants.directories.insert(DIRECTORY.to_owned(), granted);
    Ok(Some(folder))
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DriverError> {
    serde_json::from_slice(bytes)
        .map_err(|error| DriverError::Damaged(format!("what an account has of builds is damaged: {error}")))
}

fn written(value: &impl Serialize) -> Result<Bytes, DriverError> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| DriverError::Defect(format!("what is kept of a build: {error}")))
}

#[cfg(test)]
mod tests {
    use futures::poll;

    use super::*;

    fn action(number: u8) -> ActionExecutionId {
        format!("00000000-0000-4000-8000-0000000000{number:02}").parse().unwrap()
    }

    #[tokio::test]
    async fn time_in_the_queue_is_bounded_and_time_after_it_is_not() {
        let builds = Arc::new(Builds::new(true, Gate::default()));
        let [waits, runs] = [1, 2].map(|number| builds.stopping(action(number), None));
        // A second program, and one of no build, begin none.
        assert_eq!([2, 2, 3].map(|number| builds.begun(action(number))), [true, false, false]);
        assert_eq!([1, 2, 3].map(|number| builds.is_queued(action(number))), [true, false, false]);
        assert!(poll!(Box::pin(waits.queued_for(Duration::from_secs(3600)))).is_pending());
        let mut begun = Box::pin(runs.queued_for(Duration::ZERO));
        waits.queued_for(Duration::ZERO).await;
        assert!(poll!(&mut begun).is_pending());
        drop(waits);
        assert!(!builds.is_queued(action(1)));
    }

    #[tokio::test]
    async fn no_more_builds_of_a_project_run_than_it_says() {
        let builds = Arc::new(Builds::new(true, Gate::default()));
        let of = |number| builds.stopping(action(number), None);
        let claim = |account| Claim { account, since: (0, 0) };
        let (first, second, third) = (of(1), of(2), of(3));
        let held = first.turn(claim(7), "app", Some(1), |_| panic!("it is its turn")).await;
        let mut told = Vec::new();
        let mut waits = Box::pin(second.turn(claim(7), "app", Some(1), |before| told.push(before)));
        assert!(poll!(&mut waits).is_pending());
        // Whoever waits for a turn is in the queue, whose time is bounded.
        builds.begun(action(1));
        second.queued_for(Duration::ZERO).await;
        assert!(poll!(Box::pin(first.queued_for(Duration::ZERO))).is_pending());
        // Another project, another account and a project without a limit have turns of their own.
        for (account, project, limit) in [(7, "web", Some(1)), (8, "app", Some(1)), (7, "app", None)] {
            third.turn(claim(account), project, limit, |_| panic!("{account} {project} waits")).await;
        }
        drop(held);
        assert!(waits.await.is_some());
        assert_eq!(told, [0]);
    }

    #[tokio::test]
    async fn builds_that_were_interrupted_go_on_in_their_order() {
        let builds = Arc::new(Builds::new(true, Gate::default()));
        let resumed = builds.hold_up(7);
        let of = |number| builds.stopping(action(number), Some(builds.hold_up(7)));
        let [late, early, elsewhere] = [2, 1, 3].map(of);
        drop(resumed);
        let since = |since| Claim { account: 7, since: (since, 0) };
        let mut second = Box::pin(late.turn(since(2), "app", Some(1), |_| ()));
        assert!(poll!(&mut second).is_pending(), "an older one is still to come");
        let mut first = Box::pin(early.turn(since(1), "app", Some(1), |_| ()));
        assert!(poll!(&mut first).is_pending());
        // One that does not come here keeps the others no longer than until it is elsewhere.
        builds.has_asked(action(3));
        assert!(poll!(&mut second).is_pending());
        assert!(first.await.is_some());
        drop(elsewhere);
    }
}
