//! Command-line tools that are WebAssembly components, run inside of the sandbox: linters, generators, whatever is built for
//! `wasm32-wasip2`. A tool sees the plugin's files, and nothing that the plugin could not reach itself, so that no grant is
//! needed for it.
//!
//! ```
//! use pipewright_sdk::prelude::*;
//!
//! /// Checks the source.
//! #[action(provider = "Lint", inputs = 1)]
//! fn lint(action: &Action, (): ()) -> Result<Report> {
//!     let source = action.input()?;
//!     let tool = tools::Tool::new(source.join("tools/lint.wasm")).argument("--strict").argument(source.path().to_string_lossy());
//!     match tool.run()? {
//!         0 => Ok(Report::new("nothing found")),
//!         status => Err(Failure::job(format!("the linter ended with status {status}"))),
//!     }
//! }
//!
//! let host = pipewright_sdk::testing::Host::new().input("Source", &[("tools/lint.wasm", "")]).tool(1);
//! assert_eq!(lint(&host.action(), ()).unwrap_err().message, "the linter ended with status 1");
//! assert_eq!(host.tools()[0].arguments[0], "--strict");
//! ```

use std::fmt::Display;
use std::path::Path;

use crate::Result;
use crate::bindings::host::pipewright::plugin::tools::Tool as Abi;
use crate::bindings::host::pipewright::plugin::types::NamedValue;
use crate::host::tools as host;

/// One tool, and what it is given.
#[derive(Clone, Debug)]
pub struct Tool(Abi);

impl Tool {
    /// The file of the component: in an input artifact, in a granted directory, or one that the plugin wrote.
    pub fn new(component: impl AsRef<Path>) -> Self {
        Self::named(component.as_ref().to_string_lossy().into_owned())
    }

    /// One that the account has installed, by the name and the version of its package: `team/name@1.0.0`.
    pub fn of_package(package: impl Display) -> Self {
        Self::named(format!("package:{package}"))
    }

    fn named(component: String) -> Self {
        Self(Abi { component, digest: None, arguments: Vec::new(), environment: Vec::new(), network: false })
    }

    /// The SHA-256 that the component must have, in hexadecimal. Without it, whatever the file is runs.
    pub fn digest(mut self, digest: impl Into<String>) -> Self {
        self.0.digest = Some(digest.into());
        self
    }

    /// Adds an argument.
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.0.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable. There are no others.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.0.environment.push(NamedValue { name: name.into(), value: value.into() });
        self
    }

    /// Whether it may reach the hosts that the plugin may; without it, none.
    pub fn network(mut self, network: bool) -> Self {
        self.0.network = network;
        self
    }

    /// Runs it to its end, and gives the status that it ended with. What it writes goes into the action's log.
    ///
    /// # Errors
    /// Permission, where its directory is not granted; configuration, where it is no tool, is not installed, or is another one than the
    /// digest says; job, where it crashed.
    pub fn run(self) -> Result<i32> {
        Ok(host::run(&self.0)?)
    }
}
