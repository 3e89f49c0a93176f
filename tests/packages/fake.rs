//! A registry that is played: it keeps what it is sent, and behaves in all else as its kind does (`kinds`).
//!
//! Owns the kinds' differences as data, and a plain HTTP/1.1 server on loopback. A request that no registry of the kind would
//! take is answered with status 500 and what is wrong.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use pipewright_base::Digest;
use serde_json::{Value, json};

use super::registry::{PASSWORD, USER};
use super::world::Registered;

pub const REPOSITORY: &str = "team/packaged";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// How a registry differs from others.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    pub name: &'static str,
    /// `WWW-Authenticate`; `{realm}` stands for the address of the server of tokens.
    pub challenge: &'static str,
    /// The answer of the server of tokens; `{token}` stands for the token.
    pub token: &'static str,
    /// The server of tokens is another than the registry.
    pub has_token_server: bool,
    /// The status for a manifest that is not there, to who may only read.
    pub absent: u16,
    /// From strangers it hides everything but its door, with this status.
    pub hides: Option<u16>,
    pub referrers: Referrers,
    /// Blobs are read from a server of their own, which takes no `Authorization`.
    pub has_storage: bool,
    /// Where uploads go on: `{host}` stands for the registry.
    pub uploads: &'static str,
    /// A larger body is refused with status 413.
    pub body_bytes_max: usize,
    pub tags_per_page: usize,
    /// What follows the address in `Link`.
    pub relation: &'static str,
}

#[derive(Clone, Copy, Debug)]
pub enum Referrers {
    Listed,
    Refused(u16),
    /// The answer is a page for people.
    Page,
}

#[derive(Default)]
pub struct Kept {
    pub blobs: BTreeMap<String, Vec<u8>>,
    /// By tag and by digest.
    pub manifests: BTreeMap<String, Vec<u8>>,
    uploads: Vec<Vec<u8>>,
}

pub struct Fake {
    port: u16,
    pub kept: Arc<Mutex<Kept>>,
    /// `http://localhost:PORT`, where it is another server.
    pub token_server: Option<String>,
}

impl Registered for Fake {
    fn host(&self) -> String {
        format!("localhost:{}", self.port)
    }
}

