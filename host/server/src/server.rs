//! The server: a host behind a socket, from its start to its orderly end.
//!
//! Owns the listener, and the order of starting and stopping. Must not know what a request asks for (`api`), nor whose a
//! connection is (`connections`).
//!
//! Requests are answered, and pipelines go on, on the runtime on which this is called; guests, and what reads many files, run
//! on another (`work`), so that neither keeps the other waiting.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::Router;
use futures::FutureExt as _;
use hyper_util::server::graceful::GracefulShutdown;
use pipewright_artifacts::files::{BlobDir, Blobs};
use tokio::net::{TcpListener, TcpSocket};

use crate::account_plugins::AccountPlugins;
use crate::api::{Api, Metrics, Shares, TakenOnce};
use crate::config::Config;
use crate::connections::{self, Bounds, Tls};
use crate::functions;
use crate::keys;
use crate::notify::{Notifier, Notify, Post};
use crate::poll::{Changes, Poller};
use crate::service::{self, Changing, Service, job_artifacts};
use pipewright_base::home::{DataDirectory, write_private};
use pipewright_base::{Mistake, clock, raise_open_files};
use pipewright_engine::export::Exported;
use pipewright_engine::retention::{Keeper, Retention};
use pipewright_packages::plugins::{DEBUG_EXTENSION, Plugins};
use pipewright_runner::ending;
use pipewright_runner::grant_book::GrantBook;
use pipewright_runner::host::{self, Host, Identity};
use pipewright_runner::programs::Programs;
use pipewright_runner::work::Work;
use pipewright_store::{DirectoryLock, OpenError, Store};

/// At the end, how long running actions have to end.
const ACTIONS_PATIENCE: Duration = Duration::from_secs(10);
/// And how long requests have, before their connections are cut; streams that would never end are among them.
const REQUESTS_PATIENCE: Duration = Duration::from_secs(2);

/// How long a process before this one, which may have been killed just now, has to let go of the data.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);
/// And then of its port.
const PORT_PATIENCE: Duration = Duration::from_secs(1);
/// How often is looked whether it has.
const RETRY: Duration = Duration::from_millis(50);
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;

/// A server that is ready to answer.
pub struct Server {
    listener: TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    bounds: Bounds,
    service: Arc<Service>,
    /// `http://ADDRESS:PORT`, or https.
    pub endpoint: String,
    pub credentials: PathBuf,
    pub region: String,
    endpoint_file: PathBuf,
    keeper: Arc<Keeper>,
    poller: Poller,
    notifier: Notifier,
    /// Whether the host before this one died.
    died: bool,
    data: DataDirectory,
}

impl Server {
    /// Opens the data directory, loads the plugins and listens. Nothing runs yet.
    pub async fn open(data: &Path, config: Config, work: Work) -> anyhow::Result<Self> {
        let bounds = Bounds::new(raise_open_files(), config.accounts().len());
        let data = DataDirectory::open(data)?;
        released(&data).await?;
        // A port that is taken is told before anything else takes its time. Nobody is let in before there is somebody to answer.
        let socket = bound(&data, config.listen).await?;
        let tls = tls(&config)?;
        let sandbox = host::sandbox(data.compiled(), authorities(&config))?;
        let files = components(config.plugins.as_ref().map(|path| config.path(path)))?;
        let configured = config.notifications()?;
        let (grants, identity) = (grant_book(&config), identity(&config, work));
        // The store first: it is what says that another process has the directory.
        let store: Arc<dyn Store> = host::open_store(&data, &identity)?;
        // Of a new directory it is the same: nothing ran in it.
        let died = ending::begin(&data)?;
        let kept: Arc<dyn Blobs> = Arc::new(BlobDir::new(data.components())?);
        let (plugins, faults) = Plugins::load_usable(&sandbox, &files, Some(Arc::clone(&kept))).await?;
        faults.iter().for_each(|fault| tracing::error!("{fault}; it is left out"));
        let host = Host::new(&data, Arc::clone(&store), identity, sandbox, plugins, grants)?;
        tokio::spawn(probe(Arc::clone(&host.actions.programs)));
        host.index_events().await?;
        let account_plugins = Arc::new(AccountPlugins::load(&host, &data, config.operator()).await?);
        configure_projects(&host, &config).await?;
        let keys = keys::administrators(&host, &data.credentials()).await?;
        let pages = keys::pages(&host, config.operator()).await?;
        let listener = socket.listen(BACKLOG).map_err(|error| not_there(config.listen, &error))?;
        let endpoint = format!("{}://{}", if tls.is_some() { "https" } else { "http" }, listener.local_addr()?);
        let (connections, functions) = (config.connections(), config.functions());
        service::functions::configure(&host, &functions);
        let (changes, poller) = Changes::channel(Duration::from_secs(config.poll_seconds));
        let (notify, notifier) = Notify::channel(configured, post(&host));
        let service = Arc::new(Service {
            exported: exported(&host, store, kept, &data, config.retention),
            host,
            operator: config.operator(),
            quotas: config.quotas,
            pages,
            account_plugins,
            changes,
            jobs: job_artifacts::Jobs::new(data.jobs()),
            public_address: config.public_address.clone().unwrap_or_else(|| endpoint.clone()),
            endpoint: endpoint.clone(),
            notify,
            functions,
            polls: Default::default(),
            changing: Changing::default(),
        });
        service::connections::configure(&service, connections).await.map_err(|error| anyhow::anyhow!(error))?;
        let (shares, metrics) = (Shares::new(service.host.accounts(), &bounds), Arc::<Metrics>::default());
        let (doors, once) = (Arc::default(), TakenOnce::default());
        let api = Arc::new(Api { service: Arc::clone(&service), keys, shares, once, metrics, doors });
        let endpoint_file = tell_endpoint(&data, &endpoint)?;
        let (credentials, region, router) = (data.credentials(), config.region, api.router());
        Ok(Self {
            keeper: Arc::clone(&service.exported.keeper),
            listener,
            tls,
            router,
            bounds,
            service,
            endpoint,
            credentials,
            region,
            endpoint_file,
            poller,
            notifier,
            died,
            data,
        })
    }

