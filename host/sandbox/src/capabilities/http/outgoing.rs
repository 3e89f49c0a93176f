//! A request that the host itself makes to an address that others named, such as a notification.
//!
//! Owns how it is sent: to an address that is checked as those of guests' requests are, and in a time of its own. Of the answer as
//! much is read as is asked for, within a bound, and no redirect is followed. Must not know what it is for.

use std::fmt;
use std::time::Duration;

use ::http::header::{CONNECTION, HOST};
use ::http::{Method, Request, Uri};
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::Connector;
use super::exchange::{NotConnected, secured};
use super::grant::HttpGrant;
use super::origin::Origin;

/// From the look-up of the name to the head of the answer. Stops a server that hangs from holding on to what waits for it.
const SENT_MAX: Duration = Duration::from_secs(10);
/// Of which connecting has this.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// The head of the answer, of which only the status is wanted. Stops one without end.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// The body of an answer that is read. Stops one without end.
const ANSWER_BYTES_MAX: usize = 1024 * 1024;

/// A request of the host.
#[derive(Clone)]
pub struct Outgoing {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: Bytes,
    /// Whether the name may lead to a loopback, link-local or private address.
    pub private: bool,
}

/// Headers may have secrets.
impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Outgoing({} {})", self.method, self.url)
    }
}

/// What was answered, whatever its status is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
}

/// Why something was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsent {
    /// Nobody answered.
    #[error("{0}")]
    Unreachable(String),
    /// What was asked for is at an address that may not be reached unless it is allowed.
    #[error("{0}, which is not a public address")]
    NotPublic(String),
    /// It may have been taken: nothing was answered within so many seconds.
    #[error("no answer within {0} s")]
    Late(u64),
    #[error("it answered with the status {0}")]
    Answered(u16),
}

impl From<String> for Unsent {
    fn from(reason: String) -> Self {
        Self::Unreachable(reason)
    }
}

/// Whether a URL names an address that is not public, as far as that is known without looking anything up.
pub fn is_not_public(url: &str) -> bool {
    let origin = url.parse().ok().and_then(|uri| Origin::of(&uri));
    origin.is_some_and(|origin| origin.looks_private())
}

/// The origin of a URL that a request can be sent to, in the one form in which origins are compared.
pub fn origin_of(url: &str) -> Option<String> {
    Origin::of(&url.parse().ok()?).map(|origin| origin.to_string())
}

impl Connector {
    /// Sends it once. Whatever answers with a status of success has taken it.
    pub(crate) async fn post(&self, outgoing: Outgoing) -> Result<(), Unsent> {
        self.post_within(SENT_MAX, outgoing).await
    }

    pub(super) async fn post_within(&self, limit: Duration, outgoing: Outgoing) -> Result<(), Unsent> {
        match within(limit, self.exchange(outgoing, false)).await?.status {
            200..=299 => Ok(()),
            status => Err(Unsent::Answered(status)),
        }
    }

    /// Sends it once, and reads what is answered.
    pub(crate) async fn ask(&self, outgoing: Outgoing) -> Result<Answer, Unsent> {
        self.ask_within(SENT_MAX, outgoing).await
    }

    pub(super) async fn ask_within(&self, limit: Duration, outgoing: Outgoing) -> Result<Answer, Unsent> {
        within(limit, self.exchange(outgoing, true)).await
    }

    async fn exchange(&self, outgoing: Outgoing, is_read: bool) -> Result<Answer, Unsent> {
        let Outgoing { method, url, headers, body, private } = outgoing;
        let uri: Uri = url.parse().map_err(|_| "it has no URL that can be read".to_owned())?;
        let origin = Origin::of(&uri).ok_or_else(|| "its URL is not one of http or https".to_owned())?;
        let grant = HttpGrant { tls: origin.tls, host: origin.host.clone(), port: origin.port, private };
        let tcp = self.connect(&grant, CONNECT_MAX).await.map_err(|refused| match refused {
            NotConnected::NotPublic(address) => Unsent::NotPublic(format!("{origin} is at {address}")),
            NotConnected::Failed(reason) => reason.into(),
        })?;
        let failed = |outcome: crate::seam::HostCallOutcome| outcome.text().unwrap_or_default().to_owned();
        let stream = secured(self, &origin, tcp).await.map_err(|failure| failed(failure.outcome))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(HOST, origin.host_and_port()).header(CONNECTION, "close");
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body)).map_err(|error| error.to_string())?;
        let mut client = http1::Builder::new();
        client.max_headers(HEADERS_MAX).max_buf_size(HEAD_BYTES_MAX);
        let broken = |error: hyper::Error| format!("the connection broke: {error}");
        let (mut sender, connection) = client.handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let mut answered = std::pin::pin!(async move {
            let answer = sender.send_request(request).await.map_err(broken)?;
            let status = answer.status().as_u16();
            if !is_read {
                return Ok(Answer { status, body: Bytes::new() });
            }
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX).collect().await;
            let body = body.map_err(|error| format!("its answer cannot be read: {error}"))?.to_bytes();
            Ok(Answer { status, body })
        });
        tokio::select! {
            biased;
            answer = &mut answered => answer,
            // What was answered before the connection ended is there all the same.
            _ = connection => answered.await,
        }
    }
}

async fn within(limit: Duration, exchange: impl Future<Output = Result<Answer, Unsent>>) -> Result<Answer, Unsent> {
    timeout(limit, exchange).await.unwrap_or_else(|_| Err(Unsent::Late(limit.as_secs())))
}
