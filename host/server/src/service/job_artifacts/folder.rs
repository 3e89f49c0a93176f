//! The files of one action's jobs: inputs as they were packed, and outputs as they were uploaded.
//!
//! Owns their names, and that an upload is whole and durable or not there. Must not know who may read or write one. Everything here
//! blocks.
//!
//! | name                  | what                                                           |
//! |-----------------------|----------------------------------------------------------------|
//! | `in.NAME`             | an input, packed when a worker first asked for it              |
//! | `in.new.…`            | one that is being packed                                       |
//! | `out.NAME.KNOWN-BY`   | an output, with what S3 calls its ETag                         |
//! | `parts.NAME.ID/N.MD5` | a part of an output that is uploaded in parts                  |
//! | `new.…`, `tree.…`     | what is being uploaded, and being unpacked                     |
//!
//! Of one action there is one `Room` in the process, whoever uploads to it: what uploads have written is counted there, as they write.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use md5::{Digest as _, Md5};
use pipewright_artifacts::files::{Floor, remove_tree};
use pipewright_base::hex;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::ActionExecutionId;
use tokio::sync::OwnedMutexGuard;

/// Parts of one object, as S3 has it.
pub const PARTS_MAX: u32 = 10_000;
/// Uploads in parts that one action has begun and not ended. Stops a worker from filling a disk with folders.
const UPLOADS_MAX: usize = 20;

/// Why something was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("The upload does not exist: it was ended or given up, or its id is another one")]
    NoUpload,
    #[error("The job is not in progress: acknowledge it first, and upload before it is reported")]
    NotInProgress,
    #[error("{0}")]
    InvalidPart(String),
    /// More than there is room for.
    #[error("{0}")]
    Full(String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What an upload makes.
#[derive(Clone, Debug)]
pub enum Part {
    /// An output, whole.
    All { name: String },
    /// A part of one, by its number.
    One { name: String, id: String, number: u32 },
}

/// Those of all actions.
pub(super) struct Folders {
    root: PathBuf,
    /// Of the folders that somebody uses now.
    rooms: Mutex<HashMap<PathBuf, Weak<Room>>>,
}

#[derive(Clone)]
pub(super) struct Folder {
    path: PathBuf,
    room: Arc<Room>,
}

/// What is one for all who use a folder at the same time.
#[derive(Default)]
struct Room {
    turn: Arc<tokio::sync::Mutex<()>>,
    used: Mutex<Used>,
}

/// The bytes that were uploaded, once they were counted. While it is held, nothing comes to be in the folder or goes.
#[derive(Default)]
struct Used(Option<u64>);

/// While it is held, no other packs or unpacks what is in the folder.
pub type Turn = OwnedMutexGuard<()>;

/// Something that is being uploaded: gone when it is dropped before it is kept.
pub struct Upload {
    folder: Folder,
    of: Part,
    path: PathBuf,
    file: File,
    md5: Md5,
    /// It is put together of parts, which are counted already.
    is_of_parts: bool,
    bytes: u64,
    bytes_max: u64,
}

/// Writes to a disk that has room for it.
pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    Floor::of_disks().check(bytes.len() as u64, &*file).map_err(io::Error::other)?;
    file.write_all(bytes)
}

impl Folders {
    pub(super) fn new(root: PathBuf) -> Self {
        Self { root, rooms: Mutex::default() }
    }

    pub(super) fn of(&self, pipeline: Aggregate, action: ActionExecutionId) -> Folder {
        let path = self.root.join(format!("{:012}.{}.{action}", pipeline.account, hex::encode(pipeline.uid)));
        let mut rooms = self.rooms.lock().unwrap_or_else(PoisonError::into_inner);
        let room = rooms.get(&path).and_then(Weak::upgrade).unwrap_or_else(|| {
            rooms.retain(|_, room| room.strong_count() > 0);
            let room = Arc::default();
            rooms.insert(path.clone(), Arc::downgrade(&room));
            room
        });
        Folder { path, room }
    }

