//! Manifests: their text, and lookups in them; and what may become one.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use pipewright_base::Digest;

use super::*;

/// Entries by their names: one that ends in `*` is executable, in `/` an empty directory; a content `→ x` is a link to `x`.
fn sample() -> Tree {
    let entries = [
        ("bin/tool*", "#!"),
        ("bin-old", "x"),
        ("docs/a.md", "a"),
        ("docs/deep/b.md", "bb"),
        ("docs.txt", ""),
        ("empty/", ""),
        ("latest", "→ docs/deep"),
        ("docs/up", "→ ../bin/tool"),
        ("loop", "→ pool"),
        ("pool", "→ loop"),
        ("self", "→ ."),
    ];
    let entry = |(name, content): (&str, &str)| {
        let node = match content.strip_prefix("→ ") {
            Some(target) => Node::Link { target: target.to_owned() },
            None if name.ends_with('/') => Node::Directory,
            None => Node::File {
                digest: Digest::of(content.as_bytes()),
                size: content.len() as u64,
                executable: name.ends_with('*'),
            },
        };
        Entry { path: name.trim_end_matches(['*', '/']).to_owned(), node }
    };
    Tree::new(entries.map(entry).into()).unwrap()
}

#[test]
fn text() {
    let tree = sample();
    let text = tree.to_bytes();
    let lines: Vec<&str> = std::str::from_utf8(&text).unwrap().lines().collect();
    assert_eq!(lines[0], "pipewright-tree 1");
    let empty = Digest::of(b"");
    assert!(lines.contains(&&*format!(r#"{{"path":"docs.txt","sha256":"{empty}","size":0}}"#)), "{lines:#?}");
    assert!(lines.contains(&r#"{"path":"latest","link":"docs/deep"}"#), "{lines:#?}");
    assert!(lines.contains(&r#"{"path":"empty","directory":true}"#), "{lines:#?}");
    assert_eq!(tree.digest(), Digest::of(&text));
    let read = Tree::read(&text[..], &TreeLimits::default()).unwrap();
    assert_eq!((&read, read.digest()), (&tree, tree.digest()));
    assert_eq!(read.bytes(), 2 + 1 + 1 + 2);
}

#[test]
fn other_texts_are_refused() {
    let check = |text: &str, wrong: &str| {
        let error = Tree::read(text.as_bytes(), &TreeLimits { manifest_bytes_max: 300, entries_max: 2 }).unwrap_err();
        assert!(error.to_string().contains(wrong), "{text}: {error}");
    };
    let line = |path: &str| format!("{{\"path\":\"{path}\",\"link\":\"x\"}}\n");
    let head = "pipewright-tree 1\n";
    check("", "first line");
    check("pipewright-tree 2\n", "first line");
    check("pipewright-tree 1", "line 1");
    check(&format!("{head}{{\"path\":\"a\"}}\n"), "line 2");
    check(&format!("{head}{{\"link\":\"x\",\"path\":\"a\"}}\n"), "line 2");
    check(&format!("{head}{{\"path\":\"a\", \"link\":\"x\"}}\n"), "line 2");
    check(&format!("{head}{{\"path\":\"a\",\"link\":\"x\",\"new\":1}}\n"), "line 2");
    check(&format!("{head}{}{}", line("b"), line("a")), "order");
    check(&format!("{head}{}{}", line("a"), line("a")), "order");
    check(&format!("{head}{}{}", line("a"), line("a/b")), "others below");
    check(&format!("{head}{}{}{}", line("a"), line("b"), line("c")), "entries_max");
    check(&format!("{head}{}", line(&"a".repeat(300))), "manifest_bytes_max");
    check(&format!("{head}{}", line("../a")), "`.` or `..`");
    check(&format!("{head}{{\"path\":\"a\",\"link\":\"../x\"}}\n"), "outside");
    check(&format!("{head}{{\"path\":\"a\",\"link\":\"/x\"}}\n"), "absolute");
}

#[test]
fn lookups() {
    let tree = sample();
    let check = |path: &str, follow, wanted: &str| {
        let found = match tree.find(path, follow) {
            Ok(Found::File { size, executable, .. }) => format!("file {size} {executable}"),
            Ok(Found::Link(target)) => format!("link {target}"),
            Ok(Found::Directory(path)) => format!("directory {path}"),
            Err(Missing::NotFound) => "not found".to_owned(),
            Err(Missing::NotDirectory) => "not a directory".to_owned(),
            Err(Missing::Loop) => "loop".to_owned(),
        };
        assert_eq!(found, wanted, "{path} {follow}");
    };
    check("", true, "directory ");
    check("bin", true, "directory bin");
    check("bin/tool", true, "file 2 true");
    check("bi", true, "not found");
    check("bin/too", true, "not found");
    check("bin-old/x", true, "not a directory");
    check("empty", true, "directory empty");
    check("latest", false, "link docs/deep");
    check("latest", true, "directory docs/deep");
    check("latest/b.md", false, "file 2 false");
    check("docs/up", true, "file 2 true");
    check("self/self/self/docs/a.md", true, "file 1 false");
    check("loop", true, "loop");
    check("loop/x", false, "loop");
    check("loop", false, "link pool");
}

#[test]
fn children_in_order() {
    let tree = sample();
    let names = |directory| tree.children(directory).into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(names(""), "bin bin-old docs docs.txt empty latest loop pool self");
    assert_eq!(names("docs"), "a.md deep up");
    assert_eq!(names("bin"), "tool");
    assert_eq!(names("empty"), "");
}

#[test]
fn blobs_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobDir::new(dir.path()).unwrap();
    let digest = blobs.put(b"content").unwrap();
    fs::write(dir.path().join("new-1-1"), "half").unwrap();
    assert_eq!(blobs.digests().unwrap(), [digest]);
    assert_eq!(blobs.verify(&digest).unwrap(), 7);
    assert_eq!(blobs.read(&digest, 7).unwrap(), b"content");
    assert!(matches!(blobs.read(&digest, 6), Err(BlobError::TooLarge { .. })));
    assert!(matches!(blobs.verify(&Digest::of(b"other")), Err(BlobError::Missing(_))));
    fs::remove_file(blobs.path(&digest)).unwrap();
    fs::write(blobs.path(&digest), "changed").unwrap();
    assert!(matches!(blobs.verify(&digest), Err(BlobError::Damaged { .. })));
    assert!(matches!(blobs.read(&digest, 7), Err(BlobError::Damaged { .. })));
    // A crash may leave a blob empty: it is written again.
    fs::write(blobs.path(&digest), "").unwrap();
    blobs.put(b"content").unwrap();
    blobs.verify(&digest).unwrap();
}

#[test]
fn collecting_takes_only_what_is_an_artifact() {
    let check = |plant: &dyn Fn(&Path), wrong: &str| {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out");
        fs::create_dir_all(out.join("sub")).unwrap();
        fs::write(out.join("fine"), "fine").unwrap();
        plant(&out);
        let blobs = BlobDir::new(dir.path().join("blobs")).unwrap();
        let made = MadeOutput::of_directory("out", out);
        let error = collect(&made, &blobs, &FileQuota { bytes_max: 100, ..FileQuota::default() }).unwrap_err();
        assert!(error.to_string().contains(wrong), "{error}");
        assert_eq!(blobs.digests().unwrap(), [], "no half-made state");
    };
    check(&|out| symlink("/etc/passwd", out.join("l")).unwrap(), "`l` has an absolute target");
    check(&|out| symlink("../x", out.join("l")).unwrap(), "`l` leads outside");
    check(&|out| symlink("../../x", out.join("sub/l")).unwrap(), "`sub/l` leads outside");
    check(&|out| symlink("sub/../../x", out.join("l")).unwrap(), "`..` after a name");
    check(&|out| fs::hard_link(out.join("fine"), out.join("hard")).unwrap(), "hard links");
    check(&|out| fs::write(out.join("big"), [0; 200]).unwrap(), "bytes_max");
    check(
        &|out| {
            let kind = rustix::fs::FileType::Fifo;
            rustix::fs::mknodat(rustix::fs::CWD, out.join("fifo"), kind, rustix::fs::Mode::RUSR, 0).unwrap();
        },
        "neither a file",
    );
    check(
        &|out| {
            use std::os::unix::ffi::OsStrExt as _;
            fs::write(out.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        },
        "not UTF-8",
    );
}
