//! A server with several accounts, and clients of it: some that ask as one does, and some that do not read what they asked for.

use std::collections::HashMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use pipewright_aws::auth::{AccessKey, Scope, profile, sign};
use pipewright_base::clock::now_ms;
use pipewright_server::api::{CODEPIPELINE, Dialect, OPERATIONS};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use crate::server::Server;

/// Whoever has to wait for longer is locked out.
const PATIENCE: Duration = Duration::from_secs(120);
/// A socket of which this is all that the kernel takes for it.
const SMALL_BYTES: u32 = 4096;

pub const OPERATOR: &str = "000000000000";

pub struct World {
    pub server: Server,
    home: tempfile::TempDir,
    address: SocketAddr,
    keys: HashMap<String, AccessKey>,
}

impl World {
    /// With these accounts besides the operator's. Each has the grants for a pipeline `site` whose source is the folder
    /// `source`, which `fill` fills. The server begins with the limits that `limits` sets, a line of a shell.
    pub fn new(accounts: &[&str], limits: &str, fill: impl Fn(&Path)) -> Self {
        let home = tempfile::tempdir().unwrap();
        let source = home.path().join("source");
        fs::create_dir(&source).unwrap();
        fill(&source);
        let grants = "[action.\"Source/Source\"]\ndirectories.source = { path = \"source\", access = \"read\" }\n";
        fs::write(home.path().join("grants.toml"), grants).unwrap();
        fs::create_dir(home.path().join("plugins")).unwrap();
        for guest in ["steps", "deeds"] {
            fs::write(home.path().join(format!("plugins/{guest}.wasm")), pipewright_guests::get(guest)).unwrap();
        }
        let mut config = "poll_seconds = 86400\nplugins = \"plugins\"\n[grants]\nsite = \"grants.toml\"\n".to_owned();
        for account in accounts {
            config.push_str(&format!("[accounts.{account}.grants]\nsite = \"grants.toml\"\n"));
        }
        fs::write(home.path().join("serve.toml"), config).unwrap();
        Self::of(home, accounts, limits)
    }

