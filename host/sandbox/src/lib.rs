//! Runs plugin components with nothing but what they were granted.
//!
//! Knows wasmtime, and nothing of pipelines, stores or HTTP servers. One file per capability; every host call passes
//! the seam.

mod bindings;
mod clock;
pub mod files;
pub mod grants;
mod http;
pub mod limits;
mod log;
pub mod seam;
mod secrets;
mod state;
