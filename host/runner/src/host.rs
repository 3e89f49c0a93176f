//! A host put together: store, artifacts, plugins, sandbox and driver over one data directory.
//!
//! Owns the wiring. Must not know who asks the host.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use pipewright_sandbox::limits::CallLimits;
use pipewright_sandbox::{CompilerCommand, Sandbox, SandboxConfig};

use crate::actions::{Runner, SandboxActions};
use crate::builds::Builds;
use crate::grant_book::GrantBook;
use crate::images::ImagesAt;
use crate::logs::Logs;
use crate::programs::{Offered, Programs};
use crate::project_folders::ProjectFolders;
use crate::recording::Recordings;
use crate::secret_keys::SecretKeys;
use crate::stored_secrets::StoredSecrets;
use crate::work::Work;
use crate::work_folder::{self, WorkFolders};
use pipewright_artifacts::Artifacts;
use pipewright_artifacts::caches::{CacheLimits, Caches};
use pipewright_base::Scope;
use pipewright_base::clock::{self, Clock};
use pipewright_base::fair::{Gate, Permits};
use pipewright_base::home::DataDirectory;
use pipewright_engine::driver::{Actions, Driver, DriverError};
use pipewright_packages::plugins::Plugins;
use pipewright_store::{DirectoryLock, SledStore, Store};

/// The only account, and the region, of a host that was not told others.
pub const ACCOUNT: u64 = 0;
pub const REGION: &str = "us-east-1";

/// Calls of plugins that run at once; more of them wait. As many as the sandbox has room for.
const CALLS_AT_ONCE_MAX: usize = 1_000;
/// And of one account. Stops an account whose plugins hang from keeping all others from running.
const CALLS_OF_ACCOUNT_MAX: usize = 250;

/// The hidden command by which the host starts its own binary as the compiler of components.
pub const COMPILE: &str = "compile-component";

#[derive(Clone)]
pub struct Host {
    pub driver: Driver,
    pub actions: Arc<SandboxActions>,
    accounts: Arc<[u64]>,
}

/// What a host is, besides its data.
pub struct Identity {
    /// Whose pipelines go on here, those of the account of those who run the host first.
    pub accounts: Vec<u64>,
    pub region: String,
    pub store_cache_bytes: u64,
    /// Of each call of a plugin.
    pub limits: CallLimits,
    /// Where guests run.
    pub work: Work,
    pub clock: Arc<dyn Clock>,
    /// What there is of programs of the machine.
    pub commands: Offered,
    /// Accounts have projects of CodeBuild: a build of one that is not there fails.
    pub has_projects: bool,
    /// The file of the keys of stored secrets; none: one of the data directory, which the host makes.
    pub secret_keys: Option<PathBuf>,
    /// Where the images of programs are; none: in the data directory.
    pub images: Option<PathBuf>,
    /// PEM files of authorities that are trusted of registries of images, besides the system's.
    pub certificate_authorities: Vec<PathBuf>,
}

impl Default for Identity {
    fn default() -> Self {
        Self {
            accounts: vec![ACCOUNT],
            region: REGION.to_owned(),
            store_cache_bytes: SledStore::CACHE_BYTES_DEFAULT,
            limits: CallLimits::default(),
            work: Work::default(),
            clock: clock::system(),
            commands: Offered::of_this_machine(),
            has_projects: false,
            secret_keys: None,
            images: None,
            certificate_authorities: Vec::new(),
        }
    }
}

/// Where a host keeps what outlives it.
pub struct Kept {
    pub store: Arc<dyn Store>,
    pub artifacts: Arc<Artifacts>,
    pub caches: Arc<Caches>,
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

/// Takes the data directory, unless another process has it. What the last host's actions left goes first: it may be what fills the disk.
pub fn open_store(data: &DataDirectory, identity: &Identity) -> anyhow::Result<Arc<SledStore>> {
    let lock = DirectoryLock::take(&data.store())?;
    work_folder::begin(&data.work(), &data.work_left());
    drop(lock);
    let store = SledStore::open(&data.store(), identity.store_cache_bytes)?;
    // Its files are made as this process's umask says.
    pipewright_base::home::close_folder(&data.store())?;
    Ok(Arc::new(store))
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
        let caches = Arc::new(Caches::open(&data.caches(), CacheLimits::default())?);
        let kept = Kept { store, artifacts: Arc::new(Artifacts::open(&data.artifacts())?), caches };
        Ok(Self::with_runner(data, kept, identity, sandbox, plugins, grants, |actions| Arc::new(Runner(actions))))
    }

