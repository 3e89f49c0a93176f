//! Runs actions in the sandbox: what the driver asks for in the core's words, done with plugins, artifacts and grants.
//!
//! Owns the way from a `RunAction` to a call of a plugin and from its end to a report. Must not know what follows from a
//! report.

mod build;
mod caches;
mod recordings;
mod sources;
mod tools;

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::FutureExt as _;
use futures::future::{BoxFuture, OptionFuture};
use pipewright_artifacts::caches::Caches;
use pipewright_artifacts::files::{FileQuota, MadeOutput};
use pipewright_pipeline::action_type::{ActionTypeInfo, is_of_plugins, unserved};
use pipewright_pipeline::declaration::{ActionTypeId, PipelineDeclaration};
use pipewright_pipeline::machine::{self, Declared, FailureType, Report, RunAction, Success, all};
use pipewright_sandbox::abi::{self, Description, Entry, Outcome};
use pipewright_sandbox::capabilities::caches::CachesAt;
use pipewright_sandbox::capabilities::commands::{self, Started};
use pipewright_sandbox::files::Input;
use pipewright_sandbox::grants::Grants;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::outside::Outside;
use pipewright_sandbox::seam::{Level, Sink};
use pipewright_sandbox::{Call, CallEnd, CallFailure, Plugin, Sandbox, Usage};
use tracing::Instrument as _;

use self::build::OfAction;
use crate::builds::{self, Builds};
use crate::connections;
use crate::grant_book::{GrantBook, Pinned};
use crate::grants::GrantsFile;
use crate::images::NotReady;
use crate::logs::phases::PhasedLog;
use crate::logs::{ActionLog, Logs};
use crate::outcome;
use crate::programs::{NotRun, Programs};
use crate::project_folders::ProjectFolders;
use crate::recording::{CallParameters, Keeper, Recordings, did_nothing};
use crate::stored_secrets::StoredSecrets;
use crate::work::Work;
use crate::work_folder::{WorkFolder, WorkFolders, waited};
use pipewright_artifacts::{ArtifactError, Artifacts};
use pipewright_base::fair::{Claim, Permits, Shut};
use pipewright_engine::driver::{Actions, Granted, kept_pin, points};
use pipewright_packages::plugins::{Plugins, abi_type_id, described_type};
use pipewright_store::{Aggregate, PartKey, Store};

mod request;

/// The name in `Start::pins` under which an execution keeps the digest of the plugin that serves `Stage/Action` or
/// `Stage/beforeEntry/Rule`.
pub fn plugin_pin(name_in_pipeline: &str) -> String {
    format!("plugin/{name_in_pipeline}")
}

pub struct SandboxActions {
    pub sandbox: Sandbox,
    pub plugins: Plugins,
    pub artifacts: Arc<Artifacts>,
    pub caches: Arc<Caches>,
    pub grants: GrantBook,
    /// What grants name of the accounts' own secrets.
    pub secrets: StoredSecrets,
    /// What executions pinned is read from there.
    pub store: Arc<dyn Store>,
    pub logs: Logs,
    pub recordings: Recordings,
    /// Where each running action has its own folder.
    pub(crate) work: Arc<WorkFolders>,
    pub(crate) projects: ProjectFolders,
    /// The account of those who run the host.
    pub operator: u64,
    pub region: String,
    /// Of each call, less what earlier calls of the same action execution used.
    pub limits: CallLimits,
    /// Where guests run: what waits for one must not keep a thread from anybody else.
    pub work_runtime: Work,
    /// Each account's share of the calls that run at once.
    pub calls: Permits,
    pub programs: Arc<Programs>,
    pub builds: Arc<Builds>,
}

/// A handle that the driver holds.
pub struct Runner(pub Arc<SandboxActions>);

