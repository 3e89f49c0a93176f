//! Zip files, ours and hostile ones.

use std::io::Write as _;

use zip::ZipWriter;
use zip::write::SimpleFileOptions;

use pipewright_artifacts::files::Copied;

use super::*;

const FILES: &[(&str, &str)] =
    &[("bin/run*", "#!x"), ("a", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"), ("sub/link", "→ ../a"), ("void/", "")];

#[test]
fn there_and_back() {
    let mut world = World::with(FileQuota::default(), FILES);
    let zipped = world.shared().zip("/inputs/in", "/scratch/one.zip").unwrap();
    assert_eq!(zipped, Copied { files: 2, bytes: 35 });
    world.shared().copy("/inputs/in", "/scratch/real", Vec::new()).unwrap();
    world.shared().zip("/scratch/real", "/scratch/two.zip").unwrap();
    let digest = |path| world.shared().digest(path).unwrap();
    assert_eq!(digest("/scratch/one.zip"), digest("/scratch/two.zip"), "the same files give the same bytes");
    let unzipped = world.shared().unzip("/scratch/one.zip", "/outputs/out").unwrap();
    assert_eq!(unzipped, zipped);
    assert_eq!(show_tree(&world.collect().unwrap()), "a 32\nbin/run* 3\nsub/link → ../a\nvoid/\n");
}

/// What other systems would read as another name is in no archive that is made here.
#[test]
fn names_that_are_safe_nowhere_are_not_packed() {
    for (name, wrong) in [("..\\..\\x", "backslash"), ("C:x", "drive"), ("a\u{1b}[2J", "control character")] {
        let world = World::new();
        fs::create_dir(world.host("read/odd")).unwrap();
        fs::write(world.host("read/odd").join(name), "x").unwrap();
        let error = world.shared().zip("/directories/read/odd", "/scratch/odd.zip").unwrap_err().to_string();
        assert!(error.contains(wrong) && !error.contains('\u{1b}'), "{error}");
    }
}

fn archive(world: &World, pack: impl FnOnce(&mut ZipWriter<fs::File>)) {
    let mut writer = ZipWriter::new(fs::File::create(world.host("read/x.zip")).unwrap());
    pack(&mut writer);
    writer.finish().unwrap();
}

fn options() -> SimpleFileOptions {
    SimpleFileOptions::default()
}

#[test]
fn hostile_archives() {
    let check = |pack: &dyn Fn(&mut ZipWriter<fs::File>), wrong: &str| {
        let world = World::with(FileQuota { bytes_max: 10_000, entries_max: 50, ..FileQuota::default() }, &[]);
        fs::write(world.host("secret"), "secret").unwrap();
        archive(&world, |writer| pack(writer));
        let error = world.shared().unzip("/directories/read/x.zip", "/scratch/a/b").unwrap_err().to_string();
        assert!(error.contains(wrong), "{error}");
        assert_eq!(fs::read_to_string(world.host("secret")).unwrap(), "secret");
    };
    let file = |name: &'static str| {
        move |writer: &mut ZipWriter<fs::File>| {
            writer.start_file(name, options()).unwrap();
            writer.write_all(b"x").unwrap();
        }
    };
    check(&file("../x"), "`.` or `..`");
    check(&file("a/../../x"), "`.` or `..`");
    check(&file("/etc/x"), "empty name");
    check(&file("a\\..\\x"), "backslash");
    check(&file("C:x"), "the entry \"C:x\" begins like a drive");
    check(&file("a\u{1b}[2J\n"), "the entry \"a\\u{1b}[2J\\n\" has a control character");
    check(&|writer| writer.add_symlink("l", "a\\b", options()).unwrap(), "backslash");
    let twice = |one: &'static str, other: &'static str| {
        move |writer: &mut ZipWriter<fs::File>| {
            file(one)(writer);
            file(other)(writer);
        }
    };
    check(&twice("a.md", "./a.md"), "the entry \"a.md\" is there twice");
    check(&twice("sub/a", "sub/././a"), "the entry \"sub/a\" is there twice");
    check(
        &|writer| {
            file("a")(writer);
            writer.add_symlink("./a", "b", options()).unwrap();
        },
        "the entry \"a\" is there twice",
    );
    check(&|writer| writer.add_symlink("l", "/etc", options()).unwrap(), "absolute target");
    check(&|writer| writer.add_symlink("l", "../../../x", options()).unwrap(), "leads outside");
    check(
        &|writer| {
            writer.start_file("bomb", options()).unwrap();
            writer.write_all(&vec![0; 1 << 20]).unwrap();
        },
        "bytes_max",
    );
    check(
        &|writer| (0..60).for_each(|number| writer.start_file(number.to_string(), options()).unwrap()),
        "entries_max",
    );
}

/// As `zip -r x.zip .` and `tar` users make them.
#[test]
fn names_that_begin_with_a_dot() {
    let mut world = World::new();
    archive(&world, |writer| {
        for directory in ["./", "./sub/", "sub/"] {
            writer.add_directory(directory, options()).unwrap();
        }
        for name in ["./a.md", "./sub/./b.md"] {
            writer.start_file(name, options()).unwrap();
        }
    });
    world.shared().unzip("/directories/read/x.zip", "/outputs/out").unwrap();
    assert_eq!(show_tree(&world.collect().unwrap()), "a.md 0\nsub/b.md 0\n");
}

/// An entry may not be written through a link that came before it.
#[test]
fn links_are_made_last() {
    let world = World::new();
    archive(&world, |writer| {
        writer.add_symlink("l", "target", options()).unwrap();
        writer.start_file("l/x", options()).unwrap();
    });
    assert!(world.shared().unzip("/directories/read/x.zip", "/scratch/a").is_err());
}

#[test]
fn no_zip_file() {
    let world = World::new();
    for content in [&b""[..], b"PK", &[0; 5_000]] {
        fs::write(world.host("read/x.zip"), content).unwrap();
        let error = world.shared().unzip("/directories/read/x.zip", "/scratch/a").unwrap_err().to_string();
        assert!(error.contains("not a usable zip file"), "{error}");
    }
}
