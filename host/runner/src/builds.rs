//! Projects and builds of CodeBuild, as an account's record has them.
//!
//! Owns their parts of the record, the numbers of builds, what of it an action of CodeBuild is given, and the stop of one build.
//! Must not know who asks for a build, what a project's members mean, or how a build is carried out (its plugin).

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::Bytes;
use pipewright_base::{Cause, Digest, Source};
use pipewright_engine::driver::{Driver, DriverError, WeakDriver, kept_pin, part_pin};
use pipewright_pipeline::declaration::{ActionOwner, ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{ActionExecutionId, Placed, RunAction, all};
use pipewright_sandbox::capabilities::directories::DirectoryGrant;
use pipewright_sandbox::grants::{Access, Grants};
use pipewright_store::{Aggregate, Store};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tokio::sync::Notify;

/// Parts of an account's record: a project, the number of its latest build, and a build.
const PROJECT: &str = "project/";
const NUMBER: &str = "build-number/";
const BUILD: &str = "build/";
/// The name under which a plugin finds projects, and the path.
const DIRECTORY: &str = "projects";
pub const PROJECTS_GRANTED: &str = "/directories/projects";
/// Of an account; with one more the oldest is forgotten. Stops a record that grows with every build.
pub const BUILDS_COUNT_MAX: usize = 5000;
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

/// What an action of CodeBuild is told by its host.
#[derive(Default)]
pub(crate) struct Told {
    /// The content of the file that it finds; none where the account does not have the project.
    pub project: Option<Bytes>,
    pub variables: Vec<(&'static str, String)>,
}

pub struct Builds {
    /// Accounts have projects, so that a build of one that is not there fails.
    pub(crate) has_projects: bool,
    driver: OnceLock<WeakDriver>,
    /// Held while a build gets its number.
    numbering: tokio::sync::Mutex<()>,
    /// Of the builds that run, by their action executions.
    stops: Mutex<HashMap<ActionExecutionId, Arc<Notify>>>,
}

impl Builds {
    pub fn new(has_projects: bool) -> Self {
        Self {
            has_projects,
            driver: OnceLock::new(),
            numbering: tokio::sync::Mutex::default(),
            stops: Mutex::default(),
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
        driver.put_account_part(account, &project_part(name), None, cause).await?;
        driver.put_account_part(account, &format!("{NUMBER}{}", key_of(name)), None, cause).await
    }

    /// Those that are still known, the oldest first.
    pub async fn all(&self, account: u64) -> Result<Vec<Build>, DriverError> {
        let kept = self.driver()?.account_parts(account, BUILD).await?;
        kept.into_iter().map(|(_, bytes)| read(&bytes)).collect()
    }

    /// Numbers a build and keeps it; one that has begun before keeps its number. That of `build` does not count.
    pub async fn begin(&self, account: u64, mut build: Build, cause: &Cause) -> Result<Build, DriverError> {
        let _alone = self.numbering.lock().await;
        let driver = self.driver()?;
        let known = driver.account_parts(account, BUILD).await?;
        let ending = format!("/{}", uuid(&build.id));
        if let Some((_, bytes)) = known.iter().find(|(key, _)| key.ends_with(&ending)) {
            return read(bytes);
        }
        for (key, _) in known.iter().take((known.len() + 1).saturating_sub(BUILDS_COUNT_MAX)) {
            driver.put_account_part(account, &format!("{BUILD}{key}"), None, cause).await?;
        }
        let counted = format!("{NUMBER}{}", key_of(&build.project));
        let before = driver.account_part(account, &counted).await?.map(|bytes| read::<u64>(&bytes)).transpose()?;
        build.number = before.unwrap_or_default() + 1;
        // In this order: a number that a crash took from a build is passed over, and none is given twice.
        driver.put_account_part(account, &counted, Some(written(&build.number)?), cause).await?;
        driver.put_account_part(account, &build.key(), Some(written(&build)?), cause).await?;
        Ok(build)
    }

    /// Remembers that it was stopped, and stops it where it runs in an action.
    pub async fn stop(&self, account: u64, build: &mut Build, cause: &Cause) -> Result<(), DriverError> {
        build.was_stopped = true;
        self.driver()?.put_account_part(account, &build.key(), Some(written(build)?), cause).await?;
        let action = build.action.as_ref().and_then(|action| action.parse().ok());
        let stops = self.stops.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(stop) = action.and_then(|action: ActionExecutionId| stops.get(&action)) {
            stop.notify_one();
        }
        Ok(())
    }

    /// By which a running action hears that it is to stop.
    pub(crate) fn stopping(self: &Arc<Self>, action: ActionExecutionId) -> Stopping {
        let stop = Arc::default();
        self.stops.lock().unwrap_or_else(PoisonError::into_inner).insert(action, Arc::clone(&stop));
        Stopping { of: Arc::clone(self), action, stop }
    }

    /// What an action of CodeBuild is told: its project as the execution pinned it, and of the build what the host knows.
    pub(crate) async fn told(
        &self,
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
        let build = self.begin(pipeline.account, build, &Cause::host("builds", Source::Timer)).await?;
        let mut variables = vec![
            ("CODEBUILD_BUILD_ID", build.id),
            ("CODEBUILD_BUILD_NUMBER", build.number.to_string()),
            ("CODEBUILD_INITIATOR", build.initiator),
        ];
        let resolved = revision(&driver, pipeline, run).await?;
        let asked = project.as_ref().and_then(|project| project.members.get("sourceVersion")?.as_str());
        let version = match is_own {
            true => asked.map(str::to_owned).or_else(|| resolved.clone()),
            false => artifact_arn,
        };
        variables.extend(version.map(|version| ("CODEBUILD_SOURCE_VERSION", version)));
        variables.extend(resolved.map(|resolved| ("CODEBUILD_RESOLVED_SOURCE_VERSION", resolved)));
        let project = project.map(|project| written(&project.members)).transpose()?;
        Ok(Told { project, variables })
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
    stop: Arc<Notify>,
}

impl Stopping {
    pub async fn asked(&self) {
        self.stop.notified().await;
    }
}

impl Drop for Stopping {
    fn drop(&mut self) {
        self.of.stops.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.action);
    }
}

/// Gives an action the directory of projects, in which there is its own if the account has it; unless those who run the host granted another one.
pub(crate) fn grant(grants: &mut Grants, folder: &Path, name: &str, project: Option<&Bytes>) -> std::io::Result<()> {
    if grants.directories.contains_key(DIRECTORY) {
        return Ok(());
    }
    std::fs::create_dir_all(folder)?;
    if let Some(project) = project {
        std::fs::write(folder.join(format!("{name}.json")), project)?;
    }
    let granted = DirectoryGrant { path: folder.to_owned(), access: Access::Read };
    grants.directories.insert(DIRECTORY.to_owned(), granted);
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, DriverError> {
    serde_json::from_slice(bytes)
        .map_err(|error| DriverError::Damaged(format!("what an account has of builds is damaged: {error}")))
}

fn written(value: &impl Serialize) -> Result<Bytes, DriverError> {
    let bytes = serde_json::to_vec(value);
    bytes.map(Bytes::from).map_err(|error| DriverError::Defect(format!("what is kept of a build: {error}")))
}
