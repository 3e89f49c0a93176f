//! Zip files: packed so that the same files give the same bytes, unpacked so that nothing lands outside and nothing is
//! bigger than the quota.
//!
//! The directory of an archive is read entry by entry, never whole: its size is whatever the archive claims.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cap_fs_ext::FollowSymlinks;
use pipewright_text::quoted;
use zip::unstable::read::ZipIterable;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, DateTime, ZipReadOptions, ZipWriter};

use super::area::OpenFile;
use super::blobs::Blobs;
use super::copy::{self, CHUNK_BYTES, Copied, Source, Target};
use super::error::{FileError, FileResult};
use super::fresh;
use super::paths::{self, Fault};
use super::tree::{Entry, Node, Tree};
use super::walk::{Item, ItemKind};
use rustix::io::Errno;

/// How much of a name is shown in an error.
const NAME_CHARS_SHOWN_MAX: usize = 200;
/// What the writer keeps of an entry besides its name.
const ENTRY_BYTES: usize = 512;

/// Packs the items, in their order, with times of 1980-01-01, executable bits, and links as links.
pub fn zip(source: Source<'_>, items: &[Item], into: &OpenFile, stop: &AtomicBool) -> FileResult<Copied> {
    let mut writer = ZipWriter::new(BufWriter::with_capacity(CHUNK_BYTES, Charged { file: into, position: 0 }));
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut copied = Copied::default();
    // The writer keeps the archive's directory until its end.
    let directory = items.iter().map(|item| 2 * item.path.len() + ENTRY_BYTES).sum();
    let _held = into.area().map(|area| area.budget.charge(directory)).transpose()?;
    for item in items {
        check_packed(&item.path, if let ItemKind::Link { target } = &item.kind { target } else { "" })?;
        let options = SimpleFileOptions::default()
            .compression_method(CompressionMethod::Deflated)
            .last_modified_time(DateTime::default());
        match &item.kind {
            ItemKind::Directory => writer.add_directory(&*item.path, options.unix_permissions(0o755)).map_err(fault)?,
            ItemKind::Link { target } => writer.add_symlink(&*item.path, target, options).map_err(fault)?,
            ItemKind::File { size, executable, .. } => {
                let options = options
                    .unix_permissions(if *executable { 0o755 } else { 0o644 })
                    .large_file(*size >= zip::ZIP64_BYTES_THR);
                writer.start_file(&*item.path, options).map_err(fault)?;
                copied.bytes += copy::read_item(source, item, stop, &mut buffer, |chunk| {
                    writer.write_all(chunk).map_err(|error| of_io(&item.path, error))
                })?;
                copied.files += 1;
            }
        }
    }
    let buffered = writer.finish().map_err(fault)?;
    buffered.into_inner().map_err(|error| of_io("the zip file", error.into_error()))?;
    Ok(copied)
}

/// An artifact, packed in the same way, piece by piece for whoever takes the pieces: between two of them nothing is done. Holds
/// some hundred bytes for each entry that was packed, as the directory comes last.
pub struct ZipOfTree {
    tree: Arc<Tree>,
    blobs: Arc<dyn Blobs>,
    /// The next entry.
    next: usize,
    /// The content of the last one, where it is a file that is not packed whole yet.
    content: Option<File>,
    packed: Packed,
    /// None once everything is packed.
    writer: Option<ZipWriter<StreamWriter<Packed>>>,
}

/// What is packed and not taken yet; clones share it.
#[derive(Clone, Default)]
struct Packed(Arc<Mutex<Vec<u8>>>);

