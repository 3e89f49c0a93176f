//! One call of a plugin: a fresh store, the limits, and what came of it.
//!
//! Must not know how capabilities work: it makes their state and hands it over.

use std::future::poll_fn;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::future::{Either, select};
use tokio::time::timeout;
use wasmtime::component::{Instance, ResourceTable};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, UpdateDeadline};
use wasmtime_wasi::WasiCtx;

use crate::abi::{Description, Entry, Failure, NamedValue, Outcome, Request};
use crate::capabilities::caches::{CachesAt, SavedCache};
use crate::capabilities::commands::{Ended as JobEnded, Started};
use crate::capabilities::secrets::Secrets;
use crate::capabilities::{Held, Setup};
use crate::clock::CpuMeter;
use crate::description;
use crate::enter::enter;
use pipewright_artifacts::files::{Floor, MadeOutput};

use crate::explain::{causes, explain};
use crate::files::{self, Files, FilesConfig, Finished};
use crate::grants::Grants;
use crate::limiter::Limiter;
use pipewright_base::memory::LimitReached;

use crate::leaks;
use crate::limits::{CallLimits, Usage};
use crate::log::Log;
use crate::masks::{Masks, SECRET_BYTES_MIN};
use crate::outcome;
use crate::outside::{Difference, Outside, REVEALED, Recorded};
use crate::plugin::{Code, Exports, Plugin};
use crate::results::{Reported, Results};
use crate::rights::Asks;
use crate::sandbox::Sandbox;
use crate::seam::{Level, Seam, Sink};
use crate::state::State;
use crate::symbols::Symbols;
use crate::tools::{FindTool, Tools};
use pipewright_base::memory::HostMemory;
use tokio::runtime::Handle;

/// What a plugin is called with.
pub struct Call {
    /// For whom: what calls share is shared by these.
    pub tenant: u64,
    pub entry: Entry,
    pub request: Request,
    /// What its grants are kept under, and a denial names: none for an action's `Stage/Action`.
    pub granted_as: Option<String>,
    pub grants: Grants,
    /// The time of day at which the call starts, in milliseconds since 1970-01-01 UTC; none: now.
    pub time: Option<u64>,
    /// The input artifacts that `request.inputs` names.
    pub inputs: Vec<files::Input>,
    /// A directory for this call alone, in which outputs and scratch are made once they are used. What is in it is the
    /// caller's to remove, after the outputs were taken.
    pub work_dir: PathBuf,
    /// The declaration's variables that are secrets, each with what names the secret.
    pub secret_environment: Vec<NamedValue>,
    /// How the program ended that the call before started. Its scratch is in `work_dir`, and is this call's.
    pub ended: Option<JobEnded>,
    /// Where it finds what earlier executions kept.
    pub caches: CachesAt,
    /// Where it finds tools that are named by their packages.
    pub tools: FindTool,
    pub limits: CallLimits,
    pub sink: Arc<dyn Sink>,
    /// Whether the call reaches what is outside, and what is kept of it.
    pub outside: Outside,
}

/// How a call ended.
#[derive(Debug)]
pub struct CallEnd {
    pub result: Result<Outcome, CallFailure>,
    /// What the plugin made, if it succeeded.
    pub outputs: Vec<MadeOutput>,
    /// The names of outputs that the plugin tried to write and that the request does not have.
    pub undeclared: Vec<String>,
    /// What it reported of tests and coverage, however it ended.
    pub results: Vec<Results>,
    /// What the plugin tried and was not granted, in order, each with the grant that would allow it.
    pub denials: Vec<String>,
    /// Whether a grant would have allowed one of them.
    pub wants_grant: bool,
    /// Of this call alone.
    pub usage: Usage,
    /// Of a call that is recorded or replayed.
    pub kept: Option<Kept>,
    /// The program for whose end it waits, if it waits. Whoever made the call runs it, in the scratch of its `work_dir`.
    pub started: Option<Started>,
    /// What is to be kept for later executions, if it succeeded. Whoever made the call keeps it, out of its `work_dir`.
    pub saved: Vec<SavedCache>,
    /// Whether there may be something in its `work_dir`, which whoever made the call removes.
    pub leaves: bool,
}