impl Actions for Runner {
    fn run(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, Report> {
        let actions = Arc::clone(&self.0);
        let execution = tracing::info_span!("execution", pipeline = %run.declaration.name, id = %run.execution);
        let (stage, name) = (run.stage().name.as_str(), run.placed().name_in_stage());
        let action = tracing::info_span!(
            parent: &execution, "action", stage, name, id = %run.action_execution, call = run.call, attempt = run.attempt
        );
        let returns = run.is_restart && builds::is_build(&run.declared().type_id());
        let returning = returns.then(|| actions.builds.hold_up(pipeline.account));
        async move { actions.run(pipeline, run, returning).await }.instrument(action).boxed()
    }

    fn runtime(&self) -> Option<tokio::runtime::Handle> {
        self.0.sandbox.runtime().cloned()
    }

    fn may_run_again(&self, pipeline: Aggregate, run: RunAction) -> BoxFuture<'static, bool> {
        let actions = Arc::clone(&self.0);
        async move {
            let work = actions.work_runtime.clone();
            let plugin = work.run(async move { actions.plugin(pipeline, &run).await }).await;
            plugin.is_none_or(|plugin| plugin.description().may_run_again)
        }
        .boxed()
    }

    fn only_waited(&self, run: &RunAction) -> bool {
        waited(&self.0.work.path.join(run.action_execution.to_string()))
    }

    fn grants(&self, account: u64, pipeline: &str) -> BoxFuture<'static, Granted> {
        let pipeline = builds::granted_as(pipeline);
        if self.0.grants.file(account, pipeline).is_none() {
            return std::future::ready(Ok(None)).boxed();
        }
        let (actions, pipeline) = (Arc::clone(&self.0), pipeline.to_owned());
        async move {
            let grants = actions.grants_now(account, &pipeline).await?;
            Ok(Some(actions.grants.pin(&grants)))
        }
        .boxed()
    }

    fn parts(&self, declaration: &PipelineDeclaration) -> Vec<String> {
        builds::parts(declaration)
    }

    fn pins(&self, account: u64, declaration: &PipelineDeclaration) -> BTreeMap<String, String> {
        let catalogue = self.0.plugins.catalogue(account);
        let pin = all(declaration).filter_map(|placed| {
            let served = catalogue.bound(&placed.declared.type_id())?;
            Some((plugin_pin(&placed.name_in_pipeline()), served.digest.clone()))
        });
        pin.chain(tools::pins(&self.0.plugins.tools(account), declaration)).collect()
    }
}

impl SandboxActions {
    /// What the operator grants a pipeline now.
    async fn current_grants(self: &Arc<Self>, account: u64, pipeline: String) -> Result<Arc<GrantsFile>, String> {
        let actions = Arc::clone(self);
        let read = tokio::task::spawn_blocking(move || actions.grants.current(account, &pipeline)).await;
        read.unwrap_or_else(|error| Err(format!("reading the grants failed: {error}")))
    }

    /// What a start of a pipeline would hold on to now, or why it would be refused (S56).
    pub async fn grants_now(self: &Arc<Self>, account: u64, pipeline: &str) -> Result<Arc<GrantsFile>, String> {
        let grants = self.current_grants(account, pipeline.to_owned()).await;
        grants.map_err(|reason| self.told(account, "the grants of the pipeline cannot be read", reason))
    }

    /// The grants that an execution of a pipeline started with, or why they cannot be had.
    pub async fn pinned_grants(
        &self,
        pipeline: Aggregate,
        pins: &BTreeMap<String, String>,
    ) -> Result<Arc<GrantsFile>, String> {
        let digest = match self.grants.of(pins) {
            Pinned::Here(grants) => return Ok(grants),
            Pinned::Kept(digest) => digest,
        };
        let mut kept = kept_pin(&*self.store, pipeline, digest).await.map_err(|error| error.to_string())?;
        if kept.is_none() {
            // Versions before kept them with the account.
            let part = PartKey::Live(format!("grants/{digest}").into());
            let of_account = self.store.get(Aggregate::of_account(pipeline.account), &part).await;
            kept = of_account.map_err(|error| error.to_string())?;
        }
        let grants = kept.and_then(|bytes| self.grants.remember(digest, &bytes));
        grants.ok_or_else(|| "the grants that the execution started with are gone; start a new execution".to_owned())
    }

    /// What an account is told where only those who run the host can mend something (S124): they the reason, in which places
    /// of the host are named, and others what it is about.
    fn told(&self, account: u64, what: &str, reason: String) -> String {
        if account == self.operator {
            return reason;
        }
        tracing::error!(account, "{what}: {reason}");
        format!("{what}; those who run the host find the reason in its log")
    }

