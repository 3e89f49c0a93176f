//! The secrets capability (stub: its owner replaces this file).

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::pipewright::plugin::secrets as abi;
use crate::grants::Grants;
use crate::seam::Seam;
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

pub(crate) struct Secrets {
    seam: Arc<Seam>,
}

impl Secrets {
    pub(crate) fn new(_grants: &Grants, seam: Arc<Seam>) -> Self {
        Self { seam }
    }

    fn denied(&self) -> abi::Error {
        abi::Error::Denied(self.seam.denial("a secret", "[secrets]"))
    }
}

impl abi::Host for State {
    fn stand_in(&mut self, _name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(Err(self.secrets.denied()))
    }

    fn basic(&mut self, _user: String, _name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(Err(self.secrets.denied()))
    }

    fn reveal(&mut self, _name: String) -> wasmtime::Result<Result<String, abi::Error>> {
        Ok(Err(self.secrets.denied()))
    }
}
