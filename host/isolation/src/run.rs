//! The host's side of a job: finds out what the machine offers, starts the keeper, passes on output, and hears how it ended.

use std::ffi::OsString;
use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustix::fs::Uid;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, Shutdown};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Interest};
use tokio::net::{TcpListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::job::{Ended, Job, JobError, Layers, Limit, PROXY_PORT, Root};
use crate::level::{Level, Offers, Refusal, Step};
use crate::limits::Limits;
use crate::message::{self, Ground, ORDER_BYTES_MAX, Order, REPORTS_BYTES_MAX, Report, Task};
use crate::mounts;
use crate::output::{Written, pump};
use crate::toolchain::Toolchain;
use crate::tree;
use crate::zygote::{Keeper, Waiting, Zygote};

/// How to start a process that calls [`crate::child_main`] before anything else: it must have one thread. It is started once, and
/// again where somebody ended it.
#[derive(Clone, Debug)]
pub struct ChildCommand {
    pub program: PathBuf,
    pub args: Vec<OsString>,
}

/// What is around the next jobs is made once this one ended, for a short job would share the machine with it; or after so long.
const NEXT_AFTER: Duration = Duration::from_millis(10);

/// The user and group that jobs run as where the host is root: of no distribution, and of no range for containers.
pub(crate) const JOB_ID: u32 = 1_900_000_000;

/// The user that jobs run as, if it is not the host's own.
pub(crate) fn job_user() -> Option<u32> {
    rustix::process::geteuid().is_root().then_some(JOB_ID)
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Job(#[from] JobError),
    /// It was not started.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Nothing is known of its end but that it has ended.
    #[error("the job was lost: {0}")]
    Lost(String),
}

impl From<io::Error> for RunError {
    fn from(error: io::Error) -> Self {
        Self::Lost(error.to_string())
    }
}

/// What runs jobs on this machine.
pub struct Isolation {
    pub(crate) zygote: Arc<Zygote>,
    bwrap: PathBuf,
    lowest: Level,
    offers: Offers,
}

impl Isolation {
    /// Finds out what this machine offers by running a job at each level. Less than `lowest` is never taken.
    pub async fn probe(child: ChildCommand, lowest: Level) -> io::Result<Self> {
        let offers = Offers { levels: Level::ALL.map(|level| (level, Ok(()))) };
        let zygote = Arc::new(Zygote::new(child));
        let mut isolation = Self { zygote, bwrap: find_bwrap(), lowest, offers };
        let folder = tempfile::tempdir()?;
        let (work, image) = (folder.path().join("work"), folder.path().join("image"));
        for made in [&work, &image] {
            std::fs::create_dir(made)?;
        }
        open_to_jobs(folder.path())?;
        let toolchain = Toolchain::system([]).map_err(io::Error::other)?;
        for index in 0..Level::ALL.len() {
            let level = Level::ALL[index];
            isolation.offers.levels[index].1 = isolation.try_level(level, &toolchain, &work, &image).await;
        }
        Ok(isolation)
    }

    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// The level at which a job would run: the strongest that is there for it.
    pub fn level_of(&self, root: &Root) -> Result<Level, Refusal> {
        let wanted = match root {
            Root::Image(_) => Level::Image,
            Root::Toolchain(_) => Level::Toolchain,
        };
        let Err(refusal) = self.offers.at(wanted) else { return self.accepted(wanted) };
        let weaker = wanted == Level::Toolchain && self.offers.at(Level::Restricted).is_ok();
        if weaker { self.accepted(Level::Restricted).map_err(|_| refusal.clone()) } else { Err(refusal.clone()) }
    }

    fn accepted(&self, level: Level) -> Result<Level, Refusal> {
        let lowest = self.lowest;
        if level >= lowest {
            return Ok(level);
        }
        let reason = format!("the operator accepts `{lowest}` or stronger");
        Err(Refusal { level, reason, mend: format!("run it in an image, or accept `{level}`") })
    }

    /// Runs a job to its end. What it writes goes to `output` in whole lines ([`crate::LINES_BYTES_MAX`] at most at once), and
    /// waits there. When `stop` is done, or when the returned future is dropped, all of the job is ended at once.
    pub async fn run(
        &self,
        job: &Job,
        output: mpsc::Sender<Vec<u8>>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, RunError> {
        self.run_at(self.level_of(&job.root)?, job, output, stop, true).await
    }

    /// The job is nothing but a program that ends well.
    async fn try_level(&self, level: Level, toolchain: &Toolchain, work: &Path, image: &Path) -> Result<(), Refusal> {
        // The image is empty: the machine's own files stand in it.
        let paths = toolchain.entries.iter().map(|entry| &entry.path);
        let bind = |path: &PathBuf| crate::Bind { from: path.clone(), to: path.clone(), writable: false };
        let (root, binds) = match level {
            Level::Image => (Root::Image(Layers::of_directory(image)), paths.map(bind).collect()),
            Level::Toolchain | Level::Restricted => (Root::Toolchain(toolchain.clone()), Vec::new()),
        };
        let job = Job {
            argv: vec!["true".to_owned()],
            root,
            work: work.to_owned(),
            directory: PathBuf::new(),
            binds,
            files: Vec::new(),
            environment: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
            network: None,
            // Long enough for a machine that is busy with a start.
            limits: Limits { wall_seconds_max: 60, ..Limits::default() },
        };
        let (output, _) = mpsc::channel(1);
        match self.run_at(level, &job, output, std::future::pending(), false).await {
            Ok(ended) if ended.is_success() => Ok(()),
            Ok(ended) => Err(refusal(level, Step::Other, format!("a trial job ended with {}", ended.status))),
            Err(RunError::Refused(refusal)) => Err(refusal),
            Err(error) => Err(refusal(level, Step::Other, error.to_string())),
        }
    }

    async fn run_at(
        &self,
        level: Level,
        job: &Job,
        output: mpsc::Sender<Vec<u8>>,
        stop: impl Future<Output = ()>,
        has_next: bool,
    ) -> Result<Ended, RunError> {
        job.check()?;
        if level == Level::Restricted {
            check_restricted(job)?;
        }
        let (ground, order) = (Ground::of(level, self.bwrap.clone(), &job.root), order(level, job));
        let Begun { keeper, order, work, ground } = self.begun(ground, order).await?;
        let mut keeper = keeper.keeper()?;
        keeper.send(&order, work).await?;
        let mut end = pin!(keeper.end(level, job, output, stop));
        let early = tokio::select! {
            ended = &mut end => Some(ended),
            () = tokio::time::sleep(NEXT_AFTER) => None,
        };
        if let Some(ground) = ground.filter(|_| has_next) {
            tokio::spawn(Arc::clone(&self.zygote).prepare(ground));
        }
        let ended = match early {
            Some(ended) => ended,
            None => end.await,
        };
        if job_user().is_some() {
            // What is nested too deep to be taken back stays the job's: root may read and remove it all the same.
            let _ = give(&job.work, Uid::ROOT.as_raw()).await;
        }
        ended
    }

    async fn begun(&self, ground: Ground, mut order: Order) -> Result<Begun, RunError> {
        let level = ground.level;
        let told = |error: io::Error| format!("work directory {}: {error}", order.work.display());
        let work = given(&order.work, level).await.map_err(|error| refusal(level, Step::Job, told(error)))?;
        order.handed = work.is_some();
        if level == Level::Restricted {
            let order = framed(&Task::Job(Box::new((ground, order))))?;
            let zygote = Arc::clone(&self.zygote);
            let keeper = blocking(move || zygote.beside()).await?;
            return Ok(Begun { keeper, order, work, ground: None });
        }
        let order = framed(&order)?;
        let keeper = match self.zygote.waiting(&ground) {
            Some(keeper) => keeper,
            None => {
                let (zygote, ground) = (Arc::clone(&self.zygote), ground.clone());
                blocking(move || zygote.apart(&ground)).await?
            }
        };
        Ok(Begun { keeper, order, work, ground: Some(ground) })
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

/// So few things are given away on the thread that asks for it: to wake another one and to be woken by it takes longer than what is
/// done around a short job.
const FEW: usize = 64;

async fn give(work: &Path, id: u32) -> io::Result<()> {
    if tree::give(work, id, FEW)? {
        return Ok(());
    }
    let work = work.to_owned();
    blocking(move || tree::give(&work, id, usize::MAX).map(drop)).await
}

fn order(level: Level, job: &Job) -> Order {
    let mut environment = job.environment.clone();
    if level == Level::Restricted && !environment.iter().any(|(name, _)| name == "TMPDIR") {
        // The machine's /tmp is not the job's.
        environment.push(("TMPDIR".to_owned(), job.work.display().to_string()));
    }
    if let Some(network) = &job.network {
        let proxy = format!("http://127.0.0.1:{PROXY_PORT}");
        let names = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];
        environment.extend(names.map(|name| (name.to_owned(), proxy.clone())));
        // What is granted of the machine's own services is reached by the proxy.
        let own: Vec<&str> = ["localhost", "127.0.0.1"].into_iter().filter(|host| !network.leads_to(host)).collect();
        environment.extend(["NO_PROXY", "no_proxy"].map(|name| (name.to_owned(), own.join(","))));
    }
    Order {
        argv: job.argv.clone(),
        work: job.work.clone(),
        directory: job.directory.clone(),
        binds: job.binds.clone(),
        files: job.files.clone(),
        environment,
        limits: job.limits.clone(),
        network: job.network.is_some(),
        handed: false,
    }
}

/// A job that only waits to be said to its keeper.
struct Begun {
    keeper: Waiting,
    order: Vec<u8>,
    /// Its work directory, where it is handed over.
    work: Option<OwnedFd>,
    /// On which the job after it is likely to be, too.
    ground: Option<Ground>,
}

fn framed(order: &impl Serialize) -> Result<Vec<u8>, RunError> {
    let order = message::framed(order)?;
    if order.len() > ORDER_BYTES_MAX { Err(JobError::TooLong(order.len()).into()) } else { Ok(order) }
}

/// Gives the work directory to the user that jobs run as, who might not find it by its name: then it is handed over.
async fn given(work: &Path, level: Level) -> io::Result<Option<OwnedFd>> {
    tree::close(work)?;
    let Some(id) = job_user() else { return Ok(None) };
    give(work, id).await?;
    Ok((level != Level::Restricted).then(|| mounts::directory(work)).and_then(Result::ok))
}

pub(crate) fn refusal(level: Level, step: Step, reason: String) -> Refusal {
    Refusal { level, reason, mend: step.mend().to_owned() }
}

/// What only an own view of the files and the network can do.
fn check_restricted(job: &Job) -> Result<(), Refusal> {
    let refused = |reason: &str| {
        let mend = "allow user namespaces, for the level `toolchain`".to_owned();
        Err(Refusal { level: Level::Restricted, reason: reason.to_owned(), mend })
    };
    if job.network.is_some() {
        return refused("it has no way to the network");
    }
    if !job.files.is_empty() {
        return refused("it has no memory of its own for files that nobody else is to read");
    }
    if job.binds.iter().any(|bind| bind.from != bind.to) {
        return refused("files are where they are on the machine, and nowhere else");
    }
    Ok(())
}

fn find_bwrap() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found =
        std::env::split_paths(&path).map(|folder| folder.join("bwrap")).find(|it| it.is_absolute() && it.is_file());
    found.unwrap_or_else(|| PathBuf::from("/usr/bin/bwrap"))
}

/// A folder of the host's own into which jobs are let, whoever they run as.
fn open_to_jobs(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o711))
}

impl Keeper {
    /// The only report of a task that is no job.
    pub(crate) async fn report(mut self, task: &Task) -> Result<Report, RunError> {
        self.send(&message::framed(task)?, None).await?;
        let mut line = String::new();
        let mut reports = BufReader::new(&mut self.control).take(REPORTS_BYTES_MAX as u64);
        reports.read_line(&mut line).await?;
        if line.is_empty() {
            return Err(lost());
        }
        Ok(serde_json::from_str(&line).map_err(io::Error::other)?)
    }

    async fn send(&mut self, order: &[u8], work: Option<OwnedFd>) -> io::Result<()> {
        // A keeper that is gone by now is met when it reports nothing.
        let _ = self.control.write_all(order).await;
        let (control, work) = (&self.control, Vec::from_iter(work));
        let mut left = &work[..];
        while !left.is_empty() {
            match control.async_io(Interest::WRITABLE, || Ok(mounts::send(control, &mut left)?)).await {
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
                sent => sent?,
            }
        }
        Ok(())
    }

    async fn end(
        self,
        level: Level,
        job: &Job,
        output: mpsc::Sender<Vec<u8>>,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, RunError> {
        let Self { control, output: written } = self;
        let too_much = AtomicBool::new(false);
        let end = || rustix::net::shutdown(&control, Shutdown::Write);
        let over = || {
            too_much.store(true, Ordering::Relaxed);
            let _ = end();
        };
        let mut both = pin!(async {
            tokio::try_join!(reports(&control, job), pump(written, output, job.limits.output_bytes_max, over))
        });
        let (report, written) = tokio::select! {
            ended = &mut both => ended?,
            () = stop => {
                let _ = end();
                both.await?
            }
        };
        let ended = ended(level, report.ok_or_else(lost)?, &written)?;
        Ok(if too_much.load(Ordering::Relaxed) { Ended { ended_by: Some(Limit::OutputBytes), ..ended } } else { ended })
    }
}

fn lost() -> RunError {
    RunError::Lost("its keeper ended without a word".to_owned())
}

fn ended(level: Level, report: Report, written: &Written) -> Result<Ended, RunError> {
    let refused = |step, reason| Err(refusal(level, step, reason).into());
    match report {
        Report::Ended(ended) => Ok(ended),
        Report::NotBegun => {
            let said = String::from_utf8_lossy(&written.head);
            refused(Step::Bubblewrap, format!("bubblewrap did not get to start a program: {}", said.trim()))
        }
        Report::Failed(failure) => refused(failure.step, failure.reason),
        Report::Network | Report::Unpacked(_) => Err(lost()),
    }
}

/// Reads reports until the one that says what became of the job, and serves the job's way to the network meanwhile. None where
/// those around it ended without one.
async fn reports(control: &UnixStream, job: &Job) -> io::Result<Option<Report>> {
    let mut serving = JoinSet::new();
    let mut text = Vec::new();
    loop {
        let (length, sockets) = control.async_io(Interest::READABLE, || receive(control, &mut text)).await?;
        if let (Some(proxy), Some(socket)) = (&job.network, sockets.into_iter().next()) {
            let socket = std::net::TcpListener::from(socket);
            socket.set_nonblocking(true)?;
            serving.spawn(Arc::clone(proxy).serve(TcpListener::from_std(socket)?));
        }
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            match serde_json::from_slice(&line)? {
                Report::Network | Report::Unpacked(_) => {}
                last => return Ok(Some(last)),
            }
        }
        if length == 0 || text.len() > REPORTS_BYTES_MAX {
            return Ok(None);
        }
    }
}

fn receive(control: &UnixStream, text: &mut Vec<u8>) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut buffer = [0; 4 << 10];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(control, &mut [IoSliceMut::new(&mut buffer)], &mut ancillary, flags)?;
    text.extend_from_slice(&buffer[..received.bytes]);
    let mut sockets = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = message {
            sockets.extend(files);
        }
    }
    Ok((received.bytes, sockets))
}
