//! Starts keepers, by way of the *zygote*: a process of this program that is loaded once, and forks for each.
//!
//! Owns what host and zygote say to each other, and the keepers that wait for the next jobs: their namespaces, and bubblewrap in them, take
//! most of the time of what is around a job. They wait on the grounds of the last jobs, for the next one is seldom on another. Must not
//! know what a keeper is given to do.

use std::io::{self, IoSlice, IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::net::unix::pipe;
use tokio::process::Command;

use crate::message::{self, Ground};
use crate::mounts;
use crate::run::{ChildCommand, job_user};

/// Where a keeper is when it takes its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the host is: for layers, and for jobs that have no namespaces.
    Beside = 0,
    /// In namespaces of its own.
    Apart = 1,
}

/// The host's side.
pub(crate) struct Zygote {
    command: ChildCommand,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    zygote: Option<UnixStream>,
    /// Those apart that wait for the next jobs, each with the ground that it has made; the oldest first.
    next: Vec<(Ground, Waiting)>,
    /// How many have been asked for.
    asked: u64,
}

impl Known {
    fn count(&self, ground: &Ground) -> usize {
        self.next.iter().filter(|(made, _)| made == ground).count()
    }

    fn waiting(&mut self, ground: &Ground) -> Option<Waiting> {
        self.asked += 1;
        while let Some(index) = self.next.iter().position(|(made, _)| made == ground) {
            let (_, waiting) = self.next.remove(index);
            if waiting.is_there() {
                return Some(waiting);
            }
        }
        None
    }
}

/// So many wait on one ground, for short jobs one after another; and so many in all.
const NEXT_EACH: usize = 4;
const NEXT_MAX: usize = 8;
/// Of these the first are made as soon as a job has ended: of jobs one after another, the next but one has begun before another is made.
const NEXT_SOON: usize = 2;
/// And the others once no job has begun for so long, for what comes after a short job would share the machine with them.
const QUIET: Duration = Duration::from_millis(10);

/// A keeper that waits for its order, of no runtime yet.
pub(crate) struct Waiting {
    control: UnixStream,
    output: OwnedFd,
}

/// A keeper that waits for its order.
pub(crate) struct Keeper {
    pub control: tokio::net::UnixStream,
    pub output: pipe::Receiver,
}

impl Zygote {
    pub(crate) fn new(command: ChildCommand) -> Self {
        Self { command, known: Mutex::default() }
    }

    pub(crate) fn beside(&self) -> io::Result<Waiting> {
        self.ask(&mut self.known().zygote, Place::Beside)
    }

    /// One that waits on this ground, if there is one; none while others are made.
    pub(crate) fn waiting(&self, ground: &Ground) -> Option<Waiting> {
        self.known.try_lock().ok()?.waiting(ground)
    }

    /// One that waits, or a new one. Blocks.
    pub(crate) fn apart(&self, ground: &Ground) -> io::Result<Waiting> {
        let mut known = self.known();
        match known.waiting(ground) {
            Some(waiting) => Ok(waiting),
            None => self.on(&mut known.zygote, ground),
        }
    }

    /// For the next jobs, if they are on this ground, too: some at once, and the others when it is quiet.
    pub(crate) async fn prepare(self: Arc<Self>, ground: Ground) {
        let asked = self.wait_on(&ground, NEXT_SOON).await;
        tokio::time::sleep(QUIET).await;
        if asked.is_some_and(|asked| self.known().asked == asked) {
            self.wait_on(&ground, NEXT_EACH).await;
        }
    }

    /// Until so many wait on a ground. Says how many had been asked for at the end.
    async fn wait_on(self: &Arc<Self>, ground: &Ground, count: usize) -> Option<u64> {
        {
            let known = self.known();
            if known.count(ground) >= count {
                return Some(known.asked);
            }
        }
        let (zygote, ground) = (Arc::clone(self), ground.clone());
        tokio::task::spawn_blocking(move || zygote.make(&ground, count)).await.ok()
    }

    /// The same on this thread. Blocks.
    fn make(&self, ground: &Ground, count: usize) -> u64 {
        let mut known = self.known();
        while known.count(ground) < count {
            // Whoever comes next tells what is wrong.
            let Ok(waiting) = self.on(&mut known.zygote, ground) else { break };
            if known.next.len() == NEXT_MAX {
                known.next.remove(0);
            }
            known.next.push((ground.clone(), waiting));
        }
        known.asked
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn on(&self, zygote: &mut Option<UnixStream>, ground: &Ground) -> io::Result<Waiting> {
        let waiting = self.ask(zygote, Place::Apart)?;
        // A host that is root hands over what jobs, as another user, might not find by its name. Where mounts cannot be made, or
        // something is not there, it is looked for by its name, and told.
        let seen = job_user().map(|_| ground.root.seen().into_iter().map(mounts::seen).collect::<Result<Vec<_>, _>>());
        let seen = seen.and_then(Result::ok).unwrap_or_default();
        let ground = Ground { mounts: seen.len(), ..ground.clone() };
        // What it cannot be told, for it has ended, it will not report either.
        let _ = (&waiting.control).write_all(&message::framed(&ground)?);
        let mut left = &seen[..];
        while !left.is_empty() && mounts::send(&waiting.control, &mut left).is_ok() {}
        Ok(waiting)
    }

    fn ask(&self, zygote: &mut Option<UnixStream>, place: Place) -> io::Result<Waiting> {
        let (control, theirs) = UnixStream::pair()?;
        let (output, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let files = [theirs.as_fd(), writer.as_fd()];
        // One that has ended, whoever ended it, is started again.
        if zygote.as_ref().is_none_or(|zygote| ask(zygote, place, &files).is_err()) {
            ask(zygote.insert(self.start()?), place, &files)?;
        }
        Ok(Waiting { control, output })
    }

    /// It ends when the other half of its socket is closed.
    fn start(&self) -> io::Result<UnixStream> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut command = Command::new(&self.command.program);
        command.args(&self.command.args).env_clear().stdin(Stdio::from(OwnedFd::from(theirs)));
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.command.program.display()));
        command.spawn().map_err(told)?;
        Ok(ours)
    }
}

impl Waiting {
    pub(crate) fn keeper(self) -> io::Result<Keeper> {
        let Self { control, output } = self;
        control.set_nonblocking(true)?;
        Ok(Keeper {
            control: tokio::net::UnixStream::from_std(control)?,
            output: pipe::Receiver::from_owned_fd(output)?,
        })
    }

    /// It says nothing before its order, so that there is something to read only where it has ended, or could not make its ground.
    fn is_there(&self) -> bool {
        let mut read = [PollFd::new(&self.control, PollFlags::IN)];
        let now = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
        poll(&mut read, Some(&now)).is_ok_and(|ready| ready == 0)
    }
}

fn ask(zygote: &UnixStream, place: Place, files: &[BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(files));
    rustix::net::sendmsg(zygote, &[IoSlice::new(&[place as u8])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The zygote's side: the next keeper's place, socket and output. None where the host is gone, or keeps to no form.
pub(crate) fn asked(host: BorrowedFd<'_>) -> Option<(Place, [OwnedFd; 2])> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(host, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)
    })
    .ok()?;
    let files = ancillary.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(files) => Some(files.collect::<Vec<_>>()),
        _ => None,
    });
    let place = if byte[0] == Place::Apart as u8 { Place::Apart } else { Place::Beside };
    Some((place, files?.try_into().ok()?))
}
