//! A build by its buildspec, carried out by jobs of the host: shared by the plugin that is CodeBuild and the one that runs a
//! list of commands.
//!
//! Owns what lies where in the scratch, and what a call leaves to the one after it. Decides nothing about a build: which
//! commands are a job, and what its end leads to, `pipewright_buildspec::Course` says. Must not know where a buildspec comes
//! from, or what a failure is called.

mod batch;
mod cache;
mod course;
mod results;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use batch::{Batched, kept_artifact};
pub use course::{Plan, Progress, advance, advance_in, directory_of, is_first, source_directory};
pub use results::Ended;
