//! The only way from a job to the network: an HTTP proxy of the host's, on a port of the job's own loopback address.
//!
//! It tunnels (CONNECT) and passes on requests in absolute form (RFC 9112, 3.2.2 and 3.2.3), one for each connection, to origins that
//! were granted and to no other. Which addresses a name may lead to is decided by who connects: it is given how. What passes is
//! counted and limited, and not looked into.

mod request;

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use request::{Body, Request};

/// A host, in lower case, without a trailing dot or brackets, and a port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Origin {
    /// Of a request's authority. None where it has a user, or is none.
    fn read(authority: &str, port: Option<u16>) -> Option<Self> {
        let (host, written) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
            }
            None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
        };
        let port = match written {
            Some(digits) if digits.bytes().all(|it| it.is_ascii_digit()) => digits.parse().ok()?,
            Some(_) => return None,
            None => port?,
        };
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:".contains(&byte);
        (!host.is_empty() && host.bytes().all(plain)).then_some(Self { host, port })
    }
}

/// The connection, or in words why there is none.
pub type Connected = Pin<Box<dyn Future<Output = Result<TcpStream, String>> + Send>>;
/// Looks a name up, checks the addresses, and connects to one that was checked.
pub type Connect = Box<dyn Fn(&Origin) -> Connected + Send + Sync>;
/// Is told of a use that was not granted, and says in words what would allow it.
pub type Denied = Box<dyn Fn(&Origin) -> String + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProxyLimits {
    /// Stops a program that holds the host's sockets.
    pub connections_max: usize,
    /// Stops a program that takes, or gives away, more than the network is for: both ways together.
    pub bytes_max: u64,
    /// Stops connections on which no byte passes either way, and heads of requests that never end.
    pub idle_seconds_max: u64,
}

impl Default for ProxyLimits {
    fn default() -> Self {
        Self { connections_max: 64, bytes_max: 16 << 30, idle_seconds_max: 300 }
    }
}

/// The way to the network of one job.
pub struct Proxy {
    origins: Vec<Origin>,
    connect: Connect,
    denied: Denied,
    limits: ProxyLimits,
    bytes: AtomicU64,
}

/// Of a request, up to its empty line.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// Of the line that says how long a chunk is.
const CHUNK_LINE_BYTES_MAX: u64 = 18;
/// What is read at once.
const PIECE_BYTES: usize = 16 << 10;

