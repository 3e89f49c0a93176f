//! Layers that are unpacked, also those that were made to get out, and jobs in what comes of them.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::panic;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use common::{World, isolation, run};
use flate2::{Compression, write::GzEncoder};
use pipewright_artifacts::files::remove_tree;
use pipewright_isolation::{
    Isolation, LayerError, Layers, Level, Root, UnpackError, UnpackLimits, unpack, unpacked_in,
};
use ruzstd::encoding::{CompressionLevel, compress_to_vec};
use tar::{Builder, EntryType, Header};

/// One entry: kind, mode, path, and content or target.
type Put = (EntryType, u32, &'static str, &'static str);
use EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

fn layer(entries: &[Put]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, mode, path, content) in entries {
        let is_link = [Link, Symlink].contains(kind);
        let mut header = Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_mtime(1_000_000);
        // By hand: the writer refuses what a hostile layer has.
        header.as_gnu_mut().unwrap().name[..path.len()].copy_from_slice(path.as_bytes());
        if is_link {
            header.as_gnu_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        let content = if is_link { &[][..] } else { content.as_bytes() };
        header.set_size(content.len() as u64);
        header.set_cksum();
        builder.append(&header, content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn unpacked(world: &World, layers: &[&[Put]]) -> (std::path::PathBuf, Result<(), UnpackError>) {
    let root = world.folder("root");
    let unpacked = |entries: &&[Put]| unpack(&layer(entries)[..], &root, &UnpackLimits::default()).map(drop);
    let last = layers.iter().try_for_each(unpacked);
    (root, last)
}

/// All that is below a directory, sorted: `path`, `path/`, `path -> target` and the content of files.
fn listed(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root).unwrap().display().to_string();
            let kind = path.symlink_metadata().unwrap().file_type();
            if kind.is_dir() {
                found.push(format!("{name}/"));
                folders.push(path);
            } else if kind.is_symlink() {
                found.push(format!("{name} -> {}", fs::read_link(path).unwrap().display()));
            } else {
                found.push(format!("{name}={}", fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

fn check(layers: &[&[Put]], expected: &[&str]) {
    let world = World::new();
    fs::write(world.folder.path().join("outside"), "outside").unwrap();
    let (root, last) = unpacked(&world, layers);
    last.unwrap_or_else(|error| panic!("{layers:?}: {error}"));
    assert_eq!(listed(&root), expected, "{layers:?}");
    assert_eq!(fs::read_to_string(world.folder.path().join("outside")).unwrap(), "outside");
}

#[test]
fn layers_lie_upon_each_other() {
    let base: &[Put] = &[
        (Directory, 0o755, "usr/", ""),
        (Directory, 0o555, "usr/lib/", ""),
        (Regular, 0o644, "usr/lib/a", "1"),
        (Regular, 0o644, "usr/lib/b", "2"),
        (Symlink, 0o777, "lib", "usr/lib"),
        (Link, 0o644, "./hard", "usr/lib/a"),
    ];
    check(&[base], &["hard=1", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/a=1", "usr/lib/b=2"]);
    // By way of a link, and without the directories' own entries.
    check(
        &[base, &[(Regular, 0o644, "lib/c", "3"), (Regular, 0o600, "new/deep/d", "4")]],
        &[
            "hard=1",
            "lib -> usr/lib",
            "new/",
            "new/deep/",
            "new/deep/d=4",
            "usr/",
            "usr/lib/",
            "usr/lib/a=1",
            "usr/lib/b=2",
            "usr/lib/c=3",
        ],
    );
    check(
        &[base, &[(Regular, 0o644, "usr/lib/.wh.a", ""), (Regular, 0o644, "usr/.wh.gone", "")]],
        &["hard=1", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/b=2"],
    );
    // What the layer itself has stays, wherever the mark stands.
    let opaque: &[Put] = &[
        (Directory, 0o755, "usr/lib/", ""),
        (Regular, 0o644, "usr/lib/own", "5"),
        (Regular, 0o644, "usr/lib/.wh..wh..opq", ""),
    ];
    check(&[base, opaque], &["hard=1", "lib -> usr/lib", "usr/", "usr/lib/", "usr/lib/own=5"]);
    // One kind in the place of another; a file that has another name is not written through it.
    check(
        &[base, &[(Regular, 0o644, "usr/lib", "6"), (Regular, 0o644, "hard", "7")]],
        &["hard=7", "lib -> usr/lib", "usr/", "usr/lib=6"],
    );
}

const UP: &str = "../../../../../../../../../../../../../../../../../../../../../../../../in";

#[test]
fn links_lead_upwards_while_others_rename() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (folder.path().join("a"), folder.path().join("b"));
    fs::write(&a, "").unwrap();
    let layer: &[Put] = &[(Symlink, 0o777, "up", UP), (Directory, 0o755, "in/", ""), (Regular, 0o644, "up/a", "1")];
    let expected = ["in/", "in/a=1", &format!("up -> {UP}")];
    let going_on = AtomicBool::new(true);
    thread::scope(|scope| {
        scope.spawn(|| {
            while going_on.load(Ordering::Relaxed) {
                fs::rename(&a, &b).unwrap();
                fs::rename(&b, &a).unwrap();
            }
        });
        let checked = panic::catch_unwind(|| (0..100).for_each(|_| check(&[layer], &expected)));
        going_on.store(false, Ordering::Relaxed);
        checked.unwrap();
    });
}

#[test]
fn no_layer_gets_out() {
    check(&[&[(Symlink, 0o777, "up", "../.."), (Regular, 0o644, "up/outside", "in")]], &["outside=in", "up -> ../.."]);
    check(&[&[(Symlink, 0o777, "abs", "/"), (Regular, 0o644, "abs/outside", "in")]], &["abs -> /", "outside=in"]);
    check(&[&[(Regular, 0o644, "/outside", "in")]], &["outside=in"]);
    // A link of that name is replaced, not followed.
    check(&[&[(Symlink, 0o777, "a", "../outside")], &[(Regular, 0o644, "a", "in")]], &["a=in"]);
    check(&[&[(Symlink, 0o777, "a", ".."), (Regular, 0o644, "a/.wh.outside", "")]], &["a -> .."]);
    let left_out: &[Put] = &[(Char, 0o666, "null", ""), (Block, 0o666, "disk", ""), (Fifo, 0o666, "pipe", "")];
    check(&[left_out], &[]);
    for (entries, error) in [
        (&[(Regular, 0o644, "../outside", "in")][..], "leads upwards"),
        (&[(Directory, 0o755, "a/../../b", "")], "leads upwards"),
        (&[(Link, 0o644, "a", "../outside")], "leads upwards"),
        (&[(Symlink, 0o777, "up", ".."), (Link, 0o644, "a", "up/outside")], "No such file"),
        (&[(Symlink, 0o777, "loop", "loop"), (Regular, 0o644, "loop/a", "")], "symbolic links"),
    ] {
        let world = World::new();
        fs::write(world.folder.path().join("outside"), "outside").unwrap();
        let (_, last) = unpacked(&world, &[entries]);
        let said = last.unwrap_err().to_string();
        assert!(said.contains(error), "{entries:?}: {said}");
    }
}

#[test]
fn modes_are_plain_and_files_can_be_read() {
    let world = World::new();
    let entries: &[Put] =
        &[(Directory, 0o000, "d", ""), (Regular, 0o6755, "d/su", "x"), (Regular, 0o000, "d/shut", "x")];
    let (root, last) = unpacked(&world, &[entries]);
    last.unwrap();
    let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode("d"), mode("d/su"), mode("d/shut")), (0o700, 0o755, 0o400));
    assert_eq!(fs::metadata(root.join("d/su")).unwrap().mtime(), 1_000_000);
}

#[test]
fn layers_are_limited_and_compressed() {
    let plain = layer(&[(Regular, 0o644, "a", "content"), (Regular, 0o644, "b", "content")]);
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&plain).unwrap();
    let zstd = compress_to_vec(&plain[..], CompressionLevel::Fastest);
    for packed in [plain.clone(), gzip.finish().unwrap(), zstd] {
        let world = World::new();
        let limits = |bytes_max, entries_max| UnpackLimits { bytes_max, entries_max };
        let all = unpack(&packed[..], &world.folder("root"), &limits(1 << 20, 2)).unwrap();
        assert_eq!((all.digest, all.entries, all.left_out), (pipewright_base::Digest::of(&plain), 2, 0));
        assert_eq!(listed(&world.folder("root")), ["a=content", "b=content"]);
        let few = unpack(&packed[..], &world.folder("few"), &limits(1 << 20, 1));
        assert!(matches!(few, Err(UnpackError::Entries(1))), "{few:?}");
        let small = unpack(&packed[..], &world.folder("small"), &limits(1_100, 2));
        assert!(matches!(small, Err(UnpackError::Bytes(1_100))), "{small:?}");
    }
    let world = World::new();
    for cut in [300, 700] {
        assert!(unpack(&plain[..cut], &world.folder("cut"), &UnpackLimits::default()).is_err(), "{cut}");
    }
}

/// A name longer than a header has room for, in each of the two ways.
#[test]
fn long_names_are_read_and_limited() {
    let name = format!("{}/{}", "d".repeat(150), "f".repeat(150));
    let mut gnu = Builder::new(Vec::new());
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_mode(0o644);
    gnu.append_data(&mut header, &name, &b"x"[..]).unwrap();
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("path", name.as_bytes())]).unwrap();
    header.set_path("short").unwrap();
    header.set_cksum();
    pax.append(&header, &b"x"[..]).unwrap();
    for long in [gnu.into_inner().unwrap(), pax.into_inner().unwrap()] {
        let world = World::new();
        unpack(&long[..], &world.folder("root"), &UnpackLimits::default()).unwrap();
        assert_eq!(fs::read(world.folder("root").join(&name)).unwrap(), b"x");
    }
    let mut huge = Builder::new(Vec::new());
    huge.append_pax_extensions([("comment", &vec![b'x'; 1 << 20][..])]).unwrap();
    let said = unpack(&huge.into_inner().unwrap()[..], &World::new().folder("root"), &UnpackLimits::default());
    assert!(said.unwrap_err().to_string().contains("longer than"));
}

/// Two jobs in one image: each changes it for itself.
#[tokio::test]
async fn a_job_changes_an_image_for_itself_alone() {
    let world = World::new();
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let (cat, rm) = (Path::new("/usr/bin/cat"), Path::new("/usr/bin/rm"));
    let made = world.image(&[&shell, cat, rm]);
    let mut builder = Builder::new(Vec::new());
    builder.append_dir_all(".", &made).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    packed.write_all(&builder.into_inner().unwrap()).unwrap();
    let base: &[Put] = &[(Regular, 0o644, "etc/version", "1\n"), (Regular, 0o644, "etc/old", "old\n")];
    let Some(isolation) = isolation().await else { return };
    let layers = layered(&world, &isolation, &[packed.finish().unwrap(), layer(base)]).await;
    let before = listed_names(&layers.folder);

    let script =
        "cat /etc/version; echo 2 >/etc/version; rm /etc/old; echo x >/new; cat /etc/version; cat /usr/bin/env";
    let mut job = world.job(&[shell.to_str().unwrap(), "-c", script]);
    job.root = Root::Image(layers.clone());
    for _ in 0..2 {
        let (ended, output) = run(&isolation, &job).await;
        assert_eq!(ended.unwrap().level, Level::Image);
        assert!(output.starts_with("1\n2\n") && output.contains("No such file"), "{output}");
    }
    assert_eq!(listed_names(&layers.folder), before);
    assert_eq!(fs::read_to_string(layers.folder.join("1/etc/version")).unwrap(), "1\n");
}

/// Whatever an image has where the job's own directories are.
#[tokio::test]
async fn an_image_has_no_say_in_what_is_the_jobs_own() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    let shell = fs::canonicalize("/bin/sh").unwrap();
    let script =
        "echo made >made && echo x >/tmp/x && echo x >/dev/null && echo x >/dev/shm/x && read x </proc/self/stat";
    for name in ["work", "tmp", "dev", "proc"] {
        for target in ["", "/", "/etc", "/nowhere", "/oldroot/sys", "../..", name] {
            let made = world.image(&[&shell]);
            let path = made.join(name);
            let _ = fs::remove_dir(&path);
            if target.is_empty() {
                fs::write(&path, "a file").unwrap()
            } else {
                symlink(target, &path).unwrap()
            }
            let folder = made.parent().unwrap().to_owned();
            let names = vec![made.file_name().unwrap().to_string_lossy().into_owned()];
            let mut job = world.job(&[shell.to_str().unwrap(), "-c", script]);
            job.root = Root::Image(Layers { folder, names });
            let (ended, output) = run(&isolation, &job).await;
            let ended = ended.unwrap_or_else(|error| panic!("{name} → {target}: {error}"));
            assert_eq!((ended.status, &*output), (0, ""), "{name} → {target}");
            assert_eq!(fs::read_to_string(job.work.join("made")).unwrap(), "made\n", "{name} → {target}");
            fs::remove_file(job.work.join("made")).unwrap();
            assert!(!fs::symlink_metadata(&path).unwrap().is_dir());
            remove_tree(&made).unwrap();
        }
    }
}

/// Each in a directory of its own, whose name is its number.
async fn layered(world: &World, isolation: &Isolation, archives: &[Vec<u8>]) -> Layers {
    let folder = world.folder("layers");
    let mut layers = Layers { folder: folder.clone(), names: Vec::new() };
    for (number, archive) in archives.iter().enumerate() {
        let (file, made) = (world.folder.path().join("archive"), format!("made-{number}"));
        fs::write(&file, archive).unwrap();
        isolation.unpack(&file, &layers, &made, &UnpackLimits::default()).await.unwrap();
        fs::rename(unpacked_in(&folder.join(made)), folder.join(number.to_string())).unwrap();
        layers.names.insert(0, number.to_string());
    }
    layers
}

/// Layers in directories of their own, seen as one file system; those below stay as they were.
#[tokio::test]
async fn layers_in_their_own_directories_lie_upon_each_other() {
    let world = World::new();
    let Some(isolation) = isolation().await else { return };
    let (shell, find) = (fs::canonicalize("/bin/sh").unwrap(), Path::new("/usr/bin/find"));
    let mut base = Builder::new(Vec::new());
    base.append_dir_all(".", world.image(&[&shell, find, Path::new("/usr/bin/cat")])).unwrap();
    let upon: [&[Put]; 3] = [
        &[
            (Directory, 0o755, "d/", ""),
            (Directory, 0o755, "d/gone/", ""),
            (Regular, 0o644, "d/gone/x", "0"),
            (Directory, 0o755, "d/opaque/", ""),
            (Regular, 0o644, "d/opaque/old", "1"),
            (Regular, 0o644, "d/a", "2"),
            (Symlink, 0o777, "e", "d"),
        ],
        &[
            (Regular, 0o644, "d/.wh.gone", ""),
            (Regular, 0o644, "d/opaque/new", "3"),
            (Regular, 0o644, "d/opaque/.wh..wh..opq", ""),
            (Link, 0o644, "d/linked", "d/a"),
            (Regular, 0o644, "e/by-link", "4"),
        ],
        &[(Directory, 0o755, "d/gone/", ""), (Regular, 0o644, "d/gone/y", "5"), (Regular, 0o644, "d/a", "6")],
    ];
    let archives: Vec<_> = std::iter::once(base.into_inner().unwrap()).chain(upon.map(layer)).collect();
    let layers = layered(&world, &isolation, &archives).await;
    assert_eq!(fs::read_to_string(layers.folder.join("1/d/a")).unwrap(), "2");
    let script = "find /d; cat /d/a /d/linked /d/gone/y /d/by-link /d/opaque/new";
    let mut job = world.job(&[shell.to_str().unwrap(), "-c", script]);
    job.root = Root::Image(layers.clone());
    let (ended, output) = run(&isolation, &job).await;
    ended.unwrap();
    let mut lines: Vec<&str> = output.lines().collect();
    let content = lines.pop();
    lines.sort_unstable();
    let expected = ["/d", "/d/a", "/d/by-link", "/d/gone", "/d/gone/y", "/d/linked", "/d/opaque", "/d/opaque/new"];
    assert_eq!((lines, content), (expected.to_vec(), Some("62543")));

    // What is wrong with a layer is said, and is not this machine's fault.
    let file = world.folder.path().join("archive");
    fs::write(&file, layer(&[(Regular, 0o644, "../out", "")])).unwrap();
    let refused = isolation.unpack(&file, &layers, "bad", &UnpackLimits::default()).await.unwrap_err();
    assert!(matches!(&refused, LayerError::Layer(reason) if reason.contains("leads upwards")), "{refused}");
}

fn listed_names(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            found.push(path.display().to_string());
            if path.symlink_metadata().unwrap().is_dir() {
                folders.push(path);
            }
        }
    }
    found.sort();
    found
}
