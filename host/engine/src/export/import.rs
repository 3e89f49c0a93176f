//! Reads an export into a data directory that holds nothing yet: all of it, or nothing.
//!
//! Everything is written beside, checked, made durable, and only then moved to its place; the store comes last, for
//! without it the rest is nobody's.

use std::fs::{self, File};
use std::io::{self, BufRead, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pipewright_artifacts::files::{BlobDir, Blobs, remove_tree};
use pipewright_base::{Digest, DigestError, Hasher};

use super::lines::{
    self, EndLine, FORMAT, FileKind, FileLine, Header, Line, LogLine, Malformed, UnreadFile, UnreadLine, VERSION,
};
use crate::driver::Entry;
use crate::driver::rows::Row as _;
use pipewright_artifacts::{ArtifactError, Artifacts, Damaged};
use pipewright_base::home::DataDirectory;
use pipewright_store::{
    Aggregate, OpenError, Record, Restore, RestoreError, SledStore, Store as _, StoreError, Verified,
};

/// A longer line is refused: stops a file without line feeds from filling memory. The largest commit fits.
const LINE_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Where everything is written first.
const ASIDE: &str = "importing";
/// A file there that is no blob yet.
const UNDER_WAY: &str = "under-way";

/// What was read and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Imported {
    pub lines: u64,
    pub store: Verified,
    pub artifacts: u64,
    /// What the export itself says that it lacks.
    pub unread: Vec<UnreadLine>,
    /// Which artifacts lack which files for that reason, each a sentence.
    pub lacking: Vec<String>,
}

