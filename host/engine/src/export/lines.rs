//! The lines of an export, version 1 (`docs/export.md`), as data.
//!
//! Owns their JSON form. Must not know in which order they come, nor what the bytes in them mean.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use pipewright_base::hex;
use serde::{Deserialize, Serialize};

use pipewright_store::{Aggregate, IndexKey, PartDigest, PartKey, Snapshot};

pub const FORMAT: &str = "pipewright-export";
pub const VERSION: u32 = 1;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    pub format: String,
    pub version: u32,
    /// When the export began, in milliseconds since 1970.
    pub created: u64,
    /// The version of the program.
    pub program: String,
}

/// Every other line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Line {
    /// What follows is of this one.
    Aggregate(AggregateLine),
    Part(PartLine),
    Taken(TakenLine),
    Head(HeadLine),
    Record(RecordLine),
    Row(RowLine),
    Manifest(FileLine),
    Blob(FileLine),
    Component(FileLine),
    Log(LogLine),
    /// The next bytes of the latest file, as base64.
    Chunk(String),
    /// At the end, for each pipeline and each file that is not in the export though the host has it; after some chunks of a file that
    /// could not be read to its end, in place of the rest.
    Unread(UnreadLine),
    End(EndLine),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AggregateLine {
    pub account: u64,
    pub uid: String,
}

/// Bytes: as `text` where they are UTF-8, else as `base64`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Content {
    Text(String),
    Base64(String),
}

