//! An action's own folder, and the one in which all of these lie.
//!
//! Owns what is kept of it between two calls, and that it goes. Must not know what is in it.
//!
//! What is to go is moved aside at once, so that its place is free, and removed while whoever left it goes on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use std::{fs, io, thread};

use pipewright_artifacts::files::{FREE_DISK_BYTES_MIN, remove_tree};
use pipewright_sandbox::files::{OUTPUTS, SCRATCH};
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags, statvfs};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// There while all that an action does is to wait for its turn, so that the host's death then does not count against it. Neither guests
/// nor programs see it.
const WAITS: &str = "waits";
/// How often a start looks whether the disk has room again.
const LOOK: Duration = Duration::from_millis(10);

/// Whether an action whose folder this is waited when the host died.
pub(crate) fn waited(folder: &Path) -> bool {
    folder.join(WAITS).exists()
}

/// With what the names of folders begin that are to be removed.
const GONE: &str = "gone-";
/// Folders that are removed at once. Whoever leaves one more waits for that: nobody leaves them faster than they go.
const REMOVALS_MAX: usize = 16;

/// The folder in which all of these lie.
pub(crate) struct WorkFolders {
    pub(crate) path: PathBuf,
    removals: Arc<Semaphore>,
    next: AtomicU64,
}

impl WorkFolders {
    pub(crate) fn new(path: PathBuf) -> Arc<Self> {
        Arc::new(Self { path, removals: Arc::new(Semaphore::new(REMOVALS_MAX)), next: AtomicU64::new(0) })
    }

    pub(crate) fn folder(self: &Arc<Self>, name: impl AsRef<Path>) -> WorkFolder {
        WorkFolder {
            path: self.path.join(name),
            all: Arc::clone(self),
            is_removed: AtomicBool::new(false),
            is_used: AtomicBool::new(false),
            waits: AtomicBool::new(false),
        }
    }

    /// Where the folder is now, which is to be removed; what cannot be moved stays where it is. None where there is none.
    fn take(&self, folder: &Path) -> Option<PathBuf> {
        let gone = self.path.join(format!("{GONE}{}", self.next.fetch_add(1, Relaxed)));
        match fs::rename(folder, &gone) {
            Ok(()) => Some(gone),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(_) => Some(folder.to_owned()),
        }
    }
}

/// An action's own folder, gone when its calls and what they started are.
pub(crate) struct WorkFolder {
    pub(crate) path: PathBuf,
    all: Arc<WorkFolders>,
    is_removed: AtomicBool,
    /// Whether something may be there.
    is_used: AtomicBool,
    /// Whether it is noted that the action waits.
    waits: AtomicBool,
}

impl WorkFolder {
    /// From now on the action waits for its turn. What cannot be noted must not fail it.
    pub(crate) fn wait(&self) {
        if !self.waits.swap(true, Relaxed) {
            self.used(true);
            self.note(fs::create_dir_all(&self.path).and_then(|()| fs::write(self.path.join(WAITS), "")));
        }
    }

    pub(crate) fn go_on(&self) {
        if self.waits.swap(false, Relaxed) {
            self.note(fs::remove_file(self.path.join(WAITS)));
        }
    }

    fn note(&self, noted: io::Result<()>) {
        if let Err(error) = noted {
            tracing::warn!("{}: {error}", self.path.display());
        }
    }

    /// Whether something may be there now that is to be removed in the end.
    pub(crate) fn used(&self, is_used: bool) {
        self.is_used.fetch_or(is_used, Relaxed);
    }

    /// Leaves the scratch alone, and makes it if need be.
    pub(crate) async fn keep_scratch(&self) -> anyhow::Result<PathBuf> {
        self.used(true);
        let (scratch, outputs) = (self.path.join(SCRATCH), self.path.join(OUTPUTS));
        if fs::symlink_metadata(&outputs).is_ok() {
            tokio::task::spawn_blocking(move || remove_tree(&outputs)).await??;
        }
        fs::create_dir_all(&scratch)?;
        Ok(scratch)
    }

