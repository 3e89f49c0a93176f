//! Everything that a host keeps, as lines of JSON: written beside a running server, read into an empty data directory.
//!
//! Owns the order of the lines and what is left out. The form of the lines is `lines.rs`; `docs/export.md` describes both.
//!
//! Nothing is paused. Each aggregate is exported as it is at one sequence, which is the one at its end: parts are read
//! first, then again those that changed meanwhile. Account and pipelines are of different times, in the order in which
//! they may be after a crash too: the account comes first, so a pipeline that was deleted meanwhile leaves a name without
//! a pipeline, and one that was made meanwhile, whose name is not in the export, is left out. Index rows derive from
//! records: those of steps after the exported sequence are left out, and those that tell of the state are made from the
//! exported state. A pipeline that the store cannot read whole is left out, and so is a file that cannot be read or does not have
//! its digest; both are named.

mod import;
pub mod lines;
mod rows;
#[cfg(test)]
mod tests;
mod write;

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::Stream;
use pipewright_artifacts::files::{BlobError, Blobs};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::driver::{DriverError, KEYS, PAGE_KEY, SECRETS, record};
use crate::retention::Keeper;
use lines::{
    AggregateLine, FileKind, FileLine, HeadLine, Line, LogLine, Name, PartLine, RecordLine, TakenLine, UnreadLine,
};
use pipewright_artifacts::{ArtifactError, Artifacts, Damaged};
use pipewright_base::{Digest, Hasher};
use pipewright_store::{Aggregate, Loaded, PartKey, READ_ROWS_MAX, Snapshot, Store, StoreError};
use rows::Pipelines;
use write::Writer;

pub use import::{ImportError, Imported, import};

/// Pieces that wait for a slow reader.
const PIECES_WAITING_MAX: usize = 4;
/// Bytes of a file in one line.
const CHUNK_BYTES: usize = 192 * 1024;
/// A pipeline that changes while it is exported is caught up with until fewer steps than these are left.
const STEPS_BEHIND_MAX: usize = 32;
/// The accounts' parts that name pipelines.
const NAMES: &[u8] = b"pipeline/";

/// Why an export ended before its last line.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Driver(#[from] DriverError),
    #[error("the files of artifacts and plugins: {0}")]
    Files(std::io::Error),
    #[error(transparent)]
    Artifacts(#[from] ArtifactError),
    #[error("{what}: {source}")]
    File { what: String, source: std::io::Error },
    #[error("a line cannot be written: {0}")]
    Line(#[from] serde_json::Error),
    /// Nobody is told.
    #[error("nobody reads the export any more")]
    Abandoned,
}

/// What is exported.
#[derive(Clone)]
pub struct Exported {
    pub store: Arc<dyn Store>,
    pub artifacts: Arc<Artifacts>,
    /// The components of plugins that were ever loaded.
    pub components: Arc<dyn Blobs>,
    /// The folder of logs.
    pub logs: PathBuf,
    /// Collects nothing meanwhile.
    pub keeper: Arc<Keeper>,
}

/// What is known of an account while its pipelines are written.
struct Account {
    number: u64,
    /// The pipelines that it names, by their uids.
    names: HashMap<[u8; 16], String>,
    pipelines: Pipelines,
}

/// The whole export, in pieces. Its last line is missing where it ends with an error.
pub fn stream(exported: Exported) -> impl Stream<Item = Result<Bytes, ExportError>> + Send + 'static {
    let (pieces, waiting) = mpsc::channel(PIECES_WAITING_MAX);
    tokio::spawn(async move {
        let _collecting_nothing = exported.keeper.hold().await;
        let mut writer = Writer::new(pieces.clone());
        if let Err(error) = exported.write(&mut writer).await {
            // A reader that went away does not want to know.
            let _ = pieces.send(Err(error)).await;
        }
    });
    futures::stream::unfold(waiting, async |mut waiting| waiting.recv().await.map(|piece| (piece, waiting)))
}

