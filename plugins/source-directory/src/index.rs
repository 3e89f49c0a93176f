//! What git's index lists (gitformat-index(5), versions 2 to 4, whole or split): the paths that git tracks.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Of an entry before its path: times and the like, the mode among them, the id, and the flags.
const STAT_BYTES: usize = 40;
const MODE_AT: usize = 24;
const SUBMODULE: u32 = 0o160_000;

#[derive(Debug, Default, PartialEq)]
pub(crate) struct Index {
    pub(crate) tracked: BTreeSet<String>,
    /// Those of them that are other repositories' work trees.
    pub(crate) submodules: BTreeSet<String>,
}

/// The index of the repository in this folder, empty where there is none; `None` if it is not understood.
pub(crate) fn read(folder: &Path, id_bytes: usize) -> Option<Index> {
    let file = folder.join("index");
    if !file.exists() {
        return Some(Index::default());
    }
    let bytes = fs::read(file).ok()?;
    let parsed = parse(&bytes, id_bytes)?;
    let mut index = Index::default();
    if let Some(link) = parsed.link {
        let base: String = link.get(..id_bytes)?.iter().map(|byte| format!("{byte:02x}")).collect();
        if base.bytes().any(|digit| digit != b'0') {
            let shared = fs::read(folder.join(format!("sharedindex.{base}"))).ok()?;
            let mut entries = parse(&shared, id_bytes)?.entries;
            let deleted = if link.len() > id_bytes { bits(&link[id_bytes..], entries.len())? } else { BTreeSet::new() };
            let mut position = 0..;
            entries.retain(|_| position.next().is_some_and(|position| !deleted.contains(&position)));
            index.extend(entries);
        }
    }
    // Those that replace entries of the shared index have an empty path.
    index.extend(parsed.entries.into_iter().filter(|(path, _)| !path.is_empty()));
    Some(index)
}

impl Index {
    fn extend(&mut self, entries: impl IntoIterator<Item = (String, u32)>) {
        for (path, mode) in entries {
            if mode == SUBMODULE {
                self.submodules.insert(path.clone());
            }
            self.tracked.insert(path);
        }
    }
}

struct Parsed<'a> {
    /// Paths and modes.
    entries: Vec<(String, u32)>,
    /// The extension of that name: which index this one is a change of, and how.
    link: Option<&'a [u8]>,
}

fn parse(index: &[u8], id_bytes: usize) -> Option<Parsed<'_>> {
    const EXTENDED: u8 = 0x40;
    let number = |at: usize| Some(u32::from_be_bytes(index.get(at..at + 4)?.try_into().ok()?));
    let version = number(4)?;
    if !index.starts_with(b"DIRC") || !(2..=4).contains(&version) {
        return None;
    }
    let entry_bytes = STAT_BYTES + id_bytes + 2;
    let (mut entries, mut path, mut at) = (Vec::new(), Vec::new(), 12);
    for _ in 0..number(8)? {
        let start = at;
        // The flags end the entry; the extended bit among them says that two more bytes follow.
        let extended = index.get(start + entry_bytes - 2)? & EXTENDED != 0;
        at += entry_bytes + if extended { 2 } else { 0 };
        if version == 4 {
            let kept = path.len().checked_sub(prefix_removed(index, &mut at)?)?;
            path.truncate(kept);
        } else {
            path.clear();
        }
        let end = at + index.get(at..)?.iter().position(|&byte| byte == 0)?;
        path.extend_from_slice(&index[at..end]);
        entries.push((String::from_utf8_lossy(&path).into_owned(), number(start + MODE_AT)?));
        // Versions 2 and 3 pad entries with 1 to 8 zero bytes to a multiple of 8.
        at = if version == 4 { end + 1 } else { start + (end - start + 8) / 8 * 8 };
    }
    let mut link = None;
    // A hash of all of it ends the file.
    while at + 8 <= index.len().checked_sub(id_bytes)? {
        let bytes = number(at + 4)? as usize;
        let content = index.get(at + 8..)?.get(..bytes)?;
        match index.get(at..at + 4)? {
            b"link" => link = Some(content),
            // `sdir` tells of folders that are not checked out.
            b"sdir" => {}
            // What begins with a capital letter may be passed over.
            name if name[0].is_ascii_uppercase() => {}
            _ => return None,
        }
        at += 8 + bytes;
    }
    Some(Parsed { entries, link })
}

/// How many bytes of the path before are dropped (version 4), as a number of variable length.
fn prefix_removed(index: &[u8], at: &mut usize) -> Option<usize> {
    let mut next = || {
        *at += 1;
        index.get(*at - 1).copied()
    };
    let mut byte = next()?;
    let mut removed = usize::from(byte & 0x7f);
    while byte & 0x80 != 0 {
        byte = next()?;
        removed = removed.checked_add(1)?.checked_mul(128)? | usize::from(byte & 0x7f);
    }
    Some(removed)
}