    /// The same over a home with its configuration.
    pub fn of(home: tempfile::TempDir, accounts: &[&str], limits: &str) -> Self {
        let server = Server::start_within(home.path(), limits);
        let address = address(&server);
        let key = |account: &str, name: &str| {
            (account.to_owned(), profile::read_credentials(&server.credentials(), name).unwrap())
        };
        let keys = accounts.iter().map(|account| key(account, account)).chain([key(OPERATOR, "default")]).collect();
        Self { server, home, address, keys }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// Begins again after the server has ended.
    pub fn start(&mut self) {
        self.server = Server::start(self.home.path());
        self.address = address(&self.server);
    }

    /// A request as its bytes, signed with the account's key.
    pub fn signed(
        &self,
        account: &str,
        method: Method,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Request<Bytes> {
        self.signed_for(&CODEPIPELINE, (account, method, target), headers, body)
    }

    fn signed_for(
        &self,
        of: &Dialect,
        (account, method, target): (&str, Method, &str),
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Request<Bytes> {
        let mut request = Request::builder().method(method).uri(target).header("host", self.address.to_string());
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut request = request.body(Bytes::copy_from_slice(body)).unwrap();
        let scope = Scope { region: "us-east-1".to_owned(), service: of.name };
        sign(&mut request, &self.keys[account], &scope, now_ms());
        request
    }

    /// A connection that says nothing yet, and takes little of what it is sent.
    pub async fn connect(&self) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(SMALL_BYTES).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    /// Asks for a path and reads no more than the head of the answer: its status, and what came of it until then.
    pub async fn ask(&self, account: &str, target: &str) -> (StatusCode, Unread) {
        let request = self.signed(account, Method::GET, target, &[], b"");
        let mut stream = self.connect().await;
        stream.write_all(&head(&request)).await.unwrap();
        let mut unread = Unread { stream, begun: Vec::new() };
        let status = unread.status().await;
        (status, unread)
    }

    pub async fn client(&self, account: &str) -> Client<'_> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (connection, driven) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        // How it ends, the next request tells.
        tokio::spawn(driven);
        Client { world: self, account: account.to_owned(), connection }
    }

    /// As somebody without a key asks whether the host is well.
    pub async fn is_well(&self) {
        let mut client = self.client(OPERATOR).await;
        let request = Request::get("/healthz").header("host", "localhost").body(Bytes::new()).unwrap();
        assert_eq!(client.send(request).await.status(), StatusCode::OK);
    }

    /// What people without any part in it do: a health check, and each account's list over a connection of its own.
    pub async fn goes_on(&self, accounts: &[&str]) {
        self.is_well().await;
        for account in accounts {
            self.client(account).await.call("ListPipelines", &json!({})).await;
        }
    }

    /// Makes the account's pipeline, with a second stage of these actions, and waits for its source.
    pub async fn create(&self, account: &str, actions: Vec<Value>) -> String {
        let mut source = action("Source", "Custom", "Directory", "Source", json!({ "Directory": "source" }));
        source["outputArtifacts"] = json!([{ "name": "Code" }]);
        let pipeline = json!({
            "name": "site",
            "roleArn": format!("arn:aws:iam::{account}:role/test"),
            "artifactStore": { "type": "S3", "location": "artifacts" },
            "stages": [{ "name": "Source", "actions": [source] }, { "name": "Then", "actions": actions }],
        });
        let mut client = self.client(account).await;
        client.call("CreatePipeline", &json!({ "pipeline": pipeline })).await;
        loop {
            let state = client.call("GetPipelineState", &json!({ "name": "site" })).await;
            let status = &state["stageStates"][0]["latestExecution"]["status"];
            match status.as_str() {
                Some("Succeeded") => break,
                Some("Failed") => panic!("{state}"),
                _ => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
        let executions = client.call("ListPipelineExecutions", &json!({ "pipelineName": "site" })).await;
        executions["pipelineExecutionSummaries"][0]["pipelineExecutionId"].as_str().unwrap().to_owned()
    }
}

fn address(server: &Server) -> SocketAddr {
    server.endpoint().strip_prefix("http://").unwrap().parse().unwrap()
}

pub fn action(category: &str, owner: &str, provider: &str, name: &str, configuration: Value) -> Value {
    json!({
        "name": name,
        "actionTypeId": { "category": category, "owner": owner, "provider": provider, "version": "1" },
        "configuration": configuration,
    })
}

fn head(request: &Request<Bytes>) -> Vec<u8> {
    let mut text = format!("{} {} HTTP/1.1\r\n", request.method(), request.uri()).into_bytes();
    for (name, value) in request.headers() {
        text.extend_from_slice(name.as_str().as_bytes());
        text.extend_from_slice(b": ");
        text.extend_from_slice(value.as_bytes());
        text.extend_from_slice(b"\r\n");
    }
    text.extend_from_slice(b"connection: close\r\n\r\n");
    text
}

/// An answer that is not read.
pub struct Unread {
    stream: TcpStream,
    begun: Vec<u8>,
}

impl Unread {
    async fn status(&mut self) -> StatusCode {
        let read = async {
            while !self.begun.windows(4).any(|end| end == b"\r\n\r\n") {
                let mut piece = [0; 512];
                let read = self.stream.read(&mut piece).await.unwrap();
                assert!(read > 0, "no answer");
                self.begun.extend_from_slice(&piece[..read]);
            }
        };
        tokio::time::timeout(PATIENCE, read).await.expect("an answer begins");
        std::str::from_utf8(&self.begun[9..12]).unwrap().parse().unwrap()
    }

    /// Reads on, to the end.
    pub async fn rest(mut self) -> Vec<u8> {
        // What was cut may end with an error.
        let _ = self.stream.read_to_end(&mut self.begun).await;
        self.begun
    }
}

/// Somebody who asks and reads the answers, over one connection.
pub struct Client<'a> {
    world: &'a World,
    account: String,
    connection: SendRequest<Full<Bytes>>,
}

impl Client<'_> {
    pub async fn send(&mut self, request: Request<Bytes>) -> Response<Incoming> {
        let answered = async {
            // The server ends a connection over which nobody has asked for a while.
            if self.connection.ready().await.is_err() {
                self.connection = self.world.client(&self.account).await.connection;
            }
            self.connection.send_request(request.map(Full::new)).await.unwrap()
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("nobody is locked out")
    }

    /// An operation that succeeds.
    pub async fn call(&mut self, operation: &str, input: &Value) -> Value {
        let body = input.to_string();
        let of = OPERATIONS.iter().find(|row| row.name == operation).unwrap().of;
        let target = format!("{}.{operation}", of.target_prefix.expect("an operation that a header names"));
        let length = body.len().to_string();
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", &*target), ("content-length", &*length)];
        let asked = (&*self.account, Method::POST, "/");
        let response = self.send(self.world.signed_for(of, asked, &headers, body.as_bytes())).await;
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{operation}: {status}: {}", String::from_utf8_lossy(&body));
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).unwrap() }
    }
}