impl Exported {
    async fn write(&self, to: &mut Writer) -> Result<(), ExportError> {
        to.header(self.keeper.now_ms()).await?;
        let mut after = None;
        let mut account: Option<Account> = None;
        let mut unread = Vec::new();
        loop {
            let aggregates = self.store.aggregates(after, READ_ROWS_MAX).await?;
            for aggregate in &aggregates {
                if account.as_ref().is_none_or(|account| account.number != aggregate.account) {
                    self.end_account(account.take(), to).await?;
                    account = Some(self.begin_account(aggregate.account, to).await?);
                }
                if let Some(account) = &mut account
                    && *aggregate != Aggregate::of_account(aggregate.account)
                {
                    self.pipeline(*aggregate, account, &mut unread, to).await?;
                }
            }
            match aggregates.last() {
                Some(last) => after = Some(*last),
                None => break,
            }
        }
        self.end_account(account, to).await?;
        self.files(&mut unread, to).await?;
        self.logs(&mut unread, to).await?;
        for line in unread {
            tracing::warn!("{line}");
            to.line(&Line::Unread(line)).await?;
        }
        to.end().await
    }

    /// Writes the account's own aggregate, if it has one.
    async fn begin_account(&self, number: u64, to: &mut Writer) -> Result<Account, ExportError> {
        let aggregate = Aggregate::of_account(number);
        let mut account = Account { number, names: HashMap::new(), pipelines: Pipelines::new() };
        if self.store.load(aggregate).await?.sequence == 0 {
            return Ok(account);
        }
        to.line(&Line::Aggregate(AggregateLine::of(aggregate))).await?;
        let mut snapshot = self.unchanging(aggregate, to).await?;
        let sequence = snapshot.sequence;
        let secrets = snapshot.live.extract_if(.., |(key, _)| is_secret(key)).map(|(key, _)| (sequence, key));
        snapshot.taken.extend(secrets);
        let named = |(key, uid): &(PartKey, Bytes)| {
            let name = live_name(key).strip_prefix(NAMES)?;
            Some((uid[..].try_into().ok()?, String::from_utf8_lossy(name).into_owned()))
        };
        account.names = snapshot.live.iter().filter_map(named).collect();
        self.changing(aggregate, &snapshot, to).await?;
        Ok(account)
    }

    async fn end_account(&self, account: Option<Account>, to: &mut Writer) -> Result<(), ExportError> {
        match account {
            Some(account) => rows::of_account(&*self.store, account.number, &account.pipelines, to).await,
            None => Ok(()),
        }
    }

    async fn pipeline(
        &self,
        aggregate: Aggregate,
        account: &mut Account,
        unread: &mut Vec<UnreadLine>,
        to: &mut Writer,
    ) -> Result<(), ExportError> {
        let name = account.names.get(&aggregate.uid);
        let loaded = match self.read_all(aggregate).await {
            Err(error @ StoreError::Damaged { .. }) => {
                unread.push(UnreadLine::pipeline(aggregate, name.cloned(), error.to_string()));
                return Ok(());
            }
            loaded => loaded?,
        };
        // What this version cannot read is exported as it is.
        let is_alive = record::state(&loaded).map_or(true, |state| state.head.is_some());
        if is_alive && name.is_none() {
            return Ok(());
        }
        to.line(&Line::Aggregate(AggregateLine::of(aggregate))).await?;
        let snapshot = self.unchanging(aggregate, to).await?;
        self.changing(aggregate, &snapshot, to).await?;
        let exists = rows::of_pipeline(&*self.store, aggregate, name.map(String::as_str), &snapshot, to).await?;
        account.pipelines.insert(aggregate.uid, exists);
        Ok(())
    }

    /// Whether all of a pipeline can be read, before anything of it is written.
    async fn read_all(&self, aggregate: Aggregate) -> Result<Loaded, StoreError> {
        let loaded = self.store.load(aggregate).await?;
        let mut after = None;
        while let Some((name, _)) = self.store.archived(aggregate, after, READ_ROWS_MAX).await?.pop() {
            after = Some(name);
        }
        let mut from = 0;
        while let Some(record) = self.store.history(aggregate, from, READ_ROWS_MAX).await?.pop() {
            from = record.sequence + 1;
        }
        Ok(loaded)
    }

