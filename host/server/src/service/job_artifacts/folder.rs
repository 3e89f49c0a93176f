//! The files of one action's jobs: inputs as they were packed, and outputs as they were uploaded.
//!
//! Owns their names, and that an upload is whole and durable or not there. Must not know who may read or write one. Everything here
//! blocks.
//!
//! | name                  | what                                                           |
//! |-----------------------|----------------------------------------------------------------|
//! | `in.NAME`             | an input, packed when a worker first asked for it              |
//! | `out.NAME.KNOWN-BY`   | an output, with what S3 calls its ETag                         |
//! | `parts.NAME.ID/N.MD5` | a part of an output that is uploaded in parts                  |
//! | `new.…`, `tree.…`     | what is being written, and being unpacked                      |

use std::fs::{self, File};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use md5::{Digest as _, Md5};
use pipewright_artifacts::files::{Floor, remove_tree};
use pipewright_base::hex;
use pipewright_engine::driver::Aggregate;
use pipewright_pipeline::machine::ActionExecutionId;

/// Parts of one object, as S3 has it.
pub const PARTS_MAX: u32 = 10_000;
/// Uploads in parts that one action has begun and not ended. Stops a worker from filling a disk with folders.
const UPLOADS_MAX: usize = 20;

/// Why something was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    #[error("The upload does not exist: it was ended or given up, or its id is another one")]
    NoUpload,
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

#[derive(Clone, Debug)]
pub(super) struct Folder(PathBuf);

/// Something that is being uploaded: gone when it is dropped before it is kept.
pub struct Upload {
    folder: Folder,
    of: Part,
    path: PathBuf,
    file: File,
    md5: Md5,
    left: u64,
}

/// Writes to a disk that has room for it.
pub(super) fn write(file: &mut File, bytes: &[u8]) -> io::Result<()> {
    Floor::of_disks().check(bytes.len() as u64, &*file).map_err(io::Error::other)?;
    file.write_all(bytes)
}

impl Folder {
    pub(super) fn of(jobs: &Path, pipeline: Aggregate, action: ActionExecutionId) -> Self {
        Self(jobs.join(format!("{:012}.{}.{action}", pipeline.account, hex::encode(pipeline.uid))))
    }

    /// Those that there are.
    pub(super) fn all(jobs: &Path) -> io::Result<Vec<(Aggregate, ActionExecutionId)>> {
        let read = |name: &str| {
            let mut parts = name.split('.');
            let account = parts.next()?.parse().ok()?;
            let uid = hex::decode_array(parts.next()?)?;
            Some((Aggregate { account, uid }, parts.next()?.parse().ok()?))
        };
        match names(jobs) {
            Ok(names) => Ok(names.iter().filter_map(|name| read(name)).collect()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self) -> io::Result<()> {
        match fs::symlink_metadata(&self.0) {
            Ok(_) => remove_tree(&self.0).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn make(&self) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0)
    }

    /// A name for something new.
    fn new_name(&self, kind: &str) -> io::Result<PathBuf> {
        Ok(self.0.join(format!("{kind}.{}", random()?)))
    }

    /// An empty folder to unpack into.
    pub(super) fn tree(&self) -> io::Result<PathBuf> {
        self.new_name("tree")
    }

    /// An input, packed if it is not yet.
    pub(super) fn input(&self, name: &str, pack: impl FnOnce(&mut File) -> io::Result<()>) -> io::Result<File> {
        self.make()?;
        let path = self.0.join(format!("in.{name}"));
        if !path.exists() {
            let new = self.new_name("new")?;
            let packed = create(&new).and_then(|mut file| pack(&mut file)).and_then(|()| fs::rename(&new, &path));
            packed.inspect_err(|_| drop(fs::remove_file(&new)))?;
        }
        File::open(path)
    }

    /// An output as it was uploaded last, and what it is known by.
    pub(super) fn output(&self, name: &str) -> io::Result<Option<(File, String)>> {
        let prefix = format!("out.{name}.");
        let names = match names(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            names => names?,
        };
        let Some(found) = names.into_iter().find(|name| name.starts_with(&prefix)) else { return Ok(None) };
        Ok(Some((File::open(self.0.join(&found))?, found[prefix.len()..].to_owned())))
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
        let file = create(&path)?;
        let left = bytes_max.saturating_sub(bytes_in(&self.0)?);
        Ok(Upload { folder: self.clone(), of, path, file, md5: Md5::new(), left })
    }

    /// Where the parts of an upload are.
    fn parts(&self, name: &str, id: &str) -> Result<PathBuf, UploadError> {
        let is_id = id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let path = self.0.join(format!("parts.{name}.{id}"));
        if is_id && path.is_dir() { Ok(path) } else { Err(UploadError::NoUpload) }
    }

    pub(super) fn begin_parts(&self, name: &str) -> Result<String, UploadError> {
        self.make()?;
        let begun = names(&self.0)?.iter().filter(|name| name.starts_with("parts.")).count();
        if begun >= UPLOADS_MAX {
            return Err(UploadError::Full(format!(
                "There are {UPLOADS_MAX} uploads in parts of this job that were not ended: end or abort one"
            )));
        }
        let id = random()?;
        fs::create_dir(self.0.join(format!("parts.{name}.{id}")))?;
        Ok(id)
    }

    pub(super) fn give_up_parts(&self, name: &str, id: &str) -> Result<(), UploadError> {
        Ok(remove_tree(&self.parts(name, id)?).map_err(io::Error::other)?)
    }

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
        let mut known_by = Md5::new();
        for (number, md5) in parts {
            let invalid = || UploadError::InvalidPart(format!("There is no part {number} with the ETag {md5}"));
            let bytes: [u8; 16] = hex::decode_array(md5).ok_or_else(invalid)?;
            let mut part = File::open(from.join(format!("{number}.{md5}"))).map_err(|_| invalid())?;
            known_by.update(bytes);
            // It moves from one place to the other, and is counted once.
            all.left = all.left.saturating_add(part.metadata()?.len());
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
        remove_tree(&from).map_err(io::Error::other)?;
        Ok(known_by)
    }
}

impl Upload {
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), UploadError> {
        self.left = self.left.checked_sub(bytes.len() as u64).ok_or_else(|| {
            UploadError::Full(
                "The uploads of this job are larger than an action may make (limits.files.bytes_max)".to_owned(),
            )
        })?;
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

    fn keep(self, known_by: &str) -> Result<(), UploadError> {
        self.file.sync_all()?;
        let (folder, prefix, name) = match &self.of {
            Part::All { name } => (self.folder.0.clone(), format!("out.{name}."), format!("out.{name}.{known_by}")),
            Part::One { name, id, number } => {
                (self.folder.parts(name, id)?, format!("{number}."), format!("{number}.{known_by}"))
            }
        };
        fs::rename(&self.path, folder.join(&name))?;
        for other in names(&folder)?.iter().filter(|other| other.starts_with(&prefix) && **other != name) {
            fs::remove_file(folder.join(other))?;
        }
        Ok(File::open(&folder)?.sync_all()?)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // It is not there any more once it was kept.
        let _ = fs::remove_file(&self.path);
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