/// A part's name.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Name {
    Live(Content),
    Archived(Content),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PartLine {
    pub name: Name,
    /// None: it is gone, though an earlier line put it.
    pub value: Option<Content>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakenLine {
    pub sequence: u64,
    pub name: Name,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HeadLine {
    pub sequence: u64,
    pub digest: String,
    pub trimmed: u64,
    pub trimmed_digest: String,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordLine {
    pub sequence: u64,
    pub previous: String,
    pub digest: String,
    pub changes: Vec<ChangeLine>,
    pub events: Vec<Content>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChangeLine {
    pub name: Name,
    /// None: the part was deleted.
    pub digest: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RowLine {
    pub account: u64,
    pub kind: u8,
    pub name: Content,
    pub value: Content,
}

/// A file that is named by the digest of its bytes, which follow in chunks.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileLine {
    pub sha256: String,
    pub size: u64,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogLine {
    pub execution: String,
    pub file: String,
    pub size: u64,
}

/// What cannot be read whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum UnreadLine {
    Pipeline(UnreadPipeline),
    File(UnreadFile),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadPipeline {
    pub account: u64,
    pub uid: String,
    /// None of one that was deleted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnreadFile {
    pub kind: FileKind,
    /// Its digest; of a log, the execution and the name.
    pub file: String,
    pub reason: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum FileKind {
    Manifest,
    Blob,
    Component,
    Log,
}

/// The last line.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndLine {
    /// The number of lines before this one.
    pub lines: u64,
    /// Of all of them, with the line feeds.
    pub sha256: String,
}

/// A line that is JSON but does not say what it must.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not as an export has it")]
pub struct Malformed(pub &'static str);

impl Content {
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64.encode(bytes)),
        }
    }

    pub fn bytes(self) -> Result<Bytes, Malformed> {
        match self {
            Self::Text(text) => Ok(text.into()),
            Self::Base64(text) => chunk(&text),
        }
    }
}

pub fn chunk(text: &str) -> Result<Bytes, Malformed> {
    BASE64.decode(text).map(Bytes::from).map_err(|_| Malformed("base64"))
}

pub fn to_chunk(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

impl Name {
    pub fn of(key: &PartKey) -> Self {
        match key {
            PartKey::Live(name) => Self::Live(Content::of(name)),
            PartKey::Archived(name) => Self::Archived(Content::of(name)),
        }
    }

    pub fn key(self) -> Result<PartKey, Malformed> {
        Ok(match self {
            Self::Live(name) => PartKey::Live(name.bytes()?),
            Self::Archived(name) => PartKey::Archived(name.bytes()?),
        })
    }
}

impl AggregateLine {
    pub fn of(aggregate: Aggregate) -> Self {
        Self { account: aggregate.account, uid: hex::encode(aggregate.uid) }
    }

    pub fn aggregate(&self) -> Result<Aggregate, Malformed> {
        let uid = hex::decode_array(&self.uid).ok_or(Malformed("a uid"))?;
        Ok(Aggregate { account: self.account, uid })
    }
}

impl UnreadLine {
    pub fn pipeline(aggregate: Aggregate, name: Option<String>, reason: String) -> Self {
        let (account, uid) = (aggregate.account, hex::encode(aggregate.uid));
        Self::Pipeline(UnreadPipeline { account, uid, name, reason })
    }

    pub fn file(kind: FileKind, file: String, reason: String) -> Self {
        Self::File(UnreadFile { kind, file, reason })
    }
}

impl std::fmt::Display for UnreadLine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Pipeline(UnreadPipeline { account, name, reason, .. }) => {
                let name = name.as_deref().unwrap_or("a deleted pipeline");
                write!(f, "{name} of account {account:012} is not in the export: {reason}")
            }
            Self::File(UnreadFile { kind, file, reason }) => {
                let kind = match kind {
                    FileKind::Manifest => "artifact",
                    FileKind::Blob => "file",
                    FileKind::Component => "plugin component",
                    FileKind::Log => "log",
                };
                write!(f, "the {kind} {file} is not in the export: {reason}")
            }
        }
    }
}

impl HeadLine {
    pub fn of(snapshot: &Snapshot) -> Self {
        Self {
            sequence: snapshot.sequence,
            digest: format!("{:?}", snapshot.digest),
            trimmed: snapshot.trimmed,
            trimmed_digest: format!("{:?}", snapshot.trimmed_digest),
        }
    }

    pub fn snapshot(&self) -> Result<Snapshot, Malformed> {
        let is_ordered = self.trimmed <= self.sequence;
        let (digest, trimmed_digest) = (digest(&self.digest)?, digest(&self.trimmed_digest)?);
        let head =
            Snapshot { sequence: self.sequence, digest, trimmed: self.trimmed, trimmed_digest, ..Snapshot::default() };
        is_ordered.then_some(head).ok_or(Malformed("the order of sequences"))
    }
}

impl RecordLine {
    pub fn of(record: &pipewright_store::Record) -> Self {
        let change = |(key, digest): &(PartKey, Option<PartDigest>)| ChangeLine {
            name: Name::of(key),
            digest: digest.map(hex::encode),
        };
        Self {
            sequence: record.sequence,
            previous: format!("{:?}", record.previous),
            digest: format!("{:?}", record.digest),
            changes: record.changes.iter().map(change).collect(),
            events: record.events.iter().map(|event| Content::of(event)).collect(),
        }
    }

    pub fn record(self) -> Result<pipewright_store::Record, Malformed> {
        let change = |change: ChangeLine| {
            let digest = change.digest.map(|text| hex::decode_array(&text).ok_or(Malformed("a digest"))).transpose()?;
            Ok((change.name.key()?, digest))
        };
        Ok(pipewright_store::Record {
            sequence: self.sequence,
            previous: digest(&self.previous)?,
            digest: digest(&self.digest)?,
            changes: self.changes.into_iter().map(change).collect::<Result<_, _>>()?,
            events: self.events.into_iter().map(Content::bytes).collect::<Result<_, _>>()?,
        })
    }
}

impl LogLine {
    /// Whether both names are those of a log: an import puts it at a path that is made of them.
    pub fn is_named_well(&self) -> bool {
        let is_name = |name: &str| {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'));
            is_plain && !name.is_empty() && !name.starts_with('.')
        };
        is_name(&self.execution) && is_name(&self.file)
    }
}

impl RowLine {
    pub fn of(account: u64, kind: u8, name: &[u8], value: &[u8]) -> Self {
        Self { account, kind, name: Content::of(name), value: Content::of(value) }
    }

    pub fn row(self) -> Result<(IndexKey, Bytes), Malformed> {
        Ok((IndexKey { kind: self.kind, name: self.name.bytes()? }, self.value.bytes()?))
    }
}

pub fn digest(text: &str) -> Result<pipewright_store::Digest, Malformed> {
    text.parse().map_err(|()| Malformed("a digest"))
}
