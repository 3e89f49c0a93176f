//! The file capability (stub: its owner replaces this folder).

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use crate::bindings::pipewright::plugin::artifacts as abi;
use crate::grants::DirectoryGrant;
use crate::limits::CallLimits;
use crate::seam::Seam;
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// An input artifact of a call.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub path: PathBuf,
}

/// An output artifact that a call made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeOutput {
    pub name: String,
    pub path: PathBuf,
}

pub(crate) struct FilesConfig {
    pub(crate) inputs: Vec<Input>,
    /// The names of the output artifacts.
    pub(crate) outputs: Vec<String>,
    pub(crate) directories: BTreeMap<String, DirectoryGrant>,
    /// The host's directory in which outputs and scratch are made, when they are used.
    pub(crate) work_dir: PathBuf,
    pub(crate) limits: CallLimits,
    pub(crate) seam: Arc<Seam>,
}

/// One per call.
pub(crate) struct Files {
    config: FilesConfig,
}

impl Files {
    pub(crate) fn new(config: FilesConfig) -> Self {
        Self { config }
    }

    /// What the guest made, after the call.
    pub(crate) fn finish(self) -> anyhow::Result<Vec<MadeOutput>> {
        Ok(Vec::new())
    }

    fn denied<T>(&self, path: &str) -> wasmtime::Result<Result<T, abi::Error>> {
        Ok(Err(abi::Error::Denied(self.config.seam.denial(path, "[directories]"))))
    }
}

impl abi::Host for State {
    async fn list(&mut self, path: String, _: Vec<String>) -> wasmtime::Result<Result<Vec<abi::Entry>, abi::Error>> {
        self.files.denied(&path)
    }
    async fn digest(&mut self, path: String) -> wasmtime::Result<Result<String, abi::Error>> {
        self.files.denied(&path)
    }
    async fn read(&mut self, path: String) -> wasmtime::Result<Result<Resource<DynInputStream>, abi::Error>> {
        self.files.denied(&path)
    }
    async fn write(
        &mut self,
        path: String,
        _: bool,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, abi::Error>> {
        self.files.denied(&path)
    }
    async fn set_executable(&mut self, path: String, _: bool) -> wasmtime::Result<Result<(), abi::Error>> {
        self.files.denied(&path)
    }
    async fn link(&mut self, path: String, _: String) -> wasmtime::Result<Result<(), abi::Error>> {
        self.files.denied(&path)
    }
    async fn copy(
        &mut self,
        path: String,
        _: String,
        _: Vec<String>,
    ) -> wasmtime::Result<Result<abi::Copied, abi::Error>> {
        self.files.denied(&path)
    }
    async fn sync(&mut self, path: String) -> wasmtime::Result<Result<(), abi::Error>> {
        self.files.denied(&path)
    }
    async fn zip(&mut self, path: String, _: String) -> wasmtime::Result<Result<abi::Copied, abi::Error>> {
        self.files.denied(&path)
    }
    async fn unzip(&mut self, path: String, _: String) -> wasmtime::Result<Result<abi::Copied, abi::Error>> {
        self.files.denied(&path)
    }
}
