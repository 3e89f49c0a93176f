//! The only way from a job to the network: an HTTP proxy of the host's, on a port of the job's own loopback address.
//!
//! It tunnels (CONNECT) and passes on requests in absolute form (RFC 9112, 3.2.2 and 3.2.3), to origins that were granted and
//! to no other. Which addresses a name may lead to is decided by who connects: it is given how. What passes is counted and
//! limited, and not looked into.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

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
    /// Stops connections that are kept and not used, and requests that never end.
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
        let request = Request::read(&head).ok_or_else(|| {
            let words = "this proxy takes CONNECT host:port, and requests for http://host/…";
            Answer(BAD_REQUEST, words.to_owned())
        })?;
        if !self.origins.contains(&request.origin) {
            return Err(Answer(FORBIDDEN, (self.denied)(&request.origin)));
        }
        if self.bytes() > self.limits.bytes_max {
            return Err(Answer(FORBIDDEN, format!("more than {} bytes went through already", self.limits.bytes_max)));
        }
        let mut server = (self.connect)(&request.origin)
            .await
            .map_err(|error| Answer(BAD_GATEWAY, format!("{}: {error}", request.origin)))?;
        // From here on an error is the end of the connection, which the program sees.
        let begun = match &request.passed_on {
            None => client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await,
            Some(head) => self.pass(&mut server, head).await,
        };
        if begun.is_ok() && self.pass(&mut server, &rest).await.is_ok() {
            let ((mut from_client, mut to_client), (mut from_server, mut to_server)) = (client.split(), server.split());
            let _ = tokio::try_join!(
                self.carry(&mut from_client, &mut to_server),
                self.carry(&mut from_server, &mut to_client)
            );
        }
        Ok(())
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

    /// Passes bytes on in one direction until it ends, and then says so to the other side.
    async fn carry(&self, from: &mut (impl AsyncRead + Unpin), to: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let mut piece = vec![0; PIECE_BYTES];
        loop {
            let length = timeout(self.idle(), from.read(&mut piece)).await??;
            if length == 0 {
                return to.shutdown().await;
            }
            self.pass(to, &piece[..length]).await?;
        }
    }

    async fn pass(&self, to: &mut (impl AsyncWrite + Unpin), piece: &[u8]) -> io::Result<()> {
        let passed = self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed) + piece.len() as u64;
        if passed > self.limits.bytes_max {
            return Err(io::Error::other("too much went through"));
        }
        timeout(self.idle(), to.write_all(piece)).await?
    }
}

struct Request {
    origin: Origin,
    /// The head as the server gets it, where it is no tunnel.
    passed_on: Option<Vec<u8>>,
}

/// Headers that are between the program and the proxy alone (RFC 9110, 7.6.1), and the one that says where to.
const HOP_HEADERS: [&str; 5] = ["connection", "proxy-connection", "proxy-authorization", "keep-alive", "host"];

impl Request {
    fn read(head: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(head).ok()?.strip_suffix("\r\n\r\n")?;
        let mut lines = text.split("\r\n");
        let [method, target, version] = lines.next()?.split(' ').collect::<Vec<_>>().try_into().ok()?;
        if !["HTTP/1.1", "HTTP/1.0"].contains(&version) {
            return None;
        }
        if method == "CONNECT" {
            return Some(Self { origin: Origin::read(target, None)?, passed_on: None });
        }
        let scheme = target.get(..7).filter(|scheme| scheme.eq_ignore_ascii_case("http://"))?;
        let rest = &target[scheme.len()..];
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let origin = Origin::read(authority, Some(80))?;
        let slash = if path.starts_with('/') { "" } else { "/" };
        // One request for each connection: so the next one is judged, too.
        let mut passed_on = format!("{method} {slash}{path} {version}\r\nHost: {authority}\r\nConnection: close\r\n");
        for line in lines {
            let name = line.split_once(':')?.0.to_ascii_lowercase();
            if !HOP_HEADERS.contains(&name.as_str()) {
                passed_on.push_str(line);
                passed_on.push_str("\r\n");
            }
        }
        passed_on.push_str("\r\n");
        Some(Self { origin, passed_on: Some(passed_on.into_bytes()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(head: &str, expected: Option<(&str, Option<&str>)>) {
        let read = Request::read(head.as_bytes());
        let shown = read.map(|it| (it.origin.to_string(), it.passed_on.map(|head| String::from_utf8(head).unwrap())));
        let expected = expected.map(|(origin, head)| (origin.to_owned(), head.map(str::to_owned)));
        assert_eq!(shown, expected, "{head:?}");
    }

    #[test]
    fn requests_are_read() {
        check("CONNECT Example.ORG.:443 HTTP/1.1\r\nHost: x\r\n\r\n", Some(("example.org:443", None)));
        check("CONNECT [::1]:8443 HTTP/1.1\r\n\r\n", Some(("[::1]:8443", None)));
        let passed_on = "GET /a?b HTTP/1.1\r\nHost: a.b\r\nConnection: close\r\nAccept: */*\r\n\r\n";
        let asked = "GET http://a.b/a?b HTTP/1.1\r\nHost: other\r\nProxy-Connection: keep-alive\r\nAccept: */*\r\n\r\n";
        check(asked, Some(("a.b:80", Some(passed_on))));
        let passed_on = "GET /?q HTTP/1.0\r\nHost: a:81\r\nConnection: close\r\n\r\n";
        check("GET HTTP://a:81?q HTTP/1.0\r\n\r\n", Some(("a:81", Some(passed_on))));
        for none in [
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET https://a/ HTTP/1.1\r\n\r\n",
            "CONNECT a HTTP/1.1\r\n\r\n",
            "CONNECT a:b HTTP/1.1\r\n\r\n",
            "CONNECT u@a:1 HTTP/1.1\r\n\r\n",
            "GET http://u@a/ HTTP/1.1\r\n\r\n",
            "GET http:///x HTTP/1.1\r\n\r\n",
            "GET http://a/ HTTP/2\r\n\r\n",
            "GET http://a/ b HTTP/1.1\r\n\r\n",
            "",
        ] {
            check(none, None);
        }
    }
}
