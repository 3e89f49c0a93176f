//! Starts keepers, by way of the *zygote*: a process of this program that is loaded once, and forks for each.
//!
//! Owns what host and zygote say to each other. Must not know what a keeper is given to do.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::net::unix::pipe;
use tokio::process::Command;

use crate::run::ChildCommand;

/// The host's side.
pub(crate) struct Zygote {
    command: ChildCommand,
    socket: Mutex<Option<UnixStream>>,
}

/// A keeper that waits for its order.
pub(crate) struct Keeper {
    pub control: tokio::net::UnixStream,
    pub output: pipe::Receiver,
}

impl Zygote {
    pub(crate) fn new(command: ChildCommand) -> Self {
        Self { command, socket: Mutex::new(None) }
    }

    pub(crate) fn fork(&self) -> io::Result<Keeper> {
        let (ours, theirs) = UnixStream::pair()?;
        let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)?;
        let files = [theirs.as_fd(), writer.as_fd()];
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has ended, whoever ended it, is started again.
        if socket.as_ref().is_none_or(|zygote| ask(zygote, &files).is_err()) {
            ask(socket.insert(self.start()?), &files)?;
        }
        ours.set_nonblocking(true)?;
        Ok(Keeper { control: tokio::net::UnixStream::from_std(ours)?, output: pipe::Receiver::from_owned_fd(reader)? })
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

fn ask(zygote: &UnixStream, files: &[BorrowedFd<'_>; 2]) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(files));
    rustix::net::sendmsg(zygote, &[IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

/// The zygote's side: the socket and the output of the next keeper. None where the host is gone, or keeps to no form.
pub(crate) fn asked(host: BorrowedFd<'_>) -> Option<[OwnedFd; 2]> {
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
    files?.try_into().ok()
}
