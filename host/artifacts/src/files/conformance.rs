//! What every store of blobs promises, checked on each of them.

use std::fs::{self, File, FileTimes};
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use cap_std::ambient_authority;
use cap_std::fs::Dir;
use pipewright_base::Digest;
use tempfile::TempDir;

use super::*;

/// Between 1970, when blobs of these tests were last stored, and the time at which they are stored again.
const BEFORE: u64 = 1_000_000_000_000;

/// A store, and how the grace period passes for one of its blobs.
struct World<'a> {
    blobs: Arc<dyn Blobs>,
    age: &'a (dyn Fn(&Digest) + Sync),
}

/// Runs one check on every store.
fn on_each(check: impl Fn(World<'_>)) {
    let memory = BlobMemory::default();
    check(World { blobs: Arc::new(memory.clone()), age: &|digest| memory.age(digest) });
    let dir = TempDir::new().unwrap();
    let folder = BlobDir::new(dir.path()).unwrap();
    let age = |digest: &Digest| {
        if let Ok(file) = File::open(folder.path(digest)) {
            file.set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
        }
    };
    check(World { blobs: Arc::new(folder.clone()), age: &age });
}

#[test]
fn what_was_stored_is_read() {
    on_each(|World { blobs, .. }| {
        assert_eq!(blobs.digests().unwrap(), []);
        let long = vec![7; 300_000];
        let mut stored = [&b""[..], b"text", &long].map(|bytes| blobs.put(bytes).unwrap());
        assert_eq!(blobs.put(b"text").unwrap(), Digest::of(b"text"), "once more");
        blobs.sync().unwrap();
        assert_eq!(blobs.read(&stored[2], 300_000).unwrap(), long);
        assert_eq!(blobs.verify(&stored[2]).unwrap(), 300_000);
        assert!(matches!(blobs.read(&stored[2], 299_999), Err(BlobError::TooLarge { bytes_max: 299_999, .. })));
        let (mut one, mut other) = (blobs.open(&stored[1]).unwrap(), blobs.open(&stored[1]).unwrap());
        for file in [&mut one, &mut other] {
            let mut text = String::new();
            file.read_to_string(&mut text).unwrap();
            assert_eq!(text, "text", "each opening has a position of its own");
        }
        stored.sort_unstable();
        assert_eq!(blobs.digests().unwrap(), stored);
        let never = Digest::of(b"never");
        assert!(!blobs.contains(&never) && !blobs.renew(&never, 5));
        assert_eq!(blobs.open(&never).unwrap_err().kind(), std::io::ErrorKind::NotFound);
        assert!(matches!(blobs.verify(&never), Err(BlobError::Missing(_))));
        assert!(!blobs.renew(&Digest::of(b"text"), 3), "its size is another");
    });
}

#[test]
fn what_was_stored_again_stays() {
    on_each(|World { blobs, age }| {
        let [again, renewed, unused, young] =
            ["again", "renewed", "unused", "young"].map(|text| blobs.put(text.as_bytes()).unwrap());
        [again, renewed, unused].iter().for_each(age);
        let mut expected = vec![again, renewed, unused];
        expected.sort_unstable();
        let mut candidates = blobs.stored_before(BEFORE).unwrap();
        assert_eq!(candidates, expected);
        // Actions store them while the collector reads what is referred to.
        assert_eq!(blobs.put(b"again").unwrap(), again);
        assert!(blobs.renew(&renewed, 7));
        candidates.push(Digest::of(b"never stored"));
        assert_eq!(blobs.remove_unused(&candidates, BEFORE).unwrap(), (1, 6));
        let there = [again, renewed, unused, young].map(|digest| blobs.contains(&digest));
        assert_eq!(there, [true, true, false, true]);
    });
}

/// A plugin's own time for a file is not the time at which it was stored.
#[test]
fn a_file_that_is_taken_in_is_gone_and_new() {
    on_each(|World { blobs, .. }| {
        let dir = TempDir::new().unwrap();
        fs::write(dir.path().join("old"), "old").unwrap();
        let file = File::open(dir.path().join("old")).unwrap();
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
        let (top, old) = (Dir::open_ambient_dir(dir.path(), ambient_authority()).unwrap(), Digest::of(b"old"));
        blobs.adopt(&old, &top, "old").unwrap();
        assert!(!dir.path().join("old").exists());
        assert_eq!(blobs.read(&old, 3).unwrap(), b"old");
        assert_eq!(blobs.stored_before(BEFORE).unwrap(), []);
    });
}

#[test]
fn an_output_is_taken_in_and_written_out() {
    on_each(|World { blobs, .. }| {
        let dir = TempDir::new().unwrap();
        let [made, out] = ["made", "out"].map(|name| dir.path().join(name));
        fs::create_dir_all(made.join("sub")).unwrap();
        fs::write(made.join("sub/file"), "text").unwrap();
        fs::write(made.join("same"), "text").unwrap();
        let output = MadeOutput::of_directory("Site", made.clone());
        let tree = collect(&output, &*blobs, &FileQuota::default()).unwrap();
        assert_eq!(blobs.digests().unwrap(), [Digest::of(b"text")]);
        assert!(!made.join("same").exists() && !made.join("sub/file").exists());
        assert_eq!(export(&*blobs, &tree, "Site", &out).unwrap(), Copied { files: 2, bytes: 8 });
        assert_eq!(fs::read_to_string(out.join("sub/file")).unwrap(), "text");
    });
}

/// A collector looks at a blob and removes it while it is stored again and again: whoever stored it has it.
#[test]
fn removing_does_not_come_between_finding_and_renewing() {
    on_each(|World { blobs, age }| {
        let digest = Digest::of(b"wanted");
        let (done, removed) = (AtomicBool::new(false), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let storing = scope.spawn(|| {
                // On a loaded machine the other thread may not have had its turn by then.
                let kept = (0..).take_while(|round| *round < 20_000 || !removed.load(Ordering::SeqCst)).all(|_| {
                    age(&digest);
                    blobs.put(b"wanted").is_ok() && blobs.verify(&digest).is_ok()
                });
                done.store(true, Ordering::SeqCst);
                kept
            });
            while !done.load(Ordering::SeqCst) {
                if blobs.remove_unused(&[digest], BEFORE).unwrap().0 > 0 {
                    removed.store(true, Ordering::SeqCst);
                }
            }
            assert!(storing.join().unwrap(), "what was stored went");
        });
    });
}

/// A directory only: what a writer that died left there goes with the first collection after the grace period.
#[test]
fn what_a_dead_writer_left_is_removed() {
    let dir = TempDir::new().unwrap();
    let [died, writes] = ["new-1-1", "new-1-2"].map(|name| dir.path().join(name));
    for path in [&died, &writes] {
        fs::write(path, "half").unwrap();
    }
    File::open(&died).unwrap().set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
    assert_eq!(BlobDir::new(dir.path()).unwrap().stored_before(BEFORE).unwrap(), []);
    assert!(!died.exists() && writes.exists());
}
