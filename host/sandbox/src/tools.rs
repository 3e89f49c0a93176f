//! Command-line tools that are WebAssembly components: a plugin runs one, and it runs where the plugin does, as a guest. Asked for
//! by nobody and granted to all, for a tool reaches nothing that the plugin could not reach itself.
//!
//! Owns how a tool is run: in a store of its own, beside that of the plugin, which waits for it. It sees the plugin's files, writes
//! into the plugin's log, and what it uses counts for the plugin's call: CPU time, wall clock, files, log. Must not know
//! how a component is compiled.

use std::fs::File;
use std::io::Read as _;
use std::sync::Arc;

use pipewright_artifacts::files::{Blobs, FileError, FileErrorKind};
use pipewright_base::Digest;
use pipewright_base::memory::{Charge, HostMemory, LimitReached};
use pipewright_text::first_bytes;
use wasmtime::Store;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{I32Exit, WasiCtx};

use crate::abi::NamedValue;
use crate::bindings::pipewright::plugin::tools as abi;
use crate::call::{CallFailure, store};
use crate::capabilities::caches::CachesAt;
use crate::capabilities::secrets::Secrets;
use crate::capabilities::{Held, Setup};
use crate::clock::CpuMeter;
use crate::explain::explain;
use crate::grants::Grants;
use crate::limiter::Limiter;
use crate::limits::{COMPONENT_BYTES_MAX, CallLimits, TOOL_RUNS_MAX, TOOL_WORDS_BYTES_MAX};
use crate::results::Reported;
use crate::sandbox::{Sandbox, Tool};
use crate::seam::HostCallOutcome;
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// What a tool begins with that is named by its package: `package:team/name@1.2.3`.
const PACKAGE: &str = "package:";

/// Finds the component of a tool by the name and the version of its package, `team/name@1.2.3`; or says why there is none. None where
/// no packages are.
pub type FindTool = Option<Arc<dyn Fn(&str) -> Result<(Digest, Arc<dyn Blobs>), String> + Send + Sync>>;

/// A component's bytes, with the memory that they take.
type HeldTool = (Arc<[u8]>, Charge);

/// How much of a tool's words the journal has.
const SHOWN_BYTES_MAX: usize = 1 << 10;

/// With what the tools of one call are made.
pub(crate) struct Tools {
    pub(crate) sandbox: Sandbox,
    pub(crate) tenant: u64,
    pub(crate) limits: CallLimits,
    pub(crate) cpu: Arc<CpuMeter>,
    pub(crate) grants: Grants,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) idempotency_key: String,
    pub(crate) find: FindTool,
    /// How many the call has run.
    pub(crate) runs: usize,
    /// Of the largest of them.
    pub(crate) memory_bytes: usize,
}

/// A tool ends with a status, or says why there is none; or it ends the call, by a limit.
type Ran = wasmtime::Result<Result<i32, abi::Error>>;

impl abi::Host for State {
    async fn run(&mut self, tool: abi::Tool) -> Ran {
        let timer = self.seam.begin("tools", "run");
        let words = std::iter::once(&tool.component).chain(&tool.arguments);
        let target = words.map(String::as_str).collect::<Vec<_>>().join(" ");
        let ran = self.run_tool(tool).await;
        let outcome = match &ran {
            Ok(Ok(_)) => HostCallOutcome::Done,
            Ok(Err(abi::Error::Denied(text))) => HostCallOutcome::Denied(text.clone()),
            Ok(Err(abi::Error::Invalid(text) | abi::Error::Crashed(text))) => HostCallOutcome::Failed(text.clone()),
            Err(error) => HostCallOutcome::Limit(error.to_string()),
        };
        timer.end(first_bytes(&target, SHOWN_BYTES_MAX), outcome, 0);
        ran
    }
}

fn invalid<T>(message: impl Into<String>) -> wasmtime::Result<Result<T, abi::Error>> {
    Ok(Err(abi::Error::Invalid(message.into())))
}

