//! The running action, as its function sees it: what the declaration says of it, its artifacts, and what it left when it
//! waited.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::bindings::host::pipewright::plugin::types::Request;
pub use crate::bindings::host::pipewright::plugin::types::{Context, NamedValue, Signal, TypeId, Wake};
use crate::{Failure, Result, files, host};

/// One run of one action.
pub struct Action {
    request: Request,
    revision: Option<String>,
    scratch: PathBuf,
}

impl Action {
    pub(crate) fn new(request: Request, revision: Option<String>) -> Self {
        Self { request, revision, scratch: host::root().join("scratch") }
    }

    pub(crate) fn settings(&self) -> &[NamedValue] {
        &self.request.settings
    }

    /// Which pipeline, execution, stage and action this is.
    pub fn context(&self) -> &Context {
        &self.request.context
    }

    /// What the declaration calls this action's type.
    pub fn action_type(&self) -> &TypeId {
        &self.request.action_type
    }

    /// The same for every attempt at this action execution: give it to outside systems, so that a second attempt does
    /// nothing twice.
    pub fn idempotency_key(&self) -> &str {
        &self.request.idempotency_key
    }

    /// 1 at first; more when the host died while the action ran, and runs it again.
    pub fn attempt(&self) -> u32 {
        self.request.attempt
    }

    /// The revision that a source is to fetch; `None` for the newest one.
    pub fn revision(&self) -> Option<&str> {
        self.revision.as_deref()
    }

    /// The declaration's `commands`.
    pub fn commands(&self) -> &[String] {
        &self.request.commands
    }

    /// The declaration's `environmentVariables`.
    pub fn environment(&self) -> &[NamedValue] {
        &self.request.environment
    }

    /// The variables that the declaration wants from this action; empty where it does not say.
    pub fn output_variables(&self) -> &[String] {
        &self.request.output_variables
    }

    /// The input artifacts, in the declaration's order.
    pub fn inputs(&self) -> impl Iterator<Item = Input> {
        let folder = host::root().join("inputs");
        self.request.inputs.iter().map(move |name| Input { name: name.clone(), path: folder.join(name) })
    }

    /// The first input artifact.
    ///
    /// # Errors
    /// Configuration, when there is none.
    pub fn input(&self) -> Result<Input> {
        self.inputs()
            .next()
            .ok_or_else(|| Failure::configuration("the action has no input artifact; add one to its `inputArtifacts`"))
    }

    /// The output artifacts to make, in the declaration's order.
    pub fn outputs(&self) -> impl Iterator<Item = Output> {
        let folder = host::root().join("outputs");
        self.request.outputs.iter().map(move |output| Output {
            name: output.name.clone(),
            path: folder.join(&output.name),
            files: output.files.clone(),
        })
    }

    /// The first output artifact.
    ///
    /// # Errors
    /// Configuration, when there is none.
    pub fn output(&self) -> Result<Output> {
        self.outputs().next().ok_or_else(|| {
            Failure::configuration("the action has no output artifact; add one to its `outputArtifacts`")
        })
    }

    /// A directory of the host that the operator granted under this name. `name` often comes from a setting.
    ///
    /// # Errors
    /// Configuration, when the name cannot be one; permission, when nothing is granted under it.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        if name.is_empty() || name.contains(['/', '\\', '\0']) || name == "." || name == ".." {
            return Err(Failure::configuration(format!(
                "`{name}` is not the name of a granted directory: give the name under which the grant lists it, not a path"
            )));
        }
        let path = host::root().join("directories").join(name);
        if let Err(error) = fs::metadata(&path) {
            // WASI's error has no room for the missing grant; the host's own call names it.
            files::digest(&path)?;
            return Err(error.into());
        }
        Ok(path)
    }

    /// Whether a directory of the host is granted under this name. To ask is no use of it, and so no denial.
    pub fn has_directory(&self, name: &str) -> bool {
        let granted = fs::read_dir(host::root().join("directories"));
        granted.is_ok_and(|mut granted| granted.any(|entry| entry.is_ok_and(|entry| entry.file_name() == name)))
    }

    /// A private directory, empty at the start and gone after the call; kept for the call that follows where a job was started.
    pub fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What the action left when it answered *waiting*, and why it is called again; `None` on the first call.
    ///
    /// # Errors
    /// Job, when what was left is not of this type: another version of the plugin left it.
    pub fn resumed<C: DeserializeOwned>(&self) -> Result<Option<Resumed<C>>> {
        let Some(resumption) = &self.request.resumed else { return Ok(None) };
        let continuation = serde_json::from_slice(&resumption.continuation).map_err(|error| {
            Failure::job(format!("the continuation of an earlier version is not understood: {error}"))
        })?;
        Ok(Some(Resumed { continuation, wake: resumption.wake.clone() }))
    }
}

/// A call after a wait.
#[derive(Clone, Debug)]
pub struct Resumed<C> {
    /// What the action gave to [`Wait::continuation`](crate::Wait::continuation).
    pub continuation: C,
    /// What ended the wait.
    pub wake: Wake,
}

/// An input artifact, read-only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    name: String,
    path: PathBuf,
}

/// An output artifact, writable and empty at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    name: String,
    path: PathBuf,
    files: Vec<String>,
}

impl Output {
    /// The file patterns of the declaration's `outputArtifacts[].files`; empty where it has none.
    pub fn files(&self) -> &[String] {
        &self.files
    }
}

macro_rules! artifact {
    ($($kind:ident)*) => {$(
        impl $kind {
            /// Its name in the declaration.
            pub fn name(&self) -> &str {
                &self.name
            }

            /// The folder with its files.
            pub fn path(&self) -> &Path {
                &self.path
            }

            /// The path of one of its files, given as one below its folder.
            pub fn join(&self, path: impl AsRef<Path>) -> PathBuf {
                self.path.join(path)
            }
        }

        impl AsRef<Path> for $kind {
            fn as_ref(&self) -> &Path {
                &self.path
            }
        }
    )*};
}

artifact!(Input Output);
