//! The file capability: the one root under which a guest sees its artifacts, its scratch and the granted directories.
//!
//! Owns which name leads where, who may read or write there, and the denial of the rest. wasi.rs and artifacts.rs are the
//! two languages in which guests ask; a real directory is an `Area`, an input is a `Tree` with `Blobs`. Must not know what an
//! action is, nor what becomes of an output.
//!
//! Inputs are served from their manifest and the blob store: handing an artifact to a call copies nothing and makes
//! nothing. Outputs and scratch become real directories when they are first written to. `..` in a path is resolved in its
//! text, before any link is followed.

mod artifacts;
mod snapshot;
mod streams;
#[cfg(test)]
mod tests;
mod wasi;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use wasmtime::component::Linker;

use pipewright_artifacts::files::{
    Area, Blobs, Budget, Copied, Entry, FileError, FileErrorKind, FileKind, FileQuota, FileResult, Floor, Found,
    MadeOutput, Missing, Node, OpenFile, Role, Stat, Tree, identity_of, paths,
};
use pipewright_base::Digest;
use pipewright_base::memory::HostMemory;
use rustix::io::Errno;

use crate::capabilities::directories;
use crate::grants::{Access, DirectoryGrant};
use crate::outside::Outside;
use crate::seam::{HostCallOutcome, Seam};
use crate::state::State;

pub(crate) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasi::add_to_linker(linker)?;
    artifacts::add_to_linker(linker)
}

/// Where the scratch is in a call's directory.
pub const SCRATCH: &str = "scratch";
/// And where its outputs are.
pub const OUTPUTS: &str = "outputs";

/// An input artifact of a call.
#[derive(Clone, Debug)]
pub struct Input {
    pub name: String,
    pub tree: Arc<Tree>,
    pub blobs: Arc<dyn Blobs>,
}

pub(crate) struct FilesConfig {
    pub(crate) inputs: Vec<Input>,
    /// The names of the output artifacts.
    pub(crate) outputs: Vec<String>,
    pub(crate) directories: BTreeMap<String, DirectoryGrant>,
    /// The host's directory in which outputs and scratch are made, when they are used. Nothing may be in it yet, and it
    /// must be on the file system of the blob store.
    pub(crate) work_dir: PathBuf,
    /// A program of the machine left it.
    pub(crate) is_scratch_left: bool,
    pub(crate) quota: FileQuota,
    pub(crate) memory: Arc<HostMemory>,
    pub(crate) floor: Floor,
    pub(crate) seam: Arc<Seam>,
}

/// What a call did with its outputs.
#[derive(Debug, Default)]
pub struct Finished {
    /// In the order of their names; those that were never written to are not there.
    pub made: Vec<MadeOutput>,
    /// The names of outputs that the guest tried to make, and that the action does not have.
    pub undeclared: Vec<String>,
    /// Whether there may be something in the folder of the call.
    pub leaves: bool,
}

/// One per call. Work that still runs when it is dropped stops at the next file or chunk.
pub(crate) struct Files {
    shared: Arc<Shared>,
    /// Those of a tool end before those of the plugin that ran it.
    is_of_tool: bool,
}

impl Drop for Files {
    fn drop(&mut self) {
        if !self.is_of_tool {
            self.shared.stop.store(true, Relaxed);
        }
    }
}

/// What work on other threads needs, too.
struct Shared {
    inputs: BTreeMap<String, Input>,
    outputs: BTreeMap<String, Arc<Area>>,
    directories: BTreeMap<String, Arc<Area>>,
    scratch: Arc<Area>,
    budget: Arc<Budget>,
    seam: Arc<Seam>,
    stop: AtomicBool,
    undeclared: Mutex<BTreeSet<String>>,
}

/// Names of outputs that do not exist are kept up to this many: stops a guest that makes them up without end.
const UNDECLARED_MAX: usize = 32;

/// Where a path leads. Paths are below what is named before them.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// `/`, `/inputs`, `/outputs` or `/directories`, by that name: nothing but names.
    Names(&'a str),
    Input(&'a Input, &'a str),
    Area(&'a Arc<Area>, &'a str),
}

