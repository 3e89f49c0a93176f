//! The yardstick for calls: the same component with plain wasmtime and wasmtime-wasi, and nothing of the sandbox. No
//! limits, no epochs, no grants, no journal, no masking; files by preopened folders, on the calling thread.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use wasmtime::component::{Component, HasSelf, InstancePre, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{FsPerms, WasiCtx, WasiCtxView, WasiView};

use self::bindings::exports::pipewright::plugin::build::{GuestIndices, Outcome};
use self::bindings::pipewright::plugin::{log, types};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit",
        inline: "
            package pipewright:bare;
            world bare {
                import pipewright:plugin/log@0.1.0;
                export pipewright:plugin/build@0.1.0;
            }
        ",
        world: "pipewright:bare/bare",
        imports: { default: trappable },
        exports: { default: async },
        require_store_data_send: true,
    });
}

/// The component, ready to be called.
pub(crate) struct Bare {
    instance: InstancePre<State>,
    build: GuestIndices,
}

/// What a call may reach.
#[derive(Default)]
pub(crate) struct Reach<'a> {
    pub(crate) input: Option<(&'a Path, &'a str)>,
    pub(crate) output: Option<(&'a Path, &'a str)>,
    /// Made when the first line is written.
    pub(crate) log: PathBuf,
}

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    path: PathBuf,
    log: Option<File>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl log::Host for State {
    fn write(&mut self, _: log::Level, message: String) -> wasmtime::Result<()> {
        let file = match &mut self.log {
            Some(file) => file,
            None => {
                if let Some(folder) = self.path.parent() {
                    fs::create_dir_all(folder)?;
                }
                self.log.insert(File::options().create(true).append(true).open(&self.path)?)
            }
        };
        Ok(writeln!(file, "{} {message}", pipewright_base::clock::now_ms())?)
    }

    fn progress(&mut self, _: Option<u8>, _: String) -> wasmtime::Result<()> {
        Ok(())
    }
}

impl Bare {
    pub(crate) fn new(component: &[u8], calls_max: u32) -> wasmtime::Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(calls_max)
            .total_core_instances(calls_max * 4)
            .total_memories(calls_max)
            .total_tables(calls_max * 2)
            .total_stacks(calls_max)
            .linear_memory_keep_resident(64 << 10)
            .table_keep_resident(8 << 10)
            .async_stack_keep_resident(16 << 10);
        let mut config = Config::new();
        config.concurrency_support(false).allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
        let engine = Engine::new(&config)?;
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
        log::add_to_linker::<_, HasSelf<State>>(&mut linker, |state| state)?;
        let instance = linker.instantiate_pre(&component)?;
        let build = GuestIndices::new(&instance)?;
        Ok(Self { instance, build })
    }

    /// Calls the action of this provider; fails if it does.
    pub(crate) async fn call(&self, provider: &str, key: &str, reach: Reach<'_>) -> anyhow::Result<()> {
        let mut wasi = WasiCtx::builder();
        wasi.allow_blocking_current_thread(true);
        if let Some((folder, name)) = reach.input {
            wasi.preopened_dir(folder, format!("/inputs/{name}"), FsPerms::ReadOnly)?;
        }
        if let Some((folder, name)) = reach.output {
            wasi.preopened_dir(folder, format!("/outputs/{name}"), FsPerms::ReadWrite)?;
        }
        let request = request(provider, key, &reach);
        let state = State { wasi: wasi.build(), table: ResourceTable::new(), path: reach.log, log: None };
        let mut store = Store::new(self.instance.engine(), state);
        let instance = self.instance.instantiate_async(&mut store).await?;
        let build = self.build.load(&mut store, &instance)?;
        match build.call_run(&mut store, &request).await? {
            Ok(Outcome::Done(_)) => Ok(()),
            other => anyhow::bail!("the bare component answered {other:?}"),
        }
    }
}

fn request(provider: &str, key: &str, reach: &Reach<'_>) -> types::Request {
    let text = str::to_owned;
    let output = |(_, name): (_, &str)| types::Output { name: text(name), files: Vec::new() };
    types::Request {
        action_type: types::TypeId {
            category: types::Category::Build,
            owner: types::Owner::Custom,
            provider: text(provider),
            version: text("1"),
        },
        context: types::Context {
            account: text("000000000000"),
            region: text("us-east-1"),
            pipeline: text("bench"),
            execution_id: text("00000000-0000-4000-8000-000000000000"),
            stage: text("Build"),
            action: text(provider),
            action_execution_id: text(key),
        },
        settings: Vec::new(),
        inputs: reach.input.iter().map(|(_, name)| text(name)).collect(),
        outputs: reach.output.map(output).into_iter().collect(),
        commands: Vec::new(),
        environment: Vec::new(),
        output_variables: Vec::new(),
        idempotency_key: text(key),
        attempt: 1,
        resumed: None,
    }
}