    /// The archived parts, and the rest as it is once they are written.
    async fn unchanging(&self, aggregate: Aggregate, to: &mut Writer) -> Result<Snapshot, ExportError> {
        let mut since = self.store.load(aggregate).await?.sequence;
        let mut after = None;
        loop {
            let parts = self.store.archived(aggregate, after.take(), READ_ROWS_MAX).await?;
            for (name, value) in &parts {
                to.part(&PartKey::Archived(name.clone()), Some(value)).await?;
            }
            match parts.into_iter().next_back() {
                Some((name, _)) => after = Some(name),
                None => break,
            }
        }
        loop {
            let records = self.store.history(aggregate, since + 1, READ_ROWS_MAX).await?;
            if records.len() < STEPS_BEHIND_MAX {
                return Ok(self.store.snapshot(aggregate, since).await?);
            }
            for (key, _) in records.iter().flat_map(|record| &record.changes) {
                if matches!(key, PartKey::Archived(_)) {
                    to.part(key, self.store.get(aggregate, key).await?.as_ref()).await?;
                }
            }
            since = records.last().map_or(since, |record| record.sequence);
        }
    }

    async fn changing(&self, aggregate: Aggregate, snapshot: &Snapshot, to: &mut Writer) -> Result<(), ExportError> {
        for (key, value) in &snapshot.archived {
            to.part(key, value.as_ref()).await?;
        }
        for (key, value) in &snapshot.live {
            to.part(key, Some(value)).await?;
        }
        for (sequence, key) in &snapshot.taken {
            to.line(&Line::Taken(TakenLine { sequence: *sequence, name: Name::of(key) })).await?;
        }
        to.line(&Line::Head(HeadLine::of(snapshot))).await?;
        let mut from = snapshot.trimmed + 1;
        while from <= snapshot.sequence {
            let records = self.store.history(aggregate, from, READ_ROWS_MAX).await?;
            let Some(last) = records.last() else { break };
            from = last.sequence + 1;
            for record in records.iter().filter(|record| record.sequence <= snapshot.sequence) {
                to.line(&Line::Record(RecordLine::of(record))).await?;
            }
        }
        Ok(())
    }

    /// After the records: what they name was there when they were written, and nothing is collected meanwhile.
    async fn files(&self, unread: &mut Vec<UnreadLine>, to: &mut Writer) -> Result<(), ExportError> {
        let artifacts = Arc::clone(&self.artifacts);
        let checked = blocking(move || Ok(artifacts.check_trees())).await.map_err(ExportError::Files)??;
        let mut damaged: BTreeMap<Damaged, String> = BTreeMap::new();
        for damage in checked.damage {
            damaged.entry(damage.of).or_insert(damage.what);
        }
        let is_whole = |digest: &Digest| !damaged.contains_key(&Damaged::Manifest(*digest));
        blobs(self.artifacts.manifests(), (Line::Manifest, FileKind::Manifest), is_whole, unread, to).await?;
        blobs(self.artifacts.blobs(), (Line::Blob, FileKind::Blob), |_| true, unread, to).await?;
        unread.extend(damaged.into_iter().map(|(of, reason)| match of {
            Damaged::Manifest(digest) => UnreadLine::file(FileKind::Manifest, digest.to_string(), reason),
            Damaged::Blob(digest) => UnreadLine::file(FileKind::Blob, digest.to_string(), reason),
        }));
        blobs(&self.components, (Line::Component, FileKind::Component), |_| true, unread, to).await
    }

