//! What is run, and how it ended.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::level::Level;
use crate::limits::Limits;
use crate::message::ORDER_BYTES_MAX;
use crate::proxy::Proxy;
use crate::toolchain::Toolchain;

/// Where a job finds its work directory, but at the level `restricted`, where it is at its own place on the machine.
pub const WORK: &str = "/work";

/// Where a job finds its `files`: in the memory that its `/dev` is, where an image has nothing to say.
pub const FILES: &str = "/dev/files";

/// Where a job with a way to the network finds it: a port of its own loopback address.
pub const PROXY_PORT: u16 = 3128;

/// One program, and all that it sees.
#[derive(Clone)]
pub struct Job {
    /// The program, looked up in the `PATH` of `environment` if it is a bare name, and its arguments.
    pub argv: Vec<String>,
    pub root: Root,
    /// A directory of this job alone, which it may write to. No file in it may have another name outside of it. It is closed
    /// to other users of the machine. Where the host is root, it is the job's own while the job runs.
    pub work: PathBuf,
    /// Its current directory, below `work`; empty: `work` itself.
    pub directory: PathBuf,
    pub binds: Vec<Bind>,
    /// Files for this job alone, by their names below [`FILES`], with what is in them: it reads them, and nobody writes to them. They are
    /// in no file system of the machine, and go with the job. Not at the level `restricted`.
    pub files: Vec<(String, String)>,
    /// The whole of it: nothing of the host's environment.
    pub environment: Vec<(String, String)>,
    /// The way to the network. Without one there is none.
    pub network: Option<Arc<Proxy>>,
    pub limits: Limits,
}

/// The file system that a job sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Root {
    /// What a job changes in it, it changes for itself.
    Image(Layers),
    Toolchain(Toolchain),
}

impl Root {
    /// What a job sees besides its work directory and what is bound: the toolchain's paths, or the folder of the image's layers.
    pub(crate) fn seen(&self) -> Vec<&Path> {
        match self {
            Self::Image(image) => vec![&image.folder],
            Self::Toolchain(toolchain) => {
                toolchain.entries.iter().filter(|it| it.link.is_none()).map(|it| it.path.as_path()).collect()
            }
        }
    }

    /// What it holds on to while it is seen: of an image each layer.
    pub(crate) fn held(&self) -> Vec<PathBuf> {
        match self {
            Self::Image(image) => image.names.iter().map(|name| image.folder.join(name)).collect(),
            Self::Toolchain(_) => self.seen().into_iter().map(Path::to_owned).collect(),
        }
    }
}

/// The layers of an image, each unpacked into a directory of its own ([`crate::Isolation::unpack`]), in one folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    pub folder: PathBuf,
    /// The names of their directories, the topmost first.
    pub names: Vec<String>,
}

/// As many as their names have room for in the options of a mount.
pub const LAYERS_MAX: usize = 127;

impl Layers {
    /// A whole root file system in one directory.
    pub fn of_directory(directory: &Path) -> Self {
        let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { folder: directory.parent().unwrap_or(directory).to_owned(), names: vec![name] }
    }

    fn check(&self) -> Result<(), JobError> {
        if let Some(bad) = self.names.iter().find(|name| !is_name(name)) {
            return Err(JobError::Layer(bad.clone()));
        }
        match self.names.len() {
            1..=LAYERS_MAX => Ok(()),
            other => Err(JobError::Layers(other)),
        }
    }
}

pub(crate) fn is_name(name: &str) -> bool {
    let mut parts = Path::new(name).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(it)), None) if it == name) && !name.contains('\0')
}

/// A file or directory of the machine that a job sees, by the machine's own rights for the user that jobs run as.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    pub from: PathBuf,
    /// At the level `restricted` it has to be the same.
    pub to: PathBuf,
    pub writable: bool,
}