    /// Those that there are.
    pub(super) fn all(&self) -> io::Result<Vec<(Aggregate, ActionExecutionId)>> {
        let read = |name: &str| {
            let mut parts = name.split('.');
            let account = parts.next()?.parse().ok()?;
            let uid = hex::decode_array(parts.next()?)?;
            Some((Aggregate { account, uid }, parts.next()?.parse().ok()?))
        };
        match names(&self.root) {
            Ok(names) => Ok(names.iter().filter_map(|name| read(name)).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

impl Folder {
    pub(super) async fn turn(&self) -> Turn {
        Arc::clone(&self.room.turn).lock_owned().await
    }

    fn used(&self) -> MutexGuard<'_, Used> {
        self.room.used.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        let mut used = self.used();
        // Counted again where somebody goes on here.
        used.0 = None;
        match fs::symlink_metadata(&self.path) {
            Ok(_) => remove_tree(&self.path).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.path)
    }

    /// A name for something new.
    fn new_name(&self, kind: &str) -> io::Result<PathBuf> {
        Ok(self.path.join(format!("{kind}.{}", random()?)))
    }

    /// An empty folder to unpack into.
    pub(super) fn tree(&self) -> io::Result<PathBuf> {
        self.new_name("tree")
    }

    /// An input that was packed before.
    pub(super) fn packed(&self, name: &str) -> io::Result<Option<File>> {
        match File::open(self.path.join(format!("in.{name}"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            file => file.map(Some),
        }
    }

    /// The same, packed if it is not yet; in the packer's turn.
    pub(super) fn input(&self, name: &str, pack: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
        if let Some(packed) = self.packed(name)? {
            return Ok(packed);
        }
        self.make()?;
        let (path, new) = (self.path.join(format!("in.{name}")), self.new_name("in.new")?);
        let packed = create(&new).and_then(|mut file| pack(&mut file)).and_then(|()| fs::rename(&new, &path));
        packed.inspect_err(|_| drop(fs::remove_file(&new)))?;
        File::open(path)
    }

    /// An output as it was uploaded last, and what it is known by.
    pub(super) fn output(&self, name: &str) -> io::Result<Option<(File, String)>> {
        let prefix = format!("out.{name}.");
        let names = match names(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => names?,
        };
        let Some(found) = names.into_iter().find(|name| name.starts_with(&prefix)) else { return Ok(None) };
        Ok(Some((File::open(self.path.join(&found))?, found[prefix.len()..].to_owned())))
    }

    pub(super) fn upload(&self, of: Part, bytes_max: u64) -> Result<Upload, UploadError> {
        self.make()?;
        if let Part::One { name, id, number } = &of {
            self.parts(name, id)?;
            if !(1..=PARTS_MAX).contains(number) {
                return Err(UploadError::InvalidPart(format!("A part's number is from 1 to {PARTS_MAX}")));
            }
        }
        let path = self.new_name("new")?;
        {
            let mut used = self.used();
            if used.0.is_none() {
                used.0 = Some(bytes_in(&self.path)?);
            }
        }
        let file = create(&path)?;
        Ok(Upload { folder: self.clone(), of, path, file, md5: Md5::new(), is_of_parts: false, bytes: 0, bytes_max })
    }

    /// Where the parts of an upload are.
    fn parts(&self, name: &str, id: &str) -> Result<PathBuf, UploadError> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.path.join(format!("parts.{name}.{id}"));
        if is_id && path.is_dir() { Ok(path) } else { Err(UploadError::NoUpload) }
    }

    pub(super) fn begin_parts(&self, name: &str) -> Result<String, UploadError> {
        self.make()?;
        let _alone = self.used();
        let begun = names(&self.path)?.iter().filter(|name| name.starts_with("parts.")).count();
        if begun >= UPLOADS_MAX {
            return Err(UploadError::Full(format!(
                "There are {UPLOADS_MAX} uploads in parts of this job that were not ended: end or abort one"
            )));
        }
        let id = random()?;
        fs::create_dir(self.path.join(format!("parts.{name}.{id}")))?;
        Ok(id)
    }

    pub(super) fn give_up_parts(&self, name: &str, id: &str) -> Result<(), UploadError> {
        let mut used = self.used();
        used.remove(&self.parts(name, id)?)
    }

    /// In the turn of whoever ends it: what is put together here is not counted until it is kept.
    pub(super) fn end_parts(
        &self,
        name: &str,
        id: &str,
        parts: &[(u32, String)],
        bytes_max: u64,
    ) -> Result<String, UploadError> {
        let from = self.parts(name, id)?;
        if parts.is_empty() || !parts.is_sorted_by(|(a, _), (b, _)| a < b) {
            return Err(UploadError::InvalidPart("The parts must be listed, each once, by their numbers".to_owned()));
        }
        let mut all = self.upload(Part::All { name: name.to_owned() }, bytes_max)?;
        all.is_of_parts = true;
        let mut known_by = Md5::new();
        for (number, md5) in parts {
            let invalid = || UploadError::InvalidPart(format!("There is no part {number} with the ETag {md5}"));
            let bytes: [u8; 16] = hex::decode_array(md5).ok_or_else(invalid)?;
            let mut part = File::open(from.join(format!("{number}.{md5}"))).map_err(|_| invalid())?;
            known_by.update(bytes);
            let mut buffer = vec![0; 256 * 1024];
            loop {
                match part.read(&mut buffer)? {
                    0 => break,
                    read => all.write(&buffer[..read])?,
                }
            }
        }
        let known_by = format!("{}-{}", hex::encode(known_by.finalize()), parts.len());
        all.keep(&known_by)?;
        self.give_up_parts(name, id)?;
        Ok(known_by)
    }
}

impl Upload {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        if !self.is_of_parts {
            self.folder.used().charge(bytes.len() as u64, self.bytes_max)?;
            self.bytes += bytes.len() as u64;
        }
        self.md5.update(bytes);
        Floor::of_disks().check(bytes.len() as u64, &self.file)?;
        Ok(self.file.write_all(bytes)?)
    }

    /// The MD5 of what was written.
    pub fn md5(&self) -> [u8; 16] {
        self.md5.clone().finalize().into()
    }

    /// Makes it durable, in the place of what was there; gives what it is known by.
    pub fn finish(self) -> Result<String, UploadError> {
        let known_by = hex::encode(self.md5());
        self.keep(&known_by)?;
        Ok(known_by)
    }

    fn keep(mut self, known_by: &str) -> Result<(), UploadError> {
        self.file.sync_all()?;
        let shared = self.folder.clone();
        let mut used = shared.used();
        let (folder, prefix, name) = match &self.of {
            Part::All { name } => (self.folder.path.clone(), format!("out.{name}."), format!("out.{name}.{known_by}")),
            Part::One { name, id, number } => {
                (self.folder.parts(name, id)?, format!("{number}."), format!("{number}.{known_by}"))
            }
        };
        let replaced = fs::metadata(folder.join(&name)).map_or(0, |there| there.len());
        fs::rename(&self.path, folder.join(&name))?;
        used.free(replaced);
        if self.is_of_parts {
            used.add(self.file.metadata()?.len());
        }
        self.bytes = 0;
        for other in names(&folder)?.iter().filter(|other| other.starts_with(&prefix) && **other != name) {
            used.remove(&folder.join(other))?;
        }
        drop(used);
        Ok(File::open(&folder)?.sync_all()?)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is not there any more once it was kept.
        let mut used = self.folder.used();
        let _ = fs::remove_file(&self.path);
        used.free(self.bytes);
    }
}

impl Used {
    fn add(&mut self, bytes: u64) {
        self.0 = self.0.map(|used| used.saturating_add(bytes));
    }

    fn free(&mut self, bytes: u64) {
        self.0 = self.0.map(|used| used.saturating_sub(bytes));
    }

    /// Before they are written.
    fn charge(&mut self, bytes: u64, bytes_max: u64) -> Result<(), UploadError> {
        // What was counted is gone with its folder: so is the upload.
        let used = self.0.ok_or(UploadError::NoUpload)?;
        if bytes_max.saturating_sub(used) < bytes {
            let message = "The uploads of this job are larger than an action may make (limits.files.bytes_max)";
            return Err(UploadError::Full(message.to_owned()));
        }
        self.add(bytes);
        Ok(())
    }

    /// A file, or a folder of parts, that was uploaded.
    fn remove(&mut self, path: &Path) -> Result<(), UploadError> {
        let metadata = fs::metadata(path)?;
        if metadata.is_dir() {
            let bytes = bytes_in(path)?;
            remove_tree(path).map_err(io::Error::other)?;
            self.free(bytes);
        } else {
            fs::remove_file(path)?;
            self.free(metadata.len());
        }
        Ok(())
    }
}

fn create(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

fn random() -> io::Result<String> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(io::Error::other)?;
    Ok(hex::encode(bytes))
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

/// What was uploaded: all but the inputs, which are not a worker's to pay for.
fn bytes_in(folder: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        // What is being uploaded beside it may be kept or gone by now.
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() && name.starts_with("parts.") {
            bytes += bytes_in(&entry.path())?;
        } else if metadata.is_file() && !name.starts_with("in.") {
            bytes += metadata.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: u64 = 100;

    fn folder(at: &tempfile::TempDir) -> Folder {
        Folders::new(at.path().to_owned())
            .of(Aggregate { account: 1, uid: [1; 16] }, ActionExecutionId::from_bytes([2; 16]))
    }

    fn all(name: &str) -> Part {
        Part::All { name: name.to_owned() }
    }

    #[track_caller]
    fn is_full(written: Result<(), UploadError>) {
        assert!(matches!(written, Err(UploadError::Full(_))), "{written:?}");
    }

    #[test]
    fn uploads_at_the_same_time_have_one_room() {
        let at = tempfile::tempdir().unwrap();
        let folder = folder(&at);
        let mut one = folder.upload(all("a"), BYTES_MAX).unwrap();
        let mut other = folder.upload(all("b"), BYTES_MAX).unwrap();
        one.write(&[0; 60]).unwrap();
        is_full(other.write(&[0; 60]));
        other.write(&[0; 40]).unwrap();
        is_full(one.write(&[0]));
        // What is given up makes room; what is kept does not.
        drop(other);
        one.write(&[0; 40]).unwrap();
        one.finish().unwrap();
        let mut next = folder.upload(all("b"), BYTES_MAX).unwrap();
        is_full(next.write(&[0]));
        // Nor does what takes the place of another before it has done so.
        assert_eq!(folder.used().0, Some(100));
        folder.remove().unwrap();
        assert!(matches!(next.write(&[0]), Err(UploadError::NoUpload)));
        folder.upload(all("b"), BYTES_MAX).unwrap().write(&[0; 100]).unwrap();
    }

    #[test]
    fn what_is_counted_is_what_is_there() {
        let at = tempfile::tempdir().unwrap();
        let folder = folder(&at);
        let check = |expected: u64| {
            assert_eq!(folder.used().0, Some(expected));
            assert_eq!(bytes_in(&folder.path).unwrap(), expected);
        };
        let put = |of: Part, content: &[u8]| {
            let mut upload = folder.upload(of, BYTES_MAX).unwrap();
            upload.write(content).unwrap();
            upload.finish().unwrap()
        };
        put(all("a"), &[1; 30]);
        check(30);
        put(all("a"), &[1; 30]);
        check(30);
        put(all("a"), &[2; 20]);
        check(20);
        let id = folder.begin_parts("a").unwrap();
        let part =
            |number, content: &[u8]| (number, put(Part::One { name: "a".to_owned(), id: id.clone(), number }, content));
        part(1, &[3; 50]);
        let parts = [part(1, &[3; 10]), part(2, &[4; 40])];
        part(3, &[5; 5]);
        check(75);
        folder.end_parts("a", &id, &parts, BYTES_MAX).unwrap();
        check(50);
        assert!(matches!(folder.end_parts("a", &id, &parts, BYTES_MAX), Err(UploadError::NoUpload)));
        let id = folder.begin_parts("b").unwrap();
        put(Part::One { name: "b".to_owned(), id: id.clone(), number: 1 }, &[6; 7]);
        check(57);
        folder.give_up_parts("b", &id).unwrap();
        check(50);
    }
}