    /// What makes good a failure for lack of a grant: an execution has the grants of its start to its end (S55).
    fn remedy(&self, pipeline: Aggregate, name: &str) -> Option<String> {
        let name = builds::granted_as(name);
        let file = match (&self.grants, self.grants.file(pipeline.account, name)) {
            (GrantBook::One(_), _) => return None,
            (GrantBook::Many(_), Some(path)) if pipeline.account == self.operator => path.display().to_string(),
            (GrantBook::Many(_), None) if pipeline.account == self.operator => {
                format!(
                    "a grants file, which `[grants]` of the server's configuration names for {name} (SIGHUP has the server read \
                     that again),"
                )
            }
            (GrantBook::Many(_), _) => "the pipeline's grants file, which those who run the host have,".to_owned(),
        };
        Some(format!("Once {file} grants it, start a new execution: a retry keeps the grants of this one"))
    }

    async fn plugin(&self, pipeline: Aggregate, run: &RunAction) -> Option<Plugin> {
        let placed = run.placed();
        match run.start.pins.get(&plugin_pin(&placed.name_in_pipeline())) {
            Some(digest) => self.plugins.load_pinned(&self.sandbox, digest).await,
            None => self.plugins.bound(&self.sandbox, pipeline.account, &placed.declared.type_id()).await,
        }
    }

    /// What the action was granted when its execution started.
    async fn granted(&self, pipeline: Aggregate, run: &RunAction, plugin: &Description) -> Result<Grants, String> {
        let grants = self.pinned_grants(pipeline, &run.start.pins).await?;
        let resolved = self.resolved(pipeline.account, &grants, &run.placed().name_in_pipeline(), plugin).await;
        let what = format!("what the {} is granted cannot be had", run.declared().kind());
        resolved.map_err(|error| self.told(pipeline.account, &what, error))
    }

    /// With the values that the secrets have now.
    async fn resolved(
        &self,
        account: u64,
        grants: &GrantsFile,
        action: &str,
        plugin: &Description,
    ) -> Result<Grants, String> {
        let stored = self.secrets.values(account, grants.stored(Some(action))).await?;
        grants.resolve(action, &plugin.name, &plugin.version, &stored).map_err(|error| error.to_string())
    }

    async fn run(&self, pipeline: Aggregate, run: RunAction, returning: Option<Shut>) -> Report {
        let (placed, id) = (run.placed(), run.declared().type_id());
        let Some(plugin) = self.plugin(pipeline, &run).await else { return self.without_plugin(pipeline, &run, &id) };
        let description = plugin.description();
        let mut request = self.request(pipeline, &run);
        let granted = async {
            check_settings(&run, described_type(description, &id).as_ref())?;
            let mut grants = self.granted(pipeline, &run, description).await?;
            if let Declared::Action(action) = run.declared() {
                self.connect(pipeline.account, action, &run.configuration, &mut request, &mut grants).await?;
                if run.source_revision.is_some() {
                    request.settings.extend(run.start.branch.clone().map(connections::branch));
                }
            }
            Ok::<_, String>(grants)
        };
        let mut grants = match granted.await {
            Ok(grants) => grants,
            Err(message) => return Report::failed(FailureType::ConfigurationError, message),
        };
        let inputs = match self.inputs(&run) {
            Ok(inputs) => inputs,
            Err(error) => return Report::failed(FailureType::SystemUnavailable, error.to_string()),
        };
        let folder = Arc::new(self.work.folder(run.action_execution.to_string()));
        // What an interrupted attempt left behind is not this attempt's.
        if run.attempt > 1
            && let Err(error) = folder.empty().await
        {
            let message = format!("what an interrupted attempt left behind cannot be removed: {error}");
            return Report::failed(FailureType::SystemUnavailable, message);
        }
        let (execution, id_of_run) = (run.execution.to_string(), run.action_execution.to_string());
        let log = self.logs.of(&execution, &id_of_run, &placed.stage.name, &placed.name_in_stage());
        let deprecated = self.plugins.catalogue(pipeline.account).deprecated(&id, plugin.digest());
        restarted(&run).into_iter().chain(deprecated).for_each(|warning| log.log(Level::Warn, &warning));
        let build = match builds::is_build(&id) {
            true => match Box::pin(self.build(pipeline, &run, &mut grants, &log, returning)).await {
                Ok(build) => Some(build),
                Err(message) => return Report::failed(FailureType::SystemUnavailable, message),
            },
            false => None,
        };
        request.environment.extend(build.iter().flat_map(|build| build.variables.clone()));
        let spent = spent(&log, &run, grants.commands.is_some()).await;
        let sink: Arc<dyn Sink> = match &build {
            Some(_) => Arc::new(PhasedLog(Arc::clone(&log))),
            None => log.clone(),
        };
        let since = Claim { account: pipeline.account, since: (run.started.0, 0) };
        let work = ActionWork {
            kept: build.as_ref().map(|build| build.kept.clone()),
            claim: build.as_ref().map_or(since, |build| build.claim),
            sink,
            limits: self.limits.clone().within_minutes(placed.declared.timeout_in_minutes()).less(&spent),
            plugin,
            request,
            grants,
            inputs,
            folder,
            log,
        };
        let folder = Arc::clone(&work.folder);
        let calls = Box::pin(self.calls(pipeline, &run, work));
        match build {
            Some(build) => build.carry_out(&folder, calls).await,
            None => calls.await,
        }
    }

