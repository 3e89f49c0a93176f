//! The `artifacts` interface: what the host does with files better than a guest can.
//!
//! Large work runs on a thread of its own, and stops when the call does; the rest runs where it is asked for. A call with
//! a few small files must not pay for a thread.

use std::collections::HashSet;
use std::sync::Arc;

use cap_std::fs::Dir;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream};

use pipewright_artifacts::files::{
    Area, Copied, FileError, FileErrorKind, FileKind, FileResult, Found, Item, ItemKind, Node, OpenFile, Role, Source,
    Target, Walk, buffer_for, copy, directory_items, each_chunk, missing_blob, paths, tree_items, unzip, write_file,
    zip,
};
use rustix::io::Errno;

use super::streams::{Reader, Writer};
use super::{Input, Place, Shared, Want, not_in};
use crate::bindings::pipewright::plugin::artifacts as abi;
use crate::state::State;
use pipewright_base::{Digest, Hasher};

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    abi::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// From this many bytes on, work on one file runs on a thread of its own.
const LARGE_BYTES: u64 = 1 << 20;
/// And work on a directory with more entries than this, or with others than files, or with as many bytes.
const FEW_ENTRIES_MAX: usize = 16;

/// A directory whose content is read, and the file that a path may be instead.
pub(super) enum Readable<'a> {
    File { file: OpenFile, executable: bool, expected: Option<(&'a str, Digest)> },
    Input { input: &'a Input, directory: String },
    Directory { area: &'a Arc<Area>, directory: Dir },
}

impl Readable<'_> {
    /// Whether all in a directory are a few files, which together are as small as one.
    fn is_small(&self) -> bool {
        let sizes: Option<Vec<u64>> = match self {
            Readable::File { .. } => None,
            Readable::Input { input, directory } => {
                let size = |node: &Node| if let Node::File { size, .. } = node { Some(*size) } else { None };
                input.tree.below(directory).iter().take(FEW_ENTRIES_MAX + 1).map(|entry| size(&entry.node)).collect()
            }
            Readable::Directory { directory, .. } => directory.entries().ok().and_then(|entries| {
                let sizes = entries.take(FEW_ENTRIES_MAX + 1).map(|entry| {
                    let metadata = entry.and_then(|entry| entry.metadata()).ok()?;
                    metadata.is_file().then(|| metadata.len())
                });
                sizes.collect()
            }),
        };
        sizes.is_some_and(|sizes| {
            let bytes = sizes.iter().fold(0_u64, |bytes, size| bytes.saturating_add(*size));
            sizes.len() <= FEW_ENTRIES_MAX && bytes <= LARGE_BYTES
        })
    }
}

type Answer<T> = wasmtime::Result<Result<T, abi::Error>>;

impl State {
    fn answer<T>(&self, work: impl FnOnce(&Arc<Shared>) -> FileResult<T>) -> Answer<T> {
        answered(work(&self.files.shared))
    }

    fn shared(&self) -> Arc<Shared> {
        Arc::clone(&self.files.shared)
    }
}

fn answered<T>(done: FileResult<T>) -> Answer<T> {
    match done.map_err(|error| error.ends().ok_or(error)) {
        Ok(done) => Ok(Ok(done)),
        Err(Ok(limit)) => Err(limit.into()),
        Err(Err(error)) => Ok(Err(in_words(error))),
    }
}

fn in_words(error: FileError) -> abi::Error {
    match error.kind {
        FileErrorKind::NotFound => abi::Error::NotFound(error.message),
        FileErrorKind::Denied => abi::Error::Denied(error.message),
        FileErrorKind::Quota => abi::Error::Quota(error.message),
        FileErrorKind::Invalid => abi::Error::Invalid(error.message),
        FileErrorKind::Io | FileErrorKind::Ends(_) => abi::Error::Io(error.message),
    }
}

/// Runs the work on another thread if what lies at `path`, which it gets, is large.
async fn answer_apart<T: Send + 'static>(
    shared: Arc<Shared>,
    path: String,
    work: impl FnOnce(&Shared, &str) -> FileResult<T> + Send + 'static,
) -> Answer<T> {
    let done = if shared.is_large(&path) {
        tokio::task::spawn_blocking(move || work(&shared, &path)).await?
    } else {
        work(&shared, &path)
    };
    answered(done)
}

impl abi::Host for State {
    async fn list(&mut self, path: String, except: Vec<String>) -> Answer<Vec<abi::Entry>> {
        answer_apart(self.shared(), path, move |shared, path| shared.list(path, except)).await
    }

    async fn digest(&mut self, path: String) -> Answer<String> {
        // There are as many of them as files in an artifact, and nothing is to be read.
        if let Some(digest) = self.files.shared.known(&path) {
            return Ok(Ok(digest.to_string()));
        }
        answer_apart(self.shared(), path, |shared, path| shared.digest(path)).await
    }

    async fn read(&mut self, path: String) -> Answer<Resource<DynInputStream>> {
        match self.files.shared.open_to_read(&path) {
            Ok(file) => {
                let reader: DynInputStream = Box::new(Reader::new(Arc::new(file), 0));
                Ok(Ok(self.table.push(reader)?))
            }
            Err(error) => answered(Err(error)),
        }
    }

    async fn write(&mut self, path: String, executable: bool) -> Answer<Resource<DynOutputStream>> {
        match self.files.shared.open_to_write(&path, executable) {
            Ok(file) => {
                let writer: DynOutputStream = Box::new(Writer::hashed(file));
                Ok(Ok(self.table.push(writer)?))
            }
            Err(error) => answered(Err(error)),
        }
    }

    async fn set_executable(&mut self, path: String, executable: bool) -> Answer<()> {
        self.answer(|shared| shared.change(&path, "set-executable", |area, path| area.set_executable(path, executable)))
    }

    async fn link(&mut self, path: String, target: String) -> Answer<()> {
        self.answer(|shared| shared.change(&path, "link", |area, path| area.make_link(path, &target, true)))
    }

    async fn copy(&mut self, source: String, destination: String, except: Vec<String>) -> Answer<abi::Copied> {
        let copy = move |shared: &Shared, source: &str| shared.copy(source, &destination, except);
        Ok(answer_apart(self.shared(), source, copy).await?.map(told))
    }

    async fn sync(&mut self, path: String) -> Answer<()> {
        // Waits for the disk, however little there is to write.
        let shared = self.shared();
        let work = move || shared.change(&path, "sync", |area, path| area.sync(path));
        answered(tokio::task::spawn_blocking(work).await?)
    }

    async fn zip(&mut self, source: String, destination: String) -> Answer<abi::Copied> {
        let zip = move |shared: &Shared, source: &str| shared.zip(source, &destination);
        Ok(answer_apart(self.shared(), source, zip).await?.map(told))
    }

    async fn unzip(&mut self, source: String, destination: String) -> Answer<abi::Copied> {
        // A small archive may hold much.
        let shared = self.shared();
        let unzipped = tokio::task::spawn_blocking(move || shared.unzip(&source, &destination)).await?;
        answered(unzipped.map(told))
    }
}

fn told(copied: Copied) -> abi::Copied {
    abi::Copied { files: copied.files, bytes: copied.bytes }
}

impl Shared {
    /// Asks quietly: what is not there or not allowed is told by the work itself.
    fn is_large(&self, path: &str) -> bool {
        let Ok(location) = self.resolve("", path) else { return false };
        let may_be = !location.starts_with("directories/")
            || location.split('/').nth(1).is_some_and(|name| self.directories.contains_key(name));
        let Some(Ok(place)) = may_be.then(|| self.find(&location, "stat")) else { return false };
        match self.stat(&place, &location, true) {
            Ok(stat) if stat.kind == FileKind::Directory => {
                !self.readable(&place, &location).is_ok_and(|readable| readable.is_small())
            }
            Ok(stat) => stat.size > LARGE_BYTES,
            Err(_) => false,
        }
    }

    /// The digest of a file that the host itself wrote.
    fn known(&self, path: &str) -> Option<Digest> {
        let location = self.resolve("", path).ok().filter(|location| location.starts_with("outputs/"))?;
        match self.find(&location, "digest").ok()? {
            Place::Area(area, path) => area.known(path),
            _ => None,
        }
    }

    pub(super) fn change(
        &self,
        path: &str,
        operation: &'static str,
        work: impl FnOnce(&Arc<Area>, &str) -> FileResult<()>,
    ) -> FileResult<()> {
        let location = self.resolve("", path)?;
        let place = self.place(&location, Want::Write, operation)?;
        let Place::Area(area, path) = place else { return Err(not_writable(&location)) };
        self.journaled(operation, &[(&place, &location)], |()| 0, || work(area, path))
    }

    pub(super) fn open_to_read(&self, path: &str) -> FileResult<OpenFile> {
        let location = self.resolve("", path)?;
        let place = self.place(&location, Want::Read, "read")?;
        let size = |file: &OpenFile| file.size().unwrap_or(0);
        self.journaled("read", &[(&place, &location)], size, || match self.readable(&place, &location)? {
            Readable::File { file, .. } => Ok(file),
            _ => Err(is_directory(&location)),
        })
    }

    pub(super) fn open_to_write(&self, path: &str, executable: bool) -> FileResult<OpenFile> {
        let location = self.resolve("", path)?;
        let place = self.place(&location, Want::Write, "write")?;
        let Place::Area(area, path) = place else { return Err(not_writable(&location)) };
        if path.is_empty() {
            return Err(is_directory(&location));
        }
        self.journaled("write", &[(&place, &location)], |_| 0, || area.make_file(path, executable))
    }

    fn readable<'a>(&self, place: &Place<'a>, location: &str) -> FileResult<Readable<'a>> {
        match *place {
            Place::Names(_) => Err(FileError::invalid(
                Errno::INVAL,
                format!("/{location} is only a folder of names: name one artifact or directory below it"),
            )),
            Place::Input(input, path) => match input.tree.find(path, true) {
                Err(missing) => Err(not_in(input, path, missing)),
                Ok(Found::Directory(directory)) => Ok(Readable::Input { input, directory }),
                // Only the last name of a path is ever given as a link, and only if it is not to be followed.
                Ok(Found::Link(_)) => Err(FileError::invalid(Errno::LOOP, format!("/{location} is a link"))),
                Ok(Found::File { digest, executable, .. }) => {
                    let held = self.budget.open()?;
                    let file = input.blobs.open(digest);
                    let file = file.map_err(|error| missing_blob(&input.name, path, digest, &error))?;
                    let expected = Some((input.name.as_str(), *digest));
                    Ok(Readable::File { file: OpenFile::of_input(file, held), executable, expected })
                }
            },
            Place::Area(area, path) => {
                let stat = area.stat(path, true)?;
                if stat.kind == FileKind::Directory {
                    return Ok(Readable::Directory { area, directory: area.directory(path)? });
                }
                Ok(Readable::File { file: area.open_file(path)?, executable: stat.executable, expected: None })
            }
        }
    }

    /// All that is below a directory.
    pub(super) fn items(&self, readable: &Readable<'_>, except: &HashSet<String>) -> FileResult<Vec<Item>> {
        let mut listing = self.budget.listing();
        let walk = Walk { except, refuse_others: false, stop: Some(&self.stop) };
        match readable {
            Readable::File { .. } => Err(FileError::invalid(Errno::NOTDIR, "it is a file")),
            Readable::Input { input, directory } => tree_items(&input.tree, directory, &mut listing, &walk),
            Readable::Directory { area, directory } => {
                directory_items(directory, &mut listing, &walk).map_err(|error| error.within(&area.name))
            }
        }
    }

    pub(super) fn list(&self, path: &str, except: Vec<String>) -> FileResult<Vec<abi::Entry>> {
        let location = self.resolve("", path)?;
        let place = self.place(&location, Want::Read, "list")?;
        let except: HashSet<String> = except.into_iter().collect();
        self.journaled(
            "list",
            &[(&place, &location)],
            |_| 0,
            || {
                if let Place::Area(area, "") = place
                    && area.top()?.is_none()
                {
                    return Ok(Vec::new());
                }
                let readable = self.readable(&place, &location)?;
                let items = self.items(&readable, &except).map_err(|error| error.within(path))?;
                Ok(items.into_iter().map(entry).collect())
            },
        )
    }

    pub(super) fn digest(&self, path: &str) -> FileResult<String> {
        let location = self.resolve("", path)?;
        let place = self.place(&location, Want::Read, "digest")?;
        self.journaled(
            "digest",
            &[(&place, &location)],
            |_| 0,
            || match self.readable(&place, &location)? {
                // The manifest knows it; the blob is checked whenever it leaves.
                Readable::File { expected: Some((_, digest)), .. } => Ok(digest.to_string()),
                Readable::File { mut file, .. } => {
                    let (mut hasher, mut buffer) = (Hasher::default(), buffer_for(&file.file));
                    each_chunk(&mut file.file, path, &self.stop, &mut buffer, |chunk| {
                        hasher.update(chunk);
                        Ok(())
                    })?;
                    Ok(hasher.finish().to_string())
                }
                _ => Err(is_directory(&location)),
            },
        )
    }

    pub(super) fn copy(&self, source: &str, destination: &str, except: Vec<String>) -> FileResult<Copied> {
        let (from, to) = (self.resolve("", source)?, self.resolve("", destination)?);
        let from_place = self.place(&from, Want::Read, "copy")?;
        let to_place = self.place(&to, Want::Write, "copy")?;
        let Place::Area(area, path) = to_place else { return Err(not_writable(&to)) };
        let places = [(&from_place, from.as_str()), (&to_place, to.as_str())];
        self.journaled(
            "copy",
            &places,
            |copied: &Copied| copied.bytes,
            || match self.readable(&from_place, &from)? {
                Readable::File { mut file, executable, expected } => {
                    let (parent, name) = paths::split(path);
                    if name.is_empty() {
                        return Err(is_directory(&to));
                    }
                    let into = Into::open(area, parent)?;
                    let mut buffer = buffer_for(&file.file);
                    let target = into.target(self);
                    let bytes = write_file(&mut file.file, expected, executable, name, &target, &mut buffer)?;
                    Ok(Copied { files: 1, bytes })
                }
                readable => {
                    let except: HashSet<String> = except.into_iter().collect();
                    let items = self.items(&readable, &except)?;
                    let into = Into::open(area, path)?;
                    copy(readable.source()?, &items, &into.target(self))
                        .map_err(|error| error.within(&format!("copying {source} to {destination}")))
                }
            },
        )
    }

    pub(super) fn lay_out(&self, artifact: &Input, directory: &str) -> FileResult<Copied> {
        let location = self.resolve("", directory)?;
        let Place::Area(area, path) = self.place(&location, Want::Write, "copy")? else {
            return Err(not_writable(&location));
        };
        let readable = Readable::Input { input: artifact, directory: String::new() };
        let items = self.items(&readable, &HashSet::new())?;
        copy(readable.source()?, &items, &Into::open(area, path)?.target(self))
    }

    pub(super) fn zip(&self, source: &str, destination: &str) -> FileResult<Copied> {
        let (from, to) = (self.resolve("", source)?, self.resolve("", destination)?);
        let from_place = self.place(&from, Want::Read, "zip")?;
        let to_place = self.place(&to, Want::Write, "zip")?;
        let Place::Area(area, path) = to_place else { return Err(not_writable(&to)) };
        if path.is_empty() {
            return Err(is_directory(&to));
        }
        let places = [(&from_place, from.as_str()), (&to_place, to.as_str())];
        self.journaled(
            "zip",
            &places,
            |copied: &Copied| copied.bytes,
            || {
                let readable = self.readable(&from_place, &from)?;
                let items = self.items(&readable, &HashSet::new()).map_err(|error| error.within(source))?;
                let file = area.make_file(path, false)?;
                zip(readable.source()?, &items, &file, &self.stop).map_err(|error| error.within(destination))
            },
        )
    }

    pub(super) fn unzip(&self, source: &str, destination: &str) -> FileResult<Copied> {
        let (from, to) = (self.resolve("", source)?, self.resolve("", destination)?);
        let from_place = self.place(&from, Want::Read, "unzip")?;
        let to_place = self.place(&to, Want::Write, "unzip")?;
        let Place::Area(area, path) = to_place else { return Err(not_writable(&to)) };
        let places = [(&from_place, from.as_str()), (&to_place, to.as_str())];
        self.journaled(
            "unzip",
            &places,
            |copied: &Copied| copied.bytes,
            || {
                let Readable::File { file, .. } = self.readable(&from_place, &from)? else {
                    return Err(is_directory(&from));
                };
                let into = Into::open(area, path)?;
                unzip(&file.file, &into.target(self)).map_err(|error| error.within(source))
            },
        )
    }
}

