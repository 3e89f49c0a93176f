//! Runs plugin components with nothing but what they were granted.
//!
//! Knows wasmtime, and nothing of pipelines, stores or HTTP servers. One file per capability; every host call passes
//! the seam.

mod clock;
pub mod grants;
pub mod seam;