impl CallEnd {
    /// Before the plugin began.
    fn failed(error: anyhow::Error) -> Self {
        Self {
            result: Err(CallFailure::Host(error)),
            outputs: Vec::new(),
            undeclared: Vec::new(),
            results: Vec::new(),
            denials: Vec::new(),
            wants_grant: false,
            usage: Usage::default(),
            kept: None,
            started: None,
            saved: Vec::new(),
            leaves: false,
        }
    }
}

/// A call without secret values, for a recording and for the comparing with one.
#[derive(Debug)]
pub struct Kept {
    pub request: Request,
    pub outcome: Option<Outcome>,
    /// Empty where it was replayed.
    pub outside: Recorded,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum CallFailure {
    /// The plugin says so itself.
    #[error("{}", .0.message)]
    Plugin(Failure),
    /// The plugin crashed.
    #[error("the plugin crashed: {0}")]
    Trap(String),
    #[error("{}", .0.message)]
    Limit(LimitReached),
    /// What the plugin answered is not an answer.
    #[error("the plugin's answer cannot be used: {0}")]
    Interface(String),
    /// It did not do what was kept, or expected, of it.
    #[error(transparent)]
    Differs(Difference),
    #[error("the host failed: {0:#}")]
    Host(anyhow::Error),
}

impl Sandbox {
    /// Where guests run: what is done there for a call, around it, needs no way there and back.
    pub fn runtime(&self) -> Option<&Handle> {
        self.0.guests.handle()
    }

    /// Calls a plugin, on the threads of the sandbox. Dropping the future stops the plugin, at the latest at its next epoch.
    pub async fn call(&self, plugin: &Plugin, call: Call) -> CallEnd {
        let (sandbox, plugin) = (self.clone(), plugin.clone());
        // In a box: it is large, and would be copied each time that it is handed on.
        let called = Box::pin(async move {
            match sandbox.code(&plugin.loaded).await {
                Ok(code) => sandbox.call_here(&plugin, &code, call).await,
                Err(error) => CallEnd::failed(anyhow::Error::from(error)),
            }
        });
        self.0.guests.run(called).await.unwrap_or_else(|| CallEnd::failed(anyhow::anyhow!("the sandbox was closed")))
    }

    async fn call_here(&self, plugin: &Plugin, code: &Code, call: Call) -> CallEnd {
        let Call {
            tenant, entry, mut request, granted_as, grants, time, inputs, work_dir, limits, sink, outside, ..
        } = call;
        let (secret_environment, ended, caches, find) = (call.secret_environment, call.ended, call.caches, call.tools);
        let description = plugin.description();
        description::lower_booleans(description, &request.action_type, &mut request.settings);
        let action = granted_as.unwrap_or_else(|| format!("{}/{}", request.context.stage, request.context.action));
        let secrets = secrets(description, &request, &grants);
        // What stands for a revealed value is masked as the value was when the call was recorded.
        let revealed = matches!(outside, Outside::Replayed(_)).then_some(REVEALED);
        let masks = Masks::of(secrets.iter().map(|(_, value)| *value).chain(revealed));
        let short = too_short(&secrets);
        let kept_back = Arc::new(leaks::masks(&grants));
        let asks = Asks::of(description, &request);
        let grants = grants.narrowed(&asks);
        let seam = Seam::new(&description.name, &action, sink, masks, asks, outside);
        seam.journaled_before(limits.spent.host_calls);
        short.iter().for_each(|told| seam.log(Level::Warn, told));
        let memory = limits.host_memory(&self.0.memory.share(tenant));
        let files = FilesConfig {
            inputs,
            outputs: request.outputs.iter().map(|output| output.name.clone()).collect(),
            directories: grants.directories.clone(),
            work_dir,
            is_scratch_left: ended.is_some(),
            quota: limits.files.clone(),
            memory: Arc::clone(&memory),
            floor: Floor::of_disks(),
            seam: Arc::clone(&seam),
        };
        let making = Making {
            tenant,
            seam,
            limits,
            memory,
            grants,
            time,
            idempotency_key: request.idempotency_key.as_str(),
            secret_environment,
            ended,
            caches,
            find,
            files: Files::new(files),
            symbols: plugin.symbols.as_deref(),
        };
        let run = async |store: &mut Store<State>, instance: Instance, exports: &Exports| {
            enter(store, &instance, exports, &entry, &request).await
        };
        let ran = self.run(code, making, run).await;
        let used_up = ran.files.as_ref().and_then(Files::used_up).or(ran.refused.as_deref());
        let mut result = judged(ran.result, &ran.seam, ran.has_started, used_up, &kept_back);
        used_up.iter().for_each(|limit| ran.seam.log(Level::Warn, limit));
        let Finished { made: mut outputs, undeclared, leaves } =
            ran.files.map(|files| files.finish(ran.has_started)).unwrap_or_default();
        let saved = to_keep(&result, ran.saved, &kept_back, &ran.seam).await;
        if result.is_ok() {
            (result, outputs) = leaks::without(result, outputs, kept_back, &ran.seam).await;
        }
        let result = as_was_kept(result, &ran.seam);
        outputs.retain(|_| result.is_ok());
        let kept = ran.seam.recorded().map(|outside| Kept {
            request: outcome::masked_request(request, &ran.seam),
            outcome: result.as_ref().ok().map(|outcome| outcome::masked_whole(outcome.clone(), &ran.seam)),
            outside,
        });
        let Ran { seam, usage, started, results, .. } = ran;
        let (denials, wants_grant) = (seam.denials(), seam.wants_grant());
        CallEnd { result, outputs, undeclared, results, denials, wants_grant, usage, kept, started, saved, leaves }
    }

