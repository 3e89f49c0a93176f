//! What a case needs around it: a server, a name server, grants, a journal, and a small guest that follows redirects.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::Ordering;

use ::http::header::LOCATION;
use bytes::Bytes;
use futures::StreamExt as _;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use wasmtime_wasi::WasiCtx;

use super::server::Server;
use super::*;
use crate::grants::{Grants, SecretGrant, SecretValue};
use crate::limits::CallLimits;
use crate::masks::Masks;
use crate::outside::Outside;
use crate::rights::Asks;
use crate::seam::{HostCallOutcome, Journal, Sink};
use pipewright_base::memory::HostMemory;

pub(super) const SECRET: &str = "s3cret/value+1234";

/// What the name server knows; names that it does not know do not exist.
const NAMES: &[(&str, &[&str])] = &[
    ("allowed.test", &["127.0.0.1"]),
    ("empty.test", &[]),
    ("large.test", &["127.0.0.1"]),
    ("mapped.test", &["::ffff:127.0.0.1"]),
    ("other.test", &["127.0.0.1"]),
    ("plain.test", &["127.0.0.1"]),
    ("public.test", &["127.0.0.1", "10.0.0.1", "::1"]),
    ("two-addresses.test", &["127.0.0.9", "127.0.0.1"]),
];

/// Host, which scheme and port, and whether it may be private.
const GRANTS: &[(&str, Port, bool)] = &[
    ("127.0.0.1", Port::Http, true),
    ("allowed.test", Port::Http, true),
    ("allowed.test", Port::Tls, true),
    ("allowed.test", Port::Nobody, true),
    ("empty.test", Port::Http, true),
    ("large.test", Port::Http, true),
    ("mapped.test", Port::Http, false),
    ("missing.test", Port::Http, true),
    ("other.test", Port::Http, true),
    ("other.test", Port::Tls, true),
    ("plain.test", Port::TlsToHttp, true),
    ("public.test", Port::Http, false),
    ("rebinding.test", Port::Http, true),
    ("slow-name.test", Port::Http, true),
    ("two-addresses.test", Port::Http, true),
];

#[derive(Clone, Copy)]
enum Port {
    Http,
    Tls,
    TlsToHttp,
    /// 2, where nobody listens.
    Nobody,
}

pub(super) struct World {
    server: Server,
    pub(super) connector: Connector,
    pub(super) lookups: Arc<Mutex<HashMap<String, usize>>>,
}

/// A call of a plugin.
pub(super) struct Calling {
    pub(super) http: Http,
    pub(super) secrets: Secrets,
    pub(super) seam: Arc<Seam>,
    journal: Arc<Journal>,
}

impl Calling {
    /// Sends a GET request; the response's body is not read.
    pub(super) async fn get(&mut self, url: &str) -> Result<Response<WasiBody>, Error> {
        let request = Request::get(url).body(body(Sent::Nothing)).unwrap();
        let sending = self.http.hooks.send_request(request, None, Box::new(async { Ok(()) }));
        Ok(Box::into_pin(sending).await?.0)
    }

    pub(super) fn outcomes(&self) -> Vec<HostCallOutcome> {
        self.journal.calls.lock().unwrap().iter().map(|call| call.outcome.clone()).collect()
    }
}

pub(super) async fn check(cases: &[Case]) {
    let world = World::start().await;
    for case in cases {
        world.run(case).await;
    }
}

impl World {
    pub(super) async fn start() -> Self {
        let server = Server::start().await;
        let lookups = Arc::new(Mutex::new(HashMap::new()));
        let counts = Arc::clone(&lookups);
        let resolve = move |host: String| {
            let nth = {
                let mut counts = counts.lock().unwrap();
                let count = counts.entry(host.clone()).or_default();
                *count += 1;
                *count
            };
            async move {
                if host == "slow-name.test" {
                    std::future::pending::<()>().await;
                }
                let known = NAMES.iter().find(|(name, _)| *name == host).map(|(_, addresses)| *addresses);
                let rebound: &[&str] = if nth == 1 { &["127.0.0.1"] } else { &["10.255.255.1"] };
                let found = known.or((host == "rebinding.test").then_some(rebound));
                let found = found.ok_or_else(|| std::io::Error::other("no such name"))?;
                Ok(found.iter().map(|address| address.parse().unwrap()).collect())
            }
            .boxed()
        };
        let trust = Trust::new(&[server.authority.path().to_owned()]).unwrap();
        Self { server, connector: Connector { resolve: Arc::new(resolve), trust: Arc::new(trust) }, lookups }
    }

    fn grants(&self) -> Grants {
        let http = GRANTS.iter().map(|(host, port, private)| {
            let (tls, port) = match port {
                Port::Http => (false, self.server.http_port),
                Port::Tls => (true, self.server.tls_port),
                Port::TlsToHttp => (true, self.server.http_port),
                Port::Nobody => (false, 2),
            };
            HttpGrant { tls, host: (*host).to_owned(), port, private: *private }
        });
        let secret = |value: &str, hosts: &[&str]| SecretGrant {
            value: SecretValue::new(value),
            hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
            reveal: false,
            commands: false,
            commands_file: None,
            stored: None,
        };
        let secrets = [
            (
                "token".to_owned(),
                secret(SECRET, &[&self.url("http://Allowed.test:{http}"), &self.url("https://allowed.test:{tls}")]),
            ),
            ("elsewhere".to_owned(), secret(&"x".repeat(1_000), &["elsewhere.test", "large.test"])),
        ];
        Grants { http: http.collect(), secrets: secrets.into(), ..Grants::default() }
    }

