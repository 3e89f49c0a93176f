//! The log capability: log lines and progress. Asked for by nobody and granted to all, within limits.

use std::sync::Arc;

use wasmtime::component::{HasSelf, Linker};

use crate::bindings::pipewright::plugin::log as abi;
use crate::limits::CallLimits;
use crate::seam::{Level, Seam};
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

pub(crate) struct Log {
    seam: Arc<Seam>,
}

impl Log {
    pub(crate) fn new(_limits: &CallLimits, seam: Arc<Seam>) -> Self {
        Self { seam }
    }
}

impl abi::Host for State {
    fn write(&mut self, level: abi::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            abi::Level::Debug => Level::Debug,
            abi::Level::Info => Level::Info,
            abi::Level::Warn => Level::Warn,
            abi::Level::Error => Level::Error,
        };
        self.log.seam.log(level, &message);
        Ok(())
    }

    fn progress(&mut self, percent: Option<u8>, summary: String) -> wasmtime::Result<()> {
        self.log.seam.progress(percent, &summary);
        Ok(())
    }
}
