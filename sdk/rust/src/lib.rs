//! Write Pipewright plugins in Rust.
//!
//! An action is a function with typed settings; its doc comment and those of its settings and variables become its
//! documentation. [`plugin!`] makes a component of such functions and says what the plugin is from the same code:
//!
//! ```
//! use pipewright_sdk::prelude::*;
//!
//! #[derive(Settings)]
//! struct Counting {
//!     /// The ending of the files that are counted.
//!     #[setting(default = ".md")]
//!     ending: String,
//!     /// How many there must be at least.
//!     at_least: Option<u32>,
//! }
//!
//! #[derive(Variables)]
//! struct Counted {
//!     /// How many files there were.
//!     files: usize,
//! }
//!
//! /// Counts files by their ending.
//! #[action(provider = "Count", inputs = 1)]
//! fn count(action: &Action, settings: Counting) -> Result<Report<Counted>> {
//!     let entries = files::list(action.input()?, &[])?;
//!     let files = entries.iter().filter(|entry| entry.path.ends_with(&settings.ending)).count();
//!     if files < settings.at_least.unwrap_or(0) as usize {
//!         return Err(Failure::job(format!("only {files} files end in {}", settings.ending)));
//!     }
//!     info!("counted {files} files");
//!     Ok(Report::new(format!("{files} files")).variables(Counted { files }))
//! }
//!
//! plugin! {
//!     /// Counts files.
//!     name: "example/count",
//!     invoke: [count],
//! }
//! # fn main() {}
//! ```
//!
//! In CodePipeline's configuration the settings are `Ending` and `AtLeast`. A plugin sees its artifacts as directories
//! (`/inputs/NAME`, `/outputs/NAME`), directories that the operator granted (`/directories/NAME`), and nothing else.
//!
//! `cargo test` runs a plugin's unit tests without WebAssembly, with the fake host of `pipewright_sdk::testing`;
//! `pipewright plugin test` runs its cases in the real sandbox.

mod action;
mod answer;
#[doc(hidden)]
pub mod bindings;
pub mod caches;
pub mod clock;
pub mod commands;
#[doc(hidden)]
pub mod export;
mod failure;
pub mod files;
#[cfg(target_family = "wasm")]
mod host;
pub mod http;
pub mod log;
pub mod results;
pub mod secrets;
#[doc(hidden)]
pub mod settings;
mod streams;
#[cfg(not(target_family = "wasm"))]
pub mod testing;
pub mod tools;

#[cfg(not(target_family = "wasm"))]
use testing::host;

pub use action::{Action, Context, Input, NamedValue, Output, Resumed, Signal, TypeId, Wake};
pub use answer::{
    Decision, Deployed, Fetched, Link, Place, Report, Revision, Status, Step, Target, TargetStatus, TestCase, Tested,
    Verdict, Wait,
};
pub use bindings::description::exports::pipewright::plugin::plugin::{Ask, Capability};
pub use failure::{Doing, Failure, FailureKind, Result};
/// Makes a plugin of functions with `#[action]`: names it, says what it asks for, and lists the functions by category.
///
/// `name` is needed. Besides it there may be, in any order: `asks`, what the operator may grant, where `ask` and
/// `Capability` need no import; `may_run_again` (default `true`; with `false` an action that a crash of the host interrupted
/// fails instead of running again); and the categories `source`, `build`, `test`, `deploy`, `approval`, `invoke`, `compute`
/// and `rule`.
/// The version is the crate's.
///
/// ```
/// use pipewright_sdk::prelude::*;
///
/// #[derive(Settings)]
/// struct Greeting {
///     /// Who is greeted.
///     #[setting(default = "world")]
///     name: String,
/// }
///
/// /// Writes a greeting.
/// #[action(provider = "Greeting", outputs = 1)]
/// fn greeting(action: &Action, settings: Greeting) -> Result<Report> {
///     std::fs::write(action.output()?.join("greeting.txt"), format!("Hello, {}!", settings.name))?;
///     Ok(Report::new("greeted"))
/// }
///
/// plugin! {
///     /// Greets.
///     name: "example/greeting",
///     asks: [ask(Capability::Clock, "to greet in time")],
///     build: [greeting],
/// }
/// # fn main() {}
/// ```
pub use pipewright_sdk_macros::plugin;
pub use pipewright_sdk_macros::{Choice, Settings, Variables, action};
pub use settings::{SettingValue, Settings, VariableValue, Variables};

/// What a plugin asks the operator for, and why; for `asks: […]` of [`plugin!`], where it and [`Capability`] are known without
/// an import.
///
/// ```
/// # use pipewright_sdk::{Capability, ask};
/// let ask = ask(Capability::ReadDirectory("Directory".into()), "the directory that is the source");
/// assert_eq!(ask.reason, "the directory that is the source");
/// ```
pub fn ask(capability: Capability, reason: &str) -> Ask {
    Ask { capability, reason: reason.to_owned() }
}

/// Everything that a plugin usually needs. What only `asks: […]` needs is not in it: names like `ask` are the plugin's own.
pub mod prelude {
    pub use crate::log::progress;
    pub use crate::{
        Action, Choice, Decision, Deployed, Doing, Failure, Fetched, Input, Output, Report, Result, Resumed, Revision,
        Settings, Signal, Step, Target, TargetStatus, TestCase, Tested, Variables, Verdict, Wait, Wake, action, caches,
        clock, commands, debug, error, files, http, info, plugin, results, secrets, tools, warn,
    };
}
