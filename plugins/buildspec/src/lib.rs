//! CodeBuild's buildspec: the language and its errors, the order of its commands, what is kept between two of them, and which
//! files its artifacts are.
//!
//! Pure, for plugins and for tests without any: must not know how a command is run, where files come from, or what time it
//! is. Whoever carries out a build
//!
//! 1. finds the text (`Place`) and reads it (`Buildspec::parse`), and makes the first environment (`environment`);
//! 2. asks `Course::due`; writes a job's files and runs it, and tells how it ended and what it left (`Course::ended`);
//! 3. at `Due::Upload` gives each output its section (`assigned`) and the files below its base directory (`select`);
//! 4. reads `Build::status`, and the variables to give on (`exports`).

mod artifacts;
mod batch;
mod build;
mod course;
mod globs;
mod job;
mod language;
mod model;
mod problem;
mod read;
mod shell;
mod texts;
mod variables;
mod yaml;

pub use artifacts::{Assigned, Content, Entry, Listing, Picked, SEEN_MAX, Selection, Where, assigned, select};
pub use batch::{BUILDS_MAX, Batch, BatchBuild, BatchEnv};
pub use build::{Build, Context, Entered, Next, PhaseName, Run, Status};
pub use course::{Course, Due, End};
pub use globs::{PATTERN_BYTES_MAX, matches};
pub use job::{Job, Left};
pub use language::{COMMANDS_MAX, FALLBACK_KEYS_MAX, KEYS, Parsed, REPORT_GROUPS_MAX};
pub use model::{
    Artifacts, Buildspec, Cache, Command, Env, OnFailure, Pattern, Phase, Phases, Proxy, ReportGroup, Retry,
    SecretReference, Section, Shell,
};
pub use problem::{At, Problem, Problems};
pub use shell::Session;
pub use texts::{Place, expanded, is_shell_name};
pub use variables::{About, EXPORTED_BYTES_MAX, Exports, Origins, Runner, Source, Webhook, environment, exports};
pub use yaml::{DEPTH_MAX, DOCUMENT_BYTES_MAX, EXPANDED_BYTES_MAX, MAP_ENTRIES_MAX};