    /// Runs something in a fresh instance, under all limits.
    pub(crate) async fn run<T>(
        &self,
        code: &Code,
        making: Making<'_>,
        work: impl AsyncFnOnce(&mut Store<State>, Instance, &Exports) -> wasmtime::Result<T>,
    ) -> Ran<T> {
        let (seam, limits, symbols) = (Arc::clone(&making.seam), making.limits.clone(), making.symbols);
        let Ok(_permit) = self.0.calls.acquire().await else {
            return Ran::none(CallFailure::Host(anyhow::anyhow!("the sandbox was closed")), seam);
        };
        let cpu = Arc::new(CpuMeter::new(limits.spent.cpu_micros));
        let state = self.state(making, &cpu);
        let log = state.log.clone();
        // The store is kept out here, so that it outlives the work that is dropped when its time is up.
        let mut slot = None;
        let result = {
            let mut whole = pin!(async {
                let (store, instance, exports) = instantiate(code, state, &limits, &cpu, &mut slot).await?;
                work(store, instance, exports).await
            });
            // The meter sees exactly the time in which a thread works on this call.
            let metered = poll_fn(|context| {
                cpu.resume();
                let polled = whole.as_mut().poll(context);
                cpu.pause();
                polled
            });
            // Where it differs from what was kept, it ends at once, and the store is dropped as when its time is up.
            let differed = pin!(seam.differed());
            let metered = select(metered, differed);
            let done = timeout(Duration::from_secs(limits.wall_seconds_max), metered).await;
            done.map(|done| match done {
                Either::Left((result, _)) => Some(result),
                Either::Right(_) => None,
            })
        };
        log.finish();
        let under_way = seam.under_way();
        let state = slot.map(Store::into_data);
        let limiter = state.as_ref().map(|state| &state.limiter);
        let result = match result {
            Ok(Some(Ok(value))) => Ok(value),
            Ok(None) => Err(CallFailure::Trap("it was ended".to_owned())),
            Ok(Some(Err(error))) => {
                if let Some(causes) = causes(&error) {
                    seam.log(Level::Debug, &causes);
                }
                Err(explain(error, limiter.and_then(Limiter::refused), log.panic(), symbols))
            }
            Err(_) => Err(CallFailure::Limit(LimitReached::new("wall_seconds_max", too_long(&limits, under_way)))),
        };
        let of_tools = state.as_ref().and_then(|state| state.tools.as_ref()).map_or(0, |tools| tools.memory_bytes);
        let usage = Usage {
            cpu_micros: cpu.spent_micros().saturating_sub(limits.spent.cpu_micros),
            memory_bytes: (limiter.map_or(0, Limiter::memory_bytes) + of_tools) as u64,
            log_bytes: log.bytes().saturating_sub(limits.spent.log_bytes),
            host_calls: seam.calls(),
        };
        let refused = limiter.and_then(Limiter::refused).map(|reached| reached.message.clone());
        let has_started = state.as_ref().is_some_and(|state| state.held.commands.has_started());
        let (files, started, saved, results) = match state {
            Some(State { files, held, reported, .. }) => {
                (Some(files), held.commands.into_started(), held.caches.into_saved(), reported.into_reports())
            }
            None => (None, None, Vec::new(), Vec::new()),
        };
        Ran { result, files, refused, results, has_started, started, saved, seam, usage }
    }

