//! CodeBuild's buildspec: the language and its errors, the order of its commands, what is kept between two of them, and which
//! files its artifacts are.
//!
//! Pure, for plugins and for tests without any: must not know how a command is run, where files come from, or what time it
//! is. Whoever carries out a build
//!
//! 1. finds the text (`Place`) and reads it (`Buildspec::parse`), and makes the first environment (`environment`);
//! 2. asks `Build::next`; for a command, has `Session::invocation` run, tells the exit status (`Build::ended`) and gives
//!    `Session::keep` what the shell left;
//! 3. at `Next::Upload` gives each output its section (`assigned`) and the files below its base directory (`select`);
//! 4. reads `Build::status`, and the variables to give on (`exports`).

mod artifacts;
mod batch;
mod build;
mod globs;
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
pub use build::{Build, Context, Entered, Exit, Next, PhaseName, Run, Status};
pub use globs::{PATTERN_BYTES_MAX, matches};
pub use language::{FALLBACK_KEYS_MAX, KEYS, Parsed, REPORT_GROUPS_MAX};
pub use model::{
    Artifacts, Buildspec, Cache, Command, Env, OnFailure, Pattern, Phase, Phases, Proxy, ReportGroup, Retry,
    SecretReference, Section, Shell,
};
pub use problem::{At, Problem, Problems};
pub use shell::{
    DIRECTORY_FILE, ENVIRONMENT_BYTES_MAX, ENVIRONMENT_FILE, Invocation, SCRIPT_FILE, Session, VALUE_FILE,
    checked_name, quoted,
};
pub use texts::{Place, expanded, is_shell_name};
pub use variables::{About, EXPORTED_BYTES_MAX, Exports, Origins, Runner, Source, Webhook, environment, exports};
pub use yaml::{DEPTH_MAX, DOCUMENT_BYTES_MAX, EXPANDED_BYTES_MAX, MAP_ENTRIES_MAX};
