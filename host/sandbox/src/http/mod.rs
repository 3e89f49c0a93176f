//! The HTTP capability (stub: its owner replaces this folder).

use std::path::PathBuf;
use std::sync::Arc;

use wasmtime::component::Linker;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView};

use crate::grants::Grants;
use crate::limits::CallLimits;
use crate::seam::Seam;
use crate::secrets::Secrets;
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// What all calls share: made once per sandbox.
#[derive(Clone)]
pub(crate) struct Connector;

impl Connector {
    /// `certificate_authorities`: PEM files; none means the host's own.
    pub(crate) fn new(_certificate_authorities: &[PathBuf]) -> anyhow::Result<Self> {
        Ok(Self)
    }
}

/// One per call.
pub(crate) struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

impl Http {
    pub(crate) fn new(_: &Connector, _: &Grants, _: &Secrets, _: &CallLimits, _: Arc<Seam>) -> Self {
        Self { ctx: WasiHttpCtx::new(), hooks: Hooks }
    }
}

struct Hooks;

type Sending = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        _: ::http::Request<WasiBody>,
        _: Option<RequestOptions>,
        _: Sending,
    ) -> Box<dyn Future<Output = Result<(::http::Response<WasiBody>, Sending), Error>> + Send> {
        Box::new(async { Err(Error::HttpRequestDenied) })
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.http.hooks, table: &mut self.table, ctx: &mut self.http.ctx }
    }
}
