//! Programs of the machine: what the operator offers of them, and the running of one that a call started.
//!
//! Owns the places that jobs take, and how a job of the sandbox becomes one of `pipewright-isolation`. Must not know what follows from
//! its end.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use pipewright_base::clock;
use pipewright_base::fair::{Claim, Gate, Permits};
use pipewright_isolation::{
    ChildCommand, FILES, Isolation, Job, Level, Limit, Limits, Origin, Proxy, ProxyLimits, Root, RunError, Toolchain,
    WORK,
};
use pipewright_packages::digest_text;
use pipewright_packages::images::ImageName;
use pipewright_sandbox::capabilities::commands::{self, CommandsGrant, Started};
use pipewright_sandbox::seam::{self, HostCallOutcome};
use rustix::thread::{CapabilitySet, capabilities};
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, OnceCell, mpsc, oneshot};

use crate::images::{Images, ImagesAt, ImagesOffered, NotReady, Pins, Ready, TOOLCHAIN};

/// The hidden command by which the host starts its own binary around a job.
pub const RUN: &str = "run-program";
/// The toolchain of grants that name none.
pub const DEFAULT: &str = "default";
/// The home of a job, in its work directory: what is kept there is there for the action's next job, too.
const HOME: &str = ".home";
/// Pieces of output that wait for the log. Whoever writes more waits.
const PIECES_MAX: usize = 4;

/// The process around a job.
pub fn child() -> ExitCode {
    pipewright_isolation::child_main()
}

/// The process in which the host compiles plugins: a compiler that a component has the better of reaches nothing.
pub fn compiler() -> ExitCode {
    if let Err(error) = pipewright_isolation::only_compute() {
        return pipewright_sandbox::compile_child_failed(&format!("it cannot be kept apart from the machine: {error}"));
    }
    pipewright_sandbox::compile_child()
}

/// What the operator offers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Offered {
    /// Nothing runs at a weaker level.
    pub level: Level,
    /// Programs that run at once; more of them wait. Without it, as many as the machine has cores.
    pub at_once: Option<usize>,
    /// And of one account; without it, half of them. Stops one whose programs run long from keeping all others from running.
    pub at_once_per_account: Option<usize>,
    /// What one program may use.
    pub limits: Limits,
    /// Toolchains by the names that grants use; that of a grant without a name is `default`.
    pub toolchains: BTreeMap<String, Tools>,
    /// Container images that programs run in.
    pub images: ImagesOffered,
}

impl Default for Offered {
    fn default() -> Self {
        Self {
            level: Level::Toolchain,
            at_once: None,
            at_once_per_account: None,
            limits: Limits::default(),
            toolchains: BTreeMap::new(),
            images: ImagesOffered::default(),
        }
    }
}

/// A toolchain by the operator's name: what programs see besides the system's own `/usr` and what belongs to it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tools {
    /// Files and directories, read-only.
    pub read: Vec<PathBuf>,
    /// The directories of `PATH` before the system's.
    pub path: Vec<PathBuf>,
    /// Variables that programs have beside their own.
    pub environment: BTreeMap<String, String>,
}

impl Offered {
    /// For the person whose machine it is: Rust's toolchain, too, if `rustup` put it there.
    pub fn of_this_machine() -> Self {
        Self {
            toolchains: BTreeMap::from([(DEFAULT.to_owned(), Tools::of_rustup().unwrap_or_default())]),
            ..Self::default()
        }
    }

    /// What is wrong with it.
    pub fn check(&self) -> Result<(), String> {
        if self.at_once == Some(0) || self.at_once_per_account == Some(0) {
            return Err("commands: at_once and at_once_per_account are at least 1".to_owned());
        }
        for (name, tools) in &self.toolchains {
            tools.toolchain().map_err(|error| format!("commands.toolchains.{name}: {error}"))?;
        }
        self.images.check()
    }

    fn tools(&self, grant: &CommandsGrant) -> Result<Tools, NotRun> {
        let name = grant.toolchain.as_deref().unwrap_or(DEFAULT);
        match self.toolchains.get(name) {
            Some(tools) => Ok(tools.clone()),
            None if name == DEFAULT => Ok(Tools::default()),
            None => {
                let there: BTreeSet<&str> = self.toolchains.keys().map(String::as_str).chain([DEFAULT]).collect();
                let there: Vec<&str> = there.into_iter().collect();
                Err(NotRun::Configuration(format!(
                    "the grant names the toolchain {name:?}, and this host has {}; its operator offers one by \
                     [commands.toolchains.{name}] of the configuration",
                    there.join(", ")
                )))
            }
        }
    }
}

