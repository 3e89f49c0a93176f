//! Programs of the machine, run apart from it: levels, limits, the guarded way to the network, root file systems of images.
//!
//! [`Isolation::run`] runs one program in a work directory and says how it ended; nothing of it is left then. Must not know
//! what a program is run for: pipelines, plugins, the sandbox of components.
//!
//! Three processes stand around a job. The *host* asks. The *keeper*, a fork of the zygote ([`child_main`], this program started
//! again, once: loading it takes longer than most of what is around a job), makes the namespaces. The *warden*, its child, is process 1
//! of a pid namespace of its own: it makes what the job sees, starts bubblewrap in there, takes the order, measures, and ends all that is in
//! the namespace at once when it is time, or when the host is gone; and the kernel does when the warden ends. Those of the next job, up to
//! its order, are there before it is. At the level `restricted` there is no namespace, and keeper and warden are one.

mod child;
mod image;
mod job;
mod layer;
mod level;
mod limits;
mod message;
mod mounts;
mod output;
mod proxy;
mod run;
mod seccomp;
mod toolchain;
mod tree;
mod unpack;
mod zygote;

pub use child::{child_main, only_compute};
pub use image::{ImageConfig, ImageConfigError, machine};
pub use job::{Bind, Ended, FILES, Job, JobError, LAYERS_MAX, Layers, Limit, PROXY_PORT, Root, WORK};
pub use layer::{LayerError, unpacked_in};
pub use level::{Level, Offers, Refusal};
pub use limits::Limits;
pub use output::{LINE_BYTES_MAX, LINES_BYTES_MAX};
pub use proxy::{Connect, Connected, Denied, Origin, Proxy, ProxyLimits};
pub use run::{ChildCommand, Isolation, RunError};
pub use toolchain::{Toolchain, ToolchainError};
pub use unpack::{UnpackError, UnpackLimits, Unpacked, unpack};
