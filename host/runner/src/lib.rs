//! Runs actions in the sandbox: what the driver asks for in the core's words, done with plugins, artifacts and grants.
//!
//! Owns grants files, logs and recordings of action executions, images that programs run in, and the putting together of a host. Must not know who asks
//! the host, or what follows from an action's end.

pub mod actions;
pub mod builds;
pub mod checks;
pub mod connections;
pub mod ending;
pub mod grant_book;
pub mod grants;
pub mod host;
pub mod images;
mod jobs;
mod kept_elsewhere;
pub mod logs;
pub mod outcome;
pub mod programs;
mod project_folders;
pub mod recording;
pub mod secret_keys;
pub mod stored_secrets;
pub mod work;
mod work_folder;