impl Tools {
    fn of_rustup() -> Option<Self> {
        let home = std::env::var_os("HOME").map(PathBuf::from)?;
        let of = |variable: &str, name: &str| std::env::var_os(variable).map_or_else(|| home.join(name), PathBuf::from);
        let (rustup, cargo) = (of("RUSTUP_HOME", ".rustup"), of("CARGO_HOME", ".cargo").join("bin"));
        if ![&rustup, &cargo].into_iter().all(|path| path.is_dir() && is_seen_by_jobs(path)) {
            return None;
        }
        let environment = BTreeMap::from([("RUSTUP_HOME".to_owned(), rustup.to_str()?.to_owned())]);
        Some(Self { read: vec![rustup, cargo.clone()], path: vec![cargo], environment })
    }

    fn toolchain(&self) -> Result<Toolchain, String> {
        Toolchain::system(self.read.iter().cloned()).map_err(|error| error.to_string())
    }

    fn search_path(&self) -> String {
        let own = self.path.iter().map(|path| path.display().to_string());
        own.chain(["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"].map(str::to_owned))
            .collect::<Vec<_>>()
            .join(":")
    }
}

/// Whether jobs can be shown a path. Where the host is root they are another user, who may not go through directories that are
/// closed; what they see is mounted for them then, if the host may.
fn is_seen_by_jobs(path: &Path) -> bool {
    let is_open = |above: &Path| std::fs::metadata(above).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    let may_mount = || capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN));
    !rustix::process::geteuid().is_root() || path.ancestors().all(is_open) || may_mount()
}

/// What one who waits says.
pub(crate) fn in_queue(before: usize) -> String {
    match before {
        0 => "it is the next one of the account".to_owned(),
        1 => "1 of the account is before it".to_owned(),
        more => format!("{more} of the account are before it"),
    }
}

/// Why a job did not run, or nobody knows how it ended.
#[derive(Debug)]
pub enum NotRun {
    /// The operator's to mend, or the author's.
    Configuration(String),
    /// The author's to mend, or nobody's: what is told names nothing but the image.
    Image(NotReady),
    Host(String),
}

impl From<NotReady> for NotRun {
    fn from(error: NotReady) -> Self {
        Self::Image(error)
    }
}

impl From<RunError> for NotRun {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Lost(_) => Self::Host(error.to_string()),
            RunError::Job(_) | RunError::Refused(_) => Self::Configuration(error.to_string()),
        }
    }
}

/// On whose behalf a program runs. It is kept until nothing of the program is left.
pub trait Behalf: Send + 'static {
    fn claim(&self) -> Claim;

    /// It is among those who wait, or does not come to that soon.
    fn has_asked(&self) {}

    /// It does nothing any more but wait for its turn, which has not come at once; told again while it waits.
    fn waits(&self) {}

    /// It is its turn.
    fn has_begun(&self) {}
}

/// Nobody else's.
impl Behalf for Claim {
    fn claim(&self) -> Claim {
        *self
    }
}

/// What runs them.
pub struct Programs {
    offered: Offered,
    isolation: OnceCell<Isolation>,
    places: Permits,
    images: Images,
    pins: Arc<Mutex<()>>,
}

