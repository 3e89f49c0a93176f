//! The artifacts of an execution: a listing, as a zip file, and file by file.
//!
//! Must not know how artifacts are kept (`artifacts`).

use std::collections::BTreeMap;
use std::io;
use std::mem::size_of;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{Response, header};
use pipewright_pipeline::machine::{ActionExecutionId, Execution};
use pipewright_sandbox::files::{Entry, Node, Tree, ZipOfTree};
use serde::Serialize;

use super::super::Call;
use super::super::error::ApiError;
use super::super::shares::Taken;
use super::paced::{self, OfFile, PIECE_BYTES, Pieces};

/// What an answer holds of each entry of an artifact until it is read: the entry itself, and its line in the archive's
/// directory, which comes last.
const ENTRY_BYTES: usize = size_of::<Entry>() + 512;

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

/// Reads a manifest, with its turn: it may be large, and is held whole.
async fn tree(call: &Call, digest: &str) -> Result<Arc<Tree>, ApiError> {
    let _turn = call.api.shares.making(call.account).await?;
    let actions = &call.api.host.actions;
    let (artifacts, digest) = (Arc::clone(&actions.artifacts), digest.to_owned());
    let read = actions.work_runtime.blocking(move || artifacts.tree(&digest)).await;
    read.map_err(|error| ApiError::internal(&error))
}

pub async fn list(call: Call, Path((pipeline, execution)): Path<(String, String)>) -> Result<Response<Body>, ApiError> {
    let (_, execution) = super::execution(&call, &pipeline, &execution).await?;
    let mut artifacts = Vec::new();
    for (name, (action, digest)) in made(&execution) {
        let tree = tree(&call, digest).await?;
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

/// An artifact that is being answered with, counted against what the account's answers may hold.
struct Held {
    tree: Arc<Tree>,
    _memory: Taken,
}

/// The artifact that a path names.
async fn find(call: &Call, (pipeline, execution, artifact): (&str, &str, &str)) -> Result<Held, ApiError> {
    let (_, execution) = super::execution(call, pipeline, execution).await?;
    let digest = made(&execution).get(artifact).map(|(_, digest)| (*digest).to_owned());
    let digest =
        digest.ok_or_else(|| ApiError::not_found(format!("The execution has made no artifact '{artifact}'")))?;
    let tree = tree(call, &digest).await?;
    let memory = call.api.shares.memory(call.account, tree.entries().len() * ENTRY_BYTES)?;
    Ok(Held { tree, _memory: memory })
}

pub async fn files(
    call: Call,
    Path((pipeline, execution, artifact)): Path<(String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let held = find(&call, (&pipeline, &execution, &artifact)).await?;
    let listing = Listing { held, next: 0, has_ended: false };
    Ok(paced::response(paced::body(&call.api.host.actions.work_runtime, listing), "application/json"))
}

/// `{"files": […]}`, some rows at a time.
struct Listing {
    held: Held,
    next: usize,
    has_ended: bool,
}

impl Pieces for Listing {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        if self.has_ended {
            return Ok(None);
        }
        let mut piece = if self.next == 0 { b"{\"files\":[".to_vec() } else { Vec::new() };
        while piece.len() < PIECE_BYTES {
            let Some(entry) = self.held.tree.entries().get(self.next) else {
                piece.extend_from_slice(b"]}");
                self.has_ended = true;
                break;
            };
            if self.next > 0 {
                piece.push(b',');
            }
            serde_json::to_writer(&mut piece, &FileRow::of(entry))?;
            self.next += 1;
        }
        Ok(Some(piece.into()))
    }
}

impl<'a> FileRow<'a> {
    fn of(entry: &'a Entry) -> Self {
        let row =
            Self { path: &entry.path, kind: "directory", size: None, digest: None, executable: None, target: None };
        match &entry.node {
            Node::File { digest, size, executable } => Self {
                kind: "file",
                size: Some(*size),
                digest: Some(digest.to_string()),
                executable: Some(*executable),
                ..row
            },
            Node::Link { target } => Self { kind: "link", target: Some(target), ..row },
            Node::Directory => row,
        }
    }
}

pub async fn file(
    call: Call,
    Path((pipeline, execution, artifact, path)): Path<(String, String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let held = find(&call, (&pipeline, &execution, &artifact)).await?;
    let entry = held.tree.entries().iter().find(|entry| entry.path == path);
    let Some(Node::File { digest, size, .. }) = entry.map(|entry| &entry.node) else {
        return Err(ApiError::not_found(format!("The artifact has no file '{path}'")));
    };
    let (artifacts, digest, size) = (Arc::clone(&call.api.host.actions.artifacts), *digest, *size);
    let work = &call.api.host.actions.work_runtime;
    let file = work.blocking(move || artifacts.blobs().open(&digest)).await;
    let file = file.map_err(|error| ApiError::internal(&error))?;
    let mut response =
        paced::response(paced::body(work, OfFile { file, at: 0, left: size }), "application/octet-stream");
    response.headers_mut().insert(header::CONTENT_LENGTH, size.into());
    Ok(response)
}

pub async fn zip(
    call: Call,
    Path((pipeline, execution, artifact)): Path<(String, String, String)>,
) -> Result<Response<Body>, ApiError> {
    let held = find(&call, (&pipeline, &execution, &artifact)).await?;
    let actions = &call.api.host.actions;
    let zip = ZipOfTree::new(Arc::clone(&held.tree), actions.artifacts.blobs().clone());
    let body = paced::body(&actions.work_runtime, Zip { zip, _held: held });
    Ok(paced::response(body, "application/zip"))
}

struct Zip {
    zip: ZipOfTree,
    _held: Held,
}

impl Pieces for Zip {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        self.zip.next(PIECE_BYTES).map(|piece| piece.map(Bytes::from))
    }
}