    /// Its place is free then, whatever is still to be removed. Where it is not, that is told besides: nothing may go on in it as if
    /// it was its own.
    pub(crate) async fn empty(&self) -> io::Result<()> {
        let Some(gone) = self.all.take(&self.path) else { return Ok(()) };
        let place = Arc::clone(&self.all.removals).try_acquire_owned().ok();
        let stays = gone == self.path;
        let waits = stays || place.is_none() || is_full(free_bytes(&self.all.path));
        let removing = begin_to_remove(gone, place);
        if waits {
            let removed = removing.await.map_err(io::Error::other)?;
            return if stays { removed } else { Ok(()) };
        }
        Ok(())
    }

    /// The same at the end of the last call, and nothing where no call has left anything.
    pub(crate) async fn remove(&self) {
        if self.is_used.load(Relaxed) {
            // It is told, and whoever comes next in the same folder finds it.
            let _ = self.empty().await;
        }
        self.is_removed.store(true, Relaxed);
    }
}

/// Not on this thread: a plugin decides how long it takes. What goes wrong is told.
fn begin_to_remove(gone: PathBuf, place: Option<OwnedSemaphorePermit>) -> tokio::task::JoinHandle<io::Result<()>> {
    tokio::task::spawn_blocking(move || {
        let _held = place;
        remove_tree(&gone).inspect_err(|error| tracing::warn!("cannot remove {}: {error}", gone.display()))
    })
}

/// The folder in which all of these lie, while no action runs: nothing is in it then. What is over of actions is moved to `left`, and
/// removed from there while the host goes on: at once only as far as the disk needs it, for it may be what fills it. What cannot be done
/// is told. Blocks.
pub(crate) fn begin(work: &Path, left: &Path) {
    begin_on(work, left, free_bytes);
}

/// The same on a disk of which somebody says how much of it is free.
fn begin_on(work: &Path, left: &Path, free_bytes: impl Fn(&Path) -> io::Result<u64>) {
    if let Err(error) = move_aside(work, left) {
        tracing::warn!("what actions left in {} cannot be removed: {error}", work.display());
    }
    if let Err(error) = fs::create_dir_all(work).and_then(|()| spread(work)) {
        tracing::warn!("{}: {error}", work.display());
    }
    let left = left.to_owned();
    let removing = thread::spawn(move || {
        if let Err(error) = remove_tree(&left) {
            tracing::warn!("{} is left over, and cannot be removed: {error}", left.display());
        }
    });
    while !removing.is_finished() && is_full(free_bytes(work)) {
        thread::sleep(LOOK);
    }
}

fn is_full(free_bytes: io::Result<u64>) -> bool {
    free_bytes.is_ok_and(|free| free < FREE_DISK_BYTES_MIN)
}

fn free_bytes(work: &Path) -> io::Result<u64> {
    let disk = statvfs(work)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

/// Has the file system lay each folder in it apart from the others, where it can. ext4 gives the number of a removed file to no other
/// for a minute or more, and passes over all such numbers for each file that is made near: where an action had just removed 5,000
/// files, each of the next one's took 2 ms.
fn spread(work: &Path) -> io::Result<()> {
    let folder = fs::File::open(work)?;
    if let Ok(flags) = ioctl_getflags(&folder) {
        let _ = ioctl_setflags(&folder, flags | IFlags::TOPDIR);
    }
    Ok(())
}

/// Moves the folders over which a host was killed to where nobody looks for them, and what could not be removed then. What cannot be
/// moved now is removed, or keeps nothing else from going.
fn move_aside(work: &Path, left: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(work) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    // One for each start: what the one before moved may be there yet, by the same names.
    let mut aside = None;
    for entry in entries {
        let folder = entry?.path();
        // What only waited for its turn is known by its folder until it is called again, which empties it.
        let is_gone = folder.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(GONE.as_bytes()));
        if waited(&folder) && !is_gone {
            continue;
        }
        if aside.is_none() {
            aside = fs::create_dir_all(left).and_then(|()| Ok(tempfile::tempdir_in(left)?.keep())).ok();
        }
        let name = folder.file_name().unwrap_or_default();
        let moved = aside.as_ref().is_some_and(|aside| fs::rename(&folder, aside.join(name)).is_ok());
        if !moved && let Err(error) = remove_tree(&folder) {
            tracing::warn!("{} is left over, and cannot be removed: {error}", folder.display());
        }
    }
    Ok(())
}

