//! The text of paths: what a path may be, where `..` leads, and which targets a link may have. Touches no file.

use pipewright_text::{has_control, has_hidden};

/// Longest path of an entry of an artifact: what Linux takes. Stops a tree that no host can write out.
pub const PATH_BYTES_MAX: usize = 4_096;
/// Longest name of one entry, as on every usual file system.
const NAME_BYTES_MAX: usize = 255;
/// Deepest directory of an artifact. Stops trees that make everything that walks them recurse without end.
pub const DEPTH_MAX: usize = 128;

/// What is wrong with a path or with the target of a link; a phrase that follows the path.
pub type Fault = &'static str;

/// Checks the path of an entry: names joined by `/`, with no empty one, `.` or `..`.
pub fn check_entry(path: &str) -> Result<(), Fault> {
    if path.len() > PATH_BYTES_MAX {
        return Err("is longer than 4,096 bytes");
    }
    if depth(path) > DEPTH_MAX {
        return Err("lies deeper than 128 directories");
    }
    for name in path.split('/') {
        match name {
            "" => return Err("has an empty name in it"),
            "." | ".." => return Err("has `.` or `..` in it"),
            _ if name.len() > NAME_BYTES_MAX => return Err("has a name longer than 255 bytes in it"),
            _ if name.contains('\0') => return Err("has a NUL in it"),
            _ => {}
        }
    }
    Ok(())
}

/// Checks that whoever is shown the path of an entry, made here or elsewhere, sees which file it is.
pub fn check_shown(path: &str) -> Result<(), Fault> {
    match has_hidden(path) {
        true => Err("has a character in it that has no shape, or turns the order of others around"),
        false => Ok(()),
    }
}

/// Checks a path in an archive, or the target of a link there: whoever unpacks it, on whatever system, must find that name and no
/// other.
pub fn check_archived(path: &str) -> Result<(), Fault> {
    if path.contains('\\') {
        return Err("has a backslash in it, which parts folders on other systems");
    }
    if has_control(path) {
        return Err("has a control character in it");
    }
    check_shown(path)?;
    match path.as_bytes() {
        [drive, b':', ..] if drive.is_ascii_alphabetic() => Err("begins like a drive of other systems"),
        _ => Ok(()),
    }
}

/// Checks the target of a link that lies in a directory `depth` levels below the top of its artifact.
///
/// A target may climb only at its start: `../../a/b`. Then no chain of such links leads out, whatever else becomes a
/// link later: `a/../b` would, where `a` is a link to `.`.
pub fn check_target(depth: usize, target: &str) -> Result<(), Fault> {
    if target.is_empty() || target.len() > PATH_BYTES_MAX || target.contains('\0') {
        return Err("has a target that is empty, longer than 4,096 bytes, or has a NUL in it");
    }
    if target.starts_with('/') {
        return Err("has an absolute target: a link must be relative, and stay inside of what it lies in");
    }
    let mut climbed = 0;
    let mut named = false;
    for name in target.split('/') {
        match name {
            "" | "." => {}
            ".." if named => return Err("has a target with `..` after a name: write it without"),
            ".." => climbed += 1,
            _ => named = true,
        }
    }
    if climbed > depth { Err("leads outside of what it lies in") } else { Ok(()) }
}

/// How many directories lie above this path.
pub fn depth(path: &str) -> usize {
    path.bytes().filter(|byte| *byte == b'/').count()
}

/// The directory of a path, empty for the top, and its last name.
pub fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

pub fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// Follows `path` from the directory `base` in the text alone: `..` undoes the name before it, without looking whether
/// that is a link. `None` where it would climb above the root.
pub fn follow(base: &str, path: &str) -> Option<String> {
    let mut at = String::with_capacity(base.len() + 1 + path.len());
    at.push_str(base);
    for name in path.split('/') {
        match name {
            "" | "." => {}
            ".." if at.is_empty() => return None,
            ".." => at.truncate(at.rfind('/').unwrap_or(0)),
            name => {
                if !at.is_empty() {
                    at.push('/');
                }
                at.push_str(name);
            }
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets() {
        let check = |depth, target: &str, inside: bool| {
            assert_eq!(check_target(depth, target).is_ok(), inside, "{target} at depth {depth}");
        };
        check(0, "a", true);
        check(0, ".", true);
        check(0, "./a/b/", true);
        check(1, "../a", true);
        check(2, "../.././a", true);
        check(0, "..", false);
        check(0, "../a", false);
        check(1, "../../a", false);
        check(1, ".././../a", false);
        check(3, "/a", false);
        check(3, "", false);
        check(3, "a\0", false);
        check(3, "a/../b", false);
    }

    #[test]
    fn following() {
        let check = |base, path, found: Option<&str>| assert_eq!(follow(base, path).as_deref(), found, "{base} {path}");
        check("", "inputs/a", Some("inputs/a"));
        check("", "/inputs//a/./b/", Some("inputs/a/b"));
        check("inputs/a", "..", Some("inputs"));
        check("inputs", "..", Some(""));
        check("inputs", "../..", None);
        check("", "a/../../b", None);
        check("", ".", Some(""));
    }

    #[test]
    fn names_in_archives() {
        let check = |path: &str, right: bool| assert_eq!(check_archived(path).is_ok(), right, "{path:?}");
        check("a/b.c/…", true);
        check("2026-11-27T10:00", true);
        check("a/C:x", true);
        check("..\\..\\x", false);
        check("C:\\x", false);
        check("C:x", false);
        check("a\u{1b}[2J", false);
        check("a\nb", false);
        check("a\u{9b}", false);
        check("photo\u{202e}gpj.exe", false);
        check("a\u{2066}b", false);
        check("a\u{200b}", false);
        check("نامه\u{200c}ها/👩\u{200d}💻.md", true);
    }

    #[test]
    fn entries() {
        let check = |path: &str, right: bool| assert_eq!(check_entry(path).is_ok(), right, "{path}");
        check("a", true);
        check("a/b.c/…", true);
        check("", false);
        check("/a", false);
        check("a/", false);
        check("a//b", false);
        check("a/./b", false);
        check("a/../b", false);
        check("a\0", false);
        check(&"n".repeat(256), false);
        check(&"d/".repeat(129), false);
        check(&format!("{}x", "d/".repeat(128)), true);
        check(&format!("{}x", "d/".repeat(129)), false);
    }
}
