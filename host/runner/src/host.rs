//! A host put together: store, artifacts, plugins, sandbox and driver over one data directory.
//!
//! Owns the wiring, and what an execution pins at its start. Must not know who asks the host.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_sandbox::{CompilerCommand, Sandbox, SandboxConfig};

use crate::actions::{Runner, SandboxActions, plugin_pin};
use crate::grant_book::{GRANTS_PIN, GrantBook};
use crate::logs::Logs;
use crate::recording::Recordings;
use pipewright_artifacts::Artifacts;
use pipewright_base::home::DataDirectory;
use pipewright_engine::driver::{Actions, Driver, DriverError};
use pipewright_packages::plugins::Plugins;
use pipewright_store::{SledStore, Store};

/// The only account, and the region, of a host that was not told others.
pub const ACCOUNT: u64 = 0;
pub const REGION: &str = "us-east-1";

/// The hidden command by which the host starts its own binary as the compiler of components.
pub const COMPILE: &str = "compile-component";

/// The parts of the account's record that hold pinned grants, by their digest.
const GRANTS: &str = "grants/";

#[derive(Clone)]
pub struct Host {
    pub driver: Driver,
    pub actions: Arc<SandboxActions>,
    accounts: Arc<[u64]>,
}

/// What a host is, besides its data.
pub struct Identity {
    /// Whose pipelines go on here.
    pub accounts: Vec<u64>,
    pub region: String,
    pub store_cache_bytes: u64,
}

impl Default for Identity {
    fn default() -> Self {
        Self { accounts: vec![ACCOUNT], region: REGION.to_owned(), store_cache_bytes: SledStore::CACHE_BYTES_DEFAULT }
    }
}

/// The sandbox, with this very binary as its compiler.
pub fn sandbox(compiled: PathBuf, certificate_authorities: Vec<PathBuf>) -> anyhow::Result<Sandbox> {
    let program = std::env::current_exe().context("cannot find this program's own file")?;
    Sandbox::new(SandboxConfig { certificate_authorities, ..sandbox_config(compiled, program) })
}

/// The same for a program that is not `pipewright` itself, such as a benchmark.
pub fn sandbox_with_compiler(compiled: PathBuf, program: PathBuf) -> anyhow::Result<Sandbox> {
    Sandbox::new(sandbox_config(compiled, program))
}

fn sandbox_config(compiled: PathBuf, program: PathBuf) -> SandboxConfig {
    SandboxConfig::new(compiled, CompilerCommand { program, args: vec![COMPILE.into()] })
}

/// Takes the data directory, unless another process has it.
pub fn open_store(data: &DataDirectory, identity: &Identity) -> anyhow::Result<Arc<SledStore>> {
    Ok(Arc::new(SledStore::open(&data.store(), identity.store_cache_bytes)?))
}

impl Host {
    pub fn open(
        data: &DataDirectory,
        identity: Identity,
        sandbox: Sandbox,
        plugins: Plugins,
        grants: GrantBook,
    ) -> anyhow::Result<Self> {
        let store = open_store(data, &identity)?;
        Self::new(data, store as _, identity, sandbox, plugins, grants)
    }

    pub fn new(
        data: &DataDirectory,
        store: Arc<dyn Store>,
        identity: Identity,
        sandbox: Sandbox,
        plugins: Plugins,
        grants: GrantBook,
    ) -> anyhow::Result<Self> {
        Self::with_runner(data, store, identity, sandbox, plugins, grants, |actions| Arc::new(Runner(actions)))
    }

    /// The same, where something else runs the actions.
    pub fn with_runner(
        data: &DataDirectory,
        store: Arc<dyn Store>,
        identity: Identity,
        sandbox: Sandbox,
        plugins: Plugins,
        grants: GrantBook,
        runner: impl FnOnce(Arc<SandboxActions>) -> Arc<dyn Actions>,
    ) -> anyhow::Result<Self> {
        let actions = Arc::new(SandboxActions {
            sandbox,
            plugins,
            artifacts: Arc::new(Artifacts::open(&data.artifacts())?),
            grants,
            logs: Logs::new(data.logs()),
            recordings: Recordings::new(data.logs()),
            work: data.work(),
            region: identity.region,
        });
        let driver = Driver::new(store, runner(Arc::clone(&actions)));
        Ok(Self { driver, actions, accounts: identity.accounts.into() })
    }

    pub fn accounts(&self) -> &Arc<[u64]> {
        &self.accounts
    }

    /// Takes back the grants that executions pinned before.
    pub async fn remember_grants(&self) -> Result<(), DriverError> {
        for account in &*self.accounts {
            for (digest, bytes) in self.driver.account_parts(*account, GRANTS).await? {
                self.actions.grants.remember(&digest, &bytes);
            }
        }
        Ok(())
    }

    /// Goes on with what was interrupted.
    pub async fn resume(&self) -> Result<(), DriverError> {
        for account in &*self.accounts {
            self.driver.resume(*account).await?;
        }
        Ok(())
    }

    /// What an execution holds on to from its start to its end: the very plugins and grants that count now.
    pub async fn pins(
        &self,
        account: u64,
        declaration: &PipelineDeclaration,
    ) -> Result<BTreeMap<String, String>, DriverError> {
        let catalogue = self.actions.plugins.catalogue(account);
        let actions =
            declaration.stages.iter().flat_map(|stage| stage.actions.iter().map(move |action| (stage, action)));
        let pin = actions.filter_map(|(stage, action)| {
            let served = catalogue.bound(&action.action_type_id)?;
            Some((plugin_pin(&stage.name, &action.name), served.digest.clone()))
        });
        let mut pins: BTreeMap<_, _> = pin.collect();
        let grants = self.actions.grants.current(account, &declaration.name);
        if let Some((digest, bytes)) = self.actions.grants.pin(&grants) {
            self.driver.keep_account_part(account, &format!("{GRANTS}{digest}"), Bytes::from(bytes)).await?;
            pins.insert(GRANTS_PIN.to_owned(), digest);
        }
        Ok(pins)
    }
}
