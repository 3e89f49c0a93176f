//! Directories and files as mounts that lie nowhere yet: whoever may go through the directories above makes them, and who may not
//! attaches them. Jobs are another user than a host that is root, and what they see may lie in a data directory or a home.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, OpenTreeFlags, mount_change, move_mount, open_tree};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use crate::tree::open_directory;

/// The kernel takes some more at once.
const SENT_AT_ONCE_MAX: usize = 64;

/// Of a directory to write to, without what is mounted below.
pub(crate) fn directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    detached(open_directory(CWD, path)?.as_fd(), OpenTreeFlags::empty())
}

/// With all that is mounted below, which nobody else may uncover.
pub(crate) fn whole(file: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    detached(file, OpenTreeFlags::AT_RECURSIVE)
}

pub(crate) fn seen(path: &Path) -> rustix::io::Result<OwnedFd> {
    whole(rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.as_fd())
}

fn detached(file: BorrowedFd<'_>, flags: OpenTreeFlags) -> rustix::io::Result<OwnedFd> {
    let own = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    open_tree(file, c"", own | flags)
}

/// Nothing that is mounted below it later is passed on to where it was made.
pub(crate) fn attach(mount: &OwnedFd, at: &Path) -> rustix::io::Result<()> {
    move_mount(mount, c"", CWD, at, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)?;
    mount_change(at, MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
}

/// At a directory or file, by way of whatever is mounted there.
pub(crate) fn attach_over(mount: &OwnedFd, place: impl AsFd) -> rustix::io::Result<()> {
    let by_files = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(mount, c"", place, c"", by_files)
}

/// One byte comes with so many of them as go at once.
pub(crate) fn send<'a>(to: impl AsFd, mounts: &mut &'a [OwnedFd]) -> rustix::io::Result<()> {
    let (some, rest) = mounts.split_at(mounts.len().min(SENT_AT_ONCE_MAX));
    let files: Vec<BorrowedFd<'a>> = some.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SENT_AT_ONCE_MAX))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&files));
    rustix::net::sendmsg(to, &[io::IoSlice::new(&[0])], &mut ancillary, SendFlags::NOSIGNAL)?;
    *mounts = rest;
    Ok(())
}

pub(crate) fn receive(from: BorrowedFd<'_>, count: usize) -> io::Result<Vec<OwnedFd>> {
    let mut received = Vec::new();
    while received.len() < count {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(SENT_AT_ONCE_MAX))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut byte = [0];
        let bytes = rustix::io::retry_on_intr(|| {
            let mut buffer = [io::IoSliceMut::new(&mut byte)];
            rustix::net::recvmsg(from, &mut buffer, &mut ancillary, RecvFlags::CMSG_CLOEXEC)
        })?;
        let before = received.len();
        for message in ancillary.drain() {
            if let RecvAncillaryMessage::ScmRights(files) = message {
                received.extend(files);
            }
        }
        if bytes.bytes == 0 || received.len() == before {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(received)
}