/// What is wanted of a path.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Want {
    Read,
    Write,
}

impl Files {
    /// Touches no file.
    pub(crate) fn new(config: FilesConfig) -> Self {
        let FilesConfig { inputs, outputs, directories, work_dir, is_scratch_left, quota, memory, floor, seam } =
            config;
        let budget = Budget::new(quota, memory, floor);
        let area = |role, name, path| Area::new(role, name, path, Arc::clone(&budget));
        let shared = Shared {
            inputs: inputs.into_iter().map(|input| (input.name.clone(), input)).collect(),
            outputs: outputs
                .into_iter()
                .map(|name| {
                    let area = area(Role::Output, format!("/outputs/{name}"), work_dir.join(OUTPUTS).join(&name));
                    (name, area)
                })
                .collect(),
            directories: directories
                .into_iter()
                .map(|(name, grant)| {
                    let area = area(
                        Role::Granted { writable: grant.access == Access::Write },
                        format!("/directories/{name}"),
                        grant.path,
                    );
                    (name, area)
                })
                .collect(),
            scratch: area(
                if is_scratch_left { Role::Left } else { Role::Scratch },
                "/scratch".to_owned(),
                work_dir.join(SCRATCH),
            ),
            budget,
            seam,
            stop: AtomicBool::new(false),
            undeclared: Mutex::default(),
        };
        Self { shared: Arc::new(shared), is_of_tool: false }
    }

    /// The same files, for a tool of the call.
    pub(crate) fn of_tool(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), is_of_tool: true }
    }

    /// A file, as the guest sees it.
    pub(crate) fn open(&self, path: &str) -> FileResult<OpenFile> {
        self.shared.open_to_read(path)
    }

    /// Copies all of an artifact into a directory that the guest may write to.
    pub(crate) async fn lay_out(&self, artifact: Input, directory: String) -> wasmtime::Result<FileResult<Copied>> {
        let shared = Arc::clone(&self.shared);
        Ok(tokio::task::spawn_blocking(move || shared.lay_out(&artifact, &directory)).await?)
    }

    /// Where the host has the scratch, once it is there.
    pub(crate) fn scratch(&self) -> &Path {
        self.shared.scratch.host_path()
    }

    /// The first limit that was used up, in words: WASI has only a number for it.
    pub(crate) fn used_up(&self) -> Option<&str> {
        self.shared.budget.used_up()
    }

    /// What was made. To be asked when the guest is gone: nothing that it still could do counts. `has_started` where a program
    /// is to run in the scratch.
    pub(crate) fn finish(self, has_started: bool) -> Finished {
        self.shared.keep_after();
        if has_started {
            self.shared.keep_scratch_after();
        }
        let outputs = &self.shared.outputs;
        let made =
            outputs.iter().filter(|(_, area)| area.exists()).map(|(name, area)| MadeOutput::new(name, area)).collect();
        let undeclared = self.shared.undeclared.lock().unwrap_or_else(PoisonError::into_inner);
        let leaves = outputs.values().chain([&self.shared.scratch]).any(|area| area.leaves());
        Finished { made, undeclared: undeclared.iter().cloned().collect(), leaves }
    }
}

impl Shared {
    /// The path that a guest means by `path` in the directory `base`, both without the leading `/`.
    fn resolve(&self, base: &str, path: &str) -> FileResult<String> {
        if path.contains('\0') {
            return Err(FileError::invalid(Errno::INVAL, "a path has a NUL in it"));
        }
        let resolved = paths::follow(base, path).ok_or_else(|| {
            FileError::invalid(Errno::PERM, format!("{path} leads above the root of this action's files"))
        })?;
        self.budget.check_path(&resolved)?;
        Ok(resolved)
    }

