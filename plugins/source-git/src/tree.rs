//! What a tree object lists, and what of it may become files.
//!
//! Pure: must not know where trees come from or files go.

use std::collections::HashSet;

use gix_hash::ObjectId;
use gix_validate::path::component::{Mode, Options};
use pipewright_sdk::{Failure, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    File {
        executable: bool,
    },
    Link,
    Folder,
    /// Another repository's commit; its id is not one of this one.
    Submodule,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Entry {
    /// Below the top, separated by `/`.
    pub(crate) path: String,
    pub(crate) what: What,
    pub(crate) id: ObjectId,
}

/// The entries of the folder whose tree object this is; `folder` is empty for the top.
///
/// # Errors
/// Names the path that cannot be: a name that is not one of a file, or one that is there twice (whatever is written second
/// would then go where the first, perhaps a link, leads).
pub(crate) fn read(folder: &str, tree: &[u8]) -> Result<Vec<Entry>> {
    let malformed = || Failure::job(format!("the tree of the folder `{folder}` is malformed"));
    let (mut entries, mut names) = (Vec::new(), HashSet::new());
    let mut rest = tree;
    while !rest.is_empty() {
        let mode = until(&mut rest, b' ').ok_or_else(malformed)?;
        let name = until(&mut rest, 0).ok_or_else(malformed)?;
        let id = rest.split_off(..20).and_then(|id| id.try_into().ok()).ok_or_else(malformed)?;
        let mode = std::str::from_utf8(mode).ok().and_then(|mode| u32::from_str_radix(mode, 8).ok());
        let shown = path(folder, &String::from_utf8_lossy(name));
        let what = what(mode.ok_or_else(malformed)?, &shown)?;
        check(name, what, &shown)?;
        if !names.insert(name) {
            return Err(Failure::job(format!("the repository has `{shown}` twice")));
        }
        entries.push(Entry { path: shown, what, id: ObjectId::Sha1(id) });
    }
    Ok(entries)
}

fn path(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

fn until<'a>(rest: &mut &'a [u8], end: u8) -> Option<&'a [u8]> {
    let at = rest.iter().position(|byte| *byte == end)?;
    let found = rest.split_off(..=at)?;
    found.split_last().map(|(_, found)| found)
}

fn what(mode: u32, shown: &str) -> Result<What> {
    match mode & 0o170_000 {
        0o100_000 => Ok(What::File { executable: mode & 0o100 != 0 }),
        0o120_000 => Ok(What::Link),
        0o040_000 => Ok(What::Folder),
        0o160_000 => Ok(What::Submodule),
        _ => Err(Failure::job(format!("`{shown}` is of an unknown kind (mode {mode:o})"))),
    }
}

/// Refuses what git refuses on some system: `.git` in any spelling in which a file system takes it for that, `..`, and links
/// named `.gitmodules`.
fn check(name: &[u8], what: What, shown: &str) -> Result<()> {
    let options = Options { protect_windows: false, protect_hfs: true, protect_ntfs: true };
    let mode = (what == What::Link).then_some(Mode::Symlink);
    if let Err(error) = gix_validate::path::component(name.into(), mode, options) {
        return Err(Failure::job(format!("the repository has the path `{}`: {error}", shown.escape_debug())));
    }
    if std::str::from_utf8(name).is_err() {
        return Err(Failure::job(format!("the repository has a name that is not UTF-8: `{}`", shown.escape_debug())));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::{Expect, expect};

    fn tree(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let entry = |(mode, name): &(&str, &[u8])| [mode.as_bytes(), b" ", name, b"\0", &[7; 20]].concat();
        entries.iter().flat_map(entry).collect()
    }

    fn shown(tree: &[u8]) -> String {
        let line = |entry: Entry| format!("{} {:?}\n", entry.path, entry.what);
        read("docs", tree).map_or_else(|failure| failure.message, |entries| entries.into_iter().map(line).collect())
    }

    #[test]
    fn all_that_may_be() {
        let all: &[(&str, &[u8])] = &[
            ("100644", b"a"),
            ("100664", b"A"),
            ("100755", b"run me.sh"),
            ("120000", b"link"),
            ("40000", "ü".as_bytes()),
            ("160000", b"theme"),
            ("100644", b".github"),
            ("100644", b".gitmodules"),
            ("100644", b"a\\b:c*"),
            ("100644", b"CON"),
        ];
        expect![[r#"
            docs/a File { executable: false }
            docs/A File { executable: false }
            docs/run me.sh File { executable: true }
            docs/link Link
            docs/ü Folder
            docs/theme Submodule
            docs/.github File { executable: false }
            docs/.gitmodules File { executable: false }
            docs/a\b:c* File { executable: false }
            docs/CON File { executable: false }
        "#]]
        .assert_eq(&shown(&tree(all)));
    }

    #[test]
    fn what_is_refused() {
        let check = |entries: &[(&str, &[u8])], expected: Expect| expected.assert_eq(&shown(&tree(entries)));
        check(
            &[("100644", b"..")],
            expect!["the repository has the path `docs/..`: Relative components '.' and '..' are disallowed"],
        );
        check(
            &[("40000", b".git")],
            expect!["the repository has the path `docs/.git`: The .git name may never be used"],
        );
        check(
            &[("40000", b".GIT ")],
            expect!["the repository has the path `docs/.GIT `: The .git name may never be used"],
        );
        check(
            &[("40000", b"git~1")],
            expect!["the repository has the path `docs/git~1`: The .git name may never be used"],
        );
        check(
            &[("40000", ".g\u{200c}it".as_bytes())],
            expect![[r#"the repository has the path `docs/.g\u{200c}it`: The .git name may never be used"#]],
        );
        check(
            &[("120000", b".gitmodules")],
            expect!["the repository has the path `docs/.gitmodules`: The .gitmodules file must not be a symlink"],
        );
        check(
            &[("100644", b"a/b")],
            expect![[r#"the repository has the path `docs/a/b`: Path separators like / or \ are not allowed"#]],
        );
        check(&[("100644", b"")], expect!["the repository has the path `docs/`: A path component must not be empty"]);
        check(&[("100644", b"\xff")], expect!["the repository has a name that is not UTF-8: `docs/�`"]);
        check(&[("120000", b"a"), ("40000", b"a")], expect!["the repository has `docs/a` twice"]);
        check(&[("010644", b"pipe")], expect!["`docs/pipe` is of an unknown kind (mode 10644)"]);
        check(&[("rw-r--", b"a")], expect!["the tree of the folder `docs` is malformed"]);
    }

    /// Wherever it ends: an answer, and no panic.
    #[test]
    fn a_tree_that_is_cut() {
        let whole = tree(&[("100644", b"a"), ("40000", b"b")]);
        for end in 0..whole.len() {
            let cut = read("", &whole[..end]);
            assert_eq!(cut.is_ok(), end == 0 || end == whole.len() / 2 + 1, "{end}");
        }
    }
}
