//! Unpacking a layer upon those below it, in a process of its own, as the user that jobs run as: a user namespace in which the
//! kernel lays one upon the other (overlayfs), so that what is written comes into the layer's own directory alone, with the kernel's
//! own marks for what it takes away.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;

use super::surroundings::{self, MADE};
use super::{Control, become_job_user, enter};
use crate::level::Step;
use crate::message::{BESIDE, Failing, Failure, LayerOrder, UPPER};
use crate::mounts;
use crate::run::job_user;
use crate::tree::{self, find_directory};
use crate::unpack::{self, Unpacked};

/// Stops what decompresses only with a great deal of memory.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Or what is wrong with the layer.
pub(super) fn unpack(order: &LayerOrder, control: &Control) -> Result<Result<Unpacked, String>, Failure> {
    let archive = File::open(&order.archive).failing(Step::Other, "the layer's file")?;
    let folder = &order.below.folder;
    let mut handed = None;
    if let Some(id) = job_user() {
        let own = |name: &str| tree::give(&folder.join(&order.made).join(name), id, usize::MAX).map(drop);
        own(UPPER).and_then(|()| own(BESIDE)).failing(Step::Other, "the layer's directory")?;
        handed = mounts::directory(folder).ok();
    }
    become_job_user()?;
    enter(UnshareFlags::empty())?;
    let into = place(order, handed).failing(Step::Overlay, "a layer upon those below it")?;
    let memory = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    setrlimit(Resource::Data, memory).failing(Step::Other, "a limit on memory")?;
    let unpacked = unpack::unpack(Wanted { archive, control }, &into, &order.limits);
    Ok(unpacked.map_err(|error| error.to_string()))
}

/// Where what is in the layer is to come, as it would be upon those below it.
fn place(order: &LayerOrder, handed: Option<OwnedFd>) -> io::Result<PathBuf> {
    surroundings::downstream()?;
    // Before the memory is put over where it may lie.
    let (file, lay): (_, fn(&OwnedFd, &Path) -> _) = match handed {
        Some(mount) => (mount, mounts::attach),
        None => (find_directory(CWD, &order.below.folder)?, surroundings::bind),
    };
    mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=1m")?;
    let [folder, own, root] = ["folder", "own", "root"].map(|name| Path::new(MADE).join(name));
    for made in [&folder, &own, &root] {
        fs::create_dir(made)?;
    }
    lay(&file, &folder)?;
    let layer = folder.join(&order.made);
    if order.below.names.is_empty() {
        return Ok(layer.join(UPPER));
    }
    // The two are to be of one mount.
    mount_bind(layer, &own)?;
    let upper = format!("upperdir={MADE}/own/{UPPER},workdir={MADE}/own/{BESIDE}");
    surroundings::overlay(&order.below, &folder, &upper, &root)?;
    Ok(root)
}

/// Reads for as long as the host wants the layer.
struct Wanted<'a> {
    archive: File,
    control: &'a Control,
}

impl Read for Wanted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.control.is_closed() {
            return Err(io::Error::other("nobody wants it any more"));
        }
        self.archive.read(buffer)
    }
}
