//! The sandbox: what makes plugins out of components.
//!
//! Owns the engines, the loading of plugins (compile or cache, link, describe, check) and what all calls share. Must
//! not know what a call does.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::{Component, Linker};
use wasmtime_wasi::p2::bindings::CommandPre;

use crate::abi::Description;
use crate::cache::{Cache, Entry};
use crate::call::CallFailure;
use crate::capabilities::http;
use crate::codes::Codes;
use crate::compile::{CompileError, Compiler, CompilerCommand};
use crate::guests::Guests;
use crate::limits::{COMPONENT_BYTES_MAX, CompileLimits, TOOL_COMPILES_MAX};
use crate::plugin::{ABI_VERSION, Code, Loaded, Plugin, Ready, mend};
use crate::state::{self, State};
use crate::{description, engine, plugin, questions};
use pipewright_base::fair::Permits;
use pipewright_base::hex;
use pipewright_base::memory::Budgets;
use pipewright_base::raise_open_files;

/// What a sandbox is made of.
#[derive(Clone, Debug)]
pub struct SandboxConfig {
    /// Where compiled components are kept; made if it is not there. Nobody else may write to it.
    pub cache_dir: PathBuf,
    pub compiler: CompilerCommand,
    pub compile_limits: CompileLimits,
    /// PEM files of certificate authorities that HTTPS requests trust, besides those of this machine.
    pub certificate_authorities: Vec<PathBuf>,
    /// Calls that run at once; more of them wait.
    pub calls_max: usize,
    /// How many of them take their instances from the pool, which reserves 4 GiB of address space for each. The others
    /// are slower to start.
    pub pooled_calls_max: u32,
    /// The threads that guests run on. More than cores, for a guest may wait for the disk on one.
    pub guest_threads: usize,
    /// The memory of all plugins that run at once, together, and what the host holds for them. Stops a thousand calls that each keep to
    /// their own limit. A tenant has half of it at most.
    pub guest_memory_bytes_max: usize,
    /// Compiled plugins that are kept in memory; others are read again from the cache when they are called. Stops a host that
    /// grows with every plugin that was ever called.
    pub compiled_bytes_max: usize,
}

impl SandboxConfig {
    pub fn new(cache_dir: impl Into<PathBuf>, compiler: CompilerCommand) -> Self {
        Self {
            cache_dir: cache_dir.into(),
            compiler,
            compile_limits: CompileLimits::default(),
            certificate_authorities: Vec::new(),
            calls_max: 1_000,
            pooled_calls_max: 1_000,
            guest_threads: std::thread::available_parallelism().map_or(1, usize::from).max(2) * 2,
            guest_memory_bytes_max: 4 << 30,
            compiled_bytes_max: 512 << 20,
        }
    }
}

/// Why a component is not a plugin that can be called. The message says what is wrong and how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("the component has {bytes} bytes; at most {COMPONENT_BYTES_MAX} are allowed")]
    TooLarge { bytes: usize },
    #[error("this is not a WebAssembly component: {0}")]
    NotAComponent(String),
    #[error("the component cannot be compiled: {0}")]
    Compile(#[from] CompileError),
    #[error(
        "the component was built for version {wants} of the plugin ABI, and this host offers {ABI_VERSION}: {}",
        mend(wants)
    )]
    Abi { wants: String },
    #[error("the component cannot be linked: {0}")]
    Import(String),
    #[error("the component is not a tool: {0}")]
    NotATool(String),
    #[error("the component is not a plugin: {0}")]
    NotAPlugin(String),
    #[error("the plugin does not say what it is: {0}")]
    Describe(CallFailure),
    #[error("the plugin describes itself differently each time that it is asked")]
    Unsteady,
    /// Every problem.
    #[error("the plugin describes itself falsely: {}", .0.join("; "))]
    False(Vec<String>),
    #[error("the plugin cannot be loaded: {0:#}")]
    Host(anyhow::Error),
}