/// The file of a component, with its size in bytes, and the digest of one that is installed.
struct Opened {
    file: File,
    size: u64,
    installed: Option<Digest>,
}

impl State {
    async fn run_tool(&mut self, tool: abi::Tool) -> Ran {
        let Some(tools) = &mut self.tools else { return invalid("a tool runs no tools: have the plugin run each") };
        if tools.runs >= TOOL_RUNS_MAX {
            return invalid(format!("a call runs at most {TOOL_RUNS_MAX} tools"));
        }
        tools.runs += 1;
        if let Err(message) = check_words(&tool) {
            return invalid(message);
        }
        let (sandbox, tenant, memory) = (tools.sandbox.clone(), tools.tenant, Arc::clone(&tools.memory));
        let (component, held) = match self.component(&tool, &memory)? {
            Ok(component) => component,
            Err(error) => return Ok(Err(error)),
        };
        let code = match sandbox.tool(tenant, component).await {
            Ok(code) => code,
            Err(error) => return invalid(format!("{} cannot be run: {error}", tool.component)),
        };
        drop(held);
        // For as long as the tool runs.
        let _held = memory.charge(code.bytes)?;
        let Some(state) = self.of_tool(&tool) else { return invalid("a tool runs no tools") };
        let ended = run(&code, state, self).await;
        self.log.finish();
        ended
    }

    /// The component's bytes, which are those of the digest where there is one, with the memory that they take while they are
    /// compiled.
    fn component(&self, tool: &abi::Tool, memory: &Arc<HostMemory>) -> wasmtime::Result<Result<HeldTool, abi::Error>> {
        let path = &tool.component;
        let Opened { file, size, installed } = match self.opened(path)? {
            Ok(opened) => opened,
            Err(error) => return Ok(Err(error)),
        };
        if size > COMPONENT_BYTES_MAX as u64 {
            return invalid(format!("{path} has more than {COMPONENT_BYTES_MAX} bytes, which no component may have"));
        }
        // Here, and on its way to the compiler.
        let held = memory.charge(2 * usize::try_from(size)?)?;
        let mut bytes = Vec::new();
        if let Err(error) = (&file).take(COMPONENT_BYTES_MAX as u64 + 1).read_to_end(&mut bytes) {
            return invalid(format!("{path} cannot be read: {error}"));
        }
        let digest = Digest::of(&bytes);
        if let Some(wanted) = &tool.digest
            && !wanted.eq_ignore_ascii_case(&digest.to_string())
        {
            return invalid(format!("{path} has the digest {digest}, and not {wanted}: it is another file"));
        }
        if installed.is_some_and(|installed| installed != digest) {
            return invalid(format!("the component of {path} is damaged: it has the digest {digest}"));
        }
        Ok(Ok((bytes.into(), held)))
    }

    fn opened(&self, path: &str) -> wasmtime::Result<Result<Opened, abi::Error>> {
        if let Some((package, tools)) = path.strip_prefix(PACKAGE).zip(self.tools.as_ref()) {
            let nowhere = || Err(format!("there are no packages here: name the tool {package} by its file"));
            let (digest, blobs) = match tools.find.as_ref().map_or_else(nowhere, |find| find(package)) {
                Ok(found) => found,
                Err(message) => return invalid(message),
            };
            self.seam.ran_tool(package, digest);
            let opened = blobs.open(&digest).and_then(|file| Ok((file.metadata()?.len(), file)));
            return match opened {
                Ok((size, file)) => Ok(Ok(Opened { file, size, installed: Some(digest) })),
                Err(error) => invalid(format!("the component of {path} cannot be read: {error}")),
            };
        }
        match self.files.open(path) {
            Ok(file) => {
                let size = file.size().unwrap_or(u64::MAX);
                Ok(Ok(Opened { file: file.file, size, installed: None }))
            }
            Err(FileError { kind: FileErrorKind::Denied, message, .. }) => Ok(Err(abi::Error::Denied(message))),
            Err(error) => error.ends().map_or_else(|| invalid(error.message.clone()), |limit| Err(limit.into())),
        }
    }

