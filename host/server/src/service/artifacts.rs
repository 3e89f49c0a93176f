//! The artifacts of an execution: which there are, and what is in them.
//!
//! Must not know how artifacts are kept (`artifacts`).

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use pipewright_artifacts::files::{Entry, Node, Tree, ZipOfTree};
use pipewright_pipeline::machine::{ActionExecutionId, Execution};
use serde::Serialize;

use super::{Context, Service, ServiceError};

#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct ArtifactSummary {
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

/// What is told of one entry of an artifact.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FileRow<'a> {
    pub path: &'a str,
    pub kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<&'a str>,
}

impl<'a> FileRow<'a> {
    pub fn of(entry: &'a Entry) -> Self {
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

/// Which artifact: of a pipeline's execution, by their names.
#[derive(Clone, Debug)]
pub struct Named {
    pub pipeline: String,
    pub execution: String,
    pub artifact: String,
}

/// Name to who made it and its digest. What a retry made anew replaces what was there.
fn made(execution: &Execution) -> BTreeMap<&str, (ActionExecutionId, &str)> {
    let runs = execution.runs.values();
    let made = runs.flat_map(|run| run.artifacts.iter().map(|(name, digest)| (&**name, (run.id, &**digest))));
    made.collect()
}

async fn tree(service: &Service, digest: &str) -> Result<Arc<Tree>, ServiceError> {
    let (artifacts, digest) = (Arc::clone(&service.host.actions.artifacts), digest.to_owned());
    service.work().blocking(move || artifacts.tree(&digest)).await.map_err(ServiceError::host)
}

pub async fn list(
    service: &Service,
    context: &Context,
    pipeline: &str,
    execution: &str,
) -> Result<ArtifactSummary, ServiceError> {
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
    Ok(ArtifactSummary { artifacts })
}

/// All of an artifact.
pub async fn get(service: &Service, context: &Context, named: &Named) -> Result<Arc<Tree>, ServiceError> {
    let (_, execution) = service.execution(context, &named.pipeline, &named.execution).await?;
    let digest = made(&execution).get(&*named.artifact).map(|(_, digest)| (*digest).to_owned());
    let missing = || ServiceError::not_found(format!("The execution has made no artifact '{}'", named.artifact));
    tree(service, &digest.ok_or_else(missing)?).await
}

/// One file of an artifact, and its size.
pub async fn open(service: &Service, tree: &Tree, path: &str) -> Result<(File, u64), ServiceError> {
    let entry = tree.entries().iter().find(|entry| entry.path == path);
    let Some(Node::File { digest, size, .. }) = entry.map(|entry| &entry.node) else {
        return Err(ServiceError::not_found(format!("The artifact has no file '{path}'")));
    };
    let (artifacts, digest) = (Arc::clone(&service.host.actions.artifacts), *digest);
    let file = service.work().blocking(move || artifacts.blobs().open(&digest)).await;
    Ok((file.map_err(ServiceError::host)?, *size))
}

/// An artifact as a zip file, piece by piece.
pub fn zip(service: &Service, tree: &Arc<Tree>) -> Result<ZipOfTree, ServiceError> {
    let zip = ZipOfTree::new(Arc::clone(tree), service.host.actions.artifacts.blobs().clone());
    zip.map_err(|error| ServiceError::validation(format!("The artifact cannot be packed: {error}")))
}