    /// To be closed when everything else has ended.
    pub fn store(&self) -> Arc<dyn Store> {
        Arc::clone(&self.service.exported.store)
    }

    /// Takes the grants files of a configuration in place of those that there were, for the accounts that there are. Blocks.
    pub fn grants_anew(&self) -> impl Fn(&Config) + Send + use<> {
        let service = Arc::clone(&self.service);
        move |config| {
            let mut files = config.grants_files();
            files.retain(|(account, _), _| service.host.accounts().contains(account));
            let grants = &service.host.actions.grants;
            grants.replace(files);
            grants.faults().iter().for_each(|fault| tracing::error!("{fault}"));
        }
    }

    /// Answers until `stop` is done or the host fails; then lets what runs end, within a bound.
    pub async fn run(self, stop: impl Future<Output = ()>) -> anyhow::Result<()> {
        let Self {
            listener, tls, router, bounds, service, endpoint_file, keeper, poller, notifier, died, data, ..
        } = self;
        let host = &service.host;
        // Beside the first requests. What cannot go on is quarantined; only a host that fails goes no further.
        let resume = async {
            match host.resume(died).await {
                Ok(()) => std::future::pending().await,
                Err(error) => format!("what was interrupted cannot go on: {error}"),
            }
        };
        let graceful = GracefulShutdown::new();
        let work = service.work();
        let polling = tokio::spawn(poller.run(Arc::clone(&service)));
        let sweeping = tokio::spawn(job_artifacts::sweep(Arc::clone(&service)));
        let notifying = tokio::spawn(notifier.run(Arc::clone(&service)));
        let asking = tokio::spawn(functions::run(Arc::clone(&service)));
        let failure = tokio::select! {
            () = connections::serve(&listener, tls, router, &bounds, &graceful) => None,
            () = work.run(async move { keeper.run().await }) => None,
            () = stop => None,
            failure = resume => Some(failure),
            failure = host.driver.failure() => Some(failure),
        };
        drop(listener);
        polling.abort();
        sweeping.abort();
        notifying.abort();
        asking.abort();
        tracing::info!("stopping");
        let requests = tokio::time::timeout(REQUESTS_PATIENCE, graceful.shutdown());
        let _ = tokio::join!(requests, host.stop(ACTIONS_PATIENCE));
        // Nobody is misled by a file that is left behind; it only helps who looks for the server.
        let _ = std::fs::remove_file(endpoint_file);
        match failure {
            // What still runs goes on at the next start, and did not bring the host down.
            None => Ok(ending::end(&data)?),
            Some(reason) => Err(anyhow::anyhow!(reason)),
        }
    }
}

fn authorities(config: &Config) -> Vec<PathBuf> {
    config.certificate_authorities.iter().map(|path| config.path(path)).collect()
}

/// The file by which commands on this machine find the server.
fn tell_endpoint(data: &DataDirectory, endpoint: &str) -> anyhow::Result<PathBuf> {
    let file = data.endpoint();
    write_private(&file, format!("{endpoint}\n").as_bytes())
        .with_context(|| format!("cannot write {}", file.display()))?;
    Ok(file)
}

