//! One request: checked, connected to an address that was checked, sent, and its response's head received.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::http::header::{ACCEPT_ENCODING, CONTENT_LENGTH, HOST};
use ::http::{HeaderMap, HeaderValue, Method, Request, Response, Uri};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use pipewright_text::first_bytes;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::{AbortOnDropJoinHandle, spawn};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody};

use super::body::{Entry, Progress, RequestBody, ResponseBody};
use super::echo::Echo;
use super::failure::Failure;
use super::grant::{HttpGrant, is_asked};
use super::heard::Heard;
use super::origin::{Origin, is_public, normal_host};
use super::tape::Tape;
use super::{Call, Connector};
use crate::capabilities::secrets::Refusal;
use crate::clock;
use crate::limits::HttpLimits;
use crate::masks::Masks;
use crate::seam::{Denied, Seam};
use pipewright_base::memory::{Charge, Descriptor};

/// Stops URLs that fill the journal; servers do not take longer ones either.
const URL_BYTES_MAX: usize = 8 * 1024;
/// Stops a name with very many addresses; the first ones are tried.
const ADDRESSES_MAX: usize = 8;

/// What must live until the end of the response's body.
struct Held {
    _permit: OwnedSemaphorePermit,
    _connection: AbortOnDropJoinHandle<()>,
    _sender: SendRequest<RequestBody>,
    _weight: Option<Charge>,
    _descriptor: Descriptor,
}

/// Sends one request; the response's body keeps to the limits by itself.
pub(super) async fn send(
    call: &Call,
    request: Request<WasiBody>,
    options: RequestOptions,
    tape: Option<Tape>,
    weight: Option<Charge>,
) -> Result<Response<WasiBody>, Error> {
    let limits = call.limits;
    let made = call.requests.fetch_add(1, Ordering::Relaxed);
    // The request over the limit is logged, and those after it no more: else they would fill the log.
    let mut entry =
        Entry::begin(&call.seam, shown(&call.seam, request.method(), request.uri()), made <= limits.requests_max, tape);
    let times = Times::new(&limits, options);
    let attempt = async {
        if made >= limits.requests_max {
            return Err(Failure::too_many_requests(&limits));
        }
        attempt(call, request, &times, &entry, weight).await
    };
    let sent = timeout_at(times.deadline, attempt).await.unwrap_or_else(|_| Err(Failure::too_long(&limits)));
    match sent {
        Ok((response, held, echo)) => Ok(echo.head(entry.responded(response)).map(|inner| {
            let deadline = sleep_until(times.deadline);
            ResponseBody::new(inner, limits, times.between_bytes, deadline, entry, held, echo).boxed_unsync()
        })),
        Err(failure) => {
            entry.ended(Some(&failure.error));
            entry.end(failure.outcome);
            Err(failure.error)
        }
    }
}

struct Times {
    connect: Duration,
    first_byte: Duration,
    between_bytes: Duration,
    deadline: Instant,
}

impl Times {
    /// The guest may only shorten.
    fn new(limits: &HttpLimits, options: RequestOptions) -> Self {
        let shorter = |wish: Option<Duration>, limit_ms: u64| {
            let limit = Duration::from_millis(limit_ms);
            wish.map_or(limit, |wish| wish.min(limit))
        };
        Self {
            connect: shorter(options.connect_timeout, limits.connect_ms_max),
            first_byte: shorter(options.first_byte_timeout, limits.first_byte_ms_max),
            between_bytes: shorter(options.between_bytes_timeout, limits.between_bytes_ms_max),
            deadline: Instant::from_std(clock::monotonic()) + Duration::from_millis(limits.total_ms_max),
        }
    }
}

async fn attempt(
    call: &Call,
    mut request: Request<WasiBody>,
    times: &Times,
    entry: &Entry,
    weight: Option<Charge>,
) -> Result<(Response<Incoming>, Held, Echo), Failure> {
    let progress = &entry.progress;
    let (origin, grant) = granted(call, &request, &entry.target)?;
    let hidden = complete(call, &mut request, &origin)?;
    // Waits for a place: a guest that sends much at once is slowed down, not failed.
    let permit = Arc::clone(&call.in_flight).acquire_owned().await;
    let permit = permit.map_err(|_| Failure::failed(Error::InternalError(None), "the call has ended"))?;
    let descriptor = call.budget.open().map_err(|text| Failure::limit(Error::ConnectionLimitReached, text))?;
    let addresses = checked_addresses(call, &origin, grant, times.connect, &entry.target).await?;
    let connecting = timeout(times.connect, connect(call, &origin, &addresses, times.connect));
    let stream = connecting.await.unwrap_or_else(|_| Err(connect_too_long(times)))?;

    let mut client = http1::Builder::new();
    // hyper knows no smaller buffer than 8 KiB.
    client.max_headers(call.limits.response_headers_max).max_buf_size(call.limits.response_header_bytes_max.max(8192));
    let failed = |error: hyper::Error| Failure::of_exchange(&error, progress, &call.limits);
    let (mut sender, connection) = client.handshake(TokioIo::new(Heard::new(stream))).await.map_err(failed)?;
    // Ends by itself at the deadline, also when the guest keeps the response and does not read it.
    let connection = timeout_at(times.deadline, connection);
    let connection = spawn(async move {
        // Whatever goes wrong here, the response or its body tells.
        let _ = connection.await;
    });
    let bytes_max = call.limits.request_body_bytes_max;
    let request =
        request.map(|inner| RequestBody { inner, progress: Arc::clone(progress), bytes_max, tape: entry.tape.clone() });
    let response = first_byte(sender.send_request(request), times.first_byte, progress).await?.map_err(failed)?;
    if response.body().size_hint().lower() > call.limits.response_body_bytes_max {
        return Err(Failure::response_too_large(&call.limits));
    }
    let echo = Echo::new(hidden);
    Ok((
        response,
        Held { _permit: permit, _connection: connection, _sender: sender, _weight: weight, _descriptor: descriptor },
        echo,
    ))
}

