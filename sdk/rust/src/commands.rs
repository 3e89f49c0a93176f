//! Programs of the host's machine, run apart from it: compilers, test runners, scripts. A capability of its own, asked for by
//! [`Capability::Commands`](crate::Capability::Commands).
//!
//! A program runs while no call of the plugin does. The action lays files into its scratch, says by
//! [`Job::start`] what is to run, and returns the [`Wait`] that it got. Once the program has ended, the action is called again
//! with its continuation and the same scratch, and [`ended`] says how.
//!
//! ```
//! use pipewright_sdk::prelude::*;
//!
//! /// Builds with make.
//! #[action(provider = "Make", inputs = 1, outputs = 1)]
//! fn make(action: &Action, (): ()) -> Result<Step<Report>> {
//!     let Some(ended) = commands::ended() else {
//!         files::copy(action.input()?, action.scratch().join("src"), &[])?;
//!         let job = commands::Job::new(["make", "all"]).directory("src").env("CFLAGS", "-O2");
//!         return Ok(Step::Waiting(job.start()?.summary("make all")));
//!     };
//!     if !ended.succeeded() {
//!         return Err(Failure::job(format!("make ended with status {}", ended.status)));
//!     }
//!     files::copy(action.scratch().join("src/build"), action.output()?, &[])?;
//!     Ok(Step::Done(Report::new("built")))
//! }
//!
//! use pipewright_sdk::testing::{Host, exited};
//!
//! let host = Host::new().input("Source", &[("Makefile", "all:\n")]).output("Built");
//! let Step::Waiting(wait) = make(&host.action(), ())? else { panic!("it does not wait") };
//! assert_eq!(host.job().arguments, ["make", "all"]);
//! std::fs::create_dir(host.path("scratch/src/build"))?;
//! std::fs::write(host.path("scratch/src/build/app"), "made")?;
//! let host = host.ended(wait, exited(0));
//! let Step::Done(report) = make(&host.action(), ())? else { panic!("it waits again") };
//! assert_eq!(host.read("outputs/Built/app"), "made");
//! # Ok::<(), Failure>(())
//! ```

use std::path::PathBuf;

pub use crate::bindings::host::pipewright::plugin::commands::End as Ended;
use crate::bindings::host::pipewright::plugin::commands::Job as Abi;
use crate::bindings::host::pipewright::plugin::types::NamedValue;
use crate::host::commands as host;
use crate::{Result, Wait};

/// One program, and what it is given.
#[derive(Clone, Debug)]
pub struct Job {
    job: Abi,
    secret_files: Vec<NamedValue>,
}

impl Job {
    /// The program, found by the `PATH` of its environment, and its arguments.
    pub fn new(arguments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let arguments = arguments.into_iter().map(Into::into).collect();
        let (environment, secrets, secret_files) = (Vec::new(), Vec::new(), Vec::new());
        let directory = String::new();
        let job = Abi { arguments, directory, environment, secrets, network: false, image: None, wall_seconds: None };
        Self { job, secret_files }
    }

    /// Its current directory, below the scratch: `src`, not `/scratch/src`. Without it, the scratch itself.
    pub fn directory(mut self, directory: impl Into<String>) -> Self {
        self.job.directory = directory.into();
        self
    }

    /// Sets an environment variable, besides those that the host gives every program: `PATH`, `HOME`, `TMPDIR`, `LANG`.
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.job.environment.push(NamedValue { name: name.into(), value: value.into() });
        self
    }

    /// Sets an environment variable to a secret's value, which the plugin does not see. A secret of the host's store may be named with
    /// a key and a version: `NAME:JSON-KEY:VERSION-STAGE:VERSION-ID`.
    pub fn secret(mut self, variable: impl Into<String>, name: impl Into<String>) -> Self {
        self.job.secrets.push(NamedValue { name: variable.into(), value: name.into() });
        self
    }

    /// Gives it a secret's value in a file that no other program can read, and that is gone when it has ended: the variable has the path.
    /// The secret is named as for [`Job::secret`].
    pub fn secret_file(mut self, variable: impl Into<String>, name: impl Into<String>) -> Self {
        self.secret_files.push(NamedValue { name: variable.into(), value: name.into() });
        self
    }

    /// Whether it may reach the hosts that the grant names; without it, none.
    pub fn network(mut self, network: bool) -> Self {
        self.job.network = network;
        self
    }

    /// The reference of an image that the grant allows; without it, what the grant says.
    pub fn image(mut self, reference: impl Into<String>) -> Self {
        self.job.image = Some(reference.into());
        self
    }

    /// How long it may run; without it, as long as the action may.
    pub fn wall_seconds(mut self, seconds: u32) -> Self {
        self.job.wall_seconds = Some(seconds);
        self
    }

    /// Has it run once this call has returned the wait. One in each call.
    ///
    /// # Errors
    /// Permission, where no grant allows it; configuration, where the host cannot run it, or has one to run for this call.
    pub fn start(self) -> Result<Wait> {
        if self.secret_files.is_empty() {
            host::start(&self.job)?;
        } else {
            host::start_with_files(&self.job, &self.secret_files)?;
        }
        Ok(Wait::for_job())
    }
}

impl Ended {
    /// Whether it ended with status 0, and by itself.
    pub fn succeeded(&self) -> bool {
        self.status == 0 && self.limit.is_none()
    }
}

/// The declaration's `environmentVariables` of the type `SECRETS_MANAGER`, each with what names its secret: for [`Job::secret`]. They
/// are not in [`Action::environment`](crate::Action::environment).
pub fn declared_secrets() -> Vec<NamedValue> {
    host::declared_secrets()
}

/// How the program ended for which this call was made; `None` if the call was made for something else.
pub fn ended() -> Option<Ended> {
    host::ended()
}

/// Where a program finds the action's scratch.
pub fn work() -> PathBuf {
    crate::host::work()
}
