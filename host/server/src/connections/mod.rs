//! Connections: who may have one, for how long, and whose goes when there is no room.
//!
//! Owns the way from the listener to a request, and every bound on what is open meanwhile (`bounds`). Must not know what a
//! request asks for: `api` says by [`Peer::recognize`] whose a connection is.
//!
//! A *stranger* is a connection over which no request was signed with a key of this host yet. It is there for one request
//! and has little time for it, so a flood of strangers pushes out its own oldest, never whoever has a key, and never a
//! newcomer: a health check always gets through.

mod bounds;
mod table;
mod tls;
mod watched;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::CONNECTION;
use axum::http::{HeaderValue, Request, Response};
use hyper::body::Incoming;
use hyper::service::Service as _;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

pub use bounds::Bounds;
use pipewright_base::clock;
use table::Table;
pub use table::{Crowded, Peer};
pub use tls::Tls;
use watched::Watched;

/// Of a request, and of what waits to be written. Stops headers that fill the memory.
const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// Stops a request of a great many tiny headers.
const HEADERS_MAX: usize = 100;
/// After a failed accept, such as one for want of memory.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);
/// How often it is looked for connections whose time is up.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// Answers by the router, for ever.
pub async fn serve(
    listener: &TcpListener,
    tls: Option<Arc<Tls>>,
    router: Router,
    bounds: &Bounds,
    graceful: &GracefulShutdown,
) {
    let table = Table::new(bounds.clone());
    let mut sweep = tokio::time::interval(SWEEP_EVERY);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = sweep.tick() => {
                table.sweep(clock::monotonic());
                continue;
            }
        };
        match accepted {
            Ok((stream, address)) => {
                let peer = Arc::new(Table::admit(&table, address.ip(), clock::monotonic()));
                let connection = connection(stream, tls.clone(), Arc::clone(&peer), router.clone(), graceful.watcher());
                begin(connection, peer, address)
            }
            Err(error) => {
                tracing::warn!("a connection could not be accepted: {error}");
                table.make_room();
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn begin(connection: impl Future<Output = ()> + Send + 'static, peer: Arc<Peer>, address: SocketAddr) {
    tokio::spawn(async move {
        tokio::select! {
            () = connection => {}
            reason = peer.cut() => tracing::debug!("a connection of {} is cut: {reason}", address.ip()),
        }
    });
}

/// One connection, to its end. Its handshake takes of the time that a stranger has.
async fn connection(stream: TcpStream, tls: Option<Arc<Tls>>, peer: Arc<Peer>, router: Router, graceful: Watcher) {
    // Answers are small and asked for one after the other.
    let _ = stream.set_nodelay(true);
    let stream = Watched::new(stream, Arc::clone(&peer));
    let Some(tls) = tls else { return answers(stream, peer, router, graceful).await };
    let Ok(acceptor) = tokio::task::spawn_blocking(move || tls.acceptor()).await else { return };
    match acceptor.accept(stream).await {
        Ok(stream) => answers(stream, peer, router, graceful).await,
        Err(error) => tracing::debug!("a connection ended before its first request: {error}"),
    }
}

async fn answers<S>(stream: S, peer: Arc<Peer>, router: Router, graceful: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let router = TowerToHyperService::new(router);
    let service = hyper::service::service_fn(move |request| answer(router.clone(), Arc::clone(&peer), request));
    let mut http = hyper::server::conn::http1::Builder::new();
    // How long headers take is the table's to judge: it knows whether this is a stranger.
    http.timer(TokioTimer::new())
        .header_read_timeout(None::<Duration>)
        .max_buf_size(BUFFER_BYTES_MAX)
        .max_headers(HEADERS_MAX);
    if let Err(error) = graceful.watch(http.serve_connection(TokioIo::new(stream), service)).await {
        tracing::debug!("a connection ended: {error}");
    }
}

async fn answer(
    router: TowerToHyperService<Router>,
    peer: Arc<Peer>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, std::convert::Infallible> {
    let in_progress = peer.begin();
    request.extensions_mut().insert(Arc::clone(&peer));
    let mut response = router.call(request).await?;
    if peer.is_stranger() {
        // What a stranger has sent beyond this request is not read.
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| held(body, in_progress)))
}

/// A body that holds on to something until it is written or given up.
pub fn held(body: Body, guard: impl Send + Unpin + 'static) -> Body {
    Body::new(Held { body, _guard: guard })
}

struct Held<G> {
    body: Body,
    _guard: G,
}

impl<G: Unpin> axum::body::HttpBody for Held<G> {
    type Data = bytes::Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<bytes::Bytes>, axum::Error>>> {
        std::pin::Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
