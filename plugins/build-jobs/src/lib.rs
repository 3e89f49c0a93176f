//! A build by its buildspec, carried out by jobs of the host: shared by the plugin that is CodeBuild and the one that runs a
//! list of commands.
//!
//! Owns what lies where in the scratch, what a job runs, and what a call leaves to the one after it. A job runs commands for
//! as long as each succeeds, so that a build that goes well is one job, and its commands share what they share with CodeBuild:
//! `/tmp`, and what runs in the background. After a failure the next call decides what still runs, as a job of its own. Must not
//! know where a buildspec comes from, or what a failure is called.

mod batch;
mod cache;
mod course;
mod driver;
mod results;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use batch::{Batched, kept_artifact};
pub use course::{Plan, Progress, advance, advance_in, directory_of, is_first, source_directory};
pub use results::Ended;