    fn without_plugin(&self, pipeline: Aggregate, run: &RunAction, id: &ActionTypeId) -> Report {
        let catalogue = self.plugins.catalogue(pipeline.account);
        let was_served = run.start.pins.contains_key(&plugin_pin(&run.placed().name_in_pipeline()));
        let message = match catalogue.yanked(id) {
            Some(yanked) => format!("{id} cannot be used any more: {yanked}"),
            None if was_served || is_of_plugins(id) => {
                format!("no plugin serves {id} here any more; add it and retry the stage")
            }
            None => unserved(id, catalogue.types()),
        };
        let job = self.job(pipeline, run, id);
        job.unwrap_or_else(|| Report::failed(FailureType::ConfigurationError, message))
    }

    /// The call, and after it one for each program that the call before started.
    async fn calls(&self, pipeline: Aggregate, run: &RunAction, work: ActionWork) -> Report {
        let ActionWork { claim, kept, mut limits, plugin, mut request, grants, inputs, folder, log, sink } = work;
        let (mut keeper, mut ended) = (None, None);
        let (mut usage, mut denials, mut wants_grant, mut written) = (machine::Usage::default(), Vec::new(), false, 0);
        let outcome = loop {
            let call = Call {
                tenant: pipeline.account,
                entry: entry(run),
                request: request.clone(),
                granted_as: run.is_rule().then(|| run.placed().name_in_pipeline()),
                grants: grants.clone(),
                time: None,
                inputs: inputs.clone(),
                work_dir: folder.path.clone(),
                secret_environment: request::secret_environment(run),
                ended: ended.take(),
                caches: CachesAt::Kept(Arc::clone(&self.caches), caches::space(pipeline, run)),
                tools: self.tools(pipeline.account, &run.start.pins),
                limits: limits.clone(),
                sink: Arc::clone(&sink),
                outside: Outside::Recorded(self.recordings.recorder(run, keeper.as_ref()).await),
            };
            let made = CallParameters::of(&call);
            let turn = self.calls.acquire(pipeline.account).await;
            let mut end = self.sandbox.call(&plugin, call).await;
            drop(turn);
            folder.used(end.leaves);
            log.keep_results(&end);
            log.flush();
            if keeper.is_none() && !did_nothing(&end) {
                keeper = Keeper::new(&plugin);
            }
            if let Some(keeper) = &mut keeper {
                keeper.add(made, &mut end);
            }
            limits.spent.add(&end.usage);
            usage.add(used(&end.usage));
            let (Some(started), Ok(Outcome::Waiting(wait))) = (end.started.take(), &end.result) else {
                denials.append(&mut end.denials);
                end.denials = denials;
                end.wants_grant |= wants_grant;
                let saved = std::mem::take(&mut end.saved);
                let outcome = self.report(pipeline, run, end, &limits.files).await.outcome;
                if let machine::Outcome::Succeeded(_) = outcome {
                    Box::pin(self.keep_caches(pipeline, run, saved, &log)).await;
                }
                break outcome;
            };
            if let Some(Err(error)) = OptionFuture::from(kept.clone()).await {
                break build::not_kept(&error).outcome;
            }
            request.resumed = Some(abi::Resumption { continuation: wait.continuation.clone(), wake: abi::Wake::Time });
            let refused = started.clone();
            let (action, builds) = (run.action_execution, Arc::clone(&self.builds));
            let behalf = OfAction { claim, action, builds, log: Arc::clone(&log), folder: Arc::clone(&folder) };
            match Box::pin(self.run_program(pipeline, run, behalf, started, written)).await {
                Ok((how, bytes)) => (ended, written) = (Some(how), bytes),
                Err(failed) => break failed.outcome,
            }
            denials.extend(refused.denials());
            wants_grant |= refused.wants_grant();
            log.flush();
        };
        let report = Report { outcome, usage };
        if let Some(keeper) = keeper {
            Box::pin(self.recordings.keep(run, keeper, &report)).await;
        }
        folder.remove().await;
        report
    }

