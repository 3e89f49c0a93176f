//! Runs plugin components with nothing but what they were granted.
//!
//! Knows wasmtime, and nothing of pipelines, stores or HTTP servers. One file per capability; every host call passes
//! the seam.

pub mod abi;
pub mod binary;
mod bindings;
mod cache;
mod call;
pub mod capabilities;
mod clock;
mod codes;
mod compile;
mod description;
mod engine;
mod enter;
mod explain;
pub mod files;
pub mod grants;
mod guests;
mod leaks;
mod limiter;
pub mod limits;
mod log;
mod masks;
mod outcome;
pub mod outside;
mod plugin;
mod questions;
pub mod results;
mod rights;
mod sandbox;
pub mod seam;
mod sockets;
mod state;
mod symbols;
mod tools;

pub use call::{Call, CallEnd, CallFailure, Kept};
pub use compile::{CompileError, CompilerCommand, compile_child, compile_child_failed};
pub use description::is_of_kind;
pub use limits::Usage;
pub use masks::{Masks, SECRET_BYTES_MIN};
pub use plugin::{ABI_VERSION, Plugin};
pub use sandbox::{GUESTS_OPEN_PART, LoadError, Sandbox, SandboxConfig};
pub use symbols::{Symbols, without_stack};
pub use tools::FindTool;