/// What the job's program is told instead of an answer: a status of HTTP, and why.
struct Answer(&'static str, String);

const BAD_REQUEST: &str = "400 Bad Request";
const FORBIDDEN: &str = "403 Forbidden";
const BAD_GATEWAY: &str = "502 Bad Gateway";

impl Proxy {
    pub fn new(origins: Vec<Origin>, connect: Connect, denied: Denied, limits: ProxyLimits) -> Self {
        Self { origins, connect, denied, limits, bytes: AtomicU64::new(0) }
    }

    /// Whether it leads to any port of a host.
    pub(crate) fn leads_to(&self, host: &str) -> bool {
        self.origins.iter().any(|origin| origin.host == host)
    }

    /// What went through, both ways together.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Until it is dropped, with all connections.
    pub(crate) async fn serve(self: Arc<Self>, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(self.limits.connections_max));
        let mut connections = JoinSet::new();
        loop {
            // Those that are too many wait in the listener's queue, which is short.
            let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
            // An error is one connection's, or the host's want of files: neither ends the proxy.
            let Ok((client, _)) = listener.accept().await else {
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let proxy = Arc::clone(&self);
            connections.spawn(async move {
                proxy.connection(client).await;
                drop(permit);
            });
            while connections.try_join_next().is_some() {}
        }
    }

    async fn connection(&self, mut client: TcpStream) {
        if let Err(Answer(status, words)) = self.request(&mut client).await {
            let head = "Content-Type: text/plain; charset=utf-8\r\nConnection: close";
            let answer = format!("HTTP/1.1 {status}\r\n{head}\r\nContent-Length: {}\r\n\r\n{words}\n", words.len() + 1);
            let _ = client.write_all(answer.as_bytes()).await;
            let _ = client.shutdown().await;
        }
    }

    async fn request(&self, client: &mut TcpStream) -> Result<(), Answer> {
        let (head, rest) = self.head(client).await?;
        let request = Request::read(&head).map_err(|words| Answer(BAD_REQUEST, words.to_owned()))?;
        if !self.origins.contains(&request.origin) {
            return Err(Answer(FORBIDDEN, (self.denied)(&request.origin)));
        }
        if self.bytes() > self.limits.bytes_max {
            return Err(Answer(FORBIDDEN, format!("more than {} bytes went through already", self.limits.bytes_max)));
        }
        let mut server = (self.connect)(&request.origin)
            .await
            .map_err(|error| Answer(BAD_GATEWAY, format!("{}: {error}", request.origin)))?;
        if self.exchange(&request, &rest, client, &mut server).await.is_err() {
            // What was cut off must not look like an end.
            let _ = client.set_zero_linger();
            let _ = server.set_zero_linger();
        }
        Ok(())
    }

    /// Carries both ways, until both have ended: of a request that is passed on, until its answer has.
    async fn exchange(
        &self,
        request: &Request,
        rest: &[u8],
        client: &mut TcpStream,
        server: &mut TcpStream,
    ) -> io::Result<()> {
        let passed = Notify::new();
        let way = Way { proxy: self, passed: &passed };
        let ((from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
        let mut from_client = rest.chain(from_client);
        let both = async {
            let Some((head, body)) = &request.passed_on else {
                way.pass(&mut to_client, b"HTTP/1.1 200 Connection established\r\n\r\n").await?;
                let there = way.carry(&mut from_client, &mut to_server);
                let back = way.carry(&mut from_server, &mut to_client);
                return tokio::try_join!(there, back).map(drop);
            };
            let there = async {
                way.pass(&mut to_server, head).await?;
                way.body(*body, &mut from_client, &mut to_server).await
            };
            tokio::select! {
                Err(error) = there => Err(error),
                answered = way.carry(&mut from_server, &mut to_client) => answered,
            }
        };
        let idle = async { while timeout(self.idle(), passed.notified()).await.is_ok() {} };
        tokio::select! {
            ended = both => ended,
            () = idle => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    /// The head of a request, and what came with it.
    async fn head(&self, client: &mut TcpStream) -> Result<(Vec<u8>, Vec<u8>), Answer> {
        let bad = |words: &str| Answer(BAD_REQUEST, words.to_owned());
        let read = async {
            let mut text = Vec::new();
            loop {
                if let Some(end) = text.windows(4).position(|it| it == b"\r\n\r\n") {
                    let rest = text.split_off(end + 4);
                    return Ok((text, rest));
                }
                if text.len() > HEAD_BYTES_MAX {
                    return Err(bad("the head of the request is too long"));
                }
                match client.read_buf(&mut text).await {
                    Ok(1..) => {}
                    Ok(0) | Err(_) => return Err(bad("the request has no end")),
                }
            }
        };
        timeout(self.idle(), read).await.unwrap_or_else(|_| Err(bad("the request took too long")))
    }

    fn idle(&self) -> Duration {
        Duration::from_secs(self.limits.idle_seconds_max)
    }
}

/// How bytes go through in either direction.
#[derive(Clone, Copy)]
struct Way<'a> {
    proxy: &'a Proxy,
    /// Is told whenever some have gone through.
    passed: &'a Notify,
}

impl Way<'_> {
    /// Passes bytes on in one direction until it ends, and then says so to the other side.
    async fn carry(self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = from.read(&mut piece).await?;
            if length == 0 {
                return to.shutdown().await;
            }
            self.pass(to, &piece[..length]).await?;
        }
    }

    /// Passes on the body of a request, and nothing that comes after it.
    async fn body(
        self,
        body: Body,
        from: &mut (impl AsyncRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        let mut from = BufReader::with_capacity(PIECE_BYTES, from);
        match body {
            Body::Length(length) => self.exactly(length, &mut from, to).await?,
            Body::Chunked => loop {
                let mut line = Vec::new();
                (&mut from).take(CHUNK_LINE_BYTES_MAX).read_until(b'\n', &mut line).await?;
                let length = request::chunk_length(&line).ok_or(io::ErrorKind::InvalidData)?;
                self.pass(to, &line).await?;
                // After the last chunk there may be trailers, of which none is passed on: they could say what the head may not.
                let mut end = [0; 2];
                self.exactly(length, &mut from, to).await?;
                from.read_exact(&mut end).await?;
                if end != *b"\r\n" {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                self.pass(to, &end).await?;
                if length == 0 {
                    break;
                }
            },
        }
        // Whoever has gone away wants no answer.
        if from.read(&mut [0]).await? == 0 { to.shutdown().await } else { Ok(()) }
    }

    async fn exactly(
        self,
        mut length: u64,
        from: &mut (impl AsyncBufRead + Unpin),
        to: &mut (impl AsyncWrite + Unpin),
    ) -> io::Result<()> {
        while length > 0 {
            let there = from.fill_buf().await?;
            let piece = &there[..usize::try_from(length).unwrap_or(usize::MAX).min(there.len())];
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.pass(to, piece).await?;
            let passed = piece.len();
            from.consume(passed);
            length -= passed as u64;
        }
        Ok(())
    }

    async fn pass(self, to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
        let Proxy { bytes, limits, .. } = self.proxy;
        let passed = bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
        if passed > limits.bytes_max {
            return Err(io::Error::other("too much went through"));
        }
        to.write_all(piece).await?;
        self.passed.notify_one();
        Ok(())
    }
}

#[cfg(test)]
mod tests;