    /// Runs a program to its end; says how that was, and how much the action's programs have written.
    async fn run_program(
        &self,
        pipeline: Aggregate,
        run: &RunAction,
        behalf: OfAction,
        started: Started,
        written: u64,
    ) -> Result<(commands::Ended, u64), Report> {
        let scratch = behalf.folder.keep_scratch().await;
        let scratch = scratch.map_err(|error| Report::failed(FailureType::SystemUnavailable, error.to_string()))?;
        let pins = self.programs.pins(self.logs.folder(&run.execution.to_string()));
        let ended = self.programs.run(behalf, started, scratch, &pins, written).await;
        ended.map_err(|not_run| {
            let (kind, reason) = match not_run {
                NotRun::Image(NotReady { is_passing, reason }) => {
                    let kind =
                        if is_passing { FailureType::SystemUnavailable } else { FailureType::ConfigurationError };
                    return Report::failed(kind, format!("the program cannot be run: {reason}"));
                }
                NotRun::Configuration(reason) => (FailureType::ConfigurationError, reason),
                NotRun::Host(reason) => (FailureType::SystemUnavailable, reason),
            };
            Report::failed(
                kind,
                self.told(
                    pipeline.account,
                    "the program cannot be run",
                    format!("the program cannot be run: {reason}"),
                ),
            )
        })
    }

    fn inputs(&self, run: &RunAction) -> Result<Vec<Input>, ArtifactError> {
        let input = |(name, digest): &(String, String)| {
            Ok(Input { name: name.clone(), tree: self.artifacts.tree(digest)?, blobs: self.artifacts.blobs().clone() })
        };
        run.inputs.iter().map(input).collect()
    }

    async fn report(&self, pipeline: Aggregate, run: &RunAction, end: CallEnd, quota: &FileQuota) -> Report {
        let result = match end.result {
            Ok(outcome) => outcome,
            Err(CallFailure::Host(error)) => {
                let message = self.told(pipeline.account, "the host failed", format!("the host failed: {error:#}"));
                return Report::failed(FailureType::SystemUnavailable, message);
            }
            Err(failure) => {
                let remedy = self.remedy(pipeline, &run.declaration.name);
                let error = outcome::failed_call(&failure, &end.denials, end.wants_grant, remedy);
                return Report::failed(error.kind, error.message);
            }
        };
        if let Outcome::Waiting(wait) = result {
            return outcome::waiting(wait);
        }
        if let Some(name) = end.undeclared.first() {
            let message = format!(
                "the plugin wrote to /outputs/{name}, but the {} declares no output artifact of this name; {}",
                run.declared().kind(),
                if run.is_rule() {
                    "a rule makes none"
                } else {
                    "add it to outputArtifacts, or name it as the plugin does"
                },
            );
            return Report::failed(FailureType::ConfigurationError, message);
        }
        let report = outcome::report(result);
        let machine::Outcome::Succeeded(mut success) = report.outcome else { return report };
        if let Some(error) = outcome::not_made(run.outputs(), &end.outputs) {
            return Report::failed(error.kind, error.message);
        }
        match self.take_in(&mut success, end.outputs, quota).await {
            Ok(()) => {
                points::pass("made");
                machine::Outcome::Succeeded(success).into()
            }
            Err(report) => report,
        }
    }