impl Programs {
    /// Programs are begun while `gate` is open for their account.
    pub fn new(offered: Offered, images: ImagesAt, gate: Gate) -> Arc<Self> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let at_once = offered.at_once.unwrap_or(cores);
        let of_account = offered.at_once_per_account.unwrap_or(at_once.div_ceil(2));
        let places = Permits::behind(gate, at_once, of_account);
        let images = Images::new(offered.images.clone(), images);
        Arc::new(Self { offered, isolation: OnceCell::new(), places, images, pins: Arc::default() })
    }

    /// What an execution keeps, in a folder of its own, of the images that it met.
    pub fn pins(&self, folder: PathBuf) -> Pins {
        Pins::new(folder, Arc::clone(&self.pins))
    }

    pub fn images(&self) -> &Images {
        &self.images
    }

    /// Finds out what this machine offers, once.
    pub async fn probe(&self) -> Result<&Isolation, String> {
        let probe = async {
            let program =
                std::env::current_exe().map_err(|error| format!("cannot find this program's own file: {error}"))?;
            let child = ChildCommand { program, args: vec![RUN.into()] };
            let isolation = Isolation::probe(child, self.offered.level).await;
            let isolation = isolation.map_err(|error| format!("what runs programs cannot be tried: {error}"))?;
            isolation.offers().refusals().for_each(|refusal| tracing::info!("{refusal}"));
            Ok(isolation)
        };
        self.isolation.get_or_try_init(|| probe).await
    }

    /// Runs a job to its end, in the scratch of its action, once its image is here and it is its turn. Dropping the future ends all
    /// of the job at once. Of the bytes that an action's programs may write together, those before wrote so many; gives how many it
    /// is now.
    pub async fn run(
        self: &Arc<Self>,
        behalf: impl Behalf,
        started: Started,
        scratch: PathBuf,
        pins: &Pins,
        written: u64,
    ) -> Result<(commands::Ended, u64), NotRun> {
        let started = Arc::new(started);
        let isolation = self.probe().await.map_err(NotRun::Host)?;
        let image = match self.image(&started)? {
            Some(name) => {
                behalf.has_asked();
                Some(self.ready(isolation, behalf.claim().account, &name, pins, &started).await?)
            }
            None => None,
        };
        let (mut job, level) = self.job(isolation, &started, scratch, image.as_ref())?;
        job.limits.output_bytes_max = job.limits.output_bytes_max.saturating_sub(written);
        let asked = self.places.ask(behalf.claim());
        behalf.has_asked();
        let tell = |before| {
            behalf.waits();
            started.progress(&format!("waits for its turn to run `{}`: {}", started.job.in_short(), in_queue(before)));
        };
        let place = asked.come(tell).await;
        behalf.has_begun();
        let within = image.as_ref().map_or_else(String::new, |image| format!(", {}", digest_text(&image.digest)));
        started.log(
            seam::Level::Info,
            &format!("`{}` runs apart from the machine (level {level}{within})", started.job.in_short()),
        );
        started.progress(&format!("runs `{}`", started.job.in_short()));
        let programs = Arc::clone(self);
        let (stop, stopped) = oneshot::channel::<()>();
        let running = tokio::spawn(async move {
            let _held = (behalf, place, image);
            let isolation = programs.probe().await.map_err(NotRun::Host)?;
            run(isolation, &started, &job, async { drop(stopped.await) }).await
        });
        let ended = running.await;
        drop(stop);
        let ended = ended.unwrap_or_else(|error| Err(NotRun::Host(format!("the job was lost: {error}"))));
        ended.map(|(ended, bytes)| (ended, written + bytes))
    }

    /// The image that a job runs in, if it runs in one: its own, or the grant's.
    fn image(&self, started: &Started) -> Result<Option<ImageName>, NotReady> {
        let Started { job, grant, .. } = started;
        let granted = grant.images.first().filter(|_| grant.level == commands::Isolation::Image);
        let of = |name: &String| self.images.offered().image(name);
        if let Some(image) = job.image.as_ref().map(of).transpose()?.flatten() {
            return Ok(Some(image));
        }
        if let Some(named) = &job.image {
            let instead = granted.map_or(format!("the {TOOLCHAIN} of this host"), |image| format!("the image {image}"));
            started.log(seam::Level::Info, &format!("in place of the image {named} there is {instead}"));
        }
        Ok(granted.map(of).transpose()?.flatten())
    }

    async fn ready(
        &self,
        isolation: &Isolation,
        account: u64,
        name: &ImageName,
        pins: &Pins,
        started: &Started,
    ) -> Result<Ready, NotRun> {
        // Before anything is pulled for nothing.
        isolation.offers().at(Level::Image).map_err(|refusal| NotRun::Configuration(refusal.to_string()))?;
        let say = |text: &str| {
            started.log(seam::Level::Info, text);
            started.progress(text);
        };
        Ok(self.images.ready(isolation, account, name, Some(pins), &say).await?)
    }

    fn job(
        &self,
        isolation: &Isolation,
        started: &Arc<Started>,
        work: PathBuf,
        image: Option<&Ready>,
    ) -> Result<(Job, Level), NotRun> {
        let Started { job, grant, secrets, secret_files, .. } = &**started;
        let (root, tools) = match image {
            Some(image) => (Root::Image(image.layers.clone()), Tools::default()),
            None => {
                let tools = self.offered.tools(grant)?;
                (Root::Toolchain(tools.toolchain().map_err(NotRun::Configuration)?), tools)
            }
        };
        let level = isolation.level_of(&root).map_err(|refusal| NotRun::Configuration(refusal.to_string()))?;
        if level < wanted(grant.level) {
            return Err(NotRun::Configuration(format!(
                "the grant wants the level \"{}\" or stronger, and this host can only hold programs apart at \"{level}\"",
                grant.level
            )));
        }
        let of_image = image.map_or(&[][..], |image| &image.environment);
        let mut environment = self.environment(level, &tools, &work, of_image);
        environment.extend(job.environment.clone());
        environment.extend(secrets.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())));
        environment.extend(secret_files.keys().map(|name| (name.clone(), format!("{FILES}/{name}"))));
        let files = secret_files.iter().map(|(name, value)| (name.clone(), value.expose().to_owned())).collect();
        let mut limits = self.offered.limits.clone();
        limits.wall_seconds_max = limits.wall_seconds_max.min(job.wall_seconds.map_or(u64::MAX, u64::from));
        let job = Job {
            argv: job.arguments.clone(),
            root,
            work,
            directory: PathBuf::from(&job.directory),
            binds: Vec::new(),
            files,
            environment: environment.into_iter().collect(),
            // Without an origin there is nothing that `restricted` would lack.
            network: (job.network && !(level == Level::Restricted && grant.network.is_empty())).then(|| proxy(started)),
            limits,
        };
        Ok((job, level))
    }

    /// What every program gets. What an image says is the image's, but for the home, which is to be there for the next job.
    fn environment(
        &self,
        level: Level,
        tools: &Tools,
        work: &Path,
        of_image: &[(String, String)],
    ) -> BTreeMap<String, String> {
        let work = if level == Level::Restricted { work } else { Path::new(WORK) };
        let mut environment = tools.environment.clone();
        environment.extend([("PATH".to_owned(), tools.search_path()), ("LANG".to_owned(), "C.UTF-8".to_owned())]);
        environment.extend(of_image.iter().cloned());
        let mut set = |name: &str, value: String| environment.insert(name.to_owned(), value);
        set("HOME", work.join(HOME).display().to_string());
        if level > Level::Restricted {
            set("TMPDIR", "/tmp".to_owned());
        }
        environment
    }
}