/// Where the request goes, and the grant that allows it. Nothing is looked up before: names can carry data out, too.
pub(super) fn granted<'call>(
    call: &'call Call,
    request: &Request<WasiBody>,
    tried: &str,
) -> Result<(Origin, &'call HttpGrant), Failure> {
    if request.uri().to_string().len() > URL_BYTES_MAX {
        return Err(Failure::limit(
            Error::HttpRequestUriTooLong,
            format!("the URL is longer than {URL_BYTES_MAX} bytes"),
        ));
    }
    match request.method().as_str() {
        "CONNECT" => return Err(Failure::failed(Error::HttpRequestMethodInvalid, "tunnels (CONNECT) are not offered")),
        // Their answers repeat the request, with what the host put into it.
        "TRACE" | "TRACK" => {
            return Err(Failure::failed(
                Error::HttpRequestMethodInvalid,
                "methods that echo a request are not offered",
            ));
        }
        _ => {}
    }
    let Some(origin) = Origin::of(request.uri()) else {
        let text = "not an http or https URL of a host; user names and passwords belong into the authorization header";
        return Err(Failure::failed(Error::HttpRequestUriInvalid, text));
    };
    match call.grants.iter().find(|grant| origin.is_granted_by(grant)) {
        Some(grant) => Ok((origin, grant)),
        None => {
            let text = call.seam.denial(&Denied {
                tried: tried.to_owned(),
                grant: origin.grant_line(origin.looks_private()),
                is_asked: is_asked(call.seam.asks(), &origin.host, origin.port),
            });
            Err(Failure::denied(Error::HttpRequestDenied, text))
        }
    }
}