/// The bits that are set in a compressed bitmap (EWAH): words of 64 bits, of which some say how many equal words and how many
/// plain ones follow them. None of `count` or more is asked for.
fn bits(bitmap: &[u8], count: usize) -> Option<BTreeSet<usize>> {
    let length = u32::from_be_bytes(bitmap.get(4..8)?.try_into().ok()?) as usize;
    let words = bitmap.get(8..)?.get(..length.checked_mul(8)?)?;
    let mut words = words.chunks_exact(8).map(|word| u64::from_be_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|at| word[at])));
    let (mut set, mut at) = (BTreeSet::new(), 0_usize);
    while let Some(run) = words.next() {
        let equal = ((run >> 1) & 0xffff_ffff) as usize * 64;
        if run & 1 == 1 {
            set.extend(at..at.saturating_add(equal).min(count));
        }
        at = at.saturating_add(equal);
        for _ in 0..run >> 33 {
            let word = words.next()?;
            set.extend((0..64).filter(|bit| word >> bit & 1 == 1).map(|bit| at + bit).filter(|bit| *bit < count));
            at = at.saturating_add(64);
        }
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: &mut Vec<u8>, id_bytes: usize, mode: u32, path: &str) {
        let start = index.len();
        index.extend([0; MODE_AT]);
        index.extend(mode.to_be_bytes());
        index.resize(start + STAT_BYTES + id_bytes, 0);
        index.extend((path.len() as u16).to_be_bytes());
        index.extend(path.bytes());
        index.resize(start + (STAT_BYTES + id_bytes + 2 + path.len() + 8) / 8 * 8, 0);
    }

    fn index(id_bytes: usize, entries: &[(u32, &str)], link: &[u8]) -> Vec<u8> {
        let mut index = b"DIRC\0\0\0\x02\0\0\0".to_vec();
        index.push(entries.len() as u8);
        for (mode, path) in entries {
            entry(&mut index, id_bytes, *mode, path);
        }
        index.extend(b"TREE\0\0\0\x01x");
        if !link.is_empty() {
            index.extend(b"link");
            index.extend((link.len() as u32).to_be_bytes());
            index.extend(link);
        }
        index.resize(index.len() + id_bytes, 0);
        index
    }

    fn check(files: &[(&str, &[u8])], id_bytes: usize, tracked: &[&str], submodules: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(folder.path().join(name), bytes).unwrap();
        }
        let index = read(folder.path(), id_bytes).unwrap();
        assert_eq!(index.tracked.iter().collect::<Vec<_>>(), tracked);
        assert_eq!(index.submodules.iter().collect::<Vec<_>>(), submodules);
    }

    const FILE: u32 = 0o100_644;

    #[test]
    fn whole() {
        for id_bytes in [20, 32] {
            let entries = [(FILE, "a/b.txt"), (FILE, "a/long-name.txt"), (SUBMODULE, "theme")];
            let bytes = index(id_bytes, &entries, b"");
            check(&[("index", &bytes)], id_bytes, &["a/b.txt", "a/long-name.txt", "theme"], &["theme"]);
            for end in 0..bytes.len() {
                parse(&bytes[..end], id_bytes);
            }
            assert!(parse(&bytes[..80], id_bytes).is_none());
        }
        check(&[], 20, &[], &[]);
    }

    #[test]
    fn split() {
        let shared = index(20, &[(FILE, "a"), (FILE, "b"), (FILE, "c"), (FILE, "d")], b"");
        let name = format!("sharedindex.{}", "07".repeat(20));
        // A run of no equal words with one plain one, and a run of one word of ones.
        let second =
            [&[0, 0, 0, 4, 0, 0, 0, 2][..], &[0, 0, 0, 2, 0, 0, 0, 0], &[0, 0, 0, 0, 0, 0, 0, 2], &[0; 4]].concat();
        let all = [&[0, 0, 0, 64, 0, 0, 0, 1][..], &[0, 0, 0, 0, 0, 0, 0, 3], &[0; 4]].concat();
        let linked = |bitmap: &[u8]| index(20, &[(FILE, ""), (FILE, "e")], &[&[7; 20], bitmap].concat());
        check(&[("index", &linked(&second)), (&name, &shared)], 20, &["a", "c", "d", "e"], &[]);
        check(&[("index", &linked(&all)), (&name, &shared)], 20, &["e"], &[]);
        check(&[("index", &linked(b"")), (&name, &shared)], 20, &["a", "b", "c", "d", "e"], &[]);
        check(&[("index", &index(20, &[(FILE, "e")], &[0; 20]))], 20, &["e"], &[]);
    }
}