    /// Where a path leads, if what is wanted there is allowed. A denial is journaled as `operation`.
    fn place<'a>(&'a self, location: &'a str, want: Want, operation: &'static str) -> FileResult<Place<'a>> {
        if want == Want::Write {
            self.note_undeclared(location);
        }
        let place = self.find(location, operation)?;
        match place {
            Place::Names(name) if want == Want::Write => Err(FileError::invalid(
                Errno::PERM,
                format!("nothing can be made or changed in /{name}: write to /outputs/NAME or /scratch"),
            )),
            Place::Input(input, _) if want == Want::Write => Err(FileError::invalid(
                Errno::ROFS,
                format!("the input artifact {} is read-only: copy it to /outputs/NAME or /scratch first", input.name),
            )),
            Place::Area(area, _) if want == Want::Write && area.role == (Role::Granted { writable: false }) => {
                let name = area.name.trim_start_matches("/directories/");
                Err(self.denied(location, name, Access::Write, operation))
            }
            place => Ok(place),
        }
    }

    fn find<'a>(&'a self, location: &'a str, operation: &'static str) -> FileResult<Place<'a>> {
        let (root, below) = location.split_once('/').unwrap_or((location, ""));
        let (name, rest) = below.split_once('/').unwrap_or((below, ""));
        match root {
            "scratch" => {
                self.keep_scratch_before();
                Ok(Place::Area(&self.scratch, below))
            }
            "" | "inputs" | "outputs" | "directories" if name.is_empty() => Ok(Place::Names(location)),
            "inputs" => match self.inputs.get(name) {
                Some(input) => Ok(Place::Input(input, rest)),
                None => Err(FileError::not_found(missing("input", name, self.inputs.keys()))),
            },
            "outputs" => match self.outputs.get(name) {
                Some(area) => Ok(Place::Area(area, rest)),
                None => Err(FileError::not_found(missing("output", name, self.outputs.keys()))),
            },
            "directories" => match self.directories.get(name) {
                Some(area) => {
                    self.keep_before(name, area);
                    Ok(Place::Area(area, rest))
                }
                None => Err(self.denied(location, name, Access::Read, operation)),
            },
            _ => Err(FileError::not_found(format!(
                "/{location} does not exist: there are /inputs, /outputs, /directories and /scratch"
            ))),
        }
    }

    /// Where a recording is made: what a granted directory is before the guest sees anything of it.
    fn keep_before(&self, name: &str, area: &Area) {
        if let Outside::Recorded(recorder) = self.seam.outside()
            && area.is_first_look()
        {
            recorder.directory(name, snapshot::take(area, recorder.bytes_left()));
        }
    }

    /// The same of those that the guest may have changed, when it is gone.
    fn keep_after(&self) {
        let Outside::Recorded(recorder) = self.seam.outside() else { return };
        for (name, area) in &self.directories {
            if area.role == (Role::Granted { writable: true }) && !area.is_first_look() {
                recorder.directory_after(name, snapshot::take(area, recorder.bytes_left()));
            }
        }
    }

    /// Where a recording is made: what a program left in the scratch, before the guest sees or changes anything of it. What the
    /// inputs have is in the recording by them.
    fn keep_scratch_before(&self) {
        if let Outside::Recorded(recorder) = self.seam.outside()
            && self.scratch.role == Role::Left
            && self.scratch.is_first_look()
        {
            let entries = self.inputs.values().flat_map(|input| input.tree.entries());
            let of_file = |entry: &Entry| if let Node::File { digest, .. } = entry.node { Some(digest) } else { None };
            let of_inputs: HashSet<Digest> = entries.filter_map(of_file).collect();
            let is_known = |digest: &Digest| of_inputs.contains(digest) || recorder.is_held(digest);
            recorder.scratch(snapshot::take_scratch(&self.scratch, recorder.bytes_left(), is_known));
        }
    }

    /// And what it is for the next program: for whoever compares two, the manifest is enough.
    fn keep_scratch_after(&self) {
        self.keep_scratch_before();
        if let Outside::Recorded(recorder) = self.seam.outside() {
            recorder.scratch_after(snapshot::take_scratch(&self.scratch, 0, |_| true));
        }
    }

    /// A write to `/outputs/NAME` without such an output is told at the end of the call, too: a guest may ignore it.
    fn note_undeclared(&self, location: &str) {
        let Some(below) = location.strip_prefix("outputs/") else { return };
        let name = below.split('/').next().unwrap_or(below);
        if self.outputs.contains_key(name) {
            return;
        }
        let mut undeclared = self.undeclared.lock().unwrap_or_else(PoisonError::into_inner);
        if undeclared.len() < UNDECLARED_MAX {
            undeclared.insert(name.to_owned());
        }
    }

    fn denied(&self, location: &str, name: &str, access: Access, operation: &'static str) -> FileError {
        FileError::denied(directories::denied(&self.seam, location, name, access, operation))
    }

    /// Does what was asked, and journals it if one of the places is a granted directory. What is done with artifacts is
    /// determined by their digests, and not journaled call by call.
    fn journaled<T>(
        &self,
        operation: &'static str,
        places: &[(&Place<'_>, &str)],
        bytes: impl FnOnce(&T) -> u64,
        work: impl FnOnce() -> FileResult<T>,
    ) -> FileResult<T> {
        let is_granted =
            |place: &Place<'_>| matches!(place, Place::Area(area, _) if matches!(area.role, Role::Granted { .. }));
        if !places.iter().any(|(place, _)| is_granted(place)) {
            return work();
        }
        let target: Vec<String> = places.iter().map(|(_, location)| format!("/{location}")).collect();
        let timer = directories::begin(&self.seam, operation);
        let result = work();
        let (outcome, bytes) = match &result {
            Ok(done) => (HostCallOutcome::Done, bytes(done)),
            Err(error) if error.kind == FileErrorKind::Quota => (HostCallOutcome::Limit(error.message.clone()), 0),
            Err(error) => (HostCallOutcome::Failed(error.message.clone()), 0),
        };
        directories::end(timer, target.join(" → "), outcome, bytes);
        result
    }

    fn stat(&self, place: &Place<'_>, location: &str, follow: bool) -> FileResult<Stat> {
        match place {
            Place::Names(_) => Ok(Stat::unmade(location)),
            Place::Area(area, path) => area.stat(path, follow),
            Place::Input(input, path) => {
                let found = input.tree.find(path, follow).map_err(|missing| not_in(input, path, missing))?;
                let (kind, size, executable) = match found {
                    Found::File { size, executable, .. } => (FileKind::File, size, executable),
                    Found::Link(target) => (FileKind::Link, target.len() as u64, false),
                    Found::Directory(_) => (FileKind::Directory, 0, false),
                };
                let identity = identity_of(location);
                Ok(Stat { kind, size, links: 1, executable, times: None, identity })
            }
        }
    }

    fn names(&self, names: &str) -> Vec<String> {
        match names {
            "inputs" => self.inputs.keys().cloned().collect(),
            "outputs" => self.outputs.keys().cloned().collect(),
            "directories" => self.directories.keys().cloned().collect(),
            _ => ["directories", "inputs", "outputs", "scratch"].map(str::to_owned).into(),
        }
    }
}

fn missing<'a>(what: &str, name: &str, there: impl Iterator<Item = &'a String>) -> String {
    let there: Vec<&str> = there.map(String::as_str).collect();
    let there = if there.is_empty() { "it has none".to_owned() } else { format!("it has {}", there.join(", ")) };
    format!("this action has no {what} artifact {name}: {there}")
}

fn not_in(input: &Input, path: &str, missing: Missing) -> FileError {
    let shown = format!("/inputs/{}/{path}", input.name);
    match missing {
        Missing::NotFound => FileError::not_found(format!("{shown} does not exist")),
        Missing::NotDirectory => {
            FileError::invalid(Errno::NOTDIR, format!("{shown}: a file is where a directory should be"))
        }
        Missing::Loop => FileError::invalid(Errno::LOOP, format!("{shown}: its links lead in a circle")),
    }
}