    /// Makes the outputs durable artifacts.
    async fn take_in(&self, success: &mut Success, made: Vec<MadeOutput>, quota: &FileQuota) -> Result<(), Report> {
        if made.is_empty() {
            return Ok(());
        }
        let (artifacts, quota) = (Arc::clone(&self.artifacts), quota.clone());
        let taken = tokio::task::spawn_blocking(move || artifacts.take_in(&made, &quota)).await;
        match taken {
            Ok(Ok(digests)) => success.artifacts = digests.into_iter().collect(),
            Ok(Err(error @ ArtifactError::Refused(_))) => {
                return Err(Report::failed(FailureType::JobFailed, error.to_string()));
            }
            Ok(Err(error)) => return Err(Report::failed(FailureType::SystemUnavailable, error.to_string())),
            Err(error) => return Err(Report::failed(FailureType::SystemUnavailable, error.to_string())),
        }
        Ok(())
    }
}

fn restarted(run: &RunAction) -> Option<String> {
    let attempt = run.attempt;
    let message = format!("The host went down while this ran: it runs again from its beginning, as attempt {attempt}");
    run.is_restart.then_some(message)
}

/// What earlier calls of this action execution used of its limits: as they reported, or more of what its files tell, which
/// know of calls that a crash interrupted, too. The log also holds the times of its lines, so that it counts for a little more
/// than was said; and with programs what they wrote, which has a limit of its own.
async fn spent(log: &Arc<ActionLog>, run: &RunAction, has_programs: bool) -> Usage {
    let (reported, is_first) = (run.spent, run.attempt == 1 && run.call == 1);
    let (log_bytes, host_calls) = if !is_first && !has_programs && log.was_written() {
        let log = Arc::clone(log);
        tokio::task::spawn_blocking(move || log.written()).await.unwrap_or_default()
    } else {
        (0, 0)
    };
    Usage {
        cpu_micros: reported.cpu_ms.saturating_mul(1_000),
        log_bytes: reported.log_bytes.max(log_bytes),
        host_calls: reported.host_calls.max(host_calls),
        ..Usage::default()
    }
}

/// What a call reports of it. Rounded up: a thousand short calls are not for nothing.
fn used(usage: &Usage) -> machine::Usage {
    let Usage { cpu_micros, memory_bytes: _, log_bytes, host_calls } = *usage;
    machine::Usage { cpu_ms: cpu_micros.div_ceil(1_000), log_bytes, host_calls }
}

/// That the type takes the settings as they were resolved.
pub(crate) fn check_settings(run: &RunAction, info: Option<&ActionTypeInfo>) -> Result<(), String> {
    let placed = run.placed();
    let declared = placed.declared.configuration();
    let misfit = info.zip(declared).and_then(|(info, declared)| info.misfit(declared, &run.configuration));
    misfit.map_or(Ok(()), |misfit| Err(format!("{}: {misfit}", placed.name_in_pipeline())))
}

/// Which function of the plugin is called.
fn entry(run: &RunAction) -> Entry {
    let revision = run.source_revision.as_ref().map(|revision| revision.revision_value.clone());
    Entry::of(abi_type_id(&run.declared().type_id()).category, revision)
}

/// With what an action is called.
struct ActionWork {
    claim: Claim,
    /// Of a build: no program runs before.
    kept: Option<builds::Kept>,
    limits: CallLimits,
    plugin: Plugin,
    request: abi::Request,
    grants: Grants,
    inputs: Vec<Input>,
    folder: Arc<WorkFolder>,
    log: Arc<ActionLog>,
    /// Where what its calls and programs say goes: the log, at last.
    sink: Arc<dyn Sink>,
}