impl<'a> Readable<'a> {
    fn source(&self) -> FileResult<Source<'_>> {
        match self {
            Self::Input { input, directory } => {
                Ok(Source::Blobs { blobs: &*input.blobs, artifact: &input.name, directory })
            }
            Self::Directory { directory, .. } => Ok(Source::Directory(directory)),
            Self::File { .. } => Err(FileError::invalid(Errno::NOTDIR, "it is a file")),
        }
    }
}

/// A directory into which many files go.
struct Into<'a> {
    area: &'a Arc<Area>,
    directory: Dir,
    depth: usize,
}

impl<'a> Into<'a> {
    fn open(area: &'a Arc<Area>, path: &str) -> FileResult<Self> {
        area.make_directories(path)?;
        area.may_have_links();
        Ok(Self { area, directory: area.directory(path)?, depth: area.depth_of(path)? })
    }

    fn target(&self, shared: &'a Shared) -> Target<'_> {
        Target {
            directory: &self.directory,
            depth: self.depth,
            budget: &shared.budget,
            hashed: (self.area.role == Role::Output).then_some(&*self.area.hashed),
            stays: !matches!(self.area.role, Role::Scratch | Role::Left),
            stop: &shared.stop,
        }
    }
}

fn entry(item: Item) -> abi::Entry {
    let (kind, size, executable, target) = match item.kind {
        ItemKind::File { size, executable, .. } => (abi::FileKind::File, size, executable, None),
        ItemKind::Link { target } => (abi::FileKind::Link, 0, false, Some(target)),
        ItemKind::Directory => (abi::FileKind::Directory, 0, false, None),
    };
    abi::Entry { path: item.path, kind, size, executable, target }
}

fn not_writable(location: &str) -> FileError {
    FileError::invalid(Errno::PERM, format!("/{location} cannot be written"))
}

fn is_directory(location: &str) -> FileError {
    FileError::invalid(Errno::ISDIR, format!("/{location} is a directory"))
}
