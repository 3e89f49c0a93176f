//! A host put together: store, artifacts, plugins, sandbox and driver over one data directory.
//!
//! Owns the wiring and nothing else.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use pipewright_sandbox::{CompilerCommand, Sandbox, SandboxConfig};

use crate::actions::{Runner, SandboxActions};
use crate::artifacts::Artifacts;
use crate::driver::Driver;
use crate::grants::GrantsFile;
use crate::home::DataDirectory;
use crate::logs::Logs;
use crate::plugins::Plugins;
use crate::store::SledStore;

/// The account and region of a host that was not told others.
pub const ACCOUNT: u64 = 0;
pub const REGION: &str = "us-east-1";

pub struct Host {
    pub driver: Driver,
    pub actions: Arc<SandboxActions>,
}

/// The sandbox, with this very binary as its compiler.
pub fn sandbox(compiled: PathBuf) -> anyhow::Result<Sandbox> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    sandbox_with_compiler(compiled, program)
}

/// The same for a program that is not `pipewright` itself, such as a benchmark.
pub fn sandbox_with_compiler(compiled: PathBuf, program: PathBuf) -> anyhow::Result<Sandbox> {
    let args = vec![crate::COMPILE.into()];
    Sandbox::new(SandboxConfig::new(compiled, CompilerCommand { program, args }))
}

impl Host {
    pub fn open(data: &DataDirectory, sandbox: Sandbox, plugins: Plugins, grants: GrantsFile) -> anyhow::Result<Self> {
        let store = SledStore::open(&data.store(), SledStore::CACHE_BYTES_DEFAULT)?;
        let actions = Arc::new(SandboxActions {
            sandbox,
            plugins,
            artifacts: Arc::new(Artifacts::open(&data.artifacts())?),
            grants,
            logs: Logs::new(data.logs()),
            work: data.work(),
            region: REGION.to_owned(),
        });
        let driver = Driver::new(Arc::new(store), Arc::new(Runner(Arc::clone(&actions))));
        Ok(Self { driver, actions })
    }
}
