//! Reading inputs, writing outputs, copies, quotas, denials, and taking outputs in.

use super::*;
use pipewright_artifacts::files::{Copied, FREE_DISK_BYTES_MIN, FileErrorKind as Kind, Open, OpenFile, Opened, export};
use pipewright_base::Digest;
use std::sync::atomic::AtomicU64;

const INPUT: &[(&str, &str)] =
    &[("bin/run*", "#!x"), ("docs/a", "aa"), ("docs/sub/b", "bbb"), ("link", "→ docs/a"), ("void/", "")];

/// Opens for writing as WASI does.
fn open(world: &World, path: &str, how: Open) -> Result<OpenFile, FileError> {
    let place = world.shared().place(path, Want::Write, "open")?;
    let Place::Area(area, path) = place else { panic!("{path} is not writable") };
    match area.open(path, how)? {
        Opened::File(file) => Ok(file),
        Opened::Directory => panic!("{path} is a directory"),
    }
}

#[test]
fn inputs_are_served_from_blobs() {
    let world = World::with(FileQuota::default(), INPUT);
    assert_eq!(
        world.list("/inputs/in"),
        "bin/\nbin/run* 3\ndocs/\ndocs/a 2\ndocs/sub/\ndocs/sub/b 3\nlink → docs/a\nvoid/\n"
    );
    assert_eq!(world.list("inputs/in/docs"), "a 2\nsub/\nsub/b 3\n");
    assert_eq!(world.read("/inputs/in/link").unwrap(), "aa");
    assert_eq!(world.shared().digest("/inputs/in/docs/a").unwrap(), Digest::of(b"aa").to_string());
    let except = vec!["docs/sub".to_owned(), "void".to_owned()];
    assert_eq!(world.shared().list("/inputs/in", except).unwrap().len(), 5);
    assert!(!world.host("work").exists(), "reading makes nothing");
}

#[test]
fn copies_keep_bits_links_and_order() {
    let mut world = World::with(FileQuota::default(), INPUT);
    let copied = world.shared().copy("/inputs/in", "/outputs/out/x", Vec::new()).unwrap();
    assert_eq!(copied, Copied { files: 3, bytes: 8 });
    // A second copy replaces.
    world.shared().copy("/inputs/in", "/outputs/out/x", vec!["docs".to_owned()]).unwrap();
    world.shared().copy("/inputs/in/docs/a", "/outputs/out/one/file", Vec::new()).unwrap();
    world.shared().copy("/outputs/out/x", "/directories/write/published", Vec::new()).unwrap();
    let published = contents(&world.host("write/published"));
    assert_eq!(published.get("link").unwrap(), "→ docs/a");
    assert_eq!(published.get("bin/run").unwrap(), "#!x");
    let tree = world.collect().unwrap();
    assert_eq!(show_tree(&tree), "one/file 2\nx/bin/run* 3\nx/docs/a 2\nx/docs/sub/b 3\nx/link → docs/a\nx/void/\n");
    for entry in tree.entries() {
        if let Node::File { digest, .. } = &entry.node {
            world.blobs().verify(digest).unwrap();
        }
    }
    let out = world.host("exported");
    export(&world.blobs(), &tree, "out", &out).unwrap();
    assert_eq!(contents(&out).get("x/docs/sub/b").unwrap(), "bbb");
}

#[test]
fn names_of_any_script() {
    let mut world = World::new();
    for path in ["ünï/çödé/é", "日本/a", "a\\b:c*"] {
        world.write(&format!("/outputs/out/{path}"), "x").unwrap();
    }
    assert_eq!(show_tree(&world.collect().unwrap()), "a\\b:c* 1\nünï/çödé/é 1\n日本/a 1\n");
}

#[test]
fn many_files_in_threads() {
    let mut world = World::new();
    for number in 0..200 {
        let path = world.host(&format!("read/{}", number % 7));
        fs::create_dir_all(&path).unwrap();
        fs::write(path.join(number.to_string()), format!("content {}", number % 50)).unwrap();
    }
    let copied = world.shared().copy("/directories/read", "/outputs/out", Vec::new()).unwrap();
    assert_eq!(copied.files, 200);
    let tree = world.collect().unwrap();
    assert_eq!(tree.entries().len(), 200);
    let mut blobs = 0;
    for entry in tree.entries() {
        let Node::File { digest, .. } = &entry.node else { panic!("{entry:?}") };
        world.blobs().verify(digest).unwrap();
        blobs += 1;
    }
    assert_eq!(blobs, 200);
    assert_eq!(contents(&world.host("blobs")).len(), 50, "each content once");
}

#[test]
fn a_damaged_blob_is_noticed_on_exit() {
    let world = World::with(FileQuota::default(), &[("a", "right")]);
    let blob = world.blobs().path(&Digest::of(b"right"));
    fs::remove_file(&blob).unwrap();
    fs::write(&blob, "wrong").unwrap();
    let error = world.shared().copy("/inputs/in", "/outputs/out", Vec::new()).unwrap_err().to_string();
    assert!(error.contains("file a of the artifact in is damaged"), "{error}");
    assert!(world.read("/outputs/out/a").is_err(), "nothing damaged is left");
    fs::remove_file(&blob).unwrap();
    let error = world.shared().copy("/inputs/in/a", "/scratch/a", Vec::new()).unwrap_err().to_string();
    assert!(error.contains("file a of the artifact in cannot be read"), "{error}");
}