fn wanted(level: commands::Isolation) -> Level {
    match level {
        commands::Isolation::Restricted => Level::Restricted,
        commands::Isolation::Toolchain => Level::Toolchain,
        commands::Isolation::Image => Level::Image,
    }
}

/// The way to the hosts that are granted.
fn proxy(started: &Arc<Started>) -> Arc<Proxy> {
    let origin = |grant: &pipewright_sandbox::grants::HttpGrant| Origin { host: grant.host.clone(), port: grant.port };
    let origins = started.grant.network.iter().map(origin).collect();
    let (connecting, denying) = (Arc::clone(started), Arc::clone(started));
    let connect = move |origin: &Origin| {
        let (started, origin) = (Arc::clone(&connecting), origin.clone());
        Box::pin(async move { started.connect(&origin.host, origin.port).await }) as pipewright_isolation::Connected
    };
    let denied = move |origin: &Origin| denying.denied(&origin.host, origin.port);
    Arc::new(Proxy::new(origins, Box::new(connect), Box::new(denied), ProxyLimits::default()))
}

async fn run(
    isolation: &Isolation,
    started: &Started,
    job: &Job,
    stop: impl Future<Output = ()>,
) -> Result<(commands::Ended, u64), NotRun> {
    // It may be what an earlier job of the action made of it.
    let _ = std::fs::create_dir(job.work.join(HOME));
    let (timer, began) = (started.begin(), clock::monotonic());
    let (lines, mut written) = mpsc::channel::<Vec<u8>>(PIECES_MAX);
    let output = async {
        let (mut output, mut bytes) = (started.output(), 0);
        while let Some(piece) = written.recv().await {
            bytes += piece.len() as u64;
            output.write(&piece);
        }
        (output.finish(), bytes)
    };
    let (ended, (tail, bytes)) = tokio::join!(isolation.run(job, lines, stop), output);
    let ended = ended.map(|ended| told(&ended, began.elapsed(), tail));
    let outcome = match &ended {
        Err(error) => HostCallOutcome::Failed(error.to_string()),
        Ok(commands::Ended { limit: Some(limit), .. }) => HostCallOutcome::Limit(format!("it met the limit {limit}")),
        Ok(commands::Ended { status: 0, .. }) => HostCallOutcome::Done,
        Ok(commands::Ended { status, .. }) => HostCallOutcome::Failed(format!("it ended with {status}")),
    };
    timer.end(started.job.in_short(), outcome, bytes);
    Ok((ended?, bytes))
}

/// As the plugin is told.
fn told(ended: &pipewright_isolation::Ended, wall: std::time::Duration, tail: String) -> commands::Ended {
    let limit = |limit: Limit| match limit {
        Limit::Stopped => "stopped",
        Limit::CpuSeconds => "cpu-seconds",
        Limit::WallSeconds => "wall-seconds",
        Limit::MemoryBytes => "memory-bytes",
        Limit::Processes => "processes",
        Limit::DiskBytes => "disk-bytes",
        Limit::DiskEntries => "disk-entries",
        Limit::OutputBytes => "output-bytes",
    };
    commands::Ended {
        status: ended.status,
        signal: ended.signal,
        limit: ended.ended_by.map(|by| limit(by).to_owned()),
        cpu_micros: ended.cpu_micros,
        memory_bytes_max: ended.memory_bytes_max,
        wall_micros: u64::try_from(wall.as_micros()).unwrap_or(u64::MAX),
        tail,
    }
}
