//! Keeps what comes to a call from outside, within a limit on its bytes.
//!
//! Owns what fits, and that no secret value is left in it. Must not know what a capability does with what it got.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sha2::Digest as _;

use super::body::{Body, Reel, may_be_kept};
use super::step::{Recorded, RecordedDirectory, Step};
use crate::masks::Masks;
use pipewright_artifacts::files::Tree;
use pipewright_base::Digest;

/// What a step takes besides what is written of it.
const STEP_BYTES: u64 = 64;
const BEFORE: &str = "as it was before the call";
const AFTER: &str = "as it was after the call";
/// What stands for the scratch among what is left out.
pub const LEFT_IN_SCRATCH: &str = "what the program before the call left in /scratch";
const LAID_IN_SCRATCH: &str = "what the call left in /scratch for the next program";
/// Sentences about what was left out; after these nothing more is said. Stops a list that grows with a loop in a guest.
const LEFT_OUT_MAX: usize = 100;

/// One per call.
pub struct Recorder {
    bytes_max: u64,
    bytes_left: AtomicU64,
    room: Arc<Room>,
    /// What the recording has of earlier calls.
    held: HashSet<Digest>,
    kept: Mutex<Kept>,
}

/// What all recorders of a host may hold together. Stops a thousand calls that each keep to their own limit.
pub struct Room(AtomicU64);

impl Room {
    pub fn new(bytes_max: u64) -> Arc<Self> {
        Arc::new(Self(bytes_max.into()))
    }
}

fn take(left: &AtomicU64, bytes: u64) -> bool {
    left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.room.0.fetch_add(self.bytes_max - self.bytes_left.load(Relaxed), Relaxed);
    }
}

#[derive(Default)]
struct Kept {
    /// Of the call, and not of a tool that it ran later.
    time: Option<u64>,
    looked_at_time: bool,
    steps: Vec<Made>,
    steps_left_out: u64,
    directories: BTreeMap<String, Directory>,
    scratch: Option<Directory>,
    /// The components of packages that were run, by their names.
    tools: BTreeMap<String, Digest>,
}

enum Made {
    Step(Step),
    Open(Arc<dyn Open>),
}

/// A use that goes on while others are made; what is kept of it is taken when the guest is gone.
pub(crate) trait Open: Send + Sync {
    fn close(&self, cleaner: &mut Cleaner<'_>) -> Step;
}

/// A directory: what it was, and became, or why that is not kept. None where nobody asked.
#[derive(Default)]
struct Directory {
    before: Option<Result<Snapshot, String>>,
    after: Option<Result<Snapshot, String>>,
}

/// A directory's manifest and the contents of its files.
pub(crate) struct Snapshot {
    pub(crate) tree: Tree,
    pub(crate) files: Vec<Bytes>,
}

impl Recorder {
    /// Keeps at most `bytes_max` bytes, and no more than there is room for; says what it left out. `held` is what the recording
    /// has anyway.
    pub fn new(bytes_max: u64, room: &Arc<Room>, held: HashSet<Digest>) -> Arc<Self> {
        let (room, kept) = (Arc::clone(room), Mutex::default());
        Arc::new(Self { bytes_max, bytes_left: bytes_max.into(), room, held, kept })
    }