#[test]
fn a_remembered_digest_never_outlives_a_change() {
    let check = |change: &dyn Fn(&World)| {
        let mut world = World::new();
        world.write("/outputs/out/a", "one").unwrap();
        change(&world);
        let tree = world.collect().unwrap();
        for entry in tree.entries() {
            if let Node::File { digest, .. } = &entry.node {
                world.blobs().verify(digest).unwrap();
            }
        }
    };
    let write = Open { write: true, follow: true, ..Open::default() };
    check(&|_| {});
    check(&|world| open(world, "outputs/out/a", write).unwrap().write_at(b"two", 0).unwrap());
    check(&|world| {
        // Through another name, which the digest's path would not tell.
        world.shared().change("/outputs/out/l", "link", |area, path| area.make_link(path, "a", true)).unwrap();
        open(world, "outputs/out/l", write).unwrap().write_at(b"two", 0).unwrap();
    });
    check(&|world| {
        let file = open(world, "outputs/out/a", write).unwrap();
        world.write("/outputs/out/b", "one").unwrap();
        file.changed();
        file.write_at(b"two", 0).unwrap();
    });
    check(&|world| {
        // The inode's number is used again.
        world.shared().change("/outputs/out/a", "remove", |area, path| area.remove_file(path)).unwrap();
        let create = Open { create: true, ..write };
        open(world, "outputs/out/a", create).unwrap().write_at(b"two", 0).unwrap();
    });
}

/// Whatever its own limits are, and whoever fills the disk.
#[test]
fn guests_leave_some_of_the_disk_free() {
    let free = Arc::new(AtomicU64::new(FREE_DISK_BYTES_MIN + 1_000));
    let floor = Floor::new({
        let free = Arc::clone(&free);
        move |_| Ok(free.load(Relaxed))
    });
    let world = World::on(floor, FileQuota::default(), 64 << 20, &[("a", "aa")]);
    world.write("/scratch/a", &"x".repeat(1_000)).unwrap();
    let open_file = open(&world, "scratch/a", Open { write: true, ..Open::default() }).unwrap();
    let shared = world.shared();
    let check = |result: Result<(), FileError>| {
        let error = result.unwrap_err();
        assert_eq!((error.kind, error.errno), (Kind::Quota, Errno::NOSPC), "{error}");
        assert!(error.to_string().contains("FREE_DISK_BYTES_MIN"), "{error}");
    };
    check(world.write("/outputs/out/a", &"x".repeat(1_001)));
    check(open_file.set_size(1 << 20));
    check(open_file.write_at(b"x", 1 << 20));
    free.store(FREE_DISK_BYTES_MIN - 1, Relaxed);
    check(world.write("/scratch/b", ""));
    check(open_file.write_at(b"x", 0));
    check(world.write("/directories/write/a", ""));
    check(shared.change("/scratch/d", "mkdir", |area, path| area.create_directory(path)));
    check(shared.change("/scratch/l", "link", |area, path| area.make_link(path, "x", true)));
    check(shared.copy("/inputs/in", "/outputs/out/copy", Vec::new()).map(drop));
    assert!(world.files.used_up().is_some_and(|told| told.contains("FREE_DISK_BYTES_MIN")));
    // What makes room is allowed, and then there is room.
    shared.change("/scratch/a", "remove", |area, path| area.remove_file(path)).unwrap();
    free.store(FREE_DISK_BYTES_MIN + 1_000, Relaxed);
    world.write("/scratch/b", "x").unwrap();
    assert!(Floor::of_disks().check(0, fs::File::open(world.host("write")).unwrap()).is_ok(), "the disk of this test");
}

