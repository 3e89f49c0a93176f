//! What one call of a plugin owns on the host's side, and the linker through which the guest reaches it.
//!
//! Knows that the capabilities exist and in which order they are linked; must not know what they do.

use std::sync::Arc;

use wasmtime::Engine;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::limiter::Limiter;
use crate::seam::Seam;
use crate::{capabilities, files, log, results, sockets, tools};

pub struct State {
    pub(crate) wasi: WasiCtx,
    pub(crate) table: ResourceTable,
    pub(crate) seam: Arc<Seam>,
    pub(crate) log: log::Log,
    pub(crate) files: files::Files,
    pub(crate) held: capabilities::Held,
    pub(crate) reported: results::Reported,
    /// None in a tool.
    pub(crate) tools: Option<tools::Tools>,
    pub(crate) limiter: Limiter,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Everything that the ABI offers, whether granted or not: standard libraries import what they never use, and every use
/// without a grant is refused by the capability itself.
pub(crate) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    // The file capability replaces WASI's own file system, and sockets are refused in words.
    linker.allow_shadowing(true);
    files::add_to_linker(&mut linker)?;
    sockets::add_to_linker(&mut linker)?;
    linker.allow_shadowing(false);
    log::add_to_linker(&mut linker)?;
    results::add_to_linker(&mut linker)?;
    tools::add_to_linker(&mut linker)?;
    capabilities::link(&mut linker)?;
    Ok(linker)
}
