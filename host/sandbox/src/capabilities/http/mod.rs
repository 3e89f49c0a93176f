//! The HTTP capability: the only way out of the sandbox.
//!
//! Owns the check of a request against the grants, the connection, its limits, and the journal entry. A redirect is a new
//! request of the guest, checked like any other. Must not know who asks, or what for.

mod body;
mod charged;
mod codes;
mod drained;
mod echo;
mod exchange;
mod failure;
mod fake;
mod given;
mod grant;
mod heard;
mod origin;
mod outgoing;
mod tape;
#[cfg(test)]
mod tests;
mod trust;

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use ::http::{Request, Response};
use futures::future::{BoxFuture, FutureExt as _};
use tokio::sync::Semaphore;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use super::Setup;
use super::secrets::Secrets;
use crate::limits::HttpLimits;
use crate::outside::Outside;
use crate::seam::Seam;
use charged::Weights;
use pipewright_base::memory::{Budget, Charge};
use trust::Trust;

pub(crate) use self::exchange::NotConnected;
pub(crate) use self::fake::Answers;
pub use self::fake::{Fake, FakeAnswer, FakeBody};
pub(crate) use self::grant::hosts;
pub use self::grant::{DetailedOrigin, HttpGrant, Origin};
pub(crate) use self::origin::Origin as RequestOrigin;
pub(crate) use self::origin::normal_host;
pub use self::outgoing::{Answer, Outgoing, Unsent, is_not_public, origin_of};
use self::tape::Tape;
pub use self::tape::{HttpError, HttpRequest, HttpResponse, HttpStep};
pub use ::http::Method;

const HTTP: &str = "http";

/// Looks a host name up.
type Resolve = dyn Fn(String) -> BoxFuture<'static, std::io::Result<Vec<IpAddr>>> + Send + Sync;

/// What all calls share: made once per sandbox.
#[derive(Clone)]
pub struct Connector {
    resolve: Arc<Resolve>,
    trust: Arc<Trust>,
}

impl Connector {
    /// `certificate_authorities` are PEM files, believed besides the host's own authorities. Fails when one of them cannot
    /// be read.
    pub(crate) fn new(certificate_authorities: &[PathBuf]) -> anyhow::Result<Self> {
        let system = |host: String| {
            let lookup = async move { Ok(tokio::net::lookup_host((host, 0)).await?.map(|found| found.ip()).collect()) };
            lookup.boxed()
        };
        Ok(Self { resolve: Arc::new(system), trust: Arc::new(Trust::new(certificate_authorities)?) })
    }
}

/// One per call.
pub struct Http {
    ctx: WasiHttpCtx,
    hooks: Hooks,
    weights: Weights,
}

impl Http {
    fn of(setup: &Setup<'_>) -> Self {
        let limits = setup.limits.http;
        let call = Call {
            connector: setup.connector.clone(),
            grants: setup.grants.http.clone(),
            secrets: setup.secrets.clone(),
            seam: Arc::clone(setup.seam),
            limits,
            requests: AtomicU64::new(0),
            in_flight: Arc::new(Semaphore::new(limits.requests_in_flight_max)),
            budget: setup.memory.budget(),
        };
        let hooks = Hooks { call: Arc::new(call), weight: None };
        Self { ctx: WasiHttpCtx::new(), hooks, weights: Weights::new(Arc::clone(setup.memory)) }
    }
}

/// What a request needs to know of the call it belongs to.
struct Call {
    connector: Connector,
    grants: Vec<HttpGrant>,
    secrets: Secrets,
    seam: Arc<Seam>,
    limits: HttpLimits,
    /// How many were made so far.
    requests: AtomicU64,
    in_flight: Arc<Semaphore>,
    /// What of the host it comes out of.
    budget: Arc<Budget>,
}

/// The default list of forbidden headers holds: `Host`, what belongs to a connection, and proxies' headers. Guests may set
/// `Authorization`, to a secret's stand-in.
struct Hooks {
    call: Arc<Call>,
    /// What the request that is sent next holds of the host's memory.
    weight: Option<Charge>,
}

/// A future for trouble after the response's head; ours ends with the body.
type Rest = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Rest,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Rest), Error>> + Send> {
        let call = Arc::clone(&self.call);
        let weight = self.weight.take();
        let request = request.map(|body| drained::drained(body, call.limits.request_body_bytes_max));
        let answered = match call.seam.outside().clone() {
            Outside::Replayed(replay) => given::replayed(call, replay, request).boxed(),
            Outside::Faked(fakes) if fakes.http.is_some() => given::faked(call, fakes, request).boxed(),
            outside => {
                let tape = match &outside {
                    Outside::Recorded(recorder) => {
                        Tape::begin(recorder, request.method(), request.uri(), request.headers())
                    }
                    _ => None,
                };
                async move { exchange::send(&call, request, options.unwrap_or_default(), tape, weight).await }.boxed()
            }
        };
        Box::new(async move { Ok((answered.await?, Box::new(async { Ok(()) }) as Rest)) })
    }

    fn p2_outgoing_body_buffer_chunks(&mut self) -> usize {
        charged::CHUNKS
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        charged::CHUNK_BYTES
    }
}