/// Why nothing was imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{} is not empty; import into a directory that holds nothing yet", dir.display())]
    NotEmpty { dir: PathBuf },
    #[error("this is no export of Pipewright: its first line must be {{\"format\":\"{FORMAT}\",…}}")]
    Format,
    #[error(
        "the export has version {found}, this program reads version {VERSION}; use the program that wrote it, or a newer one"
    )]
    Version { found: u32 },
    #[error("line {line}: {problem}")]
    Line { line: u64, problem: String },
    #[error("the export ends after line {lines} without its last line; it was cut off")]
    Truncated { lines: u64 },
    #[error("the export was altered: its lines do not have the digest that its last line says")]
    Altered,
    #[error("what was imported does not verify: {0}")]
    Store(#[from] StoreError),
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error("the imported artifacts: {0}")]
    Artifacts(#[from] ArtifactError),
    #[error("the imported artifacts are damaged: {0}")]
    Damaged(String),
    #[error("what is imported cannot be written: {0}")]
    File(io::Error),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// Imports into `data`. Blocks, for as long as everything that is imported takes to be written and read again.
pub fn import(data: &DataDirectory, from: impl BufRead) -> Result<Imported, ImportError> {
    let aside = data.path().join(ASIDE);
    clear(data, &aside)?;
    let imported = import_aside(&aside, from).and_then(|imported| {
        settle(data, &aside)?;
        Ok(imported)
    });
    if imported.is_err() {
        // The error says what is wrong; what is left here is removed by the next attempt.
        let _ = remove_tree(&aside);
    }
    imported
}

/// The directory must be empty, but for what an import left that did not come to its end.
fn clear(data: &DataDirectory, aside: &Path) -> Result<(), ImportError> {
    let at = |source| ImportError::Io { path: data.path().to_owned(), source };
    if aside.exists() && !data.store().exists() {
        for path in [data.artifacts(), data.logs(), data.components(), aside.to_owned()] {
            remove_tree(&path).map_err(at)?;
        }
    }
    match fs::read_dir(data.path()).map_err(at)?.next() {
        None => fs::create_dir(aside).map_err(at),
        Some(_) => Err(ImportError::NotEmpty { dir: data.path().to_owned() }),
    }
}

fn import_aside(aside: &Path, from: impl BufRead) -> Result<Imported, ImportError> {
    let places = DataDirectory::open(aside)
        .map_err(|error| ImportError::Io { path: aside.to_owned(), source: io::Error::other(error) })?;
    let at = |source| ImportError::Io { path: aside.to_owned(), source };
    let store = Restore::begin(&places.store()).map_err(|error| of_restore(error, 0))?;
    let artifacts = Artifacts::open(&places.artifacts()).map_err(at)?;
    let components = Arc::new(BlobDir::new(places.components()).map_err(at)?);
    let aside = Dir::open_ambient_dir(aside, ambient_authority()).map_err(at)?;
    let mut reading = Reading {
        aside,
        logs: places.logs(),
        store,
        artifacts,
        components,
        aggregate: None,
        file: None,
        line: 0,
        unread: Vec::new(),
    };
    let lines = reading.all(from)?;
    let Reading { store, artifacts, unread, .. } = reading;
    store.finish().map_err(|error| of_restore(error, lines))?;
    let store = SledStore::open(&places.store(), SledStore::CACHE_BYTES_DEFAULT)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build();
    let store = runtime.map_err(at)?.block_on(store.verify())?;
    let artifacts = artifacts.check()?;
    let mut lacking = Vec::new();
    for damage in artifacts.damage {
        match damage.of {
            Damaged::Blob(digest) if is_unread(&unread, &digest) => lacking.push(damage.what),
            _ => return Err(ImportError::Damaged(damage.what)),
        }
    }
    Ok(Imported { lines, store, artifacts: artifacts.artifacts, unread, lacking })
}

fn is_unread(unread: &[UnreadLine], blob: &Digest) -> bool {
    let blob = blob.to_string();
    unread.iter().any(|line| matches!(line, UnreadLine::File(line) if line.kind == FileKind::Blob && line.file == blob))
}

/// Makes everything durable and moves it to its place, the store last.
fn settle(data: &DataDirectory, aside: &Path) -> Result<(), ImportError> {
    let at = |source| ImportError::Io { path: data.path().to_owned(), source };
    let folder = File::open(data.path()).map_err(at)?;
    rustix::fs::syncfs(&folder).map_err(|error| at(error.into()))?;
    let places = [data.artifacts(), data.logs(), data.components(), data.store()];
    for place in places {
        let from = aside.join(place.file_name().unwrap_or_default());
        match fs::rename(from, place) {
            // There were no logs, for example.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(error)),
            _ => {}
        }
    }
    remove_tree(aside).map_err(at)?;
    folder.sync_all().map_err(at)
}

struct Reading {
    /// Where everything is written first.
    aside: Dir,
    store: Restore,
    artifacts: Artifacts,
    components: Arc<dyn Blobs>,
    /// The folder of logs.
    logs: PathBuf,
    /// What parts and records belong to.
    aggregate: Option<Aggregate>,
    file: Option<Writing>,
    /// The number of the line that is being read.
    line: u64,
    unread: Vec<UnreadLine>,
}

/// A file whose chunks are being read.
struct Writing {
    file: File,
    left: u64,
    hasher: Hasher,
    /// As an export names it that could not read it to its end.
    named: (FileKind, String),
    is: Destined,
}

/// What a file is to be once it is whole.
enum Destined {
    Blob(Digest, Arc<dyn Blobs>),
    /// It is where it belongs already.
    Log(PathBuf),
}

impl Reading {
    /// Gives the number of lines.
    fn all(&mut self, mut from: impl BufRead) -> Result<u64, ImportError> {
        let mut hash = Hasher::default();
        let mut text = Vec::new();
        loop {
            text.clear();
            let read = from.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut text);
            read.map_err(|error| self.wrong(format!("cannot be read: {error}")))?;
            if text.last() != Some(&b'\n') {
                return match text.len() as u64 {
                    LINE_BYTES_MAX => Err(self.wrong(format!("longer than {LINE_BYTES_MAX} bytes"))),
                    _ => Err(ImportError::Truncated { lines: self.line }),
                };
            }
            self.line += 1;
            match self.line {
                1 => check_header(&text)?,
                _ => match serde_json::from_slice(&text).map_err(|error| self.wrong(error.to_string()))? {
                    Line::End(end) => return self.end(end, &hash, from),
                    line => self.take(line)?,
                },
            }
            hash.update(&text);
        }
    }

    fn end(&self, end: EndLine, hash: &Hasher, mut from: impl BufRead) -> Result<u64, ImportError> {
        self.check_file_ended()?;
        if end.lines + 1 != self.line || end.sha256 != hash.clone().finish().to_string() {
            return Err(ImportError::Altered);
        }
        match from.fill_buf().map(<[u8]>::is_empty) {
            Ok(true) => Ok(self.line),
            _ => Err(self.wrong("there is more after the last line".to_owned())),
        }
    }

    fn take(&mut self, line: Line) -> Result<(), ImportError> {
        let number = self.line;
        let malformed = |error: Malformed| ImportError::Line { line: number, problem: error.to_string() };
        let restore = |error| of_restore(error, number);
        match &line {
            Line::Chunk(_) => {}
            Line::Unread(UnreadLine::File(unread)) => self.break_off(unread)?,
            _ => self.check_file_ended()?,
        }
        match line {
            Line::Aggregate(line) => self.aggregate = Some(line.aggregate().map_err(malformed)?),
            Line::Part(line) => {
                let (aggregate, key) = (self.aggregate()?, line.name.key().map_err(malformed)?);
                let value = line.value.map(lines::Content::bytes).transpose().map_err(malformed)?;
                self.store.part(aggregate, &key, value.as_deref()).map_err(restore)?;
            }
            Line::Taken(line) => {
                let (aggregate, key) = (self.aggregate()?, line.name.key().map_err(malformed)?);
                self.store.taken(aggregate, line.sequence, &key).map_err(restore)?;
            }
            Line::Head(line) => {
                let (aggregate, head) = (self.aggregate()?, line.snapshot().map_err(malformed)?);
                self.store.head(aggregate, &head).map_err(restore)?;
            }
            Line::Record(line) => {
                let (aggregate, record) = (self.aggregate()?, line.record().map_err(malformed)?);
                self.store.record(aggregate, &record).map_err(restore)?;
                self.event_row(aggregate, &record).map_err(restore)?;
            }
            Line::Row(line) => {
                let account = line.account;
                let (key, value) = line.row().map_err(malformed)?;
                self.store.row(account, &key, &value).map_err(restore)?;
            }
            Line::Manifest(file) => {
                self.begin_blob(FileKind::Manifest, Arc::clone(self.artifacts.manifests()), file)?
            }
            Line::Blob(file) => self.begin_blob(FileKind::Blob, Arc::clone(self.artifacts.blobs()), file)?,
            Line::Component(file) => self.begin_blob(FileKind::Component, Arc::clone(&self.components), file)?,
            Line::Log(log) => self.begin_log(&log)?,
            Line::Chunk(text) => {
                let bytes = lines::chunk(&text).map_err(malformed)?;
                self.chunk(&bytes)?;
            }
            Line::Unread(line) => self.unread.push(line),
            Line::End(_) => {}
        }
        Ok(())
    }

    /// Exports leave out the rows of events, which follow from the records.
    fn event_row(&mut self, aggregate: Aggregate, record: &Record) -> Result<(), RestoreError> {
        if aggregate == Aggregate::of_account(aggregate.account) {
            return Ok(());
        }
        // A record that cannot be read is found to be damaged when it is read.
        let row = Entry::read(record).ok().and_then(|entry| entry.event_row(aggregate));
        row.map_or(Ok(()), |row| self.store.row(aggregate.account, &row.key(), &row.value()))
    }

    fn aggregate(&self) -> Result<Aggregate, ImportError> {
        self.aggregate.ok_or_else(|| self.wrong("it is of no aggregate".to_owned()))
    }

    fn begin_blob(&mut self, kind: FileKind, blobs: Arc<dyn Blobs>, file: FileLine) -> Result<(), ImportError> {
        let digest = file.sha256.parse().map_err(|error: DigestError| self.wrong(error.to_string()))?;
        let begun = self.aside.create(UNDER_WAY).map_err(ImportError::File)?;
        self.begin_file(begun.into_std(), file.size, (kind, file.sha256), Destined::Blob(digest, blobs))
    }

    fn begin_log(&mut self, log: &LogLine) -> Result<(), ImportError> {
        if !log.is_named_well() {
            return Err(self.wrong("not the name of a log".to_owned()));
        }
        let folder = self.logs.join(&log.execution);
        let path = folder.join(&log.file);
        let at = |source| ImportError::Io { path: path.clone(), source };
        fs::create_dir_all(&folder).map_err(at)?;
        let file = File::create_new(&path).map_err(at)?;
        let named = (FileKind::Log, format!("{}/{}", log.execution, log.file));
        self.begin_file(file, log.size, named, Destined::Log(path))
    }

    fn begin_file(
        &mut self,
        file: File,
        size: u64,
        named: (FileKind, String),
        is: Destined,
    ) -> Result<(), ImportError> {
        self.file = Some(Writing { file, left: size, hasher: Hasher::default(), named, is });
        self.check_whole()
    }

    /// The export could not read the latest file to its end; or does not have another one, which it names.
    fn break_off(&mut self, unread: &UnreadFile) -> Result<(), ImportError> {
        let is_it = |writing: &mut Writing| writing.named.0 == unread.kind && writing.named.1 == unread.file;
        if let Some(Writing { is: Destined::Log(path), .. }) = self.file.take_if(is_it) {
            fs::remove_file(&path).map_err(|source| ImportError::Io { path, source })?;
        }
        self.check_file_ended()
    }

    fn chunk(&mut self, bytes: &[u8]) -> Result<(), ImportError> {
        let line = self.line;
        let wrong = |problem: &str| ImportError::Line { line, problem: problem.to_owned() };
        let writing = self.file.as_mut().ok_or_else(|| wrong("it is of no file"))?;
        writing.left =
            writing.left.checked_sub(bytes.len() as u64).ok_or_else(|| wrong("it is more than its file has"))?;
        writing.hasher.update(bytes);
        writing.file.write_all(bytes).map_err(ImportError::File)?;
        self.check_whole()
    }

    /// Closes the file if all of it is there.
    fn check_whole(&mut self) -> Result<(), ImportError> {
        let Some(writing) = self.file.take_if(|writing| writing.left == 0) else { return Ok(()) };
        let Destined::Blob(digest, blobs) = writing.is else { return Ok(()) };
        if writing.hasher.finish() != digest {
            return Err(self.wrong(format!("the file that ends here does not have its digest, {digest}")));
        }
        blobs.adopt(&digest, &self.aside, UNDER_WAY).map_err(ImportError::File)
    }

    fn check_file_ended(&self) -> Result<(), ImportError> {
        match self.file {
            Some(_) => Err(self.wrong("the file before it has not ended".to_owned())),
            None => Ok(()),
        }
    }

    fn wrong(&self, problem: String) -> ImportError {
        ImportError::Line { line: self.line, problem }
    }
}

fn check_header(text: &[u8]) -> Result<(), ImportError> {
    /// What a header has whatever its version.
    #[derive(serde::Deserialize)]
    struct Any {
        format: String,
        version: u32,
    }
    match serde_json::from_slice(text) {
        Ok(Any { format, version: VERSION }) if format == FORMAT => {
            serde_json::from_slice::<Header>(text).map(drop).map_err(|_| ImportError::Format)
        }
        Ok(Any { format, version }) if format == FORMAT => Err(ImportError::Version { found: version }),
        _ => Err(ImportError::Format),
    }
}

fn of_restore(error: RestoreError, line: u64) -> ImportError {
    match error {
        RestoreError::Open(error) => ImportError::Open(error),
        RestoreError::Store(error) => ImportError::Store(error),
        other => ImportError::Line { line, problem: other.to_string() },
    }
}