    fn state(&self, making: Making<'_>, cpu: &Arc<CpuMeter>) -> State {
        let Making {
            tenant,
            seam,
            limits,
            memory,
            grants,
            time,
            idempotency_key,
            secret_environment,
            ended,
            caches,
            find,
            files,
            ..
        } = making;
        let mut wasi = WasiCtx::builder();
        // Not even made: a socket is a descriptor of the host.
        wasi.allow_tcp(false).allow_udp(false);
        let log = Log::new(&limits, Arc::clone(&seam));
        log.configure(&mut wasi);
        let held = Held::new(Setup {
            seam: &seam,
            grants: &grants,
            limits: &limits,
            memory: &memory,
            wasi: &mut wasi,
            time,
            idempotency_key,
            connector: &self.0.connector,
            secrets: Secrets::of(&grants, &seam),
            scratch: files.scratch(),
            secret_environment,
            ended,
            caches,
        });
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources_max);
        let (limiter, reported) = (Limiter::new(&limits, memory.budget()), Reported::new(Arc::clone(&memory)));
        let tools = Tools {
            sandbox: self.clone(),
            tenant,
            limits,
            cpu: Arc::clone(cpu),
            grants,
            memory,
            idempotency_key: idempotency_key.to_owned(),
            find,
            runs: 0,
            memory_bytes: 0,
        };
        State { wasi: wasi.build(), table, log, files, held, reported, tools: Some(tools), limiter, seam }
    }
}

/// What the state of a call is made of.
pub(crate) struct Making<'a> {
    pub(crate) tenant: u64,
    pub(crate) seam: Arc<Seam>,
    pub(crate) limits: CallLimits,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) grants: Grants,
    pub(crate) time: Option<u64>,
    pub(crate) idempotency_key: &'a str,
    pub(crate) secret_environment: Vec<NamedValue>,
    pub(crate) ended: Option<JobEnded>,
    pub(crate) caches: CachesAt,
    pub(crate) find: FindTool,
    pub(crate) files: Files,
    pub(crate) symbols: Option<&'a Symbols>,
}

pub(crate) struct Ran<T> {
    pub(crate) result: Result<T, CallFailure>,
    files: Option<Files>,
    /// The last growth of memory that a guest was refused, in words.
    refused: Option<String>,
    results: Vec<Results>,
    /// Also where it was made up, or is what was kept.
    has_started: bool,
    started: Option<Started>,
    saved: Vec<SavedCache>,
    seam: Arc<Seam>,
    usage: Usage,
}

impl<T> Ran<T> {
    fn none(failure: CallFailure, seam: Arc<Seam>) -> Self {
        Self {
            result: Err(failure),
            files: None,
            refused: None,
            results: Vec::new(),
            has_started: false,
            started: None,
            saved: Vec::new(),
            seam,
            usage: Usage::default(),
        }
    }
}

/// Where it did not do what was kept of it, whatever that led to.
fn as_was_kept(result: Result<Outcome, CallFailure>, seam: &Seam) -> Result<Outcome, CallFailure> {
    match seam.difference(result.as_ref().err().map(ToString::to_string).as_deref()) {
        Some(difference) => Err(CallFailure::Differs(difference)),
        None => result,
    }
}

/// What a call that ended its action is to leave to later executions.
async fn to_keep(
    result: &Result<Outcome, CallFailure>,
    saved: Vec<SavedCache>,
    kept_back: &Arc<Masks>,
    seam: &Seam,
) -> Vec<SavedCache> {
    match result {
        Ok(Outcome::Waiting(_)) | Err(_) => Vec::new(),
        Ok(_) => leaks::of_caches(saved, Arc::clone(kept_back), seam).await,
    }
}