impl From<wasmtime::Error> for LoadError {
    fn from(error: wasmtime::Error) -> Self {
        Self::Host(error.into())
    }
}

/// Loads and calls plugins; cheap to clone.
#[derive(Clone)]
pub struct Sandbox(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pooling: (Engine, Linker<State>),
    on_demand: (Engine, Linker<State>),
    compatibility: u64,
    cache: Cache,
    compiler: Compiler,
    /// Whoever runs tools keeps nobody from loading plugins.
    tool_compiles: Permits,
    pub(crate) connector: http::Connector,
    pub(crate) calls: Semaphore,
    pub(crate) memory: Budgets,
    pub(crate) guests: Guests,
    codes: Codes,
    /// By digest. The lock of each is held while it is loaded, so that nothing is compiled twice.
    plugins: Mutex<HashMap<String, Slot>>,
}

/// Empty until loaded, and again when nobody holds the plugin any more.
type Slot = Arc<tokio::sync::Mutex<Weak<Loaded>>>;

impl Sandbox {
    /// Reads the cache's key and the certificate authorities, so it may block for a moment.
    ///
    /// # Errors
    /// The cache directory or a certificate authority cannot be used, or this machine cannot run the engine.
    pub fn new(config: SandboxConfig) -> anyhow::Result<Self> {
        let pooling = engine::pooling(config.pooled_calls_max)?;
        let on_demand = engine::on_demand()?;
        engine::start_ticking(&[&pooling, &on_demand])?;
        let linked = |engine: Engine| -> anyhow::Result<_> {
            let linker = state::linker(&engine)?;
            Ok((engine, linker))
        };
        Ok(Self(Arc::new(Shared {
            compatibility: engine::compatibility(&on_demand),
            pooling: linked(pooling)?,
            on_demand: linked(on_demand)?,
            cache: Cache::open(config.cache_dir)?,
            compiler: Compiler::new(config.compiler, config.compile_limits),
            tool_compiles: Permits::new(TOOL_COMPILES_MAX, TOOL_COMPILES_MAX),
            connector: http::Connector::new(&config.certificate_authorities)?,
            calls: Semaphore::new(config.calls_max),
            memory: Budgets::new(config.guest_memory_bytes_max, raise_open_files() / GUESTS_OPEN_PART),
            guests: Guests::new(config.guest_threads)?,
            codes: Codes::new(config.compiled_bytes_max),
            plugins: Mutex::default(),
        })))
    }

    /// Sends a request of the host's own: whoever named the address reaches no more by it than a guest would.
    pub async fn post(&self, outgoing: http::Outgoing) -> Result<(), http::Unsent> {
        self.0.connector.post(outgoing).await
    }

    /// The same, for what is answered.
    pub async fn ask(&self, outgoing: http::Outgoing) -> Result<http::Answer, http::Unsent> {
        self.0.connector.ask(outgoing).await
    }

    /// Makes a plugin of a component: compiles it, or takes it from the cache, links it, and asks it what it is.
    /// A plugin is loaded once, however often and by however many it is asked for at once.
    ///
    /// # Errors
    /// See [`LoadError`]; nothing is kept of a component that was refused.
    pub async fn load(&self, component: Arc<[u8]>) -> Result<Plugin, LoadError> {
        check_header(&component)?;
        let hashed = Arc::clone(&component);
        let digest = blocking(move || hex::encode(Sha256::digest(&hashed))).await?;
        let slot = self.slot(&digest);
        let mut slot = slot.lock().await;
        if let Some(loaded) = slot.upgrade()
            && self.0.codes.get(&digest).is_some()
        {
            return Ok(loaded.into());
        }
        // Its code is taken into memory when it is called: most plugins of most hosts do not run today.
        let description = match self.cached(&digest, |_, entry| described(&entry)).await? {
            Some(description) => description,
            None => self.compile(&digest, &component).await?,
        };
        let loaded = slot.upgrade().unwrap_or_else(|| Arc::new(Loaded { digest, description }));
        *slot = Arc::downgrade(&loaded);
        Ok(loaded.into())
    }

