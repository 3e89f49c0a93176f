//! The artifacts of an execution: which there are, and what is in them.
//!
//! Must not know how artifacts are kept (`artifacts`).

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::Arc;

use pipewright_pipeline::machine::{ActionExecutionId, Execution};
use pipewright_sandbox::files::{Digest, Entry, Node, Tree};
use serde::Serialize;

use super::{Context, Service, ServiceError};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    pub artifacts: Vec<Artifact>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Artifact {
    pub name: String,
    pub digest: String,
    pub bytes: u64,
    pub files: usize,
    pub action_execution_id: String,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Files {
    pub files: Vec<FileRow>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileRow {
    pub path: String,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

/// Which artifact: of a pipeline's execution, by their names.
#[derive(Clone, Debug)]
pub struct Named {
    pub pipeline: String,
    pub execution: String,
    pub artifact: String,
}

/// Name to who made it and its digest. What a retry made anew replaces what was there.
fn made(execution: &Execution) -> BTreeMap<&str, (ActionExecutionId, &str)> {
    let runs = execution.actions.values();
    let made = runs.flat_map(|run| run.artifacts.iter().map(|(name, digest)| (&**name, (run.id, &**digest))));
    made.collect()
}

async fn tree(service: &Service, digest: &str) -> Result<Arc<Tree>, ServiceError> {
    let (artifacts, digest) = (Arc::clone(&service.host.actions.artifacts), digest.to_owned());
    let read = tokio::task::spawn_blocking(move || artifacts.tree(&digest)).await;
    read.map_err(ServiceError::host)?.map_err(ServiceError::host)
}

pub async fn list(
    service: &Service,
    context: &Context,
    pipeline: &str,
    execution: &str,
) -> Result<Listed, ServiceError> {
    let (_, execution) = service.execution(context, pipeline, execution).await?;
    let mut artifacts = Vec::new();
    for (name, (action, digest)) in made(&execution) {
        let tree = tree(service, digest).await?;
        artifacts.push(Artifact {
            name: name.to_owned(),
            digest: digest.to_owned(),
            bytes: tree.bytes(),
            files: tree.entries().iter().filter(|entry| matches!(entry.node, Node::File { .. })).count(),
            action_execution_id: action.to_string(),
        });
    }
    Ok(Listed { artifacts })
}

/// All of an artifact.
pub async fn get(service: &Service, context: &Context, named: &Named) -> Result<Arc<Tree>, ServiceError> {
    let (_, execution) = service.execution(context, &named.pipeline, &named.execution).await?;
    let digest = made(&execution).get(&*named.artifact).map(|(_, digest)| (*digest).to_owned());
    let missing = || ServiceError::not_found(format!("The execution has made no artifact '{}'", named.artifact));
    tree(service, &digest.ok_or_else(missing)?).await
}

pub async fn files(service: &Service, context: &Context, named: &Named) -> Result<Files, ServiceError> {
    let tree = get(service, context, named).await?;
    Ok(Files { files: tree.entries().iter().map(row).collect() })
}

fn row(entry: &Entry) -> FileRow {
    let row =
        |kind| FileRow { path: entry.path.clone(), kind, size: None, digest: None, executable: None, target: None };
    match &entry.node {
        Node::File { digest, size, executable } => FileRow {
            size: Some(*size),
            digest: Some(digest.to_string()),
            executable: Some(*executable),
            ..row("file")
        },
        Node::Link { target } => FileRow { target: Some(target.clone()), ..row("link") },
        Node::Directory => row("directory"),
    }
}

/// The digest and the size of one file.
pub async fn file(
    service: &Service,
    context: &Context,
    named: &Named,
    path: &str,
) -> Result<(Digest, u64), ServiceError> {
    let tree = get(service, context, named).await?;
    match tree.entries().iter().find(|entry| entry.path == path).map(|entry| &entry.node) {
        Some(Node::File { digest, size, .. }) => Ok((*digest, *size)),
        _ => Err(ServiceError::not_found(format!("The artifact has no file '{path}'"))),
    }
}

/// Writes out what a file holds; blocks meanwhile.
pub fn write_file(service: &Service, digest: Digest) -> impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + use<> {
    let artifacts = Arc::clone(&service.host.actions.artifacts);
    move |out| io::copy(&mut artifacts.blobs().open(&digest)?, out).map(drop)
}

/// Writes out an artifact as a zip file; blocks meanwhile.
pub fn write_zip(service: &Service, tree: Arc<Tree>) -> impl FnOnce(&mut dyn Write) -> io::Result<()> + Send + use<> {
    let artifacts = Arc::clone(&service.host.actions.artifacts);
    move |out| pipewright_sandbox::files::zip_tree(&tree, artifacts.blobs(), out)
}