    async fn logs(&self, unread: &mut Vec<UnreadLine>, to: &mut Writer) -> Result<(), ExportError> {
        for (execution, folder) in names_in(&self.logs).await? {
            let names = match names_in(&folder).await {
                Ok(names) => names,
                Err(error) => {
                    unread.push(UnreadLine::file(FileKind::Log, execution, error.to_string()));
                    continue;
                }
            };
            for (name, path) in names {
                let line = |size| LogLine { execution: execution.clone(), file: name.clone(), size };
                let named = format!("{execution}/{name}");
                if line(0).is_named_well() {
                    let left_out = |reason| UnreadLine::file(FileKind::Log, named.clone(), reason);
                    file(tokio::fs::File::open(&path).await, None, |size| Line::Log(line(size)), left_out, unread, to)
                        .await?;
                } else {
                    let reason = "it does not have the name of a log".to_owned();
                    unread.push(UnreadLine::file(FileKind::Log, named, reason));
                }
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()))
}

/// All of some blobs, but those that are known to be damaged.
async fn blobs(
    blobs: &Arc<dyn Blobs>,
    (line, kind): (fn(FileLine) -> Line, FileKind),
    is_whole: impl Fn(&Digest) -> bool,
    unread: &mut Vec<UnreadLine>,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let of = Arc::clone(blobs);
    let digests = blocking(move || of.digests()).await.map_err(ExportError::Files)?;
    for digest in digests.into_iter().filter(is_whole) {
        let of = Arc::clone(blobs);
        let opened = blocking(move || of.open(&digest)).await.map(tokio::fs::File::from);
        let line = |size| line(FileLine { sha256: digest.to_string(), size });
        let left_out = |reason| UnreadLine::file(kind, digest.to_string(), reason);
        file(opened, Some(digest), line, left_out, unread, to).await?;
    }
    Ok(())
}

/// Why a file is not in the export.
enum Broken {
    File(String),
    Export(ExportError),
}

impl From<std::io::Error> for Broken {
    fn from(error: std::io::Error) -> Self {
        Self::File(error.to_string())
    }
}

impl From<ExportError> for Broken {
    fn from(error: ExportError) -> Self {
        Self::Export(error)
    }
}

/// A file, which is read once. One that cannot be read, or does not have its digest, is left out and named: right where that
/// shows, if a part of it is written already.
async fn file(
    opened: std::io::Result<tokio::fs::File>,
    digest: Option<Digest>,
    line: impl Fn(u64) -> Line,
    left_out: impl Fn(String) -> UnreadLine,
    unread: &mut Vec<UnreadLine>,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let mut is_begun = false;
    match whole_file(opened, digest, line, &mut is_begun, to).await {
        Ok(()) => Ok(()),
        Err(Broken::Export(error)) => Err(error),
        Err(Broken::File(reason)) if is_begun => {
            let line = left_out(reason);
            tracing::warn!("{line}");
            to.line(&Line::Unread(line)).await
        }
        Err(Broken::File(reason)) => {
            unread.push(left_out(reason));
            Ok(())
        }
    }
}

/// A file of the size that it has now: a log may grow meanwhile. Its last bytes are written once it is known to be what it is
/// said to be, so that what is written whole is.
async fn whole_file(
    opened: std::io::Result<tokio::fs::File>,
    digest: Option<Digest>,
    line: impl Fn(u64) -> Line,
    is_begun: &mut bool,
    to: &mut Writer,
) -> Result<(), Broken> {
    let mut file = opened?;
    let size = file.metadata().await?.len();
    let (mut left, mut hasher) = (size, Hasher::default());
    loop {
        let mut chunk = vec![0; CHUNK_BYTES.min(usize::try_from(left).unwrap_or(usize::MAX))];
        file.read_exact(&mut chunk).await?;
        left -= chunk.len() as u64;
        if let Some(expected) = digest {
            hasher.update(&chunk);
            if left == 0 {
                let found = hasher.clone().finish();
                if found != expected {
                    return Err(Broken::File(BlobError::Damaged { expected, found }.to_string()));
                }
            }
        }
        if !*is_begun {
            to.line(&line(size)).await?;
            *is_begun = true;
        }
        if !chunk.is_empty() {
            to.line(&Line::Chunk(lines::to_chunk(&chunk))).await?;
        }
        if left == 0 {
            return Ok(());
        }
    }
}

/// What is in a folder, in the order of the names; nothing in one that is not there.
async fn names_in(folder: &Path) -> Result<Vec<(String, PathBuf)>, ExportError> {
    let at = |source| ExportError::File { what: folder.display().to_string(), source };
    let mut entries = match tokio::fs::read_dir(folder).await {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(error)),
    };
    let mut names = Vec::new();
    while let Some(entry) = entries.next_entry().await.map_err(at)? {
        names.push((entry.file_name().to_string_lossy().into_owned(), entry.path()));
    }
    names.sort_unstable();
    Ok(names)
}

fn live_name(key: &PartKey) -> &[u8] {
    match key {
        PartKey::Live(name) => name,
        PartKey::Archived(_) => &[],
    }
}

/// An account's secrets stay where they are: its keys, its stored secrets, and what signs the tokens of its pages; what seals all of
/// them is not exported either. The server makes new keys where there are none.
fn is_secret(key: &PartKey) -> bool {
    let name = live_name(key);
    name.starts_with(KEYS.as_bytes()) || name.starts_with(SECRETS.as_bytes()) || name == PAGE_KEY.as_bytes()
}

impl Writer {
    async fn part(&mut self, key: &PartKey, value: Option<&Bytes>) -> Result<(), ExportError> {
        let value = value.map(|value| lines::Content::of(value));
        self.line(&Line::Part(PartLine { name: Name::of(key), value })).await
    }
}