    pub(crate) fn is_held(&self, digest: &Digest) -> bool {
        self.held.contains(digest)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn take(&self, bytes: u64) -> bool {
        let takes = take(&self.room.0, bytes);
        let taken = takes && take(&self.bytes_left, bytes);
        if takes && !taken {
            self.room.0.fetch_add(bytes, Relaxed);
        }
        taken
    }

    pub(super) fn give_back(&self, bytes: u64) {
        self.bytes_left.fetch_add(bytes, Relaxed);
        self.room.0.fetch_add(bytes, Relaxed);
    }

    pub(crate) fn bytes_left(&self) -> u64 {
        self.bytes_left.load(Relaxed)
    }

    pub(crate) fn start(&self, milliseconds: u64) {
        self.kept().time.get_or_insert(milliseconds);
    }

    pub(crate) fn looked_at_time(&self) {
        self.kept().looked_at_time = true;
    }

    pub(crate) fn step(&self, step: impl FnOnce() -> Step) {
        if self.kept().steps_left_out == 0 {
            let step = step();
            let bytes = serde_json::to_vec(&step).map_or(0, |written| written.len());
            if self.take(STEP_BYTES + bytes as u64) {
                return self.kept().steps.push(Made::Step(step));
            }
        }
        self.kept().steps_left_out += 1;
    }

    /// Keeps the place of a use that goes on while others are made. False if it does not fit.
    pub(crate) fn open(&self, bytes: usize, open: Arc<dyn Open>) -> bool {
        let takes = self.take(STEP_BYTES + bytes as u64);
        let mut kept = self.kept();
        let fits = takes && kept.steps_left_out == 0;
        if fits {
            kept.steps.push(Made::Open(open));
        } else {
            kept.steps_left_out += 1;
        }
        fits
    }

    /// What a granted directory is, before the guest sees anything of it.
    pub(crate) fn directory(&self, name: &str, before: Result<Snapshot, String>) {
        let before = Some(before.and_then(|snapshot| self.fitting(snapshot)));
        self.kept().directories.insert(name.to_owned(), Directory { before, after: None });
    }

    /// What a program left in the scratch.
    pub(crate) fn scratch(&self, before: Result<Snapshot, String>) {
        let before = Some(before.and_then(|snapshot| self.fitting(snapshot)));
        self.kept().scratch = Some(Directory { before, after: None });
    }

    /// What the next program finds there.
    pub(crate) fn scratch_after(&self, after: Result<Snapshot, String>) {
        let after = Some(after.and_then(|snapshot| self.fitting(snapshot)));
        self.kept().scratch.get_or_insert_default().after = after;
    }

    /// What became of it.
    pub(crate) fn directory_after(&self, name: &str, after: Result<Snapshot, String>) {
        let after = after.and_then(|snapshot| self.fitting(snapshot));
        if let Some(directory) = self.kept().directories.get_mut(name) {
            directory.after = Some(after);
        }
    }

    fn fitting(&self, snapshot: Snapshot) -> Result<Snapshot, String> {
        let bytes = snapshot.files.iter().map(|file| file.len() as u64).sum::<u64>();
        let manifest = snapshot.tree.to_bytes().len() as u64;
        if self.take(bytes + manifest) { Ok(snapshot) } else { Err(self.too_much()) }
    }

    fn too_much(&self) -> String {
        format!("it does not fit into {} bytes (recording_bytes_max)", self.bytes_max)
    }

    pub(crate) fn ran_tool(&self, package: &str, digest: Digest) {
        self.kept().tools.insert(package.to_owned(), digest);
    }

    /// All that was kept, without secret values. To be asked when the guest is gone.
    pub(crate) fn finish(&self, masks: &Masks) -> Recorded {
        let Kept { time, looked_at_time, steps: made, mut steps_left_out, directories, scratch, tools } =
            std::mem::take(&mut *self.kept());
        let mut cleaner = Cleaner { masks, too_much: self.too_much(), recorded: Recorded::default() };
        let mut steps = Vec::with_capacity(made.len());
        let mut left = made.into_iter();
        while let Some(made) = left.next() {
            let step = match made {
                Made::Step(step) => step.masked(masks),
                Made::Open(open) => Some(open.close(&mut cleaner)),
            };
            let Some(step) = step else {
                // Without it, nothing that follows could be given again.
                steps_left_out += 1 + left.len() as u64;
                cleaner.too_much = "a secret's value is in the first of them, where it cannot be masked".to_owned();
                break;
            };
            steps.push(step);
        }
        let directories = directories
            .into_iter()
            .map(|(name, directory)| {
                let what = format!("the directory {name}");
                let kept = cleaner.directory([&format!("{what}, {BEFORE}"), &format!("{what}, {AFTER}")], directory);
                (name, kept)
            })
            .collect();
        let scratch = scratch.map(|scratch| cleaner.directory([LEFT_IN_SCRATCH, LAID_IN_SCRATCH], scratch));
        if steps_left_out > 0 {
            cleaner.leave_out(format!("the last {steps_left_out} host calls: {}", cleaner.too_much));
        }
        Recorded {
            time: time.unwrap_or_default(),
            looked_at_time,
            steps,
            steps_left_out,
            directories,
            scratch,
            tools,
            ..cleaner.recorded
        }
    }
}

/// Takes secret values out of what was kept.
pub(crate) struct Cleaner<'a> {
    masks: &'a Masks,
    too_much: String,
    recorded: Recorded,
}

impl Cleaner<'_> {
    pub(crate) fn leave_out(&mut self, what: String) {
        if self.recorded.left_out.len() < LEFT_OUT_MAX {
            self.recorded.left_out.push(what);
        }
    }

    pub(crate) fn text(&self, text: &str) -> String {
        self.masks.text(text).into_owned()
    }

    pub(crate) fn masks(&self) -> &Masks {
        self.masks
    }

    /// `encoding` is how its bytes are compressed, as HTTP names it; empty if they are not.
    pub(crate) fn body(&mut self, what: &str, reel: Reel, encoding: &str) -> Body {
        let Reel { bytes, hasher, kept } = reel;
        let left_out = |sha256: [u8; 32]| Body { bytes, sha256: sha256.into(), masked: false, left_out: true };
        let Some(kept) = kept else {
            let too_much = self.too_much.clone();
            self.leave_out(format!("{what}: {too_much}"));
            return left_out(hasher.finalize().into());
        };
        if let Err(why) = may_be_kept(&kept, encoding, self.masks) {
            self.leave_out(format!("{what}: {why}"));
            return left_out(hasher.finalize().into());
        }
        let clean = self.masks.bytes(&kept);
        let masked = *clean != *kept;
        let clean = clean.into_owned();
        if masked {
            self.leave_out(format!("a secret's value in {what}: it is masked"));
        }
        Body { bytes, sha256: self.keep(clean.into()), masked, left_out: false }
    }

    /// What was kept of it.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Bytes> {
        self.recorded.blobs.get(digest)
    }

    fn keep(&mut self, bytes: Bytes) -> Digest {
        let digest = Digest::of(&bytes);
        self.recorded.blobs.insert(digest, bytes);
        digest
    }

    /// `what` it is before the call, and after it.
    fn directory(&mut self, what: [&str; 2], directory: Directory) -> RecordedDirectory {
        let Directory { before, after } = directory;
        let [before, after] = [(what[0], before), (what[1], after)]
            .map(|(what, snapshot)| snapshot.and_then(|snapshot| self.snapshot(what, snapshot)));
        RecordedDirectory { before, after }
    }

    fn snapshot(&mut self, what: &str, snapshot: Result<Snapshot, String>) -> Option<Digest> {
        let Snapshot { tree, files } = match snapshot {
            Ok(snapshot) => snapshot,
            Err(why) => {
                self.leave_out(format!("{what}: {why}"));
                return None;
            }
        };
        let manifest = tree.to_bytes();
        let has_secret = |bytes: &[u8]| matches!(self.masks.bytes(bytes), std::borrow::Cow::Owned(_));
        if has_secret(&manifest) || files.iter().any(|file| has_secret(file)) {
            self.leave_out(format!("{what}: a secret's value is in it"));
            return None;
        }
        for file in files {
            self.keep(file);
        }
        Some(self.keep(manifest.into()))
    }
}
