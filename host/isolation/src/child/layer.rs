//! Unpacking a layer upon those below it, in a process of its own, as the user that jobs run as: a user namespace in which the
//! kernel lays one upon the other (overlayfs), so that what is written comes into the layer's own directory alone, with the kernel's
//! own marks for what it takes away.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use rustix::fs::{CWD, Gid, Uid};
use rustix::mount::{MountFlags, mount, mount_bind};
use rustix::process::{Resource, Rlimit, setrlimit};
use rustix::thread::UnshareFlags;

use super::surroundings::{self, MADE, Sources};
use super::{Control, become_user, enter};
use crate::level::Step;
use crate::message::{BESIDE, Failing, Failure, LayerOrder, UPPER};
use crate::tree::{self, find_directory};
use crate::unpack::{self, Unpacked};

/// Stops what decompresses only with a great deal of memory.
const MEMORY_BYTES_MAX: u64 = 1 << 30;

/// Or what is wrong with the layer.
pub(super) fn unpack(order: &LayerOrder, control: &Control) -> Result<Result<Unpacked, String>, Failure> {
    let archive = File::open(&order.archive).failing(Step::Other, "the layer's file")?;
    let folder = &order.below.folder;
    let mut there = folder.clone();
    if let Some(id) = order.uid {
        let own = |name: &str| tree::give(&folder.join(&order.made).join(name), Uid::from_raw(id), Gid::from_raw(id));
        own(UPPER).and_then(|()| own(BESIDE)).failing(Step::Other, "the layer's directory")?;
        let own = Sources { work: folder.clone(), seen: Vec::new() };
        there = own.reached().unwrap_or(own).work;
    }
    become_user(order.uid).failing(Step::Other, "becoming the user that jobs run as")?;
    enter(UnshareFlags::empty())?;
    let into = if order.below.names.is_empty() {
        there.join(&order.made).join(UPPER)
    } else {
        upon(order, &there).failing(Step::Overlay, "a layer upon those below it")?;
        Path::new(MADE).join("root")
    };
    let memory = Rlimit { current: Some(MEMORY_BYTES_MAX), maximum: Some(MEMORY_BYTES_MAX) };
    setrlimit(Resource::Data, memory).failing(Step::Other, "a limit on memory")?;
    let unpacked = unpack::unpack(Wanted { archive, control }, &into, &order.limits);
    Ok(unpacked.map_err(|error| error.to_string()))
}

fn upon(order: &LayerOrder, there: &Path) -> io::Result<()> {
    surroundings::private()?;
    let folder = find_directory(CWD, there)?;
    let own = find_directory(&folder, &*order.made)?;
    mount("tmpfs", MADE, "tmpfs", MountFlags::NOSUID | MountFlags::NODEV, c"mode=0755,size=1m")?;
    let made = Path::new(MADE);
    for name in ["root", "own"] {
        fs::create_dir(made.join(name))?;
    }
    // The two are to be of one mount.
    mount_bind(surroundings::by_file(&own), made.join("own"))?;
    let upper = format!("upperdir={MADE}/own/{UPPER},workdir={MADE}/own/{BESIDE}");
    surroundings::overlay(&order.below, &folder, &upper, &made.join("root"))
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
