//! Collecting blobs beside those who store them.

use std::fs::FileTimes;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::UNIX_EPOCH;

use super::*;

/// Between 1970, when blobs of these tests were last stored, and the time at which they are stored again.
const BEFORE: u64 = 1_000_000_000_000;

fn blobs() -> (tempfile::TempDir, BlobDir) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobDir::new(dir.path()).unwrap();
    (dir, blobs)
}

/// Lets the grace period pass for a blob.
fn age(blobs: &BlobDir, digest: &Digest) {
    if let Ok(file) = fs::File::open(blobs.path(digest)) {
        file.set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
    }
}

#[test]
fn what_was_stored_again_stays() {
    let (dir, blobs) = blobs();
    let [again, unused, young] = ["again", "unused", "young"].map(|text| blobs.put(text.as_bytes()).unwrap());
    age(&blobs, &again);
    age(&blobs, &unused);
    fs::write(dir.path().join("new-1-1"), "of a writer that died").unwrap();
    fs::write(dir.path().join("new-1-2"), "of a writer").unwrap();
    let died = fs::File::open(dir.path().join("new-1-1")).unwrap();
    died.set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
    let mut candidates = blobs.stored_before(BEFORE).unwrap();
    candidates.sort_unstable();
    let mut expected = vec![again, unused];
    expected.sort_unstable();
    assert_eq!(candidates, expected);
    // An action stores it while the collector reads what is referred to.
    assert_eq!(blobs.put(b"again").unwrap(), again);
    candidates.push(Digest::of(b"never stored"));
    assert_eq!(blobs.remove_unused(candidates, BEFORE).unwrap(), (1, 6));
    assert_eq!([again, unused, young].map(|digest| blobs.contains(&digest)), [true, false, true]);
    assert!(!dir.path().join("new-1-1").exists() && dir.path().join("new-1-2").exists());
}

/// A plugin's own time for a file is not the time at which it was stored.
#[test]
fn a_file_that_is_moved_in_is_new() {
    let mut world = World::new();
    world.write("/outputs/out/old", "old").unwrap();
    let file = fs::File::open(world.shared().outputs["out"].host_path().join("old")).unwrap();
    file.set_times(FileTimes::new().set_modified(UNIX_EPOCH)).unwrap();
    world.collect().unwrap();
    assert_eq!(world.blobs().stored_before(BEFORE).unwrap(), []);
    assert!(world.blobs().contains(&Digest::of(b"old")));
}

/// A collector looks at a blob and removes it while it is stored again and again: whoever stored it has it.
#[test]
fn removing_does_not_come_between_finding_and_renewing() {
    let (_dir, blobs) = blobs();
    let digest = Digest::of(b"wanted");
    let done = AtomicBool::new(false);
    let mut removed = 0;
    std::thread::scope(|scope| {
        let storing = scope.spawn(|| {
            let kept = (0..20_000).all(|_| {
                age(&blobs, &digest);
                blobs.put(b"wanted").is_ok() && blobs.verify(&digest).is_ok()
            });
            done.store(true, Ordering::SeqCst);
            kept
        });
        while !done.load(Ordering::SeqCst) {
            removed += blobs.remove_unused([digest], BEFORE).unwrap().0;
        }
        assert!(storing.join().unwrap(), "what was stored went");
    });
    assert!(removed > 0, "the collector had something to do");
}