#[test]
fn quotas() {
    let quota = FileQuota { bytes_max: 100, entries_max: 5, open_files_max: 3, ..FileQuota::default() };
    let limit = |error: FileError, name: &str| {
        assert_eq!(error.kind, Kind::Quota, "{error}");
        assert!(error.to_string().contains(name), "{error}");
    };
    let world = World::with(quota.clone(), &[]);
    world.write("/scratch/a", &"x".repeat(60)).unwrap();
    limit(world.write("/outputs/out/a", &"x".repeat(41)).unwrap_err(), "bytes_max");
    limit(
        open(&world, "scratch/a", Open { write: true, ..Open::default() }).unwrap().set_size(1 << 40).unwrap_err(),
        "bytes_max",
    );
    let far = open(&world, "scratch/a", Open { write: true, ..Open::default() }).unwrap();
    limit(far.write_at(b"x", 1 << 40).unwrap_err(), "bytes_max");
    drop(far);

    // The scratch itself is the first entry.
    let world = World::with(quota.clone(), &[]);
    for number in 0..4 {
        world.write(&format!("/scratch/{number}"), "").unwrap();
    }
    limit(world.write("/scratch/5", "").unwrap_err(), "entries_max");
    limit(
        world.shared().change("/scratch/d", "mkdir", |area, path| area.create_directory(path)).unwrap_err(),
        "entries_max",
    );
    limit(
        world.shared().change("/scratch/l", "link", |area, path| area.make_link(path, "x", true)).unwrap_err(),
        "entries_max",
    );

    let none = World::with(FileQuota { entries_max: 0, ..quota.clone() }, &[]);
    limit(none.write("/scratch/a", "").unwrap_err(), "entries_max");
    assert!(!none.host("work").exists(), "not even the scratch");

    let world = World::with(quota, &[]);
    world.write("/scratch/a", "").unwrap();
    let open_files: Vec<_> = (0..3).map(|_| world.shared().open_to_read("/scratch/a").unwrap()).collect();
    limit(world.shared().open_to_read("/scratch/a").map(drop).unwrap_err(), "open_files_max");
    drop(open_files);
    world.shared().open_to_read("/scratch/a").unwrap();

    let small = FileQuota { path_bytes_max: 50, directory_depth_max: 3, ..FileQuota::default() };
    let world = World::with_memory(small, 1_000, &[]);
    for number in 0..20 {
        fs::write(world.host(&format!("read/{number}")), "").unwrap();
    }
    let error = world.shared().list("/directories/read", Vec::new()).unwrap_err();
    assert_eq!(error.ends().map(|limit| limit.limit), Some("host_memory_bytes_max"), "{error}");
    assert!(world.write("/scratch/a/b/c/d", "").unwrap_err().to_string().contains("directory_depth_max"));
    assert!(
        world.write(&format!("/scratch/{}", "n".repeat(60)), "").unwrap_err().to_string().contains("path_bytes_max")
    );
}

#[test]
fn denials_name_the_grant() {
    let world = World::new();
    let check = |error: FileError, grant: &str| {
        assert_eq!(error.kind, Kind::Denied, "{error}");
        assert!(error.to_string().contains(grant), "{error}");
    };
    check(world.read("/directories/other/x").unwrap_err(), r#"directories.other = { path = "…", access = "read" }"#);
    check(
        world.write("/directories/read/x", "").unwrap_err(),
        r#"directories.read = { path = "…", access = "write" }"#,
    );
    check(world.read("/directories/a b/x").unwrap_err(), r#"directories."a b" = {"#);
    check(world.read("/directories/unasked/x").unwrap_err(), "which it does not ask for, so that no grant allows it");
    world.write("/directories/write/x", "y").unwrap();
    assert_eq!(fs::read_to_string(world.host("write/x")).unwrap(), "y");
    let journal = world.journal.calls.lock().unwrap();
    let told: Vec<_> = journal.iter().map(|call| (call.operation, call.target.as_str())).collect();
    let read = ("read", "/directories/other/x");
    assert_eq!(
        told,
        [
            read,
            ("write", "/directories/read/x"),
            ("read", "/directories/a b/x"),
            ("read", "/directories/unasked/x"),
            ("write", "/directories/write/x")
        ]
    );
}

#[test]
fn what_cannot_be_written() {
    let world = World::with(FileQuota::default(), INPUT);
    let check = |path: &str, wrong: &str| {
        let error = world.write(path, "x").unwrap_err().to_string();
        assert!(error.contains(wrong), "{path}: {error}");
    };
    check("/inputs/in/docs/a", "read-only");
    check("/inputs/other/a", "no input artifact other");
    check("/outputs/Other/a", "no output artifact Other: it has out");
    check("/a", "there are /inputs");
    check("/outputs", "nothing can be made");
    check("/outputs/out", "is a directory");
    check("/scratch/../../x", "above the root");
    let finished = world.files.finish(false);
    assert_eq!(finished.undeclared, ["Other"]);
    assert!(finished.made.is_empty());
}

#[test]
fn an_output_left_by_an_earlier_attempt_is_not_taken() {
    let world = World::new();
    fs::create_dir_all(world.host("work/outputs/out")).unwrap();
    assert!(world.write("/outputs/out/a", "x").unwrap_err().to_string().contains("cannot make it"));
}

#[test]
fn executable_bits() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new();
    world.write("/outputs/out/a", "x").unwrap();
    let set = |executable| {
        world.shared().change("/outputs/out/a", "x", |area, path| area.set_executable(path, executable)).unwrap();
        fs::metadata(world.host("work/outputs/out/a")).unwrap().permissions().mode() & 0o111
    };
    assert_ne!(set(true), 0);
    assert_eq!(set(false), 0);
}

#[test]
fn work_stops_with_the_call() {
    let world = World::with(FileQuota::default(), INPUT);
    world.shared().stop.store(true, Relaxed);
    let error = world.shared().copy("/inputs/in", "/scratch/a", Vec::new()).unwrap_err().to_string();
    assert!(error.contains("stopped"), "{error}");
}