    /// The same, where something else runs the actions or keeps things.
    pub fn with_runner(
        data: &DataDirectory,
        kept: Kept,
        identity: Identity,
        sandbox: Sandbox,
        plugins: Plugins,
        grants: GrantBook,
        runner: impl FnOnce(Arc<SandboxActions>) -> Arc<dyn Actions>,
    ) -> Self {
        let Kept { store, artifacts, caches } = kept;
        let keys = identity.secret_keys.map_or_else(|| SecretKeys::own(data.secret_keys()), SecretKeys::given);
        let images = ImagesAt {
            folder: identity.images.unwrap_or_else(|| data.images()),
            certificate_authorities: identity.certificate_authorities,
        };
        let gate = Gate::default();
        let work = WorkFolders::new(data.work());
        let actions = Arc::new(SandboxActions {
            sandbox,
            plugins,
            artifacts,
            caches,
            grants,
            secrets: StoredSecrets::new(keys, Arc::clone(&store)),
            store: Arc::clone(&store) as _,
            logs: Logs::new(data.logs()),
            recordings: Recordings::new(data.logs()),
            operator: identity.accounts.first().copied().unwrap_or(ACCOUNT),
            projects: ProjectFolders::new(&work),
            work,
            region: identity.region,
            limits: identity.limits,
            work_runtime: identity.work,
            calls: Permits::new(CALLS_AT_ONCE_MAX, CALLS_OF_ACCOUNT_MAX),
            programs: Programs::new(identity.commands, images, gate.clone()),
            builds: Arc::new(Builds::new(identity.has_projects, gate)),
        });
        let driver = Driver::new(store, runner(Arc::clone(&actions)), identity.clock);
        actions.builds.of(&driver);
        Self { driver, actions, accounts: identity.accounts.into() }
    }

    pub fn accounts(&self) -> &Arc<[u64]> {
        &self.accounts
    }

    /// Gives the events that earlier versions kept their rows: before anybody asks.
    pub async fn index_events(&self) -> Result<(), DriverError> {
        for account in &*self.accounts {
            go_on(*account, "some events have no rows", self.driver.index_events(*account).await)?;
        }
        Ok(())
    }

    /// Goes on with what was interrupted, as far as it can: only a failed host keeps an account from it. Where the host before
    /// this one died, that counts against what ran then.
    pub async fn resume(&self, died: bool) -> Result<(), DriverError> {
        // Builds go on in the order in which they waited, which is not that in which they are found.
        let held_up: Vec<_> = self.accounts.iter().map(|account| self.actions.builds.hold_up(*account)).collect();
        for (account, _held_up) in self.accounts.iter().zip(held_up) {
            go_on(*account, "what was interrupted cannot be found", self.driver.resume(*account, died).await)?;
        }
        Ok(())
    }

    /// Stops the driver, for which what runs has so much time. No program begins any more: it would be ended at once.
    pub async fn stop(&self, patience: Duration) {
        // For good: one that began as the process ends would count as one that ran when the host died.
        self.accounts.iter().for_each(|account| std::mem::forget(self.actions.builds.hold_up(*account)));
        self.driver.stop(patience).await;
        self.actions.recordings.written().await;
    }
}

/// What cannot be done for one account is told, and done for the others; only a failed host goes no further.
fn go_on(account: u64, what: &str, done: Result<(), DriverError>) -> Result<(), DriverError> {
    match done {
        Err(error) if error.scope() < Scope::Host => {
            tracing::error!(account, "{what}: {error}");
            Ok(())
        }
        done => done,
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// What a host was killed over, whatever a guest or a program made of it; and not beneath a host that runs.
    #[test]
    fn what_actions_left_goes_when_the_data_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let data = DataDirectory::open(&folder.path().join("data")).unwrap();
        let kept = folder.path().join("kept");
        fs::write(&kept, "kept").unwrap();
        let left = data.work().join("of-a-build/scratch");
        fs::create_dir_all(left.join("closed/below")).unwrap();
        fs::set_permissions(left.join("closed"), Permissions::from_mode(0o000)).unwrap();
        symlink(&kept, left.join("link")).unwrap();
        fs::create_dir_all(data.work().join("of-an-action/outputs")).unwrap();
        let there = || fs::read_dir(data.work()).unwrap().count();

        let other = DirectoryLock::take(&data.store()).unwrap();
        assert!(open_store(&data, &Identity::default()).is_err());
        assert_eq!(there(), 2);
        drop(other);

        drop(open_store(&data, &Identity::default()).unwrap());
        assert_eq!((there(), fs::read_to_string(&kept).unwrap().as_str()), (0, "kept"));
    }
}
