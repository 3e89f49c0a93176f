//! One request over one connection.
//!
//! Owns addresses, TCP and TLS. Must not know what is asked.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::uri::{Authority, Scheme, Uri};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use pipewright_base::trust;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::ClientError;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: Authority,
    is_https: bool,
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "http{}://{}", if self.is_https { "s" } else { "" }, self.authority)
    }
}

impl std::str::FromStr for Endpoint {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let wrong = |problem| ClientError::Endpoint { endpoint: text.to_owned(), problem };
        let parts = text.parse::<Uri>().map_err(|_| wrong("is not an address"))?.into_parts();
        let is_https = match parts.scheme {
            Some(scheme) if scheme == Scheme::HTTP => false,
            Some(scheme) if scheme == Scheme::HTTPS => true,
            _ => return Err(wrong("is neither http nor https")),
        };
        let authority = parts.authority.filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("has a user in it, or no host"))?;
        if parts.path_and_query.is_some_and(|path| path != "/") {
            return Err(wrong("has a path in it"));
        }
        Ok(Self { authority, is_https })
    }
}

impl Endpoint {
    /// The host, and the port where it is written.
    pub(super) fn authority(&self) -> &str {
        self.authority.as_str()
    }

    pub(super) fn broken(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Broken { endpoint: self.to_string(), reason: reason.to_string() }
    }

    fn unreachable(&self, reason: impl std::fmt::Display) -> ClientError {
        ClientError::Unreachable { endpoint: self.to_string(), reason: reason.to_string() }
    }

    /// Without the brackets of an IPv6 address.
    fn host(&self) -> &str {
        self.authority.host().trim_start_matches('[').trim_end_matches(']')
    }
}

pub(super) async fn exchange(
    endpoint: &Endpoint,
    authorities: &[PathBuf],
    request: Request<Bytes>,
) -> Result<Response<Incoming>, ClientError> {
    let port = endpoint.authority.port_u16().unwrap_or(if endpoint.is_https { 443 } else { 80 });
    let stream = tokio::time::timeout(CONNECT_TIME_MAX, TcpStream::connect((endpoint.host(), port)));
    let stream = match stream.await {
        Ok(stream) => stream.map_err(|error| endpoint.unreachable(error))?,
        Err(_) => return Err(endpoint.unreachable(format!("no answer within {} s", CONNECT_TIME_MAX.as_secs()))),
    };
    // Requests are small and wait for their answer.
    let _ = stream.set_nodelay(true);
    if !endpoint.is_https {
        return over(endpoint, stream, request).await;
    }
    let name = ServerName::try_from(endpoint.host().to_owned()).map_err(|error| endpoint.unreachable(error))?;
    let trusted = trust::authorities(authorities).and_then(trust::client);
    let connector = TlsConnector::from(Arc::new(trusted.map_err(|error| endpoint.unreachable(format!("{error:#}")))?));
    let stream = connector.connect(name, stream).await.map_err(|error| endpoint.unreachable(error))?;
    over(endpoint, stream, request).await
}

async fn over<S>(endpoint: &Endpoint, stream: S, request: Request<Bytes>) -> Result<Response<Incoming>, ClientError>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|error| endpoint.broken(error))?;
    // It ends when the answer has been read or dropped.
    tokio::spawn(connection);
    sender.send_request(request.map(Full::new)).await.map_err(|error| endpoint.broken(error))
}
