//! A client of the server: signed requests over one connection that is kept, and the account's events as they happen.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::SendRequest;
use hyper_util::rt::TokioIo;
use pipewright_aws::auth::{AccessKey, Scope, sign};
use pipewright_base::clock::now_ms;
use pipewright_runner::host::REGION;
use pipewright_server::api::CODEPIPELINE;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::oneshot;

const TARGET_PREFIX: &str = "CodePipeline_20150709";
/// Equal requests of one second must not look like one that is sent again.
static INVOCATIONS: AtomicU64 = AtomicU64::new(0);

pub(crate) struct Client {
    address: SocketAddr,
    key: AccessKey,
    connection: SendRequest<Full<Bytes>>,
}

impl Client {
    pub(crate) async fn connect(address: SocketAddr, key: &AccessKey) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
        // How it ends, the next request tells.
        tokio::spawn(connection);
        Ok(Self { address, key: key.clone(), connection: sender })
    }

    async fn send(&mut self, mut request: Request<Bytes>) -> anyhow::Result<Response<Incoming>> {
        let host = self.address.to_string();
        request.headers_mut().insert(http::header::HOST, host.parse()?);
        let scope = Scope { region: REGION.to_owned(), service: CODEPIPELINE.name };
        sign(&mut request, &self.key, &scope, now_ms());
        self.connection.ready().await?;
        Ok(self.connection.send_request(request.map(Full::new)).await?)
    }

    /// An operation of the API; its output as it came.
    pub(crate) async fn call(&mut self, operation: &str, input: &Value) -> anyhow::Result<Bytes> {
        let request = Request::builder()
            .method(Method::POST)
            .uri("/")
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", format!("{TARGET_PREFIX}.{operation}"))
            .header("amz-sdk-invocation-id", INVOCATIONS.fetch_add(1, Relaxed).to_string())
            .body(Bytes::from(serde_json::to_vec(input)?))?;
        let response = self.send(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        anyhow::ensure!(status.is_success(), "{operation}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    pub(crate) async fn create(&mut self, pipeline: &Value) -> anyhow::Result<()> {
        self.call("CreatePipeline", &json!({ "pipeline": pipeline })).await.map(drop)
    }

    /// The new execution's id.
    pub(crate) async fn start(&mut self, pipeline: &str) -> anyhow::Result<String> {
        let output = self.call("StartPipelineExecution", &json!({ "name": pipeline })).await?;
        let output: Value = serde_json::from_slice(&output)?;
        Ok(output["pipelineExecutionId"].as_str().context("an id")?.to_owned())
    }

    async fn get(&mut self, path: &str) -> anyhow::Result<Response<Incoming>> {
        let response = self.send(Request::get(path).body(Bytes::new())?).await?;
        let status = response.status();
        if !status.is_success() {
            let body = response.into_body().collect().await?.to_bytes();
            anyhow::bail!("{path}: {status}: {}", String::from_utf8_lossy(&body));
        }
        Ok(response)
    }

    /// What `/metrics` says of a name. By a connection of its own: nobody proves there who they are, and the server keeps no
    /// stranger's connection after an answer.
    pub(crate) async fn metric(&self, name: &str) -> anyhow::Result<u64> {
        let mut asking = Self::connect(self.address, &self.key).await?;
        let text = asking.get("/metrics").await?.into_body().collect().await?.to_bytes();
        let text = std::str::from_utf8(&text)?;
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        Ok(value.with_context(|| format!("{name} is not among the metrics"))?.parse::<f64>()? as u64)
    }
}

/// Of executions alone: who only waits for the end asks for nothing of stages and actions.
const EVENTS: &str = "/v1/events?detail-type=CodePipeline%20Pipeline%20Execution%20State%20Change&from=now";

/// An event of an execution, as far as its end is told.
#[derive(Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    detail: Detail<'a>,
}

#[derive(Deserialize)]
struct Detail<'a> {
    #[serde(rename = "execution-id")]
    execution: &'a str,
    state: &'a str,
}

/// The ends of executions, as `/v1/events` tells of them.
#[derive(Clone, Default)]
pub(crate) struct Ends(Arc<Mutex<HashMap<String, End>>>);

enum End {
    Came(String),
    AwaitedBy(oneshot::Sender<String>),
}

impl Ends {
    pub(crate) async fn follow(mut client: Client) -> anyhow::Result<Self> {
        let mut body = client.get(EVENTS).await?.into_body();
        let ends = Self::default();
        let told = ends.clone();
        tokio::spawn(async move {
            // The connection goes with its client.
            let _client = client;
            let mut text = Vec::new();
            while let Some(Ok(frame)) = body.frame().await {
                text.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                let whole = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                for line in text[..whole].split(|byte| *byte == b'\n') {
                    told.line(line);
                }
                text.drain(..whole);
            }
        });
        Ok(ends)
    }

    fn line(&self, line: &[u8]) {
        let Some(event) = line.strip_prefix(b"data: ").and_then(|event| std::str::from_utf8(event).ok()) else {
            return;
        };
        let Ok(Told { detail }) = serde_json::from_str(event) else { return };
        if detail.state != "STARTED" {
            self.came(detail.execution, detail.state);
        }
    }

    fn came(&self, execution: &str, state: &str) {
        let mut ends = self.0.lock().expect("no panic while held");
        match ends.remove(execution) {
            // Nobody waits any more when the benchmark ends.
            Some(End::AwaitedBy(waiter)) => drop(waiter.send(state.to_owned())),
            _ => drop(ends.insert(execution.to_owned(), End::Came(state.to_owned()))),
        }
    }

    /// Waits until the execution succeeds.
    pub(crate) async fn success(&self, execution: &str) -> anyhow::Result<()> {
        let awaited = {
            let mut ends = self.0.lock().expect("no panic while held");
            match ends.remove(execution) {
                Some(End::Came(state)) => Err(state),
                _ => {
                    let (sender, awaited) = oneshot::channel();
                    ends.insert(execution.to_owned(), End::AwaitedBy(sender));
                    Ok(awaited)
                }
            }
        };
        let state = match awaited {
            Ok(awaited) => awaited.await.context("the events ended")?,
            Err(state) => state,
        };
        anyhow::ensure!(state == "SUCCEEDED", "execution {execution} ended as {state}");
        Ok(())
    }
}