/// Those of the folders that the configuration names.
async fn configure_projects(host: &Host, config: &Config) -> anyhow::Result<()> {
    for (account, folder) in config.projects() {
        crate::projects::configure(host, account, folder.as_deref()).await?;
    }
    Ok(())
}

fn grant_book(config: &Config) -> GrantBook {
    let grants = GrantBook::many(config.grants_files());
    grants.faults().iter().for_each(|fault| tracing::error!("{fault}"));
    grants
}

/// What the configuration says of the host.
fn identity(config: &Config, work: Work) -> Identity {
    Identity {
        accounts: config.accounts(),
        region: config.region.clone(),
        store_cache_bytes: config.store_cache_mib.saturating_mul(1024 * 1024),
        limits: config.limits.clone(),
        commands: config.commands.clone(),
        secret_keys: config.secret_keys(),
        has_projects: true,
        certificate_authorities: authorities(config),
        work,
        ..Identity::default()
    }
}

/// How notifications go out: as requests of guests do.
fn post(host: &Host) -> Post {
    let sandbox = host.actions.sandbox.clone();
    Arc::new(move |outgoing| {
        let sandbox = sandbox.clone();
        async move { sandbox.post(outgoing).await }.boxed()
    })
}

/// Finds out what this machine offers to programs, before the first one is to run.
async fn probe(programs: Arc<Programs>) {
    if let Err(reason) = programs.probe().await {
        tracing::warn!("{reason}");
    }
}

/// What the connections are secured with. Its files are named in the configuration, and what is wrong with them is to be mended there.
fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Mistake> {
    let Some(files) = &config.tls else { return Ok(None) };
    let opened = Tls::open(config.path(&files.certificate), config.path(&files.key));
    opened.map(|tls| Some(Arc::new(tls))).map_err(|error| Mistake::of(format_args!("{error:#}")))
}

fn bind(address: SocketAddr) -> Result<TcpSocket, Mistake> {
    let bound = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        // What a server before this one had open does not keep its port.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(socket)
    };
    bound().map_err(|error: std::io::Error| not_there(address, &error))
}

fn not_there(address: SocketAddr, error: &std::io::Error) -> Mistake {
    Mistake::of(format_args!("cannot listen on {address}: {error}; name another address with --listen"))
}

/// Waits until a process before this one, which may have been killed just now, has let go of the data.
async fn released(data: &DataDirectory) -> Result<(), OpenError> {
    let until = clock::monotonic() + LOCK_PATIENCE;
    while data.store().exists() {
        match DirectoryLock::take(&data.store()) {
            Err(error @ OpenError::InUse { .. }) if clock::monotonic() < until => {
                tracing::info!("{error}; waiting for it to end");
                tokio::time::sleep(RETRY).await;
            }
            taken => return taken.map(drop),
        }
    }
    Ok(())
}

/// Takes the port. A process that was killed and has just let go of the data, whose address is still there, lets go of its port
/// a moment later.
async fn bound(data: &DataDirectory, address: SocketAddr) -> Result<TcpSocket, Mistake> {
    let until = clock::monotonic() + PORT_PATIENCE;
    loop {
        match bind(address) {
            Err(_) if data.endpoint().exists() && clock::monotonic() < until => tokio::time::sleep(RETRY).await,
            bound => return bound,
        }
    }
}

/// All that is kept, and what keeps it within its retention.
fn exported(
    host: &Host,
    store: Arc<dyn Store>,
    components: Arc<dyn Blobs>,
    data: &DataDirectory,
    retention: Retention,
) -> Exported {
    let (artifacts, logs) = (Arc::clone(&host.actions.artifacts), data.logs());
    let clock = Arc::clone(host.driver.clock());
    let keeper = Keeper::new(Arc::clone(&store), clock, Arc::clone(&artifacts), logs.clone(), retention);
    let keeper = Arc::new(keeper.with_pins(host.driver.clone(), Arc::clone(&host.actions) as _));
    Exported { store, artifacts, components, logs, keeper }
}

/// The components of a folder, in the order of their names.
fn components(folder: Option<PathBuf>) -> anyhow::Result<Vec<PathBuf>> {
    let Some(folder) = folder else { return Ok(Vec::new()) };
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| Mistake::of(format_args!("plugins: {}: {error}", folder.display())))?;
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        // The files with debug information that lie beside them are components, too.
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".wasm") && !name.ends_with(&format!(".{DEBUG_EXTENSION}")) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
