//! What host and keeper say to each other over their socket: what it is to do, and reports, one line of JSON each. The host
//! takes back its order by closing its half, which it also does by dying.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::job::{Bind, Ended, Layers, Root};
use crate::level::{Level, Step};
use crate::limits::Limits;
use crate::unpack::{UnpackLimits, Unpacked};

/// What a keeper beside the host is to do. One in namespaces of its own hears of the ground first, and later of the order.
#[derive(Serialize, Deserialize)]
pub(crate) enum Task {
    Job(Box<(Ground, Order)>),
    Layer(LayerOrder),
}

/// What is there before a job: what many jobs have in common, so that it is made ahead of the next one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ground {
    pub level: Level,
    pub bwrap: PathBuf,
    pub root: Root,
    /// The device and the number of each directory and file that is seen, as they were: what is replaced meanwhile is another ground.
    pub found: Vec<Option<(u64, u64)>>,
    /// How many mounts come after it: of each that [`Root::seen`] names. None where those are to be found by their names.
    pub mounts: usize,
}

impl Ground {
    pub(crate) fn of(level: Level, bwrap: PathBuf, root: &Root) -> Self {
        let found = root.held().iter().map(|path| number(path)).collect();
        Self { level, bwrap, found, root: root.clone(), mounts: 0 }
    }
}

/// The device and the number of what is there.
pub(crate) fn number(path: &Path) -> Option<(u64, u64)> {
    path.metadata().ok().map(|it| (it.dev(), it.ino()))
}

/// A layer to be unpacked.
#[derive(Serialize, Deserialize)]
pub(crate) struct LayerOrder {
    /// A file of the host's.
    pub archive: PathBuf,
    /// The layers that it lies upon. There may be none.
    pub below: Layers,
    /// A directory of the same folder, with the empty directories `UPPER` and `BESIDE`.
    pub made: String,
    pub limits: UnpackLimits,
}

/// Where a layer is unpacked, and what the kernel needs beside it.
pub(crate) const UPPER: &str = "layer";
pub(crate) const BESIDE: &str = "beside";

/// A program to be run.
#[derive(Serialize, Deserialize)]
pub(crate) struct Order {
    pub argv: Vec<String>,
    pub work: PathBuf,
    pub directory: PathBuf,
    pub binds: Vec<Bind>,
    pub files: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    pub limits: Limits,
    /// Whether a listening socket of the job's network is wanted, at the port of the proxy.
    pub network: bool,
    /// Whether a mount of the work directory comes after it. Where none does it is to be found by its name.
    pub handed: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Comes with the listening socket.
    Network,
    Failed(Failure),
    Ended(Ended),
    /// Bubblewrap ended before there was a program: why is what was written.
    NotBegun,
    /// Or what is wrong with the layer.
    Unpacked(Result<Unpacked, String>),
}

/// Why the program could not be started.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{reason}")]
pub(crate) struct Failure {
    pub step: Step,
    pub reason: String,
}

/// As it goes to a keeper: with its length before it, 4 bytes, little-endian.
pub(crate) fn framed(said: &impl Serialize) -> io::Result<Vec<u8>> {
    let text = serde_json::to_vec(said)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    Ok([&length.to_le_bytes()[..], &text].concat())
}

/// What a host that keeps to the form has said.
pub(crate) fn read<T: DeserializeOwned>(mut from: impl io::Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > ORDER_BYTES_MAX {
        return Err(io::Error::other("the order is too long"));
    }
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// An order may be as long as arguments and environments of programs can be.
pub(crate) const ORDER_BYTES_MAX: usize = 16 << 20;
pub(crate) const REPORTS_BYTES_MAX: usize = 64 << 10;

pub(crate) trait Failing<T> {
    /// Says where it failed, and with what.
    fn failing(self, step: Step, what: &str) -> Result<T, Failure>;
}

impl<T, E: std::fmt::Display> Failing<T> for Result<T, E> {
    fn failing(self, step: Step, what: &str) -> Result<T, Failure> {
        self.map_err(|error| Failure { step, reason: format!("{what}: {error}") })
    }
}