/// What a plugin's answer comes to: without secrets in what is shown, and no answer where there is one in what is given on.
fn judged(
    result: Result<Result<Outcome, Failure>, CallFailure>,
    seam: &Seam,
    has_started: bool,
    used_up: Option<&str>,
    kept_back: &Masks,
) -> Result<Outcome, CallFailure> {
    match result {
        Ok(Ok(outcome)) => {
            if let Some(place) = leaks::of_outcome(&outcome, kept_back) {
                return Err(leaks::failure(&place, seam));
            }
            let mut outcome = outcome::masked(outcome, seam);
            let checked = outcome::check(&mut outcome, seam, has_started);
            checked.map(|()| outcome).map_err(CallFailure::Interface)
        }
        Ok(Err(failure)) => {
            let mut message = seam.masked(&failure.message).into_owned();
            // A guest often knows no more than that writing failed, or that there is no memory.
            if let Some(limit) = used_up {
                message = format!("{limit}\n{message}");
            }
            Err(CallFailure::Plugin(outcome::checked(Failure { message, ..failure })))
        }
        Err(CallFailure::Trap(message)) => Err(CallFailure::Trap(seam.masked(&message).into_owned())),
        Err(failure) => Err(failure),
    }
}

/// The secret values that this call could let slip, with their names: those granted, and the settings that the plugin
/// calls secret.
fn secrets<'a>(description: &Description, request: &'a Request, grants: &'a Grants) -> Vec<(String, &'a str)> {
    let granted = grants
        .secrets
        .iter()
        .flat_map(|(name, grant)| grant.values().map(move |value| (format!("the secret \"{name}\""), value)));
    let offered = description.action_types.iter().find(|offered| offered.id == request.action_type);
    let secret = offered.into_iter().flat_map(|offered| &offered.settings).filter(|setting| setting.secret);
    let given = secret.filter_map(|setting| request.settings.iter().find(|given| given.name == setting.name));
    let given = given.map(|given| (format!("the secret setting {}", given.name), given.value.as_str()));
    granted.chain(given).collect()
}

/// For the log: whoever chose such a value must know what becomes of it.
fn too_short(secrets: &[(String, &str)]) -> Vec<String> {
    let short = secrets.iter().filter(|(_, value)| (1..SECRET_BYTES_MIN).contains(&value.len()));
    let told = |name: &String| {
        format!(
            "{name} has fewer than {SECRET_BYTES_MIN} bytes: it is too short to be hidden, and is shown wherever it stands; \
             choose a longer one"
        )
    };
    short.map(|(name, _)| told(name)).collect()
}

/// Where the time went, as far as the host knows.
fn too_long(limits: &CallLimits, under_way: Option<String>) -> String {
    let seconds = limits.wall_seconds_max;
    let waited = under_way.map(|requests| format!("; it waited for {requests}")).unwrap_or_default();
    format!("the plugin took longer than {seconds} s (wall_seconds_max){waited}")
}

/// For a guest with these limits.
pub(crate) fn store(engine: &Engine, state: State, limits: &CallLimits, cpu: &Arc<CpuMeter>) -> Store<State> {
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.limiter);
    store.set_hostcall_fuel(limits.host_call_bytes_max);
    store.set_max_component_handles(limits.resources_max);
    store.set_epoch_deadline(1);
    let (cpu, seconds_max) = (Arc::clone(cpu), limits.cpu_seconds_max);
    store.epoch_deadline_callback(move |_| {
        if cpu.running_nanos() / 1_000_000_000 >= seconds_max {
            let message = format!("the plugin computed for more than {seconds_max} s (cpu_seconds_max)");
            return Err(LimitReached::new("cpu_seconds_max", message).into());
        }
        Ok(UpdateDeadline::Yield(1))
    });
    store
}

/// Makes an instance in the pool, or outside of it if the pool is full or the component does not fit it.
async fn instantiate<'a>(
    code: &'a Code,
    mut state: State,
    limits: &CallLimits,
    cpu: &Arc<CpuMeter>,
    slot: &'a mut Option<Store<State>>,
) -> wasmtime::Result<(&'a mut Store<State>, Instance, &'a Exports)> {
    if let Some(ready) = &code.pooled {
        let mut store = store(ready.instance.engine(), state, limits, cpu);
        match ready.instance.instantiate_async(&mut store).await {
            Err(error) if error.is::<PoolConcurrencyLimitError>() => {
                state = store.into_data();
                state.limiter.reset();
            }
            instance => return Ok((slot.insert(store), instance?, &ready.exports)),
        }
    }
    let ready = &code.on_demand;
    let store = slot.insert(store(ready.instance.engine(), state, limits, cpu));
    let instance = ready.instance.instantiate_async(&mut *store).await?;
    Ok((store, instance, &ready.exports))
}