    /// The plugin's code, from memory or from the cache.
    pub(crate) async fn code(&self, loaded: &Loaded) -> Result<Arc<Code>, LoadError> {
        let digest = &loaded.digest;
        if let Some(code) = self.0.codes.get(digest) {
            return Ok(code);
        }
        let slot = self.slot(digest);
        let _alone = slot.lock().await;
        if let Some(code) = self.0.codes.get(digest) {
            return Ok(code);
        }
        let gone =
            || anyhow::anyhow!("it is not in the compile cache any more; add the plugin again, or start the host anew");
        let kept = digest.clone();
        let code = Box::pin(self.cached(digest, move |shared, entry| shared.keep(&kept, &entry))).await?;
        code.ok_or_else(|| LoadError::Host(gone()))
    }

    fn slot(&self, digest: &str) -> Slot {
        let mut plugins = self.0.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        // What nobody loads or holds is forgotten: the map does not grow with every component ever seen.
        plugins.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|loaded| loaded.strong_count() > 0)
        });
        Arc::clone(plugins.entry(digest.to_owned()).or_default())
    }

    /// What is made of a component's entry in the cache, if there is one.
    async fn cached<T: Send + 'static>(
        &self,
        digest: &str,
        make: impl FnOnce(&Shared, Entry) -> Result<T, LoadError> + Send + 'static,
    ) -> Result<Option<T>, LoadError> {
        let (shared, name) = (Arc::clone(&self.0), self.0.name(digest));
        blocking(move || shared.cache.load(&name).map(|entry| make(&shared, entry)).transpose()).await?
    }

    async fn compile(&self, digest: &str, component: &[u8]) -> Result<Description, LoadError> {
        let compiled = Entry::new(&[], &self.0.compiler.compile(component).await?);
        let shared = Arc::clone(&self.0);
        let (code, compiled) =
            blocking(move || shared.code(&compiled).map(|code| (Arc::new(code), compiled))).await??;
        let first = questions::describe(self, &code).await.map_err(LoadError::Describe)?;
        let second = questions::describe(self, &code).await.map_err(LoadError::Describe)?;
        if first != second {
            return Err(LoadError::Unsteady);
        }
        let problems = description::problems(&first, &code.on_demand.exports.names());
        if !problems.is_empty() {
            return Err(LoadError::False(problems));
        }
        let entry = serde_json::to_vec(&first).map_err(|error| LoadError::Host(error.into()))?;
        let (shared, digest) = (Arc::clone(&self.0), digest.to_owned());
        blocking(move || {
            shared.codes.insert(&digest, &code, CODES * compiled.code().len());
            let entry = Entry::new(&entry, compiled.code());
            shared.cache.store(&shared.name(&digest), entry, |name| shared.is_loaded(name));
        })
        .await?;
        Ok(first)
    }
}

fn described(entry: &Entry) -> Result<Description, LoadError> {
    serde_json::from_slice(entry.description()).map_err(|error| LoadError::Host(error.into()))
}

/// A command-line tool that needs only a store to run.
pub(crate) struct Tool {
    pub(crate) command: CommandPre<State>,
    /// Of its code, which is in memory for as long as this is.
    pub(crate) bytes: usize,
}

impl Sandbox {
    pub(crate) fn connector(&self) -> &http::Connector {
        &self.0.connector
    }

    /// Whether a component is a command-line tool that can run here.
    pub async fn check_tool(&self, component: Arc<[u8]>) -> Result<(), LoadError> {
        self.tool(0, component).await.map(drop)
    }