impl Drop for WorkFolder {
    /// Where the call was given up.
    fn drop(&mut self) {
        if self.is_removed.load(Relaxed) || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        if let Some(gone) = self.all.take(&self.path) {
            begin_to_remove(gone, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_lie_apart_where_the_file_system_can() {
        let folder = tempfile::tempdir().unwrap();
        let (work, left) = (folder.path().join("work"), folder.path().join("work-left"));
        fs::create_dir_all(work.join("left-over")).unwrap();
        begin(&work, &left);
        assert_eq!(fs::read_dir(&work).unwrap().count(), 0);
        let is_ext4 = rustix::fs::statfs(&work).unwrap().f_type == 0xef53;
        let flags = ioctl_getflags(fs::File::open(&work).unwrap());
        assert!(!is_ext4 || flags.unwrap().contains(IFlags::TOPDIR));
    }

    #[tokio::test]
    async fn what_an_action_leaves_makes_way_at_once_and_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let all = WorkFolders::new(folder.path().join("work"));
        let one = all.folder("one");
        let leave = || {
            fs::create_dir_all(one.path.join("deep")).unwrap();
            fs::write(one.path.join("deep/file"), "x").unwrap();
        };
        one.empty().await.unwrap();
        for _ in 0..REMOVALS_MAX + 2 {
            leave();
            one.empty().await.unwrap();
            assert!(!one.path.exists());
        }
        // More than may wait, whoever waited.
        let places = all.removals.acquire_many(REMOVALS_MAX as u32).await.unwrap();
        leave();
        one.empty().await.unwrap();
        assert_eq!(fs::read_dir(&all.path).unwrap().count(), 0);
        drop(places);
        leave();
        drop(one);
        while fs::read_dir(&all.path).unwrap().count() > 0 {
            tokio::time::sleep(LOOK).await;
        }
    }

    #[test]
    fn a_start_on_a_full_disk_waits_for_room() {
        let folder = tempfile::tempdir().unwrap();
        let (work, left) = (folder.path().join("work"), folder.path().join("work-left"));
        fs::create_dir_all(work.join("left-over")).unwrap();
        // More than is removed before it is looked for room first.
        (0..5_000).for_each(|number| fs::write(work.join(format!("left-over/{number}")), "").unwrap());
        begin_on(&work, &left, |_| Ok(FREE_DISK_BYTES_MIN - u64::from(left.exists())));
        assert!(!left.exists());
    }

    #[tokio::test]
    async fn what_cannot_be_emptied_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let check = async |path: &str, expected: Option<io::ErrorKind>| {
            let emptied = WorkFolders::new(folder.path().to_owned()).folder(path).empty().await;
            assert_eq!(emptied.err().map(|error| error.kind()), expected, "{path}");
            assert!(!folder.path().join(path).exists(), "{path}");
        };
        fs::create_dir_all(folder.path().join("tree/deep")).unwrap();
        fs::write(folder.path().join("file"), "").unwrap();
        check("nothing", None).await;
        check("tree", None).await;
        check("file/below", Some(io::ErrorKind::NotADirectory)).await;
    }

    #[test]
    fn what_actions_left_is_moved_aside_and_a_later_start_goes_on_with_it() {
        let folder = tempfile::tempdir().unwrap();
        let (work, left) = (folder.path().join("work"), folder.path().join("work-left"));
        let leave = |name: &str| {
            fs::create_dir_all(work.join(name).join("deep")).unwrap();
            fs::write(work.join(name).join("deep/file"), "x").unwrap();
        };
        leave("a");
        leave("b");
        leave("waiting");
        leave("gone-0");
        for waited in ["waiting", "gone-0"] {
            fs::write(work.join(waited).join(WAITS), "").unwrap();
        }
        // Two starts of which neither came to remove anything.
        move_aside(&work, &left).unwrap();
        leave("a");
        move_aside(&work, &left).unwrap();
        let names: Vec<_> = fs::read_dir(&work).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["waiting"]);
        let moved = fs::read_dir(&left).unwrap().map(|start| fs::read_dir(start.unwrap().path()).unwrap().count());
        let mut moved: Vec<_> = moved.collect();
        moved.sort_unstable();
        assert_eq!(moved, [1, 3]);
        begin(&work, &left);
        while left.exists() {
            thread::sleep(LOOK);
        }
        assert!(waited(&work.join("waiting")));
    }
}