pub struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub struct Answer(pub u16, pub Vec<(&'static str, String)>, pub Vec<u8>);

impl Fake {
    pub fn start(kind: Kind) -> Self {
        let kept = Arc::<Mutex<Kept>>::default();
        let token_server = kind.has_token_server.then(|| serve(move |request, _| token(&kind, request)));
        let stored = Arc::clone(&kept);
        let storage = kind.has_storage.then(|| serve(move |request, _| storage(&stored.lock().unwrap(), request)));
        let there = Arc::clone(&kept);
        let port = serve(move |request, host| {
            if request.path == "/token" && token_server.is_none() {
                return token(&kind, request);
            }
            let realm =
                format!("http://{}/token", token_server.map_or(host.to_owned(), |port| format!("localhost:{port}")));
            if let Some(refused) = door(&kind, request, &realm) {
                return refused;
            }
            if request.body.len() > kind.body_bytes_max {
                return Answer(413, Vec::new(), b"too large".to_vec());
            }
            answer(&kind, &mut there.lock().unwrap(), request, host, storage)
        });
        Self { port, kept, token_server: token_server.map(|port| format!("http://localhost:{port}")) }
    }
}

fn login() -> String {
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{PASSWORD}")))
}

fn wrong(what: impl std::fmt::Display) -> Answer {
    Answer(500, Vec::new(), format!("the test: {what}").into_bytes())
}

fn token(kind: &Kind, request: &Request) -> Answer {
    if request.query.get("service").map(String::as_str) != Some("registry") {
        return wrong("the service is not the challenge's");
    }
    let scope = request.query.get("scope").cloned().unwrap_or_default();
    let Some(actions) = scope.strip_prefix(&format!("repository:{REPOSITORY}:")) else {
        return Answer(403, Vec::new(), json!({ "errors": [{ "message": "not yours" }] }).to_string().into_bytes());
    };
    let who = if request.header("authorization") == login() { USER } else { "anybody" };
    let body = kind.token.replace("{token}", &format!("{who}:{actions}"));
    Answer(200, vec![("Content-Type", "application/json".to_owned())], body.into_bytes())
}

/// Nobody but the user is let in, and with a token only as far as it goes.
fn door(kind: &Kind, request: &Request, realm: &str) -> Option<Answer> {
    let actions = if matches!(&*request.method, "GET" | "HEAD") { "pull" } else { "pull,push" };
    let shown = request.header("authorization");
    let token = shown.strip_prefix("Bearer ");
    let is_let_in = match kind.challenge.contains("{realm}") {
        true => token.is_some_and(|token| token.starts_with(&format!("{USER}:{actions}"))),
        false => shown == login(),
    };
    if is_let_in {
        return None;
    }
    if let Some(status) = kind.hides.filter(|_| request.path != "/v2/") {
        return Some(Answer(status, Vec::new(), b"{}".to_vec()));
    }
    let challenge = kind.challenge.replace("{realm}", realm);
    Some(Answer(401, vec![("WWW-Authenticate", challenge)], b"{\"errors\":[{\"code\":\"UNAUTHORIZED\"}]}".to_vec()))
}

fn storage(kept: &Kept, request: &Request) -> Answer {
    if !request.header("authorization").is_empty() {
        return Answer(400, Vec::new(), b"only one way to be let in".to_vec());
    }
    let blob = kept.blobs.get(request.path.trim_start_matches('/'));
    blob.map_or(Answer(404, Vec::new(), Vec::new()), |blob| Answer(200, Vec::new(), blob.clone()))
}

fn answer(kind: &Kind, kept: &mut Kept, request: &Request, host: &str, storage: Option<u16>) -> Answer {
    let Some(path) = request.path.strip_prefix(&format!("/v2/{REPOSITORY}/")) else {
        return Answer(if request.path == "/v2/" { 200 } else { 404 }, Vec::new(), b"{}".to_vec());
    };
    let (what, name) = path.split_once('/').unwrap_or((path, ""));
    match (&*request.method, what) {
        ("GET", "tags") => tags(kind, kept, request),
        ("GET", "referrers") => referrers(kind, kept, name),
        ("GET" | "HEAD", "manifests") => match kept.manifests.get(name) {
            Some(manifest) => Answer(200, vec![("Content-Type", MANIFEST.to_owned())], manifest.clone()),
            None => {
                let status = if request.header("authorization").ends_with("push") { 404 } else { kind.absent };
                Answer(status, Vec::new(), b"{\"errors\":[{\"code\":\"MANIFEST_UNKNOWN\"}]}".to_vec())
            }
        },
        ("PUT", "manifests") => put_manifest(kind, kept, request, name),
        ("GET" | "HEAD", "blobs") => match (kept.blobs.get(name), storage) {
            (None, _) => Answer(404, Vec::new(), Vec::new()),
            (Some(_), Some(port)) => {
                Answer(307, vec![("Location", format!("http://localhost:{port}/{name}"))], Vec::new())
            }
            (Some(blob), None) => Answer(200, Vec::new(), blob.clone()),
        },
        (_, "blobs") => upload(kind, kept, request, host),
        _ => wrong(format!("{} {}", request.method, request.path)),
    }
}

fn upload(kind: &Kind, kept: &mut Kept, request: &Request, host: &str) -> Answer {
    if request.header("content-length").is_empty() {
        return Answer(411, Vec::new(), Vec::new());
    }
    let at = |id: usize, part: usize| {
        let path = format!("/v2/{REPOSITORY}/blobs/uploads/{id}?_state={part}%3D");
        vec![("Location", kind.uploads.replace("{host}", host).replace("{path}", &path))]
    };
    if request.method == "POST" {
        kept.uploads.push(Vec::new());
        return Answer(202, at(kept.uploads.len() - 1, 0), Vec::new());
    }
    let id: usize = request.path.rsplit('/').next().unwrap().parse().unwrap();
    let upload = &mut kept.uploads[id];
    if request.query.get("_state") != Some(&format!("{}=", upload.len())) {
        return wrong("the state of the upload was not given back");
    }
    let begin = upload.len();
    upload.extend_from_slice(&request.body);
    if request.method == "PATCH" {
        if request.header("content-range") != format!("{begin}-{}", upload.len() - 1) {
            return Answer(416, Vec::new(), Vec::new());
        }
        let next = at(id, upload.len());
        return Answer(202, next, Vec::new());
    }
    let blob = std::mem::take(upload);
    let digest = format!("sha256:{}", Digest::of(&blob));
    if request.query.get("digest") != Some(&digest) {
        return Answer(400, Vec::new(), b"{\"errors\":[{\"code\":\"DIGEST_INVALID\"}]}".to_vec());
    }
    kept.blobs.insert(digest, blob);
    Answer(201, Vec::new(), Vec::new())
}

fn put_manifest(kind: &Kind, kept: &mut Kept, request: &Request, name: &str) -> Answer {
    let manifest: Value = serde_json::from_slice(&request.body).unwrap();
    if request.header("content-type") != manifest["mediaType"] {
        return wrong("the content is of another type than it says");
    }
    let items = |member: &str| manifest[member].as_array().cloned().unwrap_or_default();
    let blobs: Vec<Value> = items("layers").into_iter().chain(manifest.get("config").cloned()).collect();
    let has =
        |parts: &[Value], there: &dyn Fn(&str) -> bool| parts.iter().all(|it| there(it["digest"].as_str().unwrap()));
    let subject = manifest["subject"]["digest"].as_str();
    if !has(&blobs, &|digest| kept.blobs.contains_key(digest))
        || !has(&items("manifests"), &|digest| kept.manifests.contains_key(digest))
        || subject.is_some_and(|subject| !kept.manifests.contains_key(subject))
    {
        return wrong("what a manifest names is not there");
    }
    let digest = format!("sha256:{}", Digest::of(&request.body));
    if name.starts_with("sha256:") && name != digest {
        return wrong("the digest is another");
    }
    kept.manifests.insert(name.to_owned(), request.body.clone());
    kept.manifests.insert(digest, request.body.clone());
    let told = subject.filter(|_| matches!(kind.referrers, Referrers::Listed));
    Answer(201, told.map(|subject| ("OCI-Subject", subject.to_owned())).into_iter().collect(), Vec::new())
}

fn referrers(kind: &Kind, kept: &Kept, subject: &str) -> Answer {
    match kind.referrers {
        Referrers::Refused(status) => return Answer(status, Vec::new(), b"404 page not found".to_vec()),
        Referrers::Page => return Answer(200, Vec::new(), b"<!doctype html><title>Registry</title>".to_vec()),
        Referrers::Listed => {}
    }
    let mut listed = Vec::new();
    for (digest, bytes) in kept.manifests.iter().filter(|(name, _)| name.starts_with("sha256:")) {
        let manifest: Value = serde_json::from_slice(bytes).unwrap();
        if manifest["subject"]["digest"] == subject {
            listed.push(json!({
                "mediaType": MANIFEST, "digest": digest, "size": bytes.len(),
                "artifactType": manifest["artifactType"], "annotations": manifest["annotations"],
            }));
        }
    }
    let index = json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": listed });
    Answer(200, vec![("Content-Type", INDEX.to_owned())], index.to_string().into_bytes())
}

fn tags(kind: &Kind, kept: &Kept, request: &Request) -> Answer {
    let after = request.query.get("last").cloned().unwrap_or_default();
    let tags = kept.manifests.keys().filter(|name| !name.starts_with("sha256:") && **name > after);
    let page: Vec<&String> = tags.take(kind.tags_per_page).collect();
    let next = page.last().filter(|_| page.len() == kind.tags_per_page);
    let link = next.map(|last| format!("</v2/{REPOSITORY}/tags/list?last={last}&n=1>{}", kind.relation));
    let body = json!({ "name": REPOSITORY, "tags": page }).to_string().into_bytes();
    Answer(200, link.map(|link| ("Link", link)).into_iter().collect(), body)
}

/// A server on loopback; gives its port. `answer` gets each request, and the server's own `localhost:PORT`.
pub fn serve(answer: impl Fn(&Request, &str) -> Answer + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, answer) = (stream.unwrap(), Arc::clone(&answer));
            std::thread::spawn(move || {
                while let Some(request) = read(&mut stream) {
                    let Answer(status, headers, body) = answer(&request, &format!("localhost:{port}"));
                    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                    let length = body.len();
                    let head = format!("HTTP/1.1 {status} Said\r\nContent-Length: {length}\r\n{headers}\r\n");
                    let body = if request.method == "HEAD" { &[][..] } else { &body[..] };
                    // Who has heard enough hangs up.
                    if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body)).is_err() {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn read(stream: &mut TcpStream) -> Option<Request> {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 {
            return None;
        }
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?);
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<_, _> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some(Request { method, path: path.to_owned(), query: parameters(query), headers, body })
}

fn parameters(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let mut parts = text.split('%');
    let mut decoded = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        decoded.push(char::from(u8::from_str_radix(&part[..2], 16).unwrap()));
        decoded.push_str(&part[2..]);
    }
    decoded
}