    /// Makes a tool of a component: compiles it, or takes it from the cache, and links it. It is loaded for each run: few are run
    /// twice at once.
    pub(crate) async fn tool(&self, tenant: u64, component: Arc<[u8]>) -> Result<Tool, LoadError> {
        check_header(&component)?;
        let (shared, hashed) = (Arc::clone(&self.0), Arc::clone(&component));
        let (name, cached) = blocking(move || {
            let name = shared.name(&format!("tool-{}", hex::encode(Sha256::digest(&hashed))));
            let cached = shared.cache.load(&name);
            (name, cached)
        })
        .await?;
        let is_new = cached.is_none();
        let compiled = match cached {
            Some(compiled) => compiled,
            None => {
                let _turn = self.0.tool_compiles.acquire(tenant).await;
                Entry::new(&[], &self.0.compiler.compile(&component).await?)
            }
        };
        let shared = Arc::clone(&self.0);
        blocking(move || {
            let (engine, linker) = &shared.on_demand;
            // SAFETY: as for the code of a plugin, these are bytes of our own compiler.
            let code = unsafe { Component::deserialize(engine, compiled.code()) }?;
            let bytes = compiled.code().len();
            let command = plugin::tool(linker, &code)?;
            if is_new {
                shared.cache.store(&name, compiled, |name| shared.is_loaded(name));
            }
            Ok(Tool { command, bytes })
        })
        .await?
    }
}

/// Of the files that this process may have open, one part in so many is for all guests together: for the files and connections
/// that are open for them.
pub const GUESTS_OPEN_PART: usize = 4;

/// A component is in memory once for each engine.
const CODES: usize = 2;

impl Shared {
    /// Of a component's entry in the cache.
    fn name(&self, digest: &str) -> String {
        format!("{digest}-{:016x}", self.compatibility)
    }

    /// Whether a plugin counts on an entry of the cache.
    fn is_loaded(&self, name: &str) -> bool {
        let plugins = self.plugins.lock().unwrap_or_else(PoisonError::into_inner);
        let slot = name.split_once('-').and_then(|(digest, _)| plugins.get(digest));
        // One that is being loaded is as good as loaded.
        slot.is_some_and(|slot| slot.try_lock().map_or(true, |loaded| loaded.strong_count() > 0))
    }

    fn keep(&self, digest: &str, compiled: &Entry) -> Result<Arc<Code>, LoadError> {
        let code = Arc::new(self.code(compiled)?);
        self.codes.insert(digest, &code, CODES * compiled.code().len());
        Ok(code)
    }

    fn code(&self, compiled: &Entry) -> Result<Code, LoadError> {
        let ready = |(engine, linker): &(Engine, Linker<State>)| -> Result<Ready, LoadError> {
            // SAFETY: the bytes come from our own compiler, either just now or by way of the cache, which checked
            // their MAC over these very bytes in memory.
            let component = unsafe { Component::deserialize(engine, compiled.code()) }?;
            Ready::new(linker, &component)
        };
        let on_demand = ready(&self.on_demand)?;
        let pooled = ready(&self.pooling).inspect_err(|error| tracing::debug!("not in the pool: {error}")).ok();
        Ok(Code { pooled, on_demand })
    }
}

/// What can be told from the first bytes, before anything is compiled.
fn check_header(component: &[u8]) -> Result<(), LoadError> {
    let not = |what: &str| Err(LoadError::NotAComponent(what.to_owned()));
    if component.len() > COMPONENT_BYTES_MAX {
        return Err(LoadError::TooLarge { bytes: component.len() });
    }
    match component.first_chunk::<8>() {
        Some(b"\0asm\x0d\0\x01\0") => Ok(()),
        Some(b"\0asm\x01\0\0\0") => {
            not("it is a core module; build it for the target wasm32-wasip2, or make it a component with its WIT")
        }
        Some([0, b'a', b's', b'm', ..]) => not("it is of another version of the component format"),
        Some(b"\x7fELF\x02\x01\x01\0") => not("it is native or precompiled code; give the component itself"),
        _ => not("it does not begin as WebAssembly does"),
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| LoadError::Host(error.into()))
}