    /// What a tool has: the files and the log of the plugin, and capabilities by the same grants, the network only where it was asked
    /// for.
    fn of_tool(&mut self, tool: &abi::Tool) -> Option<Self> {
        let time = self.held.clock.of_tool();
        let tools = self.tools.as_mut()?;
        let Tools { sandbox, limits, memory, grants, idempotency_key, runs, .. } = &*tools;
        let mut grants = grants.clone();
        grants.secrets.clear();
        grants.commands = None;
        grants.caches = false;
        if !tool.network {
            grants.http.clear();
        }
        let mut wasi = WasiCtx::builder();
        wasi.allow_tcp(false).allow_udp(false).arg(&tool.component).args(&tool.arguments);
        for NamedValue { name, value } in &tool.environment {
            wasi.env(name, value);
        }
        self.log.configure(&mut wasi);
        let held = Held::new(Setup {
            seam: &self.seam,
            grants: &grants,
            limits,
            memory,
            wasi: &mut wasi,
            time: Some(time),
            // What looks random to one tool is not the same to the next.
            idempotency_key: &format!("{idempotency_key} tool {runs}"),
            connector: sandbox.connector(),
            secrets: Secrets::of(&grants, &self.seam),
            scratch: self.files.scratch(),
            secret_environment: Vec::new(),
            ended: None,
            caches: CachesAt::Nowhere,
        });
        let mut table = ResourceTable::new();
        table.set_max_capacity(limits.resources_max);
        Some(Self {
            wasi: wasi.build(),
            table,
            seam: Arc::clone(&self.seam),
            log: self.log.clone(),
            files: self.files.of_tool(),
            held,
            reported: Reported::new(Arc::clone(memory)),
            limiter: Limiter::new(limits, memory.budget()),
            tools: None,
        })
    }
}

/// Runs a tool to its end, in a store of its own.
async fn run(code: &Tool, state: State, plugin: &mut State) -> Ran {
    let Some(tools) = &mut plugin.tools else { return invalid("a tool runs no tools") };
    let mut store: Store<State> = store(code.command.engine(), state, &tools.limits, &tools.cpu);
    let ended = async {
        let command = code.command.instantiate_async(&mut store).await?;
        command.wasi_cli_run().call_run(&mut store).await
    };
    let ended = ended.await;
    let limiter = &store.data().limiter;
    tools.memory_bytes = tools.memory_bytes.max(limiter.memory_bytes());
    let error = match ended {
        Ok(Ok(())) => return Ok(Ok(0)),
        Ok(Err(())) => return Ok(Ok(1)),
        Err(error) => error,
    };
    if let Some(exit) = error.downcast_ref::<I32Exit>() {
        return Ok(Ok(exit.0));
    }
    // What the call has used up ends the call, and not the tool alone.
    if let Some(reached) = error.downcast_ref::<LimitReached>() {
        return Err(reached.clone().into());
    }
    let why = match explain(error, limiter.refused(), plugin.log.panic(), None) {
        CallFailure::Trap(why) => why,
        failure => failure.to_string(),
    };
    Ok(Err(abi::Error::Crashed(plugin.seam.masked(&why).into_owned())))
}

fn check_words(tool: &abi::Tool) -> Result<(), String> {
    let variables = tool.environment.iter().flat_map(|variable| [&variable.name, &variable.value]);
    let words: Vec<&String> = tool.arguments.iter().chain(variables).collect();
    if words.iter().map(|word| word.len() + 1).sum::<usize>() > TOOL_WORDS_BYTES_MAX {
        return Err(format!(
            "its arguments and environment have more than {TOOL_WORDS_BYTES_MAX} bytes: write them into a file"
        ));
    }
    if words.iter().any(|word| word.contains('\0')) {
        return Err("an argument or a variable has a NUL in it".to_owned());
    }
    match tool.environment.iter().find(|variable| variable.name.is_empty() || variable.name.contains('=')) {
        Some(variable) => Err(format!("{:?} is no name of an environment variable", variable.name)),
        None => Ok(()),
    }
}
