//! How the driver writes a pipeline down: parts and archived executions as JSON, under keys of the store. What history says is
//! `entry`.
//!
//! Owns the forms and the keys. Must not know when something is written.

use std::sync::Arc;

use bytes::Bytes;
use pipewright_base::Digest;
use pipewright_base::hex;
use pipewright_pipeline::declaration::PipelineDeclaration;
use pipewright_pipeline::machine::{self, Change, Execution, ExecutionId, Part, State, Timestamp, stored};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{DriverError, TOKEN_MILLISECONDS_MAX};
use pipewright_store::{COMMIT_BYTES_MAX, Loaded, PartKey, VALUE_BYTES_MAX};

// What the core bounds fits what a store takes.
const _: () = assert!(machine::VALUE_BYTES_MAX <= VALUE_BYTES_MAX && machine::COMMIT_BYTES_MAX <= COMMIT_BYTES_MAX);

const EXECUTION: &str = "execution/";
/// Where the archived parts begin that hold pinned grants.
pub(crate) const GRANTS: &str = "grants/";

/// The parts that a step changed, and the declarations that it made, each kept under its version.
pub(super) fn puts(changes: &[Change]) -> Result<Vec<(PartKey, Option<Bytes>)>, DriverError> {
    let mut puts = changes.iter().map(put).collect::<Result<Vec<_>, _>>()?;
    for change in changes {
        if let Change::Declaration(declaration) = change {
            puts.push((versioned(declaration.version.unwrap_or_default()), Some(json(declaration)?)));
        }
    }
    Ok(puts)
}

fn put(change: &Change) -> Result<(PartKey, Option<Bytes>), DriverError> {
    Ok(match change {
        Change::Delete(part) => (live(*part), None),
        Change::Archive(execution) => (archived(execution.id), Some(written(change)?)),
        kept => {
            let part = kept.part().expect("only an archived execution is no part");
            (live(part), Some(written(kept)?))
        }
    })
}

fn live(part: Part) -> PartKey {
    PartKey::Live(part.to_string().into())
}

pub(crate) fn archived(execution: ExecutionId) -> PartKey {
    PartKey::Archived(format!("{EXECUTION}{execution}").into())
}

/// Whether that is the name of an archived part that is an execution.
pub(crate) fn is_archived_execution(name: &[u8]) -> bool {
    name.starts_with(EXECUTION.as_bytes())
}

/// The key of the current declaration.
pub(super) fn declaration() -> PartKey {
    live(Part::Declaration)
}

pub(super) fn declaration_of(bytes: &[u8]) -> Result<Arc<PipelineDeclaration>, DriverError> {
    match part("a declaration", bytes)? {
        Change::Declaration(declaration) => Ok(declaration),
        _ => Err(DriverError::Damaged("the store holds something else in place of a declaration".to_owned())),
    }
}

/// The declaration of one version, for as long as the pipeline is there.
pub(crate) fn versioned(version: u32) -> PartKey {
    PartKey::Archived(format!("declaration/{version}").into())
}

/// Something that is kept with a pipeline and is no part of its state, such as its tags.
pub(super) fn note(name: &str) -> PartKey {
    PartKey::Archived(format!("note/{name}").into())
}

/// Grants that executions pinned, by the digest of their bytes.
pub(crate) fn grants(digest: &str) -> PartKey {
    PartKey::Archived([GRANTS, digest].concat().into())
}

/// The digest of pinned grants, if that is the name of an archived part that holds some.
pub(crate) fn grants_digest(name: &[u8]) -> Option<&str> {
    name.strip_prefix(GRANTS.as_bytes()).and_then(|digest| std::str::from_utf8(digest).ok())
}

/// The execution that a client's request token started.
#[derive(Serialize, Deserialize)]
pub(super) struct Token {
    pub execution: ExecutionId,
    pub at: Timestamp,
}

pub(super) fn token(token: &str) -> PartKey {
    token_of(Digest::of(token.as_bytes()).as_bytes())
}

/// The same by the SHA-256 of the token.
pub(crate) fn token_of(digest: &[u8]) -> PartKey {
    PartKey::Archived(format!("token/{}", hex::encode(digest)).into())
}

/// The execution that a token started, as long as the token is good; none while another start is meant by it.
pub(super) fn started(bytes: &[u8], now_ms: u64, meant_within: u64) -> Result<Option<ExecutionId>, DriverError> {
    let Token { execution, at } = read("a request token", bytes)?;
    // A clock may have been set back meanwhile.
    let is_meant = (at.0..at.plus(meant_within).0).contains(&now_ms);
    Ok((!is_meant && now_ms < at.plus(TOKEN_MILLISECONDS_MAX).0).then_some(execution))
}

/// When the start was made that a token stands for.
pub(crate) fn token_at(bytes: &[u8]) -> Result<Timestamp, DriverError> {
    read::<Token>("a request token", bytes).map(|token| token.at)
}

/// The state as the store has it.
pub(crate) fn state(loaded: &Loaded) -> Result<State, DriverError> {
    let mut state = State::default();
    for (_, bytes) in &loaded.parts {
        state.apply([part("a part", bytes)?]).map_err(|error| DriverError::Damaged(error.to_string()))?;
    }
    Ok(state)
}

pub(super) fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T, DriverError> {
    serde_json::from_slice(bytes).map_err(|error| damaged(what, &error))
}

pub(crate) fn execution(bytes: &[u8]) -> Result<Execution, DriverError> {
    match part("an archived execution", bytes)? {
        Change::Archive(execution) => Ok(Arc::unwrap_or_clone(execution)),
        _ => Err(DriverError::Damaged("the store holds something else in place of an archived execution".to_owned())),
    }
}

fn part(what: &str, bytes: &[u8]) -> Result<Change, DriverError> {
    stored::read(bytes).map_err(|error| damaged(what, &error))
}

fn written(change: &Change) -> Result<Bytes, DriverError> {
    stored::write(change).map(Bytes::from).map_err(|error| unwritten(&error))
}

pub(super) fn json(value: &impl Serialize) -> Result<Bytes, DriverError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| unwritten(&error))
}

fn unwritten(error: &serde_json::Error) -> DriverError {
    DriverError::Damaged(format!("cannot be written: {error}"))
}

pub(super) fn damaged(what: &str, error: &dyn std::fmt::Display) -> DriverError {
    DriverError::Damaged(format!("the store holds {what} that this version cannot read: {error}"))
}