/// Makes the request what goes out: the path alone in its first line, our own `Host`, secrets in the place of their
/// stand-ins. Gives what must not come back in the answer.
pub(super) fn complete(call: &Call, request: &mut Request<WasiBody>, origin: &Origin) -> Result<Masks, Failure> {
    let limits = &call.limits;
    if declared_length(request.headers()).is_some_and(|bytes| bytes > limits.request_body_bytes_max) {
        return Err(Failure::request_too_large(limits));
    }
    let bad_url = |_| Failure::failed(Error::HttpRequestUriInvalid, "the URL has an invalid path");
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    *request.uri_mut() = path.parse::<Uri>().map_err(bad_url)?;
    let host = HeaderValue::try_from(origin.host_and_port())
        .map_err(|_| Failure::failed(Error::HttpRequestUriInvalid, "the URL has an invalid host"))?;
    request.headers_mut().insert(HOST, host);
    let bytes_max = limits.request_header_bytes_max;
    let hidden = call.secrets.put_into(request.headers_mut(), (origin, &call.grants), bytes_max).map_err(
        |refusal| match refusal {
            Refusal::Denied(text) => Failure::denied(Error::HttpRequestDenied, text),
            Refusal::TooLarge => {
                let text =
                    format!("the request's headers are larger than {bytes_max} bytes (request_header_bytes_max)");
                Failure::limit(Error::HttpRequestHeaderSectionSize(u32::try_from(bytes_max).ok()), text)
            }
        },
    )?;
    // Nothing is found in what is compressed.
    if !hidden.is_empty()
        && let Some(wish) = request.headers_mut().get_mut(ACCEPT_ENCODING)
    {
        *wish = HeaderValue::from_static("identity");
    }
    Ok(hidden)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Looks the name up once; only what was checked here is connected to, so that a second answer cannot lead elsewhere.
async fn checked_addresses(
    call: &Call,
    origin: &Origin,
    grant: &HttpGrant,
    limit: Duration,
    tried: &str,
) -> Result<Vec<SocketAddr>, Failure> {
    match addresses(&call.connector, grant, limit).await? {
        Ok(allowed) => Ok(allowed),
        Err(address) => {
            let tried = format!("{tried} at {address}, which is not a public address");
            let text = call.seam.denial(&Denied { tried, grant: origin.grant_line(true), is_asked: true });
            Err(Failure::denied(Error::DestinationIpProhibited, text))
        }
    }
}

/// Those of a granted host to which a connection may be made; or an address of it, where there are none.
async fn addresses(
    connector: &Connector,
    grant: &HttpGrant,
    limit: Duration,
) -> Result<Result<Vec<SocketAddr>, IpAddr>, Failure> {
    let host = normal_host(&grant.host);
    let found: Vec<IpAddr> = match host.parse() {
        Ok(address) => vec![address],
        Err(_) => timeout(limit, (connector.resolve)(host.clone()))
            .await
            .map_err(|_| Failure::limit(Error::DnsTimeout, format!("{host} was not found in time")))?
            .map_err(|error| {
                let text = format!("{host} cannot be found: {error}");
                Failure::failed(Error::DnsError { rcode: Some(error.to_string()), info_code: None }, text)
            })?,
    };
    let allowed = found.iter().filter(|address| grant.private || is_public(**address)).take(ADDRESSES_MAX);
    let allowed: Vec<SocketAddr> = allowed.map(|address| SocketAddr::new(*address, grant.port)).collect();
    match (allowed.is_empty(), found.first()) {
        (false, _) => Ok(Ok(allowed)),
        (true, None) => Err(Failure::failed(Error::DestinationNotFound, format!("{host} has no address"))),
        (true, Some(address)) => Ok(Err(*address)),
    }
}

/// Why a granted host is not connected to.
pub(crate) enum NotConnected {
    /// It is at this address, which is not a public one.
    NotPublic(IpAddr),
    Failed(String),
}

impl Connector {
    /// A connection to a granted host, at an address that was checked.
    pub(crate) async fn connect(&self, grant: &HttpGrant, limit: Duration) -> Result<TcpStream, NotConnected> {
        let failed = |failure: Failure| NotConnected::Failed(failure.outcome.text().unwrap_or_default().to_owned());
        let addresses = addresses(self, grant, limit).await.map_err(failed)?.map_err(NotConnected::NotPublic)?;
        connect_tcp(&addresses, limit).await.map_err(failed)
    }
}

/// A plain or a TLS connection.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

async fn connect(
    call: &Call,
    origin: &Origin,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<Box<dyn Stream>, Failure> {
    let tcp = connect_tcp(addresses, limit).await?;
    secured(&call.connector, origin, tcp).await
}

/// What is spoken over: TLS where the origin says so.
pub(super) async fn secured(
    connector: &Connector,
    origin: &Origin,
    tcp: TcpStream,
) -> Result<Box<dyn Stream>, Failure> {
    // Small requests go out at once; that it could not be set changes nothing else.
    let _ = tcp.set_nodelay(true);
    if !origin.tls {
        return Ok(Box::new(tcp));
    }
    let bad_name =
        |_| Failure::failed(Error::HttpRequestUriInvalid, "the host is not a name that a certificate can have");
    let name = ServerName::try_from(origin.host.clone()).map_err(bad_name)?;
    let config = connector.trust.config().await;
    let config = config.map_err(|text| Failure::failed(Error::ConfigurationError, text))?;
    let tls = TlsConnector::from(config).connect(name, tcp).await.map_err(|error| Failure::of_tls(&error))?;
    Ok(Box::new(tls))
}

/// Tries the addresses in their order. Each has its share of the time: one that does not answer must not hide the others.
async fn connect_tcp(addresses: &[SocketAddr], limit: Duration) -> Result<TcpStream, Failure> {
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(u32::MAX);
    let mut failure = Failure::failed(Error::DestinationUnavailable, "no address answered");
    for address in addresses {
        match timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failure = Failure::of_connect(&error),
            Err(_) => failure = Failure::limit(Error::ConnectionTimeout, format!("{address} did not answer in time")),
        }
    }
    Err(failure)
}

fn connect_too_long(times: &Times) -> Failure {
    let limit = times.connect.as_millis();
    Failure::limit(Error::ConnectionTimeout, format!("no connection within {limit} ms (connect_ms_max)"))
}

/// Waits for the response's head. As long as the request's body goes out, the server is not late.
async fn first_byte<T>(answer: impl Future<Output = T>, limit: Duration, progress: &Progress) -> Result<T, Failure> {
    let mut answer = std::pin::pin!(answer);
    let mut sent = progress.sent();
    loop {
        match timeout(limit, answer.as_mut()).await {
            Ok(answer) => return Ok(answer),
            Err(_) if progress.sent() > sent => sent = progress.sent(),
            Err(_) => {
                let limit = limit.as_millis();
                let text = format!("no response came within {limit} ms (first_byte_ms_max)");
                return Err(Failure::limit(Error::HttpResponseTimeout, text));
            }
        }
    }
}

/// A request in words: `GET https://example.com/x`, without any user information, and not longer than a journal can hold.
pub(super) fn shown(seam: &Seam, method: &Method, uri: &Uri) -> String {
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let path = uri.path_and_query().map_or("", |path| path.as_str());
    let text = format!("{method} {}://{host}{path}", uri.scheme_str().unwrap_or_default());
    // Masked before it is cut, so that no cut goes through a secret.
    first_bytes(&seam.masked(&text), URL_BYTES_MAX).to_owned()
}