    /// A call of a plugin with these limits, and what it told.
    pub(super) fn call(&self, limits: fn(&mut HttpLimits), outside: Outside) -> Calling {
        let mut all = CallLimits::default();
        limits(&mut all.http);
        let grants = self.grants();
        let journal = Arc::new(Journal::default());
        let masks = Masks::of(grants.secrets.values().map(|grant| grant.value.expose()));
        let seam = Seam::new(
            "acme/x",
            "Build/It",
            Arc::clone(&journal) as Arc<dyn Sink>,
            masks,
            Asks::everything(&["token"], &[]),
            outside,
        );
        let secrets = Secrets::of(&grants, &seam);
        let http = Http::of(&Setup {
            seam: &seam,
            grants: &grants,
            limits: &all,
            memory: &HostMemory::alone(usize::MAX),
            wasi: &mut WasiCtx::builder(),
            time: None,
            idempotency_key: "",
            connector: &self.connector,
            secrets: secrets.clone(),
            scratch: Path::new(""),
            secret_environment: Vec::new(),
            ended: None,
            caches: Default::default(),
        });
        Calling { http, secrets, seam, journal }
    }

    pub(super) fn connections(&self) -> usize {
        self.server.connections.load(Ordering::Relaxed)
    }

    pub(super) fn url(&self, text: &str) -> String {
        text.replace("{http}", &self.server.http_port.to_string()).replace("{tls}", &self.server.tls_port.to_string())
    }

    pub(super) async fn run(&self, case: &Case) {
        let Calling { mut http, secrets, journal, .. } = self.call(case.limits, Outside::Live);
        let stand_ins = [
            ("{token}", secrets.stand_in("token", None)),
            ("{basic}", secrets.stand_in("token", Some("me"))),
            ("{elsewhere}", secrets.stand_in("elsewhere", None)),
        ];
        let filled = |text: &str| {
            let text = stand_ins.iter().fold(text.to_owned(), |text, (name, stand_in)| text.replace(name, stand_in));
            self.url(&text)
        };

        let before = self.server.connections.load(Ordering::Relaxed);
        let guest = guest(&mut http.hooks, case, filled).await.unwrap_or_else(|error| format!("{error:?}"));
        assert_eq!(guest, filled(case.guest), "{}: what the guest gets", case.name);
        let made = || self.server.connections.load(Ordering::Relaxed) - before;
        // A connection exists before the server has taken and counted it.
        let counted = async {
            while made() < case.connections {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(5), counted).await.ok();
        let connections = made();
        assert_eq!(connections, case.connections, "{}: connections", case.name);

        let calls = std::mem::take(&mut *journal.calls.lock().unwrap());
        let lines = std::mem::take(&mut *journal.lines.lock().unwrap());
        assert_eq!(calls.len(), case.journal.len(), "{}: {calls:?}", case.name);
        for (call, wanted) in calls.iter().zip(case.journal) {
            let (told, text) = match &call.outcome {
                HostCallOutcome::Done => (format!("Done, {} bytes", call.bytes), None),
                HostCallOutcome::Denied(text) => (format!("Denied {text}"), Some(text)),
                HostCallOutcome::Limit(text) => (format!("Limit {text}"), Some(text)),
                HostCallOutcome::Failed(text) => (format!("Failed {text}"), Some(text)),
            };
            let (start, end) = wanted.split_once('…').filter(|(start, _)| *start == "Denied ").unwrap_or((wanted, ""));
            let as_wanted = told.starts_with(&filled(start)) && told.ends_with(&filled(end));
            assert!(as_wanted, "{}: the journal has {told:?}, not {wanted:?}", case.name);
            let logged = text.is_none_or(|text| lines.iter().any(|line| line.contains(text.as_str())));
            assert!(logged, "{}: {text:?} is not in the log {lines:?}", case.name);
        }
        let shown = format!("{calls:?} {lines:?}");
        for hidden in [SECRET, "s3cret%2Fvalue", "hunter2", "czNjcmV0L3ZhbHVlKzEyMzQ"] {
            assert!(!shown.contains(hidden), "{}: {shown}", case.name);
        }
    }
}

/// Sends the case's request and follows redirects, with the same headers, as a careless guest would.
async fn guest(hooks: &mut Hooks, case: &Case, filled: impl Fn(&str) -> String) -> Result<String, Error> {
    let mut url = filled(case.url);
    loop {
        let request = Request::builder().method(case.method).uri(&url);
        let request = match case.header {
            (_, "") => request,
            (name, value) => request.header(name, filled(value)),
        };
        let request = request.body(body(case.body)).unwrap();
        let (response, _) =
            Box::into_pin(hooks.send_request(request, Some(case.options), Box::new(async { Ok(()) }))).await?;
        if let Some(location) = response.headers().get(LOCATION) {
            url = filled(location.to_str().unwrap());
            continue;
        }
        let status = response.status().as_u16();
        let body = response.into_body().collect().await?.to_bytes();
        return Ok(format!("{status} {}", String::from_utf8_lossy(&body)));
    }
}

pub(super) fn body(sent: Sent) -> WasiBody {
    let frame = || Ok(Frame::data(Bytes::from(vec![b'x'; 1_000])));
    let (count, unfinished) = match sent {
        Sent::Nothing => return http_body_util::Empty::new().map_err(|never| match never {}).boxed_unsync(),
        Sent::Frames(count) | Sent::Slowly(count) => (count, false),
        Sent::Unfinished => (1, true),
    };
    let frames = (0..count).map(move |_| frame()).chain(unfinished.then_some(Err(Error::HttpProtocolError)));
    let slowly = matches!(sent, Sent::Slowly(_));
    let frames = futures::stream::iter(frames).then(move |frame| async move {
        if slowly {
            tokio::time::sleep(Duration::from_millis(150)).await;
        }
        frame
    });
    BodyExt::boxed_unsync(StreamBody::new(frames))
}
