//! Ways out that guests, and what lies in granted directories, may try.

use std::os::unix::fs::{FileTypeExt as _, symlink};

use super::*;
use pipewright_artifacts::files::{Open, Opened};

fn link(world: &World, path: &str, target: &str) -> Result<(), FileError> {
    world.shared().change(path, "link", |area, path| area.make_link(path, target, true))
}

fn rename(world: &World, from: &str, to: &str) -> Result<(), FileError> {
    let area = &world.shared().outputs["out"];
    area.rename(from, to)
}

#[test]
fn links_stay_inside() {
    let world = World::new();
    world.write("/outputs/out/a/b/file", "x").unwrap();
    let check = |path: &str, target: &str, inside: bool| {
        let linked = link(&world, path, target);
        assert_eq!(linked.is_ok(), inside, "{path} → {target}: {linked:?}");
    };
    check("/outputs/out/l", "a/b", true);
    check("/outputs/out/l", "a", true);
    check("/outputs/out/a/b/up", "../../a", true);
    check("/outputs/out/l", "..", false);
    check("/outputs/out/l", "/etc/passwd", false);
    check("/outputs/out/a/l", "../../x", false);
    check("/outputs/out/l", "a/../../x", false);
    // Not two levels down, although its text says so: `self` is the top.
    check("/outputs/out/self", ".", true);
    check("/outputs/out/self/self/l2", "../x", false);
    assert_eq!(world.read("/outputs/out/l/b/file").unwrap(), "x");
    // A link is replaced, a file is not.
    check("/outputs/out/a/b/file", "x", false);
    assert!(link(&world, "/inputs/in/l", "x").is_err());
}

#[test]
fn links_stay_inside_when_moved() {
    let world = World::new();
    world.write("/outputs/out/a/b/file", "x").unwrap();
    link(&world, "/outputs/out/a/b/up", "../../a").unwrap();
    assert!(rename(&world, "a/b/up", "up").is_err(), "less deep");
    assert!(rename(&world, "a/b", "b").is_err(), "with all that is in it");
    rename(&world, "a/b/up", "a/b/up2").unwrap();
    rename(&world, "a", "c").unwrap();
    assert!(rename(&world, "c", "").is_err());
}

/// What a granted directory may hold that leads out of it, or waits for ever.
fn plant(world: &World) {
    let secret = world.host("secret");
    fs::write(&secret, "secret").unwrap();
    let at = |name: &str| world.host(&format!("write/{name}"));
    symlink(&secret, at("absolute")).unwrap();
    symlink("../secret", at("relative")).unwrap();
    symlink("/", at("root")).unwrap();
    symlink("/proc/self/fd/0", at("magic")).unwrap();
    symlink("..", at("up")).unwrap();
    symlink("../new", at("dangling")).unwrap();
    symlink("loop", at("loop")).unwrap();
    fs::hard_link(&secret, at("hard")).unwrap();
    rustix::fs::mknodat(
        rustix::fs::CWD,
        at("fifo"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
        0,
    )
    .unwrap();
    assert!(fs::metadata(at("fifo")).unwrap().file_type().is_fifo());
}

#[test]
fn planted_ways_out_are_not_followed() {
    let world = World::new();
    plant(&world);
    for name in ["absolute", "relative", "root/etc/passwd", "magic", "up/secret", "loop", "fifo"] {
        let read = world.read(&format!("/directories/write/{name}"));
        assert!(read.is_err(), "{name} was read: {read:?}");
    }
    let area = &world.shared().directories["write"];
    // As a program may leave them in the scratch.
    let budget = Arc::clone(&world.shared().budget);
    let left = Area::new(Role::Left, "/scratch".to_owned(), world.host("write"), budget);
    for area in [area, &left] {
        for name in ["absolute", "relative", "up/secret", "magic", "loop", "fifo", "hard", "dangling", "root/tmp/x"] {
            for create in [false, true] {
                let how = Open { write: true, create, follow: true, ..Open::default() };
                let opened = area.open(name, how).map(|opened| matches!(opened, Opened::File(_)));
                assert!(opened.is_err(), "{name} was opened to write: {opened:?}");
            }
        }
        assert!(area.open_file("fifo").is_err() && area.open_file("relative").is_err());
    }
    assert!(area.set_executable("hard", true).is_err());
    assert!(world.write("/directories/write/up/new", "x").is_err());
    assert!(area.rename("hard", "../hard").is_err());
    assert!(area.make_directories("up/new").is_err());
    assert_eq!(fs::read_to_string(world.host("secret")).unwrap(), "secret");
    assert!(!world.host("new").exists());
}

#[test]
fn a_file_with_other_names_is_replaced_and_not_written() {
    let world = World::new();
    plant(&world);
    world.write("/directories/write/hard", "new").unwrap();
    world.write("/directories/write/relative", "new").unwrap();
    assert_eq!(fs::read_to_string(world.host("write/hard")).unwrap(), "new");
    assert_eq!(fs::read_to_string(world.host("secret")).unwrap(), "secret");
}

#[test]
fn links_that_lead_out_are_not_copied() {
    let world = World::new();
    plant(&world);
    let error = world.shared().copy("/directories/write", "/outputs/out", Vec::new()).unwrap_err().to_string();
    assert!(error.contains("the link absolute has an absolute target"), "{error}");
    let except = ["absolute", "relative", "root", "magic", "up", "dangling"].map(str::to_owned);
    world.shared().copy("/directories/write", "/outputs/out", except.into()).unwrap();
    assert_eq!(world.list("/outputs/out"), "hard 6\nloop → loop\n", "a FIFO is no content");
}

/// However a directory gets to where it lies, it lies no deeper than the limit.
#[test]
fn depth_is_that_of_what_is_made_and_of_what_moves() {
    let quota = FileQuota { directory_depth_max: 6, ..FileQuota::default() };
    let world = World::with(quota.clone(), &[]);
    let area = &world.shared().outputs["out"];
    let refused = |done: Result<(), FileError>| {
        let error = done.expect_err("deeper than the limit").to_string();
        assert!(error.contains("directory_depth_max (6)"), "{error}");
    };
    // One directory after the other, each put below the next.
    area.create_directory("tree").unwrap();
    for _ in 0..6 {
        area.create_directory("above").unwrap();
        area.rename("tree", "above/below").unwrap();
        area.rename("above", "tree").unwrap();
    }
    area.create_directory("above").unwrap();
    refused(area.rename("tree", "above/below"));
    area.rename("tree", "other").unwrap();
    // By way of a link, whose text is not deep.
    link(&world, "/outputs/out/deep", "other/below/below/below/below/below").unwrap();
    area.create_directory("deep/one").unwrap();
    refused(area.create_directory("deep/below/two"));
    refused(area.make_directories("deep/below/two/three"));
    refused(world.write("/outputs/out/deep/below/two", ""));
    refused(world.shared().copy("/outputs/out/above", "/outputs/out/deep/below/two", Vec::new()).map(drop));
    refused(area.open("deep/below/file", Open { create: true, write: true, ..Open::default() }).map(drop));
    assert_eq!(world.list("/outputs/out/other").lines().count(), 7);
}
