//! Everything that a host keeps, as lines of JSON: written beside a running server, read into an empty data directory.
//!
//! Owns the order of the lines and what is left out. The form of the lines is `lines.rs`; `docs/export.md` describes both.
//!
//! Nothing is paused. Each aggregate is exported as it is at one sequence, which is the one at its end: parts are read
//! first, then again those that changed meanwhile. Account and pipelines are of different times, in the order in which
//! they may be after a crash too: the account comes first, so a pipeline that was deleted meanwhile leaves a name without
//! a pipeline, and one that was made meanwhile, whose name is not in the export, is left out. Index rows derive from
//! records: those of steps after the exported sequence are left out, and those that tell of the state are made from the
//! exported state. A pipeline that the store cannot read whole is left out, and so is a file that does not have its digest;
//! both are named at the end.

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
use pipewright_artifacts::files::Blobs;
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;

use crate::driver::{DriverError, SECRETS, record};
use crate::retention::Keeper;
use lines::{
    AggregateLine, FileKind, FileLine, HeadLine, Line, LogLine, Name, PartLine, RecordLine, TakenLine, UnreadLine,
};
use pipewright_artifacts::{ArtifactError, Artifacts, Damaged};
use pipewright_base::Digest;
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
/// An account's secrets stay where they are: its access keys, its stored secrets, whose key is not exported either, and what signs the tokens of its pages. The server makes new
/// ones where there are none.
const KEYS: &[u8] = b"key/";
const PAGE_KEY: &[u8] = b"page-key";
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
        let checked = blocking(move || Ok(artifacts.check())).await.map_err(ExportError::Files)??;
        let mut damaged: BTreeMap<Damaged, String> = BTreeMap::new();
        for damage in checked.damage {
            damaged.entry(damage.of).or_insert(damage.what);
        }
        let manifests = self.artifacts.manifests();
        blobs(manifests, Line::Manifest, |digest| damaged.contains_key(&Damaged::Manifest(*digest)), to).await?;
        blobs(self.artifacts.blobs(), Line::Blob, |digest| damaged.contains_key(&Damaged::Blob(*digest)), to).await?;
        unread.extend(damaged.into_iter().map(|(of, reason)| match of {
            Damaged::Manifest(digest) => UnreadLine::file(FileKind::Manifest, digest.to_string(), reason),
            Damaged::Blob(digest) => UnreadLine::file(FileKind::Blob, digest.to_string(), reason),
        }));
        let components = Arc::clone(&self.components);
        let damaged = blocking(move || {
            let verify = |digest: Digest| Some((digest, components.verify(&digest).err()?.to_string()));
            Ok(components.digests()?.into_iter().filter_map(verify).collect::<BTreeMap<_, _>>())
        });
        let damaged = damaged.await.map_err(ExportError::Files)?;
        blobs(&self.components, Line::Component, |digest| damaged.contains_key(digest), to).await?;
        let line = |(digest, reason): (Digest, _)| UnreadLine::file(FileKind::Component, digest.to_string(), reason);
        unread.extend(damaged.into_iter().map(line));
        Ok(())
    }

    async fn logs(&self, unread: &mut Vec<UnreadLine>, to: &mut Writer) -> Result<(), ExportError> {
        for (execution, folder) in names_in(&self.logs).await? {
            for (name, path) in names_in(&folder).await? {
                let line = |size| LogLine { execution: execution.clone(), file: name.clone(), size };
                let why = match tokio::fs::File::open(&path).await {
                    Ok(opened) if line(0).is_named_well() => {
                        file(opened, &path.display().to_string(), |size| Line::Log(line(size)), to).await?;
                        continue;
                    }
                    Ok(_) => "it does not have the name of a log".to_owned(),
                    Err(error) => error.to_string(),
                };
                unread.push(UnreadLine::file(FileKind::Log, format!("{execution}/{name}"), why));
            }
        }
        Ok(())
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> std::io::Result<T> + Send + 'static) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| Err(error.into()))
}

/// All of some blobs but those that are damaged, which were found before.
async fn blobs(
    blobs: &Arc<dyn Blobs>,
    kind: fn(FileLine) -> Line,
    is_damaged: impl Fn(&Digest) -> bool,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let of = Arc::clone(blobs);
    let digests = blocking(move || of.digests()).await.map_err(ExportError::Files)?;
    for digest in digests.into_iter().filter(|digest| !is_damaged(digest)) {
        let (of, what) = (Arc::clone(blobs), format!("blob {digest}"));
        let opened = blocking(move || of.open(&digest)).await;
        let opened = opened.map_err(|source| ExportError::File { what: what.clone(), source })?;
        let line = |size| kind(FileLine { sha256: digest.to_string(), size });
        file(opened.into(), &what, line, to).await?;
    }
    Ok(())
}

/// A file of the size that it has now: a log may grow meanwhile.
async fn file(
    mut file: tokio::fs::File,
    what: &str,
    line: impl FnOnce(u64) -> Line,
    to: &mut Writer,
) -> Result<(), ExportError> {
    let at = |source| ExportError::File { what: what.to_owned(), source };
    let size = file.metadata().await.map_err(at)?.len();
    to.line(&line(size)).await?;
    let mut left = size;
    let mut buffer = vec![0; CHUNK_BYTES];
    while left > 0 {
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        file.read_exact(&mut buffer[..wanted]).await.map_err(at)?;
        to.line(&Line::Chunk(lines::to_chunk(&buffer[..wanted]))).await?;
        left -= wanted as u64;
    }
    Ok(())
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

fn is_secret(key: &PartKey) -> bool {
    let name = live_name(key);
    name.starts_with(KEYS) || name.starts_with(SECRETS.as_bytes()) || name == PAGE_KEY
}

impl Writer {
    async fn part(&mut self, key: &PartKey, value: Option<&Bytes>) -> Result<(), ExportError> {
        let value = value.map(|value| lines::Content::of(value));
        self.line(&Line::Part(PartLine { name: Name::of(key), value })).await
    }
}
