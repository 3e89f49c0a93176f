//! A build by its buildspec, carried out by jobs of the host: shared by the plugin that is CodeBuild and the one that runs a
//! list of commands.
//!
//! Owns what lies where in the scratch, which job is next, and what a call leaves to the one after it. Every command is a job,
//! as every command has a shell of its own; the working directory and the variables come along, and all that is below
//! the scratch stays. Nothing else does: not `/tmp`, and no process. Must not know where a buildspec comes from, or what
//! a failure is called.

mod course;
mod results;
#[cfg(not(target_family = "wasm"))]
pub mod testing;

pub use course::{Plan, Progress, advance, directory_of, is_first, source_directory};
pub use results::Ended;