/// A job that cannot be run as it is, at any time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("a job needs a program")]
    NoProgram,
    #[error("argument {0} has a zero byte, which no program can be given")]
    Argument(usize),
    /// The value is not told, for it may be a secret.
    #[error("the environment variable `{0}` has a zero byte, or a name that is empty or has `=`")]
    Variable(String),
    #[error("`{}` is no absolute path without `.` and `..`", .0.display())]
    Path(PathBuf),
    #[error("`{}` is no path below the work directory without `.` and `..`", .0.display())]
    Directory(PathBuf),
    #[error("`{0}` is no name of a file")]
    File(String),
    #[error("`{0}` is no name of a layer's directory")]
    Layer(String),
    #[error("an image of {0} layers is none that a job can run in: it has 1 to {LAYERS_MAX}")]
    Layers(usize),
    #[error("`{}` is a place that every job has of its own; bind it elsewhere", .0.display())]
    Place(PathBuf),
    #[error("its `PATH` names {0} directories, of which at most {DIRECTORIES_MAX} are looked into")]
    Directories(usize),
    #[error("its arguments, variables and files take {0} bytes; a job is told at most {ORDER_BYTES_MAX}")]
    TooLong(usize),
}

/// Of a `PATH` in which a program is looked up.
const DIRECTORIES_MAX: usize = 256;

/// Places of a job that are made for it.
const OWN_PLACES: [&str; 5] = ["/dev", "/proc", "/sys", "/tmp", WORK];

impl Job {
    pub(crate) fn check(&self) -> Result<(), JobError> {
        if self.argv.first().is_none_or(String::is_empty) {
            return Err(JobError::NoProgram);
        }
        if let Some(bad) = self.argv.iter().position(|word| word.contains('\0')) {
            return Err(JobError::Argument(bad));
        }
        let is_bad = |name: &str, value: &str| name.is_empty() || name.contains(['=', '\0']) || value.contains('\0');
        if let Some((bad, _)) = self.environment.iter().find(|(name, value)| is_bad(name, value)) {
            return Err(JobError::Variable(bad.clone()));
        }
        let directories = path(&self.environment).split(':').count();
        if directories > DIRECTORIES_MAX && !self.argv[0].contains('/') {
            return Err(JobError::Directories(directories));
        }
        let root = match &self.root {
            Root::Image(layers) => {
                layers.check()?;
                Some(&layers.folder)
            }
            Root::Toolchain(_) => None,
        };
        let paths = self.binds.iter().flat_map(|bind| [&bind.from, &bind.to]);
        if let Some(bad) = paths.chain(root).chain([&self.work]).find(|path| !is_plain(path)) {
            return Err(JobError::Path(bad.clone()));
        }
        if !self.directory.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(JobError::Directory(self.directory.clone()));
        }
        if let Some((bad, _)) = self.files.iter().find(|(name, _)| !is_name(name)) {
            return Err(JobError::File(bad.clone()));
        }
        match self.binds.iter().find(|bind| is_own_place(&bind.to)) {
            Some(bind) => Err(JobError::Place(bind.to.clone())),
            None => Ok(()),
        }
    }
}

/// Where a program is looked up in an environment: by what comes last, and without one where the system's own are.
pub(crate) fn path(environment: &[(String, String)]) -> &str {
    environment.iter().rfind(|(name, _)| name == "PATH").map_or("/bin:/usr/bin", |(_, path)| path)
}

/// Whether a path says by its words alone where it is.
pub(crate) fn is_plain(path: &Path) -> bool {
    let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
    path.is_absolute() && path.components().all(plain) && path.to_str().is_some_and(|text| !text.contains('\0'))
}

pub(crate) fn is_own_place(path: &Path) -> bool {
    path == Path::new("/") || OWN_PLACES.iter().any(|own| path.starts_with(own))
}

/// What ended a job other than its own doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Limit {
    /// No limit: it was stopped.
    Stopped,
    CpuSeconds,
    WallSeconds,
    MemoryBytes,
    Processes,
    DiskBytes,
    DiskEntries,
    OutputBytes,
}

/// How a job ended. Nothing of it runs any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    pub level: Level,
    /// As shells tell it: what the program ended with, or 128 and the number of the signal that ended it.
    pub status: i32,
    /// The signal that the status tells of.
    pub signal: Option<i32>,
    /// Set if the job was ended, by a limit or because it was stopped. A program that meets `files_open_max`, `file_bytes_max`,
    /// the scratch limits or, with a single process, `memory_bytes_max` sees an error of the call, and goes on.
    pub ended_by: Option<Limit>,
    /// Of all its processes. Of those that were killed, the last moments may be missing.
    pub cpu_micros: u64,
    /// At most at once, of all its processes, as far as it was seen: of a job of a few milliseconds, its largest process.
    pub memory_bytes_max: u64,
}

impl Ended {
    pub fn is_success(&self) -> bool {
        self.status == 0 && self.ended_by.is_none()
    }
}