impl Packed {
    fn bytes(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Write for Packed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl ZipOfTree {
    /// # Errors
    /// A name in it cannot be in an archive.
    pub fn new(tree: Arc<Tree>, blobs: Arc<dyn Blobs>) -> FileResult<Self> {
        for Entry { path, node } in tree.entries() {
            check_packed(path, if let Node::Link { target } = node { target } else { "" })?;
        }
        let packed = Packed::default();
        let writer = Some(ZipWriter::new_stream(packed.clone()));
        Ok(Self { tree, blobs, next: 0, content: None, packed, writer })
    }

    /// The next bytes of the archive, of about this many; none at its end.
    pub fn next(&mut self, bytes: usize) -> io::Result<Option<Vec<u8>>> {
        while self.packed.bytes().len() < bytes {
            let Some(writer) = &mut self.writer else { break };
            if let Some(content) = &mut self.content {
                if io::copy(&mut content.take(CHUNK_BYTES as u64), writer)? == 0 {
                    self.content = None;
                }
            } else if let Some(entry) = self.tree.entries().get(self.next) {
                self.next += 1;
                self.content = begin(writer, entry, &*self.blobs)?;
            } else if let Some(writer) = self.writer.take() {
                writer.finish()?;
            }
        }
        let packed = std::mem::take(&mut *self.packed.bytes());
        Ok((!packed.is_empty()).then_some(packed))
    }
}

/// Begins an entry; gives what its content is read from.
fn begin<W: Write + Seek>(writer: &mut ZipWriter<W>, entry: &Entry, blobs: &dyn Blobs) -> io::Result<Option<File>> {
    let Entry { path, node } = entry;
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .last_modified_time(DateTime::default());
    match node {
        Node::Directory => writer.add_directory(&**path, options.unix_permissions(0o755))?,
        Node::Link { target } => writer.add_symlink(&**path, target, options)?,
        Node::File { digest, size, executable } => {
            let permissions = if *executable { 0o755 } else { 0o644 };
            let options = options.unix_permissions(permissions).large_file(*size >= zip::ZIP64_BYTES_THR);
            writer.start_file(&**path, options)?;
            return blobs.open(digest).map(Some);
        }
    }
    Ok(None)
}

/// Unpacks into a directory. What is there already and has the same name is replaced.
pub fn unzip(archive: &File, target: &Target<'_>) -> FileResult<Copied> {
    let clone = || archive.try_clone().map_err(|error| FileError::io("the zip file", &error));
    // Two readers of their own position each: of the directory, and of the content.
    let mut central =
        ZipIterable::try_new(BufReader::new(At::start(clone()?)), zip::read::Config::default()).map_err(fault)?;
    let mut content = BufReader::with_capacity(CHUNK_BYTES, At::start(clone()?));
    let mut copied = Copied::default();
    let mut links = Vec::new();
    let mut names = HashSet::new();
    let mut held = target.budget.listing();
    let mut buffer = vec![0; CHUNK_BYTES];
    let mut made = String::new();
    for entry in central.files().map_err(fault)? {
        if target.stop.load(Relaxed) {
            return Err(FileError::stopped());
        }
        let entry = entry.map_err(fault)?;
        let path = tidy(&entry.name().map_err(fault)?);
        if path.is_empty() && entry.is_dir() {
            continue;
        }
        check_name(&path)?;
        target.budget.check_path(&path)?;
        target.check_depth(&path)?;
        let parent = paths::split(&path).0;
        if made != parent {
            make_parents(target, parent)?;
            parent.clone_into(&mut made);
        }
        let (is_directory, is_link) = (entry.is_dir(), entry.is_symlink());
        let executable = entry.unix_mode().is_some_and(|mode| mode & 0o100 != 0);
        if is_directory {
            fresh::make_directory(target.directory, &path, target.budget, FollowSymlinks::No)?;
            continue;
        }
        held.add(&path)?;
        if !names.insert(path.clone()) {
            return Err(named(&path, "is there twice, so that one of them would be lost", "it is not unpacked"));
        }
        let mut file = entry.with_reader(&mut content, ZipReadOptions::default()).map_err(fault)?;
        if is_link {
            let mut to = String::new();
            let read = (&mut file).take(paths::PATH_BYTES_MAX as u64 + 1).read_to_string(&mut to);
            read.map_err(|error| of_io(&path, error))?;
            copy::check_link(target, &path, &to)?;
            paths::check_archived(&to).map_err(|fault| named(&path, fault, "it is not unpacked"))?;
            held.add(&to)?;
            links.push((path, to));
        } else {
            copied.bytes += copy::write_file(&mut file, None, executable, &path, target, &mut buffer)?;
            copied.files += 1;
        }
    }
    // Last, so that no entry is written through a link of the archive.
    for (path, to) in links {
        copy::make_link(target, &path, &to)?;
    }
    Ok(copied)
}

/// Without `.` between slashes and the slash at the end of a directory: `./a/` is `a`.
fn tidy(name: &str) -> String {
    let mut path: Vec<&str> = name.split('/').filter(|name| *name != ".").collect();
    if path.len() > 1 && path.last().is_some_and(|last| last.is_empty()) {
        path.pop();
    }
    path.join("/")
}

fn check_name(path: &str) -> FileResult<()> {
    let fault = paths::check_entry(path).and_then(|()| paths::check_archived(path));
    fault.map_err(|fault| named(path, fault, "it is not unpacked"))
}

/// An entry, and where it leads if it is a link.
fn check_packed(path: &str, target: &str) -> FileResult<()> {
    let fault = [path, target].into_iter().try_for_each(paths::check_archived);
    fault.map_err(|fault| named(path, fault, "rename it, or leave it out, and what it is in can be packed"))
}

fn named(path: &str, fault: Fault, then: &str) -> FileError {
    FileError::invalid(Errno::PERM, format!("the entry {} {fault}: {then}", quoted(path, NAME_CHARS_SHOWN_MAX)))
}

/// Each by itself, so that none is a link: through one, an entry would land elsewhere than its path says.
fn make_parents(target: &Target<'_>, parent: &str) -> FileResult<()> {
    let ends = parent.match_indices('/').map(|(end, _)| end).chain([parent.len()]).filter(|end| *end > 0);
    for end in ends {
        fresh::make_directory(target.directory, &parent[..end], target.budget, FollowSymlinks::No)?;
    }
    Ok(())
}

fn fault(error: zip::result::ZipError) -> FileError {
    match error {
        zip::result::ZipError::Io(error) => of_io("the zip file", error),
        error => FileError::invalid(Errno::INVAL, format!("not a usable zip file: {error}")),
    }
}

/// The file capability's own error comes back as it was from under the zip library.
fn of_io(path: &str, error: io::Error) -> FileError {
    match error.downcast::<FileError>() {
        Ok(error) => error,
        Err(error) if error.raw_os_error().is_some() => FileError::io(path, &error),
        Err(error) => FileError::invalid(Errno::INVAL, format!("{path}: {error}")),
    }
}

/// Writes into a guest's file, charged.
struct Charged<'a> {
    file: &'a OpenFile,
    position: u64,
}

impl Write for Charged<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, self.position).map_err(io::Error::other)?;
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Seek for Charged<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let size = self.file.size().map_err(io::Error::other)?;
        self.position = seek(self.position, size, to)?;
        Ok(self.position)
    }
}

/// Reads a file at a position of its own: clones of one `File` share theirs.
struct At {
    file: File,
    position: u64,
}

impl At {
    fn start(file: File) -> Self {
        Self { file, position: 0 }
    }
}

impl Read for At {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = std::os::unix::fs::FileExt::read_at(&self.file, buffer, self.position)?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for At {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.position = seek(self.position, self.file.metadata()?.len(), to)?;
        Ok(self.position)
    }
}

fn seek(position: u64, size: u64, to: SeekFrom) -> io::Result<u64> {
    let moved = match to {
        SeekFrom::Start(position) => Some(position),
        SeekFrom::End(by) => size.checked_add_signed(by),
        SeekFrom::Current(by) => position.checked_add_signed(by),
    };
    moved.ok_or_else(|| io::ErrorKind::InvalidInput.into())
}
