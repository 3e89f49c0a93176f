//! What host and keeper say to each other over their socket: the order, once, and reports, one line of JSON each. The host
//! takes back its order by closing its half, which it also does by dying.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::job::{Bind, Ended, Layers, Root};
use crate::level::{Level, Step};
use crate::limits::Limits;
use crate::unpack::{UnpackLimits, Unpacked};

/// Preceded by its length: 4 bytes, little-endian.
#[derive(Serialize, Deserialize)]
pub(crate) enum Task {
    Job(Box<Order>),
    Layer(LayerOrder),
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
    pub level: Level,
    pub bwrap: PathBuf,
    pub argv: Vec<String>,
    pub root: Root,
    pub work: PathBuf,
    pub directory: PathBuf,
    pub binds: Vec<Bind>,
    pub files: Vec<(String, String)>,
    pub environment: Vec<(String, String)>,
    pub limits: Limits,
    /// Whether a listening socket of the job's network is wanted, at the port of the proxy.
    pub network: bool,
    /// How many mounts come after it: of the work directory, and of each that [`Root::seen`] names. None where those are to be found
    /// by their names.
    pub mounts: usize,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// Comes with the listening socket.
    Network,
    Failed(Failure),
    Ended(Ended),
    /// The same where bubblewrap has not said whether it started the program: if not, what was written begins with why. It says so to
    /// itself by a pipe that a program which is quick can find and read.
    Unsaid(Ended),
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
