//! The artifacts of an execution: a listing, as a zip file, and file by file.
//!
//! Must not know how artifacts are kept (`artifacts`).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, Response, header};
use futures::Stream;
use pipewright_pipeline::machine::{ActionExecutionId, Execution};
use pipewright_sandbox::files::{Node, Tree};
use serde::Serialize;
use tokio::sync::mpsc;

use super::super::Api;
use super::super::error::ApiError;

/// What is read and sent at once, and how many of these wait for a slow client.
const CHUNK_BYTES: usize = 64 * 1024;
const CHUNKS_MAX: usize = 8;

#[derive(Serialize)]
struct Listed {
    artifacts: Vec<Artifact>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    name: String,
    digest: String,
    bytes: u64,
    files: usize,
    action_execution_id: String,
}

#[derive(Serialize)]
struct Files<'a> {
    files: Vec<FileRow<'a>>,
}

#[derive(Serialize)]
struct FileRow<'a> {
    path: &'a str,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    executable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
}

/// Name to who made it and its digest. What a retry made anew replaces what was there.
fn made(execution: &Execution) -> BTreeMap<&str, (ActionExecutionId, &str)> {
    let runs = execution.runs.values();
    let made = runs.flat_map(|run| run.artifacts.iter().map(|(name, digest)| (&**name, (run.id, &**digest))));
    made.collect()
}

async fn tree(api: &Arc<Api>, digest: &str) -> Result<Arc<Tree>, ApiError> {
    let (artifacts, digest) = (Arc::clone(&api.host.actions.artifacts), digest.to_owned());
    let read = tokio::task::spawn_blocking(move || artifacts.tree(&digest)).await;
    read.map_err(|error| ApiError::internal(&error))?.map_err(|error| ApiError::internal(&error))
}

pub async fn list(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution)): Path<(String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let call = super::caller(&api, &parts)?;
    let (_, execution) = super::execution(&call, &pipeline, &execution).await?;
    let mut artifacts = Vec::new();
    for (name, (action, digest)) in made(&execution) {
        let tree = tree(&api, digest).await?;
        artifacts.push(Artifact {
            name: name.to_owned(),
            digest: digest.to_owned(),
            bytes: tree.bytes(),
            files: tree.entries().iter().filter(|entry| matches!(entry.node, Node::File { .. })).count(),
            action_execution_id: action.to_string(),
        });
    }
    Ok(super::json(&Listed { artifacts }))
}

/// The artifact that a path names.
async fn find(
    api: &Arc<Api>,
    parts: &Parts,
    (pipeline, execution, artifact): (&str, &str, &str),
) -> Result<Arc<Tree>, ApiError> {
    let call = super::caller(api, parts)?;
    let (_, execution) = super::execution(&call, pipeline, execution).await?;
    let digest = made(&execution).get(artifact).map(|(_, digest)| (*digest).to_owned());
    let digest =
        digest.ok_or_else(|| ApiError::not_found(format!("The execution has made no artifact '{artifact}'")))?;
    tree(api, &digest).await
}

pub async fn files(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact)): Path<(String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let tree = find(&api, &parts, (&pipeline, &execution, &artifact)).await?;
    let row = |entry: &pipewright_sandbox::files::Entry| -> (&'static str, Option<u64>, Option<String>, Option<bool>) {
        match &entry.node {
            Node::File { digest, size, executable } => {
                ("file", Some(*size), Some(digest.to_string()), Some(*executable))
            }
            Node::Link { .. } => ("link", None, None, None),
            Node::Directory => ("directory", None, None, None),
        }
    };
    let files = tree.entries().iter().map(|entry| {
        let (kind, size, digest, executable) = row(entry);
        let target = match &entry.node {
            Node::Link { target } => Some(target.as_str()),
            _ => None,
        };
        FileRow { path: &entry.path, kind, size, digest, executable, target }
    });
    Ok(super::json(&Files { files: files.collect() }))
}

pub async fn file(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact, path)): Path<(String, String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let tree = find(&api, &parts, (&pipeline, &execution, &artifact)).await?;
    let entry = tree.entries().iter().find(|entry| entry.path == path);
    let Some(Node::File { digest, size, .. }) = entry.map(|entry| &entry.node) else {
        return Err(ApiError::not_found(format!("The artifact has no file '{path}'")));
    };
    let (artifacts, digest, size) = (Arc::clone(&api.host.actions.artifacts), *digest, *size);
    let body = written(move |out| io::copy(&mut artifacts.blobs().open(&digest)?, out).map(drop));
    // Whatever a build made is data here, and nothing for a browser to run.
    let mut response = stream(body, "application/octet-stream");
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

pub async fn zip(
    State(api): State<Arc<Api>>,
    Path((pipeline, execution, artifact)): Path<(String, String, String)>,
    parts: Parts,
) -> Result<Response<Body>, ApiError> {
    let tree = find(&api, &parts, (&pipeline, &execution, &artifact)).await?;
    let artifacts = Arc::clone(&api.host.actions.artifacts);
    let body = written(move |out| pipewright_sandbox::files::zip_tree(&tree, artifacts.blobs(), out));
    Ok(stream(body, "application/zip"))
}

fn stream(body: impl Stream<Item = io::Result<Bytes>> + Send + 'static, content_type: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from_stream(body));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// What a blocking writer writes, as a stream with little in memory; one that fails breaks the stream off.
fn written(
    write: impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + 'static,
) -> impl Stream<Item = io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    tokio::task::spawn_blocking(move || {
        let mut out = io::BufWriter::with_capacity(CHUNK_BYTES, Sending(sender.clone()));
        if let Err(error) = write(&mut out).and_then(|()| out.flush()) {
            // The client may be what has gone.
            let _ = sender.blocking_send(Err(error));
        }
    });
    futures::stream::unfold(
        receiver,
        |mut receiver| async move { receiver.recv().await.map(|chunk| (chunk, receiver)) },
    )
}

struct Sending(mpsc::Sender<io::Result<Bytes>>);

impl Write for Sending {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes)));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into()).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
