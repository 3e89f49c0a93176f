//! Manifests: their text, and lookups in them.

use super::*;
use crate::files::tree::{Found, Missing, TreeLimits};

fn sample() -> (tempfile::TempDir, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let blobs = BlobDir::new(dir.path()).unwrap();
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
    let tree = tree_of(&entries, &blobs);
    (dir, tree)
}

#[test]
fn text() {
    let (_dir, tree) = sample();
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
    let (_dir, tree) = sample();
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
    let (_dir, tree) = sample();
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
